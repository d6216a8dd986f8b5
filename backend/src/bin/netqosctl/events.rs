//! `events`: what happens, as it happens.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use netqos::control::{Client, Event, Request};

use crate::diff;
use crate::failure::Failure;
use crate::plain::{Done, do_it};
use crate::text::{CHANGED, GONE, NEW, paragraph};

pub(crate) fn run(daemon: &mut Client, out: &mut impl Write, json: bool) -> Result<(), Failure> {
    let Done {} = do_it(daemon, &Request::Subscribe {})?;
    loop {
        let Some(event) = daemon.event(None)? else {
            continue;
        };
        match json {
            true => {
                serde_json::to_writer(&mut *out, &event).map_err(io::Error::from)?;
                writeln!(out)?;
            }
            false => print(out, &event, &clock(SystemTime::now()))?,
        }
        out.flush()?;
    }
}

/// The time of day (UTC).
fn clock(now: SystemTime) -> String {
    let seconds = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02}Z ")
}

fn print(out: &mut impl Write, event: &Event, clock: &str) -> io::Result<()> {
    let (style, text) = match event {
        Event::Applied {
            generation,
            differences,
        } => {
            let text = format!("generation {generation} is served");
            paragraph(out, CHANGED, [clock, "  "], &text)?;
            return diff::differences(out, differences);
        }
        Event::Session {
            guest,
            connected: true,
            ..
        } => (NEW, format!("guest {guest} is connected")),
        Event::Session { guest, reason, .. } => {
            let why = reason
                .as_ref()
                .map_or_else(String::new, |why| format!(": {why}"));
            (GONE, format!("guest {guest} has gone{why}"))
        }
        Event::Paused {
            guest,
            paused: true,
        } => (CHANGED, format!("guest {guest} is paused")),
        Event::Paused { guest, .. } => (CHANGED, format!("guest {guest} goes on")),
        Event::Link { uplink, state } => {
            let style = if state == "up" { NEW } else { GONE };
            (style, format!("uplink {uplink} is {state}"))
        }
        Event::Lost { events } => (
            GONE,
            format!("{events} events were lost: they were not taken in time"),
        ),
        // Only captures have these.
        Event::Frame { .. } | Event::CaptureEnd { .. } => return Ok(()),
    };
    paragraph(out, style, [clock, "  "], &text)
}
