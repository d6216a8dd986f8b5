use std::collections::BTreeSet;
use std::fs;

use super::*;

const LAYERS: &str = r#"
[uplink.wan]
kind = "none"
[uplink.lan]
kind = "none"

[defaults]
socket = "/run/{name}.sock"
socket_mode = "0600"
uplink = "wan"
limit = "100mbit"
trust = { router = true }
from_guest = { weight = 5, pps = 1000 }

[template.gold]
uplink = "lan"
from_guest = { rate = "10mbit", default = "b", class = [{ name = "a" }, { name = "b" }] }
to_guest = { ceil = "1gbit" }

[guest.plain]

[guest.rich]
template = "gold"
trust = { dhcp_server = true }
from_guest = { weight = 7, pps = "none" }

[guest.other]
template = "gold"
limit = "none"
to_guest = { weight = 2 }
from_guest = { class = [{ name = "b" }] }
"#;

#[test]
fn the_nearest_table_that_says_something_is_heard() {
    let config = parse(LAYERS).unwrap();
    let [plain, rich, other] = &config.guests[..] else {
        panic!("{config:?}")
    };
    let listen = |name: &str| FrontEnd::Listen {
        path: format!("/run/{name}.sock").into(),
        mode: 0o600,
        group: None,
    };
    assert_eq!(plain.front_end, listen("plain"));
    assert_eq!(rich.front_end, listen("rich"));
    assert_eq!((plain.uplink, rich.uplink, other.uplink), (0, 1, 1));
    assert!(rich.trust.dhcp_server && rich.trust.router && !plain.trust.dhcp_server);

    let rate = |bits| Rate::from_bits_per_second(bits);
    let from = |guest: &GuestConfig| guest.from_guest.classes[0].clone();
    let to = |guest: &GuestConfig| guest.to_guest.classes[0].clone();
    assert_eq!((from(plain).weight, from(rich).weight), (Some(5), Some(7)));
    assert_eq!(from(plain).pps, PacketRate::from_segments_per_second(1000));
    assert_eq!((from(rich).pps, from(rich).rate), (None, rate(10_000_000)));
    assert_eq!(from(rich).ceil, rate(100_000_000));
    assert_eq!(to(rich).ceil, rate(1_000_000_000));
    // Both directions, in the guest's own table: nearer than the template's one.
    assert_eq!((to(other).ceil, from(other).ceil), (None, None));
    assert_eq!(rich.from_guest.classes.len(), 3);
    assert_eq!(other.from_guest.classes.len(), 2);
    assert_eq!(other.from_guest.rules.programs.len(), 1);
}

#[test]
fn how_leaves_queue_is_nothing_to_a_guest_that_has_classes() {
    let text = r#"
[defaults]
socket = "/run/{name}.sock"
from_guest = { queue = "fifo", fifo = 7 }
[guest.leaf]
[guest.inner.from_guest]
default = "x"
class = [{ name = "x" }]
"#;
    let config = parse(&with_uplink(text)).unwrap();
    let queue = |guest: usize| config.guests[guest].from_guest.classes[0].queue;
    assert_eq!(queue(0), qos::LeafQueue::Fifo { frames: 7 });
    assert_eq!(queue(1), qos::LeafQueue::Hold);
    let both = text.replacen("default =", "queue = \"flows\"\ndefault =", 1);
    let message = parse(&with_uplink(&both)).unwrap_err();
    assert!(
        message.starts_with("t.toml:6: fifo: only a class with queue = \"fifo\""),
        "{message}"
    );
    let own = both.replacen(", fifo = 7", "", 1);
    let message = parse(&with_uplink(&own)).unwrap_err();
    assert_eq!(
        message,
        "t.toml:9: queue: guest `inner` has a queue and children: only a leaf has a queue"
    );
}

