//! What is different between two configurations, setting by setting, in the words of the file.

use std::collections::BTreeMap;

use qos::{Burst, ClassConfig, LeafQueue, PacketBurst};

use super::diff::Diff;
use crate::args::FrontEnd;
use crate::config::{
    Config, Direction, GuestConfig, GuestTree, RootConfig, UplinkConfig, UplinkKind, VlanConfig,
};
use crate::control::{Difference, Edit};

/// Settings by their names, in the file's spelling; absent what is not set.
type Settings = BTreeMap<String, String>;

/// What is different, uplinks first, then guests.
pub(super) fn differences(diff: &Diff<'_>, old: &Config, new: &Config) -> Vec<Difference> {
    let mut all = uplinks(old, new);
    let name = |guest: &&GuestConfig| guest.name.clone();
    let gone = diff.gone.iter().map(name);
    all.extend(gone.map(|guest| Difference::Removed { guest }));
    let added = diff.new.iter().map(name);
    all.extend(added.map(|guest| Difference::Added { guest }));
    for changed in &diff.changed {
        let edits = edits(&guest(changed.old, old), &guest(changed.new, new));
        // Otherwise it is its uplink that has changed, which is said once.
        if !edits.is_empty() || changed.ends_session.is_some() {
            all.push(Difference::Changed {
                guest: changed.new.name.clone(),
                edits,
                ends_session: changed.ends_session.map(str::to_owned),
            });
        }
    }
    all
}

fn uplinks(old: &Config, new: &Config) -> Vec<Difference> {
    let by_name = |config: &Config| {
        let settings = |it: &UplinkConfig| (it.name.clone(), uplink(it));
        config
            .uplinks
            .iter()
            .map(settings)
            .collect::<BTreeMap<_, _>>()
    };
    let (old, new) = (by_name(old), by_name(new));
    let none = Settings::new();
    let mut names: Vec<_> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let difference = |name: &String| {
        let settings = [&old, &new].map(|config| config.get(name).unwrap_or(&none));
        let edits = edits(settings[0], settings[1]);
        let uplink = name.clone();
        (!edits.is_empty()).then_some(Difference::Uplink { uplink, edits })
    };
    names.into_iter().filter_map(difference).collect()
}

fn edits(old: &Settings, new: &Settings) -> Vec<Edit> {
    let mut names: Vec<_> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let edit = |name: &String| {
        let (from, to) = (old.get(name), new.get(name));
        (from != to).then(|| Edit {
            setting: name.clone(),
            from: from.cloned(),
            to: to.cloned(),
        })
    };
    names.into_iter().filter_map(edit).collect()
}

fn uplink(config: &UplinkConfig) -> Settings {
    let mut settings = Settings::new();
    let kind = kind(&config.kind);
    settings.insert("kind".to_owned(), kind);
    if let UplinkKind::Tap {
        bridge: Some(bridge),
        ..
    } = &config.kind
    {
        settings.insert("bridge".to_owned(), bridge.to_string());
    }
    put(
        &mut settings,
        "queues",
        (config.queues != 1).then_some(config.queues),
    );
    put(&mut settings, "mtu", config.mtu);
    for direction in Direction::BOTH {
        let RootConfig {
            ceil,
            cburst,
            overcommit,
        } = *config.root(direction);
        let key = |name| format!("{} {name}", direction.key());
        put(&mut settings, key("ceil"), ceil);
        put(&mut settings, key("cburst"), burst(cburst));
        let scales = overcommit == qos::Overcommit::Scale;
        put(&mut settings, key("overcommit"), scales.then_some("scale"));
    }
    put(&mut settings, "flood ceil", config.flood.ceil);
    put(&mut settings, "flood pps", config.flood.pps);
    settings
}

/// What an uplink is, in the file's spelling.
pub(super) fn kind(kind: &UplinkKind) -> String {
    match kind {
        UplinkKind::Tap { name, .. } => format!("tap:{name}"),
        UplinkKind::Packet(name) => format!("packet:{name}"),
        UplinkKind::Macvtap(name) => format!("macvtap:{name}"),
        UplinkKind::None => "none".to_owned(),
    }
}

