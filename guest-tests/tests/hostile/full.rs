//! Rows that need a daemon of their own: uplinks and pools that are full, descriptors that are used up, a guest
//! that is alone.

use std::time::{Duration, Instant};

use guest_tests::front_end::raw::RawSession;
use guest_tests::front_end::{Frame, Lab, Segment, Shape, Wire};
use guest_tests::{Namespace, Place, Result};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::stage::{HOST_MAC, SOON};

const A: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
const B: [u8; 6] = [2, 0, 0, 0, 0, 0x0b];
const GUESTS: &str =
    "[guest.b]\nmac = \"02:00:00:00:00:0b\"\n[guest.a]\nmac = \"02:00:00:00:00:0a\"\n";

#[test]
fn row_77_a_full_uplink_holds_the_ring_and_charges_once() -> Result<()> {
    const COUNT: u64 = 8000;
    let namespace = Namespace::new()?;
    Wire::quiet(&namespace)?;
    namespace.shell(
        "ip link add near type veth peer name far && ip link set near up && ip link set far up && \
         tc qdisc replace dev near root tbf rate 200mbit burst 64k limit 200m",
    )?;
    let text = format!(
        "control = \"{{dir}}/control.sock\"\n[uplink.lan]\nkind = \"packet:near\"\n{GUESTS}"
    );
    let segment = Segment::start(namespace, &text, &["a", "b"])?;
    let wire = segment.wire("far")?;
    let [mut a] = segment.ports(["a"])?;
    let frame = |number| Frame::plain(1514, number).from_mac(A).to_mac(HOST_MAC);
    let mut held = 0_u64;
    for number in 0..COUNT {
        let transmit = &mut a.pair(0)?.transmit;
        while transmit.collect()?.is_some() {}
        if !transmit.push(&frame(number), &Shape::WHOLE)? {
            held += 1;
            transmit.send(&frame(number), &Shape::WHOLE)?;
        }
        transmit.queue().publish();
    }
    a.settle(Duration::from_secs(10))?;
    println!("the ring was full {held} times");
    assert!(held > 0, "the uplink was never full");
    for number in 0..COUNT {
        let come = wire.receive(SOON)?.expect("no frame is lost");
        assert_eq!(come.bytes, frame(number).bytes, "frame {number}");
    }
    let report = segment.daemon.report()?;
    let sent = &report.port("a")?.from_guest;
    assert_eq!((sent.frames, sent.drops.len()), (COUNT, 0), "{sent:?}");
    assert_eq!(
        sent.wire_bytes,
        COUNT * frame(0).wire_bytes(),
        "each is charged once"
    );
    Ok(())
}

#[test]
fn row_79_a_full_pool_holds_and_allocates_nothing() -> Result<()> {
    let classes = "[guest.a.from_guest]\nceil = \"1mbit\"\ndefault = \"rest\"\n\
        [[guest.a.from_guest.class]]\nname = \"voice\"\n[[guest.a.from_guest.class]]\nname = \"rest\"\n\
        [[guest.a.from_guest.rule]]\ndscp = \"EF\"\nclass = \"voice\"\n";
    let text = format!(
        "control = \"{{dir}}/control.sock\"\npool = \"2m\"\n[uplink.lan]\nkind = \"tap:tap1\"\n{GUESTS}{classes}"
    );
    let segment = Segment::new(&text, &["a", "b"])?;
    let wire = segment.wire("tap1")?;
    let [mut a, mut b] = segment.ports(["a", "b"])?;
    let flood = |a: &mut guest_tests::front_end::Port, lasting| -> Result<u64> {
        let (start, mut sent) = (Instant::now(), 0);
        while start.elapsed() < lasting {
            let transmit = &mut a.pair(0)?.transmit;
            while transmit.collect()?.is_some() {}
            // As many flows as there are frames, so that no flow's own bound comes before the pool's.
            let mut frame = Frame::udp4(1400, sent).from_mac(A).to_mac(HOST_MAC);
            frame.bytes[26..30].copy_from_slice(&u32::try_from(sent).unwrap_or(0).to_be_bytes());
            sent += u64::from(transmit.push(&frame, &Shape::WHOLE)?);
            transmit.queue().publish();
        }
        Ok(sent)
    };
    let mut sent = flood(&mut a, Duration::from_millis(500))?;
    let memory = segment.daemon.usage()?.own;
    sent += flood(&mut a, Duration::from_secs(1))?;
    let grown = segment.daemon.usage()?.own.saturating_sub(memory);
    assert!(grown <= 1 << 20, "{grown} bytes more");
    // Neither in the pool nor on the link is the other one's way full.
    wire.clear()?;
    for number in 0..100 {
        let frame = Frame::plain(1000, number).from_mac(B).to_mac(HOST_MAC);
        b.send(&frame)?;
        while wire.receive(SOON)?.expect("b's frame leaves").bytes != frame.bytes {}
    }
    let report = segment.daemon.report()?;
    assert!(report.port("b")?.from_guest.drops.is_empty());
    let counted = &report.port("a")?.from_guest;
    let dropped: u64 = counted.drops.values().sum();
    println!(
        "{sent} frames offered to a full pool: {} left, {:?}",
        counted.frames, counted.drops
    );
    assert!(
        counted.frames + dropped <= sent,
        "no frame is counted twice"
    );
    let reasons = ["queue", "queue-full", "pool-full"];
    let known = |reason: &String| reasons.contains(&reason.as_str());
    assert!(counted.drops.keys().all(known), "{:?}", counted.drops);
    Ok(())
}

