//! To the uplink: whole frames, and parts of super-frames where a quantum holds no more.

use std::io::IoSlice;
use std::os::fd::BorrowedFd;

use arrayvec::ArrayVec;
use qos::{FrameShape, Grant, Hold, classify::rewrite};
use ring::{HEADER_LEN, inspect_from_host};
use rustix::io::Errno;

use super::counters::DropReason;
use super::judge::Judged;
use super::lan::{Lan, Takes};
use super::pool::{MAX_PARTS, Parts, Unit};
use super::port::Now;
use super::tag;
use super::work::{Turn, Work};
use crate::control::Direction;

/// What the uplink did with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Yes,
    /// It never will take it.
    Refused(DropReason),
    /// Not now.
    Full,
    /// It is down.
    Down,
}

fn outcome(written: Result<usize, Errno>) -> Sent {
    match written {
        Ok(_) => Sent::Yes,
        Err(Errno::AGAIN | Errno::INTR) => Sent::Full,
        Err(Errno::IO | Errno::NETDOWN | Errno::BADFD | Errno::NXIO) => Sent::Down,
        Err(_) => Sent::Refused(DropReason::UplinkRefused),
    }
}

impl Lan {
    /// Notes what the uplink did; false if the frame is to be kept.
    pub(super) fn took(&mut self, sent: Sent, grant: &Grant, turn: &mut Turn<'_>) -> bool {
        match sent {
            Sent::Yes | Sent::Refused(_) => {
                self.takes_frames(turn.now);
                return true;
            }
            Sent::Full => self.full(turn.poller),
            Sent::Down if !self.down(turn.now) => return true,
            Sent::Down => {}
        }
        self.hold_back(grant);
        false
    }

    /// The uplink has taken a frame.
    #[inline]
    pub(super) fn takes_frames(&mut self, now: Now) {
        if !matches!(self.takes, Takes::Frames) {
            self.release(now);
        }
    }

    /// Holds a leaf back until the uplink takes frames again.
    pub(super) fn hold_back(&mut self, grant: &Grant) {
        self.from.engine.abort(Hold::Blocked);
        self.held.push(grant.leaf);
    }

    /// The queue of the uplink by which a pair's frames go.
    fn fd_of(&self, pair: usize) -> Option<BorrowedFd<'_>> {
        self.uplink.fd(pair.checked_rem(self.uplink.queues())?)
    }

    /// Writes a unit that lies in one piece to the uplink: a header, which may move, and a frame.
    #[inline]
    pub(super) fn write_copy(&self, pair: usize, unit: &mut [u8]) -> Sent {
        let Some(fd) = self.fd_of(pair) else {
            return Sent::Refused(DropReason::NoUplink);
        };
        let start = shorten(unit, self.uplink.header_len());
        outcome(rustix::io::write(fd, &unit[start..]))
    }

    /// Writes the frame in the chain to the uplink.
    pub(super) fn write_chain(&self, pair: usize, judged: &Judged, work: &mut Work) -> Sent {
        let Some(fd) = self.fd_of(pair) else {
            return Sent::Refused(DropReason::NoUplink);
        };
        let change = judged.uplink_tag();
        let start = tag::change(&mut work.scratch[..judged.end], judged.start, change);
        let start = shorten(
            &mut work.scratch[start..judged.end],
            self.uplink.header_len(),
        ) + start;
        let prefix = &work.scratch[start..judged.end];
        let whole = judged.copied as u64 == work.chain.readable_len();
        outcome(if whole {
            rustix::io::write(fd, prefix)
        } else {
            ring::write_vectored(fd, prefix, &work.chain, judged.copied, &mut work.iovecs)
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
        })
    }

    /// Sends what a quantum holds of a frame of the pool, of which `left` is left. Whether it went (else
    /// it is lost, and counted), and as what; `None` if it is to be kept.
    pub(super) fn send_unit(
        &mut self,
        grant: &Grant,
        number: u32,
        left: FrameShape,
        whole: bool,
        turn: &mut Turn<'_>,
    ) -> Option<(bool, FrameShape)> {
        let unit = turn.work.pool.get(number).copied()?;
        let (part, prefix) = cut(grant, number, left, whole, turn.work);
        let sent = self.write_unit(&unit, number, prefix, turn.work);
        if !self.took(sent, grant, turn) {
            return None;
        }
        let lost = match sent {
            Sent::Refused(reason) => Some(reason),
            Sent::Down => Some(DropReason::UplinkDown),
            Sent::Yes | Sent::Full => None,
        };
        if let Some(reason) = lost
            && let Some(port) = unit.source.and_then(|port| turn.ports.get_mut(port))
        {
            port.counters.from_guest.drops.add(reason, 1);
            let (leaf, pool) = (Some(grant.leaf), &turn.work.pool);
            port.capture_unit(Direction::FromGuest, leaf, reason.word(), number, pool);
        }
        Some((lost.is_none(), part))
    }

    fn write_unit(
        &self,
        unit: &Unit,
        number: u32,
        part: Option<(usize, usize)>,
        work: &Work,
    ) -> Sent {
        let Some(fd) = self.fd_of(usize::from(unit.pair)) else {
            return Sent::Refused(DropReason::NoUplink);
        };
        let skip = HEADER_LEN - self.uplink.header_len();
        let mut parts = Parts::new();
        match part {
            None => {
                if let Some(unit) = work.pool.contiguous(number).filter(|_| skip == 0) {
                    return outcome(rustix::io::write(fd, unit));
                }
                let Some(header) = work.pool.header(number) else {
                    return Sent::Refused(DropReason::UplinkRefused);
                };
                parts.push(&header[..HEADER_LEN - skip]);
                work.pool.slices(number, 0, unit.len as usize, &mut parts);
            }
            Some((offset, len)) => {
                parts.push(&work.part.header()[..HEADER_LEN - skip]);
                parts.push(work.part.headers());
                work.pool.slices(number, offset, len, &mut parts);
            }
        }
        let list: ArrayVec<IoSlice<'_>, MAX_PARTS> =
            parts.iter().map(|part| IoSlice::new(part)).collect();
        outcome(rustix::io::writev(fd, &list))
    }
}

