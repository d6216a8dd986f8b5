//! Which leaf of a class tree a frame belongs to, by rules over its headers.
//!
//! [`Headers`] are read once per frame, bounded in depth and never past the end. Every class may have a
//! [`ProgramConfig`]: [`Rule`]s tried in order, each with a [`Match`], [`Action`]s and what comes
//! [`Then`], and a default. A frame enters at the root or at any other class and is handed down,
//! program by program, until it is in a leaf or dropped. A [`Classifier`] is compiled from all of that
//! and costs little more with a hundred rules per class than with five.
//!
//! ```
//! use qos::classify::{
//!     Action, Classifier, ClassifierConfig, Fate, Headers, Match, ProgramConfig, Rule, rewrite,
//! };
//! use qos::{ClassConfig, ClassId, FrameShape, Framing, LimiterConfig, Time, TreeConfig};
//!
//! let (link, voice, bulk) = (ClassId::new(1, 0), ClassId::new(1, 1), ClassId::new(1, 2));
//! let tree = TreeConfig::new(vec![
//!     ClassConfig::new(link),
//!     ClassConfig::new(voice).parent(link),
//!     ClassConfig::new(bulk).parent(link),
//! ]);
//! let few = LimiterConfig {
//!     pps: Some("100pps".parse()?),
//!     ..LimiterConfig::default()
//! };
//! let rules = ProgramConfig::new(link)
//!     .rule(Rule::new(Match::all().tcp_flags("syn,!ack".parse()?)).action(Action::Police(few)))
//!     .rule(Rule::new(Match::all().dscp("EF".parse()?).length("0-300".parse()?)).class(voice))
//!     .rule(Rule::new(Match::all().source("192.0.2.0/24".parse()?)).action(Action::SetDscp("LE".parse()?)))
//!     .otherwise(bulk);
//! let mut classifier = Classifier::new(&tree, &ClassifierConfig::new(vec![rules]))?;
//!
//! // UDP from 192.0.2.1 with the code point AF11.
//! let mut frame = [0_u8; 60];
//! frame[12..34].copy_from_slice(&[
//!     0x08, 0x00, 0x45, 0x28, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
//! ]);
//! let headers = Headers::parse(&frame, 60, 0);
//! let cost = Framing::ETHERNET.cost(FrameShape::single(60));
//! let verdict = classifier.classify(&headers, cost, Time::ZERO).ok_or("the root has rules")?;
//! assert_eq!(verdict.fate, Fate::Leaf(bulk));
//!
//! rewrite::apply(&mut frame, &verdict);
//! assert_eq!(Headers::parse(&frame, 60, 0).dscp, Some("LE".parse()?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Bounds
//! At most [`MAX_RULES`] rules and [`MAX_MARK_MASKS`] masks on the mark per class, and at most
//! [`MAX_TABLE_BYTES`] for all tables. Of a frame at most two VLAN tags, eight extension headers and the
//! bytes that were given are looked at. A rule leads only to later rules and lower classes, so every
//! frame comes to an end.

mod bits;
mod check;
mod classifier;
mod compile;
mod dscp;
mod error;
mod field;
mod headers;
mod parse;
mod prefix;
mod program;
pub mod rewrite;
mod rows;
mod rule;
mod spelling;
mod table;
mod verdict;

pub use bits::{Mark, TcpFlags};
pub use classifier::{Classifier, Entry, RuleCounters};
pub use compile::{MAX_MARK_MASKS, MAX_RULES, MAX_TABLE_BYTES};
pub use dscp::Dscp;
pub use error::{ClassifierError, Position, SpellingError};
pub use headers::{Cipso, Fragment, Headers, VlanTag};
pub use prefix::Prefix;
pub use rule::{Action, CipsoMatch, ClassifierConfig, Match, ProgramConfig, Rule, Then};
pub use spelling::{Bound, EtherType, Protocol, Range};
pub use verdict::{DropReason, Fate, Place, Verdict};
