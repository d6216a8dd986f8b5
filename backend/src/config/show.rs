//! What `--check` prints: the tree of each uplink and direction, by name, for 80 columns.

use std::collections::BTreeMap;
use std::fmt::Write;

use qos::{Burst, ClassConfig, ClassId, LeafQueue, Overcommit, PacketBurst};

use super::{Config, Direction, GuestConfig, GuestTree, RootConfig, UplinkConfig, UplinkKind};

/// Columns that a line has at most.
const WIDTH: usize = 80;

/// Columns of one level of the tree.
const STEP: usize = 2;

/// A class as it is shown: its name, its settings, and what lies below.
type Children<'a> = BTreeMap<ClassId, Vec<&'a ClassConfig>>;

impl Config {
    /// The trees as text, ending with how many of everything there are.
    #[must_use]
    pub fn trees(&self) -> String {
        let mut text = String::new();
        for (position, uplink) in self.uplinks.iter().enumerate() {
            for direction in Direction::BOTH {
                let guests: Vec<_> = self.guests_of(position).collect();
                tree(&mut text, uplink, direction, &guests);
            }
        }
        let classes = |guest: &GuestConfig| {
            let both = Direction::BOTH.map(|direction| guest.tree(direction).classes.len());
            both.iter().sum::<usize>()
        };
        let classes: usize = self.guests.iter().map(classes).sum();
        let counts = [
            count(self.uplinks.len(), "uplink", "uplinks"),
            count(self.guests.len(), "guest", "guests"),
            count(classes, "class", "classes"),
        ];
        text.push_str(&counts.join(", "));
        text.push_str(": all in order\n");
        text
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// One uplink's tree of one direction.
fn tree(text: &mut String, uplink: &UplinkConfig, direction: Direction, guests: &[&GuestConfig]) {
    let title = format!(
        "{} of uplink {} ({})",
        direction.key(),
        uplink.name,
        kind(&uplink.kind)
    );
    line(text, 0, &title, &root(uplink.root(direction)));
    // Neighbours that are alike but for their names are shown once.
    let alike = guests.chunk_by(|a, b| a.tree(direction) == b.tree(direction));
    for guests in alike {
        if let [first, rest @ ..] = guests {
            let more = match rest {
                [] => String::new(),
                [one] => format!(" and {}", one.name),
                [.., last] => format!(" and {} more like it, to {}", rest.len(), last.name),
            };
            let title = format!("{}{more}", first.name);
            guest(text, &title, first.tree(direction));
        }
    }
    text.push('\n');
}

fn guest(text: &mut String, title: &str, tree: &GuestTree) {
    let mut children = Children::new();
    let mut own = None;
    for class in &tree.classes {
        match class.parent {
            None => own = Some(class),
            Some(parent) => children.entry(parent).or_default().push(class),
        }
    }
    if let Some(own) = own {
        class(text, STEP, title, own, tree, &children);
    }
}

fn class(
    text: &mut String,
    indent: usize,
    title: &str,
    config: &ClassConfig,
    tree: &GuestTree,
    children: &Children<'_>,
) {
    let below = children.get(&config.id);
    line(text, indent, title, &settings(config, below.is_none()));
    rules(text, indent + STEP, config.id, tree);
    for child in below.into_iter().flatten() {
        let name = tree.name(child.id).unwrap_or("?");
        class(text, indent + STEP, name, child, tree, children);
    }
}

/// How frames find their class.
fn rules(text: &mut String, indent: usize, class: ClassId, tree: &GuestTree) {
    let program = tree.rules.programs.iter().find(|it| it.class == class);
    let Some(program) = program else { return };
    let mut words = Vec::new();
    if !program.rules.is_empty() {
        words.push(count(program.rules.len(), "rule", "rules"));
    }
    if let Some(default) = program.default {
        words.push(format!("the rest to {}", tree.name(default).unwrap_or("?")));
    }
    line(text, indent, "by", &[words.join(", ")]);
}

fn kind(kind: &UplinkKind) -> String {
    match kind {
        UplinkKind::Tap { name, bridge: None } => format!("tap {name}"),
        UplinkKind::Tap {
            name,
            bridge: Some(bridge),
        } => format!("tap {name} in {bridge}"),
        UplinkKind::Packet(name) => format!("packet {name}"),
        UplinkKind::Macvtap(name) => format!("macvtap on {name}"),
        UplinkKind::None => "none".to_owned(),
    }
}

fn root(root: &RootConfig) -> Vec<String> {
    let mut words = match root.ceil {
        Some(ceil) => vec![format!("ceil {ceil}")],
        None => vec!["unlimited".to_owned()],
    };
    if root.cburst != Burst::Auto {
        words.push(format!("cburst {}", root.cburst));
    }
    if root.overcommit == Overcommit::Scale {
        words.push("overcommit scale".to_owned());
    }
    words
}

/// The settings that are not the default; what limits it even if nothing does.
fn settings(class: &ClassConfig, is_leaf: bool) -> Vec<String> {
    let mut words = Vec::new();
    let mut say = |key: &str, value: Option<String>| {
        words.extend(value.map(|value| format!("{key} {value}")));
    };
    say("rate", class.rate.map(|rate| rate.to_string()));
    let burst = |burst: Burst| (burst != Burst::Auto).then(|| burst.to_string());
    say("burst", burst(class.burst));
    say("ceil", class.ceil.map(|ceil| ceil.to_string()));
    say("cburst", burst(class.cburst));
    say("pps", class.pps.map(|pps| pps.to_string()));
    let pps_burst = class.pps_burst;
    let pps_burst = (pps_burst != PacketBurst::Auto).then(|| pps_burst.to_string());
    say("ppsburst", pps_burst);
    say("weight", class.weight.map(|weight| weight.to_string()));
    let prio = (class.prio != 0).then(|| class.prio.to_string());
    say("prio", prio);
    say("overhead", class.framing.map(|it| it.overhead.to_string()));
    say("mpu", class.framing.map(|it| it.mpu.to_string()));
    say("quantum", class.quantum.map(|quantum| quantum.to_string()));
    if class.pace {
        words.push("pace".to_owned());
    }
    if is_leaf {
        words.push(queue(&class.queue));
    }
    if class.rate.is_none() && class.ceil.is_none() && class.pps.is_none() {
        words.insert(0, "unlimited".to_owned());
    }
    words
}

fn queue(queue: &LeafQueue) -> String {
    let nanos = |nanos: u64| Burst::Duration(nanos);
    match queue {
        LeafQueue::Hold => "hold".to_owned(),
        LeafQueue::Fifo { frames } => format!("fifo of {frames} frames"),
        LeafQueue::Flows(flows) => {
            let mut words = "flows".to_owned();
            let usual = qos::FlowsConfig::default();
            if *flows != usual {
                // Writing to a string cannot fail.
                let _ = write!(
                    words,
                    " of {} frames, {} to {}",
                    flows.frames,
                    nanos(flows.target_nanos),
                    nanos(flows.interval_nanos)
                );
            }
            words
        }
    }
}

/// A name, and what is said about it; what does not fit goes below, further in.
fn line(text: &mut String, indent: usize, name: &str, words: &[String]) {
    let [first, rest] = [indent, indent + 2 * STEP].map(|width| " ".repeat(width));
    let options = textwrap::Options::new(WIDTH)
        .initial_indent(&first)
        .subsequent_indent(&rest);
    let words = format!("{name}: {}", words.join(", "));
    text.push_str(&textwrap::fill(&words, options));
    text.push('\n');
}
