//! The flags for one guest as the short form of a file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use qos::{ClassConfig, ClassifierConfig, FlowsConfig, LeafQueue};

use super::{ArgsError, LimitConfig, PortConfig};
use crate::config::{
    Config, ControlConfig, DEFAULT_POOL_BYTES, FloodConfig, GUEST, GuestConfig, GuestTree,
    RootConfig, SandboxSettings, Trust, UplinkConfig, UplinkKind, VlanConfig,
};

/// One guest behind one tap, and called as the tap is.
pub(super) fn config(port: PortConfig, control: Option<PathBuf>) -> Result<Config, ArgsError> {
    let name = port.tap.name.to_string();
    let uplink = UplinkConfig {
        name: name.clone(),
        kind: UplinkKind::Tap {
            name: port.tap.name,
            bridge: port.tap.bridge,
        },
        queues: port.tap.queues,
        mtu: port.tap.mtu,
        from_guest: RootConfig::default(),
        to_guest: RootConfig::default(),
        flood: FloodConfig::default(),
    };
    let guest = GuestConfig {
        name,
        front_end: port.front_end,
        uplink: 0,
        queues: port.queues,
        mtu: port.mtu,
        mac: port.mac,
        addresses: Vec::new(),
        vlan: VlanConfig::Transparent,
        isolation: None,
        coalesce: true,
        trust: Trust::default(),
        from_guest: leaf(&port.from_guest, LeafQueue::Hold),
        to_guest: leaf(&port.to_guest, LeafQueue::Flows(FlowsConfig::default())),
    };
    let config = Config {
        poll: port.poll,
        shards: 1,
        pool_bytes: DEFAULT_POOL_BYTES,
        control: control.map(|path| ControlConfig { path, group: None }),
        metrics: None,
        sandbox: SandboxSettings::default(),
        uplinks: vec![uplink],
        guests: vec![guest],
    };
    match config.admit() {
        Ok(()) => Ok(config),
        Err(refusal) => Err(ArgsError::Tree(refusal.fault)),
    }
}

/// A guest that is one class.
fn leaf(limit: &LimitConfig, queue: LeafQueue) -> GuestTree {
    let class = ClassConfig {
        ceil: limit.rate,
        cburst: limit.burst,
        pps: limit.pps,
        queue,
        ..ClassConfig::new(GUEST)
    };
    GuestTree {
        classes: vec![class],
        names: BTreeMap::new(),
        rules: ClassifierConfig::default(),
    }
}
