//! Neighbouring frames of one flow that came from an uplink which does not join them itself, made one
//! super-frame for a guest that takes such: the last frame that was read waits for the one behind it, and
//! never longer than until nothing more is read.

use ring::{Accepts, HEADER_LEN};

use super::lan::Lan;
use super::offload;
use super::port::Port;
use super::tree::Path;
use super::work::{Turn, Work};
use crate::uplink::Received;

/// A frame that was read and taken up by the pool, and that its receiver does not have yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arriving {
    pub(super) number: u32,
    pub(super) port: u32,
    /// The queue it came by.
    pub(super) queue: usize,
    pub(super) accepts: Accepts,
}

/// What may be joined for a guest.
pub(super) fn accepts(port: &Port) -> Option<Accepts> {
    let takes = offload::to_guest(port.features);
    let any = takes.csum && (takes.tso4 || takes.tso6 || takes.uso);
    (any && port.coalesce && port.tap.is_none()).then(|| offload::joins(takes))
}

impl Lan {
    /// Appends the frame that was just read to the one before it, if it belongs there.
    #[inline]
    pub(super) fn joins_arriving(
        &self,
        queue: usize,
        received: &Received,
        turn: &mut Turn<'_>,
    ) -> bool {
        let Some(arriving) = &self.arriving else {
            return false;
        };
        if received.vlan.is_some() || arriving.queue != queue {
            return false;
        }
        let Work { pool, train, .. } = &mut *turn.work;
        let Some((first, next)) = pool.neighbours(arriving.number, received.len) else {
            return false;
        };
        if !train.is_open() {
            if !may_be_alike(first, next) {
                return false;
            }
            train.open(first, arriving.accepts);
        }
        let Some(payload) = train.join(next) else {
            return false;
        };
        pool.append(arriving.number, payload);
        if let Some(port) = turn.ports.get_mut(arriving.port) {
            port.counters.to_guest.coalesced += 1;
        }
        true
    }

    /// Hands on the frame that waited for one behind it.
    #[inline]
    pub(super) fn hand_on_arriving(&mut self, turn: &mut Turn<'_>) {
        let Some(Arriving { number, .. }) = self.arriving.take() else {
            return;
        };
        let Work { pool, train, .. } = &mut *turn.work;
        if train.is_open() {
            train.close(pool.landed(number).unwrap_or_default());
            pool.weigh_anew(number);
        }
        self.hand_over(number, Path::Uplink, turn);
    }
}

/// Whether two frames begin as two of one flow do, so that a closer look may be worth it.
#[inline]
fn may_be_alike(first: &[u8], next: &[u8]) -> bool {
    // Ethernet addresses and type; addresses and ports of IPv4, or a part of IPv6's.
    let parts = |unit: &[u8]| {
        let frame = unit.get(HEADER_LEN..)?;
        Some((
            *frame.first_chunk::<14>()?,
            *frame.get(26..)?.first_chunk::<12>()?,
        ))
    };
    parts(first).is_some_and(|first| parts(next) == Some(first))
}
