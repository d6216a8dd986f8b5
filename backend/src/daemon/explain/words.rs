//! Frames, refusals and rules in the words of the configuration file.

use std::fmt::Display;

use qos::classify::{Action, Headers, Match, Place, Rule, Then};
use qos::{ClassId, LimiterConfig};

use crate::args::MacAddr;
use crate::config::{GuestConfig, GuestTree, VlanConfig};
use crate::control::Direction;
use crate::shard::Sorted;
use crate::switch::{Refused, TagChange};

/// What the headers of a frame say.
pub(super) fn frame(headers: &Headers) -> String {
    let mac = |octets: [u8; 6]| {
        let octets = octets.map(|octet| format!("{octet:02x}"));
        octets.join(":")
    };
    let mut words = vec![format!(
        "{} bytes from {} to {}",
        headers.len,
        mac(headers.source_mac),
        mac(headers.destination_mac)
    )];
    if let Some(tag) = headers.vlan {
        words.push(format!("VLAN {} priority {}", tag.id, tag.priority));
    }
    match (headers.source, headers.destination) {
        (Some(source), Some(destination)) => {
            let port = |port: Option<u16>| port.map(|port| format!(" port {port}"));
            let protocol = headers
                .protocol
                .map_or_else(|| "IP".to_owned(), |it| it.to_string());
            words.push(format!(
                "{protocol} from {source}{} to {destination}{}",
                port(headers.source_port).unwrap_or_default(),
                port(headers.destination_port).unwrap_or_default()
            ));
        }
        _ => words.extend(headers.ethertype.map(|it| format!("ethertype {it}"))),
    }
    words.extend(headers.dscp.map(|it| format!("dscp {it}")));
    words.join(", ")
}

/// Why the switch refuses a frame, and what the guest that sends it is held to.
pub(super) fn refused(refused: Refused, sender: Option<&GuestConfig>) -> String {
    let held_to = sender.and_then(|guest| match refused {
        Refused::SpoofedMac | Refused::SpoofedArp | Refused::SpoofedNd => {
            guest.mac.map(|mac: MacAddr| format!("mac = {mac}"))
        }
        Refused::SpoofedIp => {
            let addresses = guest.addresses.iter().map(ToString::to_string);
            let addresses: Vec<_> = addresses.collect();
            Some(format!("addresses = {}", addresses.join(", ")))
        }
        Refused::Vlan => Some(vlan(&guest.vlan)),
        Refused::Isolated => guest
            .isolation
            .as_ref()
            .map(|it| format!("isolation = {it}")),
        _ => None,
    });
    let held_to = held_to.map_or_else(String::new, |it| format!(" (the guest has {it})"));
    format!("the switch refuses it: {refused}{held_to}")
}

fn vlan(config: &VlanConfig) -> String {
    let list = |vlans: &[u16]| {
        let vlans: Vec<_> = vlans.iter().map(ToString::to_string).collect();
        vlans.join(", ")
    };
    match config {
        VlanConfig::Transparent => "no vlan".to_owned(),
        VlanConfig::Access(vlan) => format!("vlan = {vlan}"),
        VlanConfig::Trunk { vlans, native } => {
            let native = native.map_or_else(String::new, |it| format!(", native {it}"));
            format!("trunk {}{native}", list(vlans))
        }
    }
}

/// What is done to the tag.
pub(super) fn tag(change: TagChange) -> String {
    const VID: u16 = 0xfff;
    match change {
        TagChange::Keep => String::new(),
        TagChange::Push(tci) => format!(", with a tag of VLAN {}", tci & VID),
        TagChange::Pop => ", without its tag".to_owned(),
        TagChange::Set(tci) => format!(", its tag put into VLAN {}", tci & VID),
    }
}

/// The words for one tree of a guest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words<'a> {
    guest: &'a str,
    direction: Direction,
    tree: &'a GuestTree,
}

impl<'a> Words<'a> {
    pub(super) fn new(guest: &'a GuestConfig, direction: Direction) -> Self {
        let tree = guest.tree(direction.into());
        Self {
            guest: guest.name.as_str(),
            direction,
            tree,
        }
    }

