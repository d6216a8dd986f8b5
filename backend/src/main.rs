//! `netqos-vhost`: guests' NICs over vhost-user sockets, shaped, to host taps and interfaces.

use std::fmt::Display;
use std::process::ExitCode;

use clap::Parser;
use netqos::args::{Args, CAPABILITIES};
use netqos::logging::{self, Format, OPERATOR};
use netqos::opener::ServeError;
use netqos::{config, daemon, opener};

/// What clap itself ends with for a wrong command line.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    if args.opener() {
        return be_the_opener(args);
    }
    if args.print_capabilities() {
        println!("{CAPABILITIES}");
        return ExitCode::SUCCESS;
    }
    if args.help_config() {
        print!("{}", config::help());
        return ExitCode::SUCCESS;
    }
    if args.print_config_schema() {
        println!("{:#}", config::schema());
        return ExitCode::SUCCESS;
    }
    let (config, privileges) = match args.config().and_then(|c| Ok((c, args.privileges()?))) {
        Ok(both) => both,
        Err(error) => return failed(&error, ExitCode::from(USAGE)),
    };
    if args.check() {
        print!("{}", config.trees());
        return ExitCode::SUCCESS;
    }
    logging::start(args.log_format());
    let read = |more: Option<&str>| match args.config_file() {
        Some(_) => args.config_with(more).map_err(|error| error.to_string()),
        None => Err("one guest is served as options said, so there is no file to read".to_owned()),
    };
    match daemon::run(config, privileges, read) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ended(&error, args.log_format()),
    }
}

/// The process that the daemon starts to keep the privileges.
fn be_the_opener(args: Args) -> ExitCode {
    let format = args.log_format();
    logging::start(format);
    match opener::serve(move || args.policy()) {
        Ok(()) => ExitCode::SUCCESS,
        // The daemon was told, and says it.
        Err(ServeError::Load(_)) => ExitCode::FAILURE,
        Err(error) => ended(&error, format),
    }
}

/// Says why there is no service any more, in the log where programs read that.
fn ended(error: &dyn Display, format: Format) -> ExitCode {
    match format {
        Format::Text => failed(error, ExitCode::FAILURE),
        Format::Json => {
            log::error!(target: OPERATOR, event = "failed"; "{error}");
            ExitCode::FAILURE
        }
    }
}

fn failed(error: &dyn Display, code: ExitCode) -> ExitCode {
    eprintln!("netqos-vhost: {error}");
    code
}
