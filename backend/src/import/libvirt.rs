//! libvirt: the interfaces of a domain's XML, or one alone (libvirt.org/formatdomain.html, "Quality of
//! service" of network interfaces).
//!
//! - `average`, `peak` and `floor` are **kilobytes** (1000 bytes) per second, `burst` is in **kibibytes**:
//!   libvirt passes them to tc as `kbps` and `kb` (`virNetDevBandwidthSet` of
//!   src/util/virnetdevbandwidth.c), which are these (tc(8)).
//! - The directions are the guest's: `inbound` is what it **receives**.
//! - `average` is the limit; `peak` would be how fast a burst may go, which has no equal. Outbound without
//!   `burst` has one of `average` KiB (same function). `floor`, only inbound, is a guarantee.
//! - Inbound is HTB on the tap, which counts frames; outbound a policer, which counts packets without
//!   their Ethernet header (see `ovs`).
//! - A vhost-user interface in `client` mode connects, so that we listen. Its guest is called as its
//!   socket is: `/run/netqos/web.sock` is `web`.

use std::path::Path;

use qos::Framing;
use roxmltree::{Document, Node};

use super::amount::{FRAME, PACKET, burst, multiple};
use super::{Behind, Branch, Guest, ImportError, Imported, Limits, Met, Place, device};
use crate::args::MAX_QUEUE_PAIRS;
use crate::config::VlanConfig;

/// Bits of a kilobyte.
const KILOBYTE: u64 = 8 * 1000;
/// Bits of a kibibyte.
const KIBIBYTE: u64 = 8 * 1024;

/// What is the guest's hardware, or was read.
const TOLD: &[&str] = &[
    "mac",
    "source",
    "model",
    "target",
    "alias",
    "address",
    "boot",
    "rom",
    "acpi",
    "driver",
    "mtu",
    "vlan",
    "bandwidth",
    "port",
    "backend",
    "link",
    "reconnect",
];

pub(super) fn read(text: &str) -> Result<Imported, ImportError> {
    let document = Document::parse(text).map_err(|error| {
        let at = error.pos();
        ImportError::Syntax {
            place: Place::line(usize::try_from(at.row).unwrap_or(0)),
            what: "XML",
            message: error.to_string(),
        }
    })?;
    let root = document.root_element();
    let domain = child(root, "name").and_then(|name| name.text());
    let domain = domain.map_or("guest", str::trim);
    let interfaces = root.descendants().filter(|it| it.has_tag_name("interface"));
    let mut imported = Imported::default();
    for interface in interfaces {
        imported.guests.push(guest(domain, interface)?);
    }
    match imported.guests.is_empty() {
        true => Err(ImportError::Nothing("a domain's XML with an <interface>")),
        false => Ok(imported),
    }
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| child.has_tag_name(name))
}

/// Where a node is.
fn place(node: Node<'_, '_>, key: &str) -> Place {
    let at = node.document().text_pos_at(node.range().start);
    let name = node.tag_name().name();
    let place = Place::line(usize::try_from(at.row).unwrap_or(0));
    match key {
        "" => place.key(name),
        key => place.key(&format!("{name} {key}")),
    }
}

fn number(node: Node<'_, '_>, key: &str) -> Result<Option<u64>, ImportError> {
    let text = node.attribute(key);
    text.map(|text| place(node, key).number(text.trim()))
        .transpose()
}

fn guest(domain: &str, interface: Node<'_, '_>) -> Result<Guest, ImportError> {
    let mut guest = Guest::new(domain);
    meet(&mut guest, interface)?;
    if let Some((node, address)) = attribute(interface, "mac", "address") {
        let mac = address.parse();
        guest.mac = Some(mac.map_err(|error| place(node, "address").value(address, error))?);
    }
    if let Some(driver) = child(interface, "driver") {
        let queues = number(driver, "queues")?.unwrap_or(1);
        let most = u64::from(MAX_QUEUE_PAIRS);
        if queues > most {
            guest
                .notes
                .push(format!("{queues} queue pairs: a guest has {most} at most"));
        }
        let queues = u16::try_from(queues.min(most)).ok();
        guest.queues = queues.filter(|queues| *queues > 1);
    }
    if let Some(mtu) = child(interface, "mtu") {
        let size = number(mtu, "size")?.unwrap_or(0);
        let bytes = u16::try_from(size).ok().filter(|bytes| *bytes >= 68);
        let wrong = || place(mtu, "size").value(size, "an MTU is 68 to 65535 bytes");
        guest.mtu = Some(bytes.ok_or_else(wrong)?);
    }
    if let Some(vlan) = child(interface, "vlan") {
        guest.vlan = vlans(vlan)?;
    }
    if attribute(interface, "port", "isolated").is_some_and(|(_, it)| it == "yes") {
        guest.isolation = Some("isolated".to_owned());
    }
    if let Some(bandwidth) = child(interface, "bandwidth") {
        let branch = |name, framing| {
            let rate = child(bandwidth, name);
            rate.map(|rate| limits(rate, framing)).transpose()
        };
        guest.to_guest = Branch::of(branch("inbound", FRAME)?.unwrap_or_default());
        guest.from_guest = Branch::of(branch("outbound", PACKET)?.unwrap_or_default());
    }
    for other in interface.children().filter(Node::is_element) {
        let name = other.tag_name().name();
        if !TOLD.contains(&name) {
            guest.notes.push(format!("<{name}>: no equal"));
        }
    }
    Ok(guest)
}

