//! Values that are read by their own spelling: rates, bursts, times, class ids.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// A value written as a string, or as a bare number where its spelling allows that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written<T>(pub(crate) T);

/// How a value is written, for the schema and the help.
pub(crate) trait Spelled {
    /// Examples, the most usual first.
    const EXAMPLES: &'static [&'static str];
    /// The least number, if a bare number will do.
    const LEAST: Option<u64> = Some(1);
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Spelling(PhantomData))
    }
}

impl<T: Spelled> JsonSchema for Written<T> {
    fn schema_name() -> Cow<'static, str> {
        std::any::type_name::<T>().into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = match T::LEAST {
            Some(least) => json_schema!({ "type": ["string", "integer"], "minimum": least }),
            None => json_schema!({ "type": "string" }),
        };
        if !T::EXAMPLES.is_empty() {
            schema.insert("examples".to_owned(), T::EXAMPLES.into());
        }
        schema
    }
}

struct Spelling<T>(PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Spelling<T> {
    type Value = Written<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string such as \"10mbit\", or a number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        text.parse().map(Written).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        self.visit_str(&number.to_string())
    }
}

/// One value, or a list of them.
#[derive(Clone, Debug)]
pub(crate) struct OneOrMore<T>(pub(crate) Vec<T>);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Several(PhantomData))
    }
}

impl<T: Spelled> JsonSchema for OneOrMore<T> {
    fn schema_name() -> Cow<'static, str> {
        std::any::type_name::<Self>().into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = Written::<T>::json_schema(generator);
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

struct Several<T>(PhantomData<T>);

impl<'de, T: FromStr<Err: fmt::Display>> Visitor<'de> for Several<T> {
    type Value = OneOrMore<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, or a list of them")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let Written(value) = Spelling(PhantomData).visit_str(text)?;
        Ok(OneOrMore(vec![value]))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Written(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(OneOrMore(values))
    }
}

/// A limit or guarantee, or the word `none`, which takes back what a template or the defaults say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OrNone<T>(pub(crate) Option<T>);

impl<T: FromStr> FromStr for OrNone<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text.trim().eq_ignore_ascii_case("none") {
            return Ok(Self(None));
        }
        text.parse().map(|value| Self(Some(value)))
    }
}

impl<T: Spelled> Spelled for OrNone<T> {
    const EXAMPLES: &'static [&'static str] = T::EXAMPLES;
    const LEAST: Option<u64> = T::LEAST;
}

/// Implements [`Spelled`] for types of other crates.
macro_rules! spelled {
    ($($kind:ty: $least:expr, $examples:expr;)*) => {
        $(impl Spelled for $kind {
            const EXAMPLES: &'static [&'static str] = &$examples;
            const LEAST: Option<u64> = $least;
        })*
    };
}

spelled! {
    String: Some(0), [];
    crate::args::MacAddr: None, ["52:54:00:12:34:56"];
    qos::RateSpec: Some(1), ["100mbit", "1gbit", "10mbit burst 15k", "10Mb/s@20ms"];
    qos::PacketRate: Some(1), ["50000", "50kpps"];
    qos::Burst: Some(1), ["auto", "64k", "2ms"];
    qos::PacketBurst: Some(1), ["auto", "64", "2ms"];
    qos::Interval: None, ["5ms", "500us"];
    qos::ClassId: None, ["1:10"];
    qos::classify::Dscp: Some(0), ["EF", "AF41", "46"];
    qos::classify::EtherType: Some(0), ["ipv4", "ipv6", "arp", "0x88cc"];
    qos::classify::Prefix: None, ["192.0.2.0/24", "2001:db8::/32"];
    qos::classify::Protocol: Some(0), ["tcp", "udp", "icmp", "47"];
    qos::classify::Range<u16>: Some(0), ["443", "8000-8999"];
    qos::classify::Range<u32>: Some(0), ["1514", "64-127"];
    qos::classify::TcpFlags: None, ["syn,!ack"];
    qos::classify::Mark: Some(0), ["7", "0x10/0xff"];
    qos::classify::CipsoMatch: Some(0), ["5", "5:0-3"];
}
