//! Several packet threads: four guests behind two uplinks, each uplink with a thread of its own. Frames arrive
//! whole and in order, limits hold as with one thread, and what is changed is changed on all of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use guest_tests::front_end::{Flood, Frame, FrontEnd, Meter, Port, Sample, Wire, excess};
use guest_tests::{Control, Daemon, Namespace, Result};

const SOON: Duration = Duration::from_secs(5);
const HOST: [u8; 6] = mac(1);
/// Frames that one guest sends to another before it looks at what it was sent.
const ROUND: u64 = 16;
const ROUNDS: u64 = 100;
/// What a frame is on the wire besides its bytes.
const OVERHEAD: u64 = 24;
/// How far the uplinks may run ahead of their ceilings, in bytes.
const BURST: f64 = 65_536.0;

const fn mac(last: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, last]
}

/// The guests behind each uplink. An address ends with the guest's name.
const GUESTS: [[&str; 2]; 2] = [["a", "b"], ["c", "d"]];

fn mac_of(guest: &str) -> [u8; 6] {
    mac(guest.as_bytes()[0])
}

/// Two uplinks with two guests each, of weights 1 and 3, and these keys of an uplink's.
fn config(shards: u16, uplink: &str) -> String {
    let mut text = format!("shards = {shards}\n");
    for (number, guests) in GUESTS.iter().enumerate() {
        text += &format!("[uplink.u{number}]\nkind = \"tap:tap{number}\"\n{uplink}\n");
        for (guest, weight) in guests.iter().zip([1, 3]) {
            text.push_str(&self::guest(guest, number, weight));
        }
    }
    text
}

fn guest(name: &str, uplink: usize, weight: u32) -> String {
    let last = name.as_bytes()[0];
    format!(
        "[guest.{name}]\nuplink = \"u{uplink}\"\nmac = \"02:00:00:00:00:{last:02x}\"\nfrom_guest.weight = {weight}\n"
    )
}

struct Bed {
    daemon: Daemon,
    namespace: Namespace,
}

impl Bed {
    fn start(text: &str) -> Result<Self> {
        let namespace = Namespace::new()?;
        Wire::quiet(&namespace)?;
        let daemon = GUESTS.as_flattened().iter();
        let daemon = daemon.fold(Daemon::new(&namespace).config(text), |daemon, guest| {
            daemon.expect_socket(guest)
        });
        let daemon = daemon.start()?;
        // Its sockets are there before its guests are served.
        Control::new(daemon.folder().join("control.sock"))?;
        Ok(Self { daemon, namespace })
    }

    fn port(&self, guest: &str) -> Result<Port> {
        FrontEnd::connect(&self.daemon.socket(guest)).start()
    }

    fn ports(&self) -> Result<[Port; 4]> {
        Ok([
            self.port("a")?,
            self.port("b")?,
            self.port("c")?,
            self.port("d")?,
        ])
    }

    fn wire(&self, uplink: usize) -> Result<Wire> {
        Wire::open(&self.namespace, &format!("tap{uplink}"))
    }

