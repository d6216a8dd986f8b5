use super::*;

/// What a wrong line leads to: what replaces what in [`GOOD`], and the beginning and the gist of the
/// message.
pub(super) type Case = (&'static str, &'static str, &'static str, &'static str);

const GOOD: &str = r#"poll_us = 10
pool = "16m"

[uplink.wan]
kind = "tap:t0"
bridge = "br0"
queues = 2
mtu = 1500
from_guest = { ceil = "300mbit" }
to_guest = { ceil = "300mbit", cburst = "10ms" }

[uplink.lan]
kind = "packet:eth1"

[template.gold]
limit = "100mbit"

[[guest]]
name = "web"
template = "gold"
uplink = "wan"
socket = "/run/web.sock"
socket_mode = "0660"
mac = "52:54:00:00:00:01"
addresses = "192.0.2.1"
queues = 2
mtu = 1400
trunk = [10, "20-29"]
native = 5
to_guest = { rate = "200mbit", ceil = "300mbit" }

[guest.from_guest]
rate = "100mbit"
ceil = "200mbit"
default = "bulk"
[[guest.from_guest.class]]
name = "voice"
rate = "60mbit"
[[guest.from_guest.class]]
name = "bulk"
parent = "rest"
weight = 5
prio = 1
[[guest.from_guest.class]]
name = "rest"
default = "bulk"
[[guest.from_guest.rule]]
dscp = "EF"
class = "voice"
[[guest.from_guest.rule]]
vlan = 10
goto = 3
[[guest.from_guest.rule]]
police = { rate = "1mbit" }
set_vlan_priority = 3

[[guest]]
name = "vm{n}"
count = 2
uplink = "lan"
socket = "/run/{name}.sock"
mac = "52:54:00:00:01:00"
addresses = "198.18.0.0/24"
vlan = 7
"#;

#[track_caller]
pub(super) fn check(cases: &[Case]) {
    parse(GOOD).unwrap();
    for (good, bad, place, says) in cases {
        assert!(GOOD.contains(good), "{good}");
        let text = GOOD.replacen(good, bad, 1);
        let Err(message) = parse(&text) else {
            panic!("{bad}: loads");
        };
        let place = format!("t.toml:{place}: ");
        assert!(message.starts_with(&place), "{bad}: {message}");
        assert!(message.contains(says), "{bad}: {message}");
        assert!(!message.contains('\n'), "{bad}: {message}");
    }
}

#[test]
fn a_key_or_word_that_is_not_known_is_told_with_the_nearest() {
    check(&[
        (
            "poll_us",
            "pol_us",
            "1: pol_us",
            "unknown key `pol_us`: did you mean `poll_us`?",
        ),
        ("bridge", "brige", "6: brige", "did you mean `bridge`?"),
        ("cburst", "cbrust", "10: cbrust", "did you mean `cburst`?"),
        (
            "template = ",
            "tmplate = ",
            "20: tmplate",
            "did you mean `template`?",
        ),
        ("weight", "wieght", "42: wieght", "did you mean `weight`?"),
        ("dscp", "dcsp", "48: dcsp", "did you mean `dscp`?"),
        (
            "police = { rate",
            "police = { rte",
            "54: rte",
            "did you mean `rate`?",
        ),
        (
            "prio = 1",
            "queue = \"flow\"",
            "43: queue",
            "did you mean `flows`?",
        ),
        (
            "prio = 1",
            "zzz = 1",
            "43: zzz",
            "unknown key `zzz`: write one of name, parent",
        ),
    ]);
}

#[test]
fn a_name_that_is_not_known_is_told_with_the_nearest() {
    check(&[
        (
            "= \"wan\"",
            "= \"wna\"",
            "21: uplink",
            "no uplink `wna`: did you mean `wan`?",
        ),
        (
            "= \"wan\"",
            "= \"dsl\"",
            "21: uplink",
            "no uplink `dsl`: write one of wan, lan",
        ),
        (
            "= \"gold\"",
            "= \"golf\"",
            "20: template",
            "no template `golf`: did you mean `gold`?",
        ),
        (
            "= \"rest\"",
            "= \"rets\"",
            "41: parent",
            "no class `rets`: did you mean `rest`?",
        ),
        (
            "default = \"bulk\"",
            "default = \"bulky\"",
            "35: default",
            "did you mean `bulk`?",
        ),
        (
            "class = \"voice\"",
            "class = \"vice\"",
            "49: class",
            "did you mean `voice`?",
        ),
        (
            "kind = \"packet:",
            "kind = \"paket:",
            "13: kind",
            "write tap:NAME, packet:INTERFACE",
        ),
    ]);
    let lone = "[uplink.u]\nkind = \"none\"\n[guest.a]\nsocket = \"/a\"\ntemplate = \"x\"";
    let message = parse(lone).unwrap_err();
    assert_eq!(
        message,
        "t.toml:5: template: there is no template `x`: none is defined"
    );
}

