//! What is done about each request of the control socket.

use std::fmt::Display;
use std::path::Path;

use serde::Serialize;

use super::Daemon;
use super::control::answer::{self, Answer};
use crate::config::{self, Config, guest_file};
use crate::control::answer::{Metrics, Pong, Trees};
use crate::control::{Applied, Event, Refusal, Request, VERSION};
use crate::logging::OPERATOR;
use crate::metrics::{self, Format};
use crate::shard::ShardGone;

/// What a change came to, or why there is none.
type Changed = Result<Applied, Refusal>;

impl<R: Fn(Option<&str>) -> Result<Config, String>> Daemon<R> {
    /// Does what the caller at this place asks, and answers.
    pub(super) fn answer(&mut self, place: u32, request: Request) -> Result<Answer, ShardGone> {
        Ok(match request {
            Request::Ping {} => answer::done(Pong {
                version: VERSION,
                daemon: env!("CARGO_PKG_VERSION").to_owned(),
                generation: self.generation,
            }),
            Request::Report { guests, classes } => answered(self.report(&guests, classes)?),
            Request::Metrics {} => answered(self.report(&[], true)?.map(|report| Metrics {
                text: metrics::text(report, Format::OpenMetrics),
            })),
            Request::Trees {} => answer::done(Trees {
                text: self.config.trees(),
                generation: self.generation,
            }),
            Request::Sandbox {} => answered(self.sandbox_state()),
            Request::Reload {} => changed(self.reload()?.map_err(refusal)),
            Request::Apply {
                text,
                path,
                dry_run,
                generation,
            } => {
                let config = Config::parse(Path::new(&path), &text).map_err(refusal);
                changed(self.edit(generation, dry_run, |_, _| config)?)
            }
            Request::Set {
                guest,
                class,
                direction,
                settings,
                dry_run,
                generation,
            } => changed(self.edit(generation, dry_run, |mut config, _| {
                let both = config::Direction::BOTH.into_iter();
                let meant = |way: &config::Direction| direction.is_none_or(|it| *way == it.into());
                for way in both.filter(meant) {
                    let set = config.set(&guest, class.as_deref(), way, &settings);
                    set.map_err(refusal)?;
                }
                Ok(config)
            })?),
            Request::GuestAdd {
                guest,
                keys,
                generation,
            } => changed(self.edit(generation, false, |mut config, read| {
                let file = guest_file(&guest, &keys).map_err(refusal)?;
                let from = read(Some(&file)).map_err(refusal)?;
                let added = config.add_guest(&guest, &from);
                added.map(|()| config).map_err(refusal)
            })?),
            Request::GuestDel { guest, generation } => {
                changed(self.edit(generation, false, |mut config, _| {
                    let removed = config.remove_guest(&guest);
                    removed.map(|()| config).map_err(refusal)
                })?)
            }
            Request::Subscribe {} => {
                self.control.subscribe(place);
                answer::done(nothing())
            }
            Request::Rings { guest } => answered(self.rings(&guest)?),
            Request::Kick { guest } => answered(self.kick(&guest)?.map(|()| nothing())),
            Request::GuestPause { guest, paused } => {
                answered(self.pause(&guest, paused)?.map(|()| nothing()))
            }
            Request::Explain {
                guest,
                direction,
                frame,
            } => answered(self.explain(&guest, direction, &frame)?),
            Request::Capture {
                guest,
                class,
                direction,
                snap,
                frames,
            } => match self.capture(&guest, class.as_deref(), direction, snap, frames)? {
                Ok(capturing) => {
                    let begun = self.control.capture(place, capturing, &self.poller);
                    answered(begun.map(|()| nothing()))
                }
                Err(error) => answer::refused(error),
            },
        })
    }

    /// Serves what `edit` makes of the configuration, unless another one is served than the operator knows.
    /// What `edit` is given besides is the way to read the daemon's own file, with more text.
    fn edit(
        &mut self,
        generation: Option<u64>,
        dry_run: bool,
        edit: impl FnOnce(Config, &R) -> Result<Config, Refusal>,
    ) -> Result<Changed, ShardGone> {
        if let Some(known) = generation.filter(|known| *known != self.generation) {
            return Ok(Err(Refusal {
                error: format!(
                    "the configuration is of generation {}, and the change was made for generation \
                     {known}: look at what has changed, and try again",
                    self.generation
                ),
                conflict: Some(self.history.since(known, self.generation)),
            }));
        }
        let new = match edit(Config::clone(&self.config), &self.read) {
            Ok(new) => new,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if dry_run {
            return Ok(Ok(self.rehearse(&new)));
        }
        // The file may allow by now what it did not when it was last read.
        if let Err(error) = self.opener.reload() {
            log::warn!(
                target: OPERATOR,
                event = "file-not-read";
                "{error}; sockets and uplinks stay those it named before"
            );
        }
        Ok(self.apply(new)?.map_err(refusal))
    }
}

impl<R> Daemon<R> {
    /// Tells subscribers what has happened.
    pub(super) fn publish(&mut self, event: &Event) {
        self.control.publish(event, &self.poller, &mut self.timers);
    }
}

fn changed(changed: Changed) -> Answer {
    match changed {
        Ok(applied) => answer::done(applied),
        Err(refusal) => answer::refusal(&refusal),
    }
}

fn refusal(why: impl Display) -> Refusal {
    Refusal {
        error: why.to_string(),
        conflict: None,
    }
}

impl From<crate::control::Direction> for config::Direction {
    fn from(direction: crate::control::Direction) -> Self {
        match direction {
            crate::control::Direction::FromGuest => Self::FromGuest,
            crate::control::Direction::ToGuest => Self::ToGuest,
        }
    }
}

/// There is no more to know than that it was done.
fn nothing() -> serde_json::Map<String, serde_json::Value> {
    serde_json::Map::new()
}

/// What there is to know, or why not.
fn answered(outcome: Result<impl Serialize, impl Display>) -> Answer {
    match outcome {
        Ok(facts) => answer::done(facts),
        Err(why) => answer::refused(why),
    }
}
