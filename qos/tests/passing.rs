//! A frame that passes without a queue is charged as one that was queued and went at once. Nobody may
//! notice but by the time it takes.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::Rng;
use common::motley::{motley, shape};
use common::sim::{FULL, SUPER, TINY, child, id, rate, tree};
use qos::engine::State;
use qos::{
    Burst, ClassConfig, ClassId, Engine, FlowCounters, FlowsConfig, Frame, FrameShape, Framing,
    Hold, LeafKey, LeafQueue, Offer, PacketBurst, Span, Time, TreeConfig, Wake,
};

fn flows() -> LeafQueue {
    LeafQueue::Flows(FlowsConfig {
        frames: 24,
        buckets: 8,
        target_nanos: 100_000,
        interval_nanos: 1_000_000,
        ..FlowsConfig::default()
    })
}

fn start(config: &TreeConfig) -> (Engine, Vec<LeafKey>) {
    let engine = Engine::new(config).unwrap();
    let ids = config.classes.iter().map(|class| class.id);
    let keys = ids.filter_map(|id| engine.leaf(id)).collect();
    (engine, keys)
}

/// Offers a frame, and sends it at once as a whole, in a visit of its own.
fn offer_and_send(engine: &mut Engine, key: LeafKey, frame: Frame, now: Time) {
    assert_eq!(engine.offer(key, frame, now), Offer::Queued);
    let grant = engine.peek(now).unwrap();
    let next = grant.frame.map(|frame| (frame.token, frame.shape));
    let own = Some((frame.token, frame.shape));
    assert_eq!((grant.leaf, next), (key, own), "it overtook another");
    assert!(!grant.mark);
    assert!(engine.commit(frame.shape).is_some());
    // Ends the visit.
    assert_ne!(engine.next_wake(now), Wake::Now);
}

/// Two engines that are told the same; in one of them frames pass if they may.
struct Pair {
    quick: Engine,
    slow: Engine,
    keys: Vec<LeafKey>,
    rng: Rng,
    now: Time,
    passed: u64,
    stopped: u64,
}

impl Pair {
    fn both(&mut self) -> [&mut Engine; 2] {
        [&mut self.quick, &mut self.slow]
    }

    /// Lets several frames pass together; in the other engine they wait for each other, and go at once.
    fn burst(&mut self, key: LeafKey, first: FrameShape) {
        let now = self.now;
        let passage = self.quick.passage(key, now).unwrap();
        assert_eq!(passage.leaf(), key);
        let mut shapes = vec![first];
        let mut sent = FlowCounters::default();
        sent.add(first.len, passage.framing.cost(first));
        for _ in 0..self.rng.below(8) {
            let next = shape(&mut self.rng);
            let cost = passage.framing.cost(next);
            if passage.room.holds(&sent, cost) {
                sent.add(next.len, cost);
                shapes.push(next);
            }
        }
        self.quick.passed(&passage, &sent, shapes[shapes.len() - 1]);
        for shape in &shapes {
            let frame = Frame::new(self.passed, *shape);
            assert_eq!(self.slow.offer(key, frame, now), Offer::Queued);
            self.passed += 1;
        }
        for shape in shapes {
            let grant = self.slow.peek(now).unwrap();
            let next = grant.frame.map(|frame| frame.shape);
            assert_eq!(
                (grant.leaf, next),
                (key, Some(shape)),
                "it overtook another"
            );
            assert!(self.slow.commit(shape).is_some());
        }
        assert_ne!(self.slow.next_wake(now), Wake::Now);
    }

    fn key(&mut self) -> LeafKey {
        let at = self.rng.below(self.keys.len() as u64);
        self.keys[usize::try_from(at).unwrap()]
    }

    fn arrive(&mut self) {
        let (key, now) = (self.key(), self.now);
        let mut frame = Frame::new(self.passed, shape(&mut self.rng));
        frame.flow = (self.rng.bits() >> 32) as u32;
        match self.rng.below(16) {
            0 => self.both().into_iter().for_each(|engine| {
                engine.backlogged(key, now);
            }),
            1 => self.both().into_iter().for_each(|engine| {
                let _full = engine.offer(key, frame, now);
            }),
            2..6 if self.quick.passage(key, now).is_some() => self.burst(key, frame.shape),
            _ if self.quick.pass(key, frame.shape, now) => {
                self.passed += 1;
                offer_and_send(&mut self.slow, key, frame, now);
            }
            _ => {
                self.stopped += 1;
                let [one, other] = self.both().map(|engine| engine.offer(key, frame, now));
                assert_eq!(one, other);
            }
        }
    }

