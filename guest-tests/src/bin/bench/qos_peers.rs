//! `qos-peers`: the scheduler beside others, who take turns. DPDK's `rte_sched` with a pipe for every
//! guest beside our engine with a leaf for every guest, all backlogged; and models of what else there is.

use guest_tests::Result;
use guest_tests::peers::{Cores, RteSched, SchedulerBench, SchedulerRun};

use crate::Stop;
use crate::figures::{self, Series};
use crate::qos::{ROUNDS, SIZES};

/// Guests: powers of two, as DPDK wants them.
const GUESTS: [u32; 3] = [64, 1024, 4096];

#[derive(Debug, Clone, Copy)]
enum Contender {
    /// A scheduler of the engine's benchmark, and the pattern.
    Ours(&'static str, &'static str),
    /// DPDK's, and the traffic class.
    Dpdk(&'static str, u32),
}

impl Contender {
    fn name(self, leaves: u32) -> String {
        match self {
            Self::Ours(scheduler, pattern) => format!("{scheduler}.{leaves}.{pattern}"),
            Self::Dpdk(name, _) => format!("{name}.{leaves}"),
        }
    }
}

/// Our engine and the models, in either pattern.
const SCHEDULERS: [Contender; 8] = [
    Contender::Ours("netqos", "deep"),
    Contender::Ours("drr", "deep"),
    Contender::Ours("heap_wf2q", "deep"),
    Contender::Ours("rbtree_htb", "deep"),
    Contender::Ours("netqos", "sparse"),
    Contender::Ours("drr", "sparse"),
    Contender::Ours("heap_wf2q", "sparse"),
    Contender::Ours("rbtree_htb", "sparse"),
];

/// Whom we are compared with: next to us, for what disturbs one is then likely to disturb the other. Best
/// effort is what most traffic is there, and has weights as our classes do; the strictest class is the
/// shortest way through.
const DPDK: [Contender; 2] = [
    Contender::Dpdk("rte_sched", RteSched::BEST_EFFORT),
    Contender::Dpdk("rte_sched_strict", RteSched::STRICT),
];

/// What flow queues with CoDel cost us.
const FLOWS: Contender = Contender::Ours("netqos", "flows");

pub(crate) fn run(stop: &Stop) -> Result<()> {
    let cores = Cores::first_two()?;
    let (bench, dpdk) = (SchedulerBench::new(cores)?, RteSched::new(cores)?);
    let measure = |contender, leaves, lone| match contender {
        Contender::Ours(scheduler, pattern) => bench.nanos(SchedulerRun {
            scheduler,
            pattern,
            leaves,
            lone,
        }),
        Contender::Dpdk(_, class) => dpdk.nanos(leaves, class),
    };
    for guests in GUESTS {
        let contenders = [&DPDK[..], &SCHEDULERS, &[FLOWS]].concat();
        let series = race(stop, &contenders, guests, |contender| {
            measure(contender, guests, true)
        })?;
        if let [best_effort, strict, ours, ..] = &series[..] {
            let name = format!("{}.ratio", ours.name());
            figures::ratio(&name, ours.ratio_to(best_effort));
            figures::ratio(&format!("{name}_strict"), ours.ratio_to(strict));
        }
    }
    for leaves in SIZES {
        race(stop, &SCHEDULERS, leaves, |contender| {
            measure(contender, leaves, false)
        })?;
    }
    Ok(())
}

/// Measures contenders in turn and prints their medians.
fn race(
    stop: &Stop,
    contenders: &[Contender],
    leaves: u32,
    measure: impl Fn(Contender) -> Result<f64>,
) -> Result<Vec<Series>> {
    let name = |contender: &Contender| Series::new(&contender.name(leaves));
    let mut series: Vec<Series> = contenders.iter().map(name).collect();
    for round in 1..=ROUNDS {
        for (&contender, series) in contenders.iter().zip(&mut series) {
            stop.check()?;
            let nanos = measure(contender)?;
            eprintln!("round {round}: {} {nanos:.1} ns", series.name());
            series.add(nanos);
        }
    }
    for series in &series {
        figures::nanos("", series);
    }
    Ok(series)
}
