//! Feature bits as masks (virtio 1.3 §5.1.3 and §6; vhost-user specification).

use virtio_bindings::{virtio_config as config, virtio_net as net, virtio_ring as ring};

/// The device finishes checksums of frames from the guest.
pub const CSUM: u64 = 1 << net::VIRTIO_NET_F_CSUM;
/// The driver takes unfinished checksums.
pub const GUEST_CSUM: u64 = 1 << net::VIRTIO_NET_F_GUEST_CSUM;
/// The driver takes TCP super-frames over IPv4.
pub const GUEST_TSO4: u64 = 1 << net::VIRTIO_NET_F_GUEST_TSO4;
/// The driver takes TCP super-frames over IPv6.
pub const GUEST_TSO6: u64 = 1 << net::VIRTIO_NET_F_GUEST_TSO6;
/// The driver takes TCP super-frames with ECN.
pub const GUEST_ECN: u64 = 1 << net::VIRTIO_NET_F_GUEST_ECN;
/// The device takes TCP super-frames over IPv4.
pub const HOST_TSO4: u64 = 1 << net::VIRTIO_NET_F_HOST_TSO4;
/// The device takes TCP super-frames over IPv6.
pub const HOST_TSO6: u64 = 1 << net::VIRTIO_NET_F_HOST_TSO6;
/// The device takes TCP super-frames with ECN.
pub const HOST_ECN: u64 = 1 << net::VIRTIO_NET_F_HOST_ECN;
/// A frame may lie in several receive chains.
pub const MRG_RXBUF: u64 = 1 << net::VIRTIO_NET_F_MRG_RXBUF;
/// Several queue pairs.
pub const MQ: u64 = 1 << net::VIRTIO_NET_F_MQ;
/// The driver takes UDP super-frames over IPv4.
pub const GUEST_USO4: u64 = 1 << 54;
/// The driver takes UDP super-frames over IPv6.
pub const GUEST_USO6: u64 = 1 << 55;
/// The device takes UDP super-frames.
pub const HOST_USO: u64 = 1 << 56;
/// Indirect descriptors.
pub const INDIRECT: u64 = 1 << ring::VIRTIO_RING_F_INDIRECT_DESC;
/// Notification by index.
pub const EVENT_IDX: u64 = 1 << ring::VIRTIO_RING_F_EVENT_IDX;
/// The device uses chains in the order in which they were made available.
pub const IN_ORDER: u64 = 1 << config::VIRTIO_F_IN_ORDER;
/// Not a legacy driver.
pub const VERSION_1: u64 = 1 << config::VIRTIO_F_VERSION_1;
/// `VHOST_USER_F_PROTOCOL_FEATURES`.
pub const PROTOCOL_FEATURES: u64 = 1 << 30;
/// What a driver without any offload takes.
pub const PLAIN: u64 = VERSION_1 | MRG_RXBUF;
