//! Puts what was read in order, so that it can be served: names, sockets and addresses are one guest's
//! alone, a burst holds a frame, and guarantees fit into what is above them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use qos::{Burst, Rate};

use super::error::short;
use super::{Branch, Guest, ImportError, Imported, Limits, Met, Place};
use crate::config::Direction;
use crate::listen::MAX_PATH_BYTES;

/// Wire bytes of a full-size frame: an MTU of 1500 bytes (IEEE 802.3), Ethernet header, preamble, check
/// sequence and gap. A burst has to hold as much.
const FRAME_BYTES: u64 = 1538;

/// Characters of a guest's name, so that its socket's path stays one.
const LONGEST_NAME: usize = 64;

/// Levels of classes below a guest: a tree has eight (`qos::class`), of which the guest is the third.
const LEVELS: usize = 5;

/// Puts all of it in order.
///
/// # Errors
/// Classes that lie too deep.
pub(super) fn put(imported: &mut Imported) -> Result<(), ImportError> {
    let mut names = HashSet::new();
    let mut paths = HashSet::new();
    let mut macs = HashSet::new();
    for guest in &mut imported.guests {
        guest.name = unique(&clean(&guest.name), &mut names);
        if let Some(fault) = socket_fault(&guest.met, &mut paths) {
            guest.notes.push(fault);
            guest.met = Met::Unsaid;
        }
        if let Some(mac) = guest.mac.filter(|mac| !macs.insert(*mac)) {
            guest
                .notes
                .push(format!("mac {mac} is another guest's above"));
            guest.mac = None;
        }
        for direction in Direction::BOTH {
            let name = guest.name.clone();
            branch(guest, direction).map_err(|class| {
                let place = Place::default().key(&format!("guest {name}"));
                place.value(
                    class,
                    format_args!("at most {LEVELS} levels of classes lie below a guest"),
                )
            })?;
        }
    }
    Ok(())
}

/// A name that logs, paths and trees can have.
pub(super) fn clean(name: &str) -> String {
    let bad = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '/' | '{' | '}');
    let clean = |c| if bad(c) { '-' } else { c };
    let name: String = name.chars().map(clean).collect();
    let mut end = name.len().min(LONGEST_NAME);
    while !name.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    match name.get(..end) {
        // Commands would take it for an option.
        Some(name) if name.starts_with('-') => format!("guest{name}"),
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => "guest".to_owned(),
    }
}

/// The name, or with a number if it is another's.
pub(super) fn unique(name: &str, taken: &mut HashSet<String>) -> String {
    let numbered = (2_u64..).map(|number| format!("{name}-{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    let free = names.find(|name| !taken.contains(name));
    let free = free.unwrap_or_default();
    taken.insert(free.clone());
    free
}

/// Why a socket cannot be the guest's.
fn socket_fault(met: &Met, taken: &mut HashSet<PathBuf>) -> Option<String> {
    let (Met::Socket(path) | Met::Connect(path)) = met else {
        return None;
    };
    let shown = short(&path.display().to_string());
    if path == Path::new("") || path.as_os_str().len() > MAX_PATH_BYTES {
        return Some(format!(
            "socket {shown}: a path has 1 to {MAX_PATH_BYTES} bytes"
        ));
    }
    if shown.contains(['{', '}']) || path.to_str().is_none_or(|it| it.contains('\0')) {
        return Some(format!(
            "socket {shown}: braces stand for names in paths here"
        ));
    }
    let is_new = taken.insert(path.clone());
    (!is_new).then(|| format!("socket {shown} is another guest's above"))
}

/// One direction of a guest.
///
/// # Errors
/// A class that lies too deep.
fn branch(guest: &mut Guest, direction: Direction) -> Result<(), String> {
    let branch = guest.branch_mut(direction);
    for class in &mut branch.classes {
        settle(&mut class.limits);
    }
    settle(&mut branch.own);
    if let Some(deep) = (0..branch.classes.len()).find(|&class| level(branch, class) > LEVELS) {
        return Err(branch
            .classes
            .get(deep)
            .map_or_else(String::new, |class| class.name.clone()));
    }
    // Children come after their parents in no source for certain: as often as there are levels.
    for _ in 0..=LEVELS {
        for class in 0..branch.classes.len() {
            raise(branch, Some(class));
        }
    }
    raise(branch, None);
    Ok(())
}

/// How many levels a class lies below the guest.
fn level(branch: &Branch, class: usize) -> usize {
    let mut level = 1;
    let mut at = branch.classes.get(class);
    while let Some(parent) = at.and_then(|class| class.parent.as_ref()) {
        level += 1;
        if level > LEVELS {
            break;
        }
        at = branch.classes.iter().find(|class| class.name == *parent);
    }
    level
}

/// What one class says has to hold by itself.
fn settle(limits: &mut Limits) {
    if let (Some(rate), Some(ceil)) = (limits.rate, limits.ceil)
        && rate > ceil
    {
        limits.note(format!(
            "it was guaranteed {rate}, above its limit of {ceil}: lowered to that"
        ));
        limits.rate = Some(ceil);
    }
    for (key, burst, rate) in [
        ("burst", &mut limits.burst, limits.rate),
        ("cburst", &mut limits.cburst, limits.ceil),
    ] {
        let Some(value) = *burst else { continue };
        let bytes = match (value, rate) {
            (Burst::Bytes(bytes), Some(_)) => bytes,
            (Burst::Duration(nanos), Some(rate)) => rate.bytes_in(nanos),
            (Burst::Auto, _) | (_, None) => {
                *burst = None;
                continue;
            }
        };
        if bytes < FRAME_BYTES {
            *burst = None;
            limits.notes.push(format!(
                "{key} {value} holds no frame of {FRAME_BYTES} bytes: left to be chosen"
            ));
        }
    }
}

/// Gives a class, or the guest, as large a guarantee as those below it have together.
fn raise(branch: &mut Branch, class: Option<usize>) {
    let (name, limits) = match class.map(|class| branch.classes.get(class)) {
        None => (None, &branch.own),
        Some(Some(class)) => (Some(&class.name), &class.limits),
        Some(None) => return,
    };
    let below = branch
        .classes
        .iter()
        .filter(|class| class.parent.as_ref() == name);
    let asked = below
        .filter_map(|class| class.limits.rate)
        .fold(0_u64, |sum, rate| {
            sum.saturating_add(rate.bits_per_second())
        });
    let has = limits.rate.map_or(0, Rate::bits_per_second);
    if asked <= has {
        return;
    }
    let most = limits.ceil.unwrap_or(Rate::MAX);
    let raised = Rate::from_bits_per_second(asked).map_or(most, |asked| asked.min(most));
    branch.scale |= raised.bits_per_second() < asked;
    let limits = match class.and_then(|class| branch.classes.get_mut(class)) {
        Some(class) => &mut class.limits,
        None => &mut branch.own,
    };
    limits.rate = Some(raised);
}
