//! The dashboard and the alerts in `backend/share`.

use std::collections::BTreeSet;

use netqos::metrics::{Metric, NAMES, PREFIX};
use serde_json::Value;

use super::promtool;

const DASHBOARD: &str = include_str!("../../share/grafana/netqos.json");
const RULES: &str = include_str!("../../share/prometheus/netqos.rules.yml");
const SHARE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/share");

fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).unwrap()
}

/// Every query of the dashboard.
fn queries(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(list) => list.iter().flat_map(queries).collect(),
        Value::Object(object) => {
            let own = ["expr", "definition"].map(|key| object.get(key)?.as_str());
            let below = object.values().flat_map(queries);
            own.into_iter().flatten().chain(below).collect()
        }
        _ => Vec::new(),
    }
}

/// What in a text looks like a metric of ours.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let prefix = format!("{PREFIX}_");
    words.filter(|word| word.starts_with(&prefix)).collect()
}

fn all_are_known<'a>(names: impl IntoIterator<Item = &'a str>) {
    let known: BTreeSet<_> = NAMES.iter().flat_map(Metric::names).collect();
    for name in names {
        assert!(known.contains(name), "{name} is no metric");
    }
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are() {
    let dashboard = dashboard();
    let queries = queries(&dashboard);
    assert!(queries.len() > 25, "{}", queries.len());
    for query in &queries {
        assert!(!named(query).is_empty(), "{query}");
        all_are_known(named(query));
    }
}

#[test]
fn prometheus_understands_every_query_of_the_dashboard() {
    let dashboard = dashboard();
    let mut rules = "groups: [{ name: all, rules: [\n".to_owned();
    for (number, query) in queries(&dashboard).into_iter().enumerate() {
        if query.starts_with("label_values(") {
            continue;
        }
        let query = query.replace("$__rate_interval", "1m");
        let query = Value::from(query).to_string();
        rules += &format!("{{ record: \"query:{number}\", expr: {query} }},\n");
    }
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/dashboard.rules.yml");
    std::fs::write(file, rules + "] }]\n").unwrap();
    let said = promtool::run(&["check", "rules", file], "");
    assert!(said.contains("rules found"), "{said}");
}

#[test]
fn the_panels_of_the_dashboard_lie_side_by_side() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let place = |key| panel["gridPos"][key].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            assert!(x < 24, "{title}");
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{title} lies over another");
            }
        }
        let is_row = panel["type"] == "row";
        assert!(
            is_row
                || panel["description"]
                    .as_str()
                    .is_some_and(|text| text.len() > 20)
        );
        assert!(
            is_row || panel["fieldConfig"]["defaults"]["unit"].is_string(),
            "{title}"
        );
    }
}

#[test]
fn alerts_are_raised_when_they_are_to_be_and_not_otherwise() {
    all_are_known(named(RULES));
    let file = format!("{SHARE}/prometheus/netqos.rules.yml");
    let said = promtool::run(&["check", "rules", &file], "");
    let alerts = RULES.matches("- alert: ").count();
    assert!(said.contains(&format!("{alerts} rules found")), "{said}");
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/metrics/rules.yml");
    // Each alert is tried where all is well, and where nothing is.
    let cases = include_str!("rules.yml");
    for alert in RULES
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        assert_eq!(
            cases.matches(&format!("alertname: {alert}")).count(),
            2,
            "{alert}"
        );
    }
    promtool::run(&["test", "rules", tests], "");
}
