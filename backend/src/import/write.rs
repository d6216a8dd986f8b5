//! Writes what was imported as a configuration file.

use std::collections::HashSet;
use std::fmt::{self, Write};

use serde_json::Value;

use super::order::{clean, unique};
use super::set::settings;
use super::{Behind, Branch, Guest, Imported, Limits, Met};
use crate::config::{Direction, VlanConfig};
use crate::uplink::IfName;

/// Columns of a comment.
const WIDTH: usize = 100;

/// The tap of guests that are behind nothing known.
const UNSAID_TAP: &str = "netqos0";

impl Imported {
    /// A configuration for `netqos-vhost --config`: these guests, the uplinks they are behind, and a
    /// comment for whatever has no equal.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::from("# Try this out: netqos-vhost --config FILE --check\n");
        comments(&mut text, &self.notes);
        let uplinks = Uplinks::of(self);
        // Writing to a string cannot fail, here and below.
        let _ = uplinks.write(&mut text, self);
        for guest in &self.guests {
            let _ = write_guest(&mut text, guest, uplinks.name(&guest.behind));
        }
        text
    }
}

/// The uplinks of all guests, each once, and what they are called.
struct Uplinks<'a>(Vec<(&'a Behind, String)>);

impl<'a> Uplinks<'a> {
    fn of(imported: &'a Imported) -> Self {
        let mut names = HashSet::new();
        let mut uplinks: Vec<(&Behind, String)> = Vec::new();
        for guest in &imported.guests {
            if uplinks.iter().all(|(behind, _)| **behind != guest.behind) {
                let name = match &guest.behind {
                    Behind::Unsaid => "uplink",
                    Behind::Bridge(name)
                    | Behind::Tap(name)
                    | Behind::Interface(name)
                    | Behind::Macvtap(name) => name.as_str(),
                };
                uplinks.push((&guest.behind, unique(&clean(name), &mut names)));
            }
        }
        Self(uplinks)
    }

    fn name(&self, behind: &Behind) -> &str {
        let mut uplinks = self.0.iter();
        let uplink = uplinks.find(|(known, _)| *known == behind);
        uplink.map_or("", |(_, name)| name)
    }

    fn write(&self, text: &mut String, imported: &Imported) -> fmt::Result {
        let mut taps = self.taken();
        for (behind, name) in &self.0 {
            writeln!(text, "\n[uplink.{}]", key(name))?;
            match behind {
                Behind::Unsaid => {
                    let tap = tap(UNSAID_TAP, &mut taps);
                    comment(
                        text,
                        "Where these guests' frames go is not in what was imported: make the tap a port of \
                                   a bridge (bridge = \"br0\"), or name a NIC (kind = \"packet:eth0\").",
                    );
                    writeln!(text, "kind = {}", quoted(&format!("tap:{tap}")))?;
                }
                Behind::Bridge(bridge) => {
                    let tap = tap(&format!("nq-{bridge}"), &mut taps);
                    writeln!(text, "kind = {}", quoted(&format!("tap:{tap}")))?;
                    writeln!(text, "bridge = {}", quoted(bridge.as_str()))?;
                }
                Behind::Tap(name) => {
                    writeln!(text, "kind = {}", quoted(&format!("tap:{name}")))?;
                }
                Behind::Interface(name) => {
                    writeln!(text, "kind = {}", quoted(&format!("packet:{name}")))?;
                }
                Behind::Macvtap(name) => {
                    writeln!(text, "kind = {}", quoted(&format!("macvtap:{name}")))?;
                }
            }
            for direction in Direction::BOTH {
                let behind = |guest: &&Guest| guest.behind == **behind;
                let mut guests = imported.guests.iter().filter(behind);
                if guests.any(|guest| guest.branch(direction).scale) {
                    comment(
                        text,
                        "Guarantees below do not fit: they shrink in proportion.",
                    );
                    writeln!(text, "{} = {{ overcommit = \"scale\" }}", direction.key())?;
                }
            }
        }
        Ok(())
    }

    /// Interfaces that no new tap may be called.
    fn taken(&self) -> HashSet<String> {
        let name = |behind: &Behind| match behind {
            Behind::Unsaid => None,
            Behind::Bridge(name)
            | Behind::Tap(name)
            | Behind::Interface(name)
            | Behind::Macvtap(name) => Some(name.to_string()),
        };
        self.0
            .iter()
            .filter_map(|(behind, _)| name(behind))
            .collect()
    }
}

/// A name for a tap that is nothing else's: the text as far as it goes, or numbered.
fn tap(name: &str, taken: &mut HashSet<String>) -> String {
    let fits = |name: &str| name.parse::<IfName>().is_ok();
    let mut ends = name
        .char_indices()
        .map(|(at, _)| at)
        .chain([name.len()])
        .rev();
    let start = ends.find_map(|end| name.get(..end).filter(|name| fits(name)));
    let start = start.unwrap_or(UNSAID_TAP);
    let numbered = (0_u64..).map(|number| format!("nq-{number}"));
    let mut names = std::iter::once(start.to_owned()).chain(numbered);
    let free = names.find(|name| !taken.contains(name)).unwrap_or_default();
    taken.insert(free.clone());
    free
}

