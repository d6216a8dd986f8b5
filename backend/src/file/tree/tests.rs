use qos::{Burst, ClassId, FlowsConfig, LeafQueue, Overcommit, PacketBurst};

use super::*;

const GOOD: &str = r#"overcommit = "scale"
frames = 5000

[[class]]
id = "1:0"
name = "uplink"
rate = "1gbit"
ceil = "1gbit"

[[class]]
id = "1:10"
name = "voice"
parent = "uplink"
rate = "5mbit burst 30k"
prio = 1
weight = 10
cburst = "2ms"
ceil = "20mbit"
pps = "10kpps"
ppsburst = 100
overhead = 4
quantum = 1538
pace = true

[[class]]
id = "1:11"
parent = "1:0"
rate = 10_000_000
queue = "flows"
[class.flows]
frames = 100
target = "10ms"
ce_threshold = "1ms"

[[class]]
id = "1:12"
parent = "1:"
queue = "fifo"
fifo = 20
"#;

fn parse(text: &str) -> Result<TreeFile, String> {
    TreeFile::parse(Path::new("t.toml"), text).map_err(|error| error.to_string())
}

#[test]
fn a_tree_reads_as_it_was_written() {
    let file = parse(GOOD).unwrap();
    let [root, voice, flows, fifo] = &file.tree.classes[..] else {
        panic!("{file:?}");
    };
    assert_eq!(file.tree.overcommit, Overcommit::Scale);
    assert_eq!((file.tree.frames, file.tree.unit_wire_bytes), (5000, 1538));
    assert_eq!((root.id, root.parent), (ClassId::new(1, 0), None));
    assert_eq!(
        (voice.id, voice.parent),
        (ClassId::new(1, 16), Some(root.id))
    );
    assert_eq!(
        voice.rate.map(|rate| rate.bits_per_second()),
        Some(5_000_000)
    );
    assert_eq!(voice.burst, Burst::Bytes(30 << 10));
    assert_eq!(voice.cburst, Burst::Duration(2_000_000));
    assert_eq!((voice.prio, voice.weight, voice.pace), (1, Some(10), true));
    assert_eq!(voice.pps_burst, PacketBurst::Segments(100));
    let framing = voice.framing.unwrap();
    assert_eq!((framing.overhead, framing.mpu), (4, 84));
    assert_eq!(flows.rate, Some("10mbit".parse().unwrap()));
    let expected = FlowsConfig {
        frames: 100,
        target_nanos: 10_000_000,
        ce_threshold_nanos: Some(1_000_000),
        ..FlowsConfig::default()
    };
    assert_eq!(flows.queue, LeafQueue::Flows(expected));
    assert_eq!(fifo.queue, LeafQueue::Fifo { frames: 20 });
    assert_eq!(file.class("voice"), Some(voice.id));
    assert_eq!(file.class("1:11"), Some(flows.id));
    assert_eq!(file.class("1:99"), None);
    assert_eq!(file.name(voice.id), "voice");
    assert_eq!(file.name(fifo.id), "1:12");
}

#[test]
fn what_is_wrong_is_said_with_file_line_and_key() {
    let cases = [
        // what is written instead of what, and how the message begins and what it says
        (
            "prio = 1",
            "priority = 1",
            "t.toml:15: priority: ",
            "unknown key",
        ),
        (
            "weight = 10",
            "weight = 0",
            "t.toml:16: weight: ",
            "at least 1",
        ),
        (
            "prio = 1",
            "prio = 4",
            "t.toml:15: prio: ",
            "0 (first) to 3",
        ),
        ("prio = 1", "prio = -1", "t.toml:15: prio: ", "-1"),
        ("5mbit burst 30k", "0mbit", "t.toml:14: rate: ", "is zero"),
        ("5mbit burst 30k", "5mb", "t.toml:14: rate: ", "not a unit"),
        (
            "rate = 10_000_000",
            "rate = 0",
            "t.toml:28: rate: ",
            "is zero",
        ),
        (
            "rate = 10_000_000",
            "rate = true",
            "t.toml:28: rate: ",
            "boolean",
        ),
        ("20mbit", "4mbit", "t.toml:18: ceil: ", "must not be below"),
        (
            "parent = \"uplink\"",
            "parent = \"link\"",
            "t.toml:13: parent: ",
            "`link`",
        ),
        (
            "parent = \"1:0\"",
            "parent = \"1:77\"",
            "t.toml:27: parent: ",
            "1:77",
        ),
        ("\"voice\"", "\"uplink\"", "t.toml:12: name: ", "on line 6"),
        ("\"voice\"", "\"a:b\"", "t.toml:12: name: ", "no colon"),
        (
            "id = \"1:10\"",
            "id = \"1:0\"",
            "t.toml:11: id: ",
            "on line 5",
        ),
        (
            "id = \"1:10\"",
            "id = \"1-10\"",
            "t.toml:11: id: ",
            "major:minor",
        ),
        ("id = \"1:10\"\n", "", "t.toml:10: ", "missing key `id`"),
        (
            "queue = \"flows\"",
            "queue = \"fq\"",
            "t.toml:29: queue: ",
            "unknown word",
        ),
        (
            "queue = \"flows\"",
            "queue = \"fifo\"",
            "t.toml:30",
            "queue = \"flows\"",
        ),
        (
            "queue = \"fifo\"",
            "",
            "t.toml:39: fifo: ",
            "queue = \"fifo\"",
        ),
        ("fifo = 20", "fifo = 0", "t.toml:38: queue: ", "no frame"),
        ("\"10ms\"", "\"0ms\"", "t.toml:32: target: ", "is zero"),
        ("\"10ms\"", "10", "t.toml:32: target: ", "not a unit"),
        ("target", "traget", "t.toml:32: traget: ", "unknown key"),
        (
            "\"scale\"",
            "\"maybe\"",
            "t.toml:1: overcommit: ",
            "unknown word",
        ),
        (
            "cburst = \"2ms\"",
            "cburst = \"1b\"",
            "t.toml:17: cburst: ",
            "one frame",
        ),
        ("pps = \"10kpps\"", "pps = 0", "t.toml:19: pps: ", "is zero"),
        ("frames = 5000", "frames 5000", "t.toml:2: ", "expected"),
    ];
    for (good, bad, place, says) in cases {
        assert!(GOOD.contains(good), "{good}");
        let text = GOOD.replacen(good, bad, 1);
        let message = parse(&text).unwrap_err();
        assert!(message.starts_with(place), "{bad}: {message}");
        assert!(message.contains(says), "{bad}: {message}");
        assert!(!message.contains('\n'), "{bad}: {message}");
    }
}

#[test]
fn what_children_are_promised_must_fit() {
    let text =
        GOOD.replacen("scale", "reject", 1)
            .replacen("rate = 10_000_000", "rate = \"2gbit\"", 1);
    let message = parse(&text).unwrap_err();
    assert!(
        message.starts_with("t.toml:7: rate: the children of class 1:0"),
        "{message}"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = TreeFile::load(Path::new("/nowhere/t.toml")).unwrap_err();
    assert!(
        error.to_string().starts_with("/nowhere/t.toml: "),
        "{error}"
    );
    assert!(parse("").unwrap_err().contains("no class is the root"));
}
