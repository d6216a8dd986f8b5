//! Nothing is allocated while frames flow: between two changes of the tree, whatever queues the leaves
//! have, and however full they are.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use common::Rng;
use common::sim::{TINY, child, id, mixed, rate, tree};
use qos::{
    ClassConfig, Ecn, Engine, FlowsConfig, Frame, Hold, LeafKey, LeafQueue, Span, Time, TreeConfig,
    Wake,
};

/// Counts what is asked of the system's allocator.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[allow(unsafe_code)] // an allocator can be watched in no other way
// SAFETY: every call goes to `System` as it is, which keeps the contract; counting touches no memory
// that is given out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract, and all memory is `System`'s.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Leaves of every kind on two levels, few and many children a class; guarantees, ceilings, priorities.
fn config(leaves: u16, round: u16) -> TreeConfig {
    let mut classes = vec![
        child(1).rate(rate("300mbit")).ceil(rate("600mbit")),
        child(2).prio(1),
    ];
    for n in 0..leaves {
        let queue = match (n + round) % 3 {
            0 => LeafQueue::Hold,
            1 => LeafQueue::Fifo { frames: 16 },
            _ => LeafQueue::Flows(FlowsConfig {
                frames: 24,
                buckets: 8,
                target_nanos: 100_000,
                interval_nanos: 1_000_000,
                ce_threshold_nanos: Some(3_000_000),
                ..FlowsConfig::default()
            }),
        };
        let class = ClassConfig::new(id(2 + round, n)).parent(id(1, n % 3));
        let mut class = class.queue(queue).prio(u8::try_from(n % 4).unwrap());
        class.rate = (n % 3 == 1 && n < 30).then(|| rate("10mbit"));
        class.ceil = (n % 5 == 0).then(|| rate("40mbit"));
        class.pps = (n % 7 == 0).then(|| "5kpps".parse().unwrap());
        classes.push(class);
    }
    let mut tree = tree("1gbit", classes);
    tree.frames = 512;
    tree
}

/// Every call on the path of frames, in every order; returns how many frames went and were dropped.
fn traffic(engine: &mut Engine, keys: &[LeafKey], now: &mut Time, rng: &mut Rng) -> (u64, u64) {
    let (mut sent, mut dropped) = (0, 0);
    for _ in 0..600 {
        for &key in keys {
            if rng.below(2) == 0 && !engine.backlogged(key, *now) {
                let frame = Frame {
                    token: rng.bits(),
                    shape: mixed(rng),
                    flow: (rng.bits() >> 32) as u32,
                    ecn: if rng.below(3) == 0 {
                        Ecn::Ect0
                    } else {
                        Ecn::NotEct
                    },
                    ..Frame::new(0, TINY)
                };
                let _queued = engine.offer(key, frame, *now);
            }
            if rng.below(8) == 0 {
                engine.unblock(key, *now);
            }
        }
        while let Some(grant) = engine.peek(*now) {
            match rng.below(40) {
                0 => engine.abort(Hold::Blocked),
                1 => engine.abort(Hold::Empty),
                2 => engine.abort(Hold::Later),
                _ => {
                    let shape = grant.frame.map_or_else(|| mixed(rng), |frame| frame.shape);
                    let part = shape.peel(grant.segments(shape));
                    engine.commit(part.map_or(shape, |(part, _)| part));
                    sent += 1;
                }
            }
        }
        while engine.dropped().is_some() {
            dropped += 1;
        }
        if let Wake::At(at) = engine.next_wake(*now) {
            *now = at;
        }
        *now = now.saturating_add(Span::from_nanos(rng.below(100_000)));
    }
    (sent, dropped)
}

/// The only test of its program: another one beside it would allocate, too.
#[test]
fn nothing_is_allocated_while_frames_flow() {
    for leaves in [9, 60, 600] {
        let mut rng = Rng(leaves.into());
        let mut engine = Engine::new(&config(leaves, 0)).unwrap();
        let mut now = Time::from_nanos(1 << 31);
        for round in 0..3 {
            let config = config(leaves, round);
            if round > 0 {
                engine.apply(&config, now).unwrap();
            }
            let keys = config
                .classes
                .iter()
                .filter_map(|class| engine.leaf(class.id));
            let keys: Vec<LeafKey> = keys.collect();
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            let (sent, dropped) = traffic(&mut engine, &keys, &mut now, &mut rng);
            let allocated = ALLOCATIONS.load(Ordering::Relaxed) - before;
            assert_eq!(allocated, 0, "{leaves} leaves, round {round}");
            assert!(sent > 500 && dropped > 20, "{sent} sent, {dropped} dropped");
        }
    }
}
