//! `netqosctl`: the operator's tool. It tries class trees out; see `netqosctl help`.

mod draw;
mod json;
mod number;
mod simulate;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use simulate::Failure;

const ABOUT: &str = "Tries out how netqos-vhost shares a link.";

const SIMULATE_ABOUT: &str = "\
Simulates a class tree under given traffic, in virtual time.

Says what every class and every source got: rates, delays, losses. The link is
the tree's root; TCP senders are models (Reno, CUBIC, DCTCP) that answer losses
and marks. Equal files and seeds give equal figures.";

const SIMULATE_FILES: &str = "\
The tree, for example:
  [[class]]
  id = \"1:0\"          as in tc: hexadecimal
  name = \"uplink\"     optional
  ceil = \"1gbit\"      at the root: the speed of the link
  [[class]]
  id = \"1:10\"
  parent = \"uplink\"
  rate = \"100mbit\"    guaranteed
Also: ceil, weight, prio (0 to 3), burst, cburst, pps, ppsburst, overhead, mpu,
quantum, pace, and queue: \"hold\", \"fifo\" (fifo = FRAMES), or \"flows\" (a table
[class.flows] of frames, buckets, target, interval, ce_threshold).
For the whole tree: overcommit (\"reject\" or \"scale\"), frames, unit,
segment_nanos.

The traffic, for example:
  seconds = 20
  warm_up = \"5s\"      not counted
  [[source]]
  class = \"1:10\"
  kind = \"tcp\"
  flows = 4
Of tcp also: control (reno, cubic, dctcp), rtt, ecn, segments, autosize, mss,
headers, bytes, window. Other kinds: cbr (rate or interval, frame), on-off
(rate, on, off, frame), flood (frame). All have flows, start, stop.

Exit code: 0, 2 for a wrong command line or file, 1 for anything else.";

#[derive(Debug, Parser)]
#[command(name = "netqosctl", version, about = ABOUT)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Simulate a class tree under given traffic
    #[command(long_about = SIMULATE_ABOUT, after_long_help = SIMULATE_FILES)]
    Simulate(Simulate),
}

/// The command line of `netqosctl simulate`.
#[derive(Debug, Args)]
struct Simulate {
    /// The class tree, a TOML file
    tree: PathBuf,

    /// Who sends what, a TOML file
    traffic: PathBuf,

    /// Simulate this many seconds, whatever the file says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    seconds: Option<u64>,

    /// Seed of everything that looks random, whatever the file says
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Draw rates over time and delays into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Print everything as JSON, time series included
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let Command::Simulate(args) = Cli::parse().command;
    match simulate::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        // As with `head`: whoever reads has seen enough.
        Err(Failure::Print(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("netqosctl: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
