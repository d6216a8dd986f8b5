//! Words read as a frame.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use qos::classify::{Dscp, Protocol, TcpFlags};

use super::{End, Kind, Packet, PacketError, Words};
use crate::setting::hint;

/// The words that are no addresses or values.
const KNOWN: [&str; 19] = [
    "udp", "tcp", "icmp", "icmp6", "arp", "ip", "src", "dst", ">", "from", "to", "vlan", "prio",
    "dscp", "ecn", "ttl", "flags", "proto", "len",
];

/// The values of the ECN field (RFC 3168 §5), in their order.
pub(super) const ECN: [&str; 4] = ["not-ect", "ect1", "ect0", "ce"];

/// The longest frame that is built: an IP packet with its Ethernet header and tag.
const LONGEST: usize = 65_535 + 18;

pub(super) fn packet(words: &[String]) -> Result<Packet, PacketError> {
    let words: Vec<&str> = words.iter().flat_map(|it| it.split_whitespace()).collect();
    if let Some(digits) = words.first().and_then(|word| word.strip_prefix("hex:")) {
        return hex(digits, words.get(1..).unwrap_or_default()).map(Packet::Bytes);
    }
    let mut read = Words::default();
    let mut rest = words.into_iter();
    let mut behind = false;
    while let Some(word) = rest.next() {
        behind = read.word(word, behind, &mut rest)?;
    }
    Ok(Packet::Words(Box::new(read)))
}

fn hex(digits: &str, more: &[&str]) -> Result<Vec<u8>, PacketError> {
    let all: String = std::iter::once(digits)
        .chain(more.iter().copied())
        .collect();
    let digits: Vec<u8> = all.bytes().filter(|byte| *byte != b':').collect();
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok()?;
        let plain = pair.len() == 2 && pair.iter().all(u8::is_ascii_hexdigit);
        plain.then(|| u8::from_str_radix(text, 16).ok())?
    };
    let bytes: Option<Vec<_>> = digits.chunks(2).map(byte).collect();
    bytes
        .filter(|bytes| bytes.len() <= LONGEST)
        .ok_or(PacketError::Together(
            "behind hex: stand the frame's bytes alone, two hexadecimal digits each",
        ))
}

impl Words {
    /// Reads one word, and its value from `rest`; whether an end that follows is the destination.
    fn word<'a>(
        &mut self,
        word: &str,
        behind: bool,
        rest: &mut impl Iterator<Item = &'a str>,
    ) -> Result<bool, PacketError> {
        let mut value = || {
            rest.next()
                .ok_or_else(|| PacketError::Alone(word.to_owned()))
        };
        match word {
            "udp" => self.kind(word, Kind::Udp),
            "tcp" => self.kind(word, Kind::Tcp),
            "icmp" => self.kind(word, Kind::Icmp),
            "icmp6" => self.kind(word, Kind::Icmpv6),
            "arp" => self.kind(word, Kind::Arp),
            // Without a protocol one for experiments (RFC 3692 §2.1).
            "ip" => self.kind(word, Kind::Ip(253)),
            ">" => return Ok(true),
            "src" => self.end(value()?, false),
            "dst" => self.end(value()?, true),
            "from" => put(&mut self.from, word, "the sender", mac(word, value()?)?),
            "to" => put(&mut self.to, word, "the receiver", mac(word, value()?)?),
            "vlan" => {
                let id = within(word, value()?, 0..=4094)?;
                put(&mut self.vlan, word, "the VLAN", id)
            }
            "prio" => {
                let priority = within(word, value()?, 0..=7)?;
                put(&mut self.priority, word, "the priority", priority)
            }
            "dscp" => {
                let dscp: Dscp = read(word, value()?)?;
                put(&mut self.dscp, word, "the code point", dscp.value())
            }
            "ecn" => put(&mut self.ecn, word, "the ECN field", ecn(word, value()?)?),
            "ttl" => {
                let ttl = within(word, value()?, 0..=u8::MAX)?;
                put(&mut self.ttl, word, "the time to live", ttl)
            }
            "flags" => {
                let flags: TcpFlags = read(word, value()?)?;
                // The least of those that are meant has no other flag set.
                let least = (0..=u8::MAX).find(|bits| flags.accepts(*bits));
                put(&mut self.flags, word, "flags", least.unwrap_or(0))
            }
            "proto" => {
                let Protocol(number) = read(word, value()?)?;
                put(&mut self.protocol, word, "the protocol", number)
            }
            "len" => {
                let len = within(word, value()?, 0..=LONGEST)?;
                put(&mut self.len, word, "the length", len)
            }
            other => self.end(other, behind),
        }?;
        Ok(behind)
    }

    fn kind(&mut self, word: &str, kind: Kind) -> Result<(), PacketError> {
        put(&mut self.kind, word, "what it carries", kind)
    }

    fn end(&mut self, word: &str, destination: bool) -> Result<(), PacketError> {
        let end = end(word).ok_or_else(|| PacketError::Word {
            word: word.to_owned(),
            hint: match word.contains(['.', ':']) {
                true => "write ADDRESS or ADDRESS:PORT, of IPv6 [ADDRESS]:PORT".to_owned(),
                false => hint(word, &KNOWN),
            },
        })?;
        match destination {
            true => put(&mut self.destination, word, "the destination", end),
            false => put(
                &mut self.source,
                word,
                "the source (write > before the destination)",
                end,
            ),
        }
    }
}

fn end(word: &str) -> Option<End> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return Some(End {
            address,
            port: None,
        });
    }
    let socket: SocketAddr = word.parse().ok()?;
    Some(End {
        address: socket.ip(),
        port: Some(socket.port()),
    })
}

fn put<T>(
    place: &mut Option<T>,
    word: &str,
    what: &'static str,
    value: T,
) -> Result<(), PacketError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(PacketError::Twice {
            word: word.to_owned(),
            what,
        }),
    }
}

fn wrong(key: &str, value: &str, reason: impl Display) -> PacketError {
    PacketError::Value {
        key: key.to_owned(),
        value: value.to_owned(),
        reason: reason.to_string(),
    }
}

fn read<T: FromStr<Err: Display>>(key: &str, value: &str) -> Result<T, PacketError> {
    value
        .parse()
        .map_err(|error: T::Err| wrong(key, value, error))
}

fn within<T: FromStr + PartialOrd + Display>(
    key: &str,
    value: &str,
    range: std::ops::RangeInclusive<T>,
) -> Result<T, PacketError> {
    let number = value.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        wrong(key, value, format!("write a number from {least} to {most}"))
    })
}

fn ecn(key: &str, value: &str) -> Result<u8, PacketError> {
    let place = (0_u8..)
        .zip(ECN)
        .find(|(_, name)| name.eq_ignore_ascii_case(value));
    let place = place.map(|(bits, _)| bits);
    place.ok_or_else(|| wrong(key, value, hint(value, &ECN)))
}

/// Any address, those of groups and nobody's included.
fn mac(key: &str, value: &str) -> Result<[u8; 6], PacketError> {
    let octets: Option<Vec<u8>> = value
        .split([':', '-'])
        .map(|pair| {
            let plain = pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
            plain.then(|| u8::from_str_radix(pair, 16).ok())?
        })
        .collect();
    let octets = octets.and_then(|octets| octets.try_into().ok());
    octets.ok_or_else(|| wrong(key, value, "write six bytes such as 52:54:00:12:34:56"))
}
