//! Open vSwitch: `ovs-vsctl` commands, or what `ovs-vsctl list interface`, `port`, `qos` and `queue` print
//! (ovs-vswitchd.conf.db(5)).
//!
//! - `ingress_policing_rate` is in **kilobits** (1000) per second and limits what the switch gets from the
//!   interface: of a guest's, what it **sends**. `ingress_policing_burst` is in kilobits, 8000 where it is
//!   zero; `ingress_policing_kpkts_rate` and `_burst` are thousands of packets, 16 where the burst is zero.
//! - `max-rate` and `min-rate` of linux-htb are in **bits** per second and `burst` in bits; they limit what
//!   leaves the port: of a guest's, what it **receives**. The smaller `priority` comes first, and of what is
//!   left over queues get by their `min-rate`: HTB's quantum is a tenth of it (`htb_setup_class__` of
//!   lib/netdev-linux.c). What OpenFlow puts into no queue is in queue 0, which is there without a record too.
//! - `cir` of egress-policer is in **bytes** per second, `cbs` in bytes.
//! - Policers count packets without their Ethernet header: in the kernel, where it is taken off before
//!   ingress filters see the packet (`sch_handle_ingress` of net/core/dev.c), and for DPDK
//!   (`netdev_dpdk_policer_pkt_handle` of lib/netdev-dpdk.c). HTB counts frames.
//! - Open vSwitch connects to the socket of a `dpdkvhostuserclient`, where the guest's QEMU listens.

mod database;
mod parse;

use std::collections::BTreeMap;

use qos::PacketBurst;

use self::database::{Database, Record, Table};
use super::amount::{FRAME, PACKET, burst, multiple, packets, product, quantum};
use super::{Behind, Branch, Class, Guest, ImportError, Imported, Limits, Met, Place, device};
use crate::config::VlanConfig;

/// Bits of a kilobit.
const KILOBIT: u64 = 1000;
/// Kilobits of a policer's burst that does not say.
const USUAL_KBITS: u64 = 8000;
/// Thousands of packets of a policer's burst that does not say.
const USUAL_KPACKETS: u64 = 16;
/// The queue of what has no other.
const DEFAULT_QUEUE: u64 = 0;
/// The last of our priorities.
const LAST_PRIO: u8 = 3;

/// Where `dpdkvhostuser` ports listen.
const RUN: &str = "/var/run/openvswitch";

pub(super) fn read(text: &str) -> Result<Imported, ImportError> {
    let database = parse::read(text)?;
    let mut imported = Imported::default();
    for (name, line) in database.names() {
        let guest = Reader {
            database: &database,
        }
        .guest(&name, line)?;
        if !guest.from_guest.is_empty() || !guest.to_guest.is_empty() {
            imported.guests.push(guest);
        }
    }
    for qos in database
        .of(Table::Qos)
        .filter(|qos| !database.has_port(qos))
    {
        let mut guest = Guest::new(qos.name());
        guest
            .notes
            .push("the port of this QoS is not said: it is taken to be a guest's".to_owned());
        guest.to_guest = Reader {
            database: &database,
        }
        .qos(qos)?;
        imported.guests.push(guest);
    }
    if imported.guests.is_empty() {
        return Err(ImportError::Nothing(
            "`ovs-vsctl set interface vif1.0 ingress_policing_rate=10000`, `ovs-vsctl set port ... qos=...`, or \
             what `ovs-vsctl list interface` prints",
        ));
    }
    imported.notes = database.notes;
    Ok(imported)
}

struct Reader<'a> {
    database: &'a Database,
}

