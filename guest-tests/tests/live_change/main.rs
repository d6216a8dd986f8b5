//! A thousand changes of a running configuration under full load: no frame of a guest that stays is lost, no
//! limit is exceeded, and in the end every counter balances.

mod file;
mod traffic;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use guest_tests::front_end::{Frame, FrontEnd, Meter, Sample, Wire};
use guest_tests::{Control, Daemon, Namespace, Result};
use serde_json::Value;

use self::file::{BURST, MOVES, Round};
use self::traffic::{D, Traffic};

const ROUNDS: u64 = 1000;
/// What a frame is on the wire besides its bytes.
const OVERHEAD: u64 = 24;

/// When a change was asked for and answered, and the ceiling of guest `a` from then on, in bytes per second.
#[derive(Clone, Copy)]
struct Epoch {
    asked: Instant,
    answered: Instant,
    ceil: f64,
}

/// Bytes that the ceilings allow from the first epoch to `until`; while a change is under way, the
/// higher one.
fn allowed(epochs: &[Epoch], until: Instant) -> f64 {
    let mut sum = 0.0;
    let mut steps: Vec<(Instant, f64)> = Vec::with_capacity(2 * epochs.len());
    let mut before = 0.0_f64;
    for epoch in epochs {
        steps.push((epoch.asked, before.max(epoch.ceil)));
        steps.push((epoch.answered, epoch.ceil));
        before = epoch.ceil;
    }
    for (at, (start, rate)) in steps.iter().enumerate() {
        let end = steps
            .get(at + 1)
            .map_or(until, |(next, _)| until.min(*next));
        sum += rate * end.saturating_duration_since(*start).as_secs_f64();
    }
    sum
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn wire_bytes(sample: &Sample) -> f64 {
    (sample.bytes + OVERHEAD * sample.frames) as f64
}

/// A reading of the wire, and how long the packet thread had waited for a processor by then.
type Reading = (Sample, Duration);

/// Reads until it is over.
fn record(meter: &Meter, shard: &Path, over: &AtomicBool) -> Result<Vec<Reading>> {
    let mut readings = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let sample = meter.read()?;
        // The second number of schedstat (Documentation/scheduler/sched-stats.rst), in nanoseconds.
        let text = std::fs::read_to_string(shard).expect("the packet thread's schedstat");
        let waited = text.split_whitespace().nth(1).map(str::parse);
        let waited = waited.expect("a second number").expect("a number");
        readings.push((sample, Duration::from_nanos(waited)));
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(readings)
}

/// The longest time for which the packet thread was kept from a processor, as far as readings tell. What it
/// was to send at one moment it may have sent so much later.
fn longest_wait(readings: &[Reading]) -> Duration {
    let waits = readings.windows(2).map(|pair| pair[1].1 - pair[0].1);
    waits.max().unwrap_or_default()
}

/// By how much the fullest stretch between any two readings exceeds what the ceilings of its time allow.
fn excess(readings: &[Reading], epochs: &[Epoch]) -> f64 {
    let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
    for (sample, _) in readings {
        let end = wire_bytes(sample) - allowed(epochs, sample.after);
        most = most.max(end - least);
        least = least.min(wire_bytes(sample) - allowed(epochs, sample.before));
    }
    most
}

struct Bed {
    // Dropped in this order.
    daemon: Daemon,
    control: Control,
    namespace: Namespace,
}

impl Bed {
    fn start() -> Result<Self> {
        let namespace = Namespace::new()?;
        Wire::quiet(&namespace)?;
        let daemon = Daemon::new(&namespace)
            .file("netqos.toml", &Round(0).text())
            .args(["--config", "{dir}/netqos.toml"])
            .expect_socket("a")
            .start()?;
        let control = Control::new(daemon.folder().join("control.sock"))?;
        Ok(Self {
            daemon,
            control,
            namespace,
        })
    }

    /// Where the kernel counts the packet thread's times.
    fn shard(&mut self) -> PathBuf {
        let tasks = format!("/proc/{}/task", self.daemon.process().pid());
        let tasks = std::fs::read_dir(tasks).expect("the daemon's threads");
        let is_shard = |task: &PathBuf| {
            let name = std::fs::read_to_string(task.join("comm"));
            name.is_ok_and(|name| name.trim() == "shard")
        };
        let shard = tasks.flatten().map(|task| task.path()).find(is_shard);
        shard.expect("a packet thread").join("schedstat")
    }

    fn apply(&self, round: Round) -> Result<Epoch> {
        let folder = self.daemon.folder();
        let text = round.text().replace("{dir}", &folder.to_string_lossy());
        std::fs::write(folder.join("netqos.toml"), text).expect("the file can be written");
        let asked = Instant::now();
        self.control.reload()?;
        Ok(Epoch {
            asked,
            answered: Instant::now(),
            ceil: round.ceil(),
        })
    }
}

/// Applies all rounds; guest `d`, which is moved again and again, connects again and is heard.
fn change(bed: &Bed) -> Result<Vec<Epoch>> {
    let socket = bed.daemon.socket("d");
    let mut mover = None;
    let mut epochs = Vec::new();
    for round in 1..=ROUNDS {
        epochs.push(bed.apply(Round(round))?);
        if round % MOVES == 1 {
            let mut port = FrontEnd::connect(&socket).start()?;
            for number in 0..10 {
                port.send(&traffic::numbered(traffic::HOST, D, 200, number))?;
            }
            port.settle(Duration::from_secs(2))?;
            mover = Some(port);
        }
    }
    drop(mover);
    Ok(epochs)
}

fn count(value: &Value, path: &str) -> u64 {
    let found = value.pointer(path).and_then(Value::as_u64);
    found.unwrap_or_else(|| panic!("{path} is not in {value}"))
}

/// The report's ports by name.
fn ports(report: &Value) -> BTreeMap<String, Value> {
    let ports = report["ports"].as_array().expect("ports");
    let named = |port: &Value| {
        (
            port["port"].as_str().expect("a name").to_owned(),
            port.clone(),
        )
    };
    ports.iter().map(named).collect()
}

/// Every class has sent, dropped or still holds what it took. A guest's ring holds what is not taken.
fn balances(report: &Value) {
    let holds = |class: &Value| {
        // These are sent from the ring: guest `a`, and whoever is above it; `s` changes.
        class["direction"] == "from-guest" && class["uplink"] != "two"
    };
    for class in report["classes"].as_array().expect("classes") {
        let [offered, sent, dropped] =
            ["/offered", "/sent", "/dropped"].map(|key| count(class, &format!("{key}/frames")));
        assert_eq!(count(class, "/queued"), 0, "{class}");
        if !holds(class) {
            assert_eq!(offered, sent + dropped, "{class}");
        }
        assert_eq!((dropped, count(class, "/refused")), (0, 0), "{class}");
    }
}

#[test]
fn a_thousand_changes_under_load_lose_nothing_and_exceed_nothing() -> Result<()> {
    let mut bed = Bed::start()?;
    let mut traffic = Traffic::start(&bed.daemon, &bed.namespace)?;
    let first = bed.apply(Round(0))?;
    let meter = Meter::new(&bed.namespace, "one")?;
    let shard = bed.shard();
    let over = AtomicBool::new(false);
    let (traffic, epochs, readings) = std::thread::scope(|scope| {
        let recording = scope.spawn(|| record(&meter, &shard, &over));
        let flow = scope.spawn(|| {
            let ran = traffic.run(&over);
            ran.map(|()| traffic)
        });
        let epochs = change(&bed);
        over.store(true, Ordering::Relaxed);
        let traffic = flow.join().expect("the traffic has not panicked")?;
        let readings = recording.join().expect("the recording has not panicked")?;
        Ok::<_, guest_tests::Error>((traffic, epochs?, readings))
    })?;
    let took = epochs.iter().map(|epoch| epoch.answered - epoch.asked);
    let mut took: Vec<_> = took.collect();
    took.sort_unstable();
    println!(
        "{ROUNDS} changes: median {:?}, longest {:?}; {traffic:?}",
        took[took.len() / 2],
        took[took.len() - 1]
    );

    let epochs: Vec<_> = std::iter::once(first).chain(epochs).collect();
    let over = excess(&readings, &epochs);
    let late = longest_wait(&readings);
    println!("guest a: {over:.0} bytes above its ceiling, of a burst of {BURST}; {late:?} late");
    let unit = f64::from(traffic::LEN) + 24.0;
    let delayed = late.as_secs_f64() * file::HIGHEST;
    assert!(over <= f64::from(BURST) + unit + delayed, "{over}");

    let report = bed.control.ask(r#"{"do":"report","classes":true}"#)?;
    let ports = ports(&report);
    let missing: Vec<_> = traffic.missing().collect();
    assert!(missing.is_empty(), "{missing:?}: {ports:#?}");
    let disordered: Vec<_> = traffic.out_of_order().collect();
    assert!(disordered.is_empty(), "{disordered:?}");
    for (name, sent) in traffic.sent() {
        let port = &ports[name];
        assert_eq!(count(port, "/from_guest/frames"), sent, "{port}");
        assert_eq!(port["from_guest"]["drops"], serde_json::json!({}), "{port}");
    }
    let c = &ports["c"];
    assert_eq!(count(c, "/to_guest/frames"), traffic.received());
    assert_eq!(c["to_guest"]["drops"], serde_json::json!({}));
    balances(&report);
    assert!(bed.daemon.terminate()?.success());
    let log = bed.daemon.log();
    let grave = log.lines().find(|line| line.contains("ERROR"));
    assert_eq!(grave, None);
    Ok(())
}

#[test]
fn frames_of_a_class_and_of_a_guest_that_are_removed_go_in_their_turn() -> Result<()> {
    const FRAMES: u64 = 60;
    let namespace = Namespace::new()?;
    Wire::quiet(&namespace)?;
    let daemon = Daemon::new(&namespace)
        .file("netqos.toml", &file::draining(true, true))
        .args(["--config", "{dir}/netqos.toml"])
        .expect_socket("r")
        .start()?;
    let control = Control::new(daemon.folder().join("control.sock"))?;
    let wire = Wire::open(&namespace, "one")?;
    let mut port = FrontEnd::connect(&daemon.socket("r")).start()?;
    let mut other = FrontEnd::connect(&daemon.socket("other")).start()?;
    let write = |text: String| {
        let text = text.replace("{dir}", &daemon.folder().to_string_lossy());
        std::fs::write(daemon.folder().join("netqos.toml"), text).expect("the file");
        control.reload()
    };
    for (class, guest) in [(false, true), (true, true), (false, false)] {
        if class {
            write(file::draining(class, guest))?;
            continue;
        }
        for number in 0..FRAMES {
            port.send(&traffic::numbered(traffic::HOST, traffic::B, 1000, number))?;
        }
        // They are in the class's queue now: the guest has its buffers back.
        port.settle(Duration::from_secs(2))?;
        write(file::draining(class, guest))?;
        for number in 0..FRAMES {
            let come = wire.receive(Duration::from_secs(2))?;
            let come = come.unwrap_or_else(|| panic!("frame {number}, guest stays: {guest}"));
            assert_eq!(traffic::number_of(&come), number);
        }
    }
    let report = control.ask(r#"{"do":"report","classes":true}"#)?;
    for class in report["classes"].as_array().expect("classes") {
        let [offered, sent] = ["/offered/frames", "/sent/frames"].map(|key| count(class, key));
        assert_eq!((offered, count(class, "/queued")), (sent, 0), "{class}");
    }
    let frame: Frame = traffic::numbered(traffic::HOST, traffic::S, 200, 7);
    other.send(&frame)?;
    let come = wire.receive(Duration::from_secs(2))?.expect("it goes on");
    assert!(come.bytes == frame.bytes);
    Ok(())
}

/// The bytes of payload of TCP over IPv4 without options.
fn payload(frame: &Frame) -> usize {
    frame.bytes.len() - 54
}

#[test]
fn a_super_frame_of_which_parts_have_gone_goes_on_through_every_change() -> Result<()> {
    const PAYLOAD: usize = 60_000;
    let namespace = Namespace::new()?;
    Wire::quiet(&namespace)?;
    let daemon = Daemon::new(&namespace)
        .file("netqos.toml", &file::slow(false))
        .args(["--config", "{dir}/netqos.toml"])
        .expect_socket("r")
        .start()?;
    let control = Control::new(daemon.folder().join("control.sock"))?;
    let wire = Wire::open(&namespace, "one")?;
    let mut port = FrontEnd::connect(&daemon.socket("r")).start()?;
    let mut frame = Frame::tcp4(PAYLOAD, 1).from_mac(traffic::B).segmented(1460);
    frame.bytes[..6].copy_from_slice(&traffic::HOST);
    for round in 0..6 {
        port.send(&frame)?;
        // It takes an eighth of a second on the wire, so this is amid it.
        let first = wire.receive(Duration::from_secs(2))?.expect("a first part");
        let text = file::slow(round % 2 == 0).replace("{dir}", &daemon.folder().to_string_lossy());
        std::fs::write(daemon.folder().join("netqos.toml"), text).expect("the file");
        control.reload()?;
        let mut come = payload(&first);
        assert!(come < PAYLOAD, "it went whole");
        while come < PAYLOAD {
            let part = wire.receive(Duration::from_secs(2))?;
            let part = part.unwrap_or_else(|| panic!("round {round}: only {come} bytes came"));
            come += payload(&part);
        }
        assert_eq!(come, PAYLOAD);
        port.settle(Duration::from_secs(2))?;
    }
    Ok(())
}
