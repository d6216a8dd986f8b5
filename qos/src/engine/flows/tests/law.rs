//! The control law against a plain model of RFC 8289, and what it must leave alone.
#![allow(clippy::cast_precision_loss)] // times of minutes, which floats hold to the nanosecond

use std::collections::VecDeque;

use super::super::codel::{Line, Verdict};
use super::super::settings::{Settings, Table};
use super::*;
use crate::engine::frames::Frames;

fn settings(unit: u64) -> Settings {
    Settings::new(FlowsConfig::default(), Framing::ETHERNET, unit, 1538)
}

const TARGET: u64 = 5 * MS;
const INTERVAL: u64 = 100 * MS;

/// RFC 8289 §5, in floating point: when each waiting frame came, and the state.
#[derive(Default)]
struct Model {
    queue: VecDeque<(u64, u64)>,
    dropped: Vec<u64>,
    first_above: f64,
    drop_next: f64,
    count: f64,
    last_count: f64,
    dropping: bool,
}

impl Model {
    fn control_law(t: f64, count: f64) -> f64 {
        t + INTERVAL as f64 / count.sqrt()
    }

    fn do_dequeue(&mut self, now: f64) -> (Option<u64>, bool) {
        let left = self.queue.len() as u64;
        let Some((token, since)) = self.queue.pop_front() else {
            self.first_above = 0.0;
            return (None, false);
        };
        if now - (since as f64) < TARGET as f64 || left * 1514 <= 1538 {
            self.first_above = 0.0;
            return (Some(token), false);
        }
        if self.first_above == 0.0 {
            self.first_above = now + INTERVAL as f64;
            return (Some(token), false);
        }
        (Some(token), now >= self.first_above)
    }

    fn dequeue(&mut self, now: f64) -> Option<u64> {
        let (mut token, mut ok_to_drop) = self.do_dequeue(now);
        if self.dropping {
            self.dropping &= ok_to_drop;
            while now >= self.drop_next && self.dropping {
                self.dropped.extend(token);
                self.count += 1.0;
                (token, ok_to_drop) = self.do_dequeue(now);
                if ok_to_drop {
                    self.drop_next = Self::control_law(self.drop_next, self.count);
                } else {
                    self.dropping = false;
                }
            }
        } else if ok_to_drop {
            self.dropped.extend(token);
            (token, _) = self.do_dequeue(now);
            self.dropping = true;
            let delta = self.count - self.last_count;
            let lately = now - self.drop_next < 16.0 * INTERVAL as f64;
            self.count = if delta > 1.0 && lately { delta } else { 1.0 };
            self.drop_next = Self::control_law(now, self.count);
            self.last_count = self.count;
        }
        token
    }
}

/// The same queue as the engine has it.
struct Real {
    table: Table,
    pool: Frames,
    line: Line,
    dropped: Vec<u64>,
}

impl Real {
    fn new() -> Self {
        let mut table = Table::default();
        table.number(settings(1538));
        let mut pool = Frames::default();
        pool.resize(10_000, None);
        Self {
            table,
            pool,
            line: Line::EMPTY,
            dropped: Vec::new(),
        }
    }

    fn dequeue(&mut self, now: u64) -> Option<u64> {
        loop {
            let bytes = u64::from(self.line.queue.frames) * 1514;
            let settings = self.table.row(0);
            match self.line.judge(&self.pool, settings, now, bytes, bytes) {
                Verdict::Drop => {
                    let dropped = self.line.queue.discard(&mut self.pool);
                    self.dropped.extend(dropped.map(|frame| frame.token));
                    while self.pool.next_dropped().is_some() {}
                }
                _ => return self.line.queue.pop(&mut self.pool).map(|frame| frame.token),
            }
        }
    }
}

#[test]
fn the_control_law_is_that_of_the_standard() {
    let mut random = Random(7);
    let (mut model, mut real) = (Model::default(), Real::new());
    let mut now = 1000 * MS;
    let mut token = 0;
    for step in 0..200_000 {
        // Load that comes and goes: bouts of drops begin, end, and begin again, soon or late.
        let load = [130, 60, 150, 85, 180, 20, 20, 20, 101][step / 250 % 9];
        for _ in 0..(random.below(2 * load) / 100) {
            token += 1;
            if model.queue.len() < 5000 {
                model.queue.push_back((token, now));
                let frame = Frame::new(token, FULL);
                assert!(real.line.push(&mut real.pool, frame, now));
            }
        }
        now += MS + random.below(400_000);
        // Integers and floats may differ where the instant of a drop is not clear to 0.1 ms.
        while (now as f64 - model.drop_next).abs() < 1e5 {
            now += 200_000;
        }
        assert_eq!(model.dequeue(now as f64), real.dequeue(now), "step {step}");
    }
    assert_eq!(model.dropped, real.dropped);
    assert!(model.dropped.len() > 400, "{} drops", model.dropped.len());
}

