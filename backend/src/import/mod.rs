//! What guests are limited by elsewhere, made into a configuration of ours: Xen's `xl`, `tc`,
//! cloud-hypervisor, Firecracker, Open vSwitch, libvirt and OpenStack Neutron.
//!
//! Each kind has a module, whose head says in which units its source counts, what it counts, and as seen
//! from where. All make an [`Imported`], which is put in order in one place and written in one place.
//! What has no equal becomes a comment.
//!
//! A limit counts here what it counts there: most tools count the bytes of frames, or of what is in them,
//! and not what the wire adds. So `overhead` and `mpu` are part of what is imported.

mod amount;
mod bucket;
mod cloud_hypervisor;
mod device;
mod error;
mod firecracker;
mod json;
mod libvirt;
mod model;
mod openstack;
mod order;
mod ovs;
mod set;
mod tc;
mod words;
mod write;
mod xl;

use std::fmt;
use std::str::FromStr;

pub use self::error::{ImportError, Place};
pub use self::model::{Behind, Branch, Class, Guest, Imported, Limits, Met};

/// Whose settings they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Xen's `xl`: a domain's configuration, or its vif strings.
    Xl,
    /// `tc`: commands, or what it shows.
    Tc,
    /// cloud-hypervisor: `--net`, or the JSON of a VM.
    CloudHypervisor,
    /// Firecracker: its JSON.
    Firecracker,
    /// Open vSwitch: `ovs-vsctl` commands, or what `ovs-vsctl list` shows.
    Ovs,
    /// libvirt: a domain's XML.
    Libvirt,
    /// OpenStack Neutron: QoS policies in JSON.
    Openstack,
}

impl Kind {
    /// All there are.
    pub const ALL: [Self; 7] = [
        Self::Xl,
        Self::Tc,
        Self::CloudHypervisor,
        Self::Firecracker,
        Self::Ovs,
        Self::Libvirt,
        Self::Openstack,
    ];

    /// What the command line calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xl => "xl",
            Self::Tc => "tc",
            Self::CloudHypervisor => "cloud-hypervisor",
            Self::Firecracker => "firecracker",
            Self::Ovs => "ovs",
            Self::Libvirt => "libvirt",
            Self::Openstack => "openstack",
        }
    }
}

impl FromStr for Kind {
    type Err = ImportError;

    fn from_str(word: &str) -> Result<Self, ImportError> {
        let named = Self::ALL.into_iter().find(|kind| kind.name() == word);
        named.ok_or_else(|| ImportError::kind(word))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads what one of the other tools says about guests' limits. What comes of it can be served:
/// [`Imported::to_toml`] is a whole configuration.
///
/// # Errors
/// It is not what that tool reads or prints, or says what cannot be, with the line or key.
pub fn import(kind: Kind, text: &str) -> Result<Imported, ImportError> {
    let read = match kind {
        Kind::Xl => xl::read,
        Kind::Tc => tc::read,
        Kind::CloudHypervisor => cloud_hypervisor::read,
        Kind::Firecracker => firecracker::read,
        Kind::Ovs => ovs::read,
        Kind::Libvirt => libvirt::read,
        Kind::Openstack => openstack::read,
    };
    let mut imported = read(text)?;
    order::put(&mut imported)?;
    Ok(imported)
}
