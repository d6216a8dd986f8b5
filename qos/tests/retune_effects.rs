//! T16: what a change of one class does to it, and what it must not do to others.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::sim::{FULL, child, id, mixed, rate, tree};
use common::{BYTE, Rng, ticks};
use qos::engine::State;
use qos::{Burst, ClassConfig, ClassId, Engine, Framing, Hold, Rate, Span, Time, Wake};

const START: Time = Time::from_nanos(1 << 30);

fn state(engine: &mut Engine, class: ClassId) -> State {
    let snapshot = engine.snapshot();
    snapshot.iter().find(|c| c.id == class).unwrap().state
}

fn wait(engine: &mut Engine, class: &ClassConfig, now: Time) {
    let key = engine.leaf(class.id).unwrap();
    assert!(engine.backlogged(key, now));
}

fn wake(engine: &mut Engine, now: Time) -> Time {
    match engine.next_wake(now) {
        Wake::At(at) => at,
        other => panic!("{other:?}"),
    }
}

fn send_until(engine: &mut Engine, class: ClassId, want: State, now: Time) {
    while state(engine, class) != want {
        engine.peek(now).unwrap();
        engine.commit(FULL);
    }
}

#[test]
fn a_throttled_class_keeps_its_debt_in_bytes_and_wakes_by_its_new_ceiling() {
    let mut class = child(1).ceil(rate("10mbit"));
    class.cburst = Burst::Bytes(1538);
    let mut engine = Engine::new(&tree("1gbit", vec![class.clone()])).unwrap();
    wait(&mut engine, &class, START);
    send_until(&mut engine, class.id, State::Throttled, START);
    let debt = wake(&mut engine, START).since(START).as_nanos() * 10;
    for megabits in [20, 5, 1, 40] {
        class.ceil = Rate::from_bits_per_second(megabits * 1_000_000);
        class.weight = u32::try_from(megabits).ok();
        engine.retune(&class, START).unwrap();
        assert_eq!(state(&mut engine, class.id), State::Throttled);
        let at = wake(&mut engine, START);
        let nanos = at.since(START).as_nanos();
        assert!(
            nanos.abs_diff(debt / megabits) < 12_000,
            "{megabits}: {nanos}"
        );
    }
    let at = wake(&mut engine, START);
    assert!(
        engine
            .peek(at.saturating_sub(Span::from_nanos(2048)))
            .is_none()
    );
    assert!(engine.peek(at).is_some(), "the wake is kept");
    engine.commit(FULL);
    send_until(&mut engine, class.id, State::Throttled, at);
    class.ceil = None;
    engine.retune(&class, at).unwrap();
    assert_eq!(state(&mut engine, class.id), State::Excess);
    assert_eq!(engine.next_wake(at), Wake::Now);
    let stats = engine.snapshot()[1].stats;
    assert_eq!(stats.throttled, 2, "another ceiling is no new wait");
}

#[test]
fn a_blocked_class_stays_blocked_and_an_idle_one_idle() {
    let (mut one, mut other) = (child(1).ceil(rate("10mbit")), child(2).rate(rate("1mbit")));
    let config = tree("1gbit", vec![one.clone(), other.clone()]);
    let mut engine = Engine::new(&config).unwrap();
    wait(&mut engine, &one, START);
    assert!(engine.peek(START).is_some());
    engine.abort(Hold::Blocked);
    one = one.ceil(rate("20mbit")).weight(7).prio(2);
    other = other.rate(rate("2mbit")).weight(9).prio(1);
    for class in [&one, &other] {
        engine.retune(class, START).unwrap();
    }
    assert_eq!(state(&mut engine, one.id), State::Blocked);
    assert_eq!(state(&mut engine, other.id), State::Idle);
    assert_eq!(engine.next_wake(START), Wake::Idle);
    let key = engine.leaf(one.id).unwrap();
    assert!(engine.unblock(key, START));
    assert_eq!(state(&mut engine, one.id), State::Excess);
    assert!(engine.peek(START).is_some_and(|grant| grant.leaf == key));
    wait(&mut engine, &other, START);
    assert_eq!(state(&mut engine, other.id), State::Green);
    let key = engine.leaf(other.id).unwrap();
    assert!(engine.peek(START).is_some_and(|grant| grant.leaf == key));
}

