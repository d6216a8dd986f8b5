//! `netqosctl simulate`: reads the files, simulates, and has the result printed and drawn.

use std::io::{self, Write};
use std::path::PathBuf;

use netqos::file::traffic::Instead;
use netqos::file::{FileError, TrafficFile, TreeFile};
use netqos::import::ImportError;
use qos::sim::ScenarioError;
use thiserror::Error;

use crate::cli::Simulate;
use crate::draw::{self, DrawError};
use crate::{json, table};

/// Why there is no result.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// A file is wrong: the operator mends it.
    #[error(transparent)]
    File(#[from] FileError),
    /// What is to be imported cannot be.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// Files that fit by themselves do not fit together.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The picture cannot be written.
    #[error("{}: {source}", path.display())]
    Draw {
        /// Where to.
        path: PathBuf,
        /// Why.
        source: DrawError,
    },
    /// The result cannot be printed.
    #[error("cannot print the result: {0}")]
    Print(#[from] io::Error),
}

impl Failure {
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::File(_) | Self::Import(_) | Self::Scenario(_) => 2,
            Self::Draw { .. } | Self::Print(_) => 1,
        }
    }
}

pub(crate) fn run(args: &Simulate) -> Result<(), Failure> {
    let tree = TreeFile::load(&args.tree)?;
    let instead = Instead {
        seconds: args.seconds,
        seed: args.seed,
    };
    let traffic = TrafficFile::load(&args.traffic, &tree, instead)?;
    let report = qos::sim::run(&traffic.scenario)?;
    let mut out = io::stdout().lock();
    if args.json {
        json::print(&mut out, &tree, &report)?;
    } else {
        table::print(&mut out, &tree, &traffic.scenario, &report)?;
    }
    out.flush()?;
    if let Some(path) = &args.svg {
        let drawn = draw::svg(path, &tree, &report);
        drawn.map_err(|source| Failure::Draw {
            path: path.clone(),
            source,
        })?;
    }
    Ok(())
}
