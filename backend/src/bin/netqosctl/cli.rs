//! The command line of `netqosctl`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use netqos::control::{DEFAULT_SOCKET, Direction};

use crate::help::{
    ABOUT, ADD_KEYS, APPLY_ABOUT, CAPTURE, EXIT_CODES, PACKET, SET_ABOUT, SET_KEYS, SIMULATE_ABOUT,
    SIMULATE_FILES,
};
use crate::import;
use crate::setting::{Setting, Target};

#[derive(Debug, Parser)]
#[command(name = "netqosctl", version, about = ABOUT, after_help = EXIT_CODES, max_term_width = 80)]
pub(crate) struct Cli {
    /// The daemon's control socket
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "NETQOS_CONTROL",
        hide_env_values = true
    )]
    #[arg(default_value = DEFAULT_SOCKET, display_order = 100)]
    pub(crate) control: PathBuf,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the counters of guests and classes
    Show(Show),
    /// Watch guests and classes on a live screen
    Top {
        /// Seconds between two looks
        #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
        interval: Duration,
    },
    /// Change settings of a guest or of one of its classes
    #[command(long_about = SET_ABOUT, after_long_help = SET_KEYS)]
    Set(Set),
    /// Serve the configuration of a file from now on
    #[command(long_about = APPLY_ABOUT)]
    Apply(Apply),
    /// Have the daemon read its configuration file again
    Reload,
    /// Add, remove, pause, resume and list guests
    Guest {
        #[command(subcommand)]
        command: Guest,
    },
    /// Show a guest's rings: indices and flags
    Ring {
        /// Whose
        guest: String,
    },
    /// Look at all of a guest's rings as if it had kicked, and call it
    Kick {
        /// Whose
        guest: String,
    },
    /// Show the class trees that are served
    Trees,
    /// Print the counters as OpenMetrics text
    Metrics,
    /// Show what keeps the daemon from the host
    Sandbox {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Tell what happens, as it happens
    Events {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Copy a guest's frames, with their classes and what was done with them
    #[command(after_help = CAPTURE)]
    Capture(Capture),
    /// Tell which rules and classes a frame would meet
    #[command(after_help = PACKET)]
    Explain(Explain),
    /// Simulate a class tree under given traffic
    #[command(long_about = SIMULATE_ABOUT, after_long_help = SIMULATE_FILES)]
    Simulate(Simulate),

    /// Print limits of other tools as a configuration
    #[command(long_about = import::ABOUT)]
    Import(import::Import),
    /// Print what a shell needs to complete commands
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write one of each command into a directory
    Man {
        /// The directory
        directory: Option<PathBuf>,
    },
}

/// The command line of `netqosctl show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Of these guests only
    #[arg(value_name = "GUEST")]
    pub(crate) guests: Vec<String>,

    /// Of every class as well
    #[arg(long)]
    pub(crate) classes: bool,

    /// Print the report as JSON; with --watch one a line
    #[arg(long)]
    pub(crate) json: bool,

    /// Print it again and again, every second or so many seconds, with rates
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1")]
    #[arg(value_parser = seconds)]
    pub(crate) watch: Option<u64>,

    /// Print the JSON schema of the report, and exit
    #[arg(long, conflicts_with_all = ["guests", "classes", "json", "watch"])]
    pub(crate) schema: bool,
}

/// Which direction, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ways {
    /// What guests send
    FromGuest,
    /// What guests receive
    ToGuest,
    /// Both of them
    Both,
}

impl Ways {
    /// The direction that is meant; none for both.
    pub(crate) const fn direction(self) -> Option<Direction> {
        match self {
            Self::FromGuest => Some(Direction::FromGuest),
            Self::ToGuest => Some(Direction::ToGuest),
            Self::Both => None,
        }
    }
}

/// Which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// What guests send
    FromGuest,
    /// What guests receive
    ToGuest,
}

impl From<Way> for Direction {
    fn from(way: Way) -> Self {
        match way {
            Way::FromGuest => Self::FromGuest,
            Way::ToGuest => Self::ToGuest,
        }
    }
}

/// How a change is made.
#[derive(Debug, Args)]
pub(crate) struct Careful {
    /// Say what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Only if this is the running generation [default: the one that runs now]
    #[arg(long, value_name = "N")]
    pub(crate) generation: Option<u64>,
}

/// The command line of `netqosctl set`.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The guest, or one of its classes: GUEST/CLASS or GUEST:CLASS
    #[arg(value_name = "GUEST[/CLASS]")]
    pub(crate) target: Target,

    /// Of which direction
    #[arg(value_name = "DIRECTION")]
    pub(crate) ways: Ways,

    /// What is to be different
    #[arg(value_name = "KEY=VALUE", required = true)]
    pub(crate) settings: Vec<Setting>,

    #[command(flatten)]
    pub(crate) careful: Careful,
}

/// The command line of `netqosctl apply`.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// A configuration file, or - for standard input
    pub(crate) file: PathBuf,

    #[command(flatten)]
    pub(crate) careful: Careful,
}

/// What can be done with guests.
#[derive(Debug, Subcommand)]
pub(crate) enum Guest {
    /// Serve one more guest
    #[command(after_help = ADD_KEYS)]
    Add(Box<Add>),
    /// Serve a guest no more
    Del {
        /// Which
        guest: String,

        /// Only if this is the running generation
        #[arg(long, value_name = "N")]
        generation: Option<u64>,
    },
    /// Hold a guest's frames in both directions
    Pause {
        /// Whose
        guest: String,
    },
    /// Let a guest's frames go again
    Resume {
        /// Whose
        guest: String,
    },
    /// List the guests
    List,
}