impl Reader<'_> {
    /// The guest of a port and its interface, which have one name.
    fn guest(&self, name: &str, line: usize) -> Result<Guest, ImportError> {
        let mut guest = Guest::new(name);
        let interface = self.database.named(Table::Interface, name);
        let port = self.database.named(Table::Port, name);
        let kind = interface.and_then(|it| it.text("type")).unwrap_or_default();
        meet(&mut guest, interface, &kind);
        if !kind.starts_with("dpdk") {
            guest.behind = device::behind(&Place::line(line), name)?;
        }
        let is_nic = kind == "dpdk" || (!kind.starts_with("dpdkvhost") && device::is_nic(name));
        // What a NIC gets is what guests receive.
        let (from, to) = match is_nic {
            true => (device::ingress("eth0"), device::egress("eth0")),
            false => (device::ingress("tap0"), device::egress("tap0")),
        };
        if let Some(interface) = interface {
            *guest.branch_mut(from) = Branch::of(policing(interface)?);
            if let Some((mtu, place)) = interface.number("mtu_request")? {
                let bytes = u16::try_from(mtu).ok().filter(|bytes| *bytes >= 68);
                let wrong = || place.value(mtu, "an MTU is 68 to 65535 bytes");
                guest.mtu = Some(bytes.ok_or_else(wrong)?);
            }
            if let Some(mac) = interface.entry("external_ids", "attached-mac") {
                let place = interface.place("external_ids").key("attached-mac");
                guest.mac = Some(mac.parse().map_err(|error| place.value(&mac, error))?);
            }
        }
        if let Some(port) = port {
            vlan(&mut guest, port)?;
            if let Some(reference) = port.text("qos").filter(|it| !it.is_empty()) {
                let qos = self.database.referred(Table::Qos, &reference);
                let qos = qos.ok_or_else(|| port.dangling("qos", "QoS", &reference))?;
                *guest.branch_mut(to) = self.qos(qos)?;
            }
        }
        Ok(guest)
    }

    /// What limits one direction, as a QoS record has it.
    fn qos(&self, qos: &Record) -> Result<Branch, ImportError> {
        let kind = qos.text("type").unwrap_or_default();
        match kind.as_str() {
            "linux-htb" => self.htb(qos),
            "egress-policer" => policer(qos).map(Branch::of),
            "" => Err(ImportError::Missing {
                place: qos.place(""),
                what: "type",
                hint: "a QoS has one, such as linux-htb",
            }),
            kind => {
                let mut branch = Branch::default();
                branch.own.note(format!("QoS of type {kind}: no equal"));
                Ok(branch)
            }
        }
    }

    fn htb(&self, qos: &Record) -> Result<Branch, ImportError> {
        let mut branch = Branch::default();
        let max = qos.config("max-rate")?;
        if let Some((max, place)) = max {
            branch.own.ceil = Some(multiple(&place, max, 1)?);
        }
        branch.own.framing = Some(FRAME);
        let mut queues = BTreeMap::new();
        for (number, reference) in qos.map("queues") {
            let number = qos.place("queues").number(&number)?;
            let queue = self.database.referred(Table::Queue, &reference);
            let queue = queue.ok_or_else(|| qos.dangling("queues", "queue", &reference))?;
            queues.insert(number, queue);
        }
        if queues.is_empty() {
            return Ok(branch);
        }
        for (number, queue) in &queues {
            branch.classes.push(class(*number, queue)?);
        }
        let default = class_name(DEFAULT_QUEUE);
        if !queues.contains_key(&DEFAULT_QUEUE) {
            branch.classes.push(Class {
                name: default.clone(),
                limits: Limits {
                    weight: Some(quantum(0)),
                    ..Limits::default()
                },
                ..Class::default()
            });
        }
        branch.default = Some(default);
        branch
            .own
            .note("which queue frames are in says OpenFlow there (set_queue): write rules");
        Ok(branch)
    }
}

/// A queue's class.
fn class(number: u64, queue: &Record) -> Result<Class, ImportError> {
    let mut limits = Limits {
        weight: Some(quantum(queue.config("min-rate")?.map_or(0, |(min, _)| min))),
        ..Limits::default()
    };
    if let Some((min, place)) = queue.config("min-rate")?.filter(|(min, _)| *min > 0) {
        limits.rate = Some(multiple(&place, min, 1)?);
    }
    if let Some((max, place)) = queue.config("max-rate")? {
        limits.ceil = Some(multiple(&place, max, 1)?);
    }
    if let Some((bits, _)) = queue.config("burst")?.filter(|(bits, _)| *bits >= 8) {
        limits.burst = Some(burst(bits, 1));
        limits.cburst = limits.burst;
    }
    if let Some((priority, _)) = queue.config("priority")? {
        limits.prio = u8::try_from(priority).unwrap_or(u8::MAX).min(LAST_PRIO);
        if priority > u64::from(LAST_PRIO) {
            limits.note(format!(
                "priority {priority}: the last one here is {LAST_PRIO}"
            ));
        }
    }
    if let Some(dscp) = queue.text("dscp").filter(|dscp| !dscp.is_empty()) {
        limits.note(format!(
            "dscp {dscp}: write set_dscp in the rule that leads here"
        ));
    }
    Ok(Class {
        name: class_name(number),
        parent: None,
        limits,
    })
}