    /// Has another configuration served, and waits until it is.
    fn serve(&mut self, text: &str) -> Result<()> {
        let before = self.daemon.report()?.generation;
        self.daemon.reconfigure(text)?;
        let start = Instant::now();
        while self.daemon.report()?.generation == before {
            assert!(start.elapsed() < SOON, "{}", self.daemon.log());
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The directories under `/proc` of these many packet threads, in the order of their numbers. One that
    /// was not on a processor yet has no name.
    fn threads(&mut self, count: usize) -> Vec<PathBuf> {
        let start = Instant::now();
        loop {
            let threads = self.named_threads();
            if threads.len() >= count {
                assert_eq!(threads.len(), count, "{threads:?}");
                return threads;
            }
            assert!(start.elapsed() < SOON, "{threads:?} are not {count}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn named_threads(&mut self) -> Vec<PathBuf> {
        let pid = self.daemon.process().pid();
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the daemon's threads");
        let mut threads: BTreeMap<String, PathBuf> = BTreeMap::new();
        for task in tasks.flatten() {
            let name = std::fs::read_to_string(task.path().join("comm")).expect("a name");
            if name.starts_with("shard") {
                threads.insert(name, task.path());
            }
        }
        threads.into_values().collect()
    }
}

/// Time on a processor (Documentation/scheduler/sched-stats.rst).
fn time_of(thread: &Path) -> Duration {
    let text = std::fs::read_to_string(thread.join("schedstat")).expect("schedstat");
    let first = text.split_whitespace().next().expect("a first field");
    Duration::from_nanos(first.parse().expect("nanoseconds"))
}

fn numbered(from: [u8; 6], to: [u8; 6], number: u64) -> Frame {
    let mut frame = Frame::plain(200, 1).from_mac(from).to_mac(to);
    frame.bytes[14..22].copy_from_slice(&number.to_be_bytes());
    frame
}

fn number_of(frame: &Frame) -> u64 {
    let bytes = frame.bytes.get(14..22).and_then(<[u8]>::first_chunk);
    u64::from_be_bytes(*bytes.expect("frames here are longer"))
}

fn source_of(frame: &Frame) -> [u8; 6] {
    let bytes = frame.bytes.get(6..).and_then(<[u8]>::first_chunk);
    *bytes.expect("frames here are longer")
}

/// Receives `count` frames of which the first has this number.
fn gets(port: &mut Port, from: [u8; 6], first: u64, count: u64) -> Result<()> {
    for number in first..first + count {
        let frame = port.receive(SOON)?.expect("it arrives");
        assert_eq!((source_of(&frame), number_of(&frame)), (from, number));
    }
    Ok(())
}

/// Exchanges numbered frames with the other guest of the uplink, and sends as many to the uplink.
fn talk(port: &mut Port, own: &str, other: &str) -> Result<()> {
    let (own, other) = (mac_of(own), mac_of(other));
    for round in 0..ROUNDS {
        for number in round * ROUND..(round + 1) * ROUND {
            port.send(&numbered(own, other, number))?;
            port.send(&numbered(own, HOST, number))?;
        }
        gets(port, other, round * ROUND, ROUND)?;
    }
    port.settle(SOON)
}

#[test]
fn frames_arrive_whole_and_in_order_and_counters_balance_however_many_shards_there_are()
-> Result<()> {
    for shards in [1, 2, 3] {
        let mut bed = Bed::start(&config(shards, ""))?;
        bed.threads(shards.into());
        let log = bed.daemon.log();
        for line in ["uplink=u0 shard=0", "uplink=u1 shard=1"] {
            assert_eq!(log.contains(line), shards > 1, "{line} in\n{log}");
        }
        all_arrive(&mut bed)?;
        assert!(bed.daemon.terminate()?.success());
        for tap in ["tap0", "tap1"] {
            let there = bed.namespace.ip(&format!("link show {tap}"));
            assert!(there.is_err(), "{tap} was made by us");
        }
    }
    Ok(())
}

/// Everybody sends to the other guest of the uplink and to the uplink at once; then the uplinks to everybody.
fn all_arrive(bed: &mut Bed) -> Result<()> {
    let wires = [bed.wire(0)?, bed.wire(1)?];
    let mut ports = bed.ports()?;
    thread::scope(|scope| {
        let [a, b, c, d] = &mut ports;
        let talks = [(a, "a", "b"), (b, "b", "a"), (c, "c", "d"), (d, "d", "c")];
        let talks = talks.map(|(port, own, other)| scope.spawn(move || talk(port, own, other)));
        talks
            .into_iter()
            .try_for_each(|talk| talk.join().expect("it does not panic"))
    })?;
    let all = ROUNDS * ROUND;
    for (wire, guests) in wires.iter().zip(GUESTS) {
        let mut next: BTreeMap<_, _> = guests.iter().map(|guest| (mac_of(guest), 0)).collect();
        for _ in 0..2 * all {
            let frame = wire.receive(SOON)?.expect("it leaves");
            let next = next.get_mut(&source_of(&frame));
            let next = next.expect("a guest of this uplink");
            assert_eq!(number_of(&frame), *next);
            *next += 1;
        }
        assert!(wire.receive(Duration::ZERO)?.is_none(), "that was all");
        // And back from the uplink, to one after the other.
        for number in 0..ROUND {
            for guest in guests {
                assert!(wire.send(&numbered(HOST, mac_of(guest), number))?);
            }
        }
    }
    for (port, _) in ports.iter_mut().zip(GUESTS.as_flattened()) {
        gets(port, HOST, 0, ROUND)?;
    }
    let report = bed.daemon.report()?;
    for guest in GUESTS.as_flattened() {
        let port = report.port(guest)?;
        let (from, to) = (&port.from_guest, &port.to_guest);
        assert_eq!((from.frames, from.dropped()), (2 * all, 0), "{guest}");
        assert_eq!((to.frames, to.dropped()), (all + ROUND, 0), "{guest}");
    }
    Ok(())
}

#[test]
fn each_uplink_takes_the_time_of_its_own_thread() -> Result<()> {
    const FRAMES: u64 = 100_000;
    let mut bed = Bed::start(&config(2, ""))?;
    let threads = bed.threads(2);
    for (busy, guest) in ["a", "c"].into_iter().enumerate() {
        let mut port = bed.port(guest)?;
        // The session's own commands are done with.
        thread::sleep(Duration::from_millis(50));
        let before: Vec<_> = threads.iter().map(|thread| time_of(thread)).collect();
        let frame = Frame::plain(200, 1).from_mac(mac_of(guest)).to_mac(HOST);
        let flooded = port.flood(&Flood::new(frame).frames(FRAMES).lasting(6 * SOON))?;
        assert_eq!(flooded.frames, FRAMES);
        let after = threads.iter().map(|thread| time_of(thread));
        let took: Vec<_> = after
            .zip(before)
            .map(|(after, before)| after - before)
            .collect();
        println!("guest {guest}: {took:?}");
        assert!(took[1 - busy] * 100 < took[busy], "{took:?}");
    }
    Ok(())
}

/// What a tap of two guests carried, and which share of it the second one had.
struct Carried {
    samples: Vec<Sample>,
    share: f64,
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn number(count: u64) -> f64 {
    count as f64
}

fn bulk(guest: &str) -> Frame {
    Frame::plain(1514, 1).from_mac(mac_of(guest)).to_mac(HOST)
}

/// Has all four send at full speed for so long.
fn all_send(bed: &Bed, ports: &mut [Port; 4], lasting: Duration) -> Result<[Carried; 2]> {
    let meters = ["tap0", "tap1"].map(|tap| Meter::new(&bed.namespace, tap));
    let mut recordings = Vec::new();
    for meter in meters {
        recordings.push(meter?.record(Duration::from_millis(5)));
    }
    let frames = thread::scope(|scope| {
        let guests = ports.iter_mut().zip(GUESTS.as_flattened());
        let floods: Vec<_> = guests
            .map(|(port, guest)| {
                let flood = Flood::new(bulk(guest)).lasting(lasting);
                scope.spawn(move || Ok(port.flood(&flood)?.frames))
            })
            .collect();
        let floods = floods.into_iter();
        floods
            .map(|flood| flood.join().expect("it does not panic"))
            .collect::<Result<Vec<_>>>()
    })?;
    let mut carried = Vec::new();
    for (recording, frames) in recordings.into_iter().zip(frames.chunks(2)) {
        carried.push(Carried {
            samples: recording.finish()?,
            share: number(frames[1]) / number(frames[0] + frames[1]),
        });
    }
    Ok(carried.try_into().ok().expect("two uplinks"))
}

/// By what part of a second's worth the fullest second exceeds this rate, without the burst.
fn over(carried: &Carried, mbit: f64) -> f64 {
    let rate = mbit * 125_000.0;
    let bytes = |sample: &Sample| number(sample.bytes + OVERHEAD * sample.frames);
    let excess = excess(&carried.samples, Duration::from_secs(1), rate, bytes);
    (excess - BURST) / rate
}

/// What it carried, in parts of what this rate allows.
fn reached(carried: &Carried, mbit: f64, lasting: Duration) -> f64 {
    let [first, .., last] = &carried.samples[..] else {
        panic!("there are readings")
    };
    let bytes = last.bytes - first.bytes + OVERHEAD * (last.frames - first.frames);
    number(bytes) / (mbit * 125_000.0 * lasting.as_secs_f64())
}

#[test]
fn every_uplinks_ceiling_holds_and_is_shared_by_weight_also_once_it_is_changed() -> Result<()> {
    const LASTING: Duration = Duration::from_millis(1500);
    let limit = |mbit: u32| format!("from_guest = {{ ceil = \"{mbit}mbit\", cburst = \"64k\" }}");
    let mut bed = Bed::start(&config(2, &limit(200)))?;
    let mut ports = bed.ports()?;
    for mbit in [200_u32, 80] {
        if mbit != 200 {
            bed.serve(&config(2, &limit(mbit)))?;
        }
        let rate = f64::from(mbit);
        let mut fair = [false; 2];
        for _ in 0..3 {
            let carried = all_send(&bed, &mut ports, LASTING)?;
            for (carried, fair) in carried.iter().zip(&mut fair) {
                let (over, reached) = (over(carried, rate), reached(carried, rate, LASTING));
                println!(
                    "{mbit} Mbit/s: {over:+.4} over, {reached:.3} of it, {:.3}",
                    carried.share
                );
                assert!(over < 0.01, "{mbit} Mbit/s are exceeded by {over:.4}");
                *fair |= (carried.share - 0.75).abs() < 0.05 && reached > 0.8;
            }
            if fair == [true; 2] {
                break;
            }
        }
        assert_eq!(fair, [true; 2], "the best of three");
    }
    Ok(())
}

#[test]
fn guests_come_and_go_on_both_shards_and_the_others_go_on() -> Result<()> {
    let mut bed = Bed::start(&config(2, ""))?;
    let [mut a, b, mut c, d] = bed.ports()?;
    let reach = |from: &mut Port, name: &str, wire: &Wire, number| {
        from.send(&numbered(mac_of(name), HOST, number))?;
        let frame = wire.receive(SOON)?.expect("it leaves");
        assert_eq!(
            (source_of(&frame), number_of(&frame)),
            (mac_of(name), number)
        );
        Result::Ok(())
    };
    let wires = [bed.wire(0)?, bed.wire(1)?];
    reach(&mut a, "a", &wires[0], 1)?;
    reach(&mut c, "c", &wires[1], 1)?;
    // Both lose a guest in one change, and get two at once; the third uplink goes to the emptier one.
    let text = config(2, "").replace(&guest("b", 0, 3), "");
    let text = text.replace(&guest("d", 1, 3), &guest("e", 1, 1));
    let third = "[uplink.u2]\nkind = \"tap:tap2\"\n";
    bed.serve(&format!("{text}{third}{}", guest("f", 2, 1)))?;
    drop((b, d));
    assert!(
        bed.daemon.log().contains("uplink=u2 shard=0"),
        "{}",
        bed.daemon.log()
    );
    let report = bed.daemon.report()?;
    let guests: Vec<_> = report.ports.keys().map(String::as_str).collect();
    assert_eq!(guests, ["a", "c", "e", "f"]);
    let (mut e, mut f) = (bed.port("e")?, bed.port("f")?);
    reach(&mut a, "a", &wires[0], 2)?;
    reach(&mut c, "c", &wires[1], 2)?;
    reach(&mut e, "e", &wires[1], 3)?;
    reach(&mut f, "f", &bed.wire(2)?, 4)?;
    c.send(&numbered(mac_of("c"), mac_of("e"), 5))?;
    gets(&mut e, mac_of("c"), 5, 1)?;
    // The third goes to the other uplink, which is the other shard's.
    bed.serve(&format!("{text}{}", guest("f", 1, 1)))?;
    drop(f);
    let mut f = bed.port("f")?;
    reach(&mut f, "f", &wires[1], 6)?;
    f.send(&numbered(mac_of("f"), mac_of("e"), 7))?;
    gets(&mut e, mac_of("f"), 7, 1)?;
    let report = bed.daemon.report()?;
    for (guest, frames) in [("a", 2), ("c", 3), ("e", 1), ("f", 2)] {
        let from = &report.port(guest)?.from_guest;
        assert_eq!((from.frames, from.dropped()), (frames, 0), "{guest}");
    }
    Ok(())
}
