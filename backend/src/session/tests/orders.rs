//! The orders in which real front-ends speak, recorded from QEMU 7.2, QEMU 10.0 and DPDK 22.11.

use super::support::*;
use crate::session::Request::*;
use crate::session::{Message, Request, protocol};

/// From connection to running rings, as QEMU does it.
fn qemu(asks: bool, pairs: u32) -> Vec<Message> {
    let ack = |message: Message| {
        if asks {
            message.needing_reply()
        } else {
            message
        }
    };
    let rings = pairs * 2;
    let mut script = vec![
        bare(GetFeatures),
        bare(GetProtocolFeatures),
        u64_of(SetProtocolFeatures, protocol::SERVED & !protocol::CONFIG),
        bare(GetQueueNum),
        bare(GetMaxMemSlots),
        bare(SetOwner),
        bare(GetFeatures),
    ];
    for ring in 0..rings {
        script.push(ring_event(SetVringCall, ring.into()));
        script.push(ring_event(SetVringErr, ring.into()));
    }
    for on in [1, 0, 1] {
        script.extend((0..rings).map(|ring| ack(state(SetVringEnable, ring, on))));
    }
    for pair in 0..pairs {
        script.push(ack(u64_of(SetFeatures, FEATURES | PF)));
        if pair == 0 {
            script.push(bare(GetStatus));
            script.push(ack(u64_of(SetStatus, 0xf)));
            script.push(ack(single(AddMemReg, REGION)));
        }
        for ring in pair * 2..pair * 2 + 2 {
            script.push(ack(state(SetVringNum, ring, 256)));
            script.push(ack(state(SetVringBase, ring, 0)));
            script.push(ack(addresses(ring)));
            script.push(ring_event(SetVringKick, ring.into()));
            script.push(ring_event(SetVringCall, ring.into()));
        }
    }
    script.push(ring_event(SetVringCall, 0));
    script
}

/// Runs a script in which everything is granted; returns what the engine saw.
fn play(bench: &mut Bench, script: Vec<Message>) -> Vec<Request> {
    let mut seen = Vec::new();
    for message in script {
        let request = Request::from_code(message.request).unwrap();
        let asked = message.needs_reply() || request.has_own_reply();
        let outcome = bench.send(message);
        assert_eq!(outcome.closed, None, "{request}");
        assert_eq!(outcome.replies.len(), usize::from(asked), "{request}");
        if !request.has_own_reply() {
            outcome.assert_granted();
        }
        seen.extend(outcome.engine_requests());
    }
    seen
}

fn assert_enables_follow_features(seen: &[Request]) {
    let first = |wanted| seen.iter().position(|request| *request == wanted);
    assert!(first(SetFeatures).unwrap() < first(SetVringEnable).unwrap());
}

#[test]
fn qemu_7_2_gets_its_early_enables_after_the_features() {
    let mut bench = Bench::new();
    let seen = play(&mut bench, qemu(false, 1));
    assert_enables_follow_features(&seen);
    let enables = seen.iter().filter(|request| **request == SetVringEnable);
    assert_eq!(enables.count(), 2, "the last value of each ring is enough");
    assert!(
        bench.session.rings()[..2]
            .iter()
            .all(|ring| ring.started && ring.enabled)
    );
}

#[test]
fn qemu_10_gets_its_early_enables_acknowledged_at_once() {
    let mut bench = Bench::new();
    let seen = play(&mut bench, qemu(true, 1));
    assert_enables_follow_features(&seen);
}

#[test]
fn two_pairs_send_the_features_twice_while_the_first_pair_runs() {
    let mut bench = Bench::new();
    let seen = play(&mut bench, qemu(true, 2));
    assert_enables_follow_features(&seen);
    assert!(
        bench
            .session
            .rings()
            .iter()
            .all(|ring| ring.started && ring.enabled)
    );
}