fn attribute<'a, 'i>(
    interface: Node<'a, 'i>,
    name: &str,
    key: &str,
) -> Option<(Node<'a, 'i>, &'a str)> {
    let node = child(interface, name)?;
    Some((node, node.attribute(key)?))
}

/// How the guest is met, and what it is behind.
fn meet(guest: &mut Guest, interface: Node<'_, '_>) -> Result<(), ImportError> {
    let source = child(interface, "source");
    let of = |key| source.and_then(|source| Some((source, source.attribute(key)?)));
    let behind = |found: Option<(Node<'_, '_>, &str)>, key: &str, make: fn(_) -> Behind| {
        let Some((node, name)) = found else {
            return Ok(Behind::Unsaid);
        };
        device::name(&place(node, key), name).map(make)
    };
    match interface.attribute("type") {
        Some("vhostuser") => {
            if let Some((_, path)) = of("path") {
                guest.met = match of("mode") {
                    Some((_, "server")) => Met::Connect(path.into()),
                    _ => Met::Socket(path.into()),
                };
                let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str());
                if let Some(stem) = stem {
                    stem.clone_into(&mut guest.name);
                }
            }
        }
        Some("bridge") => guest.behind = behind(of("bridge"), "bridge", Behind::Bridge)?,
        Some("direct") => guest.behind = behind(of("dev"), "dev", Behind::Macvtap)?,
        Some("ethernet") => {
            let tap = attribute(interface, "target", "dev");
            guest.behind = behind(tap, "dev", Behind::Tap)?;
        }
        Some("network") => {
            let network = of("network").map_or("", |(_, network)| network);
            guest
                .notes
                .push(format!("network {network}: write the bridge it has"));
        }
        Some(other) => guest
            .notes
            .push(format!("interface type {other}: no equal")),
        None => {
            return Err(ImportError::Missing {
                place: place(interface, ""),
                what: "type",
                hint: "an interface has one, such as vhostuser",
            });
        }
    }
    Ok(())
}

/// `<vlan><tag id='42'/></vlan>`, or several tags or `trunk='yes'` for a trunk.
fn vlans(vlan: Node<'_, '_>) -> Result<VlanConfig, ImportError> {
    let mut vlans = Vec::new();
    let mut native = None;
    for tag in vlan.children().filter(|it| it.has_tag_name("tag")) {
        let id = number(tag, "id")?.unwrap_or(0);
        let id = match u16::try_from(id) {
            Ok(id @ 1..=4094) => id,
            _ => return Err(place(tag, "id").value(id, "a VLAN is 1 to 4094")),
        };
        if tag.attribute("nativeMode") == Some("untagged") {
            native = Some(id);
        }
        vlans.push(id);
    }
    vlans.sort_unstable();
    vlans.dedup();
    let is_trunk = vlan.attribute("trunk") == Some("yes") || vlans.len() > 1 || native.is_some();
    Ok(match (vlans.as_slice(), is_trunk) {
        ([], _) => VlanConfig::Transparent,
        ([one], false) => VlanConfig::Access(*one),
        _ => VlanConfig::Trunk { vlans, native },
    })
}

/// `<inbound>` or `<outbound>`.
fn limits(rate: Node<'_, '_>, framing: Framing) -> Result<Limits, ImportError> {
    let mut limits = Limits {
        framing: Some(framing),
        ..Limits::default()
    };
    let is_inbound = rate.has_tag_name("inbound");
    let (average, floor) = (number(rate, "average")?, number(rate, "floor")?);
    if average.is_none() && !(is_inbound && floor.is_some()) {
        return Err(ImportError::Missing {
            place: place(rate, ""),
            what: "average",
            hint: "it is the limit, in kilobytes per second",
        });
    }
    if let Some(average) = average {
        limits.ceil = Some(multiple(&place(rate, "average"), average, KILOBYTE)?);
        let kib = number(rate, "burst")?;
        limits.cburst = kib.filter(|kib| *kib > 0).map(|kib| burst(kib, KIBIBYTE));
        if !is_inbound && limits.cburst.is_none() {
            limits.cburst = Some(burst(average, KIBIBYTE));
        }
    }
    match floor {
        Some(floor) if is_inbound => {
            limits.rate = Some(multiple(&place(rate, "floor"), floor, KILOBYTE)?);
        }
        Some(floor) => limits.note(format!(
            "floor {floor} of outbound: libvirt has it inbound only"
        )),
        None => {}
    }
    if let Some(peak) = number(rate, "peak")? {
        limits.note(format!(
            "peak {peak} KB/s: no equal; a burst goes as fast as the guest and the uplink are"
        ));
    }
    Ok(limits)
}
