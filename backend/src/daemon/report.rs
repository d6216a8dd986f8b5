//! The counters of all ports, for the log and for the control socket.

mod guest;

use std::collections::BTreeMap;

use self::guest::Counted;
use super::Daemon;
use crate::config::{Config, Direction, GuestConfig, Known, RootConfig};
use crate::control::{Limits, Report, UplinkReport};
use crate::logging::OPERATOR;
use crate::poller::monotonic_nanos;
use crate::shard::{Drops, PortId, ShardGone};

/// Classes that one report tells of at most.
const MOST_CLASSES: usize = 1 << 16;

/// Why there is no report. Who asks is at fault.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoReport {
    /// Not a guest of the configuration.
    #[error("there is no guest {0}")]
    NoGuest(Known),
    /// All at once would be too much.
    #[error(
        "that would be {0} classes, and a report tells of {MOST_CLASSES} at most: ask for fewer guests"
    )]
    TooLong(usize),
}

impl<R> Daemon<R> {
    /// The counters of these guests, of all if none are named, with all their classes if `classes`.
    pub(super) fn report(
        &self,
        names: &[String],
        classes: bool,
    ) -> Result<Result<Report, NoReport>, ShardGone> {
        let guests = match chosen(&self.config, names) {
            Ok(guests) => guests,
            Err(why) => return Ok(Err(why)),
        };
        let total = guests.values().copied().map(class_count).sum();
        if classes && total > MOST_CLASSES {
            return Ok(Err(NoReport::TooLong(total)));
        }
        let (_, start) = self.epoch;
        let now = monotonic_nanos();
        let mut report = Report {
            generation: self.generation,
            time_nanos: now,
            uptime_nanos: now.saturating_sub(start),
            uplinks: self.uplinks()?,
            ports: Vec::with_capacity(guests.len()),
            classes: classes.then(|| Vec::with_capacity(total)),
            control: self.control.report(),
        };
        for counted in self.counted(guests.into_values(), true)? {
            report.ports.push(counted.port());
            if let Some(classes) = &mut report.classes {
                counted.classes(classes);
            }
        }
        Ok(Ok(report))
    }

    /// What is counted of these guests, as far as they are served.
    fn counted<'a>(
        &'a self,
        guests: impl Iterator<Item = &'a GuestConfig>,
        classes: bool,
    ) -> Result<impl Iterator<Item = Counted<'a>>, ShardGone> {
        let found = |guest: &'a GuestConfig| Some((self.ports.find(&guest.name)?, guest));
        let found: Vec<(PortId, &GuestConfig)> = guests.filter_map(found).collect();
        let ask = |&(id, guest): &(PortId, &GuestConfig)| self.service.inquiry(id, guest, classes);
        let answers = self.service.count(found.iter().map(ask).collect())?;
        let counted = found.into_iter().zip(answers);
        Ok(counted.filter_map(|((id, guest), answer)| {
            Some(Counted {
                guest,
                uplink: &self.config.uplinks.get(guest.uplink)?.name,
                port: self.ports.get(id)?,
                counters: answer.counters?,
                trees: answer.classes,
            })
        }))
    }

    fn uplinks(&self) -> Result<Vec<UplinkReport>, ShardGone> {
        let mut guests = vec![0; self.config.uplinks.len()];
        for guest in &self.config.guests {
            if let Some(count) = guests.get_mut(guest.uplink) {
                *count += 1;
            }
        }
        let counted = self.service.count_uplinks(&self.config.uplinks)?;
        let uplinks = self.config.uplinks.iter().zip(guests).zip(counted);
        let mut reports: Vec<_> = uplinks
            .map(|((uplink, guests), counted)| {
                let counted = counted.unwrap_or_default();
                UplinkReport {
                    uplink: uplink.name.clone(),
                    kind: uplink.kind.to_string(),
                    present: self.service.is_present(&uplink.name) && !counted.gone,
                    guests,
                    wakes: counted.turns,
                    from_guest: limits(&uplink.from_guest),
                    to_guest: limits(&uplink.to_guest),
                    drops: drops(&counted.refused),
                }
            })
            .collect();
        reports.sort_by(|a, b| a.uplink.cmp(&b.uplink));
        Ok(reports)
    }

    /// Logs the counters of all uplinks and ports.
    pub(super) fn log_report(&self) -> Result<(), ShardGone> {
        let counted = self.service.count_uplinks(&self.config.uplinks)?;
        for (uplink, counted) in self.config.uplinks.iter().zip(counted) {
            let refused = counted.unwrap_or_default().refused;
            refused.log(&uplink.name, OPERATOR);
        }
        for counted in self.counted(self.config.guests.iter(), false)? {
            let (name, counters) = (&counted.guest.name, &counted.counters);
            counters.log(name, OPERATOR);
            log::info!(
                target: OPERATOR,
                port = name,
                kicks = counters.kicks,
                wakes = counters.wakes,
                broken_rings = counters.broken_rings;
                ""
            );
        }
        Ok(())
    }
}

/// The guests of these names, by name; all if there are none.
fn chosen<'a>(
    config: &'a Config,
    names: &[String],
) -> Result<BTreeMap<&'a str, &'a GuestConfig>, NoReport> {
    let guests = config.guests.iter();
    let all: BTreeMap<_, _> = guests.map(|guest| (guest.name.as_str(), guest)).collect();
    if names.is_empty() {
        return Ok(all);
    }
    let find = |name: &String| match all.get_key_value(name.as_str()) {
        Some((&name, &guest)) => Ok((name, guest)),
        None => Err(NoReport::NoGuest(Known::new(name, all.keys().copied()))),
    };
    names.iter().map(find).collect()
}

/// How many classes are told of for a guest: each is in a tree twice.
fn class_count(guest: &GuestConfig) -> usize {
    let both = Direction::BOTH.map(|direction| guest.tree(direction).classes.len());
    both.iter().sum::<usize>().saturating_mul(2)
}

fn limits(root: &RootConfig) -> Limits {
    Limits {
        ceil: root.ceil.map(qos::Rate::bits_per_second),
        ..Limits::default()
    }
}

fn drops(drops: &Drops) -> BTreeMap<String, u64> {
    let named = drops.iter();
    named
        .map(|(reason, count)| (reason.to_owned(), count))
        .collect()
}
