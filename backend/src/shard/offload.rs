//! Virtio-net feature bits and what they mean for the uplink's offloads (virtio 1.3 §5.1.3).

use ring::net::MAX_FRAME_LEN;
use ring::{Accepts, Offloads};
use virtio_bindings::virtio_net as bits;

use crate::uplink::Offload;

/// Whether `features` has the feature of this number.
pub(crate) const fn has(features: u64, bit: u32) -> bool {
    features & (1 << bit) != 0
}

/// `VIRTIO_NET_F_GUEST_USO4` (virtio 1.3 §5.1.3).
pub(crate) const GUEST_USO4: u32 = 54;
/// `VIRTIO_NET_F_GUEST_USO6` (virtio 1.3 §5.1.3).
pub(crate) const GUEST_USO6: u32 = 55;
/// `VIRTIO_NET_F_HOST_USO` (virtio 1.3 §5.1.3).
pub(crate) const HOST_USO: u32 = 56;

/// What the guest may leave to us in frames it sends.
pub(super) const fn from_guest(features: u64) -> Offloads {
    Offloads {
        csum: has(features, bits::VIRTIO_NET_F_CSUM),
        tso4: has(features, bits::VIRTIO_NET_F_HOST_TSO4),
        tso6: has(features, bits::VIRTIO_NET_F_HOST_TSO6),
        ecn: has(features, bits::VIRTIO_NET_F_HOST_ECN),
        uso: has(features, HOST_USO),
    }
}

/// What super-frames may be made of small frames for a side that takes these.
pub(super) const fn joins(takes: Offload) -> Accepts {
    Accepts {
        tcp4: takes.tso4,
        tcp6: takes.tso6,
        udp: takes.uso,
        zero_checksum_udp: false,
        most_bytes: MAX_FRAME_LEN,
    }
}

/// What the guest takes in frames it receives, and so what the uplink may leave to it.
pub(super) const fn to_guest(features: u64) -> Offload {
    Offload {
        csum: has(features, bits::VIRTIO_NET_F_GUEST_CSUM),
        tso4: has(features, bits::VIRTIO_NET_F_GUEST_TSO4),
        tso6: has(features, bits::VIRTIO_NET_F_GUEST_TSO6),
        tso_ecn: has(features, bits::VIRTIO_NET_F_GUEST_ECN),
        uso: has(features, GUEST_USO4) && has(features, GUEST_USO6),
    }
}
