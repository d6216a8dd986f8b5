//! Who signals whom (virtio 1.3 §2.7.7 and §2.7.10): rows 20 and 21.

use super::*;
use crate::split::used::passed;

/// Whether stepping from `old` to `new` makes the element `event`.
fn walk(event: u16, new: u16, old: u16) -> bool {
    let mut at = old;
    while at != new {
        if at == event {
            return true;
        }
        at = at.wrapping_add(1);
    }
    false
}

#[test]
fn the_rule_equals_a_walk_over_the_interval() {
    for old in [0_u16, 1, 32767, 32768, 65000, 65535] {
        for delta in 0..=130_u16 {
            for distance in -140..300_i16 {
                let new = old.wrapping_add(delta);
                let event = old.wrapping_add_signed(distance);
                assert_eq!(
                    passed(event, new, old),
                    walk(event, new, old),
                    "event {event} new {new} old {old}"
                );
            }
        }
    }
}

#[test]
fn the_rule_does_not_change_under_translation_over_the_whole_domain() {
    for step in 0..1_u32 << 20 {
        // An odd multiplier spreads the samples over all 2^32 pairs.
        let sample = step.wrapping_mul(0x9e37_79b1);
        let [e0, e1, n0, n1] = sample.to_le_bytes();
        let (event, new) = (u16::from_le_bytes([e0, e1]), u16::from_le_bytes([n0, n1]));
        let inside = event < new;
        assert_eq!(passed(event, new, 0), inside);
        let shift = event.rotate_left(5) ^ new;
        let moved = passed(event.wrapping_add(shift), new.wrapping_add(shift), shift);
        assert_eq!(moved, inside);
    }
}

/// Completes `count` chains and publishes.
fn serve(rig: &mut Rig, count: usize) -> bool {
    for _ in 0..count {
        rig.add(&[Buffer::readable(DATA, 64)]);
        assert_eq!(rig.pop(), Ok(true));
        rig.ring.complete(rig.chain.head(), 0);
    }
    let signal = rig.ring.publish();
    while rig.driver.collect().is_some() {}
    signal
}

#[test]
fn row_20_used_event_at_odd_places_is_followed_exactly() {
    let mut rig = rig_at(8, ALL, 65533);
    for (event, count, signal) in [
        (65533_u16, 1, true),
        (65533, 1, false), // behind
        (65535, 3, true),  // passed while the index wraps
        (100, 4, false),   // far ahead
        (6, 1, true),
        (6, 8, false),
        (14, 0, false), // nothing new, nothing signalled
        (15, 1, true),
    ] {
        rig.driver.set_used_event(event);
        let at = rig.ring.next_used();
        assert_eq!(serve(&mut rig, count), signal, "event {event} at {at}");
    }
}

#[test]
fn row_20_a_stale_event_is_passed_again_after_a_full_turn() {
    let mut rig = rig(8, ALL);
    rig.driver.set_used_event(0);
    let mut signals = 0;
    for _ in 0..(1 << 16) / 8 + 1 {
        signals += u32::from(serve(&mut rig, 8));
    }
    assert_eq!(signals, 2);
}

#[test]
fn row_21_the_flag_decides_without_event_index() {
    let mut rig = rig(8, PLAIN);
    rig.driver.raw_avail_flags(1);
    assert!(!serve(&mut rig, 3));
    rig.driver.raw_avail_flags(0);
    assert!(serve(&mut rig, 3), "one signal for a batch of three");
    assert!(!rig.ring.publish(), "and no second one");
}

#[test]
fn a_driver_that_looked_by_itself_does_not_want_the_call_any_more() {
    for options in [ALL, PLAIN] {
        let mut rig = rig_at(8, options, 65534);
        let before = rig.ring.published();
        rig.driver.enable_calls();
        assert!(serve(&mut rig, 2), "{options:?}");
        assert!(rig.ring.wants_call(before), "it has not told us yet");
        rig.driver.disable_calls();
        assert!(!rig.ring.wants_call(before), "it looks by itself");
        rig.driver.enable_calls();
        // Without event index nothing tells that it has seen them all.
        assert_eq!(rig.ring.wants_call(before), !options.event_idx);
        assert!(serve(&mut rig, 1), "what comes then is wanted");
        assert!(rig.ring.wants_call(before));
    }
}

#[test]
fn a_kick_is_asked_for_at_the_next_head_only() {
    for options in [ALL, PLAIN] {
        let mut rig = rig_at(8, options, 65535);
        assert_eq!(rig.ring.enable_kicks(), Ok(false));
        rig.driver.add(&[Buffer::readable(DATA, 64)]).unwrap();
        assert!(rig.driver.publish(), "the head after the ones seen");
        rig.ring.disable_kicks();
        rig.driver.add(&[Buffer::readable(DATA, 64)]).unwrap();
        assert!(!rig.driver.publish(), "no kick while disabled");
        assert_eq!(rig.ring.enable_kicks(), Ok(true), "they appeared meanwhile");
        assert_eq!(
            rig.ring.enable_kicks(),
            Ok(false),
            "seen, though not popped"
        );
        assert_eq!(rig.ring.pending(), 2);
    }
}
