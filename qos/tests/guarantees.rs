//! T8: a guarantee holds under attack: rate, loss and delay of a victim beside floods of small frames
//! and of super-frames, bursts that come and go, and classes that come and go.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::Rng;
use common::sim::{FULL, SUPER, TINY, child, id, mixed, rate, tree};
use qos::{
    Burst, ClassConfig, ClassId, Engine, Frame, FrameShape, Framing, Hold, LeafQueue, Offer, Span,
    Time, TreeConfig, Wake,
};

const SECOND: u64 = 1_000_000_000;

/// A link, the victim's guarantee, that of rivals, and the nanoseconds between frames of the victim.
struct Rates {
    link: &'static str,
    victim: &'static str,
    rival: &'static str,
    period: u64,
}

/// 1538 bytes every 61.52 us are 200 Mbit/s.
const FAST: Rates = Rates {
    link: "1gbit",
    victim: "200mbit",
    rival: "100mbit",
    period: 61_520,
};

/// For floods of minimum frames, which take their time to simulate.
const SLOW: Rates = Rates {
    link: "250mbit",
    victim: "50mbit",
    rival: "25mbit",
    period: 246_080,
};

/// What the others do.
#[derive(Clone, Copy, Debug)]
enum Attack {
    /// All of them always, with frames like this.
    Flood(FrameShape),
    /// All of them, of any size, in every other period of this many nanoseconds.
    Bursts(u64),
    /// As a flood of anything, and every so many nanoseconds they are other classes.
    Churn(u64),
}

/// The victim below the root or below a guest of its own; the attackers beside it and below another
/// guest, ever new ones for every round, with and without guarantees.
fn scene(
    rates: &Rates,
    nested: bool,
    round: u16,
    rivals: bool,
    rng: &mut Rng,
) -> (TreeConfig, ClassId, Vec<ClassId>) {
    let victim = id(1, 1);
    let mut class = child(1).rate(rate(rates.victim)).weight(1);
    class.queue = LeafQueue::Fifo { frames: 128 };
    if rivals {
        // Longer than rivals hold the link that do not peel.
        class.burst = Burst::Duration(20_000_000);
    }
    let mut classes = vec![child(3).weight(1000)];
    let mut attackers = Vec::new();
    if nested {
        classes.push(child(2).rate(rate(rates.victim)).weight(1));
        class = class.parent(id(1, 2));
    }
    classes.push(class);
    for n in 0..6 {
        let name = id(2 + round, n);
        // Beside the victim, and far from it; some with a guarantee of their own.
        let parent = [id(1, 0), id(1, 3), id(1, if nested { 2 } else { 0 })][usize::from(n) % 3];
        let mut class = ClassConfig::new(name).parent(parent).weight(1000);
        if rivals && parent == id(1, 0) && (round == 0 || rng.below(2) == 0) {
            class = class.rate(rate(rates.rival));
        }
        classes.push(class);
        attackers.push(name);
    }
    (tree(rates.link, classes), victim, attackers)
}

/// What the victim got.
struct Fate {
    sent: u64,
    refused: u64,
    dropped: u64,
    /// The longest wait of a frame, in nanoseconds.
    waited: u64,
}

/// A second of the attack; the victim sends at its guarantee from the first instant to the last.
/// Attackers have guarantees if they are rivals, and peel as the engine asks.
fn suffer(attack: Attack, rates: &Rates, nested: bool, rivals: bool, peel: bool) -> Fate {
    let mut rng = Rng(6);
    let (tree, victim, mut attackers) = scene(rates, nested, 0, rivals, &mut rng);
    let mut engine = Engine::new(&tree).unwrap();
    let key = engine.leaf(victim).unwrap();
    let start = SECOND.next_multiple_of(rates.period);
    let (mut now, mut round, mut offered, mut waited, mut refused) = (start, 0, 0, 0, 0);
    while now < start + SECOND {
        let then = Time::from_nanos(now);
        while start + offered * rates.period <= now {
            let frame = Frame::new(start + offered * rates.period, FULL);
            refused += u64::from(engine.offer(key, frame, then) != Offer::Queued);
            offered += 1;
        }
        let mut next = start + offered * rates.period;
        if let Attack::Churn(period) = attack {
            if (now - start) / period > round {
                round = (now - start) / period;
                let (tree, _, others) = scene(
                    rates,
                    nested,
                    u16::try_from(round).unwrap(),
                    rivals,
                    &mut rng,
                );
                attackers = others;
                assert_eq!(engine.apply(&tree, then).unwrap().dropped, []);
            }
            next = next.min(start + (round + 1) * period);
        }
        let mut rages = true;
        if let Attack::Bursts(period) = attack {
            rages = (now / period).is_multiple_of(2);
            next = next.min((now / period + 1) * period);
        }
        if rages {
            for &attacker in &attackers {
                let leaf = engine.leaf(attacker).unwrap();
                engine.backlogged(leaf, then);
            }
        }
        while let Some(grant) = engine.peek(then) {
            let shape = match (grant.frame, attack) {
                (Some(frame), _) => {
                    waited = waited.max(now - frame.token);
                    frame.shape
                }
                (None, _) if !rages => {
                    engine.abort(Hold::Empty);
                    continue;
                }
                (None, Attack::Flood(shape)) => shape,
                (None, _) => mixed(&mut rng),
            };
            let part = shape.peel(grant.segments(shape)).filter(|_| peel);
            engine.commit(part.map_or(shape, |(part, _)| part));
        }
        now = match engine.next_wake(then) {
            Wake::At(at) => next.min(at.ceil_nanos()),
            Wake::Now => now,
            Wake::Idle => next,
        };
    }
    let snapshot = engine.snapshot();
    let victim = snapshot.iter().find(|class| class.id == victim).unwrap();
    assert_eq!(victim.stats.refused, refused);
    assert_eq!(victim.stats.sent.frames + victim.queued + refused, offered);
    Fate {
        sent: victim.stats.sent.wire_bytes,
        refused,
        dropped: victim.stats.dropped.frames,
        waited,
    }
}