/// The command line of `netqosctl guest add`.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Its name
    #[arg(value_name = "NAME")]
    pub(crate) guest: String,

    #[command(flatten)]
    pub(crate) keys: AddKeys,

    /// Only if this is the running generation
    #[arg(long, value_name = "N")]
    pub(crate) generation: Option<u64>,

    /// More keys: a TOML file, or - for standard input
    #[arg(long = "keys", value_name = "FILE")]
    pub(crate) keys_file: Option<PathBuf>,
}

/// The keys of a guest that have options.
#[derive(Debug, Default, Args)]
pub(crate) struct AddKeys {
    /// Listen for its front-end on this unix socket
    #[arg(long, value_name = "PATH", conflicts_with = "connect")]
    pub(crate) socket: Option<String>,

    /// Permission bits of the socket, octal
    #[arg(long, value_name = "OCTAL")]
    pub(crate) socket_mode: Option<String>,

    /// Group of the socket
    #[arg(long, value_name = "NAME|GID")]
    pub(crate) socket_group: Option<String>,

    /// Connect to its front-end, which listens on this unix socket
    #[arg(long, value_name = "PATH")]
    pub(crate) connect: Option<String>,

    /// The uplink it is behind
    #[arg(long, value_name = "NAME")]
    pub(crate) uplink: Option<String>,

    /// The template it follows
    #[arg(long, value_name = "NAME")]
    pub(crate) template: Option<String>,

    /// The address it owns
    #[arg(long, value_name = "MAC", value_parser = crate::setting::mac)]
    pub(crate) mac: Option<String>,

    /// An address or prefix it may send from; may be given more than once
    #[arg(long, value_name = "IP[/LEN]")]
    pub(crate) addresses: Vec<String>,

    /// The VLAN it is in
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u16).range(1..=4094))]
    pub(crate) vlan: Option<u16>,

    /// Queue pairs
    #[arg(long, value_name = "N")]
    pub(crate) queues: Option<u16>,

    /// The largest MTU it may set, in bytes
    #[arg(long, value_name = "BYTES")]
    pub(crate) mtu: Option<u16>,

    /// Guests with the same word here never reach each other
    #[arg(long, value_name = "WORD")]
    pub(crate) isolation: Option<String>,

    /// The limit of both directions, such as 100mbit
    #[arg(long, visible_alias = "limit", value_name = "RATE")]
    #[arg(value_parser = crate::setting::rate)]
    pub(crate) rate: Option<String>,

    /// The limit of what it sends
    #[arg(long, value_name = "RATE", value_parser = crate::setting::rate)]
    pub(crate) rate_from_guest: Option<String>,

    /// The limit of what it receives
    #[arg(long, value_name = "RATE", value_parser = crate::setting::rate)]
    pub(crate) rate_to_guest: Option<String>,
}

/// The command line of `netqosctl capture`.
#[derive(Debug, Args)]
pub(crate) struct Capture {
    /// Whose
    pub(crate) guest: String,

    /// Of one of its classes only
    #[arg(long, value_name = "CLASS")]
    pub(crate) class: Option<String>,

    /// Of one direction only
    #[arg(long, value_name = "DIRECTION")]
    pub(crate) direction: Option<Way>,

    /// Write a pcapng file; - for standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,

    /// Bytes of each frame at most
    #[arg(long, value_name = "BYTES", default_value_t = 65_550)]
    #[arg(value_parser = clap::value_parser!(u32).range(14..=65_550))]
    pub(crate) snap: u32,

    /// End after so many frames
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) frames: Option<u32>,

    /// End after so many seconds
    #[arg(long, value_name = "N")]
    pub(crate) seconds: Option<u64>,
}

/// The command line of `netqosctl explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Who would send it, or receive it
    pub(crate) guest: String,

    /// Which way it would go
    #[arg(long, value_name = "DIRECTION", default_value = "from-guest")]
    pub(crate) direction: Way,

    /// The frame, in words
    #[arg(value_name = "PACKET", required = true)]
    pub(crate) packet: Vec<String>,
}

/// The command line of `netqosctl simulate`.
#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// The class tree, a TOML file
    pub(crate) tree: PathBuf,

    /// Who sends what, a TOML file
    pub(crate) traffic: PathBuf,

    /// Simulate this many seconds, whatever the file says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) seconds: Option<u64>,

    /// Seed of everything that looks random, whatever the file says
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Draw rates over time and delays into this file
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,

    /// Print everything as JSON, time series included
    #[arg(long)]
    pub(crate) json: bool,
}

/// A number of seconds to wait: an hour at most.
fn seconds(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(seconds @ 1..=3600) => Ok(seconds),
        _ => Err("write 1 to 3600 seconds; names of guests come before it".to_owned()),
    }
}

/// A time between two looks: a tenth of a second to an hour.
fn interval(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok().filter(|it| (0.1..=3600.0).contains(it));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "write 0.1 to 3600 seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn with_children(command: clap::Command, all: &mut Vec<clap::Command>) {
        for child in command.get_subcommands() {
            with_children(child.clone(), all);
        }
        all.push(command);
    }

    #[test]
    fn the_command_line_is_sound_and_every_help_fits_a_terminal() {
        let mut whole = Cli::command();
        whole.build();
        whole.clone().debug_assert();
        let mut all = Vec::new();
        with_children(whole, &mut all);
        assert!(all.len() > 15);
        for mut command in all {
            let short = command.render_help().to_string();
            let long = command.render_long_help().to_string();
            for line in short.lines().chain(long.lines()) {
                let name = command.get_name();
                assert!(line.chars().count() <= 80, "{name}: {line}");
            }
        }
    }
}
