//! What each sample comes to, to the bit.

use netqos::args::FrontEnd;
use netqos::config::Direction::{self, FromGuest, ToGuest};
use netqos::config::{UplinkKind, VlanConfig};
use netqos::import::Kind;

use crate::{config, guest, limits, sample_text};

/// A guest's name, a direction, a class (none: its own), and what limits it.
type Row = (&'static str, Direction, &'static str, &'static str);

fn check(kind: Kind, sample: &str, rows: &[Row]) {
    let config = config(kind, &sample_text(sample));
    for (name, direction, class, want) in rows {
        let got = limits(guest(&config, name), *direction, class);
        assert_eq!(got, *want, "{sample}: {name} {direction:?} {class}");
    }
}

#[test]
fn xl_limits_what_the_guest_sends_in_frames() {
    check(
        Kind::Xl,
        "xl.cfg",
        &[
            (
                "web1-0",
                FromGuest,
                "",
                "ceil 10000000, cburst Duration(20000000), overhead 0 least 0",
            ),
            ("web1-0", ToGuest, "", ""),
            // Bytes, and the interval that xl has unless it is written.
            (
                "web1-1",
                FromGuest,
                "",
                "ceil 16000000, cburst Duration(50000000), overhead 0 least 0",
            ),
        ],
    );
    check(
        Kind::Xl,
        "xl.txt",
        &[(
            "vif",
            FromGuest,
            "",
            "ceil 100000000, cburst Duration(50000000), overhead 0 least 0",
        )],
    );
}

#[test]
fn xl_bridges_addresses_and_mtus_are_kept() {
    let config = config(Kind::Xl, &sample_text("xl.cfg"));
    let [first, second] = config.guests.as_slice() else {
        panic!("{:?}", config.guests);
    };
    assert_eq!(
        first.mac.map(|mac| mac.to_string()).as_deref(),
        Some("00:16:3e:5a:10:01")
    );
    assert_eq!(first.addresses, ["192.0.2.10/32".parse().unwrap()]);
    assert_eq!(second.mtu, Some(9000));
    let bridge = |at: usize| match &config.uplinks[at].kind {
        UplinkKind::Tap { bridge, .. } => bridge.as_ref().map(ToString::to_string),
        other => panic!("{other:?}"),
    };
    assert_eq!(bridge(first.uplink).as_deref(), Some("xenbr0"));
    assert_eq!(bridge(second.uplink).as_deref(), Some("xenbr1"));
}

#[test]
fn tc_commands_become_the_tree_of_what_a_guest_receives() {
    check(
        Kind::Tc,
        "tc-commands.txt",
        &[
            (
                "vnet0",
                ToGuest,
                "",
                "rate 88000000, ceil 100000000, cburst Bytes(65536), overhead 0 least 0",
            ),
            (
                "vnet0",
                ToGuest,
                "1-10",
                "rate 60000000, burst Bytes(15360), ceil 100000000, weight 200000, prio 1",
            ),
            (
                "vnet0",
                ToGuest,
                "1-20",
                "rate 20000000, burst Bytes(15360), ceil 80000000, cburst Bytes(30720), weight 3000, prio 2",
            ),
            // Megabytes.
            (
                "vnet0",
                ToGuest,
                "1-30",
                "rate 8000000, burst Bytes(15360), ceil 160000000, weight 100000, prio 3",
            ),
            ("vnet0", FromGuest, "", ""),
            // A burst of 32 kbit is 4 KiB.
            (
                "tap7",
                ToGuest,
                "",
                "ceil 5000000, cburst Bytes(4096), overhead 0 least 0",
            ),
        ],
    );
}

#[test]
fn tc_output_for_a_nic_becomes_the_tree_of_what_guests_send() {
    check(
        Kind::Tc,
        "tc-show.txt",
        &[
            (
                "eth0",
                FromGuest,
                "",
                "rate 8000000, ceil 10000000, cburst Bytes(16384), overhead 24 least 64",
            ),
            (
                "eth0",
                FromGuest,
                "1-10",
                "rate 5000000, burst Bytes(15360), ceil 10000000, cburst Bytes(1600), weight 62500",
            ),
            (
                "eth0",
                FromGuest,
                "1-20",
                "rate 3000000, burst Bytes(15360), ceil 10000000, cburst Bytes(1600), weight 37500, prio 3",
            ),
            (
                "tap3",
                ToGuest,
                "",
                "ceil 20000000, cburst Bytes(10240), overhead 0 least 0",
            ),
        ],
    );
    let config = config(Kind::Tc, &sample_text("tc-show.txt"));
    let eth0 = guest(&config, "eth0");
    assert!(
        matches!(&config.uplinks[eth0.uplink].kind, UplinkKind::Packet(name) if name.as_str() == "eth0")
    );
    let program = &eth0.from_guest.rules.programs[0];
    let default = program
        .default
        .and_then(|class| eth0.from_guest.name(class));
    assert_eq!(default, Some("1-20"));
}

#[test]
fn cloud_hypervisor_limits_both_directions_of_each_queue_pair() {
    let hundred = "ceil 100000000, cburst Bytes(1250000), overhead 12 least 0";
    let two_pairs = "ceil 40000000, cburst Bytes(1000000), pps 20000, ppsburst Segments(2000), overhead 12 least 0";
    check(
        Kind::CloudHypervisor,
        "cloud-hypervisor.txt",
        &[
            ("net0", FromGuest, "", hundred),
            ("net0", ToGuest, "", hundred),
            ("net1", FromGuest, "", two_pairs),
            ("net1", ToGuest, "", two_pairs),
        ],
    );
    // 333333 bytes in 70 ms, rounded down.
    let odd = "ceil 38095200, cburst Bytes(333333), pps 2000, ppsburst Segments(2000), overhead 12 least 0";
    check(
        Kind::CloudHypervisor,
        "cloud-hypervisor.json",
        &[("_net2", FromGuest, "", odd), ("_net2", ToGuest, "", odd)],
    );
    let config = config(Kind::CloudHypervisor, &sample_text("cloud-hypervisor.txt"));
    let second = guest(&config, "net1");
    assert_eq!(second.queues, 2);
    assert!(
        matches!(&second.front_end, FrontEnd::Listen { path, .. } if path.as_os_str() == "/run/ch/net1.sock")
    );
}

#[test]
fn firecracker_receives_by_rx_and_sends_by_tx() {
    check(
        Kind::Firecracker,
        "firecracker.json",
        &[
            (
                "eth0",
                ToGuest,
                "",
                "ceil 20000000, cburst Bytes(2500000), overhead 12 least 0",
            ),
            // A million bytes in 150 ms, rounded down.
            (
                "eth0",
                FromGuest,
                "",
                "ceil 53333333, cburst Bytes(1000000), pps 3000, ppsburst Segments(300), overhead 12 least 0",
            ),
            ("eth1", ToGuest, "", ""),
            ("eth1", FromGuest, "", ""),
        ],
    );
}

#[test]
fn ovs_polices_what_a_guest_sends_in_packets_and_queues_what_it_receives_in_frames() {
    let policed = |bits: &str, bytes: &str| format!("ceil {bits}, cburst Bytes({bytes})");
    let sent = [
        policed("10000000", "1000000"),
        policed("20000000", "1000000"),
        policed("368000000", "125000"),
    ];
    let config = config(Kind::Ovs, &sample_text("ovs-commands.txt"));
    let from = |name| limits(guest(&config, name), FromGuest, "");
    assert_eq!(from("vif1.0"), format!("{}, overhead -14 least 0", sent[0]));
    let packets = "pps 5000, ppsburst Segments(16000)";
    assert_eq!(
        from("vif2.0"),
        format!("{}, {packets}, overhead -14 least 0", sent[1])
    );
    assert_eq!(from("vhost3"), format!("{}, overhead -14 least 0", sent[2]));
    check(
        Kind::Ovs,
        "ovs-commands.txt",
        &[
            (
                "vif1.0",
                ToGuest,
                "",
                "rate 4000000, ceil 1000000000, overhead 0 least 0",
            ),
            (
                "vif1.0",
                ToGuest,
                "queue123",
                "rate 4000000, ceil 10000000, weight 50000",
            ),
            (
                "vif1.0",
                ToGuest,
                "queue234",
                "ceil 20000000, cburst Bytes(200000), weight 1000, prio 3",
            ),
            ("vif1.0", ToGuest, "queue0", "weight 1000"),
            // The one rate of Open vSwitch in bytes.
            (
                "vhost3",
                ToGuest,
                "",
                "ceil 368000000, cburst Bytes(2048000), overhead -14 least 0",
            ),
        ],
    );
    let vhost = guest(&config, "vhost3");
    assert!(
        matches!(&vhost.front_end, FrontEnd::Connect { path } if path.as_os_str() == "/run/vms/vhost3.sock")
    );
}

#[test]
fn ovs_records_as_they_are_listed_refer_to_each_other() {
    check(
        Kind::Ovs,
        "ovs-list.txt",
        &[
            (
                "vnet4",
                FromGuest,
                "",
                "ceil 25000000, cburst Bytes(1000000), overhead -14 least 0",
            ),
            (
                "vnet4",
                ToGuest,
                "",
                "rate 40000000, ceil 50000000, overhead 0 least 0",
            ),
            (
                "vnet4",
                ToGuest,
                "queue0",
                "rate 10000000, ceil 50000000, weight 125000",
            ),
            ("vnet4", ToGuest, "queue1", "rate 30000000, weight 200000"),
        ],
    );
}

#[test]
fn libvirt_counts_kilobytes_by_1000_and_bursts_by_1024() {
    check(
        Kind::Libvirt,
        "libvirt.xml",
        &[
            (
                "web",
                ToGuest,
                "",
                "rate 1600000, ceil 8000000, cburst Bytes(1048576), overhead 0 least 0",
            ),
            (
                "web",
                FromGuest,
                "",
                "ceil 10240000, cburst Bytes(262144), overhead -14 least 0",
            ),
            // Outbound has a burst of its average unless written.
            (
                "web-backup",
                FromGuest,
                "",
                "ceil 4000000, cburst Bytes(512000), overhead -14 least 0",
            ),
            ("web-backup", ToGuest, "", ""),
            ("web-2", FromGuest, "", ""),
        ],
    );
}

#[test]
fn libvirt_interfaces_keep_sockets_queues_and_vlans() {
    let config = config(Kind::Libvirt, &sample_text("libvirt.xml"));
    let web = guest(&config, "web");
    assert!(
        matches!(&web.front_end, FrontEnd::Listen { path, .. } if path.as_os_str() == "/run/netqos/web.sock")
    );
    assert_eq!((web.queues, web.mtu), (4, Some(1500)));
    assert_eq!(web.vlan, VlanConfig::Access(42));
    assert_eq!(web.isolation.as_deref(), Some("isolated"));
    let backup = guest(&config, "web-backup");
    assert!(matches!(&backup.front_end, FrontEnd::Connect { .. }));
    let trunk = VlanConfig::Trunk {
        vlans: vec![42, 123],
        native: Some(123),
    };
    assert_eq!(backup.vlan, trunk);
    let bridged = &config.uplinks[guest(&config, "web-2").uplink].kind;
    assert!(
        matches!(bridged, UplinkKind::Tap { bridge: Some(bridge), .. } if bridge.as_str() == "br0"),
        "{bridged:?}"
    );
}

#[test]
fn openstack_counts_kilobits_and_calls_what_the_guest_sends_egress() {
    let sent = "rate 5000000, ceil 30000000, cburst Bytes(300000), pps 10000, ppsburst Segments(2000), \
                overhead -14 least 0";
    check(
        Kind::Openstack,
        "openstack.json",
        &[
            ("gold-tier", FromGuest, "", sent),
            // A burst of zero is none this way, and 80 % of a second the other.
            (
                "gold-tier",
                ToGuest,
                "",
                "ceil 50000000, overhead 0 least 0",
            ),
        ],
    );
    let received = "rate 1000000, ceil 4000000, cburst Bytes(400000), overhead 0 least 0";
    check(
        Kind::Openstack,
        "openstack-rules.json",
        &[("policy", ToGuest, "", received)],
    );
    let unsaid = config(
        Kind::Openstack,
        r#"[{"type": "bandwidth_limit", "max_kbps": 1000}]"#,
    );
    let got = limits(guest(&unsaid, "policy"), FromGuest, "");
    assert_eq!(
        got,
        "ceil 1000000, cburst Bytes(100000), overhead -14 least 0"
    );
    let config = config(Kind::Openstack, &sample_text("openstack.json"));
    let rules = &guest(&config, "gold-tier").from_guest.rules.programs[0].rules;
    let marks = rules[0].actions.as_slice();
    assert_eq!(
        marks,
        [qos::classify::Action::SetDscp("AF31".parse().unwrap())]
    );
}