fn guest(guest: &GuestConfig, config: &Config) -> Settings {
    let mut settings = Settings::new();
    let met = match &guest.front_end {
        FrontEnd::Listen { path, .. } => ("socket", path.display().to_string()),
        FrontEnd::Connect { path } => ("connect", path.display().to_string()),
        FrontEnd::Fd(number) => ("fd", number.to_string()),
    };
    put(&mut settings, met.0, Some(met.1));
    if let FrontEnd::Listen { mode, group, .. } = &guest.front_end {
        put(&mut settings, "socket_mode", Some(format!("{mode:04o}")));
        put(&mut settings, "socket_group", *group);
    }
    let uplink = config.uplinks.get(guest.uplink);
    put(&mut settings, "uplink", uplink.map(|uplink| &uplink.name));
    put(
        &mut settings,
        "queues",
        (guest.queues != 1).then_some(guest.queues),
    );
    put(&mut settings, "mtu", guest.mtu);
    put(&mut settings, "mac", guest.mac);
    let addresses: Vec<_> = guest.addresses.iter().map(ToString::to_string).collect();
    let addresses = (!addresses.is_empty()).then(|| addresses.join(" "));
    put(&mut settings, "addresses", addresses);
    match &guest.vlan {
        VlanConfig::Transparent => {}
        VlanConfig::Access(vlan) => put(&mut settings, "vlan", Some(vlan)),
        VlanConfig::Trunk { vlans, native } => {
            let vlans: Vec<_> = vlans.iter().map(ToString::to_string).collect();
            put(&mut settings, "trunk", Some(vlans.join(" ")));
            put(&mut settings, "native", *native);
        }
    }
    put(&mut settings, "isolation", guest.isolation.as_ref());
    put(
        &mut settings,
        "coalesce",
        (!guest.coalesce).then_some(guest.coalesce),
    );
    let trust = |trusted: bool| trusted.then_some(true);
    put(
        &mut settings,
        "trust dhcp_server",
        trust(guest.trust.dhcp_server),
    );
    put(&mut settings, "trust router", trust(guest.trust.router));
    for direction in Direction::BOTH {
        tree(&mut settings, direction, guest.tree(direction));
    }
    settings
}

fn tree(settings: &mut Settings, direction: Direction, tree: &GuestTree) {
    for config in &tree.classes {
        let prefix = match tree.name(config.id) {
            None => direction.key().to_owned(),
            Some(name) => format!("{} {name}", direction.key()),
        };
        let parent = config.parent.and_then(|parent| tree.name(parent));
        put(settings, format!("{prefix} parent"), parent);
        class(settings, &prefix, config);
        // A class with nothing but defaults is there all the same.
        if tree.name(config.id).is_some() {
            put(settings, format!("{prefix} class"), Some("present"));
        }
    }
    if !tree.rules.programs.is_empty() {
        let rules = format!("{:?}", tree.rules);
        let count: usize = tree.rules.programs.iter().map(|it| it.rules.len()).sum();
        // Rules are many words; that they are others is what there is to know.
        let print = crc32fast::hash(rules.as_bytes());
        let words = format!("{count} (print {print:08x})");
        put(settings, format!("{} rules", direction.key()), Some(words));
    }
}

