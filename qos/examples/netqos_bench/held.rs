//! Frames that wait with the caller, as in the rings of guests: one by one, or by the burst. And those that
//! wait nowhere.

use qos::{Engine, FlowCounters, FrameShape, LeafKey, LeafQueue, Span, Time};

use crate::Result;
use crate::clock::Watch;
use crate::tree::Tree;
use crate::work::{BURST, BURST_NANOS};

/// A minimum frame.
const SHAPE: FrameShape = FrameShape::single(60);

/// Nanoseconds per frame of leaves that always have one.
pub(crate) fn run(tree: &Tree, frames: u32, together: bool) -> Result<f64> {
    let mut engine = Engine::new(&tree.config(LeafQueue::Hold)?)?;
    let mut now = Time::from_nanos(1_000_000_000);
    let keys: Vec<LeafKey> = tree
        .leaves()
        .filter_map(|(id, _)| engine.leaf(id))
        .collect();
    for key in keys {
        engine.backlogged(key, now);
    }
    let (mut sent, mut since) = (0, 0);
    let start = Watch::start()?;
    while sent < frames {
        if since >= BURST {
            since = 0;
            now = now.saturating_add(Span::from_nanos(BURST_NANOS));
        }
        let grant = engine.peek(now).ok_or("nothing may go")?;
        let mut gone = FlowCounters::default();
        let cost = grant.framing.cost(SHAPE);
        gone.add(SHAPE.len, cost);
        if together {
            while grant.room.holds(&gone, cost) {
                gone.add(SHAPE.len, cost);
            }
            engine.commit_burst(&gone, SHAPE);
        } else {
            engine.commit(SHAPE);
        }
        let gone = u32::try_from(gone.frames)?;
        sent += gone;
        since += gone;
    }
    start.nanos_each(sent)
}

/// Nanoseconds per frame of an idle tree with queues.
pub(crate) fn pass(tree: &Tree, frames: u32) -> Result<f64> {
    let mut engine = Engine::new(&tree.config(LeafQueue::Fifo { frames: 128 })?)?;
    let leaf = |(id, _)| engine.leaf(id);
    let keys: Vec<LeafKey> = tree.leaves().filter_map(leaf).collect();
    let mut now = Time::from_nanos(1_000_000_000);
    let start = Watch::start()?;
    for (number, &key) in (0..frames).zip(keys.iter().cycle()) {
        if number % BURST == 0 {
            now = now.saturating_add(Span::from_nanos(BURST_NANOS));
        }
        if !engine.pass(key, SHAPE, now) {
            return Err("a frame did not pass".into());
        }
    }
    start.nanos_each(frames)
}