fn write_guest(text: &mut String, guest: &Guest, uplink: &str) -> fmt::Result {
    let table = format!("guest.{}", key(&guest.name));
    writeln!(text, "\n[{table}]")?;
    comments(text, &guest.notes);
    match &guest.met {
        Met::Unsaid => {
            let path = format!("/run/netqos/{}.sock", guest.name);
            writeln!(
                text,
                "socket = {}  # not in what was imported",
                quoted(&path)
            )?;
        }
        Met::Socket(path) => writeln!(text, "socket = {}", quoted(&path.to_string_lossy()))?,
        Met::Connect(path) => writeln!(text, "connect = {}", quoted(&path.to_string_lossy()))?,
    }
    if let Some(mac) = guest.mac {
        writeln!(text, "mac = \"{mac}\"")?;
    }
    let addresses = guest.addresses.iter().map(|it| quoted(&it.to_string()));
    list(text, "addresses", addresses)?;
    writeln!(text, "uplink = {}", quoted(uplink))?;
    if let Some(queues) = guest.queues {
        writeln!(text, "queues = {queues}")?;
    }
    if let Some(mtu) = guest.mtu {
        writeln!(text, "mtu = {mtu}")?;
    }
    match &guest.vlan {
        VlanConfig::Transparent => {}
        VlanConfig::Access(vlan) => writeln!(text, "vlan = {vlan}")?,
        VlanConfig::Trunk { vlans, native } => {
            list(text, "trunk", vlans.iter().map(u16::to_string))?;
            if let Some(native) = native {
                writeln!(text, "native = {native}")?;
            }
        }
    }
    if let Some(isolation) = &guest.isolation {
        writeln!(text, "isolation = {}", quoted(isolation))?;
    }
    for direction in Direction::BOTH {
        write_branch(text, &table, direction, guest.branch(direction))?;
    }
    Ok(())
}

fn write_branch(
    text: &mut String,
    guest: &str,
    direction: Direction,
    branch: &Branch,
) -> fmt::Result {
    if branch.is_empty() {
        return Ok(());
    }
    let table = format!("{guest}.{}", direction.key());
    writeln!(text, "\n[{table}]")?;
    limits(text, &branch.own)?;
    if let Some(default) = &branch.default {
        writeln!(text, "default = {}", quoted(default))?;
    }
    if let Some(dscp) = branch.set_dscp {
        writeln!(text, "rule = [{{ set_dscp = \"{dscp}\" }}]")?;
    }
    for class in &branch.classes {
        writeln!(text, "\n[[{table}.class]]")?;
        writeln!(text, "name = {}", quoted(&class.name))?;
        if let Some(parent) = &class.parent {
            writeln!(text, "parent = {}", quoted(parent))?;
        }
        limits(text, &class.limits)?;
    }
    Ok(())
}

fn limits(text: &mut String, limits: &Limits) -> fmt::Result {
    comments(text, &limits.notes);
    for (key, value) in in_toml(limits) {
        writeln!(text, "{key} = {value}")?;
    }
    Ok(())
}

/// The keys of a class and their values in TOML.
fn in_toml(limits: &Limits) -> Vec<(&'static str, String)> {
    let numbers = ["weight", "prio"];
    let mut settings = settings(limits);
    for (key, value) in &mut settings {
        if !numbers.contains(key) {
            *value = quoted(value);
        }
    }
    if let Some(framing) = limits.framing.filter(|_| !limits.is_unlimited()) {
        settings.push(("overhead", framing.overhead.to_string()));
        settings.push(("mpu", framing.mpu.to_string()));
    }
    settings
}

fn list(text: &mut String, key: &str, values: impl Iterator<Item = String>) -> fmt::Result {
    let values: Vec<String> = values.collect();
    if values.is_empty() {
        return Ok(());
    }
    writeln!(text, "{key} = [{}]", values.join(", "))
}

fn comments(text: &mut String, notes: &[String]) {
    for note in notes {
        comment(text, note);
    }
}

/// A comment of one line or more; whatever is in it stays in it.
pub(super) fn comment(text: &mut String, note: &str) {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let note: String = note.chars().map(plain).collect();
    let options = textwrap::Options::new(WIDTH)
        .initial_indent("# ")
        .subsequent_indent("#   ");
    text.push_str(&textwrap::fill(note.trim(), options));
    text.push('\n');
}

/// A text as TOML has it; JSON's escapes are among TOML's, and names have no control characters.
fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// A part of a table's name.
fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match !name.is_empty() && name.bytes().all(bare) {
        true => name.to_owned(),
        false => quoted(name),
    }
}