fn class(settings: &mut Settings, prefix: &str, class: &ClassConfig) {
    let key = |name: &str| format!("{prefix} {name}");
    put(settings, key("rate"), class.rate);
    put(settings, key("ceil"), class.ceil);
    put(settings, key("weight"), class.weight);
    put(
        settings,
        key("prio"),
        (class.prio != 0).then_some(class.prio),
    );
    put(settings, key("burst"), burst(class.burst));
    put(settings, key("cburst"), burst(class.cburst));
    put(settings, key("pps"), class.pps);
    let pps_burst = (class.pps_burst != PacketBurst::Auto).then_some(class.pps_burst);
    put(settings, key("ppsburst"), pps_burst);
    put(
        settings,
        key("overhead"),
        class.framing.map(|it| it.overhead),
    );
    put(settings, key("mpu"), class.framing.map(|it| it.mpu));
    put(settings, key("quantum"), class.quantum);
    put(settings, key("pace"), class.pace.then_some(true));
    match class.queue {
        LeafQueue::Hold => {}
        LeafQueue::Fifo { frames } => put(settings, key("queue"), Some(format!("fifo {frames}"))),
        LeafQueue::Flows(flows) => {
            let nanos = Burst::Duration;
            let words = format!(
                "flows: {} frames, {} buckets, target {}, interval {}",
                flows.frames,
                flows.buckets,
                nanos(flows.target_nanos),
                nanos(flows.interval_nanos)
            );
            put(settings, key("queue"), Some(words));
        }
    }
}

fn burst(burst: Burst) -> Option<Burst> {
    (burst != Burst::Auto).then_some(burst)
}

fn put(settings: &mut Settings, key: impl Into<String>, value: Option<impl ToString>) {
    if let Some(value) = value {
        settings.insert(key.into(), value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const OLD: &str = r#"
[uplink.wan]
kind = "none"
from_guest = { ceil = "300mbit" }
[guest.a]
socket = "/run/a.sock"
[guest.a.from_guest]
rate = "10mbit"
default = "bulk"
[[guest.a.from_guest.class]]
name = "voice"
rate = "5mbit"
[[guest.a.from_guest.class]]
name = "bulk"
[[guest.a.from_guest.rule]]
dscp = "EF"
class = "voice"
[guest.b]
socket = "/run/b.sock"
"#;

    fn compare(new: &str) -> Vec<Difference> {
        let parse = |text| Config::parse(Path::new("sample.toml"), text).unwrap();
        let (old, new) = (parse(OLD), parse(new));
        differences(&Diff::between(&old, &new), &old, &new)
    }

    fn edit(setting: &str, from: Option<&str>, to: Option<&str>) -> Edit {
        Edit {
            setting: setting.to_owned(),
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
        }
    }

    #[test]
    fn nothing_is_different_about_the_same() {
        assert_eq!(compare(OLD), []);
    }

    #[test]
    fn a_changed_class_is_named_with_its_setting() {
        let new = OLD.replace("rate = \"5mbit\"", "rate = \"6mbit\"\nprio = 1");
        let edits = vec![
            edit("from_guest voice prio", None, Some("1")),
            edit("from_guest voice rate", Some("5Mbit"), Some("6Mbit")),
        ];
        let guest = "a".to_owned();
        let ends_session = None;
        assert_eq!(
            compare(&new),
            [Difference::Changed {
                guest,
                edits,
                ends_session
            }]
        );
    }

    #[test]
    fn guests_and_uplinks_are_named() {
        let new = OLD
            .replace("guest.b", "guest.c")
            .replace("/run/b", "/run/c")
            .replace("300mbit", "200mbit");
        let uplink = Difference::Uplink {
            uplink: "wan".to_owned(),
            edits: vec![edit("from_guest ceil", Some("300Mbit"), Some("200Mbit"))],
        };
        let [gone, new] = [compare(&new)[1].clone(), compare(&new)[2].clone()]
            .map(|it| serde_json::to_value(it).unwrap());
        assert_eq!((&gone["guest"], &new["guest"]), (&"b".into(), &"c".into()));
        let changed = OLD.replace("300mbit", "200mbit");
        assert_eq!(compare(&changed), [uplink]);
    }

    #[test]
    fn other_rules_are_a_difference() {
        let differences = compare(&OLD.replace("\"EF\"", "\"CS5\""));
        let [Difference::Changed { edits, .. }] = &differences[..] else {
            panic!("{differences:?}");
        };
        assert_eq!(edits[0].setting, "from_guest rules");
        assert_ne!(edits[0].from, edits[0].to);
    }
}