#[test]
fn what_is_one_guests_alone_is_no_other_ones() {
    check(&[
        (
            "vm{n}",
            "vm",
            "58: name",
            "`vm` is defined already (t.toml:58): give each its own name; in a pattern, write {n}",
        ),
        (
            "\"vm{n}\"\ncount = 2",
            "\"web\"",
            "58: name",
            "`web` is defined already (t.toml:19)",
        ),
        (
            "/{name}.sock",
            "/x.sock",
            "61: socket",
            "the socket /run/x.sock is that of `vm1` already (t.toml:61)",
        ),
        (
            "{name}.sock",
            "web.sock",
            "61: socket",
            "is that of `web` already (t.toml:22)",
        ),
        (
            "00:01:00\"",
            "00:00:00\"",
            "62: mac",
            "the MAC address 52:54:00:00:00:01 is that of `web` already (t.toml:24)",
        ),
        (
            "packet:eth1",
            "packet:t0",
            "13: kind",
            "the interface t0 is that of `wan` already (t.toml:4)",
        ),
    ]);
}

#[test]
fn values_that_cannot_be_are_told_with_their_bounds() {
    check(&[
        (
            "= 10\n",
            "= 2000000\n",
            "1: poll_us",
            "must be 0 to 1000000, not 2000000",
        ),
        ("16m", "16k", "2: pool", "must be 1048576 to"),
        (
            "pool",
            "shards = 0\npool",
            "2: shards",
            "must be 1 to 64, not 0",
        ),
        (
            "pool",
            "shards = 65\npool",
            "2: shards",
            "must be 1 to 64, not 65",
        ),
        (
            "pool",
            "shards = 17\npool",
            "3: pool",
            "must be 17825792 to",
        ),
        (
            "16m",
            "2ms",
            "2: pool",
            "is not a size: write for example `64m`",
        ),
        (
            "tap:t0",
            "tap:a/b",
            "5: kind",
            "'/' cannot be in an interface name",
        ),
        ("\"br0\"", "\"t0\"", "6: bridge", "names the tap itself"),
        (
            "queues = 2",
            "queues = 0",
            "7: queues",
            "must be 1 to 16, not 0",
        ),
        (
            "mtu = 1500",
            "mtu = 60",
            "8: mtu",
            "must be 68 to 65535, not 60",
        ),
        ("\"300mbit\"", "0", "9: ceil", "is zero"),
        (
            "\"10ms\"",
            "\"1b\"",
            "10: cburst",
            "uplink `wan` has a cburst worth 1 bytes",
        ),
        ("\"100mbit\"", "\"0mbit\"", "16: limit", "is zero"),
        (
            "\"0660\"",
            "\"0999\"",
            "23: socket_mode",
            "in octal, 0 to 0777",
        ),
        (
            "\"0660\"",
            "660",
            "23: socket_mode",
            "expected a text in quotes",
        ),
        (
            ":00:00:01",
            ":00:00",
            "24: mac",
            "write six bytes in hexadecimal",
        ),
        (
            "52:54:00:00:00:01",
            "53:54:00:00:00:01",
            "24: mac",
            "multicast",
        ),
        (
            "192.0.2.1",
            "192.0.2.1/24",
            "25: addresses",
            "write `192.0.2.0/24` for the prefix",
        ),
        (
            "192.0.2.1",
            "here",
            "25: addresses",
            "neither address nor prefix",
        ),
        (
            "queues = 2\nmtu = 1400",
            "queues = 17",
            "26: queues",
            "must be 1 to 16, not 17",
        ),
        ("mtu = 1400", "mtu = 67", "27: mtu", "must be 68 to 65535"),
        (
            "[10, ",
            "[0, ",
            "28: trunk",
            "a VLAN must be 1 to 4094, not 0",
        ),
        (
            "[10, ",
            "[20, ",
            "28: trunk",
            "VLAN 20 is in the list already",
        ),
        ("[10, \"20-29\"]", "[]", "28: trunk", "at least one VLAN"),
        ("20-29", "29-20", "28: trunk", "empty range"),
        (
            "native = 5",
            "native = 4095",
            "29: native",
            "1 to 4094, not 4095",
        ),
        (
            "vlan = 7",
            "vlan = 4095",
            "64: vlan",
            "a VLAN must be 1 to 4094, not 4095",
        ),
        (
            "vlan = 7",
            "vlan = -1",
            "64: vlan",
            "expected a number of 0 to 65535",
        ),
        (
            "count = 2",
            "count = 0",
            "59: count",
            "must be 1 to 65536, not 0",
        ),
        (
            "count = 2",
            "count = 2\nfirst = 4294967295",
            "59: count",
            "first + count",
        ),
        (
            "52:54:00:00:01:00",
            "fe:ff:ff:ff:ff:ff",
            "62: mac",
            "adding the guest's number",
        ),
        (
            "198.18.0.0/24",
            "255.255.255.0/24",
            "63: addresses",
            "beyond the last address",
        ),
        (
            "198.18.0.0/24",
            "0.0.0.0/0",
            "63: addresses",
            "beyond the last address",
        ),
        (
            "weight = 5",
            "weight = 0",
            "42: weight",
            "class `bulk` of guest `web` has weight 0",
        ),
        (
            "prio = 1",
            "prio = 4",
            "43: prio",
            "class `bulk` of guest `web` has prio 4: write 0",
        ),
    ]);
}

proptest::proptest! {
    /// Whatever is cut out of a file or put into it, it loads or is refused with its place.
    #[test]
    fn no_text_does_harm(at in 0..GOOD.len(), cut in 0_usize..40, put in "[a-z0-9{}\\[\\]=\"',.\n ]{0,8}") {
        let end = (at + cut).min(GOOD.len());
        let text = [&GOOD[..at], &put, &GOOD[end..]].concat();
        if let Err(message) = parse(&text) {
            proptest::prop_assert!(message.starts_with("t.toml:"), "{}", message);
        }
    }
}
