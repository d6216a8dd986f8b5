//! What IGMP (RFC 1112, 2236, 3376) and MLD (RFC 2710, 3810) messages say about groups.

use std::net::Ipv4Addr;

use ring::net::{Facts, Fragment, Network};

use super::groups::Family;
use super::packet;
use super::tags::be16;

const IGMP: u8 = 2;
const ICMPV6: u8 = 58;

/// A message about groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// Someone asks who wants what.
    Query(Family),
    /// A station says what it wants.
    Report(Report<'a>),
}

/// Groups that a station wants or does not want any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Report<'a> {
    pub(super) family: Family,
    kind: Kind,
    /// From the group, or the first record, on.
    bytes: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Join,
    Leave,
    Records,
}

impl<'a> Message<'a> {
    /// Reads the message in a frame, if it is one.
    pub(super) fn parse(head: &'a [u8], facts: &Facts) -> Option<Self> {
        if facts.fragment != Fragment::No {
            return None;
        }
        let payload = packet::transport(head, facts)?;
        let kind = payload.first().copied()?;
        let report = |family, kind, from| {
            let bytes = payload.get(from..)?;
            Some(Self::Report(Report {
                family,
                kind,
                bytes,
            }))
        };
        match (facts.network, facts.protocol?) {
            (Network::Ipv4, IGMP) => match kind {
                0x11 => Some(Self::Query(Family::V4)),
                0x12 | 0x16 => report(Family::V4, Kind::Join, 4),
                0x17 => report(Family::V4, Kind::Leave, 4),
                0x22 => report(Family::V4, Kind::Records, 8),
                _ => None,
            },
            (Network::Ipv6, ICMPV6) => match kind {
                130 => Some(Self::Query(Family::V6)),
                131 => report(Family::V6, Kind::Join, 8),
                132 => report(Family::V6, Kind::Leave, 8),
                143 => report(Family::V6, Kind::Records, 8),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Report<'_> {
    /// Calls `each` with the Ethernet address of every group and whether it is wanted, as far as the
    /// bytes go. Groups that always reach everybody are left out.
    pub(super) fn for_each(&self, mut each: impl FnMut([u8; 6], bool)) {
        let mut each = |group: Option<[u8; 6]>, wanted| {
            if let Some(mac) = group.filter(|mac| is_restrictable(*mac)) {
                each(mac, wanted);
            }
        };
        match self.kind {
            Kind::Join => each(self.group(self.bytes), true),
            Kind::Leave => each(self.group(self.bytes), false),
            Kind::Records => {
                let mut records = self.bytes;
                while let Some((group, wanted, rest)) = self.record(records) {
                    if let Some(wanted) = wanted {
                        each(Some(group), wanted);
                    }
                    records = rest;
                }
            }
        }
    }

    /// The first record: its group, what it says about it, and the records behind.
    fn record<'b>(&self, bytes: &'b [u8]) -> Option<([u8; 6], Option<bool>, &'b [u8])> {
        let &[kind, auxiliary, ..] = bytes else {
            return None;
        };
        let sources = usize::from(be16(bytes, 2)?);
        let group = self.group(bytes.get(4..)?)?;
        let address = match self.family {
            Family::V4 => 4,
            Family::V6 => 16,
        };
        // RFC 3376 §4.2.12: to include nothing is to leave; exclusion wants the rest.
        let wanted = match kind {
            1 | 3 => Some(sources > 0),
            2 | 4 | 5 => Some(true),
            _ => None,
        };
        let len = sources
            .saturating_add(1)
            .saturating_mul(address)
            .saturating_add(usize::from(auxiliary).saturating_mul(4))
            .saturating_add(4);
        Some((group, wanted, bytes.get(len..).unwrap_or_default()))
    }

    /// The Ethernet address (RFC 1112 §6.4, RFC 2464 §7) of the group that the bytes begin with.
    fn group(&self, bytes: &[u8]) -> Option<[u8; 6]> {
        match self.family {
            Family::V4 => {
                let &[a, b, c, d, ..] = bytes else {
                    return None;
                };
                Ipv4Addr::new(a, b, c, d)
                    .is_multicast()
                    .then_some([1, 0, 0x5e, b & 0x7f, c, d])
            }
            Family::V6 => {
                let group = bytes.first_chunk::<16>()?;
                let &[0xff, .., a, b, c, d] = group else {
                    return None;
                };
                Some([0x33, 0x33, a, b, c, d])
            }
        }
    }
}

/// The family of a multicast Ethernet address.
#[inline]
pub(super) fn family(mac: [u8; 6]) -> Option<Family> {
    match mac {
        [1, 0, 0x5e, 0..0x80, ..] => Some(Family::V4),
        [0x33, 0x33, ..] => Some(Family::V6),
        _ => None,
    }
}

/// Whether a group may be kept from those who did not join: all but 224.0.0.0/24 (RFC 4541 §2.1.2),
/// which nobody reports, and all nodes of IPv6.
#[inline]
pub(super) fn is_restrictable(mac: [u8; 6]) -> bool {
    match family(mac) {
        Some(Family::V4) => !matches!(mac, [_, _, _, 0, 0, _]),
        Some(Family::V6) => !matches!(mac, [_, _, 0, 0, 0, 1]),
        None => false,
    }
}
