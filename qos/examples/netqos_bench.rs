//! What one frame costs the scheduler, offer and dequeue together, in virtual time.
//!
//! `cargo run --release --example netqos_bench [CLASSES ...]` prints a line per number of leaves and
//! pattern: `netqos.<leaves>.<deep|sparse|apply> VALUE ns`. The tree has three levels, every class a
//! guarantee, a ceiling and a place in a sorted queue. *Deep*: every leaf always has frames, and a
//! visit serves at least eight. *Sparse*: every leaf gets one frame, in random order, and all are
//! drained before the next round. *Apply*: a new tree with every class retuned, per class.

use std::error::Error;
use std::time::Instant;

use qos::{
    Burst, ClassConfig, ClassId, Engine, Frame, FrameShape, LeafKey, LeafQueue, Offer, Rate, Span,
    Time, TreeConfig,
};

/// Link rate in bit/s.
const LINK: u64 = 400_000_000_000;
/// Frames between two readings of the clock.
const BURST: u64 = 256;
/// Frames per measurement at least.
const FRAMES: u64 = 4_000_000;
/// A minimum frame.
const SHAPE: FrameShape = FrameShape::single(60);
/// Nanoseconds that a burst of them takes of nine tenths of the link.
const BURST_NANOS: u64 = BURST * 84 * 8 * 10 / 9 * 1_000_000_000 / LINK;

fn main() -> Result<(), Box<dyn Error>> {
    let mut counts: Vec<u64> = std::env::args()
        .skip(1)
        .map(|text| text.parse())
        .collect::<Result<_, _>>()?;
    if counts.is_empty() {
        counts = vec![10, 1000, 100_000];
    }
    for leaves in counts {
        let bench = Bench::new(leaves)?;
        println!("netqos.{leaves}.deep {:.1} ns", bench.deep()?);
        let bench = Bench::new(leaves)?;
        println!("netqos.{leaves}.sparse {:.1} ns", bench.sparse()?);
        let bench = Bench::new(leaves)?;
        println!("netqos.{leaves}.apply {:.1} ns", bench.apply()?);
    }
    Ok(())
}

struct Bench {
    engine: Engine,
    tree: TreeConfig,
    leaves: Vec<LeafKey>,
    now: Time,
}

impl Bench {
    /// About as many guests as classes per guest.
    fn new(leaves: u64) -> Result<Self, Box<dyn Error>> {
        let guests = (1..).find(|n| n * n * 2 >= leaves).unwrap_or(1);
        let rate = |part: u64| Rate::from_bits_per_second(LINK / part).ok_or("too many leaves");
        let class = |id: ClassId, part: u64| -> Result<ClassConfig, &'static str> {
            let mut class = ClassConfig::new(id).rate(rate(part)?).ceil(rate(part)?);
            class.ceil = Rate::from_bits_per_second((LINK / part * 2).min(LINK));
            class.cburst = Burst::Duration(100_000_000);
            class.burst = class.cburst;
            Ok(class)
        };
        let root = ClassId::new(1, 0);
        let mut classes = vec![class(root, 1)?];
        let mut ids = Vec::new();
        for guest in 0..guests {
            let guest_id = ClassId::new(2, u16::try_from(guest)?);
            classes.push(class(guest_id, guests)?.parent(root));
            for leaf in (guest..leaves).step_by(usize::try_from(guests)?) {
                let id = ClassId::new(10 + u16::try_from(guest)?, u16::try_from(leaf / guests)?);
                let queue = LeafQueue::Fifo { frames: 64 };
                let part = guests * leaves.div_ceil(guests);
                classes.push(class(id, part)?.parent(guest_id).queue(queue));
                ids.push(id);
            }
        }
        let tree = TreeConfig {
            frames: u32::try_from(leaves * 32 + 64)?,
            ..TreeConfig::new(classes)
        };
        let engine = Engine::new(&tree)?;
        let key = |&id| engine.leaf(id).ok_or("the leaf is missing");
        let leaves = ids.iter().map(key).collect::<Result<_, _>>()?;
        Ok(Self {
            engine,
            tree,
            leaves,
            now: Time::from_nanos(1_000_000_000),
        })
    }

    fn offer(&mut self, leaf: LeafKey) -> Result<(), &'static str> {
        let frame = Frame::new(0, SHAPE);
        let queued = self.engine.offer(leaf, frame, self.now) == Offer::Queued;
        queued.then_some(()).ok_or("a queue was full")
    }

    /// Sends one frame; time goes on after every burst.
    fn send(&mut self, sent: u64) -> Result<LeafKey, &'static str> {
        if sent.is_multiple_of(BURST) {
            self.now = self.now.saturating_add(Span::from_nanos(BURST_NANOS));
        }
        let grant = self.engine.peek(self.now).ok_or("nothing may go")?;
        self.engine.commit(SHAPE);
        Ok(grant.leaf)
    }

    fn deep(mut self) -> Result<f64, Box<dyn Error>> {
        for leaf in self.leaves.clone() {
            for _ in 0..24 {
                self.offer(leaf)?;
            }
        }
        let start = Instant::now();
        for sent in 0..FRAMES {
            let leaf = self.send(sent)?;
            self.offer(leaf)?;
        }
        Ok(start.elapsed().as_secs_f64() * 1e9 / 4e6)
    }

    fn sparse(mut self) -> Result<f64, Box<dyn Error>> {
        let mut state = 1_u64;
        let mut leaves = self.leaves.clone();
        for at in (1..leaves.len()).rev() {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            leaves.swap(at, usize::try_from(state >> 33)? % (at + 1));
        }
        let start = Instant::now();
        let mut sent = 0;
        while sent < FRAMES {
            for &leaf in &leaves {
                self.offer(leaf)?;
            }
            for _ in &leaves {
                self.send(sent)?;
                sent += 1;
            }
        }
        let frames = f64::from(u32::try_from(sent)?);
        Ok(start.elapsed().as_secs_f64() * 1e9 / frames)
    }

    fn apply(mut self) -> Result<f64, Box<dyn Error>> {
        for leaf in self.leaves.clone() {
            self.offer(leaf)?;
        }
        let mut changed = 0_u32;
        let start = Instant::now();
        while changed < 400_000 {
            for class in &mut self.tree.classes {
                class.cburst = Burst::Duration(100_000_001 + u64::from(changed));
            }
            let diff = self.engine.apply(&self.tree, self.now)?;
            changed += diff.retuned;
        }
        Ok(start.elapsed().as_secs_f64() * 1e9 / f64::from(changed))
    }
}
