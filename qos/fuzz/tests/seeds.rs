//! Every input that is kept, seeds as well as findings that were fixed, keeps every promise.

#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

use std::fs;
use std::path::Path;

/// Runs a target on its inputs; their names come with a panic.
fn replay(target: &str, run: fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target);
    let mut count = 0;
    for entry in fs::read_dir(seeds).unwrap() {
        let path = entry.unwrap().path();
        eprintln!("{}", path.display());
        run(&fs::read(path).unwrap());
        count += 1;
    }
    assert!(count >= 5, "{count} seeds of {target}");
}

#[test]
fn engine_seeds_keep_every_promise() {
    replay("engine", qos_fuzz::engine);
}

#[test]
fn classify_seeds_keep_every_promise() {
    replay("classify", qos_fuzz::classify);
}

#[test]
fn unit_seeds_keep_every_promise() {
    replay("units", qos_fuzz::units);
}
