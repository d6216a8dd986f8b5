//! Leaves of flows at work: with senders that answer what happens to them, and with settings that
//! make no sense.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // small numbers

mod common;

use common::senders::{Kind, MS, World};
use qos::{
    Ack, ClassConfig, ClassId, Ecn, Engine, FlowsConfig, Frame, FrameShape, Framing, LeafQueue,
    Offer, Time, TreeConfig,
};

/// Rates with the bits per second, and the wire time of a full segment or, above 123 Mbit/s, of what
/// 100 us carry.
const LINKS: [(&str, u64, u64); 3] = [
    ("10mbit", 10_000_000, 1_230_400),
    ("100mbit", 100_000_000, 123_040),
    ("1gbit", 1_000_000_000, 100_000),
];

/// Holds a mix of senders to what an operator is promised: the link is used, those that send little
/// do not notice, and those that send much share evenly.
fn hold(link: usize, rtt: u64, flows: FlowsConfig, kinds: &[Kind]) {
    let (rate, bits, unit) = LINKS[link];
    let mut world = World::new(rate, rtt, flows, kinds);
    let (used, p99) = world.measure(bits);
    let what = format!("{rate}, {} x {:?}, {rtt} ns", kinds.len(), kinds[0]);
    assert!((0.98..1.001).contains(&used), "{what}: {used} of the link");
    assert!(p99 <= 5 * MS + unit, "{what}: {p99} ns");
    let each = world.senders.iter().map(|sender| sender.delivered as f64);
    let (sum, squares) = each.fold((0.0, 0.0), |(a, b), x| (a + x, b + x * x));
    let jain = sum * sum / (squares * kinds.len() as f64);
    assert!(jain > 0.99, "{what}: shares {jain}");
    let stats = world.engine.snapshot()[0].stats;
    if kinds.iter().all(|kind| *kind != Kind::Reno { ecn: false }) {
        assert_eq!(stats.dropped.segments, 0, "{what}: marks are enough");
    } else {
        assert!(stats.dropped.segments > 0, "{what}");
    }
}

#[test]
fn senders_that_back_off_use_the_link_and_leave_sparse_flows_alone() {
    let flows = FlowsConfig {
        frames: 4000,
        ..FlowsConfig::default()
    };
    for ecn in [false, true] {
        let kind = Kind::Reno { ecn };
        hold(0, 5 * MS, flows, &[kind; 4]);
        hold(0, 30 * MS, flows, &[kind; 4]);
        hold(1, 5 * MS, flows, &[kind]);
        hold(1, 30 * MS, flows, &[kind; 20]);
        hold(2, 5 * MS, flows, &[kind; 4]);
        hold(2, 30 * MS, flows, &[kind; 20]);
    }
}

#[test]
fn senders_that_answer_in_proportion_keep_the_link_used_at_a_millisecond() {
    let flows = FlowsConfig {
        frames: 4000,
        ce_threshold_nanos: Some(MS),
        ce_threshold_ect1_only: true,
        ..FlowsConfig::default()
    };
    for link in 0..LINKS.len() {
        hold(link, 5 * MS, flows, &[Kind::Dctcp; 4]);
    }
}

/// A leaf without a flow set still has its delay under control.
#[test]
fn one_queue_under_control_is_used_well_too() {
    let kinds = [Kind::Reno { ecn: false }; 4];
    let mut world = World::with_sets("10mbit", 20 * MS, FlowsConfig::default(), &kinds, 0);
    let (used, p99) = world.measure(10_000_000);
    assert!(used > 0.95, "{used}");
    assert!(p99 < 60 * MS, "{p99}");
    assert!(world.engine.snapshot()[0].stats.crowded > 0);
}

#[test]
fn no_setting_panics_or_stalls() {
    let ends = [0, 1, u64::MAX];
    let short = |end: u64| u32::try_from(end).unwrap_or(u32::MAX).max(1);
    let mut runs = 0;
    for target_nanos in ends {
        for interval_nanos in ends {
            for other in ends {
                let flows = FlowsConfig {
                    frames: short(other),
                    bytes: Some(short(target_nanos)),
                    buckets: short(interval_nanos).min(256) as u16,
                    quantum: Some(short(other)),
                    target_nanos,
                    interval_nanos,
                    ce_threshold_nanos: Some(other),
                    ce_threshold_ect1_only: other == 1,
                    ack_filter: true,
                    host_isolation: target_nanos > 0,
                };
                let framing = Framing {
                    overhead: if other == 0 { i32::MIN } else { i32::MAX },
                    mpu: short(interval_nanos),
                };
                runs += usize::from(passes_all(flows, framing));
            }
        }
    }
    assert_eq!(runs, 27);
}

/// Whether every frame that such a leaf takes comes out again.
fn passes_all(flows: FlowsConfig, framing: Framing) -> bool {
    let root = ClassConfig::new(ClassId::new(1, 0));
    let leaf = ClassConfig {
        framing: Some(framing),
        ..ClassConfig::new(ClassId::new(1, 1)).parent(root.id)
    };
    let tree = TreeConfig {
        frames: 300,
        ..TreeConfig::new(vec![root, leaf.queue(LeafQueue::Flows(flows))])
    };
    let mut engine = Engine::new(&tree).unwrap();
    let leaf = engine.leaf(ClassId::new(1, 1)).unwrap();
    let (mut taken, mut back, mut now) = (0, 0, 0);
    for n in 0..500_u32 {
        now += u64::from(n) * MS;
        let shape = FrameShape {
            len: [60, 1514, 65_535, u32::MAX][n as usize % 4],
            headers: [0, 54, u32::MAX][n as usize % 3],
            gso_size: [0, 1448, 1][n as usize / 7 % 3],
        };
        let frame = Frame::new(n.into(), shape)
            .flow(n.wrapping_mul(0x9e37_79b9))
            .host(n << 30)
            .ack(Ack::new(n, n % 3))
            .ecn(Ecn::from_bits((n / 3) as u8));
        let offer = engine.offer(leaf, frame, Time::from_nanos(now));
        taken += usize::from(offer == Offer::Queued);
        if n % 3 == 0 {
            let granted = engine.peek(Time::from_nanos(now)).unwrap().frame.unwrap();
            back += usize::from(engine.commit(granted.shape).is_some());
        }
        back += std::iter::from_fn(|| engine.dropped()).count();
    }
    while let Some(grant) = engine.peek(Time::from_nanos(now)) {
        back += usize::from(engine.commit(grant.frame.unwrap().shape).is_some());
        back += std::iter::from_fn(|| engine.dropped()).count();
    }
    taken == back && taken > 0
}
