//! Flow queues with CoDel and ECN against senders that adapt: the sparse stay quick, the link full, the
//! queues short; and the models of those senders do what is known of the real ones.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::sim::rate;
use qos::sim::{
    Cbr, Control, Flood, OnOff, Pace, Report, Scenario, Source, SourceReport, Tcp, Traffic, run,
};
use qos::{ClassConfig, ClassId, FlowsConfig, LeafQueue, Rate, TreeConfig};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;

/// CoDel's target (RFC 8289 §4.2), the default.
const TARGET: u64 = 5 * MS;

const LEAF: ClassId = ClassId::new(1, 1);

/// The time of one full-size frame.
fn frame_nanos(link: Rate) -> u64 {
    1538 * 8 * SECOND / link.bits_per_second()
}

/// A link with one leaf.
fn link(rate: Rate, queue: LeafQueue) -> TreeConfig {
    let root = ClassId::new(1, 0);
    TreeConfig {
        classes: vec![
            ClassConfig::new(root).ceil(rate).rate(rate),
            ClassConfig::new(LEAF).parent(root).queue(queue),
        ],
        frames: 10_000,
        ..TreeConfig::default()
    }
}

/// Flow queues with so many buckets that with seed 1 no bulk shares one with a sparse flow.
fn flow_queues(ce_threshold_nanos: Option<u64>) -> LeafQueue {
    LeafQueue::Flows(FlowsConfig {
        frames: 4096,
        buckets: 256,
        ce_threshold_nanos,
        ..FlowsConfig::default()
    })
}

/// Queues for this kind of sender: for DCTCP with marks beyond 1 ms, or five frames on slow links.
fn queues_for(control: Control, link: Rate) -> LeafQueue {
    let threshold = (5 * frame_nanos(link)).max(MS);
    flow_queues((control == Control::Dctcp).then_some(threshold))
}

fn simulate(tree: TreeConfig, sources: Vec<Source>, seconds: [u64; 2]) -> Report {
    run(&Scenario {
        warm_up_nanos: seconds[0] * SECOND,
        nanos: seconds[1] * SECOND,
        ..Scenario::new(tree, sources)
    })
    .expect("the scenario makes sense")
}

fn tcp(tcp: Tcp) -> Source {
    Source::new(LEAF, Traffic::Tcp(tcp))
}

/// Percent of the link, in hundredths.
fn utilisation(report: &Report) -> u64 {
    report.classes[0].share_ppm / 100
}

/// A call: a frame every ten milliseconds, several in a round of all flows, but less than a quantum in
/// all; beside bulk.
fn sparse_beside(link_rate: Rate, bulk: Tcp, flows: u32, seconds: [u64; 2]) -> Report {
    let call = Cbr {
        pace: Pace::Interval(10 * MS),
        frame: 214,
    };
    let tree = link(link_rate, queues_for(bulk.control, link_rate));
    let sources = vec![
        Source::new(LEAF, Traffic::Cbr(call)),
        tcp(bulk).flows(flows),
    ];
    simulate(tree, sources, seconds)
}

/// T18 for one rate.
fn check_sparse_and_full(link_rate: &str, bulk: Tcp, seconds: [u64; 2]) {
    let link_rate = rate(link_rate);
    for control in [Control::Reno, Control::Cubic, Control::Dctcp] {
        for flows in [1, 4, 16] {
            // Half of what fills the link once is too little for a single Reno flow over 10 ms: its
            // saw-tooth needs as much queue as path, and CoDel allows 5 ms.
            let alone = control == Control::Reno && flows == 1;
            let rtt_nanos = if alone { 5 * MS } else { 10 * MS };
            let bulk = Tcp {
                control,
                rtt_nanos,
                ..bulk
            };
            let report = sparse_beside(link_rate, bulk, flows, seconds);
            let case = format!("{link_rate} {control:?} x {flows}: {:?}", report.sources);
            let sparse = &report.sources[0];
            assert!(
                sparse.delay.p99 <= TARGET + frame_nanos(link_rate),
                "{case}"
            );
            assert_eq!(sparse.lost, 0, "{case}");
            assert!(utilisation(&report) >= 9800, "{case}");
        }
    }
}

