use super::*;
use crate::class::{ClassId, FlowsConfig, TreeConfig};
use crate::engine::{Frame, LeafKey, Offer, Wake};
use crate::units::{Burst, PacketRate};
use crate::wire::{FrameShape, Framing};

const ROOT: ClassId = ClassId::new(1, 0);
const LEAVES: u32 = 200;

fn rate(bits: u64) -> Option<Rate> {
    Rate::from_bits_per_second(bits)
}

/// A root, ten guests, twenty leaves each: half of them first in first out, half by flow.
fn tree() -> TreeConfig {
    let mut classes = vec![ClassConfig::new(ROOT).ceil(rate(10_000_000_000).unwrap())];
    for guest in 0..10 {
        classes.push(ClassConfig::new(ClassId::new(2, guest)).parent(ROOT));
    }
    for leaf in 0..200 {
        let class = ClassConfig::new(ClassId::new(3, leaf)).parent(ClassId::new(2, leaf % 10));
        classes.push(class.queue(if leaf % 2 == 0 {
            LeafQueue::Fifo { frames: 16 }
        } else {
            LeafQueue::Flows(FlowsConfig::default())
        }));
    }
    TreeConfig {
        flow_sets: 300,
        ..TreeConfig::new(classes)
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (self.0 >> 33) % bound
    }

    fn small(&mut self, bound: u32) -> u32 {
        u32::try_from(self.below(bound.into())).unwrap()
    }
}

fn change(class: &mut ClassConfig, random: &mut Random) {
    match random.below(6) {
        0 => class.weight = Some(1 + random.small(5000)),
        1 => class.ceil = rate(20_000_000 + random.below(1_000_000_000)),
        2 => class.prio = u8::try_from(random.below(4)).unwrap(),
        3 => class.cburst = Burst::Bytes(2000 + random.below(100_000)),
        4 => class.pps = PacketRate::from_segments_per_second(100_000 + random.below(1000)),
        _ => class.pps = None,
    }
    if let LeafQueue::Flows(flows) = &mut class.queue {
        flows.buckets = 1 + u16::try_from(random.below(256)).unwrap();
    }
}

/// Every row is used, by as many as its count says, and nothing else is counted.
fn check_books(engine: &Engine) {
    let classes = engine.index.values().map(|&index| engine.class(index));
    let mut users = vec![0; engine.profiles.len()];
    let mut counting = 0;
    for class in classes {
        users[class.profile as usize] += 1;
        counting += u32::from(engine.profile(class).pps.is_limit());
    }
    assert_eq!(engine.books.users.counts(), users);
    assert!(
        users.iter().all(|&users| users > 0),
        "a row that nobody uses"
    );
    assert_eq!(engine.books.counting, counting);
    assert_eq!(engine.plain, counting == 0);
    let mut users = vec![0; engine.sets.users().len()];
    for flows in &engine.flows {
        users[flows.settings() as usize] += 1;
    }
    assert_eq!(engine.sets.users(), users);
    assert!(
        users.iter().all(|&users| users > 0),
        "a row that nobody uses"
    );
    for (&id, &index) in &engine.index {
        let Some(family) = engine.family(index) else {
            continue;
        };
        let children = engine.index.values().map(|&child| engine.class(child));
        let profiles: Vec<&Profile> = children
            .filter(|child| child.parent == index)
            .map(|child| engine.profile(child))
            .collect();
        let guarantees = profiles.iter().map(|profile| profile.guarantee);
        assert_eq!(family.guaranteed, guarantees.sum::<u64>(), "{id}");
        let weights = profiles
            .iter()
            .map(|profile| u64::from(profile.excess.weight()));
        assert_eq!(family.weights, weights.sum::<u64>(), "{id}");
    }
}

#[test]
fn a_hundred_thousand_changes_amid_traffic_leak_no_row_and_lose_no_frame() {
    let mut config = tree();
    let mut engine = Engine::new(&config).unwrap();
    assert_eq!(engine.profiles.len(), 3, "root, guests, leaves");
    check_books(&engine);
    let keys: Vec<LeafKey> = (0..200)
        .map(|leaf| engine.leaf(ClassId::new(3, leaf)).unwrap())
        .collect();
    let mut random = Random(5);
    let mut now = Time::from_nanos(1 << 30);
    let (mut offered, mut sent, mut dropped) = (0_u64, 0_u64, 0_u64);
    let mut out = Vec::new();
    for round in 0..100_000 {
        let leaf = keys[random.small(LEAVES) as usize];
        let frame = Frame {
            flow: random.small(1 << 20),
            ..Frame::new(round, FrameShape::single(1514))
        };
        offered += u64::from(engine.offer(leaf, frame, now) == Offer::Queued);
        let at = usize::try_from(random.below(211)).unwrap();
        change(&mut config.classes[at], &mut random);
        engine.retune(&config.classes[at], now).unwrap();
        out.clear();
        let wake = engine.poll(now, 2, &mut out);
        sent += out.len() as u64;
        match wake {
            Wake::At(at) if random.below(4) == 0 => now = at,
            _ => now = now.saturating_add(crate::time::Span::from_nanos(random.below(9000))),
        }
        // CoDel's, of leaves that are slow for a while.
        dropped += std::iter::from_fn(|| engine.dropped()).count() as u64;
        if round % 1000 == 0 {
            check_books(&engine);
            assert_eq!(offered, sent + dropped + engine.snapshot()[0].queued);
        }
    }
    check_books(&engine);
    assert!(engine.profiles.len() <= 211 && sent > 20_000, "{sent} sent");
    engine.apply(&config, now).unwrap();
    check_books(&engine);
    while engine.snapshot()[0].queued > 0 {
        let Wake::At(wake) = engine.poll(now, u32::MAX, &mut out) else {
            break;
        };
        now = wake;
    }
    dropped += std::iter::from_fn(|| engine.dropped()).count() as u64;
    assert_eq!(engine.snapshot()[0].stats.sent.frames + dropped, offered);
    assert_eq!(engine.snapshot()[0].queued, 0);
}

#[test]
fn settings_that_one_class_alone_has_are_changed_in_place() {
    let mut config = tree();
    let mut engine = Engine::new(&config).unwrap();
    for bits in 1..100 {
        let class = &mut config.classes[20];
        class.ceil = rate(bits * 10_000_000);
        engine.retune(class, Time::ZERO).unwrap();
        engine.retune(class, Time::ZERO).unwrap();
        assert_eq!(engine.profiles.len(), 4);
    }
}

#[test]
fn segments_count_as_time_of_the_link_that_the_root_now_is() {
    let mut config = TreeConfig {
        segment_nanos: Some(100),
        ..tree()
    };
    let mut engine = Engine::new(&config).unwrap();
    assert_eq!((engine.segment_bytes, engine.plain), (125, false));
    config.classes[0].ceil = rate(1_000_000_000);
    engine.retune(&config.classes[0], Time::ZERO).unwrap();
    assert_eq!(engine.segment_bytes, 12);
    config.classes[0].ceil = None;
    let refused = engine.retune(&config.classes[0], Time::ZERO);
    assert_eq!(refused, Err(config.check().unwrap_err()));
    assert_eq!((engine.segment_bytes, engine.plain), (12, false));
}

#[test]
fn unlike_framings_are_never_plain() {
    let mut config = tree();
    config.classes[3].framing = Some(Framing::L2);
    let mut engine = Engine::new(&config).unwrap();
    for pps in [PacketRate::from_segments_per_second(5000), None] {
        config.classes[30].pps = pps;
        engine.retune(&config.classes[30], Time::ZERO).unwrap();
        assert!(!engine.plain);
    }
}
