//! Open vSwitch with DPDK: a vhost-user port forwarded to the bridge's own tap, in a namespace, with a
//! database and sockets of its own. A switch that the machine runs is neither used nor disturbed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::{Cores, HugePages};
use crate::error::Result;
use crate::netns::Namespace;
use crate::process::{Process, Usage, output_of};
use crate::scratch;

/// The bridge, and so its tap.
const BRIDGE: &str = "ovsbr0";
/// The vhost-user port, and so its socket.
const PORT: &str = "vhost0";
const OTHER_PORT: &str = "vhost1";
/// The tap of DPDK's `net_tap`.
const POLLED_TAP: &str = "dtap0";
/// Debian's path; `ovs-vswitchd` itself may be an alternative without DPDK.
const SWITCH: &str = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk";
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Which ports the switch has, and where it hands frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wiring {
    /// One vhost-user port and the bridge's own tap, each into the other. The tap is read by the switch's main
    /// thread, which has no processor but the polling thread's.
    Tap,
    /// One vhost-user port and a tap of DPDK's `net_tap`, each into the other; the polling thread reads both.
    PolledTap,
    /// Two vhost-user ports, each into the other.
    Pair,
    /// Two vhost-user ports on a bridge that learns addresses.
    Learning,
}

impl Wiring {
    const fn ports(self) -> &'static [&'static str] {
        match self {
            Self::Tap | Self::PolledTap => &[PORT],
            Self::Pair | Self::Learning => &[PORT, OTHER_PORT],
        }
    }

    const fn tap(self) -> &'static str {
        match self {
            Self::PolledTap => POLLED_TAP,
            _ => BRIDGE,
        }
    }

    fn flows(self) -> Vec<String> {
        let both = |one, other| {
            vec![
                format!("in_port={one},actions={other}"),
                format!("in_port={other},actions={one}"),
            ]
        };
        match self {
            Self::Tap => both(PORT, "LOCAL"),
            Self::PolledTap => both(PORT, POLLED_TAP),
            Self::Pair => both(PORT, OTHER_PORT),
            Self::Learning => vec!["actions=NORMAL".to_owned()],
        }
    }
}

/// A running switch; dropping it kills it.
#[derive(Debug)]
pub struct Ovs {
    // Dropped in this order.
    switch: Process,
    database: Process,
    folder: TempDir,
    wiring: Wiring,
}

impl Ovs {
    /// Starts database and switch, with one polling thread on the back-end's processor and no limits.
    ///
    /// # Errors
    /// [`crate::Error::Ended`] or [`crate::Error::Timeout`] with a log, or what a command of the switch says.
    pub fn start(
        namespace: &Namespace,
        pages: &HugePages,
        cores: Cores,
        wiring: Wiring,
    ) -> Result<Self> {
        let folder = scratch::folder("ovs")?;
        let place = Folder(folder.path());
        let data = place.file("conf.db");
        output_of("ovsdb-tool", &["create", &data, SCHEMA])?;
        let mut database = place.start(
            namespace,
            "ovsdb",
            &["ovsdb-server", &data, &place.remote("p")],
        )?;
        let socket = folder.path().join("db.sock");
        database.wait_until("the database's socket", START_TIMEOUT, || socket.exists())?;
        place.tool("ovs-vsctl", &["--no-wait", "init"])?;
        let extra = format!(
            "--no-pci --no-telemetry --file-prefix=ovs --huge-dir={}",
            pages.path().display()
        );
        let mask = format!("{:#x}", 1_u128 << cores.backend.min(127));
        let options = [
            "dpdk-init=true".to_owned(),
            "dpdk-socket-mem=512".to_owned(),
            "dpdk-socket-limit=640".to_owned(),
            format!("dpdk-extra=\"{extra}\""),
            format!("dpdk-lcore-mask={mask}"),
            format!("pmd-cpu-mask={mask}"),
        ];
        for option in options {
            let option = format!("other_config:{option}");
            place.tool(
                "ovs-vsctl",
                &["--no-wait", "set", "Open_vSwitch", ".", &option],
            )?;
        }
        let processor = cores.backend.to_string();
        let words = ["taskset", "-c", &processor, SWITCH, &place.remote("")];
        let mut switch = place.start(namespace, "switch", &words)?;
        let control = folder.path().join("switch.ctl");
        switch.wait_until("the switch's start", START_TIMEOUT, || control.exists())?;
        place
            .forward(wiring)
            .inspect_err(|_| eprintln!("{}", switch.log_tail()))?;
        switch.wait_until("the switch's tap", START_TIMEOUT, || {
            let up = format!("link set {} up", wiring.tap());
            namespace.ip(&up).is_ok()
        })?;
        switch.wait_until("the switch's ports", START_TIMEOUT, || {
            let mut ports = wiring.ports().iter();
            ports.all(|port| folder.path().join(port).exists())
        })?;
        Ok(Self {
            switch,
            database,
            folder,
            wiring,
        })
    }

