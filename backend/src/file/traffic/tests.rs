use super::*;

const TREE: &str = r#"
[[class]]
id = "1:"
ceil = "100mbit"
[[class]]
id = "1:1"
name = "voice"
parent = "1:"
[[class]]
id = "1:2"
name = "bulk"
parent = "1:"
"#;

const GOOD: &str = r#"seconds = 20
warm_up = "5s"
seed = 7

[[source]]
class = "voice"
kind = "cbr"
interval = "20ms"
frame = 214
flows = 2

[[source]]
class = "1:2"
kind = "tcp"
control = "dctcp"
rtt = "10ms"
segments = 44
start = "1s"

[[source]]
class = "bulk"
kind = "on-off"
rate = "50mbit"
on = "1s"
off = "2s"

[[source]]
class = "bulk"
kind = "flood"
"#;

fn parse(text: &str) -> Result<Scenario, String> {
    let tree = TreeFile::parse(Path::new("tree.toml"), TREE).unwrap();
    TrafficFile::parse(Path::new("t.toml"), text, &tree, Instead::default())
        .map(|file| file.scenario)
        .map_err(|error| error.to_string())
}

#[test]
fn traffic_reads_as_it_was_written() {
    let scenario = parse(GOOD).unwrap();
    assert_eq!(scenario.nanos, 20_000_000_000);
    assert_eq!(scenario.warm_up_nanos, 5_000_000_000);
    assert_eq!(scenario.seed, 7);
    let [voice, tcp, on_off, flood] = scenario.sources[..] else {
        panic!("{scenario:?}");
    };
    let call = Cbr {
        pace: Pace::Interval(20_000_000),
        frame: 214,
    };
    assert_eq!((voice.traffic, voice.flows), (Traffic::Cbr(call), 2));
    assert_eq!((tcp.flows, tcp.start_nanos), (1, 1_000_000_000));
    let expected = Tcp {
        control: Control::Dctcp,
        rtt_nanos: 10_000_000,
        segments: 44,
        ..Tcp::default()
    };
    assert_eq!(tcp.traffic, Traffic::Tcp(expected));
    assert!(matches!(on_off.traffic, Traffic::OnOff(it) if it.off_nanos == 2_000_000_000));
    assert_eq!(flood.traffic, Traffic::Flood(Flood { frame: 1514 }));
}

#[test]
fn the_command_line_goes_before_the_file() {
    let tree = TreeFile::parse(Path::new("tree.toml"), TREE).unwrap();
    let instead = Instead {
        seconds: Some(60),
        seed: Some(1),
    };
    let file = TrafficFile::parse(Path::new("t.toml"), GOOD, &tree, instead).unwrap();
    assert_eq!(
        (file.scenario.nanos, file.scenario.seed),
        (60_000_000_000, 1)
    );
}

#[test]
fn what_is_wrong_is_said_with_file_line_and_key() {
    let cases = [
        ("seed = 7", "sed = 7", "t.toml:3: sed: ", "unknown key"),
        (
            "seconds = 20",
            "seconds = 0",
            "t.toml:1: seconds: ",
            "above the warm-up",
        ),
        (
            "seconds = 20",
            "seconds = 5",
            "t.toml:1: seconds: ",
            "above the warm-up",
        ),
        ("\"voice\"", "\"noise\"", "t.toml:6: class: ", "`noise`"),
        ("\"voice\"", "\"1:\"", "t.toml:6: class: ", "only a leaf"),
        ("\"cbr\"", "\"cbx\"", "t.toml:7: kind: ", "unknown word"),
        (
            "interval = \"20ms\"",
            "",
            "t.toml:5: ",
            "needs a rate or an interval",
        ),
        (
            "frame = 214",
            "rate = \"1mbit\"",
            "t.toml:8: interval: ",
            "not both",
        ),
        (
            "frame = 214",
            "frame = 0",
            "t.toml:9: frame: ",
            "write 14 to",
        ),
        (
            "frame = 214",
            "rtt = \"1ms\"",
            "t.toml:9: rtt: ",
            "has no `rtt`",
        ),
        ("flows = 2", "flows = 0", "t.toml:10: flows: ", "write 1 to"),
        (
            "rtt = \"10ms\"",
            "rtt = \"10\"",
            "t.toml:16: rtt: ",
            "not a unit",
        ),
        (
            "rtt = \"10ms\"",
            "rtt = \"0s\"",
            "t.toml:16: rtt: ",
            "is zero",
        ),
        (
            "segments = 44",
            "segments = 0",
            "t.toml:17: segments: ",
            "write 1 to",
        ),
        (
            "\"dctcp\"",
            "\"bbr\"",
            "t.toml:15: control: ",
            "unknown word",
        ),
        ("on = \"1s\"", "", "t.toml:20: ", "how long it is on"),
    ];
    for (good, bad, place, says) in cases {
        assert!(GOOD.contains(good), "{good}");
        let message = parse(&GOOD.replacen(good, bad, 1)).unwrap_err();
        assert!(message.starts_with(place), "{bad}: {message}");
        assert!(message.contains(says), "{bad}: {message}");
    }
}
