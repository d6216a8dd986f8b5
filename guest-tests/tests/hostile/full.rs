//! Rows of A5 that need a daemon of their own: uplinks and pools that are full.

use std::time::{Duration, Instant};

use guest_tests::front_end::{Frame, Segment, Shape, Wire};
use guest_tests::{Namespace, Place, Result};

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
