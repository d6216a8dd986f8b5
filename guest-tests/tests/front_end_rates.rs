//! The limits, measured with a light front-end: no stretch of a second carries more than rate and burst.

use std::thread;
use std::time::Duration;

use guest_tests::Result;
use guest_tests::front_end::{Flood, Frame, Lab, Sample, excess};

const WINDOW: Duration = Duration::from_secs(1);
const LASTING: Duration = Duration::from_millis(1300);
/// One super-frame of 45 segments on the wire, and a little.
const UNIT: f64 = 69_000.0;
const BURST: f64 = 65_536.0;
const RATES: [(&str, f64); 3] = [("10mbit", 1.25e6), ("100mbit", 12.5e6), ("1gbit", 125e6)];

fn frames() -> [Frame; 3] {
    [
        Frame::plain(60, 1),
        Frame::plain(1514, 2),
        Frame::tcp4(64_240, 3).segmented(1460),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn number(count: u64) -> f64 {
    count as f64
}

/// What a reading is worth on the link, in bytes. A super-frame may have gone in parts, each with the
/// headers; all its segments are full.
fn wire(frame: &Frame, sample: &Sample) -> f64 {
    let size = u64::from(frame.header.gso_size);
    if size == 0 {
        return number(sample.frames * frame.wire_bytes());
    }
    let headers = frame.headers_len() as u64;
    let payload = sample.bytes.saturating_sub(headers * sample.frames);
    number(payload) / number(size) * number(headers + size + 24)
}

/// Floods from the guest while the tap is metered.
fn from_guest(lab: &Lab, frame: &Frame) -> Result<Vec<Sample>> {
    // What is in the ring at the end has to drain at the rate.
    let ring_size = if frame.bytes.len() > 2000 { 16 } else { 256 };
    let mut port = lab.front_end().ring_size(ring_size).start()?;
    let recording = lab.meter()?.record(Duration::from_millis(2));
    port.flood(&Flood::new(frame.clone()).lasting(LASTING))?;
    recording.finish()
}

/// Wire bytes per second between a tenth of a second, when the burst is spent, and the flood's end.
fn steady(frame: &Frame, samples: &[Sample]) -> f64 {
    let start = samples.first().expect("there are readings").after;
    let at = |after: Duration| {
        let past = |sample: &&Sample| sample.before - start >= after;
        samples.iter().find(past).expect("the flood lasted longer")
    };
    let (from, to) = (
        at(Duration::from_millis(100)),
        at(Duration::from_millis(1200)),
    );
    (wire(frame, to) - wire(frame, from)) / (to.before - from.before).as_secs_f64()
}

#[test]
fn no_second_from_the_guest_carries_more_than_rate_and_burst() -> Result<()> {
    for (name, rate) in RATES {
        for frame in frames() {
            let mut lab = Lab::new(["--rate", name, "--burst", "64k"])?;
            let samples = from_guest(&lab, &frame)?;
            let reached = steady(&frame, &samples);
            let over = excess(&samples, WINDOW, rate, |s| wire(&frame, s));
            println!(
                "from-guest {name} {} B: {:.1} % of the rate, excess {over:.0}",
                frame.bytes.len(),
                reached / rate * 100.0
            );
            assert!(over <= BURST + UNIT, "{name}: {over} bytes over");
            assert_eq!(lab.daemon.counters()?.from_guest.drops, 0, "{name}");
        }
    }
    Ok(())
}

#[test]
fn no_second_to_the_guest_carries_more_than_rate_and_burst() -> Result<()> {
    for (name, rate) in RATES {
        for frame in frames() {
            let lab = Lab::new(["--rate", name, "--burst", "64k"])?;
            let mut port = lab.front_end().start()?;
            let absorbed = thread::scope(|scope| {
                scope.spawn(|| {
                    let end = std::time::Instant::now() + LASTING;
                    while std::time::Instant::now() < end {
                        lab.wire.repeat(&frame, 32).expect("the tap is up");
                    }
                });
                port.absorb(LASTING)
            })?;
            let over = excess(&absorbed.samples, WINDOW, rate, |s| wire(&frame, s));
            println!(
                "to-guest {name} {} B: {} frames, {} readings, excess {over:.0}",
                frame.bytes.len(),
                absorbed.frames,
                absorbed.samples.len()
            );
            assert!(absorbed.samples.len() > 10, "{name}: too few readings");
            assert!(over <= BURST + UNIT, "{name}: {over} bytes over");
        }
    }
    Ok(())
}

#[test]
fn packets_are_limited_too_segment_by_segment() -> Result<()> {
    for frame in frames() {
        let lab = Lab::new(["--pps", "10000"])?;
        let payload = frame.bytes.len() - frame.headers_len();
        let segments = match usize::from(frame.header.gso_size) {
            0 => 1,
            size => payload.div_ceil(size),
        };
        let segments = number(segments as u64);
        let samples = from_guest(&lab, &frame)?;
        let over = excess(&samples, WINDOW, 10_000.0, |s| number(s.frames) * segments);
        println!("pps 10000, {segments} segments: excess {over:.0}");
        assert!(over <= 1000.0, "{over} packets over");
    }
    Ok(())
}

#[test]
fn the_long_run_gives_what_was_paid_for() -> Result<()> {
    let mut best = 0.0_f64;
    for _ in 0..3 {
        let lab = Lab::new(["--rate", "100mbit"])?;
        let frame = Frame::plain(1514, 1);
        let reached = steady(&frame, &from_guest(&lab, &frame)?);
        best = best.max(reached / 12.5e6);
        if best >= 0.99 {
            break;
        }
    }
    assert!(best >= 0.99, "{:.1} % of the rate", best * 100.0);
    Ok(())
}

#[test]
fn an_unlimited_port_is_fast() -> Result<()> {
    let lab = Lab::new([""; 0])?;
    let mut port = lab.front_end().largest(1514).ring_size(1024).start()?;
    for len in [60, 1514] {
        let flooded = port.flood(&Flood::new(Frame::plain(len, 1)))?;
        println!(
            "{len} B: {:.3} M frames/s, {} kicks, {} calls, completion p50 {} us, p99 {} us",
            flooded.mpps(),
            flooded.kicks,
            flooded.calls,
            flooded.completion.value_at_quantile(0.5) / 1000,
            flooded.completion.value_at_quantile(0.99) / 1000,
        );
        assert!(flooded.frames > 10_000);
    }
    Ok(())
}
