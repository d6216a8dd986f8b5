//! What an operator asks of one guest: where its rings stand, a push, a pause.

use std::time::Duration;

use guest_tests::front_end::{Frame, Port, Segment, Shape};
use guest_tests::{Control, Result};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(2);
/// Long enough for a frame that must not come.
const NEVER: Duration = Duration::from_millis(50);
const A: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
const B: [u8; 6] = [2, 0, 0, 0, 0, 0x0b];
const HOST: [u8; 6] = [2, 0, 0, 0, 0, 0x01];
/// Classes of `a`, for which its frames are copied out of the ring.
const CLASSES: &str = "[guest.a.from_guest]\ndefault = \"rest\"\n\
         [[guest.a.from_guest.class]]\nname = \"voice\"\n\
         [[guest.a.from_guest.class]]\nname = \"rest\"\n\
         [[guest.a.from_guest.rule]]\ndscp = \"EF\"\nclass = \"voice\"\n";

/// Two guests, of which `a` has these keys besides.
fn text(a: &str) -> String {
    format!(
        "control = \"{{dir}}/control.sock\"\n\
         [uplink.lan]\nkind = \"tap:tap1\"\n\
         [guest.a]\nmac = \"02:00:00:00:00:0a\"\n{a}\n\
         [guest.b]\nmac = \"02:00:00:00:00:0b\"\n"
    )
}

fn segment(a: &str) -> Result<(Segment, Control)> {
    let segment = Segment::new(&text(a), &["a", "b"])?;
    let control = Control::new(segment.daemon.folder().join("control.sock"))?;
    Ok((segment, control))
}

fn done(control: &Control, request: &Value) -> Result<()> {
    let answer = control.ask(&request.to_string())?;
    assert_eq!(answer, json!({"ok": true}), "{request}");
    Ok(())
}

fn pause(control: &Control, paused: bool) -> Result<()> {
    let request = json!({"do": "guest-pause", "guest": "a", "paused": paused});
    done(control, &request)
}

fn rings(control: &Control, guest: &str) -> Result<Vec<Value>> {
    let answer = control.ask(&json!({"do": "rings", "guest": guest}).to_string())?;
    assert_eq!(answer["guest"], guest);
    Ok(answer["rings"].as_array().cloned().unwrap_or_default())
}

fn states(rings: &[Value]) -> Vec<&str> {
    rings
        .iter()
        .filter_map(|ring| ring["state"].as_str())
        .collect()
}

fn frame(from: [u8; 6], to: [u8; 6], seed: u64) -> Frame {
    Frame::plain(100, seed).from_mac(from).to_mac(to)
}

fn gets(port: &mut Port, frames: &[Frame]) -> Result<()> {
    for frame in frames {
        let come = port.receive(SOON)?.expect("the frame arrives");
        assert_eq!(come.bytes, frame.bytes);
    }
    Ok(())
}

