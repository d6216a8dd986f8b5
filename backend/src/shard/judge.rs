//! What is in a guest's ring: its headers are read once and checked, and it is said where the frame goes.

use qos::{FrameShape, Headers, LeafKey, Time, Verdict, classify::rewrite};
use ring::net::{HEAD_LEN, Header, MAX_FRAME_LEN, MIN_FRAME_LEN};
use ring::{FrameFault, HEADER_LEN, Offloads, inspect};

use super::counters::DropReason;
use super::lan::Lan;
use super::pool::{Target, Unit};
use super::port::{Now, Port};
use super::tree::{Path, PortTree};
use super::work::{COPY_MAX, FRONT, Work};
use crate::switch::{Delivery, Forward, Refused, Switch, TagChange};

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
        path_of(&self.forward)
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

/// Which way a frame of a guest goes, as far as the tree is concerned.
pub(super) const fn path_of(forward: &Forward) -> Path {
    match forward {
        Forward::Port(_) => Path::Local,
        Forward::Uplink(_) | Forward::Flood(_) => Path::Uplink,
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
        work.chain.verdict().map_err(DropReason::Chain)?;
        let frame_len = work.chain.frame_len();
        if frame_len > MAX_FRAME_LEN {
            return Err(DropReason::Frame(FrameFault::TooLong));
        }
        let total = HEADER_LEN + frame_len as usize;
        let wanted = if total <= HEADER_LEN + COPY_MAX {
            total
        } else {
            HEADER_LEN + HEAD_LEN
        };
        let start = work.filled + FRONT;
        let copy = &mut work.scratch[start..start + wanted];
        let copied = work.chain.copy_to(0, copy);
        let (header, head) = copy[..copied].split_first_chunk_mut().ok_or(RUNT)?;
        let shape = weigh(header, head, frame_len, port.offloads())?;
        let mut judged = Judged {
            start,
            end: start + copied,
            copied,
            shape,
            forward: Forward::Uplink(TagChange::Keep),
        };
        judged.forward = whither(self.sole, &mut self.switch, port.index, head, now)?;
        if port.from.hold && port.from.classifies() {
            sort(&mut port.from, head, shape, judged.path(), now)?;
        }
        Ok(judged)
    }
}

const RUNT: DropReason = DropReason::Frame(FrameFault::Runt);

/// Checks a frame of a guest by its header, which asks for no more than was negotiated then, and its first
/// bytes.
#[inline]
pub(super) fn weigh(
    header: &mut [u8; HEADER_LEN],
    head: &[u8],
    frame_len: u32,
    offloads: Offloads,
) -> Result<FrameShape, DropReason> {
    if Header::is_plain(header) {
        // Nothing of the frame matters then but its length: most small frames go this way.
        *header = [0; HEADER_LEN];
        if frame_len < MIN_FRAME_LEN {
            return Err(RUNT);
        }
        return Ok(FrameShape::single(frame_len));
    }
    let facts = inspect(header, head, frame_len, offloads).map_err(DropReason::Frame)?;
    *header = facts.header();
    Ok(shape_of(&facts))
}

/// Where a frame of a guest goes, if it may be sent at all.
#[inline]
pub(super) fn whither(
    sole: Option<u32>,
    switch: &mut Switch,
    port: u32,
    head: &[u8],
    now: Now,
) -> Result<Forward, DropReason> {
    if sole.is_some() {
        return Ok(Forward::Uplink(TagChange::Keep));
    }
    let head = &head[..head.len().min(HEAD_LEN)];
    let forward = switch.from_guest(port, head, now.nanos);
    forward.map_err(DropReason::Switch)
}

/// Where a frame of the uplink goes, whose tag the kernel may have taken off.
#[inline]
pub(super) fn inward(
    sole: Option<u32>,
    switch: &mut Switch,
    head: &[u8],
    tag: Option<u16>,
    now: Now,
) -> Result<Forward, Refused> {
    if let Some(port) = sole {
        let tag = TagChange::Keep;
        return Ok(Forward::Port(Delivery { port, tag }));
    }
    match switch.from_uplink(head, tag, now.nanos)? {
        Forward::Flood(flood) if switch.receivers(&flood).next().is_none() => {
            Err(Refused::NoDestination)
        }
        forward => Ok(forward),
    }
}

/// Who says which leaf a frame belongs to.
pub(super) trait Rules {
    /// The leaf, and what the rules say about the frame besides; `None` if they drop it.
    fn leaf_of(
        &mut self,
        headers: &Headers,
        shape: FrameShape,
        path: Path,
        now: Time,
    ) -> Option<(LeafKey, Option<Verdict>)>;
}

impl Rules for PortTree {
    #[inline]
    fn leaf_of(
        &mut self,
        headers: &Headers,
        shape: FrameShape,
        path: Path,
        now: Time,
    ) -> Option<(LeafKey, Option<Verdict>)> {
        self.classify(headers, shape, path, now)
    }
}

/// Which leaf a frame of a guest belongs to, of which `head` is the first bytes: they are changed as the
/// rules say. And what they said before.
#[inline]
pub(super) fn sort(
    rules: &mut impl Rules,
    head: &mut [u8],
    shape: FrameShape,
    path: Path,
    now: Now,
) -> Result<(LeafKey, Headers), DropReason> {
    let len = head.len().min(HEAD_LEN);
    let head = &mut head[..len];
    let headers = Headers::parse(head, shape.len, 0);
    let leaf = rules.leaf_of(&headers, shape, path, now.time());
    let (leaf, verdict) = leaf.ok_or(DropReason::Rule)?;
    if let Some(verdict) = verdict {
        rewrite::apply(head, &verdict);
    }
    Ok((leaf, headers))
}

/// Which leaf a frame for a guest belongs to that listens or not, and what the rules say about it besides.
#[inline]
pub(super) fn receive(
    listens: bool,
    rules: &mut impl Rules,
    headers: &Headers,
    shape: FrameShape,
    path: Path,
    now: Now,
) -> Result<(LeafKey, Option<Verdict>), DropReason> {
    if !listens {
        return Err(DropReason::NotListening);
    }
    let leaf = rules.leaf_of(headers, shape, path, now.time());
    leaf.ok_or(DropReason::Rule)
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
