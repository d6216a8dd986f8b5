//! What the daemon costs: nothing while its guest is idle, little memory, and nothing that grows with sessions.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use guest_tests::{Daemon, Iperf3, Kernel, Namespace, Nic, Qemu, QemuVersion, Result, Usage, ping};

const IDLE: Duration = Duration::from_secs(10);
/// One tick of `/proc/PID/stat`. A few packets may come all the same: neighbours ask, routers are looked for.
const IDLE_CPU: Duration = Duration::from_millis(10);
const IDLE_WAKES: u64 = 10;
/// Of the daemon's own: the guest's memory that it maps is the guest's.
const MEMORY: u64 = 20 << 20;
const RECONNECTS: usize = 20;

/// Time on a processor of all living threads, exactly: `/proc/PID/stat` counts in ticks of 10 ms, and one may
/// be due.
fn time_on_processor(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the daemon's threads");
    let nanos = tasks.flatten().map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).expect("schedstat");
        let first = text.split_whitespace().next().expect("a first field");
        first.parse::<u64>().expect("nanoseconds")
    });
    Duration::from_nanos(nanos.sum())
}

/// Waits until descriptors and threads are those of `base`.
fn settles_at(daemon: &Daemon, base: &Usage) -> Result<()> {
    let start = Instant::now();
    loop {
        let now = daemon.usage()?;
        if (now.descriptors, now.threads) == (base.descriptors, base.threads) {
            return Ok(());
        }
        assert!(
            start.elapsed() < Duration::from_secs(3),
            "{now:?} is not back to {base:?}\n{}",
            daemon.log()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Asks one question of vhost-user: a header without payload, answered with 64 bits.
fn ask(stream: &mut UnixStream, request: u32) -> u64 {
    const VERSION: u32 = 1;
    let header: Vec<u8> = [request, VERSION, 0]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    stream.write_all(&header).expect("a question");
    let mut answer = [0; 20];
    stream.read_exact(&mut answer).expect("an answer");
    let value = answer.last_chunk().copied().expect("eight bytes");
    u64::from_le_bytes(value)
}

/// A front-end that begins and leaves before it has a guest.
fn knocks(socket: &Path) {
    const GET_FEATURES: u32 = 1;
    const GET_PROTOCOL_FEATURES: u32 = 15;
    let mut stream = UnixStream::connect(socket).expect("a connection");
    let timeout = Some(Duration::from_secs(5));
    stream.set_read_timeout(timeout).expect("a timeout");
    assert_ne!(ask(&mut stream, GET_FEATURES), 0);
    assert_ne!(ask(&mut stream, GET_PROTOCOL_FEATURES), 0);
}

#[test]
fn an_idle_guest_costs_nothing_and_sessions_leave_nothing_behind() -> Result<()> {
    let ns = Namespace::new()?;
    let mut daemon = Daemon::new(&ns)
        .port("vm1", "tap1")
        .args(["--rate", "100mbit"])
        .start()?;
    let socket = daemon.socket("vm1");
    ns.address("tap1", "192.0.2.1/24")?;
    let pid = daemon.process().pid();
    // The first session's own: what is set up once is set up now.
    knocks(&socket);
    std::thread::sleep(Duration::from_millis(200));
    let base = daemon.usage()?;

    let mut guest = Qemu::new(QemuVersion::V10_0, Kernel::V6_12)
        .nic(Nic::vhost_user(&socket).address("192.0.2.2/24"))
        .boot()?;
    let busy = Iperf3::seconds(3).run(&guest, &ns, "192.0.2.1")?;
    assert!(busy.mbit() > 10.0, "{} Mbit/s", busy.mbit());
    // What both kernels still have to say about addresses and neighbours, they say now.
    std::thread::sleep(Duration::from_secs(3));

    let counters = daemon.counters()?;
    let (usage, cpu) = (daemon.usage()?, time_on_processor(pid));
    std::thread::sleep(IDLE);
    let (after, idle_cpu) = (daemon.usage()?, time_on_processor(pid) - cpu);
    let wakes = daemon.counters()?.wakes - counters.wakes;
    let switches = after.switches - usage.switches;
    println!(
        "idle for {IDLE:?}: {idle_cpu:?} of processor, {wakes} wakes, {switches} switches; \
         {} KiB of its own, {} KiB resident",
        after.own / 1024,
        after.resident / 1024
    );
    assert!(idle_cpu < IDLE_CPU, "{idle_cpu:?}\n{}", daemon.log());
    assert!(wakes <= IDLE_WAKES, "{wakes} wakes\n{}", daemon.log());
    assert!(switches <= IDLE_WAKES, "{switches} switches");
    assert!(after.own < MEMORY, "{} bytes", after.own);

    assert_eq!(ping(&guest, "192.0.2.1", 5)?.lost(), 0);
    guest.kill();
    settles_at(&daemon, &base)?;
    let left = daemon.usage()?.own;
    for _ in 0..RECONNECTS {
        knocks(&socket);
        settles_at(&daemon, &base)?;
    }
    let usage = daemon.usage()?;
    println!("after {RECONNECTS} reconnects: {usage:?}, before the guest {base:?}");
    assert!(usage.own < left + (1 << 20), "{left} then {}", usage.own);
    assert!(daemon.terminate()?.success());
    Ok(())
}