const SUPER: Tcp = Tcp {
    control: Control::Reno,
    rtt_nanos: 10 * MS,
    mss: 1448,
    headers: 66,
    segments: 44,
    autosize: true,
    ecn: false,
    bytes: None,
    window: 6 << 20,
};

const FRAMES: Tcp = Tcp {
    segments: 1,
    ..SUPER
};

#[test]
fn at_10_mbit_the_sparse_are_quick_and_the_link_is_full() {
    check_sparse_and_full("10mbit", FRAMES, [5, 25]);
    check_sparse_and_full("10mbit", SUPER, [5, 25]);
}

#[test]
fn at_100_mbit_the_sparse_are_quick_and_the_link_is_full() {
    check_sparse_and_full("100mbit", FRAMES, [4, 8]);
    check_sparse_and_full("100mbit", SUPER, [4, 8]);
}

#[test]
fn at_a_gigabit_the_sparse_are_quick_and_the_link_is_full() {
    // Half of what fills the path is 430 round trips away.
    check_sparse_and_full("1gbit", SUPER, [7, 9]);
}

#[test]
fn super_frames_of_64_kb_on_a_slow_link_do_not_delay_the_sparse() {
    let bulk = Tcp {
        control: Control::Cubic,
        autosize: false,
        ..SUPER
    };
    for link in ["10mbit", "100mbit"] {
        for flows in [1, 4] {
            let report = sparse_beside(rate(link), bulk, flows, [10, 30]);
            let sparse = &report.sources[0];
            let most = TARGET + frame_nanos(rate(link));
            assert!(sparse.delay.p99 <= most, "{link} {flows}: {sparse:?}");
            assert!(utilisation(&report) >= 9800, "{link} {flows}");
        }
    }
}

#[test]
fn ecn_flows_are_marked_and_lose_nothing() {
    for control in [Control::Reno, Control::Cubic, Control::Dctcp] {
        for (link, flows) in [("10mbit", 4), ("100mbit", 1), ("100mbit", 16)] {
            let bulk = Tcp {
                control,
                ecn: true,
                ..FRAMES
            };
            let report = sparse_beside(rate(link), bulk, flows, [4, 8]);
            let bulk = &report.sources[1];
            let case = format!("{link} {control:?} x {flows}: {bulk:?}");
            assert_eq!((bulk.lost, bulk.resent, bulk.timeouts), (0, 0, 0), "{case}");
            assert!(bulk.marked > 0 && bulk.reductions > 0, "{case}");
        }
    }
}

#[test]
fn dctcp_keeps_the_queue_near_the_threshold() {
    for flows in [1, 2, 4] {
        let dctcp = Tcp {
            control: Control::Dctcp,
            ..FRAMES
        };
        let report = sparse_beside(rate("100mbit"), dctcp, flows, [4, 8]);
        let delay = report.sources[1].delay;
        assert!((MS * 2 / 5..MS).contains(&delay.p50), "{flows}: {delay:?}");
        assert!(delay.p99 < 5 * MS / 2, "{flows}: {delay:?}");
    }
}

#[test]
fn a_reno_flow_alone_in_a_deep_queue_is_a_saw_tooth() {
    let reno = tcp(Tcp {
        rtt_nanos: 20 * MS,
        ..FRAMES
    });
    let fifo = LeafQueue::Fifo { frames: 200 };
    let report = simulate(link(rate("20mbit"), fifo), vec![reno], [30, 150]);
    let reno = &report.sources[0];
    assert!(utilisation(&report) >= 9999, "{reno:?}");
    // One loss ends each tooth. Path and queue hold 233 segments: from half of that it grows by one per
    // round trip of up to 143 ms, so a tooth takes about 12 s.
    assert_eq!(reno.lost, reno.reductions, "{reno:?}");
    assert_eq!(reno.resent, reno.lost, "{reno:?}");
    assert_eq!(reno.timeouts, 0);
    assert!((9..=12).contains(&reno.reductions), "{reno:?}");
    // Half of 233 segments is 116, of which the path holds 33: the queue is never empty.
    assert!(
        reno.rtt.max < 145 * MS && reno.rtt.p50 > 90 * MS,
        "{reno:?}"
    );
}

