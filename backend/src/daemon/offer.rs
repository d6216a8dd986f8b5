//! What a port offers its front-end: only what its uplink can carry.

use virtio_bindings::{virtio_config as config_bits, virtio_net as net, virtio_ring as ring_bits};

use crate::config::GuestConfig;
use crate::engine::EngineConfig;
use crate::session::{SessionConfig, protocol};
use crate::shard::offload::{GUEST_USO4, GUEST_USO6, HOST_USO};
use crate::uplink::Offload;

/// Offered whatever the uplink.
const ALWAYS: [u32; 6] = [
    config_bits::VIRTIO_F_VERSION_1,
    config_bits::VIRTIO_F_IN_ORDER,
    ring_bits::VIRTIO_RING_F_EVENT_IDX,
    ring_bits::VIRTIO_RING_F_INDIRECT_DESC,
    net::VIRTIO_NET_F_MRG_RXBUF,
    net::VIRTIO_NET_F_MTU,
];

/// Virtio features for an uplink with these offloads and a port with this many pairs.
fn features(offload: Offload, queues: u16) -> u64 {
    let groups: [(bool, &[u32]); 6] = [
        (true, &ALWAYS),
        (
            offload.csum,
            &[net::VIRTIO_NET_F_CSUM, net::VIRTIO_NET_F_GUEST_CSUM],
        ),
        (
            offload.tso4,
            &[net::VIRTIO_NET_F_HOST_TSO4, net::VIRTIO_NET_F_GUEST_TSO4],
        ),
        (
            offload.tso6,
            &[net::VIRTIO_NET_F_HOST_TSO6, net::VIRTIO_NET_F_GUEST_TSO6],
        ),
        (
            offload.tso_ecn,
            &[net::VIRTIO_NET_F_HOST_ECN, net::VIRTIO_NET_F_GUEST_ECN],
        ),
        (offload.uso, &[HOST_USO, GUEST_USO4, GUEST_USO6]),
    ];
    let several: &[u32] = if queues > 1 {
        &[net::VIRTIO_NET_F_MQ]
    } else {
        &[]
    };
    let bits = groups
        .into_iter()
        .filter(|(offered, _)| *offered)
        .flat_map(|(_, bits)| bits);
    bits.chain(several)
        .fold(0, |features, bit| features | 1 << bit)
}

/// The session that a guest's port offers on an uplink with these offloads and this MTU in bytes.
pub(super) fn session_config(guest: &GuestConfig, offload: Offload, mtu: u16) -> SessionConfig {
    let offered = features(offload, guest.queues);
    let mut session = SessionConfig::new(offered, 2 * guest.queues);
    session.max_mtu = guest.mtu.unwrap_or(mtu);
    session
}

/// The same for the engine behind it. What the adapter answers itself is not for the engine.
pub(super) fn engine_config(session: &SessionConfig) -> EngineConfig {
    let own = protocol::RARP | protocol::MTU | protocol::STATUS;
    EngineConfig {
        features: session.offered_features(),
        protocol_features: session.offered_protocol_features() & !own,
        rings: usize::from(session.rings),
        max_ring_size: session.max_ring_size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_uplink_cannot_do_is_not_offered() {
        let plain = features(Offload::NONE, 1);
        let all = features(Offload::ALL, 2);
        assert_eq!(plain & (1 << net::VIRTIO_NET_F_CSUM), 0);
        assert_eq!(plain & (1 << net::VIRTIO_NET_F_MQ), 0);
        assert_eq!(plain & all, plain);
        for bit in [HOST_USO, net::VIRTIO_NET_F_GUEST_ECN, net::VIRTIO_NET_F_MQ] {
            assert_ne!(all & (1 << bit), 0, "feature {bit}");
        }
    }
}
