//! Rules in the file: which frames belong to which class.

use std::collections::BTreeMap;

use qos::classify::{
    Action, CipsoMatch, Dscp, EtherType, Mark, Match, Prefix, ProgramConfig, Protocol, Range, Rule,
    TcpFlags, Then,
};
use qos::{Burst, ClassId, ClassifierError, LimiterConfig, PacketBurst, PacketRate, RateSpec};
use schemars::JsonSchema;
use serde::Deserialize;

use super::fault::{ConfigFault, Known};
use crate::file::text::{At, Found, Text};
use crate::file::value::Written;
use crate::file::{FileError, Place};

/// A rule: frames for which everything holds that is given, and what happens to them. Without
/// class, drop or goto they go on to the next rule that matches.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleKeys {
    /// Matches the code point of an IP packet, by name or number.
    dscp: Option<Written<Dscp>>,
    /// Matches the id of the outer VLAN tag.
    #[schemars(range(max = 4095))]
    vlan: Option<At<u16>>,
    /// Matches the priority in the outer VLAN tag, 0 to 7.
    #[schemars(range(max = 7))]
    vlan_priority: Option<At<u8>>,
    /// Matches what follows the VLAN tags.
    ethertype: Option<Written<EtherType>>,
    /// Matches where an IP packet is from.
    source: Option<Written<Prefix>>,
    /// Matches where an IP packet goes.
    destination: Option<Written<Prefix>>,
    /// Matches what an IP packet carries.
    protocol: Option<Written<Protocol>>,
    /// Matches the port it is from, or a range of them.
    source_port: Option<Written<Range<u16>>>,
    /// Matches the port it goes to, or a range of them.
    destination_port: Option<Written<Range<u16>>>,
    /// Matches flags of a TCP segment: those to be set, and with ! those not to be.
    tcp_flags: Option<Written<TcpFlags>>,
    /// Matches the frame's length in bytes, without check sequence.
    length: Option<Written<Range<u32>>>,
    /// Matches the mark that rules before have set.
    mark: Option<Written<Mark>>,
    /// Matches the sensitivity label of an IPv4 packet, domain:levels.
    cipso: Option<Written<CipsoMatch>>,
    /// Matches fragments of IP packets, or with false all others.
    fragment: Option<bool>,

    /// Lets frames pass within these limits, and drops the others.
    police: Option<At<PoliceKeys>>,
    /// Changes bits of the mark, which rules after it see.
    set_mark: Option<Written<Mark>>,
    /// Changes the code point of an IP packet.
    set_dscp: Option<Written<Dscp>>,
    /// Changes the priority in the outer VLAN tag, 0 to 7.
    #[schemars(range(max = 7))]
    set_vlan_priority: Option<At<u8>>,

    /// The class they go to, below the one whose rule it is.
    class: Option<At<String>>,
    /// Whether they are dropped.
    drop: Option<At<bool>>,
    /// The number of a later rule to go on with; the first rule is 1.
    #[schemars(range(min = 1))]
    goto: Option<At<usize>>,
}

/// The limits of a rule, and of that rule alone.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PoliceKeys {
    /// Rate on the wire.
    rate: Option<Written<RateSpec>>,
    /// How far ahead of rate, as a size or as time at the rate.
    burst: Option<Written<Burst>>,
    /// Packets per second.
    pps: Option<Written<PacketRate>>,
    /// How far ahead of pps, in packets or as time.
    ppsburst: Option<Written<PacketBurst>>,
}

impl PoliceKeys {
    fn config(&self) -> LimiterConfig {
        let rate = self.rate.map(|Written(spec)| spec);
        let burst = self.burst.map(|Written(burst)| burst);
        LimiterConfig {
            rate: rate.map(|spec| spec.rate),
            burst: burst.or_else(|| rate?.burst).unwrap_or_default(),
            pps: self.pps.map(|Written(pps)| pps),
            pps_burst: self.ppsburst.map_or_else(Default::default, |Written(b)| b),
            ..LimiterConfig::default()
        }
    }
}

/// The rules of one class, where they were written.
#[derive(Clone, Copy, Debug)]
pub(super) struct RuleList<'a> {
    /// The file.
    pub(super) source: &'a Text,
    /// The rules.
    pub(super) rules: &'a [At<RuleKeys>],
    /// The class for what they leave.
    pub(super) default: Option<Found<'a, String>>,
}