/// Jain's index of two flows, in hundredths.
fn jain(report: &SourceReport) -> u64 {
    let (a, b) = (report.slowest / 1000, report.fastest / 1000);
    (a + b) * (a + b) * 100 / (2 * (a * a + b * b))
}

#[test]
fn two_reno_flows_share_fairly() {
    let reno = tcp(Tcp {
        rtt_nanos: 20 * MS,
        ..FRAMES
    });
    for queue in [LeafQueue::Fifo { frames: 64 }, flow_queues(None)] {
        let tree = link(rate("20mbit"), queue);
        let report = simulate(tree, vec![reno.flows(2)], [10, 70]);
        let both = &report.sources[0];
        assert!(jain(both) >= 95, "{queue:?}: {both:?}");
    }
}

#[test]
fn cubic_outgrows_reno_on_a_long_fat_link() {
    let goodput = |control| {
        let flow = tcp(Tcp {
            control,
            rtt_nanos: 200 * MS,
            segments: 16,
            window: 64 << 20,
            ..FRAMES
        });
        // Half of what the path holds.
        let fifo = LeafQueue::Fifo { frames: 25 };
        let report = simulate(link(rate("50mbit"), fifo), vec![flow], [10, 100]);
        report.sources[0].goodput
    };
    let (reno, cubic) = (goodput(Control::Reno), goodput(Control::Cubic));
    assert!(cubic > reno * 5 / 4, "{cubic} {reno}");
}

#[test]
fn a_guest_that_is_held_back_loses_nothing_and_gets_its_share() {
    let [root, voice, one, two] = [0, 1, 2, 3].map(|minor| ClassId::new(1, minor));
    let child = |id| ClassConfig::new(id).parent(root);
    let tree = TreeConfig::new(vec![
        ClassConfig::new(root).ceil(rate("100mbit")),
        child(voice).rate(rate("2mbit")),
        child(one).rate(rate("20mbit")).weight(1),
        child(two).rate(rate("20mbit")).weight(3),
    ]);
    let bulk = Tcp {
        control: Control::Cubic,
        ..SUPER
    };
    let call = Cbr {
        pace: Pace::Rate(rate("1mbit")),
        frame: 214,
    };
    let sources = vec![
        Source::new(voice, Traffic::Cbr(call)),
        Source::new(one, Traffic::Tcp(bulk)).flows(4),
        Source::new(two, Traffic::Flood(Flood { frame: 1514 })),
    ];
    let report = simulate(tree, sources, [5, 15]);
    let class = |id| report.class(id).unwrap();
    for id in [root, voice, one, two] {
        assert_eq!(class(id).lost, 0, "{id}");
    }
    assert!(class(voice).delay.max < 400_000, "{:?}", class(voice).delay);
    // Of the 100, the 20 + 20 guaranteed and the call's 1 leave 59, which go 1 to 3.
    let share = |id| class(id).share_ppm / 1000;
    assert!((347..=352).contains(&share(one)), "{}", share(one));
    assert!((637..=645).contains(&share(two)), "{}", share(two));
}