#[test]
fn a_guarantee_is_met_without_loss_and_delay_under_every_attack() {
    for (attack, rates) in [
        (Attack::Flood(TINY), &SLOW),
        (Attack::Flood(SUPER), &FAST),
        (Attack::Bursts(777_777), &FAST),
        (Attack::Bursts(5_000_000), &FAST),
        (Attack::Churn(3_000_000), &FAST),
        (Attack::Churn(333_333), &FAST),
    ] {
        for (nested, rivals) in [(false, false), (false, true), (true, false), (true, true)] {
            // Rivals peel, others never do.
            let fate = suffer(attack, rates, nested, rivals, rivals);
            let due = rate(rates.victim).bytes_in(SECOND);
            let what = format!("{attack:?}, nested {nested}, rivals {rivals}");
            println!("{what}: {} of {due}, {} ns", fate.sent, fate.waited);
            assert!(fate.sent * 1000 >= due * 999, "{what}: {} bytes", fate.sent);
            assert_eq!((fate.refused, fate.dropped), (0, 0), "{what}");
            // WFI_i / g_i with WFI_i = L_i + M g_i / R: an own frame at the guarantee, and the
            // largest unit of an attacker on the link, on each level; and the grain of a wake. The
            // unit is a quantum of what 50 us carry up to the end of a frame, which is a super-frame
            // where nothing is peeled.
            let frame = if rivals { 1538 } else { 70_000 };
            let unit = rate(rates.link).bytes_in(50_000) + frame;
            let levels = 1 + u64::from(nested);
            let bound = levels
                * (rates.period + unit * 8 * SECOND / rate(rates.link).bits_per_second())
                + 1024;
            assert!(
                fate.waited <= bound,
                "{what}: {} ns above {bound}",
                fate.waited
            );
        }
    }
}

#[test]
fn a_victim_that_comes_back_from_a_pause_waits_no_longer() {
    // One frame every 10 ms, whose guarantee is unused: beside the flood of super-frames, each waits
    // for the unit on the link at most.
    let (tree, victim, attackers) = scene(&FAST, false, 0, false, &mut Rng(1));
    let mut engine = Engine::new(&tree).unwrap();
    let key = engine.leaf(victim).unwrap();
    let mut now = Time::from_nanos(SECOND);
    for attacker in attackers {
        let leaf = engine.leaf(attacker).unwrap();
        engine.backlogged(leaf, now);
    }
    let wire = Framing::ETHERNET.cost(SUPER).wire_bytes;
    let bound = (rate(FAST.link).bytes_in(50_000) + wire) * 8 + 1024;
    let (mut due, mut waited) = (now, 0);
    while now < Time::from_nanos(2 * SECOND) {
        if due <= now {
            let _queued = engine.offer(key, Frame::new(due.as_nanos(), FULL), now);
            due = due.saturating_add(Span::from_nanos(10_000_000));
        }
        while let Some(grant) = engine.peek(now) {
            if let Some(frame) = grant.frame {
                waited = waited.max(now.as_nanos() - frame.token);
            }
            engine.commit(grant.frame.map_or(SUPER, |frame| frame.shape));
        }
        if let Wake::At(at) = engine.next_wake(now) {
            now = Time::from_nanos(at.ceil_nanos()).min(due);
        }
    }
    println!("{waited} ns of {bound}");
    assert!(waited <= bound, "{waited} ns");
}

/// Super-frames that cannot be peeled, from siblings that have guarantees of their own: each may go once
/// while the victim waits, since their tags are made from quanta of one frame and they are charged 46
/// only afterwards. That is made up for as long as the victim's burst keeps its credit.
#[test]
fn a_guarantee_with_a_burst_to_match_is_met_beside_rivals_that_cannot_peel() {
    let fate = suffer(Attack::Flood(SUPER), &FAST, false, true, false);
    let due = rate(FAST.victim).bytes_in(SECOND);
    assert!(
        fate.sent * 1000 >= due * 999,
        "{} bytes of {due}",
        fate.sent
    );
    assert_eq!((fate.refused, fate.dropped), (0, 0));
    // One super-frame of each of the six, and one that was on the link.
    let unit = Framing::ETHERNET.cost(SUPER).wire_bytes;
    assert!(
        fate.waited <= FAST.period + 7 * unit * 8 + 1024,
        "{} ns",
        fate.waited
    );
}
