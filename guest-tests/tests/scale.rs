//! A thousand guests and ten thousand classes behind one uplink: how fast the daemon is there, what an idle
//! guest costs, and how fast a change is.

use std::fs;
use std::time::{Duration, Instant};

use guest_tests::front_end::{Frame, FrontEnd, Port, Wire};
use guest_tests::{Control, Daemon, Namespace, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const GUESTS: usize = 1000;
const START: Duration = Duration::from_secs(2);
/// Resident memory of a connected port, in bytes: its rings' pages of the guest's memory included.
const PER_PORT: u64 = 100 << 10;
const IDLE: Duration = Duration::from_secs(5);
const IDLE_CPU: Duration = Duration::from_millis(5);
const RELOAD: Duration = Duration::from_millis(50);
/// A report of all guests, and what of it keeps frames waiting, in turns of which none is long.
const REPORT: Duration = Duration::from_millis(20);
const REPORT_SHARD: Duration = Duration::from_millis(5);
const SOON: Duration = Duration::from_secs(2);

/// Ten classes for each guest; the first one, which changes, has `ceil`.
fn config(ceil: &str) -> String {
    let text = r#"
control = "{dir}/control.sock"
[uplink.lan]
kind = "tap:lan0"
from_guest = { ceil = "10gbit" }
to_guest = { ceil = "10gbit" }
[template.tenant]
isolation = "tenants"
to_guest = { rate = "5mbit", ceil = "1gbit" }
[template.tenant.from_guest]
rate = "5mbit"
ceil = "1gbit"
default = "normal"
class = [
    { name = "control", rate = "100kbit" },
    { name = "voice", rate = "500kbit" },
    { name = "video", rate = "1mbit" },
    { name = "signal", rate = "100kbit" },
    { name = "web", weight = 4000 },
    { name = "mail", weight = 1000 },
    { name = "normal", weight = 2000 },
    { name = "files", prio = 1 },
    { name = "backup", prio = 2, ceil = "200mbit" },
    { name = "scavenger", prio = 3, ceil = "50mbit" },
]
rule = [
    { dscp = "CS6", class = "control" },
    { dscp = "EF", class = "voice" },
    { dscp = "AF41", class = "video" },
    { dscp = "CS3", class = "signal" },
    { dscp = "LE", class = "scavenger" },
    { dscp = "CS1", class = "backup" },
    { protocol = "tcp", destination_port = 443, class = "web" },
    { protocol = "tcp", destination_port = 25, class = "mail" },
    { protocol = "tcp", destination_port = 445, class = "files" },
]
[guest."vm{n}"]
first = 2
count = 999
template = "tenant"
socket = "{dir}/{name}.sock"
mac = "52:54:00:00:00:00"
[guest.vm1]
template = "tenant"
socket = "{dir}/vm1.sock"
mac = "52:54:00:00:00:01"
to_guest = { rate = "5mbit", ceil = "CEIL" }
"#;
    text.replace("CEIL", ceil)
}

fn mac(guest: usize) -> [u8; 6] {
    let [high, low] = u16::try_from(guest)
        .expect("a guest's number")
        .to_be_bytes();
    [0x52, 0x54, 0, 0, high, low]
}

/// A frame from one address to another.
fn frame(to: [u8; 6], from: [u8; 6], seed: u64) -> Frame {
    let mut frame = Frame::plain(300, seed).from_mac(from);
    frame.bytes[..6].copy_from_slice(&to);
    frame
}

/// Time of all living threads on a processor, and waiting for one, exactly
/// (Documentation/scheduler/sched-stats.rst).
fn times(pid: u32) -> [Duration; 2] {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the daemon's threads");
    let mut sums = [Duration::ZERO; 2];
    for task in tasks.flatten() {
        let text = fs::read_to_string(task.path().join("schedstat")).expect("schedstat");
        for (sum, field) in sums.iter_mut().zip(text.split_whitespace()) {
            *sum += Duration::from_nanos(field.parse().expect("nanoseconds"));
        }
    }
    sums
}

/// The same of the packet thread alone, and only on a processor.
fn shard_time(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the daemon's threads");
    let read = |task: &fs::DirEntry, file: &str| fs::read_to_string(task.path().join(file));
    let is_shard =
        |task: &fs::DirEntry| read(task, "comm").is_ok_and(|name| name.trim() == "shard");
    let shard = tasks.flatten().find(is_shard).expect("a packet thread");
    let text = read(&shard, "schedstat").expect("schedstat");
    let nanos = text.split_whitespace().next().map(str::parse);
    Duration::from_nanos(nanos.expect("a number").expect("nanoseconds"))
}

/// What a report of all guests costs, the best of some: time on a processor, of all and of the packet
/// thread.
fn report_costs(control: &Control, pid: u32, request: &str) -> Result<[Duration; 2]> {
    let mut best = [Duration::MAX; 3];
    for _ in 0..10 {
        let ([all, _], shard) = (times(pid), shard_time(pid));
        let took = control.time(request)?;
        let ([all_after, _], shard_after) = (times(pid), shard_time(pid));
        let costs = [all_after - all, shard_after - shard, took];
        for (best, cost) in best.iter_mut().zip(costs) {
            *best = cost.min(*best);
        }
    }
    let [all, shard, took] = best;
    println!("{request}: {took:?}; {all:?} of processor, {shard:?} of these in the packet thread");
    Ok([all, shard])
}

/// Each front-end here has about a dozen descriptors.
fn raise_limit() {
    let need = 20_000;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < need) {
        let maximum = limit.maximum.map(|maximum| maximum.max(need));
        let raised = Rlimit {
            current: Some(need),
            maximum,
        };
        setrlimit(Resource::Nofile, raised).expect("root may open more files");
    }
}