#[test]
fn a_guest_reset_enables_stopped_rings_and_starts_them_again() {
    let mut bench = Bench::new();
    play(&mut bench, qemu(true, 1));
    for ring in 0..2 {
        let outcome = bench.send(state(GetVringBase, ring, 0));
        assert_eq!(outcome.value(), 7 << 32 | u64::from(ring));
    }
    assert_eq!(bench.send(u64_of(SetStatus, 0)).closed, None);
    for _ in 0..5 {
        bench.ask(state(SetVringEnable, 0, 1)).assert_granted();
    }
    let ring = &bench.session.rings()[0];
    assert!(ring.enabled && !ring.started, "enabled is not started");
    bench
        .ask(u64_of(SetFeatures, FEATURES | PF))
        .assert_granted();
    bench.start_ring(0);
}

#[test]
fn dpdk_sends_the_table_after_the_features_and_kicks_before_enabling() {
    let mut bench = Bench::new();
    let mut script = vec![
        bare(SetOwner),
        bare(GetFeatures),
        bare(GetProtocolFeatures),
        u64_of(
            SetProtocolFeatures,
            protocol::MQ | protocol::REPLY_ACK | protocol::STATUS,
        ),
        bare(GetQueueNum),
        ring_event(SetVringCall, 0),
        ring_event(SetVringCall, 1),
        u64_of(SetFeatures, FEATURES | PF).needing_reply(),
        table(&[REGION]).needing_reply(),
    ];
    for ring in 0..2 {
        script.push(state(SetVringNum, ring, 256));
        script.push(state(SetVringBase, ring, 0));
        script.push(addresses(ring));
        script.push(ring_event(SetVringKick, ring.into()));
    }
    script.extend((0..2).map(|ring| state(SetVringEnable, ring, 1)));
    script.push(u64_of(SetStatus, 0xf).needing_reply());
    script.extend((0..2).map(|ring| state(SetVringEnable, ring, 0)));
    script.extend((0..2).map(|ring| state(GetVringBase, ring, 0)));
    play(&mut bench, script);
    assert!(bench.session.rings().iter().all(|ring| !ring.started));
}

#[test]
fn without_protocol_features_rings_start_enabled_and_early_enables_are_dropped() {
    let mut bench = Bench::new();
    bench.send(state(SetVringEnable, 0, 0)).assert_granted();
    let outcome = bench.send(u64_of(SetFeatures, FEATURES));
    assert_eq!(outcome.engine_requests(), [SetFeatures]);
    assert!(bench.session.rings().iter().all(|ring| ring.enabled));
}

#[test]
fn questions_get_their_answers() {
    let mut bench = Bench::negotiated();
    assert_eq!(bench.send(bare(GetQueueNum)).value(), 4);
    assert_eq!(bench.send(bare(GetMaxMemSlots)).value(), 32);
    assert_eq!(bench.send(bare(GetFeatures)).value(), FEATURES | PF);
    assert_eq!(
        bench.send(bare(GetProtocolFeatures)).value(),
        protocol::SERVED
    );
    bench.send(u64_of(SetStatus, 0xb)).assert_granted();
    assert_eq!(bench.send(bare(GetStatus)).value(), 0xb);
}

#[test]
fn a_rarp_and_an_mtu_reach_the_daemon() {
    let mut bench = Bench::negotiated();
    let mac = u64::from_ne_bytes([0x52, 0x54, 0, 1, 2, 3, 0, 0]);
    assert_eq!(
        bench.ask(u64_of(SendRarp, mac)).others,
        ["Rarp([82, 84, 0, 1, 2, 3])"]
    );
    assert_eq!(bench.ask(u64_of(NetSetMtu, 1500)).others, ["SetMtu(1500)"]);
    for mtu in [0, 67, 65_536, 65_536 + 1500] {
        bench.ask(u64_of(NetSetMtu, mtu)).assert_refused();
        let outcome = bench.send(u64_of(NetSetMtu, mtu));
        assert!(outcome.closed.is_none() && outcome.others.is_empty());
    }
    assert_eq!(bench.session.refused(), 8);
}

#[test]
fn a_reset_by_status_stops_started_rings_before_it_is_acknowledged() {
    let mut bench = Bench::with_started_ring();
    let mut actions = Vec::new();
    bench
        .session
        .front_end(u64_of(SetStatus, 0).needing_reply(), &mut actions);
    let shown = format!("{actions:?}");
    assert!(
        bench.session.is_waiting() && !shown.contains("ToFrontEnd"),
        "{shown}"
    );
}
