//! The limiter of one frame stream: a byte limit and a packet limit, either of which may be absent.

use crate::gcra::Gcra;
use crate::inverse::Inverse;
use crate::time::{Span, Time};
use crate::units::{Burst, PacketBurst, PacketRate, Rate};
use crate::wire::Cost;

/// What a limiter enforces. Absent rates mean unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimiterConfig {
    /// Most wire bytes per time.
    pub rate: Option<Rate>,
    /// How far `rate` may be run ahead of.
    pub burst: Burst,
    /// Most segments per time.
    pub pps: Option<PacketRate>,
    /// How far `pps` may be run ahead of.
    pub pps_burst: PacketBurst,
    /// Wire bytes of one full-size frame (MTU, headers and framing): the least that
    /// [`Burst::Auto`] grants.
    pub unit_wire_bytes: u64,
}

impl Default for LimiterConfig {
    /// No limit; the unit is a 1514-byte frame on Ethernet.
    fn default() -> Self {
        Self {
            rate: None,
            burst: Burst::Auto,
            pps: None,
            pps_burst: PacketBurst::Auto,
            unit_wire_bytes: 1538,
        }
    }
}

impl LimiterConfig {
    fn byte_terms(&self) -> Option<(Inverse, Span)> {
        let rate = self.rate?;
        let tolerance = self.burst.tolerance(rate, self.unit_wire_bytes);
        Some((rate.inverse(), tolerance))
    }

    fn packet_terms(&self) -> Option<(Inverse, Span)> {
        let pps = self.pps?;
        Some((pps.inverse(), self.pps_burst.tolerance(pps)))
    }
}

/// Whether frames were waiting; decides whether unused credit counts as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// The queue had run empty since the previous commit, or this is the first: unused credit is
    /// the sender's choice.
    Fresh,
    /// Frames have been waiting ever since the previous commit: unused credit is rate lost to a
    /// late poll.
    Backlogged,
}

/// Holds one stream of frames to a byte rate, a packet rate, both or neither.
///
/// [`ready`](Self::ready) peeks and charges nothing; [`commit`](Self::commit) charges a frame that
/// was delivered, and is called exactly once for it, so that a delivery that failed and is tried
/// again is not paid for twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limiter {
    bytes: Option<Gcra>,
    packets: Option<Gcra>,
    lost: Span,
}

impl Limiter {
    /// A limiter with its bursts to spend.
    #[must_use]
    pub fn new(config: &LimiterConfig) -> Self {
        let full = |(inverse, tolerance)| Gcra::new(inverse, tolerance);
        Self {
            bytes: config.byte_terms().map(full),
            packets: config.packet_terms().map(full),
            lost: Span::ZERO,
        }
    }

    /// A limiter that is always open.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self {
            bytes: None,
            packets: None,
            lost: Span::ZERO,
        }
    }

    /// Whether a frame, of any size, may go at `now`. Charges nothing.
    #[must_use]
    pub fn ready(&self, now: Time) -> bool {
        self.limits().all(|limit| limit.ready(now))
    }

    /// Charges a frame that went at `now`.
    pub fn commit(&mut self, now: Time, cost: Cost, demand: Demand) {
        let bytes = self.bytes.as_mut();
        let bytes = bytes.map(|limit| limit.commit(now, cost.wire_bytes));
        let packets = self.packets.as_mut();
        let packets = packets.map(|limit| limit.commit(now, u64::from(cost.segments)));
        // The limit that binds holds the other back, which is not a late poll: only time for which
        // every limit was idle is lost.
        if demand == Demand::Backlogged
            && let Some(idle) = [bytes, packets].into_iter().flatten().min()
        {
            self.lost = self.lost.saturating_add(idle);
        }
    }

    /// When the limiter opens: `None` if it is open at `now`, otherwise an instant after `now` at
    /// which it is open and just before which it is not. Arm timers with
    /// [`Time::ceil_nanos`].
    #[must_use]
    pub fn next_wake(&self, now: Time) -> Option<Time> {
        self.limits().filter_map(|limit| limit.next_wake(now)).max()
    }

    /// Changes the limits at `now`, on live traffic. Credit and debt keep their size in bytes and
    /// segments; no burst comes free, and a limit that is new starts with its burst spent.
    pub fn retune(&mut self, config: &LimiterConfig, now: Time) {
        retune(&mut self.bytes, config.byte_terms(), now);
        retune(&mut self.packets, config.packet_terms(), now);
    }

    /// Time for which the limiter stood open and full while frames waited, because polls came later
    /// than its burst covers; times the rate, this is what late wakes cost. Kept over
    /// [`retune`](Self::retune).
    #[must_use]
    pub const fn lost_credit(&self) -> Span {
        self.lost
    }

    fn limits(&self) -> impl Iterator<Item = &Gcra> {
        self.bytes.iter().chain(&self.packets)
    }
}

fn retune(limit: &mut Option<Gcra>, terms: Option<(Inverse, Span)>, now: Time) {
    match (limit.as_mut(), terms) {
        (Some(limit), Some((inverse, tolerance))) => limit.retune(inverse, tolerance, now),
        (None, Some((inverse, tolerance))) => {
            *limit = Some(Gcra::spent(inverse, tolerance, now));
        }
        (_, None) => *limit = None,
    }
}

