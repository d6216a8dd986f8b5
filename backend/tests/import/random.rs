//! Whatever is given: nothing panics, and what is imported can be served.

use std::path::Path;

use netqos::config::Config;
use netqos::import::{Kind, import};
use proptest::prelude::*;

use crate::sample_text;

const SAMPLES: [(Kind, &str); 12] = [
    (Kind::Xl, "xl.cfg"),
    (Kind::Xl, "xl.txt"),
    (Kind::Tc, "tc-commands.txt"),
    (Kind::Tc, "tc-show.txt"),
    (Kind::CloudHypervisor, "cloud-hypervisor.txt"),
    (Kind::CloudHypervisor, "cloud-hypervisor.json"),
    (Kind::Firecracker, "firecracker.json"),
    (Kind::Ovs, "ovs-commands.txt"),
    (Kind::Ovs, "ovs-list.txt"),
    (Kind::Libvirt, "libvirt.xml"),
    (Kind::Openstack, "openstack.json"),
    (Kind::Openstack, "openstack-rules.json"),
];

/// What is imported loads, and as commands it is one line for each direction or a comment.
fn holds(kind: Kind, text: &str) -> Result<(), TestCaseError> {
    let Ok(imported) = import(kind, text) else {
        return Ok(());
    };
    let toml = imported.to_toml();
    let loaded = Config::parse(Path::new("imported.toml"), &toml);
    prop_assert!(loaded.is_ok(), "{kind}: {loaded:?}\n{text}\n{toml}");
    for line in imported.to_set().lines().chain(imported.to_unset().lines()) {
        prop_assert!(
            line.starts_with("# ") || line.starts_with("netqosctl set "),
            "{line}"
        );
    }
    Ok(())
}

/// One change of a text: some of its bytes become others.
#[derive(Clone, Debug)]
struct Change {
    at: prop::sample::Index,
    take: usize,
    put: String,
}

fn change() -> impl Strategy<Value = Change> {
    let words = prop::sample::select(vec![
        "",
        "0",
        "1",
        "-1",
        "9",
        "99999999999999999999",
        "18446744073709551615",
        "4294967296",
        "'",
        "\"",
        "{",
        "}",
        "[",
        "]",
        "<",
        ">",
        "/",
        "=",
        ",",
        ":",
        "--",
        "\n",
        "\\",
        "\\\n",
        "#",
        " ",
        "root",
        "1:10",
        "1:1",
        "none",
        "é",
        "\u{0}",
        "\u{7f}",
        "{n}",
        "rate=1b/s",
        "1bit",
        "33tbit",
    ]);
    let put = prop_oneof![4 => words.prop_map(str::to_owned), 1 => "\\PC{0,8}"];
    (any::<prop::sample::Index>(), 0..12_usize, put).prop_map(|(at, take, put)| Change {
        at,
        take,
        put,
    })
}

fn changed(text: &str, changes: &[Change]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for Change { at, take, put } in changes {
        let from = at.index(chars.len() + 1);
        let to = (from + take).min(chars.len());
        chars.splice(from..to, put.chars());
    }
    chars.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn garbage_is_refused_or_loads(text in "\\PC*", kind in 0..Kind::ALL.len()) {
        holds(Kind::ALL[kind], &text)?;
    }

    #[test]
    fn samples_with_slips_are_refused_or_load(
        sample in 0..SAMPLES.len(),
        changes in prop::collection::vec(change(), 1..6),
    ) {
        let (kind, name) = SAMPLES[sample];
        holds(kind, &changed(&sample_text(name), &changes))?;
    }
}
