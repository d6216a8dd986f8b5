//! `ci/demo`: a real guest behind the daemon, limited and measured in both directions, as a table, then three
//! that share an uplink, as a chart; or, with `--keep`, a guest whose console the reader gets.

mod console;
mod measure;
mod sharing;
mod supervise;
mod table;
mod verdict;

use std::process::ExitCode;

use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use guest_tests::{Kernel, QemuVersion, Result};

use crate::measure::{Limit, Measured, Setup};

/// Shows netqos-vhost limiting a real QEMU guest.
#[derive(Debug, Parser)]
#[command(name = "ci/demo")]
struct Args {
    /// The guest's QEMU
    #[arg(long, value_name = "VERSION", default_value = "10.0", value_parser = qemu_versions())]
    qemu: QemuVersion,

    /// The guest's Linux
    #[arg(long, value_name = "VERSION", default_value = "6.12", value_parser = kernels())]
    kernel: Kernel,

    /// How long each direction is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(4..=600))]
    seconds: u32,

    /// Do not measure: give me the guest's console
    #[arg(long)]
    keep: bool,

    /// The limit of the guest of --keep
    #[arg(
        long,
        value_name = "RATE",
        default_value = "100mbit",
        requires = "keep"
    )]
    rate: String,

    /// Set by the process that cleans up after this one
    #[arg(long, hide = true)]
    supervised: bool,
}

fn qemu_versions() -> impl TypedValueParser<Value = QemuVersion> {
    PossibleValuesParser::new(["10.0", "7.2"]).map(|version| match version.as_str() {
        "7.2" => QemuVersion::V7_2,
        _ => QemuVersion::V10_0,
    })
}

fn kernels() -> impl TypedValueParser<Value = Kernel> {
    PossibleValuesParser::new(["6.12", "6.1"]).map(|version| match version.as_str() {
        "6.1" => Kernel::V6_1,
        _ => Kernel::V6_12,
    })
}

fn main() -> ExitCode {
    let args = Args::parse();
    let end = if args.supervised {
        run(&args)
    } else {
        supervise::run()
    };
    end.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn run(args: &Args) -> Result<ExitCode> {
    let setup = Setup {
        qemu: args.qemu,
        kernel: args.kernel,
        seconds: args.seconds,
    };
    if args.keep {
        return console::keep(&setup, &args.rate).map(|()| ExitCode::SUCCESS);
    }
    let measured = measure_all(&setup)?;
    println!("\n{}", table::render(&measured));
    let verdict = verdict::judge(&measured);
    println!("{}", verdict.text);
    let shared = sharing::run(&setup)?;
    println!("{}", shared.text);
    Ok(if verdict.kept && shared.kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Both limits, and the guest without one where it stayed below its limit.
fn measure_all(setup: &Setup) -> Result<Vec<Measured>> {
    let (qemu, kernel, seconds) = (setup.qemu, setup.kernel, setup.seconds);
    println!(
        "\
This boots a virtual machine (QEMU {qemu}, Linux {kernel}) whose network card is served
by netqos-vhost, in a network namespace of its own: this machine's network is not
touched. The daemon forwards the guest's frames to a tap, and limits each direction.
For {seconds} s in each direction iperf3 sends one TCP stream as fast as it can; meanwhile
ping measures how long a packet takes from the guest to the host and back. Then the
same with another limit. At last three guests share one uplink by weight. It takes
little more than a minute.
"
    );
    let mut all = Vec::new();
    for limit in [Limit::mbit(100), Limit::mbit(1000)] {
        all.push(measure::measure(setup, limit)?);
    }
    if all.iter().any(Measured::fell_short) {
        println!("The guest stayed below its limit: measuring what it can do without one.");
        all.push(measure::measure(setup, Limit::none())?);
    }
    Ok(all)
}
