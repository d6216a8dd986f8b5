//! DPDK's testpmd: over virtio-user it is the fastest guest there is, over `net_vhost` another back-end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::stats::{self, Count};
use super::{Cores, HugePages};
use crate::error::Result;
use crate::netns::Namespace;
use crate::process::{Process, Usage};
use crate::scratch;

/// A guest says every second what it has counted.
const STATISTICS: &str = "--stats-period=1";
/// For as many frames as two files hold.
const MORE_BUFFERS: &str = "--total-num-mbufs=32768";

/// How long DPDK may take to set itself up.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// How long DPDK may take to stop its ports.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// What a guest sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load<'a> {
    /// Frames of `len` bytes of one flow: UDP without checksum from 198.18.0.1 to 198.18.0.2, all the same.
    /// Only their headers are written anew.
    Frames {
        /// Bytes from the destination address on.
        len: u16,
    },
    /// The same to as many addresses in turn.
    Flows {
        /// Bytes from the destination address on.
        len: u16,
        /// Destination addresses.
        flows: u32,
    },
    /// The frames of this pcap file in turn, every byte of them copied anew.
    Replay(&'a Path),
}

/// One of two guests that send to each other.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    /// Where its back-end listens.
    pub socket: &'a Path,
    /// The pcap file with what it sends.
    pub sends: &'a Path,
}

/// A running testpmd; dropping it kills it.
#[derive(Debug)]
pub struct Testpmd {
    // Dropped before its files.
    process: Process,
    folder: TempDir,
}

impl Testpmd {
    /// A guest that sends as fast as its back-end behind `socket` takes it.
    ///
    /// # Errors
    /// What keeps it from being started; whether it sends is seen at the other end.
    pub fn generator(
        namespace: &Namespace,
        pages: &HugePages,
        cores: Cores,
        socket: &Path,
        load: Load<'_>,
    ) -> Result<Self> {
        let socket = socket.display();
        let mut devices = vec![format!(
            "--vdev=net_virtio_user0,path={socket},queues=1,queue_size=1024"
        )];
        let work = match load {
            Load::Frames { len } => {
                vec!["--forward-mode=txonly".to_owned(), txpkts(len)]
            }
            Load::Flows { len, flows } => vec![
                "--forward-mode=flowgen".to_owned(),
                format!("--flowgen-flows={flows}"),
                txpkts(len),
            ],
            Load::Replay(file) => {
                devices.push(format!(
                    "--vdev=net_pcap0,rx_pcap={},infinite_rx=1",
                    file.display()
                ));
                // Emptying a port that never ends before the start would not end either.
                vec!["--forward-mode=io".to_owned(), "--no-flush-rx".to_owned()]
            }
        };
        let mut work = work;
        work.push(STATISTICS.to_owned());
        Self::guests(namespace, pages, cores, &devices, &work)
    }

