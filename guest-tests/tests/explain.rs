//! What the daemon says that a frame would meet is what the frame meets, and asking changes nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use guest_tests::front_end::{Frame, Port, Segment, Wire};
use guest_tests::{Control, Result};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(2);
const GUESTS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// What the last bytes of the guests' addresses are; that of `d` is nobody's, and the last is the host's.
const LAST: [u8; 7] = [0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x01];

/// A guest with classes, one with rules alone, one of a VLAN, one without an address, a trunk, and one that
/// is kept from the second.
const TEXT: &str = r#"
control = "{dir}/control.sock"

[uplink.lan]
kind = "tap:tap1"

[guest.a]
mac = "02:00:00:00:00:0a"
addresses = ["198.18.0.0/24", "2001:db8::/64"]
[guest.a.from_guest]
default = "rest"
[[guest.a.from_guest.class]]
name = "voice"
[[guest.a.from_guest.class]]
name = "bulk"
[[guest.a.from_guest.class]]
name = "rest"
[[guest.a.from_guest.rule]]
protocol = "udp"
set_mark = "1/1"
goto = 3
[[guest.a.from_guest.rule]]
dscp = "EF"
class = "voice"
[[guest.a.from_guest.rule]]
mark = "1/1"
dscp = "CS6"
drop = true
[[guest.a.from_guest.rule]]
mark = "1/1"
set_dscp = "AF11"
class = "bulk"
[[guest.a.to_guest.class]]
name = "some"
[[guest.a.to_guest.class]]
name = "others"
[guest.a.to_guest]
default = "others"
[[guest.a.to_guest.rule]]
dscp = "AF11"
class = "some"

[guest.b]
mac = "02:00:00:00:00:0b"
isolation = "apart"
[[guest.b.from_guest.rule]]
dscp = "CS6"
drop = true
[[guest.b.from_guest.rule]]
dscp = "EF"
set_dscp = "AF11"
[[guest.b.to_guest.rule]]
protocol = "tcp"
drop = true

[guest.c]
mac = "02:00:00:00:00:0c"
vlan = 10

[guest.d]

[guest.e]
mac = "02:00:00:00:00:0e"
trunk = [10, 20]
native = 20

[guest.f]
mac = "02:00:00:00:00:0f"
isolation = "apart"
"#;

/// Numbers that look like chance and are the same in every run (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 1).unwrap_or(0) % end
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn often(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn mac(&mut self) -> [u8; 6] {
        match self.below(10) {
            0 => [0xff; 6],
            1 => [0x01, 0x00, 0x5e, 0x01, 0x02, 0x03],
            2 => [0x01, 0x80, 0xc2, 0, 0, 0x0e],
            3 => [2, 0, 0, 0, 1, self.of(&[1, 2, 3])],
            _ => [2, 0, 0, 0, 0, self.of(&LAST)],
        }
    }

    /// A frame, more often than not from this address.
    fn frame(&mut self, own: [u8; 6], number: u64) -> Frame {
        let payload = 20 + self.below(100);
        let code = self.of(&[0, 46, 48, 10]);
        let mut frame = match self.below(6) {
            0 => Frame::plain(14 + payload, number),
            1 => Frame::tcp4(payload, number).dscp(code),
            2 => Frame::tcp6(payload, number),
            3 => Frame::udp6(payload, number),
            _ => Frame::udp4(payload, number).dscp(code),
        };
        if self.often(10) {
            // Another network's address, where IPv4 has it.
            frame.bytes[27] = 99;
        }
        let from = if self.often(85) { own } else { self.mac() };
        frame = frame.from_mac(from).to_mac(self.mac());
        if self.often(40) {
            frame = frame.tagged(self.of(&[0, 10, 20, 30]));
        }
        if self.often(5) {
            frame.bytes.truncate(14 + self.below(10));
        }
        frame
    }
}

/// All frames that were counted, by where.
type Counts = BTreeMap<String, u64>;

