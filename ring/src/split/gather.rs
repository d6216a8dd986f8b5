//! Whole frames towards the guest: enough chains or none, filled, completed together.

use super::{Ring, RingFault};
use crate::chain::{Chain, ChainFault, Head, MAX_SEGMENTS};
use crate::memory::{IoVecs, Writer};
use crate::net::HEADER_LEN;

/// Where `num_buffers` lies in the header (virtio 1.3 §5.1.6).
pub(super) const NUM_BUFFERS: usize = 10;

/// What [`Ring::gather`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatherOutcome {
    /// The chains for the frame are held; fill or release them.
    Ready,
    /// The guest has not posted enough buffers now. Nothing is held.
    TooFew,
    /// No buffers of this guest's kind can hold the frame: the caller drops it (hostile row 42).
    /// Nothing is held.
    TooSmall,
}

/// The chains held for one frame: a reusable buffer.
#[derive(Debug, Default)]
pub struct Gather {
    segments: IoVecs,
    /// Head and capacity in bytes of each chain.
    chains: Vec<(u16, u32)>,
    capacity: u64,
}

impl Gather {
    /// An empty buffer, with its room allocated.
    #[must_use]
    pub fn new() -> Self {
        Self {
            segments: IoVecs::with_capacity(MAX_SEGMENTS),
            chains: Vec::with_capacity(MAX_SEGMENTS),
            capacity: 0,
        }
    }

    /// Forgets the chains and releases the memory generation. The ring still counts them as
    /// popped: see [`Ring::release`].
    pub fn clear(&mut self) {
        self.segments.clear();
        self.chains.clear();
        self.capacity = 0;
    }

    /// Number of chains held.
    #[must_use]
    pub fn chains(&self) -> usize {
        self.chains.len()
    }

    /// Bytes they hold.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    fn held(&self) -> u16 {
        // Every chain has a segment, of which there are at most `MAX_SEGMENTS`.
        u16::try_from(self.chains.len()).unwrap_or(u16::MAX)
    }
}

impl Ring {
    /// Pops the chains for a frame of `need` bytes, header included: one chain, or as many as it
    /// takes when the driver accepts `mergeable` buffers. All or none.
    ///
    /// # Errors
    /// See [`RingFault`]; nothing is held then.
    pub fn gather(
        &mut self,
        need: usize,
        mergeable: bool,
        out: &mut Gather,
    ) -> Result<GatherOutcome, RingFault> {
        out.segments.bind(&self.map);
        out.chains.clear();
        out.capacity = 0;
        let mut scratch = std::mem::take(&mut self.scratch);
        let result = self.collect(need, mergeable, out, &mut scratch);
        self.scratch = scratch;
        if result != Ok(GatherOutcome::Ready) {
            self.release(out);
        }
        result
    }

    fn collect(
        &mut self,
        need: usize,
        mergeable: bool,
        out: &mut Gather,
        chain: &mut Chain,
    ) -> Result<GatherOutcome, RingFault> {
        let need = need.max(HEADER_LEN) as u64;
        while out.capacity < need {
            if out.held() >= self.layout.size || (!mergeable && out.held() > 0) {
                return Ok(GatherOutcome::TooSmall);
            }
            if !self.pop(chain)? {
                return Ok(GatherOutcome::TooFew);
            }
            // Popped: held from here on, so that a fault gives it back.
            out.chains.push((chain.head().0, 0));
            let len = receive_len(chain, mergeable)?;
            if chain.segments().saturating_add(out.segments.len()) > MAX_SEGMENTS {
                return Ok(GatherOutcome::TooSmall);
            }
            out.segments.append(chain.list());
            if let Some(last) = out.chains.last_mut() {
                last.1 = len;
            }
            out.capacity = out.capacity.saturating_add(u64::from(len));
        }
        Ok(GatherOutcome::Ready)
    }

    /// Gives the chains of a [`GatherOutcome::Ready`] back unused.
    pub fn release(&mut self, gather: &mut Gather) {
        self.put_back(gather.held());
        gather.chains.clear();
        gather.segments.truncate(0);
        gather.capacity = 0;
    }

    /// Writes a frame into the chains held, and completes each with its length; the driver sees
    /// them at [`Self::publish`]. Chains that the frame does not reach are given back.
    ///
    /// `num_buffers` of the header is set here; the header's other bytes go as they are.
    ///
    /// Returns the number of chains used: 0 when the frame does not fit, and then nothing is
    /// written and all chains are given back.
    pub fn fill(&mut self, gather: &mut Gather, header: &[u8; HEADER_LEN], parts: &[&[u8]]) -> u16 {
        let payload = parts
            .iter()
            .map(|part| part.len())
            .fold(0, usize::saturating_add);
        self.fill_with(gather, header, payload, |writer| {
            parts
                .iter()
                .map(|part| writer.write(part))
                .fold(0, usize::saturating_add)
        })
    }

    /// As [`Self::fill`], with private bytes and then the bytes of another guest's chain from
    /// `offset` on: from ring to ring with one copy.
    pub fn fill_from(
        &mut self,
        gather: &mut Gather,
        header: &[u8; HEADER_LEN],
        prefix: &[u8],
        chain: &Chain,
        offset: usize,
    ) -> u16 {
        let rest = chain.readable_after(offset);
        let payload = prefix.len().saturating_add(rest);
        self.fill_with(gather, header, payload, |writer| {
            let first = writer.write(prefix);
            first.saturating_add(writer.write_from(chain.list(), offset, rest))
        })
    }

    fn fill_with(
        &mut self,
        gather: &mut Gather,
        header: &[u8; HEADER_LEN],
        payload: usize,
        write: impl FnOnce(&mut Writer<'_>) -> usize,
    ) -> u16 {
        let total = payload.saturating_add(HEADER_LEN) as u64;
        if total > gather.capacity || gather.chains.is_empty() {
            self.release(gather);
            return 0;
        }
        let used = chains_for(&gather.chains, total);
        let mut header = *header;
        if let Some(field) = header.get_mut(NUM_BUFFERS..) {
            field.copy_from_slice(&used.to_le_bytes());
        }
        let mut writer = gather.segments.writer();
        writer.write(&header);
        let written = write(&mut writer);
        debug_assert_eq!(written, payload, "a frame that fits is written whole");
        self.put_back(gather.held().saturating_sub(used));
        let mut left = total;
        for (head, capacity) in gather.chains.drain(..).take(usize::from(used)) {
            let len = left.min(u64::from(capacity));
            left = left.saturating_sub(len);
            self.complete(Head(head), u32::try_from(len).unwrap_or(capacity));
        }
        self.release(gather);
        used
    }
}

/// How many of `chains` hold `total` bytes.
fn chains_for(chains: &[(u16, u32)], total: u64) -> u16 {
    let mut left = total;
    let mut used = 0_u16;
    for (_, capacity) in chains {
        if left == 0 {
            break;
        }
        left = left.saturating_sub(u64::from(*capacity));
        used = used.saturating_add(1);
    }
    used
}

/// The capacity of a receive chain.
fn receive_len(chain: &Chain, mergeable: bool) -> Result<u32, RingFault> {
    if chain.readable_len() > 0 {
        return Err(RingFault::ReceiveReadable);
    }
    if let Some(fault) = chain.fault() {
        return Err(RingFault::Receive(fault));
    }
    let len = chain.writable_len();
    if mergeable && len < HEADER_LEN as u64 {
        return Err(RingFault::ReceiveShort(len));
    }
    u32::try_from(len).map_err(|_| RingFault::Receive(ChainFault::TooLong))
}
