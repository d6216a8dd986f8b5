//! T13: the same payload costs a tree the same to the byte, and gets the same share, as super-frames,
//! peeled or as plain frames.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::Rng;
use common::drive::Drive;
use common::sim::{FULL, SUPER, Shapes, child, id, rate, tree};
use qos::{
    ClassConfig, ClassId, Engine, Frame, FrameShape, Framing, LeafQueue, Offer, Time, TreeConfig,
    Wake,
};

/// How payload is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Whole,
    Peeled,
    Plain,
}

/// The frames that carry a super-frame's payload as it is cut by the sender.
fn plain(shape: FrameShape) -> Vec<FrameShape> {
    let mut frames = Vec::new();
    let mut rest = Some(shape);
    while let Some(shape) = rest {
        let (part, next) = shape.peel(1).map_or((shape, None), |(p, r)| (p, Some(r)));
        frames.push(FrameShape::single(part.len));
        rest = next;
    }
    frames
}

/// Root, guest, leaf, each with a framing of its own, and a queue.
fn framed() -> (TreeConfig, ClassId) {
    let mut guest = child(1);
    guest.framing = Some(Framing::L2);
    let leaf = ClassConfig::new(id(1, 2)).parent(id(1, 1));
    let mut leaf = leaf.queue(LeafQueue::Fifo { frames: 4096 });
    leaf.framing = Some(Framing::L3);
    (tree("100mbit", vec![guest, leaf]), id(1, 2))
}

/// Sends `frames` in this form; returns when the last went, and wire bytes and segments charged.
fn send(frames: &[FrameShape], form: Form, config: &TreeConfig, leaf: ClassId) -> (Time, u64, u64) {
    let mut engine = Engine::new(config).unwrap();
    let key = engine.leaf(leaf).unwrap();
    let mut now = Time::from_nanos(1 << 30);
    for &frame in frames {
        let cut = if form == Form::Plain {
            plain(frame)
        } else {
            vec![frame]
        };
        for shape in cut {
            assert_eq!(engine.offer(key, Frame::new(0, shape), now), Offer::Queued);
        }
    }
    loop {
        while let Some(grant) = engine.peek(now) {
            let shape = grant.frame.unwrap().shape;
            let part = shape.peel(grant.segments(shape));
            match part.filter(|_| form == Form::Peeled) {
                // More of it waits, so it is not handed back.
                Some((part, _)) => assert_eq!(engine.commit(part), None),
                None => assert!(engine.commit(shape).is_some()),
            }
        }
        match engine.next_wake(now) {
            Wake::At(at) => now = at,
            Wake::Now => {}
            Wake::Idle => break,
        }
    }
    let root = engine.snapshot()[0];
    assert_eq!(root.queued, 0);
    (now, root.stats.sent.wire_bytes, root.stats.sent.segments)
}

#[test]
fn a_payload_is_charged_to_the_byte_alike_in_every_form() {
    let mut rng = Rng(2);
    for _ in 0..40 {
        let frames: Vec<FrameShape> = (0..40)
            .map(|_| FrameShape {
                len: 66 + 1 + u32::try_from(rng.below(65_000)).unwrap(),
                headers: 66,
                gso_size: 536 + u32::try_from(rng.below(913)).unwrap(),
            })
            .collect();
        let (config, leaf) = framed();
        let want = frames.iter().map(|&shape| Framing::L3.cost(shape));
        let want = want.fold((0, 0), |sum, cost| {
            (sum.0 + cost.wire_bytes, sum.1 + u64::from(cost.segments))
        });
        let ends = [Form::Whole, Form::Peeled, Form::Plain].map(|form| {
            let (end, bytes, segments) = send(&frames, form, &config, leaf);
            assert_eq!((bytes, segments), want, "{form:?}");
            end.as_nanos()
        });
        // The limit of the root, which counts Ethernet, was charged alike, too: the last frames go
        // when all before them are paid for, up to the length of those.
        let unit = 80_000 * 8_000_000_000 / rate("100mbit").bits_per_second();
        assert!(ends[0].abs_diff(ends[1]) <= unit && ends[2].abs_diff(ends[1]) <= unit);
    }
}

#[test]
fn super_frames_peeled_or_not_and_plain_frames_share_to_a_thousandth() {
    for peel in [false, true] {
        for quantum in [None, Some(16_000)] {
            let set = |mut class: ClassConfig| {
                class.quantum = quantum;
                class
            };
            let tree = tree("500mbit", vec![set(child(1)), set(child(2)), set(child(3))]);
            let leaves = [id(1, 1), id(1, 2), id(1, 3)];
            let mut drive = Drive::greedy(&tree, &leaves, FULL);
            drive.peel = peel;
            drive.shapes[0] = Shapes::One(SUPER);
            // The same segments, with another number to a super-frame.
            let len = 66 + 7 * 1448;
            drive.shapes[2] = Shapes::One(FrameShape { len, ..SUPER });
            drive.run_with(100_000_000, |_| ());
            let sent = drive.measure(5_000_000_000);
            println!("peel {peel}, quantum {quantum:?}: {sent:?}");
            for other in [sent[0], sent[2]] {
                assert!(
                    other.abs_diff(sent[1]) * 1000 <= sent[1],
                    "peel {peel}: {sent:?}"
                );
            }
        }
    }
}