/// A leaf below a guest: what its guarantee makes of it, it makes of the guest.
#[test]
fn a_guarantee_that_comes_or_goes_moves_the_class_and_its_ancestors() {
    let guest = child(1).rate(rate("50mbit"));
    let mut leaf = ClassConfig::new(id(2, 1)).parent(guest.id);
    let config = tree("1gbit", vec![guest.clone(), leaf.clone(), child(2)]);
    let mut engine = Engine::new(&config).unwrap();
    wait(&mut engine, &leaf, START);
    wait(&mut engine, &child(2), START);
    send_until(&mut engine, guest.id, State::Excess, START);
    assert_eq!(state(&mut engine, leaf.id), State::Excess);
    leaf.rate = Some(rate("10mbit"));
    engine.retune(&leaf, START).unwrap();
    for class in [leaf.id, guest.id] {
        assert_eq!(state(&mut engine, class), State::Green);
    }
    // Its burst is spent, so that one frame is all it gets, and nobody else a single one.
    assert!(
        engine
            .peek(START)
            .is_some_and(|g| Some(g.leaf) == engine.leaf(leaf.id))
    );
    engine.commit(FULL);
    assert_eq!(state(&mut engine, leaf.id), State::Excess);
    // A frame's debt at 10 Mbit/s takes 1.23 ms, and a tenth of that at 100.
    leaf.rate = Some(rate("50mbit"));
    engine.retune(&leaf, START).unwrap();
    for (micros, want) in [(240, State::Excess), (250, State::Green)] {
        let now = START.saturating_add(Span::from_nanos(micros * 1000));
        let _ = engine.next_wake(now);
        assert_eq!(state(&mut engine, leaf.id), want, "after {micros} us");
    }
    leaf.rate = None;
    let now = START.saturating_add(Span::from_nanos(250_000));
    engine.retune(&leaf, now).unwrap();
    assert_eq!(state(&mut engine, leaf.id), State::Excess);
    assert_eq!(state(&mut engine, guest.id), State::Excess);
}

/// Not at once with the parent, which would be a walk over all children.
#[test]
fn a_class_without_a_guarantee_has_the_quantum_of_its_part_of_what_its_parent_has_now() {
    let mut guest = child(1).rate(rate("400mbit"));
    let leaf = |n| ClassConfig::new(id(2, n)).parent(id(1, 1)).weight(1);
    let config = tree("10gbit", vec![guest.clone(), leaf(1), leaf(2)]);
    let mut engine = Engine::new(&config).unwrap();
    wait(&mut engine, &leaf(1), START);
    let quantum = |engine: &mut Engine| engine.peek(START).unwrap().quantum;
    // 100 us at half of 400 Mbit/s, of 800, and at three quarters of that.
    assert_eq!(quantum(&mut engine), 2500);
    guest = guest.rate(rate("800mbit"));
    engine.retune(&guest, START).unwrap();
    assert_eq!(quantum(&mut engine), 2500);
    engine.retune(&leaf(1), START).unwrap();
    assert_eq!(quantum(&mut engine), 5000);
    engine.retune(&leaf(1).weight(3), START).unwrap();
    assert_eq!(quantum(&mut engine), 7500);
}

#[test]
fn the_root_is_held_to_its_new_ceiling() {
    let mut config = tree("1gbit", vec![child(1)]);
    config.classes[0].cburst = Burst::Bytes(1538);
    let mut engine = Engine::new(&config).unwrap();
    wait(&mut engine, &child(1), START);
    while engine.peek(START).is_some() {
        engine.commit(FULL);
    }
    let before = wake(&mut engine, START).since(START).as_nanos();
    let mut root = config.classes[0].clone();
    (root.rate, root.ceil) = (Some(rate("100mbit")), Some(rate("100mbit")));
    engine.retune(&root, START).unwrap();
    let after = wake(&mut engine, START).since(START).as_nanos();
    assert!(after.abs_diff(before * 10) < 12_000, "{before} {after}");
}

/// How far a stream ran ahead of a rate that changes, over every window.
struct Curve {
    rate: Rate,
    line: i128,
    then: Time,
    sent: i128,
    lowest: i128,
    burst: i128,
}

impl Curve {
    fn new(class: &ClassConfig) -> Self {
        let mut curve = Self {
            rate: class.ceil.unwrap(),
            line: 0,
            then: START,
            sent: 0,
            lowest: 0,
            burst: 0,
        };
        curve.change(class, START);
        curve
    }

    fn go(&mut self, now: Time) {
        let bits = i128::from(self.rate.bits_per_second());
        self.line += bits * ticks(now.since(self.then));
        self.then = now;
    }

    fn change(&mut self, class: &ClassConfig, now: Time) {
        self.go(now);
        self.rate = class.ceil.unwrap();
        let bits = i128::from(self.rate.bits_per_second());
        let auto = (bits * ticks(Span::from_nanos(2_000_000))).max(1538 * BYTE);
        self.burst = self.burst.max(match class.cburst {
            Burst::Bytes(bytes) => i128::from(bytes) * BYTE,
            _ => auto,
        });
    }

    fn sent(&mut self, now: Time, bytes: u64, largest: i128) {
        self.go(now);
        self.lowest = self.lowest.min(self.sent - self.line);
        self.sent += i128::from(bytes) * BYTE;
        let excess = self.sent - self.line - self.lowest;
        assert!(excess <= self.burst + largest * BYTE);
    }
}

