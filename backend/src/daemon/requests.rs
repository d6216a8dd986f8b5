//! What is done about each request of the control socket.

use super::Daemon;
use super::control::answer;
use crate::config::Config;
use crate::control::answer::{Pong, Trees};
use crate::control::{Request, VERSION};
use crate::shard::ShardGone;

impl<R: Fn() -> Result<Config, String>> Daemon<R> {
    /// Does what is asked; the line that answers it.
    pub(super) fn answer(&mut self, request: Request) -> Result<Vec<u8>, ShardGone> {
        Ok(match request {
            Request::Ping {} => answer::done(Pong {
                version: VERSION,
                daemon: env!("CARGO_PKG_VERSION").to_owned(),
                generation: self.generation,
            }),
            Request::Report { classes, .. } => answer::done(self.report(classes)?),
            Request::Trees {} => answer::done(Trees {
                text: self.config.trees(),
                generation: self.generation,
            }),
            Request::Reload {} => match self.reload()? {
                Ok(applied) => answer::done(applied),
                Err(why) => answer::refused(why),
            },
            Request::Rings { .. }
            | Request::Metrics {}
            | Request::Apply { .. }
            | Request::Set { .. }
            | Request::GuestAdd { .. }
            | Request::GuestDel { .. }
            | Request::GuestPause { .. }
            | Request::Kick { .. }
            | Request::Explain { .. }
            | Request::Capture { .. }
            | Request::Subscribe {} => answer::refused("not served"),
        })
    }
}