/// A bit of everything, in queues of both kinds.
fn mixture(seed: u64) -> Scenario {
    let [root, fifo, flows, held] = [0, 1, 2, 3].map(|minor| ClassId::new(1, minor));
    let child = |id| ClassConfig::new(id).parent(root);
    let tree = TreeConfig::new(vec![
        ClassConfig::new(root).ceil(rate("50mbit")),
        child(fifo)
            .rate(rate("10mbit"))
            .queue(LeafQueue::Fifo { frames: 50 }),
        child(flows)
            .rate(rate("10mbit"))
            .queue(LeafQueue::Flows(FlowsConfig::default())),
        child(held).rate(rate("10mbit")),
    ]);
    let bursts = OnOff {
        rate: rate("80mbit"),
        frame: 1000,
        on_nanos: 30 * MS,
        off_nanos: 70 * MS,
    };
    let cubic = Tcp {
        control: Control::Cubic,
        ..SUPER
    };
    let flood = Traffic::Flood(Flood { frame: 600 });
    Scenario {
        seed,
        nanos: 5 * SECOND,
        ..Scenario::new(
            tree,
            vec![
                Source::new(fifo, Traffic::Tcp(FRAMES)).flows(3),
                Source::new(fifo, Traffic::OnOff(bursts)),
                Source::new(flows, Traffic::Tcp(cubic)).flows(3),
                Source::new(flows, flood),
                Source::new(held, Traffic::OnOff(bursts)).flows(2),
                Source::new(held, Traffic::Tcp(cubic)).flows(2),
            ],
        )
    }
}

#[test]
fn one_seed_gives_one_report_and_another_seed_another() {
    let report = run(&mixture(7)).unwrap();
    assert_eq!(run(&mixture(7)).unwrap(), report);
    assert_ne!(run(&mixture(8)).unwrap(), report);
}

#[test]
fn every_segment_is_sent_lost_or_waits() {
    let report = run(&mixture(3)).unwrap();
    // At most what may wait: 50 frames, 1024 frames, and what senders queue themselves.
    for (class, room) in report.classes[1..].iter().zip([50, 1024 * 44, 1256 * 44]) {
        let gone = class.sent.segments + class.lost;
        let waits = class.offered.segments.checked_sub(gone).unwrap();
        assert!(waits <= room, "{class:?}");
    }
    let (root, leaves) = report.classes.split_first().unwrap();
    let sum = |of: fn(&qos::sim::ClassReport) -> u64| leaves.iter().map(of).sum::<u64>();
    assert_eq!(root.sent.wire_bytes, sum(|class| class.sent.wire_bytes));
    assert_eq!(root.lost, sum(|class| class.lost));
    let drawn: u64 = root.series.iter().sum();
    assert_eq!(root.sent.wire_bytes, drawn);
}

#[test]
fn floods_share_a_queue_even_where_there_is_no_room_for_more() {
    let flood = |frame| Source::new(LEAF, Traffic::Flood(Flood { frame }));
    let queues = [
        LeafQueue::Hold,
        LeafQueue::Fifo { frames: 20 },
        flow_queues(None),
    ];
    for queue in queues {
        let tree = TreeConfig {
            frames: 100,
            ..link(rate("10mbit"), queue)
        };
        let report = simulate(tree, vec![flood(1514), flood(1514)], [2, 12]);
        let [one, two] = &report.sources[..] else {
            panic!("{report:?}");
        };
        assert!(
            one.goodput.abs_diff(two.goodput) < one.goodput / 50,
            "{queue:?}"
        );
        assert!(utilisation(&report) >= 9999, "{queue:?}");
        let frames = report.classes[0].sent.frames;
        assert!(report.events < 3 * frames, "{queue:?}: {}", report.events);
    }
}

#[test]
fn a_transfer_takes_as_long_as_its_bytes() {
    let file = tcp(Tcp {
        bytes: Some(10_000_000),
        ..SUPER
    });
    let report = simulate(
        link(rate("100mbit"), flow_queues(None)),
        vec![file],
        [0, 10],
    );
    let file = &report.sources[0];
    // 6907 frames of 1538 bytes on the wire take 850 ms.
    let finished = file.finished.unwrap();
    assert!((850 * MS..1100 * MS).contains(&finished), "{file:?}");
}

#[test]
fn an_hour_takes_a_few_events_per_frame() {
    let bulk = Tcp {
        control: Control::Cubic,
        ..FRAMES
    };
    let report = sparse_beside(rate("1mbit"), bulk, 2, [0, 3600]);
    let frames = report.classes[0].sent.frames;
    assert!(frames > 290_000, "{frames}");
    assert!(report.events < 4 * frames, "{} {frames}", report.events);
}