    /// The name of a class; none for the guest's own.
    pub(super) fn class(&self, class: ClassId) -> Option<&'a str> {
        self.tree.name(class)
    }

    /// A step for each rule, and one for the class.
    pub(super) fn sorted(self, sorted: &Sorted) -> impl Iterator<Item = String> {
        let last = sorted.rules.len().saturating_sub(1);
        let policed = sorted.class.is_none();
        let rules = sorted.rules.iter().enumerate();
        let rules = rules.map(move |(at, place)| self.applied(place, policed && at == last));
        let class = sorted.class.map(|class| {
            let what = self.class_words(class);
            format!("{} of {}: {what}", self.direction.name(), self.guest)
        });
        rules.chain(class)
    }

    fn class_words(&self, class: ClassId) -> String {
        match self.class(class) {
            Some(name) => format!("class {name}"),
            None => "the guest's own class".to_owned(),
        }
    }

    fn applied(&self, place: &Place, is_the_end: bool) -> String {
        let mut programs = self.tree.rules.programs.iter();
        let program = programs.find(|program| program.class == place.class);
        let above = match self.class(place.class) {
            Some(class) => format!(" of class {class}"),
            None => String::new(),
        };
        let rules = program.map(|program| program.rules.as_slice());
        let Some(number) = place.rule else {
            let default = program.and_then(|program| program.default);
            let to = default.map_or_else(
                || "it stays there".to_owned(),
                |class| self.class_words(class),
            );
            return format!("default{above}: {to}");
        };
        let rule = number.checked_sub(1).and_then(|at| rules?.get(at));
        let Some(rule) = rule else {
            return format!("rule {number}{above}");
        };
        let policed = if is_the_end && rule.then != Then::Drop {
            ": more than it lets pass"
        } else {
            ""
        };
        format!("rule {number}{above}: {}{policed}", self.rule(rule))
    }

    fn rule(&self, rule: &Rule) -> String {
        let actions = rule.actions.iter().map(|action| match action {
            Action::SetMark(mark) => format!("set_mark = {mark}"),
            Action::SetDscp(dscp) => format!("set_dscp = {dscp}"),
            Action::SetVlanPriority(priority) => format!("set_vlan_priority = {priority}"),
            Action::Police(limits) => police(limits),
        });
        let then = match rule.then {
            Then::Continue => None,
            Then::Goto(number) => Some(format!("goto = {number}")),
            Then::Class(class) => Some(self.class_words(class)),
            Then::Drop => Some("drop".to_owned()),
        };
        let does: Vec<_> = actions.chain(then).collect();
        format!("{} -> {}", matches(&rule.matches), does.join(", "))
    }
}

fn police(limits: &LimiterConfig) -> String {
    let rate = limits.rate.map(|rate| rate.to_string());
    let pps = limits.pps.map(|pps| pps.to_string());
    let both: Vec<_> = rate.into_iter().chain(pps).collect();
    format!("police {}", both.join(" and "))
}

/// The conditions of a rule, as the file has them.
fn matches(of: &Match) -> String {
    fn key(key: &str, value: Option<impl Display>) -> Option<String> {
        value.map(|value| format!("{key} = {value}"))
    }
    let Match {
        dscp,
        vlan,
        vlan_priority,
        ethertype,
        source,
        destination,
        protocol,
        source_port,
        destination_port,
        tcp_flags,
        length,
        mark,
        cipso,
        fragment,
    } = *of;
    let keys = [
        key("dscp", dscp),
        key("vlan", vlan),
        key("vlan_priority", vlan_priority),
        key("ethertype", ethertype),
        key("source", source),
        key("destination", destination),
        key("protocol", protocol),
        key("source_port", source_port),
        key("destination_port", destination_port),
        key("tcp_flags", tcp_flags),
        key("length", length),
        key("mark", mark),
        key("cipso", cipso),
        key("fragment", fragment),
    ];
    let keys: Vec<_> = keys.into_iter().flatten().collect();
    if keys.is_empty() {
        "every frame".to_owned()
    } else {
        keys.join(", ")
    }
}