fn counts(control: &Control) -> Result<Counts> {
    let report = control.ask(r#"{"do":"report","classes":true}"#)?;
    let mut counts = Counts::new();
    let list = |key: &str| report[key].as_array().cloned().unwrap_or_default();
    for port in list("ports") {
        let name = port["port"].as_str().unwrap_or_default();
        for direction in ["from_guest", "to_guest"] {
            let counted = &port[direction];
            let frames = counted["frames"].as_u64().unwrap_or(0);
            counts.insert(format!("{name} {direction} sent"), frames);
            for (reason, frames) in counted["drops"].as_object().into_iter().flatten() {
                let frames = frames.as_u64().unwrap_or(0);
                counts.insert(format!("{name} {direction} {reason}"), frames);
            }
        }
    }
    for class in list("classes") {
        let text = |key: &str| class[key].as_str().unwrap_or_default();
        let (guest, name) = (text("guest"), text("class"));
        let direction = text("direction").replace('-', "_");
        let frames = class["sent"]["frames"].as_u64().unwrap_or(0);
        if !name.is_empty() {
            let key = format!("{guest} {direction} class {name}");
            *counts.entry(key).or_default() += frames;
        }
    }
    for uplink in list("uplinks") {
        for (reason, frames) in uplink["drops"].as_object().into_iter().flatten() {
            let frames = frames.as_u64().unwrap_or(0);
            counts.insert(format!("uplink dropped {reason}"), frames);
        }
    }
    Ok(counts)
}

/// What is more than before.
fn since(before: &Counts, now: &Counts) -> Counts {
    let more = now.iter().map(|(key, count)| {
        let before = before.get(key).copied().unwrap_or(0);
        (key.clone(), count - before)
    });
    more.filter(|(_, more)| *more > 0).collect()
}

fn explain(control: &Control, guest: &str, direction: &str, frame: &Frame) -> Result<Value> {
    let request = json!({
        "do": "explain",
        "guest": guest,
        "direction": direction,
        "frame": STANDARD.encode(&frame.bytes),
    });
    control.ask(&request.to_string())
}

/// What is to be counted for a frame of `guest` if it is as was explained, and how many leave by the
/// uplink. Of floods it is only known how many there are.
fn expected(guest: &str, said: &Value) -> (Counts, u64, Option<u64>) {
    let text = |key: &str| said[key].as_str();
    let mut counts = Counts::new();
    let mut add = |key: String| *counts.entry(key).or_default() += 1;
    let receiver = text("to").and_then(|to| to.strip_prefix("guest "));
    let sent = receiver.is_some() || text("drop").is_none();
    if sent {
        add(format!("{guest} from_guest sent"));
        if let Some(class) = text("class") {
            add(format!("{guest} from_guest class {class}"));
        }
    }
    match (receiver, text("drop")) {
        (Some(to), Some(reason)) => add(format!("{to} to_guest {reason}")),
        (Some(to), None) => {
            add(format!("{to} to_guest sent"));
            if let Some(class) = class_of(said, to) {
                add(format!("{to} to_guest class {class}"));
            }
        }
        (None, Some(reason)) => add(format!("{guest} from_guest {reason}")),
        (None, None) => {}
    }
    let flooded = (text("to") == Some("flood")).then(|| flooded_to(said));
    let leave = sent && receiver.is_none();
    (counts, u64::from(leave), flooded)
}

/// How many guests get a flood.
fn flooded_to(said: &Value) -> u64 {
    let steps = said["steps"].as_array().into_iter().flatten();
    let mut steps = steps.filter_map(Value::as_str);
    let step = steps.find_map(|step| step.strip_prefix("flooded to "));
    let step = step.map(|step| step.strip_prefix("the uplink and ").unwrap_or(step));
    let count = step.and_then(|step| step.split(' ').next()?.parse().ok());
    count.expect("how many guests get it")
}

/// Frames that have come to guests, or to their queues.
fn received(counts: &Counts) -> u64 {
    let to_guests = counts.iter().filter(|(key, _)| key.contains(" to_guest "));
    let frames = to_guests.filter(|(key, _)| !key.contains(" class "));
    frames.map(|(_, frames)| frames).sum()
}

/// The class that the steps name for a receiver.
fn class_of<'a>(said: &'a Value, guest: &str) -> Option<&'a str> {
    let start = format!("to-guest of {guest}: class ");
    let steps = said["steps"].as_array().into_iter().flatten();
    let mut steps = steps.filter_map(Value::as_str);
    steps.find_map(|step| step.strip_prefix(start.as_str()))
}

