//! Whoever looks sees the same: the operator's tool, metrics and the log. And whoever is rude at the control
//! socket disturbs no frame.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use guest_tests::front_end::{Flood, Frame, Segment};
use guest_tests::{Control, Direction, Result, tool_program};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(2);
const A: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
const B: [u8; 6] = [2, 0, 0, 0, 0, 0x0b];
const HOST: [u8; 6] = [2, 0, 0, 0, 0, 0x01];
const GUESTS: &str = r#"
control = "{dir}/control.sock"
[uplink.lan]
kind = "tap:tap1"
[guest.a]
mac = "02:00:00:00:00:0a"
[guest.b]
mac = "02:00:00:00:00:0b"
"#;

fn segment() -> Result<(Segment, Control)> {
    let segment = Segment::new(GUESTS, &["a", "b"])?;
    let control = Control::new(segment.daemon.folder().join("control.sock"))?;
    Ok((segment, control))
}

/// What `netqosctl show --json` prints.
fn shown(segment: &Segment) -> Result<Value> {
    let output = Command::new(tool_program()?)
        .arg("--control")
        .arg(segment.daemon.folder().join("control.sock"))
        .args(["show", "--json"])
        .output()
        .expect("netqosctl runs");
    assert!(output.status.success(), "{output:?}");
    Ok(serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// The value of a metric of a guest's direction.
fn metric(text: &str, name: &str, guest: &str, direction: &str) -> u64 {
    let labels = [
        format!("guest=\"{guest}\""),
        format!("direction=\"{direction}\""),
    ];
    let line = text.lines().find(|line| {
        line.starts_with(&format!("{name}{{")) && labels.iter().all(|label| line.contains(label))
    });
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} of {guest} {direction} in {text}"))
}

#[test]
fn tool_metrics_and_log_agree_at_a_quiet_moment() -> Result<()> {
    let (mut segment, control) = segment()?;
    let wire = segment.wire("tap1")?;
    let [mut a, mut b] = segment.ports(["a", "b"])?;
    for seed in 0..300 {
        let frame = Frame::tcp4(5000, seed).segmented(1460);
        a.send(
            &frame
                .from_mac(A)
                .to_mac(if seed % 3 == 0 { B } else { HOST }),
        )?;
        // One that is not its own: dropped and counted.
        if seed % 10 == 0 {
            b.send(&Frame::plain(100, seed).from_mac(A).to_mac(HOST))?;
        }
        wire.send(&Frame::plain(400, seed).from_mac(HOST).to_mac(A))?;
        while a.receive(Duration::ZERO)?.is_some() || b.receive(Duration::ZERO)?.is_some() {}
    }
    a.settle(SOON)?;
    b.settle(SOON)?;
    while a.receive(Duration::from_millis(100))?.is_some() {}

    let report = shown(&segment)?;
    let metrics = control.ask(r#"{"do":"metrics"}"#)?;
    let text = metrics["text"].as_str().expect("text");
    for guest in ["a", "b"] {
        let logged = segment.daemon.counters_of(guest)?;
        let ports = report["ports"].as_array().expect("ports");
        let port = ports.iter().find(|port| port["port"] == guest);
        let port = port.expect("the port");
        for (direction, key, logged) in [
            ("from-guest", "from_guest", logged.from_guest),
            ("to-guest", "to_guest", logged.to_guest),
        ] {
            let counts = &port[key];
            let drops = counts["drops"].as_object().expect("drops").iter();
            let reasons = drops.map(|(why, count)| (why.clone(), count.as_u64().unwrap_or(0)));
            let told = Direction {
                frames: counts["frames"].as_u64().expect("frames"),
                segments: counts["segments"].as_u64().expect("segments"),
                coalesced: counts["coalesced"].as_u64().expect("coalesced"),
                calls: counts["calls"].as_u64().expect("calls"),
                drops: reasons.clone().map(|(_, count)| count).sum(),
                reasons: reasons.collect(),
            };
            assert_eq!(told, logged, "{guest} {direction}");
            for key in ["frames", "segments", "bytes", "wire_bytes"] {
                let name = format!("netqos_guest_{key}_total");
                let value = metric(text, &name, guest, direction);
                assert_eq!(
                    counts[key].as_u64(),
                    Some(value),
                    "{guest} {direction} {key}"
                );
            }
        }
    }
    let sent = metric(text, "netqos_guest_frames_total", "a", "from-guest");
    assert_eq!(sent, 300);
    assert_eq!(
        metric(text, "netqos_guest_dropped_frames_total", "b", "from-guest"),
        30
    );
    Ok(())
}

#[test]
fn ten_rude_clients_disturb_no_frame() -> Result<()> {
    let (segment, control) = segment()?;
    let [mut a] = segment.ports(["a"])?;
    let socket = segment.daemon.folder().join("control.sock");
    let connect = || {
        let stream = UnixStream::connect(&socket).expect("a connection");
        stream.set_nonblocking(true).expect("non-blocking");
        stream
    };
    let report = b"{\"do\":\"report\",\"classes\":true}\n".repeat(64);
    let garbage = [0xff; 4096];
    let start = Instant::now();
    let frame = Frame::plain(500, 1).from_mac(A).to_mac(HOST);
    let flood = Flood::new(frame).lasting(SOON);
    let sent = thread::scope(|scope| {
        let flooding = scope.spawn(|| a.flood(&flood));
        // Four never finish, three never read, three send garbage, until they are sent away.
        let mut clients: Vec<_> = (0..10).map(|_| connect()).collect();
        while !flooding.is_finished() {
            for (number, client) in clients.iter_mut().enumerate() {
                let said: &[u8] = match number {
                    0..4 => b"{",
                    4..7 => &report,
                    _ => &garbage,
                };
                match client.write(said) {
                    Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => {
                        *client = connect();
                    }
                    _ => {}
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
        let flooded = flooding.join().expect("no panic")?;
        // The patience of the daemon with those that are silent ends.
        let deadline = Instant::now() + Duration::from_secs(10);
        let dismissed = loop {
            let report = control.ask(r#"{"do":"report"}"#)?;
            let dismissed = report["control"]["dismissed"].as_u64().unwrap_or(0);
            if dismissed >= 10 || Instant::now() > deadline {
                break dismissed;
            }
            thread::sleep(Duration::from_millis(100));
        };
        assert!(dismissed >= 10, "{dismissed} sent away");
        Ok::<_, guest_tests::Error>(flooded.frames)
    })?;
    println!("{sent} frames in {:?}", start.elapsed());
    assert!(sent > 10_000, "{sent} frames");
    let report = control.ask(r#"{"do":"report","guests":["a"]}"#)?;
    let counts = &report["ports"][0]["from_guest"];
    assert_eq!(counts["frames"], sent, "{report}");
    assert_eq!(counts["drops"], serde_json::json!({}), "{report}");
    assert!(report["control"]["refused"].as_u64() > Some(0), "{report}");
    Ok(())
}
