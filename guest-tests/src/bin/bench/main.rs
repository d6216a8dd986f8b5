//! `bench`, run by `ci/bench`: measures the daemon beside its alternatives on this machine.
//!
//! Standard output has one figure a line, `name value unit`, and nothing else; progress and errors go to
//! standard error. Contenders take turns within a round, so that what the machine does meanwhile falls on
//! all of them: figures are medians over the rounds, ratios the medians of each round's ratio.

mod behind;
mod carry;
mod choice;
mod coalesce;
mod cpu;
mod figures;
mod guest;
mod latency;
mod local;
mod ours;
mod path;
mod peers;
mod qos;
mod qos_peers;
mod race;
mod receive;
mod ring;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use guest_tests::{Error, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Measures the daemon beside its alternatives; prints one figure a line, `name value unit`.
#[derive(Debug, Parser)]
#[command(name = "bench", bin_name = "ci/bench")]
struct Args {
    /// What to measure; everything if nothing is named
    #[arg(value_name = "NAME", value_parser = BENCHMARKS.map(|benchmark| benchmark.name))]
    names: Vec<String>,

    /// Say what can be measured
    #[arg(long)]
    list: bool,

    /// Make the instruction counts of `qos` those that later ones are compared with
    #[arg(long)]
    record: bool,

    #[command(flatten)]
    choice: choice::Choice,
}

struct Benchmark {
    name: &'static str,
    what: &'static str,
    run: fn(&Stop, &Args) -> Result<()>,
}

const BENCHMARKS: [Benchmark; 11] = [
    Benchmark {
        name: "path",
        what: "guest to tap: unlimited, limited, among many classes and guests, and Open vSwitch with DPDK",
        run: |stop, args| path::run(stop, &args.choice),
    },
    Benchmark {
        name: "receive",
        what: "tap to guest, beside Open vSwitch and testpmd",
        run: |stop, args| receive::run(stop, &args.choice),
    },
    Benchmark {
        name: "coalesce",
        what: "segments of one bulk transfer, guest to tap, beside Open vSwitch and testpmd",
        run: |stop, args| coalesce::run(stop, &args.choice),
    },
    Benchmark {
        name: "local",
        what: "two guests that send to each other, beside Open vSwitch and testpmd",
        run: |stop, args| local::run(stop, &args.choice),
    },
    Benchmark {
        name: "ring",
        what: "a guest's frames into nowhere, beside DPDK's vhost",
        run: |stop, args| ring::run(stop, &args.choice),
    },
    Benchmark {
        name: "peers",
        what: "the same beside testpmd and the kernel's own floor",
        run: |stop, args| peers::run(stop, &args.choice),
    },
    Benchmark {
        name: "latency",
        what: "one request at a time, beside Open vSwitch and QEMU's own virtio-net",
        run: |stop, args| latency::run(stop, &args.choice),
    },
    Benchmark {
        name: "cpu",
        what: "processor time for what is carried, and for nothing, beside Open vSwitch",
        run: |stop, args| cpu::run(stop, &args.choice),
    },
    Benchmark {
        name: "guest",
        what: "TCP from and to a QEMU guest, beside QEMU's own virtio-net",
        run: |stop, args| guest::run(stop, &args.choice),
    },
    Benchmark {
        name: "qos",
        what: "the scheduler alone: nanoseconds and instructions per frame",
        run: |stop, args| qos::run(stop, args.record),
    },
    Benchmark {
        name: "qos-peers",
        what: "the same beside DPDK's rte_sched and textbook models",
        run: |stop, _| qos_peers::run(stop),
    },
];

/// Whether the user wants to stop.
#[derive(Debug, Default)]
struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Takes over the signals that would end us with processes and huge pages left behind.
    fn on_signals() -> std::io::Result<Self> {
        let stop = Self::default();
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stop.0))?;
        }
        Ok(stop)
    }

    /// Asked between two measurements, which take some seconds each.
    fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Error::Setup("stopped"));
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        for benchmark in &BENCHMARKS {
            eprintln!("{:10}{}", benchmark.name, benchmark.what);
        }
        return ExitCode::SUCCESS;
    }
    let wanted = |name: &str| args.names.is_empty() || args.names.iter().any(|given| given == name);
    let stop = match Stop::on_signals() {
        Ok(stop) => stop,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    for benchmark in BENCHMARKS.iter().filter(|benchmark| wanted(benchmark.name)) {
        eprintln!("==> {}: {}", benchmark.name, benchmark.what);
        if let Err(error) = (benchmark.run)(&stop, &args) {
            eprintln!("error: {}: {error}", benchmark.name);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
