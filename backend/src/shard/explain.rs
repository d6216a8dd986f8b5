//! What a frame would meet if it came now: the way of a frame, walked by the same functions, on copies of
//! what frames change.

use qos::classify::Place;
use qos::{ClassId, FrameShape, Headers, LeafKey, Time, Verdict};
use ring::net::HEAD_LEN;
use ring::{FrameFault, HEADER_LEN, inspect_from_host};

use super::Shard;
use super::counters::DropReason;
use super::judge::{Rules, inward, path_of, receive, sort, weigh, whither};
use super::lan::Lan;
use super::mailbox::PortId;
use super::port::{Now, Port, Ports};
use super::tag;
use super::tree::{Path, PortTree};
use super::work::FRONT;
use crate::control::Direction;
use crate::switch::{Forward, Refused, Switch, TagChange};

/// What a frame would meet.
#[derive(Clone, Debug, Default)]
pub struct Explained {
    /// What its headers say.
    pub headers: Headers,
    /// The switch looks at it: the guest is not alone with its uplink, or not free.
    pub switched: bool,
    /// Why the switch refuses it, if it does.
    pub refused: Option<Refused>,
    /// Those whose rules it meets, in this order.
    pub sorted: Vec<Sorted>,
    /// Where it goes, if it gets that far.
    pub goal: Option<Goal>,
    /// Why it is dropped, as counters call it.
    pub dropped: Option<&'static str>,
}

/// What the rules of a guest say of a frame.
#[derive(Clone, Debug)]
pub struct Sorted {
    /// The guest.
    pub port: PortId,
    /// Which of its trees.
    pub direction: Direction,
    /// The rules and defaults that are applied, in their order.
    pub rules: Vec<Place>,
    /// The class, as the guest's own tree calls it; none if the frame is dropped.
    pub class: Option<ClassId>,
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// To the uplink.
    Uplink(TagChange),
    /// To a guest.
    Port(PortId),
    /// To several guests, and to the uplink if that is there and the frame does not come from it.
    Flood {
        /// How many.
        ports: usize,
        /// Whether to the uplink as well.
        uplink: bool,
    },
}

/// The rules of a port, without any effect but a note of what they would do.
#[derive(Debug)]
struct Look<'a> {
    tree: &'a PortTree,
    /// The rules that were applied.
    seen: Vec<Place>,
}

impl Rules for Look<'_> {
    fn leaf_of(
        &mut self,
        headers: &Headers,
        shape: FrameShape,
        path: Path,
        now: Time,
    ) -> Option<(LeafKey, Option<Verdict>)> {
        self.tree.look(headers, shape, path, now, &mut self.seen)
    }
}

impl<'a> Look<'a> {
    const fn at(tree: &'a PortTree) -> Self {
        let seen = Vec::new();
        Self { tree, seen }
    }

    fn sorted(self, port: u32, direction: Direction, leaf: Option<LeafKey>) -> Sorted {
        Sorted {
            port: PortId(port),
            direction,
            class: leaf.and_then(|leaf| self.tree.own_id(leaf)),
            rules: self.seen,
        }
    }
}

impl Shard {
    /// What a frame of a guest, or one of the uplink for it, would meet; none if there is no such port.
    pub(super) fn explain(
        &self,
        index: u32,
        direction: Direction,
        frame: &[u8],
    ) -> Option<Explained> {
        let port = self.ports.get(index)?;
        let lan = self.lans.get(port.lan as usize)?.as_deref()?;
        let mut walk = Walk {
            lan,
            ports: &self.ports,
            // It learns, as the real one would, and that may decide where this very frame goes.
            switch: lan.switch.clone(),
            now: Now::read(),
            frame: Copied::of(frame),
            explained: Explained {
                switched: lan.sole.is_none(),
                ..Explained::default()
            },
        };
        let end = match direction {
            Direction::FromGuest => walk.leave(port),
            Direction::ToGuest => walk.arrive(port),
        };
        let mut explained = walk.explained;
        if let Err(reason) = end {
            explained.dropped = Some(reason.word());
            if let DropReason::Switch(refused) = reason {
                explained.refused = Some(refused);
            }
        }
        Some(explained)
    }
}

/// A frame with a header before it.
#[derive(Clone)]
struct Copied {
    bytes: Vec<u8>,
    /// Where the header begins.
    start: usize,
    shape: FrameShape,
}

impl Copied {
    fn of(frame: &[u8]) -> Self {
        Self {
            bytes: [&[0; FRONT + HEADER_LEN], frame].concat(),
            start: FRONT,
            shape: FrameShape::single(u32::try_from(frame.len()).unwrap_or(u32::MAX)),
        }
    }

