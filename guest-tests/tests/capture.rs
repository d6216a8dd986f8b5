//! Frames captured over the control socket: each once, with its class and what became of it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use guest_tests::front_end::{Frame, Port, Segment, Wire};
use guest_tests::{Control, Result};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(2);
/// Long enough for an event that must not come.
const NEVER: Duration = Duration::from_millis(50);
const A: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
const B: [u8; 6] = [2, 0, 0, 0, 0, 0x0b];
const HOST: [u8; 6] = [2, 0, 0, 0, 0, 0x01];
/// Expedited forwarding.
const EF: u8 = 46;
/// For what a rule drops.
const CS6: u8 = 48;

/// Classes of `a`, for which its frames are copied out of the ring.
const CLASSES: &str = r#"
[guest.a.from_guest]
default = "rest"
[[guest.a.from_guest.class]]
name = "voice"
[[guest.a.from_guest.class]]
name = "rest"
[[guest.a.from_guest.rule]]
dscp = "CS6"
drop = true
[[guest.a.from_guest.rule]]
dscp = "EF"
class = "voice"
"#;

/// Rules of `a` that do not keep its frames from waiting in its ring.
const RULES: &str = r#"
[[guest.a.from_guest.rule]]
dscp = "CS6"
drop = true
"#;

fn text(a: &str, b: &str) -> String {
    format!(
        "control = \"{{dir}}/control.sock\"\n\
         [uplink.lan]\nkind = \"tap:tap1\"\n\
         [guest.a]\nmac = \"02:00:00:00:00:0a\"\n{a}\n\
         {b}\n"
    )
}

const GUEST_B: &str = "[guest.b]\nmac = \"02:00:00:00:00:0b\"";

struct Rig {
    segment: Segment,
    control: Control,
    wire: Wire,
    a: Port,
    b: Port,
}

fn rig(a: &str) -> Result<Rig> {
    let segment = Segment::new(&text(a, GUEST_B), &["a", "b"])?;
    let control = Control::new(segment.daemon.folder().join("control.sock"))?;
    let wire = segment.wire("tap1")?;
    let [a, b] = segment.ports(["a", "b"])?;
    Ok(Rig {
        segment,
        control,
        wire,
        a,
        b,
    })
}

/// A connection on which events come.
struct Events(BufReader<UnixStream>);

impl Events {
    /// Asks, and reads the answer.
    fn ask(rig: &Rig, request: &Value) -> (Self, Value) {
        let path = rig.segment.daemon.folder().join("control.sock");
        let mut stream = UnixStream::connect(path).expect("the daemon listens");
        writeln!(stream, "{request}").expect("the daemon reads");
        let mut events = Self(BufReader::new(stream));
        let answer = events.next(SOON).expect("an answer");
        (events, answer)
    }

    /// Begins a capture of a guest, with these keys besides.
    fn capture(rig: &Rig, guest: &str, more: Value) -> Self {
        let mut request = json!({"do": "capture", "guest": guest, "snap": 60, "frames": 1000});
        for (key, value) in more.as_object().into_iter().flatten() {
            request[key] = value.clone();
        }
        let (events, answer) = Self::ask(rig, &request);
        assert_eq!(answer, json!({"ok": true}), "{request}");
        events
    }

    fn next(&mut self, patience: Duration) -> Option<Value> {
        let set = self.0.get_ref().set_read_timeout(Some(patience));
        set.expect("a timeout can be set");
        let mut line = String::new();
        self.0.read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }

    /// The next event is such a copy of this frame.
    fn shows(&mut self, frame: &Frame, direction: &str, class: Option<&str>, verdict: &str) {
        let event = self.next(SOON).expect("an event comes");
        let data = event["data"].as_str().unwrap_or_default();
        let data = STANDARD.decode(data).expect("it is base64");
        let first = &frame.bytes[..frame.bytes.len().min(60)];
        assert_eq!(data, first, "{event}");
        assert_eq!(event["len"], frame.bytes.len(), "{event}");
        assert_eq!(event["direction"], direction, "{event}");
        assert_eq!(event["class"].as_str(), class, "{event}");
        assert_eq!(event["verdict"], verdict, "{event}");
        assert!(event["time_nanos"].as_u64() > Some(1_000_000_000_000_000_000));
    }

    fn shows_nothing(&mut self) {
        let event = self.next(NEVER);
        assert!(event.is_none(), "{event:?}");
    }
}

fn udp(from: [u8; 6], to: [u8; 6], code: u8) -> Frame {
    Frame::udp4(100, code.into())
        .dscp(code)
        .from_mac(from)
        .to_mac(to)
}

fn shows_what_becomes_of_each(keys: &str, voice: Option<&str>, rest: Option<&str>) -> Result<()> {
    let mut rig = rig(keys)?;
    let mut of_a = Events::capture(&rig, "a", json!({}));
    let mut of_b = Events::capture(&rig, "b", json!({"direction": "to-guest"}));
    let (sent, plain, dropped) = (udp(A, HOST, EF), udp(A, HOST, 0), udp(A, HOST, CS6));
    let (spoofed, local, back) = (udp(B, HOST, 0), udp(A, B, EF), udp(HOST, A, 0));
    for (frame, class, verdict) in [
        (&sent, voice, "sent"),
        (&plain, rest, "sent"),
        (&dropped, None, "rule"),
        (&spoofed, None, "spoofed-mac"),
        (&local, voice, "local"),
    ] {
        rig.a.send(frame)?;
        of_a.shows(frame, "from-guest", class, verdict);
    }
    of_b.shows(&local, "to-guest", None, "sent");
    rig.wire.send(&back)?;
    of_a.shows(&back, "to-guest", None, "sent");
    let large = Frame::tcp4(20_000, 1)
        .segmented(1000)
        .from_mac(A)
        .to_mac(HOST);
    rig.a.send(&large)?;
    of_a.shows(&large, "from-guest", rest, "sent");
    of_a.shows_nothing();
    of_b.shows_nothing();
    Ok(())
}

