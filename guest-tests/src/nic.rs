//! A guest's network interface, as options of QEMU.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::artifacts::QemuVersion;
use crate::netns::Namespace;

static NUMBER: AtomicU16 = AtomicU16::new(1);

/// One virtio-net interface of a guest.
#[derive(Debug, Clone)]
pub struct Nic {
    backend: Backend,
    mac: String,
    queues: u16,
    properties: String,
    addresses: Vec<String>,
}

#[derive(Debug, Clone)]
enum Backend {
    VhostUser {
        socket: PathBuf,
        listens: bool,
        reconnect: Option<Duration>,
    },
    Tap {
        netns: String,
        interface: String,
    },
}

impl Nic {
    /// An interface behind a vhost-user back-end that listens on `socket`.
    #[must_use]
    pub fn vhost_user(socket: impl AsRef<Path>) -> Self {
        Self::new(Backend::VhostUser {
            socket: socket.as_ref().to_owned(),
            listens: false,
            reconnect: None,
        })
    }

    /// An interface behind a vhost-user back-end that connects to `socket`, where QEMU listens; its start
    /// waits for the first connection.
    #[must_use]
    pub fn vhost_user_listening(socket: impl AsRef<Path>) -> Self {
        Self::new(Backend::VhostUser {
            socket: socket.as_ref().to_owned(),
            listens: true,
            reconnect: None,
        })
    }

    /// QEMU's own virtio-net, without vhost, on an existing tap of a namespace: what ours is compared with.
    #[must_use]
    pub fn tap(namespace: &Namespace, interface: &str) -> Self {
        Self::new(Backend::Tap {
            netns: namespace.name().to_owned(),
            interface: interface.to_owned(),
        })
    }

    fn new(backend: Backend) -> Self {
        let [high, low] = NUMBER.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Self {
            backend,
            mac: format!("52:54:00:4e:{high:02x}:{low:02x}"),
            queues: 1,
            properties: String::new(),
            addresses: Vec::new(),
        }
    }

    /// Connect again this often after the back-end has gone; QEMU 7.2 rounds up to whole seconds.
    /// Without it a lost back-end stays lost. A tap has nothing to connect to.
    #[must_use]
    pub fn reconnect(mut self, every: Duration) -> Self {
        if let Backend::VhostUser { reconnect, .. } = &mut self.backend {
            *reconnect = Some(every);
        }
        self
    }

    /// Queue pairs, one by default.
    #[must_use]
    pub fn queues(mut self, pairs: u16) -> Self {
        self.queues = pairs;
        self
    }

    /// The hardware address, made up by default.
    #[must_use]
    pub fn mac(mut self, mac: &str) -> Self {
        mac.clone_into(&mut self.mac);
        self
    }

    /// One more property of QEMU's `virtio-net-pci`, as `mrg_rxbuf=off` or `host_mtu=9000`.
    #[must_use]
    pub fn property(mut self, property: &str) -> Self {
        self.properties += &format!(",{property}");
        self
    }

    /// An address with prefix length that the guest gives itself at every boot.
    #[must_use]
    pub fn address(mut self, address: &str) -> Self {
        self.addresses.push(address.to_owned());
        self
    }

    /// Its hardware address.
    #[must_use]
    pub fn mac_address(&self) -> &str {
        &self.mac
    }

    /// The namespace QEMU must run in to open the tap.
    pub(crate) fn netns(&self) -> Option<&str> {
        match &self.backend {
            Backend::VhostUser { .. } => None,
            Backend::Tap { netns, .. } => Some(netns),
        }
    }

    /// Words for the kernel's command line; our init reads them.
    pub(crate) fn boot_words(&self, index: usize) -> String {
        let words = self.addresses.iter();
        words
            .map(|address| format!(" nq.address=eth{index},{address}"))
            .collect()
    }

    /// QEMU's options for interface number `index`.
    pub(crate) fn options(&self, index: usize, version: QemuVersion, kvm: bool) -> Vec<String> {
        let queues = self.queues;
        let mut options = Vec::new();
        let mut device = format!(
            "virtio-net-pci,netdev=n{index},mac={},romfile={}",
            self.mac, self.properties
        );
        if queues > 1 {
            device += ",mq=on";
        }
        match &self.backend {
            Backend::VhostUser {
                socket,
                listens,
                reconnect,
            } => {
                let mut words =
                    reconnect.map_or_else(String::new, |every| reconnect_option(every, version));
                if *listens {
                    words += ",server=on";
                }
                let path = socket.display();
                options.extend([
                    "-chardev".to_owned(),
                    format!("socket,id=c{index},path={path}{words}"),
                    "-netdev".to_owned(),
                    format!("vhost-user,id=n{index},chardev=c{index},queues={queues}"),
                ]);
                // Debian's 7.2 crashes when vhost starts with MSI-X and without KVM.
                if version == QemuVersion::V7_2 && !kvm {
                    device += ",vectors=0";
                }
            }
            Backend::Tap { interface, .. } => {
                let many = if queues > 1 {
                    format!(",queues={queues}")
                } else {
                    String::new()
                };
                let tap = format!(
                    "tap,id=n{index},ifname={interface},script=no,downscript=no,vhost=off{many}"
                );
                options.extend(["-netdev".to_owned(), tap]);
            }
        }
        options.extend(["-device".to_owned(), device]);
        options
    }
}

fn reconnect_option(every: Duration, version: QemuVersion) -> String {
    match version {
        QemuVersion::V7_2 => format!(",reconnect={}", every.as_secs_f64().ceil().max(1.0)),
        QemuVersion::V10_0 => format!(",reconnect-ms={}", every.as_millis().max(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn msix_is_avoided_only_where_it_crashes() {
        let nic = Nic::vhost_user("/run/s").reconnect(Duration::from_millis(200));
        let old = nic.options(0, QemuVersion::V7_2, false).join(" ");
        assert!(
            old.contains("vectors=0") && old.contains("reconnect=1 "),
            "{old}"
        );
        assert!(
            !nic.options(0, QemuVersion::V7_2, true)
                .join(" ")
                .contains("vectors")
        );
        let new = nic.options(0, QemuVersion::V10_0, false).join(" ");
        assert!(
            !new.contains("vectors") && new.contains("reconnect-ms=200 "),
            "{new}"
        );
    }
}