#[test]
fn nothing_is_dropped_while_at_most_one_unit_is_queued() {
    // A frame takes 12.3 ms, beyond any target that is not adapted.
    let mut link = Link::new("1mbit", FlowsConfig::default());
    for _ in 0..1000 {
        let _ = link.offer(1, false);
        while link.send().is_empty() {
            link.next();
        }
    }
    // Two flows of a frame each are two units in all, but each of them has one.
    for _ in 0..500 {
        let _ = link.offer(1, false);
        let _ = link.offer(2, false);
        while link.engine.snapshot()[0].queued > 0 {
            link.send();
            link.next();
        }
    }
    assert_eq!(link.stats().dropped.frames, 0);
}

#[test]
fn a_slow_leaf_has_patience_for_its_frames_whatever_makes_it_slow() {
    // 123 ms per frame. Two frames wait all the time, which is less than one and a half: no queue.
    let slow = "100kbit".parse().unwrap();
    let own = |class: ClassConfig| class.ceil(slow);
    let guarantee = |class: ClassConfig| class.rate(slow);
    for (of_root, of_leaf) in [(true, false), (false, true)] {
        for set in [&own as &dyn Fn(ClassConfig) -> ClassConfig, &guarantee] {
            let mut root = ClassConfig::new(ClassId::new(1, 0));
            let mut leaf = ClassConfig::new(ClassId::new(1, 1)).parent(root.id);
            let queue = LeafQueue::Flows(FlowsConfig::default());
            leaf = leaf.queue(queue);
            if of_root {
                root = root.ceil(slow);
            }
            if of_leaf {
                leaf = set(leaf);
                root.ceil = root.ceil.or_else(|| "100mbit".parse().ok());
            }
            let plan = crate::class::Plan::new(&TreeConfig::new(vec![root, leaf])).unwrap();
            let LeafQueue::Flows(flows) = plan.classes[1].queue else {
                panic!("a leaf of flows");
            };
            // 1538 bytes at 100 kbit/s, and a half more.
            assert_eq!(flows.target_nanos, 184_560_000);
            assert_eq!(flows.interval_nanos, 2 * 184_560_000);
        }
    }
}

#[test]
fn a_wait_that_ended_is_forgotten_when_the_queue_was_empty() {
    let mut real = Real::new();
    let frame = Frame::new(1, FULL);
    let mut at = |now: u64, waits: u64| {
        for _ in 0..3 {
            assert!(real.line.push(&mut real.pool, frame, now - waits));
        }
        let drops = real.dropped.len();
        while real.dequeue(now).is_some() {}
        real.dropped.len() - drops
    };
    // Each time frames waited for 10 ms, but no queue stood for an interval.
    for round in 1..20 {
        assert_eq!(at(round * 1000 * MS, 10 * MS), 0);
    }
    // A super-frame sent whole leaves nothing that is too little to drop.
    let shape = FrameShape {
        len: 10_000,
        headers: 66,
        gso_size: 1448,
    };
    for round in 100..120 {
        let now = round * 1000 * MS;
        let frame = Frame::new(1, shape);
        assert!(real.line.push(&mut real.pool, frame, now - 10 * MS));
        let settings = real.table.row(0);
        let verdict = real.line.judge(&real.pool, settings, now, 10_000, 10_000);
        assert_eq!(verdict, Verdict::Send);
        assert!(real.line.queue.pop(&mut real.pool).is_some());
    }
}

#[test]
fn what_is_only_on_its_way_is_never_dropped() {
    let mut table = Table::default();
    table.number(settings(20_000));
    let shape = FrameShape {
        len: 10_000,
        headers: 66,
        gso_size: 1448,
    };
    let super_frame = Frame::new(0, shape);
    // What waits in the flow, bytes in the flow and in the leaf, and what becomes of it.
    let cases: [(&[Frame], u64, u64, Verdict); 7] = [
        (&[super_frame; 2], 20_000, 20_000, Verdict::Send),
        (&[super_frame; 2], 20_000, 20_001, Verdict::Drop),
        (&[super_frame; 2], 1538, 90_000, Verdict::Send),
        (&[super_frame], 10_000, 90_000, Verdict::Drop),
        (&[super_frame.whole()], 10_000, 90_000, Verdict::Send),
        (&[super_frame.whole(); 2], 20_000, 90_000, Verdict::Drop),
        (
            &[Frame::new(0, FrameShape::single(9014))],
            9014,
            90_000,
            Verdict::Send,
        ),
    ];
    for (frames, bytes, all, want) in cases {
        let mut pool = Frames::default();
        pool.resize(2, None);
        let mut line = Line::EMPTY;
        for &frame in frames {
            assert!(line.push(&mut pool, frame, 0));
        }
        let mut judge = |now| line.judge(&pool, table.row(0), now, bytes, all);
        assert_eq!(judge(TARGET), Verdict::Send, "the first time");
        assert_eq!(judge(TARGET + INTERVAL), want, "{frames:?}");
    }
}