#[test]
fn frames_of_a_guest_with_classes_are_shown_once_with_class_and_fate() -> Result<()> {
    shows_what_becomes_of_each(CLASSES, Some("voice"), Some("rest"))
}

#[test]
fn frames_that_wait_in_the_ring_are_shown_once_with_their_fate() -> Result<()> {
    shows_what_becomes_of_each(RULES, None, None)
}

#[test]
fn super_frames_that_go_in_parts_are_shown_once() -> Result<()> {
    for keys in ["from_guest = { ceil = \"100mbit\" }", CLASSES] {
        let keys = keys.replace("default", "ceil = \"100mbit\"\ndefault");
        let mut rig = rig(&keys)?;
        let mut events = Events::capture(&rig, "a", json!({}));
        let large = Frame::tcp4(60_000, 1)
            .segmented(1000)
            .from_mac(A)
            .to_mac(HOST);
        let class = keys.contains("voice").then_some("rest");
        for _ in 0..3 {
            rig.a.send(&large)?;
        }
        for _ in 0..3 {
            events.shows(&large, "from-guest", class, "sent");
        }
        events.shows_nothing();
    }
    Ok(())
}

#[test]
fn only_what_was_asked_for_is_shown_and_no_more_than_that() -> Result<()> {
    let mut rig = rig(CLASSES)?;
    let asked = json!({"class": "voice", "direction": "from-guest", "frames": 2});
    let mut events = Events::capture(&rig, "a", asked);
    for code in [0, EF, CS6, 0, EF, EF] {
        rig.a.send(&udp(A, HOST, code))?;
    }
    for _ in 0..2 {
        events.shows(&udp(A, HOST, EF), "from-guest", Some("voice"), "sent");
    }
    let end = json!({"event": "capture-end", "missed": 0});
    assert_eq!(events.next(SOON), Some(end));
    // The connection is as good as before.
    drop(events);
    let mut again = Events::capture(&rig, "a", json!({"snap": 0}));
    rig.a.send(&udp(A, HOST, 0))?;
    let event = again.next(SOON).expect("an event comes");
    assert_eq!((&event["data"], &event["len"]), (&json!(""), &json!(142)));
    Ok(())
}

#[test]
fn what_cannot_be_captured_is_refused_with_the_reason() -> Result<()> {
    let rig = rig(CLASSES)?;
    let first = Events::capture(&rig, "a", json!({}));
    for (request, says) in [
        (json!({"guest": "a", "frames": 1}), "captured already"),
        (json!({"guest": "aa", "frames": 1}), "did you mean `a`?"),
        (json!({"guest": "b", "frames": 0}), "one at least"),
        (
            json!({"guest": "a", "frames": 1, "class": "voic"}),
            "did you mean `voice`?",
        ),
        (
            json!({"guest": "a", "frames": 1, "class": "voice", "direction": "to-guest"}),
            "no class",
        ),
    ] {
        let mut request = request;
        request["do"] = json!("capture");
        request["snap"] = json!(60);
        let (_, answer) = Events::ask(&rig, &request);
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.contains(says), "{request}: {answer}");
    }
    drop(first);
    rig.control.ask(r#"{"do":"ping"}"#)?;
    drop(Events::capture(&rig, "a", json!({})));
    Ok(())
}

#[test]
fn a_capture_ends_with_its_guest() -> Result<()> {
    let rig = rig("")?;
    let mut events = Events::capture(&rig, "b", json!({}));
    let folder = rig.segment.daemon.folder();
    let text = text("", "[defaults]\nsocket = \"{dir}/{name}.sock\"\n");
    let text = text.replace("{dir}", &folder.to_string_lossy());
    std::fs::write(folder.join("netqos.toml"), text).expect("the file is written");
    rig.control.reload()?;
    let end = json!({"event": "capture-end", "missed": 0});
    assert_eq!(events.next(SOON), Some(end));
    Ok(())
}

#[test]
fn what_a_slow_taker_misses_is_counted_and_every_frame_is_accounted_for() -> Result<()> {
    let mut rig = rig(&CLASSES.replace("default", "ceil = \"200mbit\"\ndefault"))?;
    let frames = 20_000_u32;
    let asked = json!({"snap": 70_000, "frames": frames, "direction": "from-guest"});
    let mut events = Events::capture(&rig, "a", asked);
    let frame = Frame::plain(1500, 1).from_mac(A).to_mac(HOST);
    for _ in 0..frames {
        rig.a.send(&frame)?;
    }
    rig.a.settle(SOON)?;
    // It misses some while nobody reads, so it is ended by its connection, and told by the counters.
    let (mut shown, mut dropped) = (0_u64, 0_u64);
    while let Some(event) = events.next(Duration::from_millis(300)) {
        assert_eq!(event["len"], 1500, "{event}");
        shown += 1;
        dropped += u64::from(event["verdict"] != "sent");
    }
    let counters = rig.segment.counters("a")?;
    let all = counters.from_guest.frames + counters.from_guest.drops;
    assert_eq!(all, u64::from(frames), "{counters:?}");
    assert!((16..u64::from(frames)).contains(&shown), "{shown}");
    assert!(dropped <= counters.from_guest.drops, "{counters:?}");
    // Who reads what comes misses nothing from then on.
    for _ in 0..10 {
        rig.a.send(&frame)?;
        assert!(events.next(SOON).is_some());
    }
    let _ = &rig.b;
    Ok(())
}
