//! Classification done the slow and obvious way: every rule in turn, every field by itself, on what a
//! frame was built from.

use std::collections::HashMap;
use std::net::IpAddr;

use qos::classify::{Action, ClassifierConfig, DropReason, Fate, Match, Place, Then, Verdict};
use qos::{ClassId, Cost, Demand, Limiter, Time};

use super::frames::{Packet, Spec};

/// What a frame says, as far as it can be reached.
pub(crate) struct Sight<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) len: u32,
}

impl Sight<'_> {
    fn packet(&self) -> Option<&Packet> {
        self.spec.readable()
    }

    /// The protocol, if not behind more extension headers than are followed.
    pub(crate) fn protocol(&self) -> Option<u8> {
        let packet = self.packet()?;
        let headers = packet.extensions + usize::from(packet.fragment != (0, false));
        (packet.source.is_ipv4() || headers <= 8).then_some(packet.protocol)
    }

    pub(crate) fn ports(&self) -> Option<(u16, u16)> {
        let packet = self.packet()?;
        self.protocol()?;
        let whole = packet.transport()? <= packet.payload;
        (whole && packet.fragment.0 == 0).then_some(packet.ports)
    }

    pub(crate) fn flags(&self) -> Option<u8> {
        self.ports()?;
        self.packet()
            .filter(|packet| packet.protocol == 6)
            .map(|packet| packet.flags)
    }

    /// A fragment header behind too many others is not found.
    pub(crate) fn is_fragment(&self) -> bool {
        let fragment = self
            .packet()
            .is_some_and(|packet| packet.fragment != (0, false));
        let hidden = self.packet().is_some_and(|packet| packet.extensions >= 8);
        fragment && !hidden
    }

    fn accepts(&self, rule: &Match, mark: u32) -> bool {
        let packet = self.packet();
        let tag = self.spec.tags.first();
        let within = |prefix: qos::classify::Prefix, of: fn(&Packet) -> IpAddr| {
            packet.is_some_and(|packet| inside(of(packet), prefix))
        };
        let port = |range: qos::classify::Range<u16>, port: Option<u16>| {
            port.is_some_and(|port| range.first() <= port && port <= range.last())
        };
        let ethertype = Some(self.spec.seen_ethertype()).filter(|&value| value >= 0x600);
        rule.dscp
            .is_none_or(|want| packet.is_some_and(|p| p.class / 4 == want.value()))
            && rule
                .vlan
                .is_none_or(|want| tag.is_some_and(|tci| tci % 4096 == want))
            && rule
                .vlan_priority
                .is_none_or(|want| tag.is_some_and(|tci| tci / 8192 == want.into()))
            && rule
                .ethertype
                .is_none_or(|want| ethertype == Some(want.value()))
            && rule
                .source
                .is_none_or(|prefix| within(prefix, |packet| packet.source))
            && rule
                .destination
                .is_none_or(|prefix| within(prefix, |packet| packet.destination))
            && rule
                .protocol
                .is_none_or(|want| self.protocol() == Some(want.0))
            && rule
                .source_port
                .is_none_or(|range| port(range, self.ports().map(|ports| ports.0)))
            && rule
                .destination_port
                .is_none_or(|range| port(range, self.ports().map(|ports| ports.1)))
            && rule
                .tcp_flags
                .is_none_or(|want| self.flags().is_some_and(|flags| want.accepts(flags)))
            && rule
                .length
                .is_none_or(|range| range.first() <= self.len && self.len <= range.last())
            && rule
                .mark
                .is_none_or(|want| mark & want.mask() == want.value())
            && rule.fragment.is_none_or(|want| self.is_fragment() == want)
            && rule.cipso.is_none_or(|want| {
                let label = packet.and_then(|packet| packet.label);
                label.is_some_and(|(doi, level)| {
                    let fits = want
                        .level
                        .is_none_or(|r| r.first() <= level && level <= r.last());
                    doi == want.doi && fits
                })
            })
    }
}