/// Queueing delay that a to-guest queue may build up at its rate, in nanoseconds. Three times
/// CoDel's 5 ms target: long enough for a sender to be told to slow down before frames are lost,
/// short enough that a full queue is no nuisance.
const QUEUE_CAP_NANOS: u64 = 15_000_000;

/// Bytes that a to-guest queue drained at `rate` should hold at most: 15 ms worth, but at least two
/// of the `largest_unit` (bytes), so that one super-frame can wait while another is delivered.
#[must_use]
pub fn queue_cap_bytes(rate: Rate, largest_unit: u64) -> u64 {
    rate.bytes_in(QUEUE_CAP_NANOS)
        .max(largest_unit.saturating_mul(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Cost = Cost {
        wire_bytes: 1000,
        segments: 1,
    };

    fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    /// 1 byte per ns and 1 segment per 2 us, bursts of one frame each.
    fn both() -> LimiterConfig {
        LimiterConfig {
            rate: Some("8gbit".parse().unwrap()),
            burst: Burst::Bytes(1000),
            pps: Some("500kpps".parse().unwrap()),
            pps_burst: PacketBurst::Segments(1),
            ..LimiterConfig::default()
        }
    }

    #[test]
    fn without_limits_everything_passes_and_nothing_is_lost() {
        let mut limiter = Limiter::new(&LimiterConfig::default());
        assert_eq!(limiter, Limiter::unlimited());
        for nanos in [0, u64::MAX, 5] {
            let huge = Cost {
                wire_bytes: u64::MAX,
                segments: u32::MAX,
            };
            limiter.commit(at(nanos), huge, Demand::Backlogged);
            assert!(limiter.ready(at(nanos)));
            assert_eq!(limiter.next_wake(at(nanos)), None);
        }
        assert_eq!(limiter.lost_credit(), Span::ZERO);
    }

    #[test]
    fn the_stricter_limit_sets_the_wake() {
        let mut limiter = Limiter::new(&both());
        limiter.commit(at(0), FRAME, Demand::Fresh);
        limiter.commit(at(0), FRAME, Demand::Fresh);
        assert_eq!(limiter.next_wake(at(0)), Some(at(2000)));
        let big = Cost {
            wire_bytes: 9000,
            segments: 1,
        };
        limiter.commit(at(2000), big, Demand::Fresh);
        assert_eq!(limiter.next_wake(at(2000)), Some(at(10_000)));
    }

    #[test]
    fn peeking_charges_nothing() {
        let limiter = Limiter::new(&both());
        let before = limiter.clone();
        assert!((0..1000).all(|_| limiter.ready(at(0))));
        assert_eq!(limiter, before);
    }

    #[test]
    fn a_super_frame_pays_the_packet_limit_for_every_segment() {
        let config = LimiterConfig {
            rate: None,
            ..both()
        };
        let mut limiter = Limiter::new(&config);
        let cost = Cost {
            wire_bytes: 70_000,
            segments: 46,
        };
        limiter.commit(at(0), cost, Demand::Fresh);
        assert_eq!(limiter.next_wake(at(0)), Some(at(45 * 2000)));
    }

    #[test]
    fn the_limit_that_does_not_bind_loses_nothing() {
        let mut limiter = Limiter::new(&both());
        let mut now = at(0);
        for _ in 0..1000 {
            limiter.commit(now, FRAME, Demand::Backlogged);
            now = limiter.next_wake(now).unwrap_or(now);
        }
        assert_eq!(limiter.lost_credit(), Span::ZERO);
    }

    #[test]
    fn only_a_late_poll_of_waiting_frames_is_lost_credit() {
        let mut limiter = Limiter::new(&both());
        limiter.commit(at(0), FRAME, Demand::Fresh);
        limiter.commit(at(50_000), FRAME, Demand::Fresh);
        assert_eq!(limiter.lost_credit(), Span::ZERO);
        limiter.commit(at(100_000), FRAME, Demand::Backlogged);
        assert_eq!(limiter.lost_credit(), Span::from_nanos(48_000));
    }

    #[test]
    fn taking_a_limit_off_and_on_again_gives_no_burst() {
        let mut limiter = Limiter::new(&both());
        let off = LimiterConfig::default();
        let mut sent = 0;
        for _ in 0..100 {
            limiter.retune(&off, at(0));
            assert!(limiter.ready(at(0)));
            limiter.retune(&both(), at(0));
            while limiter.ready(at(0)) {
                limiter.commit(at(0), FRAME, Demand::Backlogged);
                sent += 1;
            }
        }
        assert_eq!(sent, 100, "one unit each, never the burst of two");
    }

    #[test]
    fn a_retune_changes_the_pace_at_once() {
        let mut limiter = Limiter::new(&both());
        limiter.commit(at(0), FRAME, Demand::Fresh);
        limiter.commit(at(0), FRAME, Demand::Fresh);
        let faster = LimiterConfig {
            pps: None,
            rate: Some("16gbit".parse().unwrap()),
            ..both()
        };
        limiter.retune(&faster, at(0));
        assert_eq!(limiter.next_wake(at(0)), Some(at(500)));
    }

    #[test]
    fn the_queue_cap_is_fifteen_milliseconds_or_two_units() {
        let cap = |rate: &str, unit| queue_cap_bytes(rate.parse().unwrap(), unit);
        assert_eq!(cap("10mbit", 65_536), 131_072);
        assert_eq!(cap("1gbit", 65_536), 1_875_000);
        assert_eq!(cap("32tbit", u64::MAX), u64::MAX);
    }
}