#[test]
fn rings_are_told_from_before_they_are_there_until_they_are_broken() -> Result<()> {
    let (segment, control) = segment("")?;
    assert_eq!(states(&rings(&control, "a")?), ["unused", "unused"]);
    let [mut a] = segment.ports(["a"])?;
    for seed in 0..3 {
        a.send(&frame(A, HOST, seed))?;
    }
    a.settle(SOON)?;
    let all = rings(&control, "a")?;
    assert_eq!(states(&all), ["running", "running"]);
    let [receive, transmit] = &all[..] else {
        panic!("{all:?}")
    };
    assert_eq!(
        (&receive["ring"], &transmit["ring"]),
        (&json!(0), &json!(1))
    );
    for (key, value) in [("size", 256), ("avail", 3), ("used", 3), ("next", 3)] {
        assert_eq!(transmit[key], value, "{key} of {transmit}");
    }
    assert_eq!(transmit["avail_event"], 3, "it waits for the next frame");
    assert_eq!(
        (&transmit["waiting"], &receive["next"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(receive["waiting"], receive["avail"], "{receive}");
    a.enable_ring(1, false)?;
    assert_eq!(states(&rings(&control, "a")?), ["running", "disabled"]);
    a.enable_ring(1, true)?;
    let queue = a.ring(1)?;
    queue.driver().raw_avail_idx(20_000);
    queue.kick();
    assert!(queue.is_broken(SOON)?);
    let all = rings(&control, "a")?;
    assert_eq!(states(&all), ["running", "broken"]);
    assert_eq!(all[1]["avail"], 20_000, "what it was broken by is told");
    assert_eq!(
        (&all[1]["waiting"], &all[1]["next"]),
        (&json!(0), &json!(3))
    );
    a.stop_ring(0)?;
    assert_eq!(states(&rings(&control, "a")?), ["stopped", "broken"]);
    let unknown = control.ask(r#"{"do":"rings","guest":"aa"}"#)?;
    assert_eq!(
        unknown,
        json!({"error": "there is no guest `aa`: did you mean `a`?"})
    );
    drop(a);
    let [_again] = segment.ports(["a"])?;
    assert_eq!(states(&rings(&control, "a")?), ["running", "running"]);
    Ok(())
}

#[test]
fn a_guest_whose_kick_was_lost_is_pushed_on_and_called() -> Result<()> {
    for keys in ["", CLASSES] {
        let (segment, control) = segment(keys)?;
        let wire = segment.wire("tap1")?;
        let [mut a] = segment.ports(["a"])?;
        a.send(&frame(A, HOST, 0))?;
        a.settle(SOON)?;
        assert!(wire.receive(SOON)?.is_some());
        let sent = frame(A, HOST, 1);
        a.pair(0)?.transmit.queue().set_kicking(false);
        a.send(&sent)?;
        assert!(wire.receive(NEVER)?.is_none(), "nobody knows of it");
        assert_eq!(rings(&control, "a")?[1]["waiting"], 1);
        let before: Vec<_> = [0, 1]
            .into_iter()
            .map(|ring| Ok(a.ring(ring)?.calls()))
            .collect::<Result<_>>()?;
        done(&control, &json!({"do": "kick", "guest": "a"}))?;
        let come = wire.receive(SOON)?.expect("it leaves");
        assert_eq!(come.bytes, sent.bytes);
        for (ring, before) in before.into_iter().enumerate() {
            assert!(a.ring(ring)?.calls() > before, "ring {ring} is called");
        }
    }
    Ok(())
}

/// Has other keys of `a` served.
fn reload(segment: &Segment, control: &Control, a: &str) -> Result<()> {
    let folder = segment.daemon.folder();
    let text = text(a);
    let text = format!("{text}\n[defaults]\nsocket = \"{{dir}}/{{name}}.sock\"\n");
    let text = text.replace("{dir}", &folder.to_string_lossy());
    std::fs::write(folder.join("netqos.toml"), text).expect("the file is written");
    control.reload()?;
    Ok(())
}

fn is_paused(control: &Control) -> Result<bool> {
    let report = control.ask(r#"{"do":"report"}"#)?;
    let ports = report["ports"].as_array().into_iter().flatten();
    let mut ports = ports.filter(|port| port["port"] == "a");
    Ok(ports.any(|port| port["paused"] == true))
}

/// What a paused guest sends and what is sent to it waits, and goes when it goes on.
fn holds_both_ways(keys: &str) -> Result<()> {
    let (mut segment, control) = segment(keys)?;
    let wire = segment.wire("tap1")?;
    let [mut a, mut b] = segment.ports(["a", "b"])?;
    assert!(!is_paused(&control)?);
    pause(&control, true)?;
    pause(&control, true)?;
    assert!(is_paused(&control)?);
    let out = [frame(A, HOST, 1), frame(A, B, 2)];
    for frame in &out {
        a.send(frame)?;
    }
    let from_b = [frame(B, A, 3), frame(B, A, 4)];
    for frame in &from_b {
        b.send(frame)?;
    }
    b.settle(SOON)?;
    let from_host = [frame(HOST, A, 5), frame(HOST, A, 6)];
    for frame in &from_host {
        wire.send(frame)?;
    }
    assert!(wire.receive(NEVER)?.is_none(), "nothing leaves");
    assert!(a.receive(NEVER)?.is_none() && b.receive(NEVER)?.is_none());
    assert_eq!(rings(&control, "a")?[1]["waiting"], 2, "in the ring");
    // Nobody else is held.
    let free = frame(B, HOST, 7);
    b.send(&free)?;
    assert_eq!(wire.receive(SOON)?.expect("b is heard").bytes, free.bytes);

    // Another limit, and another front-end: it is held as before.
    reload(
        &segment,
        &control,
        &format!("{keys}\n[guest.a.to_guest]\nceil = \"1gbit\""),
    )?;
    assert!(a.receive(NEVER)?.is_none() && wire.receive(NEVER)?.is_none());

    pause(&control, false)?;
    let come = wire.receive(SOON)?.expect("it leaves");
    assert_eq!(come.bytes, out[0].bytes);
    gets(&mut b, &out[1..])?;
    let mut come = Vec::new();
    for _ in 0..4 {
        come.push(a.receive(SOON)?.expect("what waited arrives").bytes);
    }
    for frame in from_b.iter().chain(&from_host) {
        assert!(come.contains(&frame.bytes), "nothing is lost");
    }
    a.settle(SOON)?;
    let counters = segment.counters("a")?;
    assert_eq!((counters.from_guest.drops, counters.to_guest.drops), (0, 0));
    Ok(())
}

#[test]
fn a_paused_guest_is_held_both_ways_and_goes_on_without_loss() -> Result<()> {
    holds_both_ways("")
}

#[test]
fn a_paused_guest_with_classes_is_held_both_ways_as_well() -> Result<()> {
    holds_both_ways(CLASSES)
}

#[test]
fn a_front_end_that_comes_back_is_still_paused_and_more_than_its_queue_holds_is_dropped()
-> Result<()> {
    let (mut segment, control) = segment("[guest.a.to_guest]\nceil = \"8mbit\"")?;
    let wire = segment.wire("tap1")?;
    pause(&control, true)?;
    let [a] = segment.ports(["a"])?;
    drop(a);
    // Its port is made anew.
    reload(
        &segment,
        &control,
        "queues = 2\n[guest.a.to_guest]\nceil = \"8mbit\"",
    )?;
    assert!(is_paused(&control)?);
    let [mut a] = segment.ports(["a"])?;
    a.send_as(&frame(A, HOST, 1), &Shape::WHOLE)?;
    assert!(wire.receive(NEVER)?.is_none(), "still paused");
    let large = Frame::plain(1500, 9).from_mac(HOST).to_mac(A);
    for _ in 0..20 {
        wire.repeat(&large, 50)?;
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(a.receive(NEVER)?.is_none());
    let counters = segment.counters("a")?;
    let dropped = &counters.to_guest.reasons;
    assert_eq!(counters.to_guest.frames, 0);
    assert!(counters.to_guest.drops >= 500, "{dropped:?}");
    for reason in dropped.keys() {
        assert!(reason == "queue" || reason == "queue-full", "{dropped:?}");
    }
    pause(&control, false)?;
    assert!(wire.receive(SOON)?.is_some());
    assert!(a.receive(SOON)?.is_some());
    Ok(())
}
