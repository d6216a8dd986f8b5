//! What other tools allow and the daemon does not, put in order so that it loads.

use netqos::args::FrontEnd;
use netqos::config::Direction::{FromGuest, ToGuest};
use netqos::import::{Kind, import};
use qos::Overcommit;

use crate::{config, guest, limits};

fn toml(kind: Kind, text: &str) -> String {
    import(kind, text)
        .expect("it is what the tool reads")
        .to_toml()
}

#[test]
fn guarantees_that_do_not_fit_shrink_in_proportion() {
    let text = "tc qdisc add dev tap0 root handle 1: htb default 20
                tc class add dev tap0 parent 1: classid 1:1 htb rate 10mbit
                tc class add dev tap0 parent 1:1 classid 1:10 htb rate 9mbit ceil 10mbit
                tc class add dev tap0 parent 1:1 classid 1:20 htb rate 6mbit ceil 10mbit";
    let config = config(Kind::Tc, text);
    let tap = guest(&config, "tap0");
    assert_eq!(
        limits(tap, ToGuest, ""),
        "rate 10000000, ceil 10000000, overhead 0 least 0"
    );
    let uplink = &config.uplinks[tap.uplink];
    assert_eq!(uplink.to_guest.overcommit, Overcommit::Scale);
    assert_eq!(uplink.from_guest.overcommit, Overcommit::Reject);
}

#[test]
fn a_class_between_others_is_guaranteed_what_those_below_it_are() {
    let text = "class htb 1:30 parent 1:20 rate 2mbit ceil 9mbit
                class htb 1:31 parent 1:20 rate 3mbit ceil 9mbit
                class htb 1:20 parent 1:1 rate 1mbit ceil 9mbit
                class htb 1:21 parent 1:1 rate 1mbit
                class htb 1:1 root rate 10mbit ceil 20mbit";
    let config = config(Kind::Tc, text);
    let tc = guest(&config, "tc");
    assert_eq!(limits(tc, ToGuest, "1-20"), "rate 5000000, ceil 9000000");
    assert_eq!(
        limits(tc, ToGuest, ""),
        "rate 6000000, ceil 10000000, overhead 0 least 0"
    );
    let toml = toml(Kind::Tc, text);
    assert!(
        toml.contains("# ceil 20Mbit of 1:1 is never reached there"),
        "{toml}"
    );
    assert!(toml.contains("# which device it was is not said"), "{toml}");
}

#[test]
fn a_guarantee_above_the_limit_is_lowered_to_it() {
    let text = r#"[{"type": "bandwidth_limit", "max_kbps": 1000, "max_burst_kbps": 800},
                   {"type": "minimum_bandwidth", "min_kbps": 2000}]"#;
    let config = config(Kind::Openstack, text);
    let got = limits(guest(&config, "policy"), FromGuest, "");
    assert_eq!(
        got,
        "rate 1000000, ceil 1000000, cburst Bytes(100000), overhead -14 least 0"
    );
    assert!(
        toml(Kind::Openstack, text).contains("# it was guaranteed 2Mbit, above its limit of 1Mbit")
    );
}

#[test]
fn a_burst_below_one_frame_is_left_to_be_chosen() {
    for (kind, text, name, rate) in [
        (Kind::Xl, "rate=100Kb/s@20ms", "vif", 100_000),
        (
            Kind::CloudHypervisor,
            "--net bw_size=1500,bw_refill_time=1",
            "net0",
            12_000_000,
        ),
    ] {
        let config = config(kind, text);
        let class = &guest(&config, name).from_guest.classes[0];
        assert_eq!(class.ceil.map(qos::Rate::bits_per_second), Some(rate));
        assert_eq!(class.cburst, qos::Burst::Auto);
        assert!(toml(kind, text).contains("holds no frame of 1538 bytes"));
    }
}

#[test]
fn names_sockets_and_addresses_are_one_guests_alone() {
    let text = "--net id=a,mac=02:00:00:00:00:01,socket=/run/a.sock,vhost_user=on \
                      id=a,mac=02:00:00:00:00:01,socket=/run/a.sock,vhost_user=on";
    let config = config(Kind::CloudHypervisor, text);
    let second = guest(&config, "a-2");
    assert_eq!(second.mac, None);
    assert!(
        matches!(&second.front_end, FrontEnd::Listen { path, .. } if path.as_os_str() == "/run/netqos/a-2.sock")
    );
    let toml = toml(Kind::CloudHypervisor, text);
    assert!(
        toml.contains("# mac 02:00:00:00:00:01 is another guest's above"),
        "{toml}"
    );
    assert!(
        toml.contains("# socket /run/a.sock is another guest's above"),
        "{toml}"
    );
}

#[test]
fn a_name_that_cannot_be_a_guests_is_changed_until_it_can() {
    let text = r#"{"policy": {"name": "a b/{n}\t", "rules": [{"type": "bandwidth_limit", "max_kbps": 9000}]}}"#;
    let config = config(Kind::Openstack, text);
    assert_eq!(config.guests[0].name, "a-b--n--");
}

#[test]
fn taps_that_are_made_take_the_name_of_nothing_else() {
    let text = "bridge=a23456789012345\nbridge=a23456789012346\nbridge=nq-a23456789012";
    let config = config(Kind::Xl, text);
    assert_eq!(
        config.uplinks.len(),
        3,
        "and all load, with taps of their own"
    );
}

#[test]
fn what_has_no_equal_cannot_leave_its_comment() {
    let text = "<interface type='vhostuser'><source path='/run/a.sock'/><x\u{e9}/><filterref filter='f'/>\
                </interface>";
    let toml = toml(Kind::Libvirt, text);
    assert!(toml.contains("# <filterref>: no equal"), "{toml}");
    let commands =
        "tc qdisc add dev tap0 root tbf rate 1mbit burst 10k\ntc -x '[guest.evil]\u{85}' b";
    let toml = self::toml(Kind::Tc, commands);
    assert!(
        toml.lines().all(|line| !line.starts_with("[guest.evil")),
        "{toml}"
    );
}