    /// Two guests that each send their frames as fast as their back-ends take them, and receive as fast; one
    /// thread does all of it. What they receive is what [`Testpmd::rate`] counts at the ports of
    /// [`Testpmd::ENDS`].
    ///
    /// # Errors
    /// As [`Testpmd::generator`].
    pub fn ends(
        namespace: &Namespace,
        pages: &HugePages,
        cores: Cores,
        ends: [End<'_>; 2],
    ) -> Result<Self> {
        let devices = ends.iter().enumerate().flat_map(|(number, end)| {
            let (socket, file) = (end.socket.display(), end.sends.display());
            // Neighbours in this order are a pair that frames are forwarded between.
            [
                format!("--vdev=net_virtio_user{number},path={socket},queues=1,queue_size=1024"),
                format!("--vdev=net_pcap{number},rx_pcap={file},infinite_rx=1"),
            ]
        });
        let devices: Vec<String> = devices.collect();
        let work = [
            "--forward-mode=io",
            "--no-flush-rx",
            MORE_BUFFERS,
            STATISTICS,
        ];
        Self::guests(namespace, pages, cores, &devices, &work.map(str::to_owned))
    }

    /// A guest that only receives, and counts it; its port is [`Testpmd::RECEIVER`].
    ///
    /// # Errors
    /// As [`Testpmd::generator`].
    pub fn receiver(
        namespace: &Namespace,
        pages: &HugePages,
        cores: Cores,
        socket: &Path,
    ) -> Result<Self> {
        let socket = socket.display();
        let device = format!("--vdev=net_virtio_user0,path={socket},queues=1,queue_size=1024");
        let work = ["--forward-mode=rxonly", STATISTICS];
        Self::guests(namespace, pages, cores, &[device], &work.map(str::to_owned))
    }

    /// The port of [`Testpmd::receiver`].
    pub const RECEIVER: u16 = 0;

    /// The ports of [`Testpmd::ends`] that frames are received on.
    pub const ENDS: [u16; 2] = [0, 2];

    /// A back-end that listens on `sockets` in its folder and hands frames from the one to the other, or with
    /// only one socket throws them away.
    ///
    /// # Errors
    /// As [`Testpmd::forwarder`].
    pub fn switch(
        namespace: &Namespace,
        pages: &HugePages,
        cores: Cores,
        sockets: usize,
    ) -> Result<Self> {
        let folder = scratch::folder("pmd")?;
        let paths: Vec<_> = (0..sockets)
            .map(|number| numbered(folder.path(), number))
            .collect();
        let devices = paths.iter().enumerate().map(|(number, path)| {
            format!("--vdev=net_vhost{number},iface={},queues=1", path.display())
        });
        let devices: Vec<String> = devices.collect();
        let mode = if sockets > 1 { "io" } else { "rxonly" };
        let mut testpmd = Self::start(
            folder,
            namespace,
            pages,
            "forwarder",
            (cores.generator, cores.backend),
            &devices,
            &[format!("--forward-mode={mode}")],
        )?;
        testpmd
            .process
            .wait_until("testpmd's sockets", START_TIMEOUT, || {
                paths.iter().all(|path| path.exists())
            })?;
        Ok(testpmd)
    }

    /// Where a [`Testpmd::switch`] listens.
    #[must_use]
    pub fn numbered_socket(&self, number: usize) -> PathBuf {
        numbered(self.folder.path(), number)
    }

    /// Frames per second at these ports of a guest together, by its own statistics, over the last whole
    /// seconds of about `window`, once all of them have seen some.
    ///
    /// # Errors
    /// [`crate::Error::Ended`] or [`crate::Error::Timeout`] with its log.
    pub fn rate(&mut self, ports: &[u16], count: Count, window: Duration) -> Result<f64> {
        let seconds = usize::try_from(window.as_secs()).unwrap_or(1).max(1);
        let log = self.folder.path().join("log");
        let mut sum = None;
        self.process.wait_until("traffic", START_TIMEOUT, || {
            let text = std::fs::read(&log).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            sum = ports
                .iter()
                .map(|&port| stats::settled(&text, port, count, seconds))
                .sum();
            sum.is_some()
        })?;
        Ok(sum.unwrap_or_default())
    }

    /// A back-end that listens on [`Testpmd::socket`] and forwards to the new tap `interface`.
    ///
    /// # Errors
    /// [`crate::Error::Ended`] or [`crate::Error::Timeout`] with its log if its socket does not appear.
    pub fn forwarder(
        namespace: &Namespace,
        pages: &HugePages,
        cores: Cores,
        interface: &str,
    ) -> Result<Self> {
        let folder = scratch::folder("pmd")?;
        let socket = socket_in(folder.path());
        let vhost = format!("--vdev=net_vhost0,iface={},queues=1", socket.display());
        let tap = format!("--vdev=net_tap0,iface={interface}");
        let mut testpmd = Self::start(
            folder,
            namespace,
            pages,
            "forwarder",
            (cores.generator, cores.backend),
            &[vhost, tap],
            &["--forward-mode=io".to_owned()],
        )?;
        testpmd
            .process
            .wait_until("testpmd's socket", START_TIMEOUT, || socket.exists())?;
        Ok(testpmd)
    }

    /// Where a forwarder listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket_in(self.folder.path())
    }

    /// Asks it to stop its ports and end, as an operator's Ctrl-C does, and waits for it.
    ///
    /// # Errors
    /// [`crate::Error::Timeout`] with its log if it does not.
    pub fn stop(&mut self) -> Result<()> {
        self.process.signal(Signal::INT);
        self.process.wait(STOP_TIMEOUT).map(drop)
    }

    /// What it has used.
    ///
    /// # Errors
    /// [`crate::Error::Io`] if it has ended.
    pub fn usage(&self) -> Result<Usage> {
        self.process.usage()
    }

    /// The end of what it has said.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// `processors` are the waiting and the working thread's.
    /// One that stands for guests.
    fn guests(
        namespace: &Namespace,
        pages: &HugePages,
        cores: Cores,
        devices: &[String],
        work: &[String],
    ) -> Result<Self> {
        // The main thread only waits, so it may share the back-end's processor.
        let processors = (cores.backend, cores.generator);
        let folder = scratch::folder("pmd")?;
        Self::start(
            folder,
            namespace,
            pages,
            "generator",
            processors,
            devices,
            work,
        )
    }

    fn start(
        folder: TempDir,
        namespace: &Namespace,
        pages: &HugePages,
        name: &str,
        processors: (usize, usize),
        devices: &[String],
        work: &[String],
    ) -> Result<Self> {
        let (main, worker) = processors;
        let mut args = vec![
            // DPDK's files go there instead of to /var/run/dpdk.
            format!("RUNTIME_DIRECTORY={}", folder.path().display()),
            "dpdk-testpmd".to_owned(),
            format!("--lcores={main},{worker}"),
            format!("--main-lcore={main}"),
            format!("--huge-dir={}", pages.path().display()),
            format!("--file-prefix={name}"),
        ];
        // A region for each page would be more than SET_MEM_TABLE carries.
        let memory = [
            "--no-pci",
            "--no-telemetry",
            "--single-file-segments",
            "-m",
            "256",
        ];
        args.extend(memory.map(str::to_owned));
        args.extend(devices.iter().cloned());
        // With statistics it runs until it is killed; without, it ends with its standard input.
        let endless = ["--", "--stats-period=3600", "--total-num-mbufs=16384"];
        args.extend(endless.map(str::to_owned));
        args.extend(work.iter().cloned());
        let log = folder.path().join("log");
        let process = Process::start(Some(namespace.name()), "env", args, &log, None)?;
        Ok(Self { process, folder })
    }
}

fn numbered(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("vhost{number}.sock"))
}

fn txpkts(len: u16) -> String {
    format!("--txpkts={len}")
}

fn socket_in(folder: &Path) -> PathBuf {
    folder.join("vhost.sock")
}
