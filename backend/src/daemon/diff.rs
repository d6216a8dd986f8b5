//! What is different between two configurations, guest by guest. A guest is known by its name.

use std::collections::BTreeMap;

use crate::config::{Config, GuestConfig, UplinkConfig};

/// What has to be done to come from one configuration to another.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Diff<'a> {
    /// Guests that are there no more.
    pub(super) gone: Vec<&'a GuestConfig>,
    /// Guests that were not there before.
    pub(super) new: Vec<&'a GuestConfig>,
    /// Guests that are not as they were.
    pub(super) changed: Vec<Changed<'a>>,
}

/// A guest that is in both configurations, and not the same.
#[derive(Debug, PartialEq)]
pub(super) struct Changed<'a> {
    /// As it was.
    pub(super) old: &'a GuestConfig,
    /// As it is to be.
    pub(super) new: &'a GuestConfig,
    /// Why its session cannot go on, if so: what a session negotiated has changed.
    pub(super) ends_session: Option<&'static str>,
}

impl Changed<'_> {
    /// Whether its front-end is met elsewhere, or in another way.
    pub(super) fn moves_entrance(&self) -> bool {
        self.old.front_end != self.new.front_end
    }
}

impl<'a> Diff<'a> {
    /// Compares two configurations. What is in another order is no difference.
    pub(super) fn between(old: &'a Config, new: &'a Config) -> Self {
        let mut before: BTreeMap<&str, &GuestConfig> = BTreeMap::new();
        for guest in &old.guests {
            before.insert(&guest.name, guest);
        }
        let mut diff = Self::default();
        for guest in &new.guests {
            let Some(was) = before.remove(guest.name.as_str()) else {
                diff.new.push(guest);
                continue;
            };
            let uplinks = (old.uplinks.get(was.uplink), new.uplinks.get(guest.uplink));
            let same = GuestConfig {
                uplink: guest.uplink,
                ..was.clone()
            } == *guest;
            if !same || uplinks.0 != uplinks.1 {
                diff.changed.push(Changed {
                    old: was,
                    new: guest,
                    ends_session: ends_session(was, guest, uplinks),
                });
            }
        }
        // In the order they were configured in.
        let gone = |guest: &&GuestConfig| before.contains_key(guest.name.as_str());
        diff.gone = old.guests.iter().filter(gone).collect();
        diff
    }
}

/// Why a session with the old guest cannot serve the new one.
fn ends_session(
    old: &GuestConfig,
    new: &GuestConfig,
    uplinks: (Option<&UplinkConfig>, Option<&UplinkConfig>),
) -> Option<&'static str> {
    if old.queues != new.queues {
        return Some("its number of queue pairs has changed");
    }
    if old.mtu != new.mtu {
        return Some("its largest MTU has changed");
    }
    let (Some(before), Some(after)) = uplinks else {
        return Some("its uplink has changed");
    };
    if before.name != after.name || before.kind != after.kind {
        return Some("it is behind another uplink");
    }
    let sizes = |uplink: &UplinkConfig| (uplink.queues, uplink.mtu);
    (sizes(before) != sizes(after)).then_some("its uplink has another number of queues or MTU")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::args::FrontEnd;
    use crate::config::UplinkKind;
    use crate::daemon::samples::config;

    fn names<'a>(guests: &[&'a GuestConfig]) -> Vec<&'a str> {
        guests.iter().map(|guest| guest.name.as_str()).collect()
    }

    #[test]
    fn the_same_in_another_order_is_no_difference() {
        let old = config(&["a", "b", "c"]);
        let mut new = old.clone();
        new.guests.swap(0, 2);
        new.uplinks.rotate_left(1);
        for guest in &mut new.guests {
            guest.uplink = (guest.uplink + 2) % 3;
        }
        assert_eq!(Diff::between(&old, &new), Diff::default());
    }

    #[test]
    fn guests_come_and_go_by_name() {
        let old = config(&["a", "b", "c"]);
        let new = config(&["d", "b"]);
        let diff = Diff::between(&old, &new);
        assert_eq!(names(&diff.gone), ["a", "c"]);
        assert_eq!(names(&diff.new), ["d"]);
        assert_eq!(diff.changed, []);
    }

    /// What the one change that `edit` makes to guest `b` means.
    fn change(
        edit: impl FnOnce(&mut GuestConfig, &mut UplinkConfig),
    ) -> (bool, Option<&'static str>) {
        let old = config(&["a", "b"]);
        let mut new = old.clone();
        edit(&mut new.guests[1], &mut new.uplinks[1]);
        let diff = Diff::between(&old, &new);
        assert_eq!((&diff.gone, &diff.new), (&vec![], &vec![]));
        let [changed] = &diff.changed[..] else {
            panic!("one guest has changed, not {:?}", diff.changed)
        };
        assert_eq!((&*changed.old.name, &*changed.new.name), ("b", "b"));
        (changed.moves_entrance(), changed.ends_session)
    }

    #[test]
    fn a_session_goes_on_unless_what_it_negotiated_changes() {
        let limit = change(|guest, _| guest.from_guest.classes[0].weight = Some(7));
        assert_eq!(limit, (false, None));
        let root = change(|_, uplink| uplink.to_guest.ceil = "1gbit".parse().ok());
        assert_eq!(root, (false, None));
        let elsewhere = FrontEnd::Connect {
            path: PathBuf::from("elsewhere"),
        };
        let door = change(|guest, _| guest.front_end = elsewhere);
        assert_eq!(door, (true, None));
        type Edit = fn(&mut GuestConfig, &mut UplinkConfig);
        let ending: [Edit; 6] = [
            |guest, _| guest.queues = 2,
            |guest, _| guest.mtu = Some(9000),
            |guest, _| guest.uplink = 0,
            |_, uplink| uplink.kind = UplinkKind::None,
            |_, uplink| uplink.queues = 4,
            |_, uplink| uplink.mtu = Some(9000),
        ];
        for edit in ending {
            let (moves, reason) = change(edit);
            assert!(!moves && reason.is_some());
        }
    }
}
