//! Reads [`Headers`] from bytes: at most two VLAN tags and eight extension headers, never past the end
//! of the packet or of what was given.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::dscp::Dscp;
use super::headers::{Cipso, Fragment, Headers, VlanTag};
use super::spelling::{EtherType, Protocol};

/// Bytes of the two addresses and the EtherType.
const ETHERNET: usize = 14;
/// Most IPv6 extension headers followed.
const MAX_EXTENSIONS: usize = 8;
/// The option of a sensitivity label (RFC 1108's successor, FIPS 188 §2).
const CIPSO_OPTION: u8 = 134;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;

/// Where the network header starts and what it is, behind at most two tags, which `tag` is shown.
/// Behind a third the answer is that tag's EtherType.
#[inline]
pub(super) fn network_header(
    head: &[u8],
    mut tag: impl FnMut(VlanTag),
) -> Option<(usize, Option<EtherType>)> {
    let mut at = ETHERNET;
    let mut ethertype = be16(head, 12)?;
    for _ in 0..2 {
        if !EtherType::new(ethertype).is_some_and(EtherType::is_tag) {
            break;
        }
        let (Some(tci), Some(next)) = (be16(head, at), be16(head, at.saturating_add(2))) else {
            break;
        };
        tag(VlanTag::of_tci(tci));
        ethertype = next;
        at = at.saturating_add(4);
    }
    Some((at, EtherType::new(ethertype)))
}

#[inline]
fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u16::from_be_bytes)
}

impl Headers {
    /// Reads the headers of a frame of `len` bytes that begins with the bytes of `head` and carries
    /// `mark`. Headers beyond `head` are not known, so give at least 512 bytes of a longer frame.
    ///
    /// Damaged headers end the reading: rules that ask for more do not match.
    #[must_use]
    #[inline]
    pub fn parse(head: &[u8], len: u32, mark: u32) -> Self {
        let mut headers = Self {
            len,
            mark,
            ..Self::default()
        };
        // What was given beyond the frame is the caller's buffer, not the frame.
        let known = usize::try_from(len).map_or(head.len(), |len| len.min(head.len()));
        headers.read(head.get(..known).unwrap_or_default());
        headers
    }

    #[inline]
    fn read(&mut self, head: &[u8]) -> Option<()> {
        let macs = head.first_chunk::<ETHERNET>()?;
        self.destination_mac = *macs.first_chunk()?;
        self.source_mac = *macs.get(6..)?.first_chunk()?;
        let (at, ethertype) = network_header(head, |tag| match self.vlan {
            None => self.vlan = Some(tag),
            Some(_) => self.inner_vlan = Some(tag),
        })?;
        self.ethertype = ethertype;
        let packet = head.get(at..)?;
        let room = self.len.saturating_sub(u32::try_from(at).ok()?);
        match ethertype? {
            EtherType::IPV4 => self.ipv4(packet, room),
            EtherType::IPV6 => self.ipv6(packet, room),
            _ => None,
        }
    }

    /// `room` is what the whole frame has for the packet, of which `packet` is what is known.
    #[inline]
    fn ipv4(&mut self, packet: &[u8], room: u32) -> Option<()> {
        let fixed = packet.first_chunk::<20>()?;
        let &[
            first,
            tos,
            t0,
            t1,
            _,
            _,
            f0,
            f1,
            _,
            protocol,
            _,
            _,
            addresses @ ..,
        ] = fixed;
        let [s0, s1, s2, s3, d0, d1, d2, d3] = addresses;
        let header = usize::from(first & 0x0f).saturating_mul(4);
        let total = u16::from_be_bytes([t0, t1]);
        let fits = usize::from(total) >= header && u32::from(total) <= room;
        if first >> 4 != 4 || header < 20 || !fits {
            return None;
        }
        self.source = Some(IpAddr::V4(Ipv4Addr::new(s0, s1, s2, s3)));
        self.destination = Some(IpAddr::V4(Ipv4Addr::new(d0, d1, d2, d3)));
        self.dscp = Some(Dscp::of_octet(tos));
        self.ecn = Some(tos & 3);
        self.protocol = Some(Protocol(protocol));
        let place = u16::from_be_bytes([f0, f1]);
        self.fragment = fragment(place & 0x1fff != 0, place & 0x2000 != 0);
        let packet = packet.get(..packet.len().min(total.into()))?;
        if header > 20 {
            self.cipso = cipso(packet.get(20..header)?);
        }
        if self.fragment != Fragment::Later {
            self.transport(protocol, packet.get(header..)?);
        }
        Some(())
    }