/// A frame each way.
fn carries(port: &mut Port, guest: usize, wire: &Wire) -> Result<()> {
    let host = [2, 0, 0, 0, 0, 9];
    let out = frame(host, mac(guest), guest as u64);
    port.send(&out)?;
    let come = wire.receive(SOON)?.expect("the frame reaches the wire");
    assert!(come.bytes == out.bytes, "guest {guest}");
    let back = frame(mac(guest), host, guest as u64);
    assert!(wire.send(&back)?);
    let come = port.receive(SOON)?.expect("the frame reaches the guest");
    assert!(come.bytes == back.bytes, "guest {guest}");
    Ok(())
}

#[test]
fn a_thousand_guests_of_ten_classes_cost_little_and_change_fast() -> Result<()> {
    raise_limit();
    let namespace = Namespace::new()?;
    Wire::quiet(&namespace)?;
    let builder = Daemon::new(&namespace)
        .file("netqos.toml", &config("1gbit"))
        .args(["--config", "{dir}/netqos.toml"])
        .expect_socket("vm1000");
    let start = Instant::now();
    let mut daemon = builder.start()?;
    let control = Control::new(daemon.folder().join("control.sock"))?;
    let started = start.elapsed();
    let pid = daemon.process().pid();
    let alone = daemon.usage()?;
    println!(
        "there after {started:?}; {} KiB resident",
        alone.resident >> 10
    );

    let wire = Wire::open(&namespace, "lan0")?;
    let start = Instant::now();
    let mut ports = Vec::with_capacity(GUESTS);
    for guest in 1..=GUESTS {
        let socket = daemon.socket(&format!("vm{guest}"));
        ports.push(FrontEnd::connect(&socket).start()?);
    }
    println!("{GUESTS} front-ends after {:?}", start.elapsed());
    carries(&mut ports[0], 1, &wire)?;
    std::thread::sleep(Duration::from_secs(1));
    let usage = daemon.usage()?;
    let per_port = (usage.resident - alone.resident) / GUESTS as u64;
    println!(
        "{} KiB resident, {} KiB of its own: {} KiB for each connected port, {} KiB in all; {} \
         descriptors, {} threads",
        usage.resident >> 10,
        usage.own >> 10,
        per_port >> 10,
        (usage.own / GUESTS as u64) >> 10,
        usage.descriptors,
        usage.threads
    );
    let [before, _] = times(pid);
    std::thread::sleep(IDLE);
    let idle = times(pid)[0] - before;
    println!("{idle:?} of processor in {IDLE:?}");

    // Every guest's leaf has counted something by now.
    for (guest, port) in (1..).zip(&mut ports) {
        port.send(&frame([2, 0, 0, 0, 0, 9], mac(guest), 1))?;
        assert!(wire.receive(SOON)?.is_some());
    }
    let [report, shard] = report_costs(&control, pid, r#"{"do":"report"}"#)?;
    report_costs(&control, pid, r#"{"do":"report","classes":true}"#)?;

    let mut took = Vec::new();
    for ceil in ["900mbit", "800mbit", "700mbit"] {
        let text = config(ceil).replace("{dir}", &daemon.folder().to_string_lossy());
        fs::write(daemon.folder().join("netqos.toml"), text).expect("the file");
        let [ran, waited] = times(pid);
        let answer = control.reload()?;
        let [ran_after, waited_after] = times(pid);
        let (ran, waited) = (ran_after - ran, waited_after - waited);
        println!("one guest changed in {answer:?}: {ran:?} of processor, {waited:?} without one");
        // What a busy machine made it wait is not its own.
        took.push(answer.saturating_sub(waited));
    }
    carries(&mut ports[0], 1, &wire)?;
    carries(&mut ports[GUESTS - 1], GUESTS, &wire)?;
    // Where more open files than these front-ends need are not permitted, it warns of that.
    let grave = |line: &&str| line.contains("ERROR") || line.contains("WARN");
    let log = daemon.log();
    let other = log
        .lines()
        .filter(grave)
        .find(|line| !line.contains("few-descriptors"));
    assert_eq!(other, None);

    assert!(started < START, "{started:?}");
    // The program itself is there once, however many guests there are.
    assert!(per_port <= PER_PORT && usage.own / GUESTS as u64 <= PER_PORT);
    assert!(idle <= IDLE_CPU, "{idle:?}");
    assert!(report < REPORT, "{report:?}");
    assert!(shard < REPORT_SHARD, "{shard:?}");
    let best = took.iter().min().expect("some");
    assert!(*best < RELOAD, "{took:?}");
    Ok(())
}