    /// The header, and the first bytes of the frame.
    fn head(&mut self) -> Result<(&mut [u8; HEADER_LEN], &mut [u8]), DropReason> {
        let frame = self.bytes.get_mut(self.start..);
        let frame = frame.and_then(<[u8]>::split_first_chunk_mut);
        let (header, frame) = frame.ok_or(DropReason::Frame(FrameFault::Runt))?;
        let len = frame.len().min(HEAD_LEN);
        Ok((header, &mut frame[..len]))
    }

    fn headers(&mut self) -> Result<Headers, DropReason> {
        let len = self.shape.len;
        let (_, head) = self.head()?;
        Ok(Headers::parse(head, len, 0))
    }

    fn retag(&mut self, change: TagChange) {
        let old = self.start;
        self.start = tag::change(&mut self.bytes, old, change);
        self.shape = tag::shape(self.shape, old, self.start);
    }
}

/// The way of one frame that is only thought of.
struct Walk<'a> {
    lan: &'a Lan,
    ports: &'a Ports,
    switch: Switch,
    now: Now,
    frame: Copied,
    explained: Explained,
}

impl Walk<'_> {
    /// A frame of the guest.
    fn leave(&mut self, port: &Port) -> Result<(), DropReason> {
        self.explained.headers = self.frame.headers()?;
        let len = self.frame.shape.len;
        let (header, head) = self.frame.head()?;
        let shape = weigh(header, head, len, port.offloads())?;
        let forward = whither(self.lan.sole, &mut self.switch, port.index, head, self.now)?;
        let path = path_of(&forward);
        let mut look = Look::at(&port.from);
        let leaf = sort(&mut look, head, shape, path, self.now).map(|(leaf, _)| leaf);
        let sorted = look.sorted(port.index, Direction::FromGuest, leaf.ok());
        self.explained.sorted.push(sorted);
        leaf?;
        let linked = self.lan.uplink.queues() > 0;
        match forward {
            Forward::Uplink(tag) => {
                self.explained.goal = Some(Goal::Uplink(tag));
                if linked {
                    Ok(())
                } else {
                    Err(DropReason::NoUplink)
                }
            }
            Forward::Flood(flood) => {
                self.explained.goal = Some(Goal::Flood {
                    ports: self.switch.receivers(&flood).count(),
                    uplink: linked,
                });
                Ok(())
            }
            Forward::Port(delivery) => {
                self.explained.goal = Some(Goal::Port(PortId(delivery.port)));
                self.frame.retag(delivery.tag);
                let headers = self.frame.headers()?;
                self.hand_over(delivery.port, &headers, path)
            }
        }
    }

    /// A frame of the uplink, which may be for the guest.
    fn arrive(&mut self, port: &Port) -> Result<(), DropReason> {
        self.explained.headers = self.frame.headers()?;
        let len = self.frame.shape.len;
        let (header, head) = self.frame.head()?;
        inspect_from_host(header, head, len).map_err(DropReason::Frame)?;
        let forward = inward(self.lan.sole, &mut self.switch, head, None, self.now);
        let delivery = match forward.map_err(DropReason::Switch)? {
            Forward::Port(delivery) => {
                let headers = self.explained.headers;
                self.explained.goal = Some(Goal::Port(PortId(delivery.port)));
                self.frame.retag(delivery.tag);
                return self.hand_over(delivery.port, &headers, Path::Uplink);
            }
            Forward::Flood(flood) => {
                self.explained.goal = Some(Goal::Flood {
                    ports: self.switch.receivers(&flood).count(),
                    uplink: false,
                });
                let mut receivers = self.switch.receivers(&flood);
                receivers.find(|delivery| delivery.port == port.index)
            }
            Forward::Uplink(_) => return Err(DropReason::Switch(Refused::Hairpin)),
        };
        let Some(delivery) = delivery else {
            return Ok(());
        };
        self.frame.retag(delivery.tag);
        let headers = self.frame.headers()?;
        self.hand_over(delivery.port, &headers, Path::Uplink)
    }

    /// The frame comes to its receiver.
    fn hand_over(&mut self, to: u32, headers: &Headers, path: Path) -> Result<(), DropReason> {
        let port = self.ports.get(to).ok_or(DropReason::NotListening)?;
        let mut look = Look::at(&port.to);
        let shape = self.frame.shape;
        let leaf = receive(port.listens(), &mut look, headers, shape, path, self.now);
        let leaf = leaf.map(|(leaf, _)| leaf);
        let sorted = look.sorted(to, Direction::ToGuest, leaf.ok());
        self.explained.sorted.push(sorted);
        leaf.map(|_| ())
    }
}
