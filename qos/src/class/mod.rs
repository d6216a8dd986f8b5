//! What a class tree is, before anything runs: plain configuration, and its admission.
//!
//! A [`TreeConfig`] is a list of [`ClassConfig`]s in any order, made by hand, by the builder methods
//! or by whoever reads a file. [`TreeConfig::check`] is the admission: it says which class is wrong
//! and why, or that the tree can run.

mod config;
mod error;
mod id;
mod plan;
mod settings;
mod terms;
mod twins;

pub use config::{
    ClassConfig, DEFAULT_WEIGHT, FlowsConfig, LeafQueue, MAX_BUCKETS, MAX_DEPTH, Overcommit,
    Removed, TreeConfig,
};
pub use error::TreeError;
pub use id::{ClassId, ClassIdError};
pub(crate) use plan::{Plan, Planned};
pub(crate) use settings::{Family, Link, Member, Profile, Settings, check_alone, check_sum};
pub(crate) use terms::{Arrival, Terms, ticks};
pub(crate) use twins::check_limitless;
