//! Which side of a guest a network device of the host is.

use super::{Behind, ImportError, Place};
use crate::config::Direction;
use crate::uplink::IfName;

/// What names of NICs begin with (systemd.net-naming-scheme(7), and what came before it).
const NICS: &[&str] = &["eth", "en", "bond", "team", "wl", "ib", "dpdk", "sfp"];

/// An interface's name.
pub(super) fn name(place: &Place, text: &str) -> Result<IfName, ImportError> {
    text.parse().map_err(|error| place.value(text, error))
}

/// Whether a device leads to the wire; the others lead to a guest.
pub(super) fn is_nic(device: &str) -> bool {
    let starts = |start: &&str| {
        let rest = device.strip_prefix(*start);
        rest.is_some_and(|rest| rest.bytes().any(|byte| byte.is_ascii_digit()))
    };
    NICS.iter().any(starts)
}

/// The way of frames that leave the host through a device: what `tc` calls egress.
pub(super) fn egress(device: &str) -> Direction {
    if is_nic(device) {
        Direction::FromGuest
    } else {
        Direction::ToGuest
    }
}

/// The way of frames that the host gets from a device.
pub(super) fn ingress(device: &str) -> Direction {
    match egress(device) {
        Direction::FromGuest => Direction::ToGuest,
        Direction::ToGuest => Direction::FromGuest,
    }
}

/// The uplink that a device is or was.
pub(super) fn behind(place: &Place, device: &str) -> Result<Behind, ImportError> {
    let name = name(place, device)?;
    Ok(match is_nic(device) {
        true => Behind::Interface(name),
        false => Behind::Tap(name),
    })
}
