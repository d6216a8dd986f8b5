//! OpenStack Neutron: QoS policies and their rules in JSON, of the API or of `openstack network qos policy
//! show -f json` and `... rule list -f json` (Networking API v2, "QoS"; Neutron admin guide, "Quality of
//! Service (QoS)").
//!
//! - `max_kbps` and `min_kbps` are **kilobits** (1000) per second; `max_burst_kbps`, for all its name, is
//!   an amount of kilobits. Where it is zero or absent the agents make egress' 80 % of what `max_kbps` carries
//!   in a second (`DEFAULT_BURST_RATE` of neutron_lib/services/qos/constants.py), and ingress' none.
//! - `max_kpps` and `max_burst_kpps` are thousands of packets.
//! - The directions are the guest's: `egress`, the default, is what it **sends**.
//! - For Open vSwitch the agent limits egress by a policer, which counts packets without their Ethernet
//!   header, and ingress by HTB, which counts frames (see `ovs`).
//! - A policy is no guest: each becomes one, whose socket and address are to be filled in.

use qos::PacketBurst;
use qos::classify::Dscp;
use serde_json::Value;

use super::amount::{FRAME, PACKET, burst, multiple, packets, product};
use super::error::hint;
use super::json::{Json, parse};
use super::{Guest, ImportError, Imported, Limits, Place};
use crate::config::Direction;

/// Bits of a kilobit.
const KILOBIT: u64 = 1000;

/// The types of rules, and what the API calls the table of one.
const TYPES: &[&str] = &[
    "bandwidth_limit",
    "minimum_bandwidth",
    "dscp_marking",
    "packet_rate_limit",
    "minimum_packet_rate",
];

pub(super) fn read(text: &str) -> Result<Imported, ImportError> {
    let value = parse(text)?;
    let whole = Json::new(&value);
    let guests = match (whole.get("policies"), whole.get("policy")) {
        (Some(policies), _) => {
            let policies = policies.list()?;
            policies.iter().map(policy).collect::<Result<_, _>>()?
        }
        (None, Some(one)) => vec![policy(&one)?],
        (None, None) if whole.get("rules").is_some() => vec![policy(&whole)?],
        (None, None) => vec![loose(&whole)?],
    };
    if guests
        .iter()
        .all(|it| it.from_guest.is_empty() && it.to_guest.is_empty())
    {
        return Err(ImportError::Nothing(
            "a QoS policy with \"rules\", or a list of rules: what `openstack network qos policy show -f \
             json` prints",
        ));
    }
    Ok(Imported {
        guests,
        ..Imported::default()
    })
}

fn policy(policy: &Json<'_>) -> Result<Guest, ImportError> {
    policy.table()?;
    let name = policy.get("name").or_else(|| policy.get("id"));
    let name = name.map_or(Ok("policy"), |name| name.text())?;
    let mut guest = Guest::new(name);
    let rules = policy.get("rules").map(|rules| rules.list()).transpose()?;
    for each in rules.unwrap_or_default() {
        rule(&mut guest, &Rule::new(each)?)?;
    }
    Ok(guest)
}

/// Rules without a policy: a list, or one in the table that the API has for its type.
fn loose(whole: &Json<'_>) -> Result<Guest, ImportError> {
    let mut guest = Guest::new("policy");
    let rules = match whole.value {
        Value::Array(_) => whole.list()?,
        _ => vec![whole.clone()],
    };
    for each in rules {
        each.table()?;
        let in_table = TYPES.iter().find_map(|kind| {
            let json = each.get(&format!("{kind}_rule"))?;
            Some(Rule {
                kind: (*kind).to_owned(),
                json,
            })
        });
        let read = match in_table {
            Some(rule) => rule,
            None if each
                .value
                .as_object()
                .is_some_and(serde_json::Map::is_empty) =>
            {
                continue;
            }
            None => Rule::new(each)?,
        };
        rule(&mut guest, &read)?;
    }
    Ok(guest)
}

/// A rule and its type.
struct Rule<'a> {
    kind: String,
    json: Json<'a>,
}

impl<'a> Rule<'a> {
    fn new(json: Json<'a>) -> Result<Self, ImportError> {
        json.table()?;
        let kind = json.get("type").or_else(|| json.get("Type"));
        let kind = kind.ok_or_else(|| ImportError::Missing {
            place: json.place.clone(),
            what: "type",
            hint: "a rule says what it is, such as bandwidth_limit",
        })?;
        let kind = kind.text()?.to_owned();
        Ok(Self { kind, json })
    }

