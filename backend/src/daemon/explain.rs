//! What a frame would meet, in words: the shard walks it, the configuration has the names.

mod words;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::net::MAX_FRAME_LEN;

use self::words::{Words, frame};
use super::Daemon;
use super::guests::GuestError;
use crate::config::GuestConfig;
use crate::control::{Direction, Explanation};
use crate::shard::{Explained, Goal, PortCommand, PortId, ShardGone, Sorted};

/// Why a frame cannot be explained. Whoever asked is at fault.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExplainError {
    /// The guest.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// What should be a frame.
    #[error("the frame is not in base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// It is longer than any.
    #[error("the frame has {0} bytes, and none has more than {MAX_FRAME_LEN}")]
    TooLong(usize),
}

impl<R> Daemon<R> {
    /// What a frame of a guest, or one of its uplink for it, would meet.
    pub(super) fn explain(
        &self,
        guest: &str,
        direction: Direction,
        frame: &str,
    ) -> Result<Result<Explanation, ExplainError>, ShardGone> {
        let frame = match decode(frame) {
            Ok(frame) => frame,
            Err(error) => return Ok(Err(error)),
        };
        let explained = self.ask(guest, |answer| {
            PortCommand::Explain(direction, frame, answer)
        })?;
        let explained = explained.map(|explained| self.explanation(guest, direction, &explained));
        Ok(explained.map_err(ExplainError::from))
    }

    fn explanation(&self, guest: &str, direction: Direction, said: &Explained) -> Explanation {
        let mut steps = vec![frame(&said.headers)];
        steps.extend(self.checked(guest, direction, said));
        // What a guest sends is sorted before it goes somewhere.
        let sorted = said.sorted.split_at_checked(1);
        let (own, others) = match direction {
            Direction::FromGuest => sorted.unwrap_or_default(),
            Direction::ToGuest => (&[][..], &said.sorted[..]),
        };
        steps.extend(own.iter().flat_map(|sorted| self.sorted(sorted)));
        steps.extend(self.way(said));
        steps.extend(others.iter().flat_map(|sorted| self.sorted(sorted)));
        let its =
            |sorted: &&Sorted| self.name_of(sorted.port) == guest && sorted.direction == direction;
        let met = said.sorted.iter().find(its);
        match said.dropped {
            Some(reason) => steps.push(format!("dropped: {reason}")),
            None if met.is_none() => steps.push(format!("it does not reach guest {guest}")),
            None => {}
        }
        let class = met.and_then(|sorted| {
            let words = Words::new(self.guest(guest)?, direction);
            words.class(sorted.class?)
        });
        Explanation {
            guest: guest.to_owned(),
            direction,
            steps,
            class: class.map(str::to_owned),
            to: said.goal.map(|goal| self.goal(goal)),
            drop: said.dropped.map(str::to_owned),
        }
    }

    /// The step that says what the switch thinks of the frame.
    fn checked(&self, guest: &str, direction: Direction, said: &Explained) -> Option<String> {
        if !said.switched {
            return Some("no checks: the guest is alone with its uplink, and unguarded".to_owned());
        }
        if let Some(refused) = said.refused {
            let sender = self.guest(guest);
            let sender = sender.filter(|_| direction == Direction::FromGuest);
            return Some(words::refused(refused, sender));
        }
        // A frame that is none does not get there.
        let passed = said.goal.is_some() || !said.sorted.is_empty();
        passed.then(|| "the switch's checks (VLAN, sender, address): passed".to_owned())
    }

    /// The steps of one guest's rules.
    fn sorted(&self, sorted: &Sorted) -> Vec<String> {
        let guest = self.guest(self.name_of(sorted.port));
        let words = guest.map(|guest| Words::new(guest, sorted.direction));
        words.map_or_else(Vec::new, |words| words.sorted(sorted).collect())
    }

    /// Where the frame goes, as the answer has it.
    fn goal(&self, goal: Goal) -> String {
        match goal {
            Goal::Uplink(_) => "uplink".to_owned(),
            Goal::Flood { .. } => "flood".to_owned(),
            Goal::Port(port) => format!("guest {}", self.name_of(port)),
        }
    }

    /// The step that says where the frame goes.
    fn way(&self, said: &Explained) -> Option<String> {
        Some(match said.goal? {
            Goal::Uplink(tag) => format!("to the uplink{}", words::tag(tag)),
            Goal::Port(port) => format!("to guest {}", self.name_of(port)),
            Goal::Flood { ports, uplink } => {
                let guests = if ports == 1 { "guest" } else { "guests" };
                let uplink = if uplink { "the uplink and " } else { "" };
                format!("flooded to {uplink}{ports} {guests}")
            }
        })
    }

    fn name_of(&self, port: PortId) -> &str {
        self.ports.get(port).map_or("?", |port| port.name.as_str())
    }

    fn guest(&self, name: &str) -> Option<&GuestConfig> {
        self.config.guests.iter().find(|guest| guest.name == name)
    }
}

/// The bytes of a frame, of which there are no more than a guest can send.
fn decode(frame: &str) -> Result<Vec<u8>, ExplainError> {
    let bytes = STANDARD.decode(frame)?;
    let most = usize::try_from(MAX_FRAME_LEN).unwrap_or(usize::MAX);
    if bytes.len() > most {
        return Err(ExplainError::TooLong(bytes.len()));
    }
    Ok(bytes)
}
