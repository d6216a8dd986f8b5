//! A class tree tried out in virtual time: sources feed its leaves, TCP among them, a link takes what
//! the engine grants, and a [`Report`] says who got what, how late, and what was lost.
//!
//! Nothing here looks at a clock or does I/O: a [`Scenario`] and its seed decide every figure.
//!
//! ```
//! use qos::sim::{Cbr, Flood, Pace, Scenario, Source, Traffic};
//! use qos::{ClassConfig, ClassId, TreeConfig};
//!
//! let (link, voice, bulk) = (ClassId::new(1, 0), ClassId::new(1, 1), ClassId::new(1, 2));
//! let tree = TreeConfig::new(vec![
//!     ClassConfig::new(link).ceil("10mbit".parse()?),
//!     ClassConfig::new(voice).parent(link).rate("1mbit".parse()?),
//!     ClassConfig::new(bulk).parent(link),
//! ]);
//! let call = Cbr { pace: Pace::Rate("500kbit".parse()?), frame: 214 };
//! let report = qos::sim::run(&Scenario::new(tree, vec![
//!     Source::new(voice, Traffic::Cbr(call)),
//!     Source::new(bulk, Traffic::Flood(Flood { frame: 1514 })),
//! ]))?;
//! let voice = report.class(voice).ok_or("it is in the tree")?;
//! // A guaranteed frame waits for one frame of the others at most.
//! assert!(voice.lost == 0 && voice.delay.max < 1_300_000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
// No guest's input comes here: `Scenario::check` bounds every quantity, and all indices are our own.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod control;
mod events;
mod flow;
mod histogram;
mod link;
mod meter;
mod random;
mod report;
mod scenario;
mod tcp;
mod world;

pub use histogram::Delays;
pub use report::{ClassReport, Report, SourceReport};
pub use scenario::{
    Cbr, Control, Flood, MAX_NANOS, OnOff, Pace, Scenario, ScenarioError, Source, Tcp, Traffic,
};

/// Simulates.
///
/// # Errors
/// The scenario makes no sense; see [`Scenario::check`].
pub fn run(scenario: &Scenario) -> Result<Report, ScenarioError> {
    scenario.check()?;
    let link = scenario.link()?;
    let mut world = world::World::new(scenario)?;
    world.run();
    Ok(Report::new(scenario, link, world))
}
