//! Starting QEMU: machine, shared memory, kernel, job port and interfaces, with KVM where a guest has
//! been seen to boot with it.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use crate::artifacts::{Artifacts, Kernel, QemuVersion};
use crate::error::{Error, Result};
use crate::guest::{Booting, Guest, files};
use crate::initramfs::Initramfs;
use crate::netns::Namespace;
use crate::nic::Nic;
use crate::process::Process;
use crate::protocol::JOB_PORT;
use crate::scratch;

/// How long a boot may take; under TCG it takes a few seconds, on a busy machine several times that.
pub(crate) const BOOT_TIMEOUT: Duration = Duration::from_secs(60);
/// A guest that KVM can run boots in less than a second.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

static KVM_WORKS: OnceLock<bool> = OnceLock::new();

/// How QEMU runs the guest's processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceleration {
    /// KVM if a probe guest boots with it, else TCG.
    Best,
    /// Emulation, everywhere.
    Tcg,
    /// KVM, whether or not it works.
    Kvm,
}

/// A guest to be booted.
#[derive(Debug, Clone)]
pub struct Qemu {
    version: QemuVersion,
    kernel: Kernel,
    memory_mib: u32,
    processors: u32,
    acceleration: Acceleration,
    netns: Option<String>,
    nics: Vec<Nic>,
    boot_timeout: Duration,
}

impl Qemu {
    /// A guest with one processor, 256 MiB and no interface.
    #[must_use]
    pub fn new(version: QemuVersion, kernel: Kernel) -> Self {
        Self {
            version,
            kernel,
            memory_mib: 256,
            processors: 1,
            acceleration: Acceleration::Best,
            netns: None,
            nics: Vec::new(),
            boot_timeout: BOOT_TIMEOUT,
        }
    }

    /// Adds an interface; the first is `eth0` in the guest.
    #[must_use]
    pub fn nic(mut self, nic: Nic) -> Self {
        self.nics.push(nic);
        self
    }

    /// Memory in MiB.
    #[must_use]
    pub fn memory_mib(mut self, mib: u32) -> Self {
        self.memory_mib = mib;
        self
    }

    /// Virtual processors.
    #[must_use]
    pub fn processors(mut self, count: u32) -> Self {
        self.processors = count;
        self
    }

    /// How the processor is run.
    #[must_use]
    pub fn acceleration(mut self, acceleration: Acceleration) -> Self {
        self.acceleration = acceleration;
        self
    }