#[test]
fn a_pattern_makes_guests_that_differ_by_their_number() {
    let config = parse(&with_uplink(
        r#"
[[guest]]
name = "vm{n}"
count = 3
first = 254
socket = "/run/{name}/{n}.sock"
isolation = "pair-{n}"
mac = "52:54:00:00:00:00"
addresses = ["192.0.2.0", "2001:db8:0:fe00::/64"]
limit = "10mbit"
"#,
    ))
    .unwrap();
    let told: Vec<_> = config
        .guests
        .iter()
        .map(|guest| {
            let FrontEnd::Listen { path, .. } = &guest.front_end else {
                panic!("{guest:?}")
            };
            let addresses: Vec<_> = guest.addresses.iter().map(IpNet::to_string).collect();
            let isolation = guest.isolation.as_deref().unwrap();
            let mac = guest.mac.unwrap();
            format!("{} {isolation} {mac} {addresses:?}", path.display())
        })
        .collect();
    assert_eq!(
        told,
        [
            "/run/vm254/254.sock pair-254 52:54:00:00:00:fe \
             [\"192.0.2.254/32\", \"2001:db8:0:fefe::/64\"]",
            "/run/vm255/255.sock pair-255 52:54:00:00:00:ff \
             [\"192.0.2.255/32\", \"2001:db8:0:feff::/64\"]",
            "/run/vm256/256.sock pair-256 52:54:00:00:01:00 \
             [\"192.0.3.0/32\", \"2001:db8:0:ff00::/64\"]",
        ]
    );
}

#[test]
fn drop_ins_are_read_in_the_order_of_their_names() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        fs::write(directory.path().join(name), text).unwrap();
    };
    write(
        "host.toml",
        "include = \"d/*.toml\"\n[guest.own]\nsocket = \"/own\"\n",
    );
    fs::create_dir(directory.path().join("d")).unwrap();
    write("d/20.toml", "[guest.b]\nsocket = \"/b\"\ntemplate = \"t\"");
    write(
        "d/10.toml",
        "[guest.a]\nsocket = \"/a\"\n[template.t]\nlimit = \"1mbit\"",
    );
    write("d/05.toml", "[uplink.wan]\nkind = \"none\"");
    write("d/30.conf", "this is another program's");
    let load = || Config::load(&directory.path().join("host.toml"));
    let config = load().unwrap();
    let names: Vec<_> = config.guests.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["own", "a", "b"]);
    assert!(config.guests[2].from_guest.classes[0].ceil.is_some());

    let says = |text: &str, message: &str| {
        write("d/40.toml", text);
        let error = load().unwrap_err().to_string();
        let expected = format!("{}/d/40.toml:{message}", directory.path().display());
        assert!(error.starts_with(&expected), "{error}");
        error
    };
    says("shards = 2", "1: shards: `shards` belongs in the file that");
    says("pool = \"1m\"", "1: pool: `pool` belongs in the file that");
    says("include = \"x\"", "1: include: `include` belongs");
    says("[defaults]", "1: `defaults` belongs");
    says("[template.t]", "1: the template `t` is defined already (");
    says("[uplink.wan]\nkind = \"none\"", "1: the uplink `wan` is");
    says("[guest.c]\nsockt = 3", "2: sockt: unknown key");
    let error = says("[guest.c]\nsocket = \"/a\"", "2: socket: the socket /a");
    assert!(error.contains("/d/10.toml:2)"), "{error}");
}

#[test]
fn the_directories_of_all_files_that_may_come_are_known() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    for name in ["guests.d", "more"] {
        std::fs::create_dir(place(name)).unwrap();
    }
    std::fs::write(place("more/one.toml"), "").unwrap();
    let main = place("main.toml");
    let text = "include = [\"guests.d/*.toml\", \"more/one.toml\", \"later/*.toml\"]\n";
    std::fs::write(&main, text).unwrap();
    let found: BTreeSet<_> = directories(&main).unwrap().into_iter().collect();
    let expected = [
        directory.path().to_owned(),
        place("guests.d"),
        place("more"),
    ];
    assert_eq!(found, BTreeSet::from(expected));
}
