use super::*;

const LEAF: ClassId = ClassId::new(1, 2);

fn wanted(frames: u32) -> Wanted {
    Wanted {
        classes: None,
        direction: None,
        snap: 4,
        frames,
    }
}

fn seen(direction: Direction, class: Option<ClassId>) -> Seen {
    Seen {
        direction,
        class,
        verdict: SENT,
        len: 6,
    }
}

fn copy(tap: &mut Tap, seen: &Seen, bytes: &[u8]) {
    tap.copy(seen, &mut |slot| fill(slot, &[bytes]));
}

fn lengths(copies: &Copies) -> Vec<usize> {
    let take = || copies.take(|copy| copy.data.len());
    std::iter::from_fn(|| take().ok().flatten()).collect()
}

#[test]
fn a_copy_has_the_first_bytes_and_all_that_is_known_of_the_frame() {
    let (mut tap, copies) = Tap::new(wanted(10)).unwrap();
    copy(&mut tap, &seen(Direction::ToGuest, Some(LEAF)), b"abcdef");
    copy(&mut tap, &seen(Direction::FromGuest, None), b"xy");
    let mut all = Vec::new();
    while let Some(copy) = copies.take(Clone::clone).unwrap() {
        all.push(copy);
    }
    let [first, second] = &all[..] else {
        panic!("{all:?}")
    };
    assert_eq!((first.len, &first.data[..]), (6, &b"abcd"[..]));
    assert_eq!(
        (first.direction, first.class),
        (Direction::ToGuest, Some(LEAF))
    );
    assert_eq!((second.class, &second.data[..]), (None, &b"xy"[..]));
    assert!(first.time_nanos > 0 && first.verdict == SENT);
}

#[test]
fn what_is_not_wanted_is_neither_copied_nor_missed() {
    let (mut tap, copies) = Tap::new(Wanted {
        classes: Some(vec![LEAF]),
        direction: Some(Direction::ToGuest),
        ..wanted(1)
    })
    .unwrap();
    copy(&mut tap, &seen(Direction::FromGuest, Some(LEAF)), b"1");
    copy(&mut tap, &seen(Direction::ToGuest, None), b"22");
    copy(
        &mut tap,
        &seen(Direction::ToGuest, Some(ClassId::new(1, 3))),
        b"333",
    );
    assert!(tap.is_open());
    copy(&mut tap, &seen(Direction::ToGuest, Some(LEAF)), b"4444");
    assert_eq!(lengths(&copies), [4]);
    assert!(!tap.is_open(), "as many have come as were wanted");
    drop(tap);
    assert_eq!(copies.take(|_| ()), Err(Over { missed: 0 }));
}

#[test]
fn what_is_not_taken_in_time_is_missed_and_the_slots_go_round() {
    let (mut tap, copies) = Tap::new(Wanted {
        snap: MAX_FRAME_LEN,
        ..wanted(1_000_000)
    })
    .unwrap();
    let seen = seen(Direction::ToGuest, None);
    let mut all = 0;
    for _ in 0..3 {
        for _ in 0..1000 {
            copy(&mut tap, &seen, b"abcdef");
        }
        let taken = lengths(&copies).len();
        assert!((16..1000).contains(&taken), "{taken}");
        all += taken as u64;
    }
    drop(tap);
    assert_eq!(copies.take(|_| ()), Err(Over { missed: 3000 - all }));
}

#[test]
fn the_taker_is_woken_once_and_again_after_it_has_looked() {
    let (mut tap, copies) = Tap::new(wanted(10)).unwrap();
    let seen = seen(Direction::ToGuest, None);
    let woken = || copies.shared.wake.read().unwrap_or(0);
    copy(&mut tap, &seen, b"1");
    copy(&mut tap, &seen, b"2");
    assert_eq!(woken(), 1);
    copies.clear_wake();
    assert_eq!(lengths(&copies), [1, 1]);
    copy(&mut tap, &seen, b"3");
    assert_eq!(woken(), 1);
    drop(tap);
    assert_eq!(woken(), 1, "the end wakes as well");
}

#[test]
fn a_capture_that_nobody_takes_is_closed() {
    let (tap, copies) = Tap::new(wanted(10)).unwrap();
    assert!(tap.is_open());
    drop(copies);
    assert!(!tap.is_open());
}
