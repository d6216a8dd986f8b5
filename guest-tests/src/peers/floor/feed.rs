//! Where the frames come from: buffers that are written once, or a ring of them that another thread fills.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};

use super::{BURST, HEADER_LEN};

/// A buffer with an empty header and a frame.
#[derive(Debug)]
pub(super) struct Unit {
    /// Which one it is.
    pub(super) index: u16,
    /// Header and frame.
    pub(super) bytes: Box<[u8]>,
}

impl Unit {
    /// A UDP frame from 198.18.0.1 to 198.18.0.2, as testpmd's generator makes them.
    pub(super) fn new(frame_len: usize, index: u16) -> Self {
        let [high, low] = index.to_be_bytes();
        let [.., total_high, total_low] = frame_len.saturating_sub(14).to_be_bytes();
        let [.., udp_high, udp_low] = frame_len.saturating_sub(34).to_be_bytes();
        let headers = [
            2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 8, 0, // Ethernet
            0x45, 0, total_high, total_low, 0, 0, 0, 0, 64, 17, 0, 0, 198, 18, 0, 1, 198, 18, 0, 2,
            0, 9, 0, 9, udp_high, udp_low, 0, 0, high, low,
        ];
        let mut bytes = vec![0; HEADER_LEN];
        bytes.extend(headers);
        bytes.resize(HEADER_LEN + frame_len.max(headers.len()), 0);
        Self {
            index,
            bytes: bytes.into(),
        }
    }
}

/// Bursts of buffers.
pub(super) enum Source {
    /// The same ones in turn.
    Own { units: Vec<Unit>, now: Range<usize> },
    /// Those that a [`Feeder`] has filled.
    Fed {
        filled: Consumer<Unit>,
        empty: Producer<Unit>,
        burst: Vec<Unit>,
    },
}

impl Source {
    pub(super) const fn own(units: Vec<Unit>) -> Self {
        Self::Own { units, now: 0..0 }
    }

    /// Up to [`BURST`] buffers; none if none is filled just now.
    pub(super) fn take(&mut self) -> &[Unit] {
        match self {
            Self::Own { units, now } => {
                let start = if now.end < units.len() { now.end } else { 0 };
                *now = start..(start + BURST).min(units.len());
                units.get(now.clone()).unwrap_or_default()
            }
            Self::Fed { filled, burst, .. } => {
                while burst.len() < BURST
                    && let Ok(unit) = filled.pop()
                {
                    burst.push(unit);
                }
                burst
            }
        }
    }

    /// What was taken may be written anew.
    pub(super) fn give_back(&mut self) {
        if let Self::Fed { empty, burst, .. } = self {
            for unit in burst.drain(..) {
                // There is room for all that there are.
                let _ = empty.push(unit);
            }
        }
    }
}

/// Fills buffers.
pub(super) struct Feeder {
    empty: Consumer<Unit>,
    filled: Producer<Unit>,
    frame: Box<[u8]>,
}

/// A ring of these buffers, as a guest and its back-end have one: two indices and no lock.
pub(super) fn fed(units: Vec<Unit>) -> (Source, Feeder) {
    let (filler, filled) = RingBuffer::new(units.len());
    let (mut empty, to_fill) = RingBuffer::new(units.len());
    let frame = units.first().map(|unit| unit.bytes.clone());
    for unit in units {
        let _ = empty.push(unit);
    }
    let source = Source::Fed {
        filled,
        empty,
        burst: Vec::with_capacity(BURST),
    };
    let feeder = Feeder {
        empty: to_fill,
        filled: filler,
        frame: frame.unwrap_or_default(),
    };
    (source, feeder)
}

impl Feeder {
    pub(super) fn feed_until(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let Ok(mut unit) = self.empty.pop() else {
                std::hint::spin_loop();
                continue;
            };
            unit.bytes.copy_from_slice(&self.frame);
            let _ = self.filled.push(unit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units() -> Vec<Unit> {
        (0..100).map(|index| Unit::new(64, index)).collect()
    }

    #[test]
    fn a_unit_is_header_and_frame() {
        assert_eq!(Unit::new(64, 7).bytes.len(), HEADER_LEN + 64);
        assert_eq!(
            Unit::new(1500, 0).bytes[HEADER_LEN + 16..][..2],
            1486_u16.to_be_bytes()
        );
    }

    #[test]
    fn own_units_come_in_turn() {
        let mut source = Source::own(units());
        let firsts = [0, 64, 0].map(|_| source.take()[0].index);
        assert_eq!(firsts, [0, 64, 0]);
    }

    #[test]
    fn fed_units_come_when_they_are_filled() {
        let (mut source, feeder) = fed(units());
        assert!(source.take().is_empty());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| feeder.feed_until(&stop));
            let mut taken = 0;
            while taken < 1000 {
                taken += source.take().len();
                source.give_back();
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