/// Marks a frame of the pool as having met congestion.
pub(super) fn mark(number: u32, work: &mut Work) {
    if let Some((_, head)) = work.pool.head_mut(number) {
        rewrite::mark_ce(head);
    }
}

/// What of a frame of the pool goes now, and, if that is not all of it, where its payload lies; its
/// headers are in `work.part` then.
pub(super) fn cut(
    grant: &Grant,
    number: u32,
    left: FrameShape,
    whole: bool,
    work: &mut Work,
) -> (FrameShape, Option<(usize, usize)>) {
    let segments = grant.framing.cost(left).segments;
    let count = if whole {
        segments
    } else {
        grant.segments(left)
    };
    cut_segments(number, left, count, segments, work)
}

/// As [`cut`], `count` of the `segments` that are left.
pub(super) fn cut_segments(
    number: u32,
    left: FrameShape,
    count: u32,
    segments: u32,
    work: &mut Work,
) -> (FrameShape, Option<(usize, usize)>) {
    let Some(unit) = work.pool.get(number).copied() else {
        return (left, None);
    };
    if count >= segments && left.len == unit.shape.len {
        return (left, None);
    }
    let gone = unit.shape.len.saturating_sub(left.len);
    let first = gone.checked_div(left.gso_size).unwrap_or(0);
    let Some((header, head)) = work.pool.head_mut(number) else {
        return (left, None);
    };
    let Ok(facts) = inspect_from_host(header, head, unit.len) else {
        return (left, None);
    };
    match ring::peel(&facts, head, first, count, &mut work.part) {
        Ok(payload) => {
            let part = match left.peel(count) {
                Some((part, _)) => part,
                None => left,
            };
            let len = payload.end.saturating_sub(payload.start) as usize;
            (part, Some((payload.start as usize, len)))
        }
        Err(_) => (left, None),
    }
}

/// Moves a header to make it as short as the uplink has it: by how much it begins later.
fn shorten(unit: &mut [u8], header_len: usize) -> usize {
    let by = HEADER_LEN.saturating_sub(header_len);
    if by > 0 && unit.len() >= HEADER_LEN {
        unit.copy_within(0..header_len, by);
    }
    by
}