/// Limits the daemon's descriptors; the limit before.
fn limit(segment: &Segment, descriptors: Option<u64>) -> Option<u64> {
    let pid = i32::try_from(segment.daemon.pid())
        .ok()
        .and_then(Pid::from_raw);
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    let new = Rlimit {
        current: descriptors,
        maximum,
    };
    let old = prlimit(pid, Resource::Nofile, new);
    old.expect("the daemon's limits may be set").current
}

#[test]
fn row_57_a_daemon_without_descriptors_serves_those_it_has_and_recovers() -> Result<()> {
    let text =
        format!("control = \"{{dir}}/control.sock\"\n[uplink.lan]\nkind = \"tap:tap1\"\n{GUESTS}");
    let segment = Segment::new(&text, &["a", "b"])?;
    let wire = segment.wire("tap1")?;
    let [mut b] = segment.ports(["b"])?;
    let mut flows = |seed| -> Result<()> {
        let frame = Frame::plain(1000, seed).from_mac(B).to_mac(HOST_MAC);
        b.send(&frame)?;
        while wire.receive(SOON)?.expect("b's frame leaves").bytes != frame.bytes {}
        Ok(())
    };
    flows(1)?;
    let held = u64::try_from(segment.daemon.usage()?.descriptors).unwrap_or(u64::MAX);
    for room in 0..8 {
        let before = limit(&segment, Some(held + room));
        let mut waiting = Vec::new();
        for _ in 0..4 {
            waiting.push(RawSession::connect(&segment.daemon.socket("a"))?);
        }
        let cpu = segment.daemon.usage()?.cpu;
        std::thread::sleep(Duration::from_millis(300));
        let cpu = segment.daemon.usage()?.cpu - cpu;
        assert!(cpu < Duration::from_millis(100), "it spins: {cpu:?}");
        flows(room)?;
        drop(waiting);
        limit(&segment, before);
        drop(segment.front_end("a").start()?);
    }
    let deadline = Instant::now() + SOON;
    while segment.daemon.usage()?.descriptors as u64 != held {
        assert!(Instant::now() < deadline, "descriptors are left");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[test]
fn row_96_a_guest_that_is_alone_sends_from_its_own_address_only() -> Result<()> {
    let mut lab = Lab::new(["--mac", "02:00:00:00:00:02"])?;
    let mut port = lab.front_end().start()?;
    port.send(&Frame::plain(60, 1).from_mac([2, 0, 0, 0, 0, 3]))?;
    let good = Frame::plain(60, 2);
    port.send(&good)?;
    let come = lab.wire.receive(SOON)?.expect("its own frame leaves");
    assert_eq!(come.bytes, good.bytes);
    let reasons = lab.daemon.counters()?.from_guest.reasons;
    assert_eq!(reasons.get("spoofed-mac"), Some(&1));
    Ok(())
}

#[test]
fn row_74_guests_that_take_nothing_leave_room_for_those_that_do() -> Result<()> {
    const IDLE: usize = 8;
    let idle = |number: usize| [2, 0, 0, 0, 1, u8::try_from(number).unwrap_or(0)];
    let names: Vec<String> = (0..IDLE).map(|number| format!("idle{number}")).collect();
    let mut text = format!(
        "control = \"{{dir}}/control.sock\"\n[uplink.lan]\nkind = \"tap:tap1\"\nmtu = 65521\n{GUESTS}"
    );
    for (number, name) in names.iter().enumerate() {
        text += &format!("[guest.{name}]\nmac = \"02:00:00:00:01:{number:02x}\"\n");
    }
    let mut guests: Vec<&str> = names.iter().map(String::as_str).collect();
    guests.push("b");
    let segment = Segment::new(&text, &guests)?;
    let wire = segment.wire("tap1")?;
    let [mut b] = segment.ports(["b"])?;
    let _idle = names
        .iter()
        .map(|name| segment.front_end(name).posting_nothing().start())
        .collect::<Result<Vec<_>>>()?;
    let mut lost = 0;
    for round in 0..200 {
        for number in 0..IDLE {
            let large = Frame::plain(60_000, round)
                .from_mac(HOST_MAC)
                .to_mac(idle(number));
            for _ in 0..8 {
                wire.send(&large)?;
            }
        }
        let frame = Frame::plain(1000, round).from_mac(HOST_MAC).to_mac(B);
        wire.send(&frame)?;
        match b.receive(Duration::from_millis(200))? {
            Some(come) => assert_eq!(come.bytes, frame.bytes),
            None => lost += 1,
        }
    }
    let report = segment.daemon.report()?;
    let dropped = |reason: &str| -> Result<u64> {
        names.iter().try_fold(0, |sum, name| {
            let drops = &report.port(name)?.to_guest.drops;
            Ok(sum + drops.get(reason).copied().unwrap_or(0))
        })
    };
    let full = dropped("pool-full")?;
    println!("{full} frames of those that take nothing met a full pool");
    assert!(full > 0, "the pool was never full");
    assert_eq!(lost, 0, "frames of the one that takes them");
    assert!(report.port("b")?.to_guest.drops.is_empty());
    Ok(())
}
