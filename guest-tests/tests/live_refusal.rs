//! Configurations that are refused while guests are served: each is named with its line, and nothing changes.

use std::time::Duration;

use guest_tests::front_end::{Frame, FrontEnd, Port, Wire};
use guest_tests::{Control, Daemon, Namespace, Result};

const SOON: Duration = Duration::from_secs(2);
const HOST: [u8; 6] = [2, 0, 0, 0, 0, 1];
const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];

/// What is served: 13 lines.
const GOOD: &str = r#"control = "{dir}/control.sock"
[uplink.one]
kind = "tap:one"
from_guest = { ceil = "100mbit" }
[guest.a]
socket = "{dir}/a.sock"
mac = "02:00:00:00:00:0a"
from_guest = { rate = "50mbit" }
[guest.b]
socket = "{dir}/b.sock"
mac = "02:00:00:00:00:0b"
[guest.b.from_guest]
rate = "10mbit"
"#;

/// A change of it that is refused: what is replaced, by what, which line is at fault, and what the refusal
/// says.
struct Bad {
    old: &'static str,
    new: &'static str,
    line: u32,
    says: &'static [&'static str],
}

const BAD: [Bad; 14] = [
    Bad {
        old: "[guest.b]",
        new: "[guest.b",
        line: 9,
        says: &[],
    },
    Bad {
        old: "rate = \"10mbit\"",
        new: "rat = \"10mbit\"",
        line: 13,
        says: &["rat"],
    },
    Bad {
        old: "rate = \"10mbit\"",
        new: "rate = \"0mbit\"",
        line: 13,
        says: &["rate"],
    },
    Bad {
        old: "rate = \"10mbit\"",
        new: "rate = \"ten\"",
        line: 13,
        says: &["ten"],
    },
    Bad {
        old: "00:0b",
        new: "00:0a",
        line: 11,
        says: &["02:00:00:00:00:0a", "`a`"],
    },
    Bad {
        old: "/b.sock",
        new: "/a.sock",
        line: 10,
        says: &["a.sock", "`a`"],
    },
    Bad {
        old: "/b.sock",
        new: "/control.sock",
        line: 0,
        says: &["control.sock"],
    },
    Bad {
        old: "[guest.b]\n",
        new: "[guest.b]\nuplink = \"two\"\n",
        line: 10,
        says: &["two"],
    },
    Bad {
        old: "rate = \"10mbit\"",
        new: "rate = \"60mbit\"",
        line: 13,
        says: &["`b`", "110Mbit", "100Mbit"],
    },
    Bad {
        old: "rate = \"10mbit\"",
        new: "default = \"z\"\n\
              class = [{ name = \"x\", parent = \"y\" }, { name = \"y\", parent = \"x\" }, { name = \"z\" }]",
        line: 14,
        says: &["x"],
    },
    Bad {
        old: "rate = \"10mbit\"",
        new: "class = [{ name = \"x\" }, { name = \"y\" }]\ndefault = \"x\"\n\
              rule = [{ dscp = \"EF\", set_mark = 1 }, { mark = 1, goto = 1 }]",
        line: 15,
        says: &["goto"],
    },
    Bad {
        old: "rate = \"10mbit\"",
        new: "class = [{ name = \"x\" }, { name = \"y\" }]\ndefault = \"z\"",
        line: 14,
        says: &["z"],
    },
    Bad {
        old: "kind = \"tap:one\"",
        new: "kind = \"packet:nosuch\"",
        line: 0,
        says: &["one", "nosuch"],
    },
    Bad {
        old: "/b.sock",
        new: "/no/such/folder/b.sock",
        line: 0,
        says: &["/no/such/folder"],
    },
];

/// A frame each way, and another guest's socket that still answers.
fn goes_on(port: &mut Port, wire: &Wire, number: u64) -> Result<()> {
    let frame = |to: [u8; 6], from| {
        let mut frame = Frame::plain(300, number).from_mac(from);
        frame.bytes[..6].copy_from_slice(&to);
        frame
    };
    let out = frame(HOST, A);
    port.send(&out)?;
    assert!(wire.receive(SOON)?.expect("it reaches the wire").bytes == out.bytes);
    let back = frame(A, HOST);
    assert!(wire.send(&back)?);
    assert!(port.receive(SOON)?.expect("it reaches the guest").bytes == back.bytes);
    Ok(())
}

#[test]
fn what_is_refused_is_named_and_nothing_changes() -> Result<()> {
    let namespace = Namespace::new()?;
    Wire::quiet(&namespace)?;
    let daemon = Daemon::new(&namespace)
        .file("netqos.toml", GOOD)
        .args(["--config", "{dir}/netqos.toml"])
        .expect_socket("a")
        .start()?;
    let control = Control::new(daemon.folder().join("control.sock"))?;
    let file = daemon.folder().join("netqos.toml");
    let write = |text: &str| {
        let text = text.replace("{dir}", &daemon.folder().to_string_lossy());
        std::fs::write(&file, text).expect("the file can be written");
    };
    let wire = Wire::open(&namespace, "one")?;
    let mut port = FrontEnd::connect(&daemon.socket("a")).start()?;
    goes_on(&mut port, &wire, 0)?;
    let before = control.ask(r#"{"do":"report"}"#)?;
    for (number, bad) in (1..).zip(&BAD) {
        assert!(GOOD.contains(bad.old), "{}", bad.old);
        write(&GOOD.replacen(bad.old, bad.new, 1));
        let why = control.try_reload()?;
        let why = why.unwrap_or_else(|| panic!("`{}` is refused", bad.new));
        println!("{why}");
        if bad.line > 0 {
            let place = format!("netqos.toml:{}:", bad.line);
            assert!(why.contains(&place), "line {}: {why}", bad.line);
        }
        for word in bad.says {
            assert!(why.contains(word), "{word}: {why}");
        }
        goes_on(&mut port, &wire, number)?;
    }
    let after = control.ask(r#"{"do":"report"}"#)?;
    assert_eq!(after["generation"], before["generation"]);
    let mut other = FrontEnd::connect(&daemon.socket("b")).start()?;
    other.settle(SOON)?;
    write(GOOD);
    assert_eq!(control.try_reload()?, None);
    goes_on(&mut port, &wire, 99)
}
