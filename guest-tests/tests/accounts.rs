//! What the daemon says that it has counted, held against what was sent, and its sums against their parts.

use std::thread;
use std::time::{Duration, Instant};

use guest_tests::front_end::{Frame, Port, Segment};
use guest_tests::{Control, Result};
use serde_json::Value;

const A: [u8; 6] = mac(0x0a);
const B: [u8; 6] = mac(0x0b);
const HOST: [u8; 6] = mac(0x01);
const NOBODY: [u8; 6] = mac(0x77);
const ALL: [u8; 6] = [0xff; 6];
const SOON: Duration = Duration::from_secs(5);

const fn mac(last: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, last]
}

/// Two guests, of which `a` has classes and little room for what it receives.
const GUESTS: &str = r#"
control = "{dir}/control.sock"
[uplink.lan]
kind = "tap:tap1"
flood = { pps = "300" }
[guest.a]
mac = "02:00:00:00:00:0a"
to_guest = { ceil = "20mbit", flows = { frames = 40 } }
[guest.a.from_guest]
ceil = "50mbit"
default = "rest"
class = [
    { name = "work", ceil = "40mbit" },
    { name = "rest", parent = "work", flows = { frames = 64 } },
    { name = "voice", parent = "work", ceil = "1mbit", queue = "fifo", fifo = 30 },
    { name = "mail" },
]
rule = [
    { dscp = "EF", class = "voice" },
    { dscp = "AF11", class = "mail" },
]
[guest.b]
mac = "02:00:00:00:00:0b"
"#;

fn segment() -> Result<(Segment, Control)> {
    let segment = Segment::new(GUESTS, &["a", "b"])?;
    let control = Control::new(segment.daemon.folder().join("control.sock"))?;
    Ok((segment, control))
}

fn number(value: &Value, pointer: &str) -> u64 {
    let found = value.pointer(pointer).and_then(Value::as_u64);
    found.unwrap_or_else(|| panic!("no number {pointer} in {value}"))
}

/// All numbers of a list or an object together.
fn total(value: &Value, pointer: &str) -> u64 {
    let all: Vec<&Value> = match value.pointer(pointer) {
        Some(Value::Object(object)) => object.values().collect(),
        Some(Value::Array(list)) => list.iter().collect(),
        _ => panic!("no numbers {pointer} in {value}"),
    };
    all.iter().filter_map(|number| number.as_u64()).sum()
}

fn drops(value: &Value, pointer: &str, reason: &str) -> u64 {
    let drops = value.pointer(pointer).expect("drops");
    drops.get(reason).and_then(Value::as_u64).unwrap_or(0)
}

fn port<'a>(report: &'a Value, name: &str) -> &'a Value {
    let mut ports = report["ports"].as_array().expect("ports").iter();
    ports.find(|port| port["port"] == name).expect("the port")
}

/// Numbers that look random and are the same every time (SplitMix64, Steele et al. 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// What has become of frames for a guest: it has them, they wait for it, or were dropped for a reason.
fn accounted(port: &Value) -> u64 {
    let waits = number(port, "/to_guest/queued");
    number(port, "/to_guest/frames") + waits + total(port, "/to_guest/drops")
}

/// Frames sent on the wire, by what is to become of them.
#[derive(Debug, Default)]
struct Sent {
    to_a: u64,
    to_b: u64,
    floods: u64,
    spoofed: u64,
    unknown: u64,
}

impl Sent {
    /// Floods that were not too many, and reach both guests.
    fn flooded(&self, report: &Value) -> u64 {
        self.floods - drops(&report["uplinks"][0], "/drops", "flood")
    }

    /// Whether all of them, and copies of floods, are somewhere.
    fn is_accounted(&self, report: &Value) -> bool {
        let sent = self.to_a + self.to_b + self.floods + self.spoofed + self.unknown;
        let guests = accounted(port(report, "a")) + accounted(port(report, "b"));
        guests + total(report, "/uplinks/0/drops") == sent + self.flooded(report)
    }

    fn check(&self, report: &Value) {
        let (a, b) = (port(report, "a"), port(report, "b"));
        let flooded = self.flooded(report);
        assert_eq!(accounted(a), self.to_a + flooded, "{self:?}: {report}");
        assert_eq!(accounted(b), self.to_b + flooded, "{self:?}: {report}");
        assert_eq!(drops(b, "/to_guest/drops", "not-listening"), accounted(b));
        let dropped = |reason| drops(&report["uplinks"][0], "/drops", reason);
        assert_eq!(dropped("spoofed-mac"), self.spoofed, "{report}");
        assert_eq!(dropped("no-destination"), self.unknown, "{report}");
        let named = self.spoofed + self.unknown + dropped("flood");
        assert_eq!(total(report, "/uplinks/0/drops"), named, "{report}");
    }
}