/// However often a ceiling changes, what passed is within what the ceilings allowed in turn, and the
/// largest of the bursts and one unit, once.
#[test]
fn changes_give_nothing_away_in_any_window() {
    for seed in 0..10 {
        let mut rng = Rng(seed);
        let guest = |n| child(n).ceil(rate("100mbit"));
        let mut classes = vec![guest(1), guest(2)];
        for n in 0..6 {
            let class = ClassConfig::new(id(2, n)).parent(id(1, 1 + n % 2));
            classes.push(class.ceil(rate("60mbit")));
        }
        let mut config = tree("150mbit", classes);
        config.classes[0].rate = None;
        let mut curves: Vec<Curve> = config.classes.iter().map(Curve::new).collect();
        let mut engine = Engine::new(&config).unwrap();
        let mut now = START;
        let mut sent = 0;
        for _ in 0..4000 {
            for n in 0..6 {
                wait(&mut engine, &ClassConfig::new(id(2, n)), now);
            }
            let most = rng.below(20);
            for _ in 0..most {
                let Some(grant) = engine.peek(now) else {
                    break;
                };
                let shape = mixed(&mut rng);
                engine.commit(shape);
                sent += 1;
                let at = (3..9).find(|&at| engine.leaf(config.classes[at].id) == Some(grant.leaf));
                let at = at.unwrap();
                let wire = Framing::ETHERNET.cost(shape).wire_bytes;
                for at in [at, 1 + (at - 3) % 2, 0] {
                    curves[at].sent(now, wire, 70_000);
                }
            }
            let at = usize::try_from(rng.below(9)).unwrap();
            let class = &mut config.classes[at];
            class.ceil = Rate::from_bits_per_second(5_000_000 + rng.below(200_000_000));
            if rng.below(3) == 0 {
                class.cburst = Burst::Bytes(1538 + rng.below(40_000));
            }
            engine.retune(class, now).unwrap();
            curves[at].change(class, now);
            now = match engine.next_wake(now) {
                Wake::At(at) if rng.below(2) == 0 => at,
                _ => now.saturating_add(Span::from_nanos(rng.below(700_000))),
            };
        }
        assert!(sent > 1000, "{sent} sent");
    }
}

/// A link all of whose leaves always have frames; before every frame, `change` has its way with one.
fn shares(leaves: u16, mut change: impl FnMut(u64, &mut ClassConfig)) -> Vec<u64> {
    let classes = (1..=leaves).map(|n| {
        let mut class = child(n).weight(100);
        class.quantum = Some(1538);
        class
    });
    let config = tree("1gbit", classes.collect());
    let mut engine = Engine::new(&config).unwrap();
    let mut class = config.classes[1].clone();
    for class in &config.classes[1..] {
        wait(&mut engine, class, START);
    }
    let first = engine.leaf(class.id).unwrap();
    let mut now = START;
    let mut sent = vec![0; 2];
    for round in 0..u64::from(leaves) * 1000 {
        change(round, &mut class);
        engine.retune(&class, now).unwrap();
        while engine.peek(now).is_none() {
            now = wake(&mut engine, now);
        }
        let grant = engine.peek(now).unwrap();
        engine.commit(FULL);
        sent[usize::from(grant.leaf != first)] += 1;
    }
    sent
}

#[test]
fn whoever_is_changed_all_the_time_has_his_share_and_no_more() {
    for leaves in [2, 5, 12, 13, 60] {
        let change = |round: u64, class: &mut ClassConfig| {
            class.weight = Some(100 + u32::try_from(round % 2).unwrap());
            class.ceil = round.is_multiple_of(3).then(|| rate("990mbit"));
        };
        let sent = shares(leaves, change);
        assert!((960..1040).contains(&sent[0]), "{leaves}: {sent:?}");
        let sent = shares(leaves, |_, class| class.weight = Some(100));
        assert!((995..1005).contains(&sent[0]), "{leaves}: {sent:?}");
    }
}

#[test]
fn a_weight_counts_from_when_it_is_changed_and_so_does_a_priority() {
    for leaves in [2, 12, 40] {
        let sent = shares(leaves, |_, class| class.weight = Some(300));
        let all = f64::from(leaves) * 1000.0;
        let want = all * 3.0 / (f64::from(leaves) + 2.0);
        let share = f64::from(u32::try_from(sent[0]).unwrap());
        assert!(
            (share / want - 1.0).abs() < 0.02,
            "{leaves}: {sent:?}, not {want}"
        );
        let sent = shares(leaves, |_, class| class.prio = 1);
        assert_eq!(sent[0], 0, "all others go first");
        let half = u64::from(leaves) * 500;
        let sent = shares(leaves, |round, class| class.prio = u8::from(round < half));
        assert!((480..520).contains(&sent[0]), "{leaves}: {sent:?}");
    }
}
