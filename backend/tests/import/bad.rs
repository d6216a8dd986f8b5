//! What cannot be imported, and what is said of it.

use netqos::import::{Kind, import};

/// Whose settings, what is wrong, and the message.
const BAD: &[(Kind, &str, &str)] = &[
    (
        Kind::Xl,
        "",
        "there is nothing to import: write a vif string such as `mac=00:16:3e:00:00:01,",
    ),
    (
        Kind::Xl,
        "mac=00:16:3e:00:00:01,rat=10Mb/s",
        "line 1: there is no key `rat`: did you mean `rate`?",
    ),
    (
        Kind::Xl,
        "\nrate=10mbit",
        "line 2: rate: `10mbit`: xl writes rates as 10Mb/s, 1MB/s or 10Mb/s@20ms",
    ),
    (
        Kind::Xl,
        "rate=0Mb/s",
        "line 1: rate: `0Mb/s`: `0Mb/s` is zero; leave the rate out",
    ),
    (
        Kind::Xl,
        "mac=00:16:3e:00:00",
        "line 1: mac: `00:16:3e:00:00`: write six bytes in hexadecimal",
    ),
    (Kind::Xl, "bridge=", "line 1: bridge: ``: the name is empty"),
    (
        Kind::Xl,
        "rate",
        "line 1: rate: `rate`: write `=` and a value after it",
    ),
    (
        Kind::Xl,
        "vif = [ 'rate=1Mb/s",
        "line 1: this is not a domain's configuration: a quote is not closed",
    ),
    (
        Kind::Xl,
        "vif = [ 'rate=1Mb/s',",
        "line 1: this is not a domain's configuration: a bracket is not closed",
    ),
    (
        Kind::Tc,
        "",
        "there is nothing to import: write `tc class add dev tap0 ... htb rate 10mbit`",
    ),
    (
        Kind::Tc,
        "ip link",
        "line 1: this is not a line of tc: it begins with `ip`",
    ),
    (
        Kind::Tc,
        "tc class add dev tap0 parent 1: classid 1:1 htb rat 10mbit",
        "line 1: there is no key `rat`: did you mean `rate`?",
    ),
    (
        Kind::Tc,
        "tc class add dev tap0 parent 1: classid 1:1 htb ceil 10mbit",
        "line 1: rate is missing: an HTB class has one",
    ),
    (
        Kind::Tc,
        "tc class add dev tap0 parent 1: classid 1:1 htb rate 10mb",
        "line 1: rate: `10mb`: `mb` in `10mb` is not a unit of a rate",
    ),
    (
        Kind::Tc,
        "tc class add dev tap0 parent 1: classid 1:1 htb rate 10mbit burst 5ms",
        "line 1: burst: `5ms`: write a size, such as 15k",
    ),
    (
        Kind::Tc,
        "tc class add dev tap0 parent 1:9 classid 1:1 htb rate 10mbit",
        "line 1: there is no class `1:9`: give the line of every class",
    ),
    (
        Kind::Tc,
        "class htb 1:1 parent 1:2 rate 1mbit\nclass htb 1:2 parent 1:1 rate 1mbit",
        "line 1: parent: `1:1`: a class cannot be below itself",
    ),
    (
        Kind::Tc,
        "class htb 1:1 root rate 1mbit\nclass htb 1:2 parent 1:1 rate 1mbit\nclass htb 1:3 parent 1:2 rate 1mbit\n\
         class htb 1:4 parent 1:3 rate 1mbit\nclass htb 1:5 parent 1:4 rate 1mbit\n\
         class htb 1:6 parent 1:5 rate 1mbit\nclass htb 1:7 parent 1:6 rate 1mbit",
        "guest tc: `1-7`: at most 5 levels of classes lie below a guest",
    ),
    (
        Kind::Tc,
        "tc qdisc add dev tap0 root tbf burst 10k",
        "line 1: rate is missing: a token bucket",
    ),
    (
        Kind::CloudHypervisor,
        "",
        "there is nothing to import: write `--net tap=",
    ),
    (
        Kind::CloudHypervisor,
        "{",
        "line 1: this is not JSON: EOF while parsing",
    ),
    (
        Kind::CloudHypervisor,
        "--net tap=t0,bw_sise=1",
        "line 1: there is no key of --net `bw_sise`: did you mean `bw_size`?",
    ),
    (
        Kind::CloudHypervisor,
        "--net bw_size=1M",
        "line 1: bw_size: `1M`: write a whole number, not negative",
    ),
    (
        Kind::CloudHypervisor,
        "--net bw_size=18446744073709551615,bw_refill_time=1",
        "line 1: bandwidth: `18446744073709551615`: this must come to 8bit to 32Tbit",
    ),
    (
        Kind::Firecracker,
        "[{\"iface_id\":\"a\",\"tx_rate_limiter\":{\"bandwidth\":{\"size\":1}}}]",
        "[0].tx_rate_limiter.bandwidth: refill_time is missing: a bucket has a size, and a refill_time",
    ),
    (
        Kind::Firecracker,
        "[{\"iface_id\":\"a\",\"tx_rate_limiter\":{\"ops\":{\"size\":-1,\"refill_time\":1}}}]",
        "[0].tx_rate_limiter.ops.size: `-1`: write a whole number, not negative",
    ),
    (
        Kind::Firecracker,
        "[{\"iface_id\":\"a\",\"rx_rate_limiter\":{\"ops\":{\"size\":1,\"refill_time\":10000}}}]",
        "[0].rx_rate_limiter.ops: `1`: this must come to 1pps to 1000gpps",
    ),
    (
        Kind::Firecracker,
        "{\"drives\":[]}",
        "there is nothing to import: write a configuration with",
    ),
    (
        Kind::Ovs,
        "",
        "there is nothing to import: write `ovs-vsctl set interface",
    ),
    (
        Kind::Ovs,
        "ovs-vsctl sett interface a b=c",
        "line 1: there is no command `sett`: did you mean `set`?",
    ),
    (
        Kind::Ovs,
        "ovs-vsctl set interface",
        "line 1: `set`: write a table, a record and what to set",
    ),
    (
        Kind::Ovs,
        "ovs-vsctl set interface vif1.0 ingress_policing_rate=fast",
        "line 1: ingress_policing_rate: `fast`: write a whole number, not negative",
    ),
    (
        Kind::Ovs,
        "ovs-vsctl set port vif1.0 qos=@q",
        "line 1: qos: there is no QoS `@q`: create it in the same command",
    ),
    (
        Kind::Ovs,
        "ovs-vsctl set port 'vif1.0 qos=@q",
        "line 1: this is not a command: a quote is not closed",
    ),
    (Kind::Libvirt, "<domain>", "line 1: this is not XML: "),
    (
        Kind::Libvirt,
        "<domain/>",
        "there is nothing to import: write a domain's XML",
    ),
    (
        Kind::Libvirt,
        "<interface type='vhostuser'>\n<bandwidth>\n<inbound peak='1'/></bandwidth></interface>",
        "line 3: inbound: average is missing: it is the limit, in kilobytes per second",
    ),
    (
        Kind::Libvirt,
        "<interface type='vhostuser'><bandwidth><outbound average='1.5'/></bandwidth></interface>",
        "line 1: outbound average: `1.5`: write a whole number, not negative",
    ),
    (
        Kind::Libvirt,
        "<interface type='vhostuser'><vlan><tag id='4095'/></vlan></interface>",
        "line 1: tag id: `4095`: a VLAN is 1 to 4094",
    ),
    (
        Kind::Libvirt,
        "<interface/>",
        "line 1: interface: type is missing",
    ),
    (
        Kind::Openstack,
        "{}",
        "there is nothing to import: write a QoS policy",
    ),
    (
        Kind::Openstack,
        "[{\"type\":\"bandwith_limit\"}]",
        "[0].type: `bandwith_limit`: did you mean `bandwidth_limit`?",
    ),
    (
        Kind::Openstack,
        "{\"policy\":{\"rules\":[{\"type\":\"bandwidth_limit\"}]}}",
        "policy.rules[0]: max_kbps is missing: a rule of this type has one",
    ),
    (
        Kind::Openstack,
        "[{\"type\":\"bandwidth_limit\",\"max_kbps\":1000,\"direction\":\"up\"}]",
        "[0].direction: `\"up\"`: write egress (what the guest sends) or ingress",
    ),
    (
        Kind::Openstack,
        "[{\"type\":\"dscp_marking\",\"dscp_mark\":64}]",
        "[0].dscp_mark: `64`: ",
    ),
];

#[test]
fn messages_say_where_and_what_to_write() {
    for (kind, text, want) in BAD {
        let error = match import(*kind, text) {
            Err(error) => error.to_string(),
            Ok(imported) => panic!("{kind}: {text}: {imported:?}"),
        };
        assert!(
            error.starts_with(want),
            "{kind}: {text}\ngot:  {error}\nwant: {want}"
        );
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_kind_that_is_not_known_names_the_nearest() {
    let error = |word: &str| word.parse::<Kind>().unwrap_err().to_string();
    assert_eq!(
        error("libvrt"),
        "there is no kind `libvrt`: did you mean `libvirt`?"
    );
    assert_eq!(
        error("vmware"),
        "there is no kind `vmware`: write one of xl, tc, cloud-hypervisor, firecracker, ovs, libvirt, openstack"
    );
}
