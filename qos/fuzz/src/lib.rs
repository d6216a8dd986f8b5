//! Fuzz targets of the scheduler: functions of bytes that panic when the scheduler breaks a promise.
//!
//! `ci/fuzz` runs them under libFuzzer; `cargo test` runs them on the inputs in `seeds`, where every
//! finding ends up under a name that says what it is.

mod classify;
mod engine;
mod units;

use std::fmt::Debug;
use std::sync::LazyLock;

/// Whether to print what an input stands for, for whoever has a finding in hand.
static SHOW: LazyLock<bool> = LazyLock::new(|| std::env::var_os("NETQOS_FUZZ_SHOW").is_some());

fn show(input: &impl Debug) {
    if *SHOW {
        eprintln!("{input:#?}");
    }
}

/// Plays a script of calls on an engine against a model of what each promises.
pub fn engine(data: &[u8]) {
    engine::run(data);
}

/// Compiles rules and holds their verdicts on frames against rules tried one by one.
pub fn classify(data: &[u8]) {
    classify::run(data);
}

/// Reads a text as everything that operators write; what can be read must survive printing.
pub fn units(data: &[u8]) {
    units::run(data);
}
