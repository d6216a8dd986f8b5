//! What a readiness report is about, packed into the poller's 64 bits.

/// The event source of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The shard's mailbox.
    Mailbox,
    /// The kick of a pair's transmit ring.
    Transmit(usize),
    /// The kick of a pair's receive ring.
    Receive(usize),
    /// An uplink queue.
    Uplink(usize),
}

/// An event source and the port it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) port: usize,
    pub(super) kind: Kind,
}

const PAIR_BITS: u32 = 16;
const KIND_BITS: u32 = 2;

impl Token {
    /// The token of the mailbox, which belongs to no port.
    pub(super) const MAILBOX: Self = Self {
        port: 0,
        kind: Kind::Mailbox,
    };

    /// The report's 64 bits. Pairs are few (at most 16 bits are kept), ports fit in what is left.
    pub(super) const fn encode(self) -> u64 {
        let (kind, pair) = match self.kind {
            Kind::Mailbox => (0, 0),
            Kind::Transmit(pair) => (1, pair),
            Kind::Receive(pair) => (2, pair),
            Kind::Uplink(pair) => (3, pair),
        };
        let pair = (pair as u64) & ((1 << PAIR_BITS) - 1);
        ((self.port as u64) << (PAIR_BITS + KIND_BITS)) | (pair << KIND_BITS) | kind
    }

    /// The source that [`Self::encode`] was given.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a port index came from a usize"
    )]
    pub(super) const fn decode(bits: u64) -> Self {
        let pair = ((bits >> KIND_BITS) & ((1 << PAIR_BITS) - 1)) as usize;
        let kind = match bits & ((1 << KIND_BITS) - 1) {
            0 => Kind::Mailbox,
            1 => Kind::Transmit(pair),
            2 => Kind::Receive(pair),
            _ => Kind::Uplink(pair),
        };
        Self {
            port: (bits >> (PAIR_BITS + KIND_BITS)) as usize,
            kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_decodes_to_what_was_encoded() {
        for port in [0, 1, 1 << 20] {
            for pair in [0, 1, 65_535] {
                for kind in [
                    Kind::Transmit(pair),
                    Kind::Receive(pair),
                    Kind::Uplink(pair),
                ] {
                    let token = Token { port, kind };
                    assert_eq!(Token::decode(token.encode()), token);
                }
            }
        }
        assert_eq!(Token::decode(Token::MAILBOX.encode()), Token::MAILBOX);
    }
}