    /// A key as the API spells it, or as the command line's tables do. There, what a rule does not have is
    /// an empty text.
    fn get(&self, key: &str, column: &str) -> Option<Json<'a>> {
        let value = self.json.get(key).or_else(|| self.json.get(column));
        value.filter(|it| it.value.as_str() != Some(""))
    }

    fn number(&self, key: &'static str, column: &str) -> Result<Option<(u64, Place)>, ImportError> {
        let Some(value) = self.get(key, column) else {
            return Ok(None);
        };
        let number = match value.value.as_str() {
            Some(text) => value.place.number(text)?,
            None => value.number()?,
        };
        Ok(Some((number, value.place)))
    }

    fn needed(&self, key: &'static str, column: &str) -> Result<(u64, Place), ImportError> {
        self.number(key, column)?
            .ok_or_else(|| ImportError::Missing {
                place: self.json.place.clone(),
                what: key,
                hint: "a rule of this type has one",
            })
    }

    fn direction(&self) -> Result<Direction, ImportError> {
        let Some(direction) = self.get("direction", "Direction") else {
            return Ok(Direction::FromGuest);
        };
        match direction.text()? {
            "egress" => Ok(Direction::FromGuest),
            "ingress" => Ok(Direction::ToGuest),
            _ => Err(direction.wrong("write egress (what the guest sends) or ingress")),
        }
    }
}

fn rule(guest: &mut Guest, rule: &Rule<'_>) -> Result<(), ImportError> {
    match rule.kind.as_str() {
        "bandwidth_limit" => {
            let direction = rule.direction()?;
            bandwidth_limit(limits(guest, direction), direction, rule)
        }
        "minimum_bandwidth" => {
            let limits = limits(guest, rule.direction()?);
            let (kbps, place) = rule.needed("min_kbps", "Min Kbps")?;
            if kbps > 0 {
                limits.rate = Some(multiple(&place, kbps, KILOBIT)?);
            }
            Ok(())
        }
        "dscp_marking" => {
            let (mark, place) = rule.needed("dscp_mark", "DSCP mark")?;
            let dscp: Result<Dscp, _> = mark.to_string().parse();
            let dscp = dscp.map_err(|error| place.value(mark, error))?;
            guest.from_guest.set_dscp = Some(dscp);
            Ok(())
        }
        "packet_rate_limit" => packet_rate_limit(limits(guest, rule.direction()?), rule),
        "minimum_packet_rate" => {
            let (kpps, _) = rule.needed("min_kpps", "Min Kpps")?;
            let note =
                format!("minimum_packet_rate of {kpps} kpps: no equal; guarantees are in bits");
            guest.notes.push(note);
            Ok(())
        }
        kind => {
            let place = rule.json.place.key("type");
            Err(place.value(kind, hint(kind, TYPES)))
        }
    }
}

/// The limits of one direction, in what the agent counts there.
fn limits(guest: &mut Guest, direction: Direction) -> &mut Limits {
    let limits = &mut guest.branch_mut(direction).own;
    limits.framing = Some(match direction {
        Direction::FromGuest => PACKET,
        Direction::ToGuest => FRAME,
    });
    limits
}

fn bandwidth_limit(
    limits: &mut Limits,
    direction: Direction,
    rule: &Rule<'_>,
) -> Result<(), ImportError> {
    let (kbps, place) = rule.needed("max_kbps", "Max Kbps")?;
    if kbps == 0 {
        limits.note("max_kbps of 0: no limit");
        return Ok(());
    }
    limits.ceil = Some(multiple(&place, kbps, KILOBIT)?);
    let kbits = rule.number("max_burst_kbps", "Max Burst Kbits")?;
    limits.cburst = match (kbits, direction) {
        (Some((kbits @ 1.., _)), _) => Some(burst(kbits, KILOBIT)),
        (_, Direction::FromGuest) => Some(burst(kbps, KILOBIT * 8 / 10)),
        (_, Direction::ToGuest) => None,
    };
    Ok(())
}

fn packet_rate_limit(limits: &mut Limits, rule: &Rule<'_>) -> Result<(), ImportError> {
    let (kpps, place) = rule.needed("max_kpps", "Max Kpps")?;
    if kpps == 0 {
        limits.note("max_kpps of 0: no limit");
        return Ok(());
    }
    limits.pps = Some(packets(&place, kpps, product(kpps, 1000), 1)?);
    if let Some((kpackets @ 1.., _)) = rule.number("max_burst_kpps", "Max Burst Kpps")? {
        limits.pps_burst = Some(PacketBurst::Segments(kpackets.saturating_mul(1000)));
    }
    Ok(())
}
