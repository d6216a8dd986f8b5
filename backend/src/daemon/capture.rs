//! Copies of a guest's frames for a caller of the control socket.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::RawFd;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use qos::{ClassConfig, ClassId};

use super::Daemon;
use super::guests::GuestError;
use crate::config::{GuestTree, Known};
use crate::control::{Direction, Event};
use crate::shard::{Copies, FrameCopy, Over, PortCommand, ShardGone, Tap, Wanted};

/// Why a guest's frames are not captured.
#[derive(Debug, thiserror::Error)]
pub(super) enum CaptureError {
    /// The guest.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// It has no such class in the directions asked for.
    #[error("the guest has no class {0}")]
    Class(Known),
    /// Nothing would ever come.
    #[error("no frames were asked for: ask for one at least")]
    NoFrames,
    /// Somebody else captures.
    #[error("the frames of guest `{0}` are captured already: end that capture first")]
    Busy(String),
    /// One connection, one capture.
    #[error("this connection has a capture already: ask on another one")]
    Twice,
    /// The process is out of descriptors.
    #[error("a capture needs a descriptor: {0}; check the limit on open files")]
    Descriptors(#[from] io::Error),
}

/// A capture under way. Dropping it ends it.
///
/// Copies that are not drained are kept as long as there are slots for them; what comes then is counted as
/// missed. So whoever cannot send events any more does not drain.
#[derive(Debug)]
pub(super) struct Capturing {
    copies: Copies,
    /// The names of the guest's classes when the capture began.
    names: BTreeMap<ClassId, String>,
    over: bool,
}

impl Capturing {
    /// Readable when there is something to [drain](Self::drain).
    pub(super) fn fd(&self) -> RawFd {
        self.copies.fd()
    }

    /// What has come, as far as it is asked for; at last a [`Event::CaptureEnd`]. One that is left before its
    /// end has to be asked for the rest without being told that there is more.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Event> {
        self.copies.clear_wake();
        std::iter::from_fn(|| {
            if self.over {
                return None;
            }
            let names = &self.names;
            match self.copies.take(|copy| event(copy, names)) {
                Ok(event) => event,
                Err(Over { missed }) => {
                    self.over = true;
                    Some(Event::CaptureEnd { missed })
                }
            }
        })
    }

    /// Whether [`Event::CaptureEnd`] was given.
    pub(super) const fn is_over(&self) -> bool {
        self.over
    }
}

impl<R> Daemon<R> {
    /// Begins to capture a guest's frames: of one of its classes if `class`, and of one direction if
    /// `direction`; `snap` bytes of each, and `frames` at most.
    pub(super) fn capture(
        &self,
        guest: &str,
        class: Option<&str>,
        direction: Option<Direction>,
        snap: u32,
        frames: u32,
    ) -> Result<Result<Capturing, CaptureError>, ShardGone> {
        let prepared = self.prepare_capture(guest, class, direction, snap, frames);
        let (names, tap, copies) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(error)),
        };
        let begun = self.ask(guest, |answer| PortCommand::Capture(Box::new(tap), answer))?;
        Ok(match begun {
            Ok(true) => Ok(Capturing {
                copies,
                names,
                over: false,
            }),
            Ok(false) => Err(CaptureError::Busy(guest.to_owned())),
            Err(error) => Err(error.into()),
        })
    }

    fn prepare_capture(
        &self,
        guest: &str,
        class: Option<&str>,
        direction: Option<Direction>,
        snap: u32,
        frames: u32,
    ) -> Result<(BTreeMap<ClassId, String>, Tap, Copies), CaptureError> {
        self.port_of(guest)?;
        if frames == 0 {
            return Err(CaptureError::NoFrames);
        }
        let guest = self.config.guests.iter().find(|it| it.name == guest);
        let trees: Vec<_> = Direction::BOTH
            .into_iter()
            .filter(|it| direction.is_none_or(|direction| direction == *it))
            .filter_map(|it| {
                let tree = guest?.tree(it.into());
                Some((tree, self.service.class_ids(guest?, tree)))
            })
            .collect();
        let names = trees.iter().flat_map(|(tree, ids)| {
            let named = tree.classes.iter().zip(ids);
            named.filter_map(|(class, id)| Some((*id, tree.name(class.id)?.to_owned())))
        });
        let names = names.collect();
        let wanted = Wanted {
            classes: class.map(|class| below(class, &trees)).transpose()?,
            direction,
            snap,
            frames,
        };
        let (tap, copies) = Tap::new(wanted)?;
        Ok((names, tap, copies))
    }
}

/// The ids of the classes of this name, and of all below them.
fn below(name: &str, trees: &[(&GuestTree, Vec<ClassId>)]) -> Result<Vec<ClassId>, CaptureError> {
    let mut found = Vec::new();
    for (tree, ids) in trees {
        let parent = |class: &&ClassConfig| {
            let parent = class.parent?;
            tree.classes.iter().find(|other| other.id == parent)
        };
        for (class, id) in tree.classes.iter().zip(ids) {
            let mut path = std::iter::successors(Some(class), parent).take(tree.classes.len());
            if path.any(|class| tree.name(class.id) == Some(name)) {
                found.push(*id);
            }
        }
    }
    if found.is_empty() {
        let trees = trees.iter();
        let names = trees.flat_map(|(tree, _)| tree.names.values().map(String::as_str));
        return Err(CaptureError::Class(Known::new(name, names)));
    }
    Ok(found)
}

/// What a copy is to a caller.
fn event(copy: &FrameCopy, names: &BTreeMap<ClassId, String>) -> Event {
    Event::Frame {
        time_nanos: copy.time_nanos,
        direction: copy.direction,
        class: copy.class.and_then(|class| names.get(&class).cloned()),
        verdict: copy.verdict.to_owned(),
        len: copy.len,
        data: STANDARD.encode(&copy.data),
    }
}
