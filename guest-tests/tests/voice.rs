//! Calls through a ring that is full of backups: what is urgent does not wait for what is much, in either direction.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use guest_tests::Result;
use guest_tests::front_end::{Frame, Port, Segment, Shape, Wire};

const CEIL: f64 = 50e6;
const LASTING: Duration = Duration::from_secs(3);
/// A voice frame every so often.
const PACE: Duration = Duration::from_millis(10);
/// The most that 99 of 100 may be late.
const LATE: Duration = Duration::from_millis(5);
/// RFC 3246.
const EF: u8 = 46;
/// How long the last frames may be under way.
const AFTER: Duration = Duration::from_secs(1);
/// What an idle sender sleeps.
const NAP: Duration = Duration::from_micros(200);
/// Free places that a full ring has for voice.
const SPARE: usize = 8;
const RING: u16 = 256;

const CLASSES: &str = r#"
rate = "50mbit"
ceil = "50mbit"
default = "bulk"
class = [ { name = "voice", rate = "5mbit" }, { name = "bulk", prio = 1 } ]
rule = [ { dscp = "EF", class = "voice" } ]
"#;

fn segment() -> Result<Segment> {
    let text = format!(
        "[uplink.lan]\nkind = \"tap:tap1\"\n[guest.a]\n\
         [guest.a.from_guest]{CLASSES}[guest.a.to_guest]{CLASSES}"
    );
    Segment::new(&text, &["a"])
}

fn bulks() -> [Frame; 2] {
    [Frame::tcp4(64_240, 1).segmented(1460), Frame::udp4(1472, 2)]
}

/// A voice frame of 200 bytes, one for each number.
fn voice(number: u64) -> Frame {
    Frame::udp4(158, 1000 + number).dscp(EF)
}

fn is_voice(frame: &Frame) -> bool {
    frame.bytes.get(15).is_some_and(|tos| tos >> 2 == EF)
}

/// What was sent when, and came when.
#[derive(Debug, Default)]
struct Calls {
    sent: Vec<Instant>,
    came: HashMap<Vec<u8>, Instant>,
    bulk_bytes: usize,
}

impl Calls {
    fn note(&mut self, frame: Frame) {
        if is_voice(&frame) {
            let again = self.came.insert(frame.bytes, Instant::now());
            assert!(again.is_none(), "a voice frame came twice");
        } else {
            self.bulk_bytes += frame.bytes.len();
        }
    }

