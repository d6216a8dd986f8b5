//! Changes of header bytes in place: code point, congestion mark and VLAN priority. The checksum of an
//! IPv4 header is updated by what changed (RFC 1624), so a wrong one stays wrong.

use super::dscp::Dscp;
use super::parse::network_header;
use super::spelling::EtherType;
use super::verdict::Verdict;

/// Gives a frame the code point and the VLAN priority of a verdict. `head` is the frame or its first
/// bytes; what it lacks is left as it is.
pub fn apply(head: &mut [u8], verdict: &Verdict) {
    if let Some(dscp) = verdict.set_dscp {
        set_dscp(head, dscp);
    }
    if let Some(priority) = verdict.set_vlan_priority {
        set_vlan_priority(head, priority);
    }
}

/// Sets the code point of an IP packet behind at most two VLAN tags. Whether there is one.
pub fn set_dscp(head: &mut [u8], dscp: Dscp) -> bool {
    let set = |class: u8| Some((dscp.value() << 2) | (class & 3));
    change_class(head, set).is_some()
}

/// Says that there is congestion (RFC 3168 §5), if the sender can be told so. Whether the packet is
/// marked now.
pub fn mark_ce(head: &mut [u8]) -> bool {
    let mark = |class: u8| (class & 3 != 0).then_some(class | 3);
    change_class(head, mark).is_some()
}

/// Sets the priority, of which the lower three bits count, in the outer VLAN tag. Whether there is one.
pub fn set_vlan_priority(head: &mut [u8], priority: u8) -> bool {
    let Some([.., t0, t1, high, _]) = head.first_chunk_mut::<16>() else {
        return false;
    };
    let ethertype = EtherType::new(u16::from_be_bytes([*t0, *t1]));
    let tagged = ethertype.is_some_and(EtherType::is_tag);
    if tagged {
        *high = (*high & 0x1f) | (priority << 5);
    }
    tagged
}

/// Replaces the type of service or traffic class of an IP packet.
fn change_class(head: &mut [u8], change: impl FnOnce(u8) -> Option<u8>) -> Option<()> {
    let (at, ethertype) = network_header(head, |_| ())?;
    let packet = head.get_mut(at..)?;
    match ethertype? {
        EtherType::IPV4 => {
            let [first, tos, _, _, _, _, _, _, _, _, c0, c1, ..] =
                packet.first_chunk_mut::<20>()?;
            if *first >> 4 != 4 || *first & 0x0f < 5 {
                return None;
            }
            let new = change(*tos)?;
            let old = u16::from_be_bytes([*first, *tos]);
            let checksum = u16::from_be_bytes([*c0, *c1]);
            *tos = new;
            let new = u16::from_be_bytes([*first, new]);
            [*c0, *c1] = updated(checksum, old, new).to_be_bytes();
        }
        EtherType::IPV6 => {
            let [c0, c1, ..] = packet.first_chunk_mut::<40>()?;
            if *c0 >> 4 != 6 {
                return None;
            }
            let class = change((*c0 << 4) | (*c1 >> 4))?;
            *c0 = (*c0 & 0xf0) | (class >> 4);
            *c1 = (*c1 & 0x0f) | (class << 4);
        }
        _ => return None,
    }
    Some(())
}

/// The checksum after one word has changed: equation 3 of RFC 1624.
fn updated(checksum: u16, old: u16, new: u16) -> u16 {
    let add = |one: u16, other: u16| {
        let (sum, carry) = one.overflowing_add(other);
        // After a carry the sum is below 0xffff.
        sum.wrapping_add(u16::from(carry))
    };
    !add(add(!checksum, !old), new)
}

#[cfg(test)]
mod tests;
