//! Token buckets of cloud-hypervisor and Firecracker, whose rate limiter is the same: `size` tokens come
//! back in `refill_time` milliseconds, one by one, and `one_time_burst` tokens once, before the first of
//! them ("Rate limiting" in Firecracker's docs/design.md and `src/vmm/src/rate_limiter`;
//! docs/io_throttling.md of cloud-hypervisor). A token is a byte of a buffer, with the virtio header of
//! 12 bytes before the frame, or one buffer. A bucket whose size or time is zero does not limit.
//!
//! A super-frame is one buffer there and counts its headers once; here it is its segments.

use qos::{Framing, PacketBurst};

use super::amount::{burst, packets, product, rate};
use super::{ImportError, Limits, Place};

/// A buffer: the frame and its virtio header (virtio 1.3 §5.1.6, 12 bytes).
const BUFFER: Framing = Framing {
    overhead: 12,
    mpu: 0,
};

/// One bucket as it is written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    /// Tokens it holds.
    pub(super) size: u64,
    /// Milliseconds in which all of them come back.
    pub(super) refill_time: u64,
    /// Tokens that never come back.
    pub(super) one_time_burst: u64,
}

impl Bucket {
    const fn limits(self) -> bool {
        self.size > 0 && self.refill_time > 0
    }
}

/// Both buckets of one direction, for as many queue pairs with buckets of their own.
#[derive(Debug)]
pub(super) struct Buckets<'a> {
    pub(super) bandwidth: Option<Bucket>,
    pub(super) ops: Option<Bucket>,
    pub(super) pairs: u64,
    pub(super) place: &'a Place,
}

impl Buckets<'_> {
    /// What they come to.
    ///
    /// # Errors
    /// A rate outside of what can be held.
    pub(super) fn limits(&self) -> Result<Limits, ImportError> {
        let mut limits = Limits::default();
        if let Some(bucket) = take(self.bandwidth, "bandwidth", &mut limits) {
            let size = bucket.size.saturating_mul(self.pairs);
            let place = self.place.key("bandwidth");
            let bits = product(size, 8).saturating_mul(1000);
            limits.ceil = Some(rate(&place, bucket.size, bits, bucket.refill_time)?);
            limits.cburst = Some(burst(size, 8));
            limits.framing = Some(BUFFER);
        }
        if let Some(bucket) = take(self.ops, "ops", &mut limits) {
            let size = bucket.size.saturating_mul(self.pairs);
            let place = self.place.key("ops");
            let per_second = product(size, 1000);
            let pps = packets(&place, bucket.size, per_second, bucket.refill_time)?;
            limits.pps = Some(pps);
            limits.pps_burst = Some(PacketBurst::Segments(size));
            limits.note("ops count super-frames as one there, and their segments here");
        }
        if self.pairs > 1 && !limits.is_unlimited() {
            let pairs = self.pairs;
            limits.note(format!(
                "each of its {pairs} queue pairs had these limits; here all of them together have {pairs} \
                 times as much"
            ));
        }
        Ok(limits)
    }
}

/// The bucket if it limits; otherwise that is remarked.
fn take(bucket: Option<Bucket>, what: &str, limits: &mut Limits) -> Option<Bucket> {
    let bucket = bucket?;
    if !bucket.limits() {
        limits.note(format!(
            "{what} of size {} in {} ms does not limit there, nor here",
            bucket.size, bucket.refill_time
        ));
        return None;
    }
    if bucket.one_time_burst > 0 {
        limits.note(format!(
            "one_time_burst of {what}, {}: no equal; nothing comes once only",
            bucket.one_time_burst
        ));
    }
    Some(bucket)
}
