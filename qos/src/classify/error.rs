//! Why a spelling or a set of rules was refused, in words for whoever wrote it.

use std::fmt;

use super::compile::{MAX_MARK_MASKS, MAX_RULES, MAX_TABLE_BYTES};
use crate::class::{ClassId, TreeError};

/// A text that does not say what to match. Always the writer's fault: refuse the configuration and
/// show the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpellingError {
    /// No code point is called so.
    #[error(
        "`{input}` is not a DSCP: write EF, VA, CS0 to CS7, AF11 to AF13, AF21 to AF23, AF31 to AF33, \
         AF41 to AF43, BE or DF (0), LE (1), or a number from 0 to 63"
    )]
    Dscp {
        /// What was written.
        input: String,
    },
    /// No address, or no length after the slash.
    #[error("`{input}` is not a prefix: write for example 192.0.2.0/24 or 2001:db8::/32")]
    Prefix {
        /// What was written.
        input: String,
    },
    /// Longer than the address.
    #[error("`{input}` has too long a prefix: addresses of this family have {bits} bits")]
    PrefixLength {
        /// What was written.
        input: String,
        /// Bits of an address of its family.
        bits: u8,
    },
    /// The address says more than the length keeps.
    #[error(
        "`{input}` has address bits set beyond its prefix length: write {network}, or a longer length"
    )]
    HostBits {
        /// What was written.
        input: String,
        /// The prefix without them.
        network: String,
    },
    /// Not a number nor two with a hyphen between them.
    #[error("`{input}` is not a range: write a number, or first-last, of 0 to {most}")]
    Range {
        /// What was written.
        input: String,
        /// The largest number this range may have.
        most: u32,
    },
    /// Ends before it begins.
    #[error("`{input}` is an empty range: the first number must not be above the last")]
    EmptyRange {
        /// What was written.
        input: String,
    },
    /// No protocol is called so.
    #[error(
        "`{input}` is not a protocol: write tcp, udp, icmp, icmpv6, sctp, gre, esp, or a number from \
         0 to 255"
    )]
    Protocol {
        /// What was written.
        input: String,
    },
    /// No EtherType is called so, or it is a length.
    #[error(
        "`{input}` is not an EtherType: write ipv4, ipv6, arp, or a number from 0x0600 to 0xffff"
    )]
    EtherType {
        /// What was written.
        input: String,
    },
    /// Not a list of flags.
    #[error(
        "`{input}` is not a list of TCP flags: write fin, syn, rst, psh, ack, urg, ece or cwr, with \
         commas between them and ! before those that must not be set, for example `syn,!ack`"
    )]
    TcpFlags {
        /// What was written.
        input: String,
    },
    /// One flag both set and not set.
    #[error("`{input}` wants {flag} both set and not set: name every flag once")]
    FlagTwice {
        /// What was written.
        input: String,
        /// The flag.
        flag: &'static str,
    },
    /// Not a domain with or without levels.
    #[error("`{input}` is not a label: write a domain, or domain:levels, for example `5:0-3`")]
    Cipso {
        /// What was written.
        input: String,
    },
    /// Not a mark with or without a mask.
    #[error("`{input}` is not a mark: write a value, or value/mask, for example `0x10/0xff`")]
    Mark {
        /// What was written.
        input: String,
    },
    /// The value has bits that the mask does not look at.
    #[error("`{input}` has mark bits outside of its mask: no mark can be so; widen the mask")]
    MarkOutsideMask {
        /// What was written.
        input: String,
    },
}

/// Where in a program something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The rule of this number; the first is 1.
    Rule(usize),
    /// What applies when no rule decides.
    Default,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(number) => write!(f, "rule {number}"),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// Rules that cannot run on this tree. Always the writer's fault: keep what runs and show the