#[test]
fn every_frame_from_the_uplink_is_counted_once() -> Result<()> {
    let (mut segment, control) = segment()?;
    let wire = segment.wire("tap1")?;
    // Nobody listens for the other one: that is counted, too.
    let mut a = segment.front_end("a").start()?;
    let mut random = Random(1);
    let mut sent = Sent::default();
    for _ in 0..3 {
        for _ in 0..2000 {
            let frame = Frame::plain(300, random.below(u64::MAX)).from_mac(HOST);
            let (frame, kind) = match random.below(10) {
                0..3 => (frame.to_mac(A), &mut sent.to_a),
                3 => (frame.to_mac(B), &mut sent.to_b),
                // More than wait at once, even if the tap's queue loses half of all.
                4..8 => (frame.to_mac(ALL), &mut sent.floods),
                8 => (frame.to_mac(B).from_mac(A), &mut sent.spoofed),
                _ => (frame.to_mac(NOBODY), &mut sent.unknown),
            };
            *kind += u64::from(wire.send(&frame)?);
        }
        let start = Instant::now();
        let report = loop {
            while a.receive(Duration::ZERO)?.is_some() {}
            let report = control.ask(r#"{"do":"report","guests":["b","a"]}"#)?;
            if sent.is_accounted(&report) || start.elapsed() > SOON {
                break report;
            }
        };
        sent.check(&report);
    }
    let report = control.ask(r#"{"do":"report"}"#)?;
    assert!(sent.flooded(&report) < sent.floods, "{report}");
    assert!(total(port(&report, "a"), "/to_guest/drops") > 0, "{report}");
    segment.daemon.counters()?;
    let log = segment.daemon.log();
    let uplink = log.lines().find(|line| line.contains("uplink=lan drops="));
    let spoofed = format!(" drop.spoofed-mac={}", sent.spoofed);
    assert!(uplink.is_some_and(|line| line.contains(&spoofed)), "{log}");
    Ok(())
}

/// The classes of a guest in one direction.
fn classes<'a>(report: &'a Value, guest: &str, direction: &str) -> Vec<&'a Value> {
    let all = report["classes"].as_array().expect("classes").iter();
    all.filter(|class| class["guest"] == guest && class["direction"] == direction)
        .collect()
}

fn sum(classes: &[&Value], pointer: &str) -> u64 {
    classes.iter().map(|class| number(class, pointer)).sum()
}

/// One direction of a guest: what its port, its own class and its leaves say is one and the same.
fn adds_up(report: &Value, guest: &str, direction: &str) {
    let key = direction.replace('-', "_");
    let port = &port(report, guest)[key];
    let classes = classes(report, guest, direction);
    let own = classes.iter().copied();
    let own: Vec<_> = own.filter(|class| class["class"].is_null()).collect();
    assert_eq!(own.len(), 2);
    for key in ["frames", "segments", "bytes", "wire_bytes"] {
        let sent = sum(&own, &format!("/sent/{key}"));
        assert_eq!(
            number(port, &format!("/{key}")),
            sent,
            "{guest} {direction} {key}: {report}"
        );
    }
    for key in ["queued", "marked", "throttled", "throttled_nanos"] {
        let key = format!("/{key}");
        assert_eq!(
            number(port, &key),
            sum(&own, &key),
            "{guest} {direction} {key}"
        );
    }
    let refused = drops(port, "/drops", "queue-full");
    assert_eq!(
        refused,
        sum(&own, "/refused"),
        "{guest} {direction}: {report}"
    );
    let dropped = drops(port, "/drops", "queue");
    assert_eq!(
        dropped,
        sum(&own, "/dropped/frames"),
        "{guest} {direction}: {report}"
    );
    assert_eq!(total(port, "/drops"), refused + dropped, "{report}");
    let waited: u64 = classes
        .iter()
        .map(|class| total(class, "/sojourn/counts"))
        .sum();
    assert_eq!(total(port, "/sojourn/counts"), waited);
    parts_add_up(&classes, guest == "b" && direction == "from-guest");
}

/// An inner class did what those below it did; whatever came into a leaf has gone, was dropped or waits.
fn parts_add_up(classes: &[&Value], in_ring: bool) {
    for class in classes {
        let is_below = |other: &&&Value| {
            let parent = other["parent"].as_str();
            other["local"] == class["local"]
                && !other["class"].is_null()
                && parent == class["class"].as_str()
        };
        let below: Vec<_> = classes.iter().filter(is_below).copied().collect();
        let twins = |other: &&&Value| other["class"] == class["class"];
        let twins: Vec<_> = classes.iter().filter(twins).copied().collect();
        let waited: u64 = twins
            .iter()
            .map(|twin| total(twin, "/sojourn/counts"))
            .sum();
        if !below.is_empty() {
            assert_eq!(
                number(class, "/sent/bytes"),
                sum(&below, "/sent/bytes"),
                "{class}"
            );
            assert_eq!(waited, 0, "{class}");
        } else if in_ring {
            assert_eq!(
                (number(class, "/offered/frames"), waited),
                (0, 0),
                "{class}"
            );
        } else {
            let gone = sum(&twins, "/dropped/frames") + sum(&twins, "/queued");
            assert_eq!(sum(&twins, "/offered/frames"), waited + gone, "{twins:?}");
        }
    }
}