    /// The delay that 99 of 100 stay below. Each frame must have come.
    fn delay(&self, what: &str) -> Duration {
        let mut delays: Vec<Duration> = Vec::new();
        for (number, sent) in (0..).zip(&self.sent) {
            let came = self.came.get(&voice(number).bytes);
            let came = came.unwrap_or_else(|| panic!("{what}: voice frame {number} is lost"));
            delays.push(came.saturating_duration_since(*sent));
        }
        delays.sort();
        let at = |percent: usize| delays[(delays.len() * percent / 100).min(delays.len() - 1)];
        println!(
            "{what}: {} frames, p50 {:?}, p99 {:?}, last {:?}, bulk {:.1} Mbit/s",
            delays.len(),
            at(50),
            at(99),
            at(100),
            self.bulk_mbit()
        );
        at(99)
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn bulk_mbit(&self) -> f64 {
        self.bulk_bytes as f64 * 8.0 / LASTING.as_secs_f64() / 1e6
    }
}

/// Keeps the ring full of bulk for a while, and sends voice on time; when each voice frame was shown to the device.
fn talk(port: &mut Port, bulk: &Frame) -> Result<Vec<Instant>> {
    let transmit = &mut port.pair(0)?.transmit;
    let start = Instant::now();
    let mut sent = Vec::new();
    let mut due = start;
    while start.elapsed() < LASTING {
        while transmit.collect()?.is_some() {}
        if Instant::now() >= due {
            let frame = voice(sent.len() as u64);
            sent.push(Instant::now());
            transmit.send(&frame, &Shape::WHOLE)?;
            due += PACE;
        }
        let mut full = true;
        // A few at a time, or voice would be late before it is sent.
        for _ in 0..4 {
            full = transmit.under_way() + SPARE >= usize::from(RING);
            if full {
                break;
            }
            transmit.push(bulk, &Shape::WHOLE)?;
        }
        transmit.queue().publish();
        if full {
            thread::sleep(NAP);
        }
    }
    Ok(sent)
}

fn from_guest(bulk: &Frame) -> Result<Calls> {
    let mut segment = segment()?;
    let wire = segment.wire("tap1")?;
    let mut port = segment.front_end("a").ring_size(RING).start()?;
    let ended = AtomicBool::new(false);
    let (sent, mut calls) = thread::scope(|scope| {
        let listener = scope.spawn(|| -> Result<Calls> {
            let mut calls = Calls::default();
            while !ended.load(Ordering::Relaxed) {
                if let Some(frame) = wire.receive(Duration::from_millis(20))? {
                    calls.note(frame);
                }
            }
            Ok(calls)
        });
        let sent = talk(&mut port, bulk);
        thread::sleep(AFTER);
        ended.store(true, Ordering::Relaxed);
        (sent, listener.join().expect("the listener does not panic"))
    });
    if let Ok(calls) = &mut calls {
        calls.sent = sent?;
    }
    println!("{:?}", segment.counters("a")?.from_guest);
    calls
}

/// Sends bulk at three times the rate, and voice on time.
fn call(wire: &Wire, bulk: &Frame) -> Result<Vec<Instant>> {
    let wire_bits = u32::try_from(bulk.wire_bytes() * 8).expect("it fits");
    let gap = Duration::from_secs_f64(f64::from(wire_bits) / (3.0 * CEIL));
    let start = Instant::now();
    let (mut voice_due, mut bulk_due) = (start, start);
    let mut sent = Vec::new();
    while start.elapsed() < LASTING {
        let now = Instant::now();
        if now >= voice_due {
            let frame = voice(sent.len() as u64);
            sent.push(Instant::now());
            while !wire.send(&frame)? {
                thread::sleep(NAP);
            }
            voice_due += PACE;
        }
        if now >= bulk_due {
            wire.send(bulk)?;
            bulk_due += gap;
        } else {
            thread::sleep((bulk_due.min(voice_due) - now).min(NAP));
        }
    }
    Ok(sent)
}

fn to_guest(bulk: &Frame) -> Result<Calls> {
    let mut segment = segment()?;
    let wire = segment.wire("tap1")?;
    let mut port = segment.front_end("a").ring_size(RING).start()?;
    // The kernel activates the tap's queue, which super-frames pass, a while after its carrier.
    thread::sleep(Duration::from_millis(300));
    let (sent, mut calls) = thread::scope(|scope| {
        let caller = scope.spawn(|| call(&wire, bulk));
        let mut calls = Calls::default();
        let end = Instant::now() + LASTING + AFTER;
        while Instant::now() < end {
            match port.receive(Duration::from_millis(20)) {
                Ok(Some(frame)) => calls.note(frame),
                Ok(None) => {}
                Err(error) => return (Ok(Vec::new()), Err(error)),
            }
        }
        (caller.join().expect("the caller does not panic"), Ok(calls))
    });
    if let Ok(calls) = &mut calls {
        calls.sent = sent?;
    }
    println!("{:?}", segment.counters("a")?.to_guest);
    calls
}

/// Best of three for the delay; a lost frame is lost.
fn is_in_time(what: &str, run: impl Fn(&Frame) -> Result<Calls>) -> Result<()> {
    for bulk in bulks() {
        let what = format!("{what} {} B", bulk.bytes.len());
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let calls = run(&bulk)?;
            assert!(
                calls.sent.len() > 250,
                "{what}: {} frames sent",
                calls.sent.len()
            );
            let delay = calls.delay(&what);
            if calls.bulk_mbit() < 0.9 * CEIL / 1e6 {
                println!("{what}: not saturated, so it does not count");
                continue;
            }
            best = best.min(delay);
            if best <= LATE {
                break;
            }
        }
        assert!(best <= LATE, "{what}: {best:?} of {LATE:?}");
    }
    Ok(())
}

#[test]
fn voice_from_the_guest_overtakes_bulk_in_its_ring() -> Result<()> {
    is_in_time("from-guest", from_guest)
}

#[test]
fn voice_to_the_guest_overtakes_bulk_for_it() -> Result<()> {
    is_in_time("to-guest", to_guest)
}