    /// Sends what may go, or some of it.
    fn drain(&mut self) {
        for _ in 0..self.rng.below(40) {
            let now = self.now;
            let [grant, other] = self.both().map(|engine| engine.peek(now));
            assert_eq!(grant, other);
            let Some(grant) = grant else { return };
            let why = [Hold::Later, Hold::Empty, Hold::Blocked];
            let why = why.get(usize::try_from(self.rng.below(30)).unwrap());
            let part = grant.frame.map_or(TINY, |frame| {
                let part = frame.shape.peel(grant.segments(frame.shape));
                part.map_or(frame.shape, |(part, _)| part)
            });
            self.both().into_iter().for_each(|engine| match why {
                Some(&why) => engine.abort(why),
                None => _ = engine.commit(part),
            });
        }
        self.both()
            .into_iter()
            .for_each(|engine| engine.abort(Hold::Later));
    }

    fn assert_same(&mut self) -> Wake {
        let now = self.now;
        let [one, other] = self.both().map(|engine| engine.dropped());
        assert_eq!(one, other);
        assert!(self.quick.snapshot() == self.slow.snapshot());
        let [wake, other] = self.both().map(|engine| engine.next_wake(now));
        assert_eq!(wake, other);
        wake
    }

    fn run(&mut self, rounds: u32) {
        for _ in 0..rounds {
            for _ in 0..self.rng.below(12) {
                self.arrive();
            }
            if self.rng.below(8) == 0 {
                let (key, now) = (self.key(), self.now);
                self.both().into_iter().for_each(|engine| {
                    engine.unblock(key, now);
                });
            }
            if self.rng.below(3) > 0 {
                self.drain();
            }
            let wake = self.assert_same();
            let pause = Span::from_nanos(self.rng.below(400_000));
            self.now = match wake {
                Wake::At(at) if self.rng.below(2) == 0 => at,
                _ => self.now.saturating_add(pause),
            };
        }
    }
}

#[test]
fn a_frame_that_passes_is_charged_as_one_that_waits() {
    let queues = [
        LeafQueue::Fifo { frames: 16 },
        flows(),
        flows(),
        LeafQueue::Hold,
    ];
    let (mut passed, mut stopped) = (0, 0);
    for seed in 0..400 {
        let mut rng = Rng(seed);
        let config = motley(&mut rng, &queues);
        let ((quick, keys), (slow, _)) = (start(&config), start(&config));
        let mut pair = Pair {
            quick,
            slow,
            keys,
            rng,
            now: Time::from_nanos(1 << 30),
            passed: 0,
            stopped: 0,
        };
        pair.run(120);
        passed += pair.passed;
        stopped += pair.stopped;
    }
    assert!(passed > 30_000 && stopped > 30_000, "{passed} {stopped}");
}

#[test]
fn an_idle_tree_lets_frames_pass_until_a_limit_closes() {
    let limits: [fn(&mut ClassConfig); 3] = [
        |class| {
            class.ceil = Some(rate("8mbit"));
            class.cburst = Burst::Bytes(10 * 1538);
        },
        |class| {
            class.pps = Some("1kpps".parse().unwrap());
            class.pps_burst = PacketBurst::Segments(10);
        },
        |_| (),
    ];
    for (limit, most) in limits.into_iter().zip([11, 11, u32::MAX]) {
        for at in 0..3 {
            let leaf = ClassConfig::new(id(2, 0)).parent(id(1, 1)).queue(flows());
            let mut config = tree("1tbit", vec![child(1), leaf]);
            config.classes[0].rate = None;
            limit(&mut config.classes[at]);
            let (mut engine, keys) = start(&config);
            let now = Time::from_nanos(1 << 30);
            let gone = (0..100).take_while(|_| engine.pass(keys[0], FULL, now));
            assert_eq!(gone.count(), most.min(100) as usize, "class {at}");
            if most < 100 {
                // It opens a millisecond, or a frame at 8 Mbit/s, later.
                let sooner = now.saturating_add(Span::from_nanos(990_000));
                assert!(!engine.pass(keys[0], FULL, sooner));
                let later = now.saturating_add(Span::from_nanos(1_600_000));
                assert!(engine.pass(keys[0], FULL, later));
            }
            let classes = engine.snapshot();
            assert!(classes.iter().all(|class| class.state == State::Idle));
        }
    }
}

