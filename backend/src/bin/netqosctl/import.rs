//! `netqosctl import`: what other tools limit guests by, as a configuration of ours.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use netqos::file::FileError;
use netqos::import::{ImportError, Imported, Kind, Met, import};

use crate::simulate::Failure;

pub(crate) const ABOUT: &str = "\
Prints what other tools limit guests by as a configuration for netqos-vhost.

The KIND is one of:
  xl                vif strings of Xen's xl, or a domain's configuration
  tc                tc class and tc qdisc commands (htb, tbf), or what tc shows
  cloud-hypervisor  its --net, or the JSON of a VM
  firecracker       the JSON of its network interfaces
  ovs               ovs-vsctl commands, or what ovs-vsctl list shows
  libvirt           a domain's XML
  openstack         QoS policies or rules of Neutron in JSON
Limits count what they count there: what is printed has overhead and mpu for
that. What has no equal is a comment; what the source does not say, such as an
uplink, is filled in and remarked.

Exit code: 0, 2 for wrong input, 1 for anything else.";

/// The command line of `netqosctl import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Whose settings they are
    kind: String,

    /// What that tool reads or prints; - is the standard input
    file: PathBuf,

    /// Print commands that set the limits of a daemon that runs
    #[arg(long)]
    as_set: bool,

    /// Print commands that take these limits back
    #[arg(long, conflicts_with = "as_set")]
    as_unset: bool,
}

impl Import {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let kind: Kind = self.kind.parse()?;
        let live = self.as_set || self.as_unset;
        let mut imported = match import(kind, &text(&self.file)?) {
            // No guest, nothing to set.
            Err(ImportError::Nothing(_)) if live => Imported::default(),
            imported => imported?,
        };
        if kind == Kind::Libvirt && live {
            // Interfaces that are not vhost-user's libvirt limits itself.
            imported.guests.retain(|guest| guest.met != Met::Unsaid);
        }
        let print = match (self.as_set, self.as_unset) {
            (true, _) => Imported::to_set,
            (_, true) => Imported::to_unset,
            _ => Imported::to_toml,
        };
        io::stdout().lock().write_all(print(&imported).as_bytes())?;
        Ok(())
    }
}

fn text(path: &Path) -> Result<String, FileError> {
    let mut text = String::new();
    let read = match path.to_str() {
        Some("-") => io::stdin().lock().read_to_string(&mut text).map(|_| text),
        _ => std::fs::read_to_string(path),
    };
    read.map_err(|source| FileError::Read {
        path: path.to_owned(),
        source,
    })
}