impl RuleList<'_> {
    /// The program of `class`, or none if nothing was written. `names` are all classes of the guest.
    ///
    /// # Errors
    /// A class that the guest does not have, or a rule that does nothing or two things.
    pub(super) fn program(
        &self,
        class: ClassId,
        names: &BTreeMap<&str, ClassId>,
    ) -> Result<Option<ProgramConfig>, FileError> {
        if self.rules.is_empty() && self.default.is_none() {
            return Ok(None);
        }
        let rules = self.rules.iter().map(|rule| self.rule(rule, names));
        let mut program = ProgramConfig::new(class);
        program.rules = rules.collect::<Result<_, _>>()?;
        program.default = self
            .default
            .map(|default| class_of(default, names))
            .transpose()?;
        Ok(Some(program))
    }

    fn rule(
        &self,
        rule: &At<RuleKeys>,
        names: &BTreeMap<&str, ClassId>,
    ) -> Result<Rule, FileError> {
        let then = self.then(rule, names)?;
        let rule = Rule {
            matches: rule.matches(),
            actions: rule.actions(),
            then,
        };
        Ok(rule)
    }

    fn then(
        &self,
        rule: &At<RuleKeys>,
        names: &BTreeMap<&str, ClassId>,
    ) -> Result<Then, FileError> {
        let class = rule.class.as_ref().map(|class| class.found(self.source));
        let goto = rule.goto.as_ref().map(|goto| goto.found(self.source));
        let drop = rule.drop.as_ref().filter(|drop| ***drop);
        let drop = drop.map(|drop| drop.found(self.source));
        match (class, goto, drop) {
            (Some(class), None, None) => class_of(class, names).map(Then::Class),
            (None, Some(goto), None) => Ok(Then::Goto(*goto.value())),
            (None, None, Some(_)) => Ok(Then::Drop),
            (None, None, None) if rule.actions().is_empty() => {
                Err(rule.found(self.source).fault(ConfigFault::IdleRule))
            }
            (None, None, None) => Ok(Then::Continue),
            (_, Some(goto), _) => Err(goto.fault(ConfigFault::TwoEnds)),
            (_, None, Some(drop)) => Err(drop.fault(ConfigFault::TwoEnds)),
        }
    }

    /// Where it is that an error is about.
    pub(super) fn place(&self, error: &ClassifierError) -> Option<Place> {
        use qos::classify::Position;

        let (number, key) = match error {
            ClassifierError::BackwardGoto { rule, .. }
            | ClassifierError::GotoBeyondEnd { rule, .. } => (*rule, Some("goto")),
            ClassifierError::NotBelow { position, .. }
            | ClassifierError::UnknownTarget { position, .. }
            | ClassifierError::NoProgram { position, .. } => match position {
                Position::Rule(number) => (*number, Some("class")),
                Position::Default => return self.default.map(Found::place),
            },
            ClassifierError::OutOfRange { rule, what, .. } => (*rule, Some(*what)),
            ClassifierError::PoliceWithoutLimit { rule, .. } => (*rule, Some("police")),
            ClassifierError::TooManyMasks { rule, .. } => (*rule, None),
            _ => return None,
        };
        let rule = self.rules.get(number.checked_sub(1)?)?;
        let span = key.and_then(|key| rule.span_of(key));
        Some(self.source.place(span.unwrap_or_else(|| rule.span())))
    }
}

fn class_of(
    name: Found<'_, String>,
    names: &BTreeMap<&str, ClassId>,
) -> Result<ClassId, FileError> {
    names.get(name.value().as_str()).copied().ok_or_else(|| {
        let known = Known::new(name.value(), names.keys().copied());
        name.fault(ConfigFault::NoClass(known))
    })
}

impl RuleKeys {
    fn matches(&self) -> Match {
        fn plain<T: Copy>(key: Option<Written<T>>) -> Option<T> {
            key.map(|Written(value)| value)
        }
        Match {
            dscp: plain(self.dscp),
            vlan: self.vlan.as_deref().copied(),
            vlan_priority: self.vlan_priority.as_deref().copied(),
            ethertype: plain(self.ethertype),
            source: plain(self.source),
            destination: plain(self.destination),
            protocol: plain(self.protocol),
            source_port: plain(self.source_port),
            destination_port: plain(self.destination_port),
            tcp_flags: plain(self.tcp_flags),
            length: plain(self.length),
            mark: plain(self.mark),
            cipso: plain(self.cipso),
            fragment: self.fragment,
        }
    }

    /// In the order that costs least: what is dropped needs no changes.
    fn actions(&self) -> Vec<Action> {
        let actions = [
            self.police.as_deref().map(|it| Action::Police(it.config())),
            self.set_mark.map(|Written(mark)| Action::SetMark(mark)),
            self.set_dscp.map(|Written(dscp)| Action::SetDscp(dscp)),
            self.set_vlan_priority
                .as_deref()
                .map(|priority| Action::SetVlanPriority(*priority)),
        ];
        actions.into_iter().flatten().collect()
    }

    /// Where a key was written, by the name that the classifier's errors give it.
    fn span_of(&self, key: &str) -> Option<std::ops::Range<usize>> {
        match key {
            "goto" => self.goto.as_ref().map(At::span),
            "class" => self.class.as_ref().map(At::span),
            "vlan" => self.vlan.as_ref().map(At::span),
            "vlan_priority" => self.vlan_priority.as_ref().map(At::span),
            "the vlan priority to set" => self.set_vlan_priority.as_ref().map(At::span),
            "police" => self.police.as_ref().map(At::span),
            _ => None,
        }
    }
}
