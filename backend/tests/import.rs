//! Limits of other tools, imported: each sample is read, written as a configuration, read again by the
//! daemon's parser, and comes to what its source means.

#[path = "import/bad.rs"]
mod bad;
#[path = "import/command.rs"]
mod command;
#[path = "import/hook.rs"]
mod hook;
#[path = "import/order.rs"]
mod order;
#[path = "import/random.rs"]
mod random;
#[path = "import/samples.rs"]
mod samples;

use std::path::{Path, PathBuf};

use netqos::config::{Config, Direction, GuestConfig};
use netqos::import::{Kind, import};
use qos::ClassConfig;

/// A sample of this name.
fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/import")
        .join(name)
}

fn sample_text(name: &str) -> String {
    std::fs::read_to_string(sample(name)).expect("the sample is there")
}

/// What the daemon makes of what is imported.
fn config(kind: Kind, text: &str) -> Config {
    let imported = import(kind, text).unwrap_or_else(|error| panic!("{kind}: {error}\n{text}"));
    let toml = imported.to_toml();
    Config::parse(Path::new("imported.toml"), &toml)
        .unwrap_or_else(|error| panic!("{kind}: {error}\n{text}\n{toml}"))
}

fn guest<'a>(config: &'a Config, name: &str) -> &'a GuestConfig {
    let mut guests = config.guests.iter();
    let found = guests.find(|guest| guest.name == name);
    found.unwrap_or_else(|| panic!("no guest {name}"))
}

/// A class of a guest in words; the guest's own has no name.
fn limits(guest: &GuestConfig, direction: Direction, class: &str) -> String {
    let tree = guest.tree(direction);
    let is = |it: &&ClassConfig| tree.name(it.id).unwrap_or("") == class;
    let class = tree
        .classes
        .iter()
        .find(is)
        .expect("the guest has the class");
    let mut words = Vec::new();
    let mut say = |key: &str, value: Option<String>| {
        words.extend(value.map(|value| format!("{key} {value}")));
    };
    let burst = |burst: qos::Burst| (burst != qos::Burst::Auto).then(|| format!("{burst:?}"));
    say(
        "rate",
        class.rate.map(|it| it.bits_per_second().to_string()),
    );
    say("burst", burst(class.burst));
    say(
        "ceil",
        class.ceil.map(|it| it.bits_per_second().to_string()),
    );
    say("cburst", burst(class.cburst));
    say(
        "pps",
        class.pps.map(|it| it.segments_per_second().to_string()),
    );
    let pps_burst = Some(class.pps_burst).filter(|it| *it != qos::PacketBurst::Auto);
    say("ppsburst", pps_burst.map(|it| format!("{it:?}")));
    say("weight", class.weight.map(|it| it.to_string()));
    say("prio", (class.prio > 0).then(|| class.prio.to_string()));
    let framing = |it: qos::Framing| format!("{} least {}", it.overhead, it.mpu);
    say("overhead", class.framing.map(framing));
    words.join(", ")
}
