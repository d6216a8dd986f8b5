//! What one session offers and where its bounds are.

use std::time::Duration;

/// `VHOST_USER_F_PROTOCOL_FEATURES`: the feature bit that opens the protocol feature messages.
pub const PROTOCOL_FEATURES: u64 = 1 << 30;

/// `VHOST_F_LOG_ALL`: dirty logging, never offered.
const LOG_ALL: u64 = 1 << 26;

/// Protocol feature bits (vhost-user specification, "Protocol features").
pub mod protocol {
    /// Several ring pairs.
    pub const MQ: u64 = 1 << 0;
    /// SEND_RARP.
    pub const RARP: u64 = 1 << 2;
    /// Acknowledgement of requests that have no reply of their own.
    pub const REPLY_ACK: u64 = 1 << 3;
    /// NET_SET_MTU.
    pub const MTU: u64 = 1 << 4;
    /// GET_CONFIG and SET_CONFIG.
    pub const CONFIG: u64 = 1 << 9;
    /// Memory regions one by one.
    pub const CONFIGURE_MEM_SLOTS: u64 = 1 << 15;
    /// SET_STATUS and GET_STATUS.
    pub const STATUS: u64 = 1 << 16;

    /// All that the adapter can serve; anything else in a configuration is not offered.
    pub const SERVED: u64 = MQ | RARP | REPLY_ACK | MTU | CONFIG | CONFIGURE_MEM_SLOTS | STATUS;
}

/// The most regions in one SET_MEM_TABLE (the specification's "memory region description").
pub const MAX_TABLE_REGIONS: usize = 8;

/// The most regions a session may have through ADD_MEM_REG; the answer to GET_MAX_MEM_SLOTS.
/// QEMU and DPDK use a handful; each costs a mapping and a lookup step.
pub const MAX_REGIONS: usize = 32;

/// The smallest MTU a front-end may set, in bytes: the least IPv4 demands (RFC 791).
pub const MIN_MTU: u16 = 68;

/// What a session offers its front-end, and its bounds.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Virtio feature bits offered. PROTOCOL_FEATURES is added, dirty logging removed.
    pub features: u64,
    /// Protocol feature bits offered, out of [`protocol::SERVED`]. REPLY_ACK is added.
    pub protocol_features: u64,
    /// Number of rings (two for each pair, one more for a control ring); at most 256.
    pub rings: u16,
    /// Largest ring size, in descriptors; a power of two.
    pub max_ring_size: u16,
    /// Largest MTU that NET_SET_MTU may set, in bytes.
    pub max_mtu: u16,
    /// Length of the device's configuration space in bytes, the bound of GET_CONFIG.
    pub config_len: u32,
    /// From a message's first byte to its last, and for a reply to be taken.
    pub message_deadline: Duration,
    /// For the engine to answer; long, since it waits for the packet path to come to rest.
    pub engine_deadline: Duration,
}

impl SessionConfig {
    /// A session of `rings` rings with these virtio features, every served protocol feature
    /// but CONFIG (which QEMU warns of), rings of at most 1024, an MTU of at most 65,535 and
    /// deadlines of 2 s and 10 s.
    pub fn new(features: u64, rings: u16) -> Self {
        Self {
            features,
            protocol_features: protocol::SERVED & !protocol::CONFIG,
            rings,
            max_ring_size: 1024,
            max_mtu: u16::MAX,
            config_len: 0,
            message_deadline: Duration::from_secs(2),
            engine_deadline: Duration::from_secs(10),
        }
    }

    /// The answer to GET_FEATURES.
    pub fn offered_features(&self) -> u64 {
        (self.features | PROTOCOL_FEATURES) & !LOG_ALL
    }

    /// The answer to GET_PROTOCOL_FEATURES.
    pub fn offered_protocol_features(&self) -> u64 {
        (self.protocol_features & protocol::SERVED) | protocol::REPLY_ACK
    }
}
