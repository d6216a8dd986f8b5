use std::fs;

use serde_json::Value;

use super::*;

const SHARE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/share");

fn samples() -> Vec<PathBuf> {
    let directory = fs::read_dir(format!("{SHARE}/config")).unwrap();
    let paths = directory.map(|entry| entry.unwrap().path());
    let samples: Vec<_> = paths.filter(|path| path.is_file()).collect();
    assert_eq!(samples.len(), 3, "{samples:?}");
    samples
}

#[test]
fn the_published_schema_is_the_one_that_is_printed() {
    let published = fs::read_to_string(format!("{SHARE}/netqos.schema.json")).unwrap();
    assert_eq!(
        published,
        format!("{:#}\n", schema()),
        "renew it: netqos-vhost --print-config-schema > backend/share/netqos.schema.json"
    );
}

#[test]
fn the_samples_load_and_are_what_the_schema_says() {
    let schema = jsonschema::validator_for(&schema()).unwrap();
    for path in samples() {
        Config::load(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let value: Value = toml::from_str(&text).unwrap();
        let errors: Vec<_> = schema
            .iter_errors(&value)
            .map(|it| it.to_string())
            .collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
}

#[test]
fn the_schema_refuses_what_loading_refuses_key_by_key() {
    let schema = jsonschema::validator_for(&schema()).unwrap();
    let valid = |text: &str| schema.is_valid(&toml::from_str::<Value>(text).unwrap());
    let good = with_uplink("[guest.a]\nsocket = \"/a\"\nfrom_guest = { ceil = 8, prio = 1 }");
    assert!(valid(&good) && parse(&good).is_ok());
    for (from, to) in [
        ("socket", "sockt"),
        ("prio", "priority"),
        ("prio = 1", "prio = 4"),
        ("ceil = 8", "ceil = 0"),
        ("ceil = 8", "ceil = true"),
        ("[guest.a]", "[guest.a]\nqueues = 17"),
        ("[guest.a]", "[guest.a]\nvlan = 4095"),
        ("kind =", "knd ="),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        assert!(!valid(&bad) && parse(&bad).is_err(), "{to}");
    }
}

#[test]
fn a_thousand_guests_of_ten_classes_are_a_few_lines() {
    let config = Config::load(Path::new(&format!("{SHARE}/config/thousand.toml"))).unwrap();
    assert_eq!(config.guests.len(), 1000);
    let last = &config.guests[999];
    assert_eq!(
        (last.name.as_str(), last.from_guest.names.len()),
        ("vm1000", 10)
    );
    assert_eq!(last.mac.unwrap().to_string(), "52:54:00:00:03:e8");
}
