//! What the harness and its program in the guest say to each other: one JSON value a line over a
//! virtio-serial port, and the reports of the traffic generators.

use serde::{Deserialize, Serialize};

/// Name of the virtio-serial port that carries jobs.
pub const JOB_PORT: &str = "netqos.jobs";

/// From the harness to the guest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// Run a shell script in a process group of its own.
    Run {
        /// Names the job in later messages.
        id: u64,
        /// The script, for `sh -c`.
        script: String,
    },
    /// Kill a job's process group; its [`Reply::Done`] still comes.
    Kill {
        /// The job.
        id: u64,
    },
}

/// From the guest to the harness.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Reply {
    /// The guest has booted and takes jobs.
    Ready,
    /// A job has ended.
    Done {
        /// The job.
        id: u64,
        /// How it ended.
        output: Output,
    },
}

/// How a job ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Output {
    /// Exit status, or 128 and the signal's number.
    pub status: i32,
    /// Standard output, lossily decoded.
    pub stdout: String,
    /// Standard error, lossily decoded.
    pub stderr: String,
}

/// What one side of a TCP transfer counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamReport {
    /// Bytes sent or received.
    pub bytes: u64,
    /// SHA-256 of those bytes, in hexadecimal.
    pub sha256: String,
}

/// What the receiver of numbered datagrams saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatagramReport {
    /// Intact datagrams, duplicates included.
    pub received: u64,
    /// Numbers that never came, of those the sender was to send.
    pub missing: u64,
    /// Datagrams whose number had been seen before.
    pub duplicated: u64,
    /// Datagrams that came after one with a higher number.
    pub reordered: u64,
    /// Datagrams whose length or checksum was wrong.
    pub corrupted: u64,
}
