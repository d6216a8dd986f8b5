//! Runs inside the guests (and in the host's namespaces): takes jobs from the harness, and sends and
//! checks traffic whose every byte is accounted for.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde::Serialize;

mod datagram;
mod serve;
mod stream;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take jobs from the harness until told otherwise.
    Serve,
    /// Accept one TCP connection and hash what comes.
    TcpReceive {
        /// Port to listen on.
        port: u16,
    },
    /// Send the bytes of a seed over TCP.
    TcpSend {
        /// Where to.
        to: SocketAddr,
        /// How many.
        bytes: u64,
        /// Of which stream.
        seed: u64,
        /// Pause after each 64 KiB, in microseconds.
        #[arg(long, default_value_t = 0)]
        pause_us: u64,
    },
    /// Receive numbered datagrams until all have come, or none for a while.
    UdpReceive {
        /// Port to listen on.
        port: u16,
        /// How many the sender sends.
        count: u64,
        /// End after this long without one, in milliseconds.
        #[arg(long, default_value_t = 3000)]
        idle_ms: u64,
    },
    /// Send numbered, checksummed datagrams.
    UdpSend {
        /// Where to.
        to: SocketAddr,
        /// How many.
        count: u64,
        /// Bytes of each.
        #[arg(long, default_value_t = 1400)]
        size: usize,
        /// Datagrams per second; as fast as possible without.
        #[arg(long)]
        rate: Option<u32>,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve => serve::serve(),
        Command::TcpReceive { port } => stream::receive(port).and_then(|report| print(&report)),
        Command::TcpSend {
            to,
            bytes,
            seed,
            pause_us,
        } => stream::send(to, bytes, seed, pause_us),
        Command::UdpReceive {
            port,
            count,
            idle_ms,
        } => datagram::receive(port, count, idle_ms).and_then(|report| print(&report)),
        Command::UdpSend {
            to,
            count,
            size,
            rate,
        } => datagram::send(to, count, size, rate),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guest-agent: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(report: &impl Serialize) -> std::io::Result<()> {
    println!("{}", serde_json::to_string(report)?);
    Ok(())
}
