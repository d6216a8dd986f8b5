//! Address resolution of IPv4 (RFC 826) and its reverse (RFC 903).

use std::net::Ipv4Addr;

use super::Refused;

/// Ethernet, IPv4, and the lengths of their addresses.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// The addresses that a packet says its sender has.
///
/// # Errors
/// The packet is cut short, or not about Ethernet and IPv4, which no guest needs.
pub(super) fn sender(packet: &[u8]) -> Result<([u8; 6], Ipv4Addr), Refused> {
    // All of it, so that nobody reads the target from padding.
    let packet = packet.first_chunk::<28>().ok_or(Refused::Truncated)?;
    let &[
        k0,
        k1,
        k2,
        k3,
        k4,
        k5,
        _,
        _,
        a,
        b,
        c,
        d,
        e,
        f,
        i,
        j,
        k,
        l,
        ..,
    ] = packet;
    if [k0, k1, k2, k3, k4, k5] != KIND {
        return Err(Refused::SpoofedArp);
    }
    Ok(([a, b, c, d, e, f], Ipv4Addr::new(i, j, k, l)))
}
