//! Commands that ask once and print what comes: rings, trees, metrics, a kick.

use std::io::Write;

use netqos::control::{Client, Request, RingReport};
use serde::Deserialize;

use crate::failure::Failure;
use crate::text::{HEAD, printable};

/// An answer that holds no facts.
#[derive(Debug, Deserialize)]
pub(crate) struct Done {}

/// Has something done of which there is nothing to tell.
pub(crate) fn do_it(daemon: &mut Client, request: &Request) -> Result<Done, Failure> {
    Ok(daemon.ask(request)?)
}

pub(crate) fn kick(daemon: &mut Client, guest: &str) -> Result<(), Failure> {
    let guest = guest.to_owned();
    do_it(daemon, &Request::Kick { guest }).map(|Done {}| ())
}

pub(crate) fn trees(daemon: &mut Client, out: &mut impl Write) -> Result<(), Failure> {
    let trees = daemon.trees()?;
    for line in trees.text.lines() {
        writeln!(out, "{}", printable(line))?;
    }
    Ok(writeln!(out, "generation {}", trees.generation)?)
}

pub(crate) fn metrics(daemon: &mut Client, out: &mut impl Write) -> Result<(), Failure> {
    Ok(out.write_all(daemon.metrics()?.as_bytes())?)
}

const RING_NOTE: &str = "\
avail is the guest's index, used and next are ours; waiting: what we have not
taken yet. call at: the used index at which the guest wants to be called; kick
at: the available index at which we want to be kicked. Either may be: never.
";

pub(crate) fn ring(daemon: &mut Client, out: &mut impl Write, guest: &str) -> Result<(), Failure> {
    let rings = daemon.rings(guest)?.rings;
    let head = ring_line([
        "ring",
        "direction",
        "state",
        "size",
        "avail",
        "used",
        "next",
        "waiting",
        "call at",
        "kick at",
    ]);
    writeln!(out, "{HEAD}{head}{HEAD:#}")?;
    for ring in &rings {
        writeln!(out, "{}", ring_row(ring))?;
    }
    Ok(write!(out, "\n{RING_NOTE}")?)
}

fn ring_row(ring: &RingReport) -> String {
    let at = |never: bool, index: Option<u16>| match (never, index) {
        (_, Some(index)) => index.to_string(),
        (true, None) => "never".to_owned(),
        (false, None) => "any".to_owned(),
    };
    // Ring 0 is the first receiveq (virtio 1.3 §5.1.2).
    let direction = match ring.ring % 2 {
        0 => "to-guest",
        _ => "from-guest",
    };
    ring_line([
        &ring.ring.to_string(),
        direction,
        &printable(&ring.state),
        &ring.size.to_string(),
        &ring.avail.to_string(),
        &ring.used.to_string(),
        &ring.next.to_string(),
        &ring.waiting.to_string(),
        &at(ring.no_interrupt, ring.used_event),
        &at(ring.no_notify, ring.avail_event),
    ])
}

fn ring_line(cells: [&str; 10]) -> String {
    let [
        ring,
        direction,
        state,
        size,
        avail,
        used,
        next,
        waiting,
        call,
        kick,
    ] = cells;
    format!(
        "{ring:4} {direction:10} {state:8} {size:>6} {avail:>6} {used:>6} {next:>6} {waiting:>7} \
         {call:>7} {kick:>7}"
    )
}
