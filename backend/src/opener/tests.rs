//! The opener's process is this test program, run again for one test ([`the_opener`]) that serves.

mod requests;
mod rude;

use std::fs;
use std::path::PathBuf;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use super::*;
use crate::args::FrontEnd;
use crate::config::{
    Config, FloodConfig, GuestConfig, GuestTree, RootConfig, SandboxSettings, Trust, UplinkKind,
    VlanConfig,
};
use crate::uplink::Device;

/// Where the opener of a test finds its configuration: a line for each thing: `tap NAME`,
/// `tap NAME QUEUES`, `packet NAME`, `macvtap NAME`, `socket PATH` or `directory PATH`.
const CONFIGURATION: &str = "NETQOS_TEST_OPENER";

#[test]
fn the_opener() {
    if let Some(file) = std::env::var_os(CONFIGURATION) {
        serve(move || load(&PathBuf::from(&file))).unwrap();
    }
}

fn load(file: &Path) -> Result<Policy, String> {
    let text = fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let mut config = Config {
        poll: Duration::ZERO,
        shards: 1,
        pool_bytes: 0,
        control: None,
        metrics: None,
        sandbox: SandboxSettings::default(),
        uplinks: Vec::new(),
        guests: Vec::new(),
    };
    let mut directories = Vec::new();
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("tap", rest)) => {
                let (name, queues) = rest.split_once(' ').unwrap_or((rest, "1"));
                config.uplinks.push(tap(name, queues.parse().unwrap()));
            }
            Some(("packet", name)) => config.uplinks.push(packet(name)),
            Some(("macvtap", name)) => config.uplinks.push(macvtap(name)),
            Some(("socket", path)) => config.guests.push(guest(path)),
            Some(("directory", path)) => directories.push(path),
            _ => return Err(format!("line `{line}` says nothing")),
        }
    }
    let policy = Policy::from(&config);
    Ok(directories.into_iter().fold(policy, |policy, path| {
        policy.with_socket_directory(Path::new(path))
    }))
}

/// An uplink that is called like its tap.
pub(crate) fn tap(name: &str, queues: u16) -> UplinkConfig {
    UplinkConfig {
        name: name.to_owned(),
        kind: UplinkKind::Tap {
            name: name.parse().unwrap(),
            bridge: None,
        },
        queues,
        mtu: None,
        from_guest: RootConfig::default(),
        to_guest: RootConfig::default(),
        flood: FloodConfig::default(),
    }
}

/// An uplink `packet` over this interface.
pub(crate) fn packet(interface: &str) -> UplinkConfig {
    UplinkConfig {
        kind: UplinkKind::Packet(interface.parse().unwrap()),
        ..tap("packet", 1)
    }
}

/// An uplink `macvtap` on this interface.
pub(crate) fn macvtap(interface: &str) -> UplinkConfig {
    UplinkConfig {
        kind: UplinkKind::Macvtap(interface.parse().unwrap()),
        ..tap("macvtap", 1)
    }
}

fn guest(socket: &str) -> GuestConfig {
    let tree = || GuestTree {
        classes: Vec::new(),
        names: Default::default(),
        rules: Default::default(),
    };
    GuestConfig {
        name: socket.to_owned(),
        front_end: FrontEnd::Listen {
            path: socket.into(),
            mode: 0o660,
            group: None,
        },
        uplink: 0,
        queues: 1,
        mtu: None,
        mac: None,
        addresses: Vec::new(),
        vlan: VlanConfig::default(),
        isolation: None,
        coalesce: true,
        trust: Trust::default(),
        from_guest: tree(),
        to_guest: tree(),
    }
}

/// A directory with an opener's configuration.
pub(crate) struct Place {
    directory: TempDir,
}

impl Place {
    pub(crate) fn new(configuration: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = Self { directory };
        place.configure(configuration);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn configure(&self, configuration: &str) {
        fs::write(self.path("configuration"), configuration).unwrap();
    }

    fn try_start(&self) -> Result<Opener, OpenerError> {
        let mut command = Command::new("/proc/self/exe");
        command
            .args(["--exact", "opener::tests::the_opener", "--nocapture"])
            .env(CONFIGURATION, self.path("configuration"));
        Opener::start_as(command)
    }

    pub(crate) fn start(&self) -> Opener {
        self.try_start().unwrap()
    }
}

/// Runs `test` on a thread in a fresh network namespace, where only `lo` is.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let body = || {
        unshare(CloneFlags::CLONE_NEWNET)
            .expect("this test makes a network namespace of its own: run it as root");
        test();
    };
    if let Err(panic) = thread::spawn(body).join() {
        std::panic::resume_unwind(panic);
    }
}

fn made_by_us(uplink: &Uplink) -> bool {
    matches!(uplink.device(), Device::Tap(tap) if tap.made_by_us())
}

fn remote(opener: &mut Opener) -> &mut Remote {
    match &mut opener.side {
        Some(Side::Remote(remote)) => remote,
        _ => panic!("no process"),
    }
}