    #[inline]
    fn ipv6(&mut self, packet: &[u8], room: u32) -> Option<()> {
        let (fixed, rest) = packet.split_first_chunk::<40>()?;
        let &[c0, c1, _, _, p0, p1, next, _, addresses @ ..] = fixed;
        let payload = u16::from_be_bytes([p0, p1]);
        if c0 >> 4 != 6 || u32::from(payload) > room.saturating_sub(40) {
            return None;
        }
        self.source = Some(IpAddr::V6(Ipv6Addr::from(*addresses.first_chunk::<16>()?)));
        let destination = *addresses.last_chunk::<16>()?;
        self.destination = Some(IpAddr::V6(Ipv6Addr::from(destination)));
        let class = (c0 << 4) | (c1 >> 4);
        self.dscp = Some(Dscp::of_octet(class));
        self.ecn = Some(class & 3);
        let rest = rest.get(..rest.len().min(payload.into()))?;
        let (protocol, rest) = self.extensions(next, rest)?;
        self.protocol = Some(Protocol(protocol));
        if self.fragment != Fragment::Later {
            self.transport(protocol, rest);
        }
        Some(())
    }

    /// Follows the extension headers to what they extend. `None` if that cannot be reached.
    #[inline]
    fn extensions<'a>(&mut self, next: u8, rest: &'a [u8]) -> Option<(u8, &'a [u8])> {
        let (mut next, mut rest) = (next, rest);
        for depth in 0..=MAX_EXTENSIONS {
            if !is_extension(next) {
                return Some((next, rest));
            }
            // Hop-by-hop options come first (RFC 8200 §4.1), and eight headers are followed.
            if depth == MAX_EXTENSIONS || (next == HOP_BY_HOP && depth > 0) {
                return None;
            }
            let &[after, units, p0, p1, ..] = rest else {
                return None;
            };
            let len = match next {
                FRAGMENT => {
                    if self.fragment != Fragment::Whole {
                        return None;
                    }
                    let place = u16::from_be_bytes([p0, p1]);
                    self.fragment = fragment(place & 0xfff8 != 0, place & 1 != 0);
                    8
                }
                // In units of four octets less two (RFC 4302 §2.2).
                AUTHENTICATION => usize::from(units).saturating_add(2).saturating_mul(4),
                _ => usize::from(units).saturating_add(1).saturating_mul(8),
            };
            rest = rest.get(len..)?;
            next = after;
            if self.fragment == Fragment::Later {
                // What follows is payload; an extension header among it cannot be followed.
                return (!is_extension(next)).then_some((next, rest));
            }
        }
        None
    }

    /// Ports and flags, of whole headers only.
    #[inline]
    fn transport(&mut self, protocol: u8, segment: &[u8]) -> Option<()> {
        let (&[s0, s1, d0, d1, ..], flags) = match protocol {
            6 => {
                let header = segment.first_chunk::<20>()?;
                let &[.., offset, flags, _, _, _, _, _, _] = header;
                if offset >> 4 < 5 {
                    return None;
                }
                (header.first_chunk::<4>()?, Some(flags))
            }
            17 | 136 => (segment.first_chunk::<8>()?.first_chunk::<4>()?, None),
            33 | 132 => (segment.first_chunk::<12>()?.first_chunk::<4>()?, None),
            _ => return None,
        };
        self.source_port = Some(u16::from_be_bytes([s0, s1]));
        self.destination_port = Some(u16::from_be_bytes([d0, d1]));
        self.tcp_flags = flags;
        Some(())
    }
}

const fn is_extension(next: u8) -> bool {
    matches!(
        next,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION | MOBILITY | HIP | SHIM6
    )
}

const fn fragment(later: bool, more: bool) -> Fragment {
    match (later, more) {
        (true, _) => Fragment::Later,
        (false, true) => Fragment::First,
        (false, false) => Fragment::Whole,
    }
}

/// The label among the options of an IPv4 header. Options that do not add up have none.
fn cipso(mut options: &[u8]) -> Option<Cipso> {
    // At most forty octets, so at most forty steps.
    while let Some((&kind, rest)) = options.split_first() {
        match kind {
            0 => return None,
            1 => options = rest,
            _ => {
                let len = usize::from(*rest.first()?);
                let (option, rest) = options.split_at_checked(len.max(2))?;
                if len < 2 {
                    return None;
                }
                if kind == CIPSO_OPTION {
                    return label(option.get(2..)?);
                }
                options = rest;
            }
        }
    }
    None
}

/// The label in an option's value: the domain, then tags that fill it exactly.
fn label(value: &[u8]) -> Option<Cipso> {
    let (doi, mut tags) = value.split_first_chunk::<4>()?;
    let doi = u32::from_be_bytes(*doi);
    // The first tag is the one that counts, but all must be sound.
    let level = match *tags {
        [1, len, _, level, ..] if len >= 4 => Some(level),
        [1, ..] => return None,
        _ => None,
    };
    while !tags.is_empty() {
        let len = usize::from(*tags.get(1)?);
        if len < 2 {
            return None;
        }
        tags = tags.get(len..)?;
    }
    Some(Cipso { doi, level })
}

#[cfg(test)]
mod tests;