/// Whether the first bits of an address are those of a prefix, bit by bit.
fn inside(address: IpAddr, prefix: qos::classify::Prefix) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let (address, first) = (bits(address), bits(prefix.address()));
    let bit = |bytes: &[u8], at: u8| bytes[usize::from(at / 8)] >> (7 - at % 8) & 1;
    address.len() == first.len()
        && (0..prefix.bits()).all(|at| bit(&address, at) == bit(&first, at))
}

/// The interpreter, with the state of all police and the counters.
pub(crate) struct Naive<'a> {
    config: &'a ClassifierConfig,
    police: HashMap<(ClassId, usize, usize), Limiter>,
    pub(crate) matches: HashMap<Place, u64>,
    pub(crate) policed: HashMap<Place, u64>,
}

impl<'a> Naive<'a> {
    pub(crate) fn new(config: &'a ClassifierConfig) -> Self {
        Self {
            config,
            police: HashMap::new(),
            matches: HashMap::new(),
            policed: HashMap::new(),
        }
    }

    /// What becomes of a frame that is in `verdict.by.class` and has come to `verdict` so far.
    pub(crate) fn run(
        &mut self,
        verdict: Verdict,
        frame: &Sight<'_>,
        cost: Cost,
        now: Time,
    ) -> Verdict {
        let class = verdict.by.class;
        let mut verdict = verdict;
        let Some(program) = self
            .config
            .programs
            .iter()
            .find(|program| program.class == class)
        else {
            verdict.fate = Fate::Leaf(class);
            return verdict;
        };
        let mut number = 1;
        while let Some(rule) = program.rules.get(number - 1) {
            if !frame.accepts(&rule.matches, verdict.mark) {
                number += 1;
                continue;
            }
            verdict.by.rule = Some(number);
            *self.matches.entry(verdict.by).or_default() += 1;
            for (at, action) in rule.actions.iter().enumerate() {
                match *action {
                    Action::SetMark(set) => {
                        verdict.mark = verdict.mark & !set.mask() | set.value();
                    }
                    Action::SetDscp(dscp) => verdict.set_dscp = Some(dscp),
                    Action::SetVlanPriority(value) => verdict.set_vlan_priority = Some(value),
                    Action::Police(limit) => {
                        let limiter = self.police.entry((class, number, at));
                        let limiter = limiter.or_insert_with(|| Limiter::new(&limit));
                        if !limiter.ready(now) {
                            *self.policed.entry(verdict.by).or_default() += 1;
                            verdict.fate = Fate::Drop(DropReason::Policed);
                            return verdict;
                        }
                        limiter.commit(now, cost, Demand::Fresh);
                    }
                }
            }
            match rule.then {
                Then::Continue => number += 1,
                Then::Goto(later) => number = later,
                Then::Drop => {
                    verdict.fate = Fate::Drop(DropReason::Rule);
                    return verdict;
                }
                Then::Class(below) => return self.hand_down(verdict, below, frame, cost, now),
            }
        }
        verdict.by.rule = None;
        *self.matches.entry(verdict.by).or_default() += 1;
        match program.default {
            Some(below) => self.hand_down(verdict, below, frame, cost, now),
            None => {
                verdict.fate = Fate::Leaf(class);
                verdict
            }
        }
    }

    /// A class without rules leaves the decision with whoever named it.
    fn hand_down(
        &mut self,
        verdict: Verdict,
        below: ClassId,
        frame: &Sight<'_>,
        cost: Cost,
        now: Time,
    ) -> Verdict {
        if self
            .config
            .programs
            .iter()
            .all(|program| program.class != below)
        {
            let fate = Fate::Leaf(below);
            return Verdict { fate, ..verdict };
        }
        let by = Place {
            class: below,
            rule: None,
        };
        self.run(Verdict { by, ..verdict }, frame, cost, now)
    }
}
