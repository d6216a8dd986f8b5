//! What a readiness report is about, packed into the poller's 64 bits.

use crate::shard::PortId;

/// The source of a report to the sessions thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A signal has come.
    Signals,
    /// Somebody connects to the control socket.
    Control,
    /// Links have changed.
    Links,
    /// The opener has ended, or was late.
    Opener,
    /// A file behind the memory of some guest was cut short.
    Memory,
    /// The connection at this place of the control socket.
    Caller(u32),
    /// What is captured for the connection at this place of the control socket.
    Capture(u32),
    /// A port's listener.
    Entrance(PortId),
    /// The socket of a port's front-end.
    FrontEnd(PortId),
    /// The socket between a port's session and its engine.
    Engine(PortId),
}

const KIND_BITS: u32 = 4;

impl Token {
    /// The report's 64 bits; 36 of them are used.
    pub(super) const fn encode(self) -> u64 {
        let (kind, number) = match self {
            Self::Signals => (0, 0),
            Self::Control => (1, 0),
            Self::Caller(place) => (2, place),
            Self::Capture(place) => (8, place),
            Self::Links => (6, 0),
            Self::Opener => (7, 0),
            Self::Memory => (9, 0),
            Self::Entrance(PortId(port)) => (3, port),
            Self::FrontEnd(PortId(port)) => (4, port),
            Self::Engine(PortId(port)) => (5, port),
        };
        ((number as u64) << KIND_BITS) | kind
    }

    /// What [`Self::encode`] was given, unless it was something else.
    pub(super) fn decode(bits: u64) -> Option<Self> {
        let number = u32::try_from(bits >> KIND_BITS).ok()?;
        Some(match bits & ((1 << KIND_BITS) - 1) {
            0 => Self::Signals,
            1 => Self::Control,
            2 => Self::Caller(number),
            8 => Self::Capture(number),
            3 => Self::Entrance(PortId(number)),
            4 => Self::FrontEnd(PortId(number)),
            5 => Self::Engine(PortId(number)),
            6 => Self::Links,
            7 => Self::Opener,
            9 => Self::Memory,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_of_every_port_has_bits_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for number in [0, 1, 999, u32::MAX] {
            let port = PortId(number);
            for token in [
                Token::Caller(number),
                Token::Capture(number),
                Token::Entrance(port),
                Token::FrontEnd(port),
                Token::Engine(port),
            ] {
                assert_eq!(Token::decode(token.encode()), Some(token));
                assert!(seen.insert(token.encode()));
            }
        }
        for token in [
            Token::Signals,
            Token::Control,
            Token::Links,
            Token::Opener,
            Token::Memory,
        ] {
            assert_eq!(Token::decode(token.encode()), Some(token));
            assert!(seen.insert(token.encode()));
        }
    }

    #[test]
    fn what_was_never_encoded_means_nothing() {
        for bits in [10, 15, u64::MAX, 1 << 40] {
            assert_eq!(Token::decode(bits), None);
        }
    }
}
