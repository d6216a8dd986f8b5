//! Frames as operators write them in words, and as bytes.

mod build;
mod parse;
mod summary;

use std::net::IpAddr;

use thiserror::Error;

pub(crate) use self::summary::summary;

/// Ports of a frame that is not said to have others: one for clients (RFC 6335 §6), and discard's.
const PORTS: (u16, u16) = (49_152, 9);

/// A station that is nobody's: locally administered (IEEE 802 §8.4.4).
const OTHER_STATION: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Words that are no frame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum PacketError {
    /// A word that is none of ours.
    #[error("`{word}` is not understood: {hint}")]
    Word {
        /// The word.
        word: String,
        /// What it may have been.
        hint: String,
    },
    /// A key without a value.
    #[error("`{0}` needs a value behind it")]
    Alone(String),
    /// A value that is not spelt as its key wants it.
    #[error("{key} `{value}`: {reason}")]
    Value {
        /// The key.
        key: String,
        /// What was written.
        value: String,
        /// What to write.
        reason: String,
    },
    /// One thing twice.
    #[error("`{word}`: {what} has been given already")]
    Twice {
        /// The word.
        word: String,
        /// What it is about.
        what: &'static str,
    },
    /// Words that do not go together.
    #[error("{0}")]
    Together(&'static str),
    /// A length that the headers exceed, or that no packet has.
    #[error("len {len}: the headers alone are {least} bytes, and an IP packet has 65535 at most")]
    Length {
        /// What was written.
        len: usize,
        /// The headers' length.
        least: usize,
    },
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Arp,
    Udp,
    Tcp,
    Icmp,
    Icmpv6,
    /// IP with another protocol's number.
    Ip(u8),
}

/// One end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    address: IpAddr,
    port: Option<u16>,
}

/// A frame in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    kind: Option<Kind>,
    source: Option<End>,
    destination: Option<End>,
    from: Option<[u8; 6]>,
    to: Option<[u8; 6]>,
    vlan: Option<u16>,
    priority: Option<u8>,
    dscp: Option<u8>,
    ecn: Option<u8>,
    ttl: Option<u8>,
    flags: Option<u8>,
    protocol: Option<u8>,
    len: Option<usize>,
}

/// A frame that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// Its bytes are given.
    Bytes(Vec<u8>),
    /// It is to be built.
    Words(Box<Words>),
}

impl Packet {
    /// Reads words.
    ///
    /// # Errors
    /// The word that is wrong, and the right one if one is near.
    pub(crate) fn parse(words: &[String]) -> Result<Self, PacketError> {
        parse::packet(words)
    }

