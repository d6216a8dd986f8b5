//! `netqosctl`: the operator's tool. It looks at a daemon, changes what it does, and tries class trees
//! out; see `netqosctl help`.

mod capture;
mod change;
mod cli;
mod diff;
mod draw;
mod events;
mod explain;
mod failure;
mod generate;
mod guest;
mod help;
mod import;
mod input;
mod json;
mod number;
mod packet;
mod pcapng;
mod plain;
mod sandbox;
mod setting;
mod show;
mod simulate;
mod table;
mod text;
mod top;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use netqos::control::{Client, ClientError};

use cli::{Cli, Command};
use failure::Failure;
use text::{PLAIN, paragraph};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    let daemon = || Client::connect(&cli.control);
    match &cli.command {
        Command::Show(args) => show::run(&cli.control, &mut out, args),
        Command::Top { interval } => top::run(&cli.control, *interval),
        Command::Set(args) => change::set(&mut daemon()?, &mut out, args),
        Command::Apply(args) => change::apply(&mut daemon()?, &mut out, args),
        Command::Reload => change::reload(&mut daemon()?, &mut out),
        Command::Guest { command } => guest::run(&mut daemon()?, &mut out, command),
        Command::Ring { guest } => plain::ring(&mut daemon()?, &mut out, guest),
        Command::Kick { guest } => plain::kick(&mut daemon()?, guest),
        Command::Trees => plain::trees(&mut daemon()?, &mut out),
        Command::Metrics => plain::metrics(&mut daemon()?, &mut out),
        Command::Sandbox { json } => sandbox::run(&mut daemon()?, &mut out, *json),
        Command::Events { json } => events::run(&mut daemon()?, &mut out, *json),
        Command::Capture(args) => capture::run(daemon, &mut out, args),
        Command::Explain(args) => explain::run(daemon, &mut out, args),
        Command::Simulate(args) => Ok(simulate::run(args)?),
        Command::Import(args) => Ok(args.run()?),
        Command::Completions { shell } => generate::completions(&mut out, *shell),
        Command::Man { directory } => generate::man(&mut out, directory.as_deref()),
    }?;
    Ok(out.flush()?)
}

/// Says why, and after a conflict what others have changed. Whether that can be said changes nothing.
fn complain(failure: &Failure) {
    let mut err = anstream::stderr().lock();
    // Programs get the sentence as one line.
    let _ = match io::stderr().is_terminal() {
        true => paragraph(&mut err, PLAIN, ["netqosctl: ", "  "], &failure.to_string()),
        false => writeln!(err, "netqosctl: {failure}"),
    };
    if let Failure::Daemon(ClientError::Refused(refusal)) = failure
        && let Some(conflict) = &refusal.conflict
    {
        let _ = diff::conflict(&mut err, conflict);
    }
}
