//! `--help-config`: the schema as text.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::schema::schema;

/// Columns of a terminal.
const WIDTH: usize = 80;

/// The tables of the file: what each is called, and its definition in the schema.
const TABLES: &[(&str, &str)] = &[
    ("sandbox", "SandboxKeys"),
    ("[uplink.NAME], or [[uplink]] with a name", "UplinkKeys"),
    ("from_guest and to_guest of an uplink", "RootKeys"),
    ("flood of an uplink", "FloodKeys"),
    (
        "[guest.NAME], or [[guest]] with a name; [template.NAME]; [defaults]",
        "GuestKeys",
    ),
    ("trust of a guest", "TrustKeys"),
    ("from_guest and to_guest of a guest", "DirectionKeys"),
    ("class of from_guest and to_guest", "ClassKeys"),
    ("rule of from_guest, to_guest and class", "RuleKeys"),
    ("police of a rule", "PoliceKeys"),
    ("flows of from_guest, to_guest and class", "FlowsKeys"),
];

const HEAD: &str = "\
The configuration file of netqos-vhost, in TOML. Keys may be left out, but for
those marked (always). What is absent is unlimited; zero is an error, and so are
keys that are not listed here. Try a file out with --config FILE --check.

Rates count what the wire carries, with preamble, gap, checksum and all headers:
10mbit, 1.5gbit (bits), 10mibit (by 1024), 5mbps or 5MB/s (BYTES, as tc and xl
have it), 10Mb/s@20ms (xl), \"10mbit burst 32k\"; a bare number is in bit/s.
Sizes are in bytes, k, m or g (by 1024); times in s, ms, us or ns. Where a
template or the defaults set a limit or guarantee, \"none\" takes it back.
";

/// Every key of the file with its meaning, for a terminal of 80 columns.
#[must_use]
pub fn help() -> String {
    let schema = schema();
    let mut text = HEAD.to_owned();
    table(&mut text, "The file", &schema, None);
    for (title, name) in TABLES {
        let of = |name: &str| schema.get("$defs").and_then(|defs| defs.get(name));
        let like = of("DirectionKeys").filter(|_| *name == "ClassKeys");
        if let Some(keys) = of(name) {
            table(&mut text, title, keys, like);
        }
    }
    text
}

/// One table; keys that mean what they do in `like` are only named.
fn table(text: &mut String, title: &str, schema: &Value, like: Option<&Value>) {
    text.push('\n');
    paragraph(text, title, "", "  ");
    if let Some(description) = description(schema) {
        for part in description.split("\n\n") {
            paragraph(text, part, "  ", "  ");
        }
    }
    let nothing = Map::new();
    let keys = |schema: &Value| schema.get("properties")?.as_object().cloned();
    let like = like.and_then(keys).unwrap_or(nothing);
    let mut same = Vec::new();
    for (key, value) in keys(schema).unwrap_or_default() {
        if like.get(&key).and_then(description) == description(&value) {
            same.push(key);
            continue;
        }
        let needed = schema.get("required").and_then(Value::as_array);
        let needed = needed.is_some_and(|needed| needed.contains(&key.as_str().into()));
        let mark = if needed { "  (always)" } else { "" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {key} = {}{mark}", example(&value));
        paragraph(text, description(&value).unwrap_or(""), "      ", "      ");
    }
    if !same.is_empty() {
        let also = format!("Also, as in the table before: {}.", same.join(", "));
        paragraph(text, &also, "  ", "  ");
    }
}

fn description(schema: &Value) -> Option<&str> {
    schema.get("description")?.as_str()
}

/// How a value looks.
fn example(schema: &Value) -> String {
    let strings = |key: &str| -> Vec<&str> {
        let list = schema.get(key).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    };
    let words = strings("enum");
    if !words.is_empty() {
        return format!("\"{}\"", words.join("\", \""));
    }
    let examples = strings("examples");
    if !examples.is_empty() {
        let is_number = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        let bare = schema.get("type").is_some_and(Value::is_array);
        let quoted = examples.iter().map(|text| match is_number(text) && bare {
            true => (*text).to_owned(),
            false => format!("\"{text}\""),
        });
        return quoted.collect::<Vec<_>>().join(", ");
    }
    if let Some(first) = schema.get("anyOf").and_then(|choices| choices.get(0)) {
        return example(first);
    }
    if schema.get("$ref").is_some() {
        return "{ ... }".to_owned();
    }
    let kind = schema.get("type").map(|kind| kind.get(0).unwrap_or(kind));
    match kind.and_then(Value::as_str) {
        Some("array") => "[{ ... }, ...]".to_owned(),
        Some("object") => "{ NAME = { ... }, ... }".to_owned(),
        Some("boolean") => "true".to_owned(),
        Some("integer") => "N".to_owned(),
        _ => "\"...\"".to_owned(),
    }
}

fn paragraph(text: &mut String, words: &str, first: &str, rest: &str) {
    let options = textwrap::Options::new(WIDTH)
        .initial_indent(first)
        .subsequent_indent(rest);
    text.push_str(&textwrap::fill(&words.replace('`', ""), options));
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_of_the_schema_is_explained_and_every_key_described() {
        let schema = schema();
        let defs = schema["$defs"].as_object().unwrap();
        let mut shown: Vec<&str> = TABLES.iter().map(|(_, name)| *name).collect();
        let mut known: Vec<&str> = defs.keys().map(String::as_str).collect();
        shown.sort_unstable();
        known.sort_unstable();
        assert_eq!(shown, known);
        let help = help();
        for table in defs.values().chain([&schema]) {
            for (key, value) in table["properties"].as_object().unwrap() {
                assert!(help.contains(&format!("\n  {key} = ")), "{key}");
                assert!(
                    description(value).is_some_and(|it| it.ends_with('.')),
                    "{key}"
                );
            }
        }
    }

    #[test]
    fn the_help_fits_a_terminal() {
        let help = help();
        let long: Vec<_> = help
            .lines()
            .filter(|line| line.chars().count() > WIDTH)
            .collect();
        assert!(long.is_empty(), "{long:#?}");
    }
}