/// message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassifierError {
    /// The tree itself is refused.
    #[error("the rules cannot be checked against an unsound tree: {0}")]
    Tree(#[from] TreeError),
    /// Rules of a class that does not exist.
    #[error("class {class} has rules, but the tree has no such class: define it, or remove them")]
    UnknownClass {
        /// The missing class.
        class: ClassId,
    },
    /// Two programs of one class.
    #[error("class {class} has rules twice: put them in one list")]
    Duplicate {
        /// The class.
        class: ClassId,
    },
    /// More rules than a class may have.
    #[error(
        "class {class} has {rules} rules: a class has at most {MAX_RULES}; hand part of the frames to \
         a class below and put the rest of the rules there"
    )]
    TooManyRules {
        /// The class.
        class: ClassId,
        /// How many it has.
        rules: usize,
    },
    /// The tables of all rules together would be too large.
    #[error(
        "class {class} takes the tables of all rules beyond {} MiB: use fewer rules, or fewer \
         different addresses and ranges", MAX_TABLE_BYTES >> 20
    )]
    TooLarge {
        /// The class at which the limit was passed.
        class: ClassId,
    },
    /// Too many different masks on the mark.
    #[error(
        "class {class}, rule {rule}: this is one mask on the mark too many; the rules of a class use \
         at most {MAX_MARK_MASKS} different ones"
    )]
    TooManyMasks {
        /// The class.
        class: ClassId,
        /// The first rule beyond the limit.
        rule: usize,
    },
    /// A jump to itself or back, which might never end.
    #[error(
        "class {class}, rule {rule}: goto {target} does not lead forward; the target must be a later \
         rule of the same class"
    )]
    BackwardGoto {
        /// The class.
        class: ClassId,
        /// The rule that jumps.
        rule: usize,
        /// Where to.
        target: usize,
    },
    /// A jump to a rule that is not there.
    #[error("class {class}, rule {rule}: goto {target}, but the class has only {rules} rules")]
    GotoBeyondEnd {
        /// The class.
        class: ClassId,
        /// The rule that jumps.
        rule: usize,
        /// Where to.
        target: usize,
        /// How many rules there are.
        rules: usize,
    },
    /// Frames handed to a class that does not exist.
    #[error(
        "class {class}, {position}: the tree has no class {target}: define it, or name another"
    )]
    UnknownTarget {
        /// The class whose rules these are.
        class: ClassId,
        /// Where among them.
        position: Position,
        /// The missing class.
        target: ClassId,
    },
    /// Frames handed up, sideways or to itself.
    #[error(
        "class {class}, {position}: class {target} does not lie below class {class}; rules hand \
         frames only downwards"
    )]
    NotBelow {
        /// The class whose rules these are.
        class: ClassId,
        /// Where among them.
        position: Position,
        /// The class that is not below it.
        target: ClassId,
    },
    /// Frames handed to a class that has children and does not say to which they go.
    #[error(
        "class {class}, {position}: class {target} has children but neither rules nor a default, and \
         a frame must end in a leaf: name one of its leaves, or give it a default"
    )]
    NoProgram {
        /// The class whose rules these are.
        class: ClassId,
        /// Where among them.
        position: Position,
        /// The class without rules.
        target: ClassId,
    },
    /// Frames that no rule decides would go nowhere.
    #[error(
        "class {class} has no default, and its last rule is not one that takes or drops every frame: \
         name the class below it that gets the rest"
    )]
    NoDefault {
        /// The class.
        class: ClassId,
    },
    /// A number that the field cannot hold.
    #[error("class {class}, rule {rule}: {what} {value} is too large; write 0 to {most}")]
    OutOfRange {
        /// The class.
        class: ClassId,
        /// The rule.
        rule: usize,
        /// What it is.
        what: &'static str,
        /// What was written.
        value: u16,
        /// The largest there is.
        most: u16,
    },
    /// Police that let everything pass.
    #[error("class {class}, rule {rule}: police has neither rate nor pps; write one of them")]
    PoliceWithoutLimit {
        /// The class.
        class: ClassId,
        /// The rule.
        rule: usize,
    },
}
