//! Our daemon with one guest on a tap, and what else it may have to look after.

use std::fmt::Write;

use guest_tests::peers::Cores;
use guest_tests::{Daemon, Namespace, Result};

/// The interface that the guest's frames leave by.
pub(crate) const TAP: &str = "tap0";
/// The guest that sends.
pub(crate) const GUEST: &str = "vm1";
const MANY: usize = 1000;

/// What the daemon is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limits {
    /// Nothing.
    None,
    /// One limit, which does not bind.
    Loose,
    /// The same over a thousand classes, each but one with a rule, of which none is met.
    Tree,
    /// The same, and a thousand other guests with limits that nobody has connected.
    Fleet,
}

impl Limits {
    pub(crate) fn start(self, namespace: &Namespace, cores: Cores) -> Result<Daemon> {
        let builder = Daemon::new(namespace);
        let builder = match self {
            Self::None => builder.port(GUEST, TAP),
            Self::Loose => builder.port(GUEST, TAP).args(["--rate", "100gbit"]),
            Self::Tree => builder.config(&tree()).expect_socket(GUEST),
            Self::Fleet => builder.config(&fleet()).expect_socket(GUEST),
        };
        let mut daemon = builder.start()?;
        cores.pin_backend(daemon.process().pid())?;
        Ok(daemon)
    }
}

fn tree() -> String {
    let mut text = format!(
        "[uplink.lan]\nkind = \"tap:{TAP}\"\n[guest.{GUEST}]\n[guest.{GUEST}.from_guest]\n\
         ceil = \"100gbit\"\ndefault = \"c0\"\nclass = [\n"
    );
    for class in 0..MANY {
        let _ = writeln!(text, "{{ name = \"c{class}\" }},");
    }
    text.push_str("]\nrule = [\n");
    // The generators send UDP; their TCP has other ports.
    for class in 1..MANY {
        let _ = writeln!(
            text,
            "{{ protocol = \"tcp\", destination_port = {}, class = \"c{class}\" }},",
            20_000 + class
        );
    }
    text.push_str("]\n");
    text
}

fn fleet() -> String {
    let limits = "from_guest = { ceil = \"100gbit\" }\n";
    format!(
        "[uplink.lan]\nkind = \"tap:{TAP}\"\n[guest.{GUEST}]\n{limits}\
         [guest.\"other{{n}}\"]\nfirst = 1\ncount = {MANY}\nmac = \"52:54:00:00:00:00\"\n{limits}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_as_many_classes_as_it_says() {
        let text = tree();
        assert_eq!(text.matches("{ name = ").count(), MANY);
        assert_eq!(text.matches("{ protocol = ").count(), MANY - 1);
    }
}
