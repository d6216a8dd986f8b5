//! The plain structs that describe rules, and their builder methods.

use std::fmt;
use std::str::FromStr;

use super::bits::{Mark, TcpFlags};
use super::dscp::Dscp;
use super::error::SpellingError;
use super::prefix::Prefix;
use super::spelling::{EtherType, Protocol, Range, decimal};
use crate::class::ClassId;
use crate::limiter::LimiterConfig;

/// The sensitivity labels that a rule is for. Read from a domain, or a domain and levels: `5`, `5:3` or
/// `5:0-3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CipsoMatch {
    /// The domain of interpretation.
    pub doi: u32,
    /// The levels; absent: any, known or not.
    pub level: Option<Range<u8>>,
}

impl FromStr for CipsoMatch {
    type Err = SpellingError;

    fn from_str(text: &str) -> Result<Self, SpellingError> {
        let (doi, level) = match text.split_once(':') {
            Some((doi, level)) => (doi, Some(level.parse()?)),
            None => (text, None),
        };
        let doi = decimal(doi.trim()).ok_or_else(|| SpellingError::Cipso {
            input: text.to_owned(),
        })?;
        Ok(Self { doi, level })
    }
}

impl fmt::Display for CipsoMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Some(level) => write!(f, "{}:{level}", self.doi),
            None => write!(f, "{}", self.doi),
        }
    }
}

macro_rules! match_fields {
    ($($(#[$doc:meta])* $field:ident: $kind:ty,)*) => {
        /// Which frames a rule is for: those for which everything that is given holds. What a frame does not
        /// have equals nothing, so a rule for ports takes no fragment without any.
        ///
        /// All but the mark is matched against the frame as it came, whatever rules before have set.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Match {
            $($(#[$doc])* pub $field: Option<$kind>,)*
        }

        impl Match {
            /// Every frame.
            #[must_use]
            pub fn all() -> Self {
                Self::default()
            }

            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self#structfield.", stringify!($field), ").")]
                #[must_use]
                pub const fn $field(mut self, $field: $kind) -> Self {
                    self.$field = Some($field);
                    self
                }
            )*
        }
    };
}

match_fields! {
    /// The code point of an IP packet.
    dscp: Dscp,
    /// The id of the outer VLAN tag, 0 to 4095; 0 is that of a priority tag.
    vlan: u16,
    /// The priority in the outer VLAN tag, 0 to 7.
    vlan_priority: u8,
    /// What follows the VLAN tags.
    ethertype: EtherType,
    /// Where an IP packet is from.
    source: Prefix,
    /// Where an IP packet goes.
    destination: Prefix,
    /// What an IP packet carries.
    protocol: Protocol,
    /// The port it is from.
    source_port: Range<u16>,
    /// The port it goes to.
    destination_port: Range<u16>,
    /// The flags of a TCP segment.
    tcp_flags: TcpFlags,
    /// The length of the frame in bytes, from the destination address on, without FCS.
    length: Range<u32>,
    /// The mark as it is when the rule's turn comes.
    mark: Mark,
    /// The sensitivity label of an IPv4 packet.
    cipso: CipsoMatch,
    /// Whether it is a fragment of an IP packet.
    fragment: bool,
}

/// What a rule does to a frame before the frame moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Changes bits of the mark; rules after it see the new one.
    SetMark(Mark),
    /// Asks for another code point in the frame that goes out.
    SetDscp(Dscp),
    /// Asks for another priority, 0 to 7, in the outer VLAN tag of the frame that goes out.
    SetVlanPriority(u8),
    /// Lets the frame pass and charges it while the limits are open, and drops it otherwise. The limits
    /// are the rule's own.
    Police(LimiterConfig),
}

/// Where a frame goes that a rule has dealt with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Then {
    /// To the next rule that matches.
    #[default]
    Continue,
    /// To the first rule that matches from this number on, which is a later one. The first rule is 1.
    Goto(usize),
    /// To this class, below the one whose rule it is.
    Class(ClassId),
    /// Nowhere.
    Drop,
}

/// What happens to which frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Which frames it is for.
    pub matches: Match,
    /// What it does to them, in this order.
    pub actions: Vec<Action>,
    /// Where they go then.
    pub then: Then,
}

impl Rule {
    /// A rule that does nothing yet.
    #[must_use]
    pub fn new(matches: Match) -> Self {
        Self {
            matches,
            ..Self::default()
        }
    }

    /// Adds to [`actions`](Self::actions).
    #[must_use]
    pub fn action(mut self, action: Action) -> Self {
        self.actions.push(action);
        self
    }

    /// Ends in [`Then::Class`].
    #[must_use]
    pub fn class(mut self, class: ClassId) -> Self {
        self.then = Then::Class(class);
        self
    }

    /// Ends in [`Then::Goto`].
    #[must_use]
    pub fn goto(mut self, rule: usize) -> Self {
        self.then = Then::Goto(rule);
        self
    }

    /// Ends in [`Then::Drop`].
    #[must_use]
    pub fn discard(mut self) -> Self {
        self.then = Then::Drop;
        self
    }

    /// Whether no frame gets past it.
    pub(super) fn takes_all(&self) -> bool {
        self.matches == Match::default() && matches!(self.then, Then::Class(_) | Then::Drop)
    }
}

/// The rules of one class, which say which of the classes below it a frame belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramConfig {
    /// Whose rules they are.
    pub class: ClassId,
    /// The rules in the order in which they are tried; they are numbered from 1.
    pub rules: Vec<Rule>,
    /// The class below it for what no rule decides. A leaf has none: it keeps the rest itself.
    pub default: Option<ClassId>,
}

impl ProgramConfig {
    /// A class without rules and default.
    #[must_use]
    pub const fn new(class: ClassId) -> Self {
        Self {
            class,
            rules: Vec::new(),
            default: None,
        }
    }

    /// Adds to [`rules`](Self::rules).
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Sets [`default`](Self::default).
    #[must_use]
    pub const fn otherwise(mut self, class: ClassId) -> Self {
        self.default = Some(class);
        self
    }
}

/// The rules of a whole tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassifierConfig {
    /// The classes that have rules or a default, in any order.
    pub programs: Vec<ProgramConfig>,
}

impl ClassifierConfig {
    /// The rules of these classes.
    #[must_use]
    pub const fn new(programs: Vec<ProgramConfig>) -> Self {
        Self { programs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_a_domain_and_levels() {
        let label = |text: &str| text.parse::<CipsoMatch>();
        let level = Range::new(0, 3);
        assert_eq!(label("5:0-3"), Ok(CipsoMatch { doi: 5, level }));
        for text in ["5", "5:3", "4294967295:0-255"] {
            assert_eq!(
                label(text).map(|label| label.to_string()).as_deref(),
                Ok(text)
            );
        }
        for text in ["", ":3", "x", "-1", "4294967296"] {
            assert!(
                label(text).unwrap_err().to_string().contains("`5:0-3`"),
                "{text}"
            );
        }
        assert!(label("5:256").unwrap_err().to_string().contains("0 to 255"));
        assert!(label("5:").is_err());
    }

    #[test]
    fn only_rules_without_a_condition_that_end_take_every_frame() {
        let class = ClassId::new(1, 1);
        assert!(Rule::new(Match::all()).class(class).takes_all());
        assert!(Rule::new(Match::all()).discard().takes_all());
        assert!(!Rule::new(Match::all()).takes_all());
        assert!(
            !Rule::new(Match::all().fragment(false))
                .discard()
                .takes_all()
        );
    }
}