    /// Runs QEMU itself in a namespace; one with a tap runs in the tap's anyway.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &Namespace) -> Self {
        self.netns = Some(namespace.name().to_owned());
        self
    }

    /// Starts QEMU and waits until the guest takes jobs.
    ///
    /// # Errors
    /// [`Error::Missing`] without kernel or emulator, [`Error::Ended`] or [`Error::Timeout`] with the
    /// end of the console if it does not boot, [`Error::Setup`] for taps of two namespaces.
    pub fn boot(self) -> Result<Guest> {
        self.start()?.finish()
    }

    /// Starts QEMU, and returns before its guest has booted, so that several can boot at once. It ends with
    /// the thread that starts it.
    ///
    /// # Errors
    /// As [`Qemu::boot`].
    pub fn start(self) -> Result<Booting> {
        let artifacts = Artifacts::locate()?;
        let kvm = match self.acceleration {
            Acceleration::Tcg => false,
            Acceleration::Kvm => true,
            Acceleration::Best => kvm_works(),
        };
        let emulator = artifacts.emulator(self.version)?;
        let initramfs = Initramfs::build(&artifacts, self.kernel)?;
        let scratch = scratch::folder("guest")?;
        let mut args = self.machine(kvm);
        for data in &emulator.data {
            args.extend(["-L".to_owned(), data.to_string_lossy().into_owned()]);
        }
        let kernel = artifacts.kernel_image(self.kernel);
        args.extend(["-kernel".to_owned(), kernel.to_string_lossy().into_owned()]);
        let initrd = initramfs.path().to_string_lossy().into_owned();
        args.extend([
            "-initrd".to_owned(),
            initrd,
            "-append".to_owned(),
            self.boot_line(),
        ]);
        args.extend(channels(scratch.path()));
        for (index, nic) in self.nics.iter().enumerate() {
            args.extend(nic.options(index, self.version, kvm));
        }
        let netns = self.namespace()?;
        let log = scratch.path().join(files::LOG);
        let process = Process::start(netns, &emulator.program, args, &log, None)?;
        Booting::attach(process, scratch, self.boot_timeout)
    }

    fn namespace(&self) -> Result<Option<&str>> {
        let mut netns = self.netns.as_deref();
        for wanted in self.nics.iter().filter_map(Nic::netns) {
            if netns.is_some_and(|netns| netns != wanted) {
                return Err(Error::Setup("one QEMU cannot open taps of two namespaces"));
            }
            netns = Some(wanted);
        }
        Ok(netns)
    }

    fn machine(&self, kvm: bool) -> Vec<String> {
        let (memory, processors) = (self.memory_mib, self.processors);
        let (accelerator, processor) = if kvm { ("kvm", "host") } else { ("tcg", "max") };
        let words = [
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-accel",
            accelerator,
            "-cpu",
            processor,
            "-object",
            // vhost-user maps the guest's memory: it must be shared.
            &format!("memory-backend-memfd,id=mem,size={memory}M,share=on"),
            "-machine",
            "q35,memory-backend=mem",
            "-m",
            &format!("{memory}M"),
            "-smp",
            &processors.to_string(),
        ];
        words.map(str::to_owned).to_vec()
    }

    /// `panic=0` keeps a dead kernel's last words on the console until the boot times out. What would only
    /// cost an emulated processor time is off, and the check of the timer's interrupts, which a guest
    /// fails that gets too little of a busy machine.
    fn boot_line(&self) -> String {
        let nics = self.nics.iter().enumerate();
        let addresses: String = nics.map(|(index, nic)| nic.boot_words(index)).collect();
        format!(
            "console=ttyS0 loglevel=5 panic=0 net.ifnames=0 random.trust_cpu=on mitigations=off \
             cryptomgr.notests no_timer_check audit=0 apparmor=0 rcupdate.rcu_expedited=1{addresses}"
        )
    }
}

/// Console, job port and monitor.
fn channels(scratch: &Path) -> Vec<String> {
    let path = |name: &str| scratch.join(name).display().to_string();
    let words = [
        "-serial",
        &format!("file:{}", path(files::CONSOLE)),
        "-device",
        "virtio-serial-pci,max_ports=2",
        "-chardev",
        &format!(
            "socket,id=jobs,path={},server=on,wait=off",
            path(files::JOBS)
        ),
        "-device",
        &format!("virtserialport,chardev=jobs,name={JOB_PORT}"),
        "-qmp",
        &format!("unix:{},server=on,wait=off", path(files::QMP)),
    ];
    words.map(str::to_owned).to_vec()
}

/// Whether a guest boots with KVM: a device file alone says nothing on a nested host. Probed once in a
/// process, and remembered for others until the host boots again.
fn kvm_works() -> bool {
    *KVM_WORKS.get_or_init(|| {
        if !Path::new("/dev/kvm").exists() {
            return false;
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let memory = Artifacts::locate().map(|artifacts| artifacts.root().join("kvm-probe"));
        let known = memory
            .as_ref()
            .ok()
            .and_then(|path| fs::read_to_string(path).ok());
        for works in [true, false] {
            if known.as_deref() == Some(&format!("{works} {boot}")) {
                return works;
            }
        }
        let mut probe = Qemu::new(QemuVersion::V7_2, Kernel::V6_1).acceleration(Acceleration::Kvm);
        probe.boot_timeout = PROBE_TIMEOUT;
        let works = probe.boot().is_ok();
        if let Ok(path) = memory {
            // Only a short cut: the next process probes again without it.
            let _ = fs::write(path, format!("{works} {boot}"));
        }
        works
    })
}