/// Sends random frames to the host and to the other guest until the time is over.
fn chatter(port: &mut Port, from: [u8; 6], to: [u8; 6], end: Instant) -> Result<()> {
    let mut random = Random(u64::from(from[5]));
    while Instant::now() < end {
        let seed = random.below(u64::MAX);
        let frame = match random.below(4) {
            0 => Frame::tcp4(
                1460 + usize::try_from(random.below(20_000)).unwrap_or(0),
                seed,
            )
            .segmented(1460),
            _ => Frame::udp4(18 + usize::try_from(random.below(1400)).unwrap_or(0), seed),
        };
        let code = [0, 46, 10][usize::try_from(random.below(3)).unwrap_or(0)];
        let to = if random.below(3) == 0 { to } else { HOST };
        port.send(&frame.dscp(code).from_mac(from).to_mac(to))?;
        while port.receive(Duration::ZERO)?.is_some() {}
        if random.below(64) == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

#[test]
fn ports_are_the_sums_of_their_classes_at_every_moment() -> Result<()> {
    const ASK: &str = r#"{"do":"report","classes":true}"#;
    let (segment, control) = segment()?;
    let wire = segment.wire("tap1")?;
    let [mut a, mut b] = segment.ports(["a", "b"])?;
    let end = Instant::now() + Duration::from_secs(3);
    let check = |report: &Value| {
        for (guest, direction) in [
            ("a", "from-guest"),
            ("a", "to-guest"),
            ("b", "from-guest"),
            ("b", "to-guest"),
        ] {
            adds_up(report, guest, direction);
        }
    };
    let reports = thread::scope(|scope| {
        let first = scope.spawn(|| chatter(&mut a, A, B, end));
        let second = scope.spawn(|| chatter(&mut b, B, A, end));
        let host = scope.spawn(|| {
            let mut random = Random(9);
            while Instant::now() < end {
                let to = if random.below(2) == 0 { A } else { B };
                wire.send(&Frame::udp4(1000, random.below(8)).from_mac(HOST).to_mac(to))?;
                wire.clear()?;
                thread::sleep(Duration::from_micros(300));
            }
            Ok::<_, guest_tests::Error>(())
        });
        let mut reports = 0;
        while Instant::now() < end {
            check(&control.ask(ASK)?);
            reports += 1;
        }
        for thread in [first, second, host] {
            thread.join().expect("no panic")?;
        }
        Ok::<_, guest_tests::Error>(reports)
    })?;
    println!("{reports} reports under load");
    assert!(reports > 20, "{reports}");
    let quiet = |report: &Value| {
        sum(
            &report["ports"]
                .as_array()
                .expect("ports")
                .iter()
                .collect::<Vec<_>>(),
            "/to_guest/queued",
        ) == 0
    };
    let start = Instant::now();
    let report = loop {
        for port in [&mut a, &mut b] {
            while port.receive(Duration::ZERO)?.is_some() {}
        }
        let report = control.ask(ASK)?;
        if quiet(&report) || start.elapsed() > SOON {
            break report;
        }
    };
    check(&report);
    let from_a = &port(&report, "a")["from_guest"];
    for key in ["/throttled", "/throttled_nanos", "/sojourn/sum_nanos"] {
        assert!(number(from_a, key) > 0, "{key}: {from_a}");
    }
    assert!(total(from_a, "/drops") > 0, "{from_a}");
    Ok(())
}

#[test]
fn how_long_frames_wait_in_queues_is_told() -> Result<()> {
    const FRAMES: u64 = 30;
    let (segment, control) = segment()?;
    let wire = segment.wire("tap1")?;
    let [mut a, mut b] = segment.ports(["a", "b"])?;
    for number in 0..FRAMES {
        for to in [A, B] {
            let frame = Frame::udp4(1472, number).from_mac(HOST).to_mac(to);
            assert!(wire.send(&frame)?);
        }
        b.send(&Frame::udp4(1000, number).from_mac(B).to_mac(HOST))?;
    }
    for _ in 0..FRAMES {
        assert!(a.receive(SOON)?.is_some() && b.receive(SOON)?.is_some());
    }
    b.settle(SOON)?;
    let report = control.ask(r#"{"do":"report"}"#)?;
    let (a, b) = (port(&report, "a"), port(&report, "b"));
    for port in [a, b] {
        assert_eq!(total(port, "/to_guest/sojourn/counts"), FRAMES, "{port}");
    }
    // At 20 Mbit/s each waits 0.6 ms for each one before it, but for those that the burst lets through.
    let waited = number(a, "/to_guest/sojourn/sum_nanos");
    assert!(waited > 100_000_000, "{a}");
    assert!(number(b, "/to_guest/sojourn/sum_nanos") < waited, "{b}");
    // Its ceiling was closed for as long as they take, but for the burst and for what the daemon was late.
    let closed = number(a, "/to_guest/throttled_nanos");
    assert!((1..20_000_000).contains(&closed), "{a}");
    assert_eq!(
        total(b, "/from_guest/sojourn/counts"),
        0,
        "it waits in its ring"
    );
    assert_eq!(number(b, "/from_guest/frames"), FRAMES);
    Ok(())
}
