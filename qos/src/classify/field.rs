//! The fields that rules ask for: which values a rule accepts, and which value a frame has.
//!
//! Values of all narrow fields are moved to the upper end of 32 bits, so that one kind of table serves
//! them all.

use std::net::IpAddr;

use super::bits::TcpFlags;
use super::headers::{Fragment, Headers};
use super::prefix::Prefix;
use super::rule::Match;
use super::spelling::Range;

/// First and last value that a rule accepts, or several such pairs.
pub(super) type Spans = Vec<(u128, u128)>;

/// A field whose values come from a frame's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Dscp,
    Vlan,
    VlanPriority,
    EtherType,
    Source4,
    Destination4,
    Source6,
    Destination6,
    Protocol,
    SourcePort,
    DestinationPort,
    TcpFlags,
    Length,
    CipsoDoi,
    CipsoLevel,
    Fragment,
}

/// Values of eight bits.
const fn octet(value: u8) -> u32 {
    (value as u32) << 24
}

/// Values of sixteen bits.
const fn double(value: u16) -> u32 {
    (value as u32) << 16
}

impl Field {
    pub(super) const ALL: [Self; 16] = [
        Self::Dscp,
        Self::Vlan,
        Self::VlanPriority,
        Self::EtherType,
        Self::Source4,
        Self::Destination4,
        Self::Source6,
        Self::Destination6,
        Self::Protocol,
        Self::SourcePort,
        Self::DestinationPort,
        Self::TcpFlags,
        Self::Length,
        Self::CipsoDoi,
        Self::CipsoLevel,
        Self::Fragment,
    ];

    /// Whether its values have 128 bits instead of 32.
    pub(super) const fn is_wide(self) -> bool {
        matches!(self, Self::Source6 | Self::Destination6)
    }

    /// How many octets of a value matter, for fields that are not wide.
    #[inline]
    pub(super) const fn octets(self) -> u32 {
        match self {
            Self::Dscp
            | Self::VlanPriority
            | Self::Protocol
            | Self::TcpFlags
            | Self::CipsoLevel
            | Self::Fragment => 1,
            Self::Vlan | Self::EtherType | Self::SourcePort | Self::DestinationPort => 2,
            _ => 4,
        }
    }

    /// What a rule accepts; `None` if it does not ask.
    pub(super) fn spans(self, rule: &Match) -> Option<Spans> {
        match self {
            Self::Dscp => rule.dscp.map(|dscp| one(octet(dscp.value()), 24)),
            Self::Vlan => rule.vlan.map(|id| one(double(id), 16)),
            Self::VlanPriority => rule.vlan_priority.map(|value| one(octet(value), 24)),
            Self::EtherType => rule.ethertype.map(|value| one(double(value.value()), 16)),
            Self::Source4 => narrow(rule.source?),
            Self::Destination4 => narrow(rule.destination?),
            Self::Source6 => wide(rule.source?),
            Self::Destination6 => wide(rule.destination?),
            Self::Protocol => rule.protocol.map(|protocol| one(octet(protocol.0), 24)),
            Self::SourcePort => rule.source_port.map(ports),
            Self::DestinationPort => rule.destination_port.map(ports),
            Self::TcpFlags => rule.tcp_flags.map(flags),
            Self::Length => {
                let length = rule.length?;
                Some(vec![(length.first().into(), length.last().into())])
            }
            Self::CipsoDoi => rule.cipso.map(|label| one(label.doi, 0)),
            Self::CipsoLevel => {
                let level = rule.cipso?.level?;
                Some(between(octet(level.first()), octet(level.last()), 24))
            }
            Self::Fragment => rule.fragment.map(|yes| one(octet(u8::from(yes)), 24)),
        }
    }

    /// What a frame has, for fields that are not wide.
    #[inline]
    pub(super) fn value(self, headers: &Headers) -> Option<u32> {
        match self {
            Self::Dscp => headers.dscp.map(|dscp| octet(dscp.value())),
            Self::Vlan => headers.vlan.map(|tag| double(tag.id)),
            Self::VlanPriority => headers.vlan.map(|tag| octet(tag.priority)),
            Self::EtherType => headers.ethertype.map(|value| double(value.value())),
            Self::Source4 => address4(headers.source),
            Self::Destination4 => address4(headers.destination),
            Self::Protocol => headers.protocol.map(|protocol| octet(protocol.0)),
            Self::SourcePort => headers.source_port.map(double),
            Self::DestinationPort => headers.destination_port.map(double),
            Self::TcpFlags => headers.tcp_flags.map(octet),
            Self::Length => Some(headers.len),
            Self::CipsoDoi => headers.cipso.map(|label| label.doi),
            Self::CipsoLevel => headers.cipso.and_then(|label| label.level).map(octet),
            Self::Fragment => {
                let yes = headers.fragment != Fragment::Whole;
                Some(octet(u8::from(yes)))
            }
            Self::Source6 | Self::Destination6 => None,
        }
    }

    /// What a frame has, for fields that are wide.
    #[inline]
    pub(super) fn wide_value(self, headers: &Headers) -> Option<u128> {
        let address = match self {
            Self::Source6 => headers.source,
            _ => headers.destination,
        };
        match address? {
            IpAddr::V6(address) => Some(address.to_bits()),
            IpAddr::V4(_) => None,
        }
    }
}

#[inline]
fn address4(address: Option<IpAddr>) -> Option<u32> {
    match address? {
        IpAddr::V4(address) => Some(address.to_bits()),
        IpAddr::V6(_) => None,
    }
}

/// The values from `first` to `last`, whose lowest `free` bits are beyond the field.
fn between(first: u32, last: u32, free: u32) -> Spans {
    let below = u32::MAX.checked_shr(32_u32.saturating_sub(free));
    vec![(first.into(), (last | below.unwrap_or(0)).into())]
}

/// The value alone.
pub(super) fn one(value: u32, free: u32) -> Spans {
    between(value, value, free)
}

fn ports(range: Range<u16>) -> Spans {
    between(double(range.first()), double(range.last()), 16)
}

fn flags(wanted: TcpFlags) -> Spans {
    let accepted = (0..=u8::MAX).filter(|&flags| wanted.accepts(flags));
    accepted.flat_map(|flags| one(octet(flags), 24)).collect()
}

fn narrow(prefix: Prefix) -> Option<Spans> {
    let (first, last) = prefix.span4()?;
    Some(vec![(first.into(), last.into())])
}

fn wide(prefix: Prefix) -> Option<Spans> {
    Some(vec![prefix.span6()?])
}