    /// Where the vhost-user port listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join(PORT)
    }

    /// Where the other vhost-user port listens.
    #[must_use]
    pub fn other_socket(&self) -> PathBuf {
        self.folder.path().join(OTHER_PORT)
    }

    /// The interface that frames leave by, and come from.
    #[must_use]
    pub const fn tap(&self) -> &'static str {
        self.wiring.tap()
    }

    /// What the switch, its polling thread included, has used.
    ///
    /// # Errors
    /// [`crate::Error::Io`] if it has ended.
    pub fn usage(&self) -> Result<Usage> {
        self.switch.usage()
    }

    /// The ends of what switch and database have said.
    #[must_use]
    pub fn log_tail(&self) -> String {
        format!("{}\n{}", self.switch.log_tail(), self.database.log_tail())
    }
}

/// The folder of one switch, and how its programs are told of it.
struct Folder<'a>(&'a Path);

impl Folder<'_> {
    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// The database's socket, as a client (`""`) or the server (`"p"`) names it.
    fn remote(&self, kind: &str) -> String {
        let option = if kind.is_empty() { "" } else { "--remote=" };
        format!("{option}{kind}unix:{}", self.file("db.sock"))
    }

    /// Where the programs look for each other, and where DPDK keeps its files.
    fn environment(&self) -> Vec<String> {
        let variables = [
            "OVS_RUNDIR",
            "OVS_LOGDIR",
            "OVS_DBDIR",
            "OVS_SYSCONFDIR",
            "RUNTIME_DIRECTORY",
        ];
        let folder = self.0.display();
        variables.map(|name| format!("{name}={folder}")).to_vec()
    }

    fn start(&self, namespace: &Namespace, name: &str, words: &[&str]) -> Result<Process> {
        let mut args = self.environment();
        args.extend(words.iter().map(|&word| word.to_owned()));
        args.push(format!("--pidfile={}", self.file(&format!("{name}.pid"))));
        args.push(format!("--unixctl={}", self.file(&format!("{name}.ctl"))));
        let log = self.0.join(format!("{name}.log"));
        Process::start(Some(namespace.name()), "env", args, &log, None)
    }

    fn tool(&self, program: &str, words: &[&str]) -> Result<()> {
        let mut args = self.environment();
        args.extend([program.to_owned(), "--timeout=20".to_owned()]);
        if program == "ovs-vsctl" {
            args.push(format!("--db={}", self.remote("")));
        }
        args.extend(words.iter().map(|&word| word.to_owned()));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        output_of("env", &args).map(drop)
    }

    /// The bridge, its ports and its flows.
    fn forward(&self, wiring: Wiring) -> Result<()> {
        let mut words =
            format!("add-br {BRIDGE} -- set bridge {BRIDGE} datapath_type=netdev fail_mode=secure");
        for port in wiring.ports() {
            words +=
                &format!(" -- add-port {BRIDGE} {port} -- set Interface {port} type=dpdkvhostuser");
        }
        if wiring == Wiring::PolledTap {
            // net_tap has as many queues either way, and the switch sends on one for each thread.
            words += &format!(
                " -- add-port {BRIDGE} {POLLED_TAP} -- set Interface {POLLED_TAP} type=dpdk \
                 options:dpdk-devargs=net_tap0,iface={POLLED_TAP} options:n_rxq=2"
            );
        }
        let words: Vec<&str> = words.split_whitespace().collect();
        self.tool("ovs-vsctl", &words)?;
        let management = format!("unix:{}", self.file(&format!("{BRIDGE}.mgmt")));
        for flow in wiring.flows() {
            self.tool("ovs-ofctl", &["add-flow", &management, &flow])?;
        }
        Ok(())
    }
}