    /// The frame's bytes. `guest` is the address of the guest, and `outward` whether it is the sender: it
    /// is that end's unless the words have another.
    ///
    /// # Errors
    /// The words do not go together.
    pub(crate) fn bytes(
        &self,
        guest: Option<[u8; 6]>,
        outward: bool,
    ) -> Result<Vec<u8>, PacketError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::Words(words) => {
                let guest = guest.unwrap_or([0x52, 0x54, 0, 0, 0, 1]);
                let (from, to) = match outward {
                    true => (guest, OTHER_STATION),
                    false => (OTHER_STATION, guest),
                };
                build::frame(words, from, to)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GUEST: Option<[u8; 6]> = Some([0x52, 0x54, 0, 0, 0, 7]);

    fn frame(text: &str) -> Vec<u8> {
        let words = Packet::parse(&[text.to_owned()]).unwrap();
        words.bytes(GUEST, true).unwrap()
    }

    fn error(text: &str) -> String {
        let parsed = Packet::parse(&[text.to_owned()]);
        let built = parsed.and_then(|packet| packet.bytes(GUEST, true));
        built.unwrap_err().to_string()
    }

    #[test]
    fn words_become_the_frame_they_say() {
        for (words, len, says) in [
            (
                "udp 192.0.2.1:53 > 198.18.0.1:1234 dscp EF vlan 5 prio 3 len 200",
                200,
                "52:54:00:00:00:07 > 02:00:00:00:00:01 vlan 5 prio 3, IPv4 192.0.2.1:53 > \
                 198.18.0.1:1234 dscp EF, UDP",
            ),
            (
                "tcp [2001:db8::1]:80 > 2001:db8::2 flags syn,ack ecn ce from 02:00:00:00:00:09",
                74,
                "02:00:00:00:00:09 > 02:00:00:00:00:01, IPv6 [2001:db8::1]:80 > [2001:db8::2]:9 ecn ce, \
                 TCP syn,ack",
            ),
            (
                "arp 192.0.2.1 > 192.0.2.9",
                42,
                "52:54:00:00:00:07 > ff:ff:ff:ff:ff:ff, ARP who-has 192.0.2.9 tell 192.0.2.1",
            ),
            (
                "icmp dst 192.0.2.9 to 52:54:00:00:00:08",
                42,
                "52:54:00:00:00:07 > 52:54:00:00:00:08, IPv4 192.0.2.1 > 192.0.2.9, ICMP",
            ),
            (
                "icmp6",
                62,
                "52:54:00:00:00:07 > 02:00:00:00:00:01, IPv6 2001:db8::1 > 2001:db8::2, ICMPv6",
            ),
            (
                "ip proto gre",
                34,
                "52:54:00:00:00:07 > 02:00:00:00:00:01, IPv4 192.0.2.1 > 192.0.2.2, protocol gre",
            ),
        ] {
            let bytes = frame(words);
            assert_eq!(bytes.len(), len, "{words}");
            assert_eq!(summary(&bytes), says, "{words}");
        }
    }

    #[test]
    fn what_is_received_is_for_the_guest() {
        let packet = Packet::parse(&["udp".to_owned()]).unwrap();
        let bytes = packet.bytes(GUEST, false).unwrap();
        assert!(summary(&bytes).starts_with("02:00:00:00:00:01 > 52:54:00:00:00:07"));
    }

    #[test]
    fn bytes_are_taken_as_they_are() {
        assert_eq!(frame("hex:52540000 0007"), [0x52, 0x54, 0, 0, 0, 7]);
        assert_eq!(frame("hex:52:54:00"), [0x52, 0x54, 0]);
        for bytes in [&[][..], &[1; 5], &[0xff; 14], &[0x45; 40]] {
            assert!(!summary(bytes).is_empty());
        }
    }

    #[test]
    fn a_wrong_word_is_named_with_the_right_one() {
        for (words, says) in [
            (
                "upd 192.0.2.1",
                "`upd` is not understood: did you mean `udp`?",
            ),
            (
                "udp dcsp EF",
                "`dcsp` is not understood: did you mean `dscp`?",
            ),
            (
                "tcp 192.0.2 > 192.0.2.1",
                "`192.0.2` is not understood: write ADDRESS",
            ),
            (
                "udp 192.0.2.1:99999",
                "`192.0.2.1:99999` is not understood: write ADDRESS",
            ),
            ("udp dscp XX", "dscp `XX`: "),
            ("udp vlan 4095", "vlan `4095`: "),
            ("udp vlan", "`vlan` needs a value"),
            ("udp tcp", "`tcp`: what it carries has been given already"),
            (
                "udp dscp EF dscp EF",
                "`dscp`: the code point has been given already",
            ),
            ("udp from 1", "from `1`: "),
            ("tcp flags syn,akc", "flags `syn,akc`: "),
            (
                "udp ecn no",
                "ecn `no`: write one of not-ect, ect1, ect0, ce",
            ),
            ("udp 192.0.2.1 > 2001:db8::1", "both ends"),
            ("icmp6 192.0.2.1", "ICMPv6"),
            ("arp 2001:db8::1", "ARP"),
            ("udp flags syn", "flags"),
            ("udp proto 3", "proto"),
            ("icmp 192.0.2.1:5", "ports"),
            ("udp len 20", "len 20: the headers alone are 42 bytes"),
            ("udp len 70000", "0 to 65553"),
            ("udp len 65553", "65535 at most"),
            ("vlan 5", "what it carries"),
            ("", "what it carries"),
            ("hex:1", "hex"),
            ("hex:zz", "hex"),
            ("hex:00 dscp EF", "hex"),
            ("udp prio 3", "vlan"),
        ] {
            let error = error(words);
            assert!(error.contains(says), "{words}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_words_and_no_bytes_are_too_much_for_it(
            words in "((udp|tcp|arp|ip|icmp6?|len|vlan|dscp|>|src|hex:|[0-9a-f.:\\[\\]]{1,12}) ?){0,8}",
            bytes in any::<Vec<u8>>(),
        ) {
            if let Ok(frame) = Packet::parse(&[words]).and_then(|packet| packet.bytes(None, true)) {
                prop_assert!(!summary(&frame).is_empty());
            }
            prop_assert!(!summary(&bytes).is_empty());
        }
    }
}