/// Waits until as much is counted as is to be; what was counted.
fn settled(control: &Control, before: &Counts, frames: u64) -> Result<Counts> {
    let deadline = Instant::now() + SOON;
    loop {
        let counted = since(before, &counts(control)?);
        let all = counted.iter().filter(|(key, _)| !key.contains(" class "));
        if all.map(|(_, frames)| frames).sum::<u64>() >= frames || Instant::now() > deadline {
            return Ok(counted);
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn empty(ports: &mut [Port], wire: &Wire) -> Result<u64> {
    for port in ports {
        while port.receive(Duration::ZERO)?.is_some() {}
    }
    wire.clear()
}

struct Rig {
    control: Control,
    ports: Vec<Port>,
    wire: Wire,
    _segment: Segment,
}

fn rig() -> Result<Rig> {
    let segment = Segment::new(TEXT, &GUESTS)?;
    let control = Control::new(segment.daemon.folder().join("control.sock"))?;
    let wire = segment.wire("tap1")?;
    let mut ports: Vec<_> = segment.ports(GUESTS)?.into();
    for (port, last) in ports.iter_mut().zip(LAST) {
        port.send(&Frame::plain(60, 0).from_mac([2, 0, 0, 0, 0, last]))?;
        port.settle(SOON)?;
    }
    std::thread::sleep(Duration::from_millis(50));
    empty(&mut ports, &wire)?;
    Ok(Rig {
        control,
        ports,
        wire,
        _segment: segment,
    })
}

#[test]
fn a_thousand_frames_of_guests_meet_what_was_said_that_they_would() -> Result<()> {
    let mut rig = rig()?;
    let mut chance = Chance(1);
    let mut met = BTreeMap::<String, u64>::new();
    for number in 0..1000 {
        let at = chance.below(GUESTS.len());
        let guest = GUESTS[at];
        let frame = chance.frame([2, 0, 0, 0, 0, LAST[at]], number);
        let before = counts(&rig.control)?;
        let said = explain(&rig.control, guest, "from-guest", &frame)?;
        assert_eq!(said["ok"], true, "{said}");
        assert_eq!(counts(&rig.control)?, before, "asking changes nothing");
        let (mut expected, leave, flooded) = expected(guest, &said);
        rig.ports[at].send(&frame)?;
        let port_counts = expected.keys().filter(|key| !key.contains(" class "));
        let frames = port_counts.count() as u64 + flooded.unwrap_or(0);
        let mut counted = settled(&rig.control, &before, frames)?;
        let context = format!("frame {number} of {guest}, {:02x?}: {said:#}", frame.bytes);
        if let Some(flooded) = flooded {
            // Who they are is not told.
            let own = format!("{guest} from_guest");
            assert_eq!(received(&counted), flooded, "{context}: {counted:?}");
            counted.retain(|key, _| key.starts_with(&own));
            expected.retain(|key, _| key.starts_with(&own));
        }
        assert_eq!(counted, expected, "{context}");
        assert_eq!(empty(&mut rig.ports, &rig.wire)?, leave, "{context}");
        for key in ["to", "drop", "class"] {
            if let Some(value) = said[key].as_str() {
                *met.entry(format!("{key} {value}")).or_default() += 1;
            }
        }
    }
    println!("{met:#?}");
    for often in [
        "to uplink",
        "to flood",
        "to guest a",
        "to guest b",
        "class voice",
        "class bulk",
        "class rest",
        "drop rule",
        "drop spoofed-mac",
        "drop spoofed-ip",
        "drop vlan",
        "drop isolated",
        "drop hairpin",
        "drop link-control",
    ] {
        assert!(met.contains_key(often), "{often} was not met: {met:?}");
    }
    Ok(())
}

#[test]
fn what_the_uplink_brings_meets_what_was_said_as_well() -> Result<()> {
    let mut rig = rig()?;
    let mut chance = Chance(2);
    let mut reached = 0;
    for number in 0..500 {
        let guest = chance.of(&GUESTS);
        let frame = chance.frame([2, 0, 0, 0, 0, 0x01], number);
        let before = counts(&rig.control)?;
        let said = explain(&rig.control, guest, "to-guest", &frame)?;
        assert_eq!(said["ok"], true, "{said}");
        if !rig.wire.send(&frame)? {
            continue;
        }
        let mut expected = Counts::new();
        let for_guest = said["to"] == format!("guest {guest}");
        let steps = said["steps"].to_string();
        let flooded = said["to"] == "flood" && !steps.contains("does not reach");
        match said["drop"].as_str() {
            Some(reason) if for_guest || flooded => {
                expected.insert(format!("{guest} to_guest {reason}"), 1);
            }
            None if for_guest || flooded => {
                reached += 1;
                expected.insert(format!("{guest} to_guest sent"), 1);
                if let Some(class) = said["class"].as_str() {
                    expected.insert(format!("{guest} to_guest class {class}"), 1);
                }
            }
            Some(reason) if said["to"].is_null() => {
                expected.insert(format!("uplink dropped {reason}"), 1);
            }
            _ => {}
        }
        // One more than was said is found with a later frame at the latest.
        let receivers = match said["to"].as_str() {
            Some("flood") => flooded_to(&said),
            Some(_) => 1,
            None => 0,
        };
        let refused = u64::from(said["to"].is_null());
        let mut counted = settled(&rig.control, &before, receivers + refused)?;
        let context = format!("frame {number} for {guest}, {:02x?}: {said:#}", frame.bytes);
        assert_eq!(received(&counted), receivers, "{context}: {counted:?}");
        counted.retain(|key, _| key.starts_with(guest) || key.starts_with("uplink"));
        assert_eq!(counted, expected, "{context}");
        empty(&mut rig.ports, &rig.wire)?;
    }
    assert!(reached > 50, "{reached}");
    Ok(())
}

#[test]
fn what_is_no_frame_of_a_guest_is_refused_with_the_reason() -> Result<()> {
    let rig = rig()?;
    for (guest, frame, says) in [
        ("a", "!!", "base64"),
        ("aa", "", "did you mean `a`?"),
        ("a", &*STANDARD.encode(vec![0; 70_000]), "70000 bytes"),
    ] {
        let request =
            json!({"do": "explain", "guest": guest, "direction": "from-guest", "frame": frame});
        let answer = rig.control.ask(&request.to_string())?;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.contains(says), "{answer}");
    }
    let said = explain(&rig.control, "a", "from-guest", &Frame::from(vec![]))?;
    assert_eq!(said["drop"], "runt", "{said}");
    Ok(())
}
