//! `explain`: which rules and classes a frame would meet.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use netqos::args::MacAddr;
use netqos::control::{Client, Direction, Explanation, Request};

use crate::cli::Explain;
use crate::failure::{Failure, InputError};
use crate::packet::{Packet, summary};
use crate::text::{GONE, HEAD, NEW, PLAIN, paragraph};

pub(crate) fn run(
    daemon: impl FnOnce() -> Result<Client, netqos::control::ClientError>,
    out: &mut impl Write,
    args: &Explain,
) -> Result<(), Failure> {
    let direction = args.direction.into();
    let packet = Packet::parse(&args.packet).map_err(InputError::from)?;
    // Words that do not go together are wrong with and without a daemon.
    let outward = direction == Direction::FromGuest;
    packet.bytes(None, outward).map_err(InputError::from)?;
    let mut daemon = daemon()?;
    let guest = match packet {
        Packet::Words(_) => address(&mut daemon, &args.guest)?,
        Packet::Bytes(_) => None,
    };
    let frame = packet.bytes(guest, outward).map_err(InputError::from)?;
    let explanation = daemon.explain(&Request::Explain {
        guest: args.guest.clone(),
        direction,
        frame: BASE64_STANDARD.encode(&frame),
    })?;
    Ok(print(out, &frame, &explanation)?)
}

/// The guest's own address, if one is configured.
fn address(daemon: &mut Client, guest: &str) -> Result<Option<[u8; 6]>, Failure> {
    let report = daemon.report(&[guest.to_owned()], false)?;
    let mac = report.ports.first().and_then(|port| port.mac.as_deref());
    let mac = mac.and_then(|mac| mac.parse().ok());
    Ok(mac.map(MacAddr::octets))
}

fn print(out: &mut impl Write, frame: &[u8], explanation: &Explanation) -> std::io::Result<()> {
    let (guest, direction) = (&explanation.guest, explanation.direction.name());
    let text = format!(
        "{direction} of {guest}: {} bytes, {}",
        frame.len(),
        summary(frame)
    );
    paragraph(out, HEAD, ["", "  "], &text)?;
    for (number, step) in (1..).zip(&explanation.steps) {
        paragraph(out, PLAIN, [&format!("{number:3}. "), "     "], step)?;
    }
    let class = match (&explanation.class, &explanation.drop) {
        (Some(class), _) => Some(class.as_str()),
        (None, None) => Some("the guest's own"),
        (None, Some(_)) => None,
    };
    if let Some(class) = class {
        paragraph(out, PLAIN, ["class: ", "  "], class)?;
    }
    if let Some(to) = &explanation.to {
        paragraph(out, NEW, ["goes to: ", "  "], to)?;
    }
    if let Some(why) = &explanation.drop {
        paragraph(out, GONE, ["dropped: ", "  "], why)?;
    }
    Ok(())
}
