//! What one frame costs a scheduler, enqueue and dequeue together, in virtual time.
//!
//! `cargo run --release --example netqos_bench` prints a line for each number of leaves and pattern:
//! `SCHEDULER.LEAVES.PATTERN VALUE ns`. The tree has three levels; where the scheduler has them, every
//! class has a guarantee and a ceiling, and frames come at nine tenths of the link.

mod clock;
mod held;
mod models;
mod ours;
mod tree;
mod work;

use std::error::Error;

use clap::{Parser, ValueEnum};

use models::{Drr, HeapWf2q, RbtreeHtb};
use ours::Ours;
use tree::Tree;
use work::Work;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Contender {
    /// The engine
    Netqos,
    /// Deficit round robin: one level, no limits
    Drr,
    /// WF2Q+ with heaps: one level, no limits
    HeapWf2q,
    /// A hierarchical token bucket with balanced trees
    RbtreeHtb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Pattern {
    /// Every leaf always has frames, and a visit may serve many
    Deep,
    /// A frame for every leaf, in random order; then all are taken out
    Sparse,
    /// As deep, with CoDel on flow queues in the leaves; only the engine
    Flows,
    /// Every leaf always has frames, which wait with the caller and are committed one by one; only the
    /// engine
    Held,
    /// The same, committed by the burst; only the engine
    Burst,
    /// Frames that pass without a queue, each of another leaf; only the engine
    Pass,
    /// Another tree with every class retuned, per class; only the engine
    Apply,
    /// One random class retuned after another; only the engine
    Retune,
}

#[derive(Debug, Parser)]
struct Args {
    /// Numbers of leaves
    #[arg(default_values_t = [10, 1000, 100_000])]
    leaves: Vec<u32>,

    /// Who is measured
    #[arg(long, value_enum, default_value_t = Contender::Netqos)]
    scheduler: Contender,

    /// How frames come; may be given several times
    #[arg(long, value_enum, default_values_t = [Pattern::Deep, Pattern::Sparse, Pattern::Apply, Pattern::Retune])]
    pattern: Vec<Pattern>,

    /// Frames that are measured, or classes retuned; rounded up to whole rounds
    #[arg(long, default_value_t = 4_000_000)]
    frames: u32,

    /// Give every guest one leaf, instead of about as many leaves as there are guests
    #[arg(long)]
    lone: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    for &leaves in &args.leaves {
        let tree = Tree::new(leaves, args.lone);
        for &pattern in &args.pattern {
            let nanos = measure(args.scheduler, pattern, &tree, args.frames)?;
            let names = (value_name(args.scheduler), value_name(pattern));
            println!("{}.{leaves}.{} {nanos:.1} ns", names.0, names.1);
        }
    }
    Ok(())
}

fn value_name(value: impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

fn measure(contender: Contender, pattern: Pattern, tree: &Tree, frames: u32) -> Result<f64> {
    let weights = || vec![1; tree.leaves().count()];
    match (contender, pattern) {
        (Contender::Netqos, Pattern::Apply) => ours::apply(tree, frames),
        (Contender::Netqos, Pattern::Retune) => ours::retune(tree, frames),
        (Contender::Netqos, Pattern::Held) => held::run(tree, frames, false),
        (Contender::Netqos, Pattern::Burst) => held::run(tree, frames, true),
        (Contender::Netqos, Pattern::Pass) => held::pass(tree, frames),
        (Contender::Netqos, Pattern::Flows) => {
            let mut work = Work::new(Ours::with_flows(tree)?);
            let nanos = work.deep(frames)?;
            if work.scheduler().has_dropped() {
                return Err("frames were dropped".into());
            }
            Ok(nanos)
        }
        (Contender::Netqos, _) => {
            let mut work = Work::new(Ours::new(tree)?);
            let nanos = work.run(pattern, frames)?;
            if pattern == Pattern::Deep && work.visit()? < 8.0 {
                return Err("deep is not deep: a visit serves fewer than 8 frames".into());
            }
            Ok(nanos)
        }
        (
            _,
            Pattern::Apply
            | Pattern::Retune
            | Pattern::Flows
            | Pattern::Held
            | Pattern::Burst
            | Pattern::Pass,
        ) => Err("only the engine does this".into()),
        (Contender::Drr, _) => Work::new(Drr::new(&weights())).run(pattern, frames),
        (Contender::HeapWf2q, _) => Work::new(HeapWf2q::new(&weights())).run(pattern, frames),
        (Contender::RbtreeHtb, _) => Work::new(RbtreeHtb::new(&tree.htb())).run(pattern, frames),
    }
}
