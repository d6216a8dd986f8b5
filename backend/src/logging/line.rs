//! What a line looks like.

use std::fmt::{self, Display};
use std::io::{self, Write};

use log::Record;
use log::kv::{self, Key, Value, VisitSource};
use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};

/// Writes `[time level target] key=value key=value: words`.
pub(super) fn text(
    out: &mut impl Write,
    time: &dyn Display,
    record: &Record<'_>,
) -> io::Result<()> {
    write!(out, "[{time} {:5} {}]", record.level(), record.target())?;
    let mut pairs = TextPairs(String::new());
    record
        .key_values()
        .visit(&mut pairs)
        .map_err(io::Error::other)?;
    let words = record.args().to_string();
    let colon = if pairs.0.is_empty() || words.is_empty() {
        ""
    } else {
        ":"
    };
    let space = if words.is_empty() { "" } else { " " };
    writeln!(out, "{}{colon}{space}{words}", pairs.0)
}

struct TextPairs(String);

impl<'kvs> VisitSource<'kvs> for TextPairs {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let value = value.to_string();
        let bare = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '\\');
        let pair = if value.is_empty() || !value.chars().all(bare) {
            format!(" {key}={value:?}")
        } else {
            format!(" {key}={value}")
        };
        self.0.push_str(&pair);
        Ok(())
    }
}

/// Writes an object of the same. A pair that is called as one of the others comes before it.
pub(super) fn json(
    out: &mut impl Write,
    time: &dyn Display,
    record: &Record<'_>,
) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Object { time, record })?;
    writeln!(out)
}

struct Object<'a> {
    time: &'a dyn Display,
    record: &'a Record<'a>,
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &Text(self.time))?;
        map.serialize_entry("level", self.record.level().as_str())?;
        map.serialize_entry("target", self.record.target())?;
        let mut pairs = JsonPairs(&mut map);
        let pairs = self.record.key_values().visit(&mut pairs);
        pairs.map_err(S::Error::custom)?;
        map.serialize_entry("msg", &Text(self.record.args()))?;
        map.end()
    }
}

struct Text<'a, T: ?Sized>(&'a T);

impl<T: Display + ?Sized> Serialize for Text<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

struct JsonPairs<'a, M>(&'a mut M);

impl<'kvs, M: SerializeMap> VisitSource<'kvs> for JsonPairs<'_, M> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let key = key.as_str();
        let written = if let Some(number) = value.to_u64() {
            self.0.serialize_entry(key, &number)
        } else if let Some(number) = value.to_i64() {
            self.0.serialize_entry(key, &number)
        } else if let Some(truth) = value.to_bool() {
            self.0.serialize_entry(key, &truth)
        } else {
            self.0.serialize_entry(key, &Text(&value))
        };
        // Only the writer below can fail, and it says so again.
        written.map_err(|_| fmt::Error.into())
    }
}

#[cfg(test)]
mod tests {
    use log::Level;
    use serde_json::Value as Json;

    use super::*;

    const TIME: &str = "2026-01-02T03:04:05Z";

    fn record(pairs: &[(&str, Value<'_>)], words: fmt::Arguments<'_>) -> [String; 2] {
        let record = Record::builder()
            .level(Level::Warn)
            .target("netqos::daemon")
            .key_values(&pairs)
            .args(words)
            .build();
        let (mut as_text, mut as_json) = (Vec::new(), Vec::new());
        text(&mut as_text, &TIME, &record).unwrap();
        json(&mut as_json, &TIME, &record).unwrap();
        [as_text, as_json].map(|line| String::from_utf8(line).unwrap())
    }

    #[test]
    fn both_formats_have_the_same_pairs() {
        let pairs = [
            ("port", Value::from("vm1")),
            ("ring", Value::from(3_usize)),
            ("state", Value::from("broken")),
        ];
        let [text, json] = record(&pairs, format_args!("its head is {}", 70));
        assert_eq!(
            text,
            "[2026-01-02T03:04:05Z WARN  netqos::daemon] port=vm1 ring=3 state=broken: its head is 70\n"
        );
        assert_eq!(
            json,
            "{\"time\":\"2026-01-02T03:04:05Z\",\"level\":\"WARN\",\"target\":\"netqos::daemon\",\
             \"port\":\"vm1\",\"ring\":3,\"state\":\"broken\",\"msg\":\"its head is 70\"}\n"
        );
    }

    #[test]
    fn what_is_not_there_leaves_no_marks() {
        let pairs = [("port", Value::from("vm1"))];
        let text = |pairs, words| record(pairs, words)[0].clone();
        assert!(text(&pairs, format_args!("")).ends_with("daemon] port=vm1\n"));
        assert!(text(&[], format_args!("words")).ends_with("daemon] words\n"));
    }

    #[test]
    fn no_value_can_be_taken_for_two() {
        for (value, quoted) in [
            ("a b", r#""a b""#),
            ("", r#""""#),
            ("a\nb", r#""a\nb""#),
            ("say \"no\"", r#""say \"no\"""#),
            ("+1-1~0", "+1-1~0"),
        ] {
            let [text, json] = record(&[("key", Value::from(value))], format_args!("words"));
            assert!(
                text.ends_with(&format!("] key={quoted}: words\n")),
                "{text}"
            );
            let json: Json = serde_json::from_str(&json).unwrap();
            assert_eq!(json["key"], value);
        }
    }

    #[test]
    fn an_object_is_one_line_whatever_the_words() {
        let pairs = [
            ("up", Value::from(true)),
            ("less", Value::from(-1)),
            ("shown", Value::from_display(&TIME)),
        ];
        let [_, json] = record(&pairs, format_args!("two\nlines, \"quoted\""));
        assert_eq!(json.matches('\n').count(), 1);
        let json: Json = serde_json::from_str(&json).unwrap();
        assert_eq!(json["msg"], "two\nlines, \"quoted\"");
        assert_eq!((&json["up"], &json["less"]), (&true.into(), &(-1).into()));
        assert_eq!(json["shown"], TIME);
    }
}
