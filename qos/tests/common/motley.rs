//! Random trees with everything in them.

use qos::{
    Burst, ClassConfig, FrameShape, Framing, LeafQueue, Overcommit, PacketBurst, TreeConfig,
};

use super::Rng;
use super::sim::{FULL, TINY, child, id, mixed, rate, tree};

/// Guests with limits and guarantees of all kinds, some shared, and with leaves with these queues.
pub(crate) fn motley(rng: &mut Rng, queues: &[LeafQueue]) -> TreeConfig {
    let (guests, leaves) = (1 + rng.below(4), 1 + rng.below(15));
    let framings = [None, None, None, Some(Framing::L2), Some(Framing::L3)];
    let plain = rng.below(2) == 0;
    let mut classes = Vec::new();
    for guest in 1..=u16::try_from(guests).unwrap() {
        let mut class = child(guest);
        class.rate = (rng.below(2) == 0).then(|| rate("80mbit"));
        class.ceil = (rng.below(2) == 0).then(|| rate("400mbit"));
        class.prio = u8::try_from(rng.below(3)).unwrap();
        limit(&mut class, plain, rng);
        classes.push(class);
        for leaf in 0..u16::try_from(leaves).unwrap() {
            let mut class = ClassConfig::new(id(1 + guest, leaf)).parent(id(1, guest));
            class.rate = (rng.below(4) == 0).then(|| rate("2mbit"));
            class.ceil = (rng.below(3) == 0).then(|| rate("50mbit"));
            class.weight = Some(1 + u32::try_from(rng.below(9)).unwrap());
            class.quantum = (rng.below(3) == 0).then(|| 1600 << rng.below(6));
            class.queue = queues[usize::try_from(rng.below(queues.len() as u64)).unwrap()];
            if !plain {
                class.framing = framings[usize::try_from(rng.below(5)).unwrap()];
            }
            limit(&mut class, plain, rng);
            classes.push(class);
        }
    }
    if guests > 1 && rng.below(3) == 0 {
        // The first guest's limits are the second's, and so with their first leaves.
        for class in &mut classes {
            let owner = match (class.id.major, class.id.minor) {
                (1, 2) => id(1, 1),
                (3, 0) => id(2, 0),
                _ => continue,
            };
            class.limits_of = Some(owner);
            (class.ceil, class.pps) = (None, None);
            (class.cburst, class.pps_burst) = (Burst::Auto, PacketBurst::Auto);
        }
    }
    TreeConfig {
        overcommit: Overcommit::Scale,
        segment_nanos: (!plain && rng.below(2) == 0).then_some(300),
        ..tree("1gbit", classes)
    }
}

fn limit(class: &mut ClassConfig, plain: bool, rng: &mut Rng) {
    if rng.below(2) == 0 {
        class.cburst = Burst::Bytes(1600 << rng.below(7));
    }
    if !plain && rng.below(3) == 0 {
        class.pps = Some("20kpps".parse().unwrap());
        class.pps_burst = PacketBurst::Segments(1 << rng.below(8));
    }
}

/// A frame, most of them small.
pub(crate) fn shape(rng: &mut Rng) -> FrameShape {
    match rng.below(8) {
        0..=4 => TINY,
        5 | 6 => FULL,
        _ => mixed(rng),
    }
}
