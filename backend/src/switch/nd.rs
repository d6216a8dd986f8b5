//! ICMPv6: neighbour discovery (RFC 4861) that must name its sender, and what only routers send.

use std::net::Ipv6Addr;

use ring::net::{Facts, Fragment};

use super::Refused;
use super::guard::Guard;

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;
/// The options that name the sender's and the target's link-layer address.
const LINK_LAYER: [u8; 2] = [1, 2];

/// Checks an ICMPv6 message from `source`.
///
/// # Errors
/// Why it must not go on.
pub(super) fn check(
    guard: &Guard,
    source: Ipv6Addr,
    message: &[u8],
    facts: &Facts,
) -> Result<(), Refused> {
    let kind = *message.first().ok_or(Refused::Truncated)?;
    if !(ROUTER_SOLICITATION..=REDIRECT).contains(&kind) {
        return Ok(());
    }
    // RFC 6980 §5: none of these is ever fragmented.
    if facts.fragment != Fragment::No {
        return Err(Refused::Hidden);
    }
    if matches!(kind, ROUTER_ADVERTISEMENT | REDIRECT) && !guard.trust().router {
        return Err(Refused::RogueRouter);
    }
    if !guard.names_sender() {
        return Ok(());
    }
    let options = match kind {
        ROUTER_SOLICITATION => 8,
        ROUTER_ADVERTISEMENT => 16,
        NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT => {
            let target = message.get(8..).and_then(<[u8]>::first_chunk::<16>);
            let target = Ipv6Addr::from(*target.ok_or(Refused::Truncated)?);
            // Others are asked for their own addresses; the search for duplicates asks for the sender's.
            let claims = kind == NEIGHBOUR_ADVERTISEMENT || source.is_unspecified();
            if claims && !guard.permits(target.into()) {
                return Err(Refused::SpoofedNd);
            }
            24
        }
        // A redirect names the link-layer address of somebody else, as a trusted router may.
        _ => return Ok(()),
    };
    link_layers(message.get(options..).ok_or(Refused::Truncated)?, facts)
}

/// Checks that the options name no link-layer address but the frame's source.
fn link_layers(mut options: &[u8], facts: &Facts) -> Result<(), Refused> {
    // Each option is at least eight bytes of what is at most a head's worth.
    while let Some((&kind, rest)) = options.split_first() {
        let units = *rest.first().ok_or(Refused::Truncated)?;
        if units == 0 {
            return Err(Refused::SpoofedNd);
        }
        let (option, behind) = options
            .split_at_checked(usize::from(units).saturating_mul(8))
            .ok_or(Refused::Truncated)?;
        if LINK_LAYER.contains(&kind) && option.get(2..8) != Some(&facts.source_mac) {
            return Err(Refused::SpoofedNd);
        }
        options = behind;
    }
    Ok(())
}
