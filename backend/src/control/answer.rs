//! What is answered. Every answer begins with `"ok":true`, or is a [`Refusal`].

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::{Direction, RingReport};

/// The answer to `ping`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Pong {
    /// The version of the protocol that the daemon speaks.
    pub version: u32,
    /// The daemon's own version.
    pub daemon: String,
    /// How many configurations have been applied.
    pub generation: u64,
}

/// The answer to `rings`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Rings {
    /// Whose they are.
    pub guest: String,
    /// In the order of their numbers.
    pub rings: Vec<RingReport>,
}

/// The answer to `metrics`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Metrics {
    /// OpenMetrics text.
    pub text: String,
}

/// The answer to `trees`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Trees {
    /// The class trees, for people, 80 columns.
    pub text: String,
    /// How many configurations have been applied.
    pub generation: u64,
}

/// The answer to `sandbox`: what keeps the daemon from the host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Sandbox {
    /// Why there is no sandbox but the filters of system calls, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub none: Option<String>,
    /// How much of the rules for files, TCP and other processes the kernel holds: `full`,
    /// `partial(version N)`, or `none` and why.
    pub landlock: String,
    /// What becomes of a thread that makes a call it has no business with: `kill`, `log`, `off`, or
    /// `none` and why.
    pub seccomp: String,
    /// The daemon.
    pub daemon: ProcessState,
    /// The process that opens for it; absent if there is none, or it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opener: Option<ProcessState>,
}

/// What a process may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct ProcessState {
    /// Its number.
    pub pid: u32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// Its further groups.
    pub groups: Vec<u32>,
    /// What any of its threads has.
    pub capabilities: Capabilities,
    /// Whether no program that it starts can have more than it has itself.
    pub no_new_privs: bool,
    /// Whether it leaves core files, and others of its user may debug it.
    pub dumpable: bool,
    /// Its threads, the first one first.
    pub threads: Vec<ThreadState>,
}

/// Sets of capabilities, by the names of capabilities(7).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Capabilities {
    /// Kept over the start of a program that has them as well.
    pub inheritable: BTreeSet<String>,
    /// What may be used.
    pub permitted: BTreeSet<String>,
    /// What is used.
    pub effective: BTreeSet<String>,
    /// What no program can exceed.
    pub bounding: BTreeSet<String>,
    /// Kept over the start of any program.
    pub ambient: BTreeSet<String>,
}

/// What a thread may.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct ThreadState {
    /// Its number.
    pub id: i32,
    /// Its name.
    pub name: String,
    /// As what it has filters of its own; absent if it has none, or those of the thread that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Whether its system calls are looked at: `none`, `strict`, or `filter`.
    pub seccomp: String,
    /// By how many filters, if the kernel tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<u32>,
}

/// What a change came to, or would come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Applied {
    /// How many configurations have been applied, this one included.
    pub generation: u64,
    /// Whether nothing was changed, because a rehearsal was asked for.
    #[serde(default)]
    pub dry_run: bool,
    /// How many guests are new.
    pub added: usize,
    /// How many guests are gone.
    pub removed: usize,
    /// How many guests are served in another way.
    pub changed: usize,
    /// What is different, guest by guest.
    #[serde(default)]
    pub differences: Vec<Difference>,
}

/// What is different about one guest or uplink.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Difference {
    /// A guest is new.
    Added {
        /// Its name.
        guest: String,
    },
    /// A guest is gone.
    Removed {
        /// Its name.
        guest: String,
    },
    /// A guest is served in another way.
    Changed {
        /// Its name.
        guest: String,
        /// How.
        edits: Vec<Edit>,
        /// Why its session has to begin anew, if so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ends_session: Option<String>,
    },
    /// An uplink is another.
    Uplink {
        /// Its name.
        uplink: String,
        /// How.
        edits: Vec<Edit>,
    },
}

/// One setting that is different.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Edit {
    /// Where: `from_guest ceil`, `from_guest voice rate`, `mac` ...
    pub setting: String,
    /// What it was, in the file's spelling; absent if it was not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// Why a request was not carried out. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Refusal {
    /// What is in the way, and what to do.
    pub error: String,
    /// Only if someone else was faster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<Conflict>,
}

/// Someone else has changed something since.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Conflict {
    /// The generation that runs.
    pub generation: u64,
    /// What has changed since the one that was named, as far as that is remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differences: Option<Vec<Difference>>,
}

/// What a frame would meet.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Explanation {
    /// The guest.
    pub guest: String,
    /// Which way the frame would go.
    pub direction: Direction,
    /// What is done with it, step by step: checks, the switch, each rule that matches.
    pub steps: Vec<String>,
    /// The class it would be in, by its name in the guest's tree; absent if it is the guest's own, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Where it would go: `uplink`, `guest NAME`, `flood`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Why it would be dropped, if so, as the counters call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<String>,
}