#[test]
fn nothing_passes_what_waits_and_may_go() {
    let leaf = |minor| {
        ClassConfig::new(id(2, minor))
            .parent(id(1, 1))
            .queue(flows())
    };
    let other = child(2).ceil(rate("8mbit")).queue(flows());
    let mut config = tree("1gbit", vec![child(1), leaf(0), leaf(1), other]);
    config.classes[3].cburst = Burst::Bytes(0);
    let (mut engine, keys) = start(&config);
    let [one, sibling, limited] = [keys[0], keys[1], keys[2]];
    let now = Time::from_nanos(1 << 30);
    // Its own earlier frame, a sibling's, and one of another guest.
    for waits in [one, sibling, limited] {
        let frame = Frame::new(7, TINY);
        assert_eq!(engine.offer(waits, frame, now), Offer::Queued);
        let before = engine.snapshot();
        assert!(!engine.pass(one, TINY, now));
        assert!(!engine.pass(sibling, TINY, now));
        assert_eq!(engine.snapshot(), before, "nothing has changed");
        assert_eq!(engine.peek(now).map(|grant| grant.leaf), Some(waits));
        engine.commit(TINY);
        assert!(engine.pass(one, TINY, now));
    }
    // What waits for a limit of its own holds nobody up.
    while engine.pass(limited, FULL, now) {}
    assert_eq!(
        engine.offer(limited, Frame::new(8, FULL), now),
        Offer::Queued
    );
    assert!(engine.peek(now).is_none());
    assert!(engine.pass(one, SUPER, now));
    assert!(!engine.pass(limited, TINY, now));
    // Nor what its receiver cannot take; but then it does not pass itself.
    assert_eq!(engine.offer(one, Frame::new(9, TINY), now), Offer::Queued);
    assert!(engine.peek(now).is_some());
    engine.abort(Hold::Blocked);
    assert!(engine.pass(sibling, TINY, now) && !engine.pass(one, TINY, now));
}

#[test]
fn a_leaf_that_takes_no_frames_lets_none_pass() {
    let config = |leaves| tree("1gbit", leaves);
    let leaf = |minor, queue| child(minor).queue(queue);
    let kept = leaf(3, flows());
    let fifo = LeafQueue::Fifo { frames: 4 };
    let gone = [leaf(1, fifo), leaf(2, flows())];
    let all = [&[child(9), kept.clone()], gone.as_slice()].concat();
    let (mut engine, keys) = start(&config(all));
    let now = Time::from_nanos(1 << 30);
    let before = engine.snapshot();
    assert!(!engine.pass(keys[0], TINY, now), "it has no queue");
    assert_eq!(engine.snapshot(), before);
    // Two leaves end, one frame in each; they are still there when that has gone.
    for &key in &keys[2..] {
        assert_eq!(engine.offer(key, Frame::new(1, TINY), now), Offer::Queued);
    }
    engine.apply(&config(vec![child(9), kept]), now).unwrap();
    while engine.peek(now).is_some() {
        engine.commit(TINY);
    }
    for &key in &keys[2..] {
        assert!(!engine.pass(key, TINY, now), "it only drains");
    }
    engine.apply(&config(vec![child(9)]), now).unwrap();
    for &key in &keys[1..] {
        assert!(!engine.pass(key, TINY, now), "there is none");
    }
}

/// A guest of a tree as the backend makes them: below the uplink and below local frames, with one limit.
#[test]
fn a_limit_that_is_shared_counts_what_passes_once_for_both() {
    let (uplink, local) = (id(2, 1), id(3, 1));
    let mut owner = ClassConfig::new(uplink).parent(id(1, 1)).queue(flows());
    owner.ceil = Some(rate("100mbit"));
    owner.cburst = Burst::Bytes(20 * 1538);
    let twin = ClassConfig::new(local).parent(id(1, 2)).queue(flows());
    let twin = twin.limits_of(uplink);
    let config = tree("1gbit", vec![child(1), child(2), owner, twin]);
    let (mut engine, keys) = start(&config);
    let now = Time::from_nanos(1 << 30);
    let gone = (0..100).filter(|n| engine.pass(keys[n % 2], FULL, now));
    assert_eq!(gone.count(), 21);
    let sent = |engine: &mut Engine, id: ClassId| {
        let classes = engine.snapshot();
        let class = classes.iter().find(|class| class.id == id);
        class.map(|class| class.stats.sent.wire_bytes)
    };
    let wire = |shape: FrameShape| Framing::ETHERNET.cost(shape).wire_bytes;
    assert_eq!(sent(&mut engine, uplink), Some(11 * wire(FULL)));
    assert_eq!(sent(&mut engine, local), Some(10 * wire(FULL)));
}