fn class_name(number: u64) -> String {
    format!("queue{number}")
}

/// A policer of DPDK on what leaves a port.
fn policer(qos: &Record) -> Result<Limits, ImportError> {
    let mut limits = Limits {
        framing: Some(PACKET),
        ..Limits::default()
    };
    if let Some((cir, place)) = qos.config("cir")? {
        limits.ceil = Some(multiple(&place, cir, 8)?);
    }
    if let Some((cbs, _)) = qos.config("cbs")?.filter(|(cbs, _)| *cbs > 0) {
        limits.cburst = Some(burst(cbs, 8));
    }
    Ok(limits)
}

/// Policing of what comes from an interface.
fn policing(interface: &Record) -> Result<Limits, ImportError> {
    let mut limits = Limits::default();
    let positive = |key| {
        let number = interface.number(key);
        number.map(|number| number.filter(|(number, _)| *number > 0))
    };
    if let Some((kbps, place)) = positive("ingress_policing_rate")? {
        limits.ceil = Some(multiple(&place, kbps, KILOBIT)?);
        let kbits = positive("ingress_policing_burst")?;
        limits.cburst = Some(burst(
            kbits.map_or(USUAL_KBITS, |(kbits, _)| kbits),
            KILOBIT,
        ));
        limits.framing = Some(PACKET);
    }
    if let Some((kpps, place)) = positive("ingress_policing_kpkts_rate")? {
        limits.pps = Some(packets(&place, kpps, product(kpps, 1000), 1)?);
        let kpackets = positive("ingress_policing_kpkts_burst")?;
        let kpackets = kpackets.map_or(USUAL_KPACKETS, |(kpackets, _)| kpackets);
        limits.pps_burst = Some(PacketBurst::Segments(kpackets.saturating_mul(1000)));
    }
    Ok(limits)
}

/// How the guest of a vhost-user port is met: as Open vSwitch does.
fn meet(guest: &mut Guest, interface: Option<&Record>, kind: &str) {
    let path = interface.and_then(|it| it.entry("options", "vhost-server-path"));
    guest.met = match (kind, path) {
        ("dpdkvhostuserclient", Some(path)) => Met::Connect(path.into()),
        ("dpdkvhostuser", _) => Met::Socket(format!("{RUN}/{}", guest.name).into()),
        _ => Met::Unsaid,
    };
}

/// `tag` and `trunks` of a port.
fn vlan(guest: &mut Guest, port: &Record) -> Result<(), ImportError> {
    let number = |key: &str, text: &str| match text.parse() {
        Ok(vlan @ 1..=4094_u16) => Ok(vlan),
        _ => Err(port.place(key).value(text, "a VLAN is 1 to 4094")),
    };
    let tag = port.text("tag").filter(|tag| !tag.is_empty());
    let tag = tag.map(|tag| number("tag", &tag)).transpose()?;
    let trunks = port.set("trunks");
    let trunks = trunks.iter().map(|trunk| number("trunks", trunk));
    let mut vlans: Vec<u16> = trunks.collect::<Result<_, _>>()?;
    let mode = port.text("vlan_mode").unwrap_or_default();
    vlans.extend(tag.filter(|_| mode.starts_with("native")));
    vlans.sort_unstable();
    vlans.dedup();
    let vlan = match (tag, vlans.is_empty()) {
        (Some(tag), true) => VlanConfig::Access(tag),
        (None, true) => return Ok(()),
        (native, false) => VlanConfig::Trunk { vlans, native },
    };
    if guest.behind == Behind::Unsaid {
        guest.vlan = vlan;
    } else {
        // Frames that we tagged would not be let in there.
        let note = "its VLANs stay those of the port in Open vSwitch, which is the uplink here";
        guest.notes.push(note.to_owned());
    }
    Ok(())
}
