//! What is told of where a ring stands.

use super::*;

#[test]
fn a_ring_tells_its_indices_and_what_both_sides_wish() {
    let mut rig = rig_at(8, ALL, 65_534);
    for _ in 0..3 {
        rig.add(&[Buffer::readable(DATA, 64)]);
    }
    assert_eq!(rig.pop(), Ok(true));
    rig.ring.complete(rig.chain.head(), 0);
    assert!(rig.ring.enable_kicks().is_ok());
    rig.ring.publish();
    rig.driver.set_used_event(7);
    let state = rig.ring.state();
    assert_eq!(
        (state.avail, state.next, state.waiting),
        (1, 65_535, 2),
        "indices wrap"
    );
    assert_eq!(state.used, rig.ring.next_used());
    assert_eq!((state.used_event, state.avail_event), (Some(7), Some(1)));
    assert!(!state.no_interrupt && !state.no_notify);
}

#[test]
fn without_event_indices_the_flags_tell_the_wishes() {
    let mut rig = rig(8, PLAIN);
    rig.driver.raw_avail_flags(1);
    rig.ring.disable_kicks();
    let state = rig.ring.state();
    assert_eq!((state.used_event, state.avail_event), (None, None));
    assert!(state.no_interrupt && state.no_notify);
    rig.driver.raw_avail_flags(0);
    assert!(rig.ring.enable_kicks().is_ok());
    let state = rig.ring.state();
    assert!(!state.no_interrupt && !state.no_notify);
}

#[test]
fn an_index_that_makes_no_sense_is_told_and_nothing_waits() {
    let mut rig = rig(8, ALL);
    rig.driver.raw_avail_idx(9);
    let state = rig.ring.state();
    assert_eq!((state.avail, state.next, state.waiting), (9, 0, 0));
    let before = format!("{:?}", rig.ring);
    assert!(rig.pop().is_err());
    assert_eq!(format!("{:?}", rig.ring), before, "nothing has changed");
}
