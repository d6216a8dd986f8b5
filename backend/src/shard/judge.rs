//! What is in a guest's ring: its headers are read once and checked, and it is said where the frame goes.

use qos::{FrameShape, Headers, classify::rewrite};
use ring::net::{HEAD_LEN, Header, MAX_FRAME_LEN, MIN_FRAME_LEN};
use ring::{FrameFault, HEADER_LEN, inspect};

use super::counters::DropReason;
use super::lan::Lan;
use super::pool::{Target, Unit};
use super::port::{Now, Port};
use super::tree::Path;
use super::work::{FRONT, Work};
use crate::switch::{Forward, TagChange};

/// A frame of a ring that was looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    /// Where its header begins in the scratch buffer.
    pub(super) start: usize,
    /// Where what was copied of it ends there.
    pub(super) end: usize,
    /// Bytes of the chain that were copied.
    pub(super) copied: usize,
    /// The frame as it goes on.
    pub(super) shape: FrameShape,
    pub(super) forward: Forward,
}

impl Judged {
    /// Which way it goes, as far as the tree is concerned.
    pub(super) const fn path(&self) -> Path {
        match self.forward {
            Forward::Port(_) => Path::Local,
            Forward::Uplink(_) | Forward::Flood(_) => Path::Uplink,
        }
    }

    /// What is to be done to its tag on the way to the uplink.
    pub(super) fn uplink_tag(&self) -> TagChange {
        match self.forward {
            Forward::Uplink(tag) => tag,
            Forward::Flood(flood) => flood.uplink().unwrap_or(TagChange::Keep),
            Forward::Port(_) => TagChange::Keep,
        }
    }
}

impl Lan {
    /// Looks at the frame in the chain: reads its headers once, checks them, and says where it goes.
    pub(super) fn judge(
        &mut self,
        port: &mut Port,
        work: &mut Work,
        now: Now,
    ) -> Result<Judged, DropReason> {
        let runt = DropReason::Frame(FrameFault::Runt);
        work.chain.verdict().map_err(DropReason::Chain)?;
        let frame_len = work.chain.frame_len();
        if frame_len > MAX_FRAME_LEN {
            return Err(DropReason::Frame(FrameFault::TooLong));
        }
        let total = HEADER_LEN + frame_len as usize;
        let room = work.scratch.len() - FRONT;
        let wanted = if total <= room {
            total
        } else {
            HEADER_LEN + HEAD_LEN
        };
        let copy = &mut work.scratch[FRONT..FRONT + wanted];
        let copied = work.chain.copy_to(0, copy);
        let (header, head) = copy[..copied].split_first_chunk_mut().ok_or(runt)?;
        let shape = if Header::is_plain(header) {
            // Nothing of the frame matters then but its length: most small frames go this way.
            *header = [0; HEADER_LEN];
            if frame_len < MIN_FRAME_LEN {
                return Err(runt);
            }
            FrameShape::single(frame_len)
        } else {
            let facts =
                inspect(header, head, frame_len, port.offloads()).map_err(DropReason::Frame)?;
            *header = facts.header();
            shape_of(&facts)
        };
        let mut judged = Judged {
            start: FRONT,
            end: FRONT + copied,
            copied,
            shape,
            forward: Forward::Uplink(TagChange::Keep),
        };
        if self.sole.is_none() {
            let head = &head[..head.len().min(HEAD_LEN)];
            judged.forward = self
                .switch
                .from_guest(port.index, head, now.nanos)
                .map_err(DropReason::Switch)?;
        }
        if port.from.hold && port.from.classifies() {
            let headers = Headers::parse(&head[..head.len().min(HEAD_LEN)], frame_len, 0);
            let verdict = port
                .from
                .classify(&headers, shape, judged.path(), now.time());
            let (_, verdict) = verdict.ok_or(DropReason::Rule)?;
            if let Some(verdict) = verdict {
                rewrite::apply(head, &verdict);
            }
        }
        Ok(judged)
    }
}

/// The shape that headers tell.
pub(super) fn shape_of(facts: &ring::Facts) -> FrameShape {
    FrameShape {
        len: facts.frame_len,
        headers: u32::from(facts.headers_len),
        gso_size: u32::from(facts.gso_size),
    }
}

/// Copies the frame in the chain into the pool; its number.
pub(super) fn keep_chain(
    judged: &Judged,
    target: Target,
    source: Option<u32>,
    pair: usize,
    work: &mut Work,
) -> Option<u32> {
    fill_from_chain(judged, work);
    let mut unit = Unit::new(judged.shape, target);
    unit.source = source;
    unit.pair = u16::try_from(pair).unwrap_or(0);
    work.pool.keep(unit)
}

/// Copies the frame in the chain to where the pool's next frame begins: what was looked at from the copy.
pub(super) fn fill_from_chain(judged: &Judged, work: &mut Work) {
    let (header, copy) = work.scratch[judged.start..judged.end].split_at(HEADER_LEN);
    let (chain, ahead) = (&work.chain, copy.len());
    work.pool.fill_spare(judged.shape.len as usize, |at, part| {
        let known = copy.get(at..).unwrap_or_default();
        let first = known.len().min(part.len());
        part[..first].copy_from_slice(&known[..first]);
        let rest = &mut part[first..];
        if !rest.is_empty() {
            let offset = judged.copied + (at + first).saturating_sub(ahead);
            chain.copy_to(offset, rest);
        }
        part.len()
    });
    if let Some((place, _)) = work.pool.spare_head(0) {
        place.copy_from_slice(header);
    }
}
