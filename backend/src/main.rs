//! `netqos-vhost`: one guest NIC over a vhost-user socket, shaped, to a host tap.

use std::process::ExitCode;

use clap::Parser;
use env_logger::Env;
use netqos::args::{Args, CAPABILITIES};
use netqos::daemon;

/// What clap itself ends with for a wrong command line.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    if args.print_capabilities() {
        println!("{CAPABILITIES}");
        return ExitCode::SUCCESS;
    }
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();
    let config = match args.port() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("netqos-vhost: {error}");
            return ExitCode::from(USAGE);
        }
    };
    match daemon::run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("netqos-vhost: {error}");
            ExitCode::FAILURE
        }
    }
}
