use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

fn unit(len: usize) -> Unit {
    let len = u32::try_from(len).unwrap();
    Unit::new(FrameShape::single(len), Target::Uplink)
}

fn put(pool: &mut Pool, stamp: u8, len: usize) -> Option<u32> {
    pool.fill_spare(len, |at, part| {
        for (index, byte) in part.iter_mut().enumerate() {
            *byte = stamp.wrapping_add((at + index).to_le_bytes()[0]);
        }
        part.len()
    });
    pool.keep(unit(len))
}

fn bytes(pool: &Pool, number: u32, offset: usize, len: usize) -> Vec<u8> {
    let mut parts = Parts::new();
    pool.slices(number, offset, len, &mut parts);
    parts.iter().flat_map(|part| part.iter().copied()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn frames_come_out_as_they_went_in_whatever_their_sizes(
        steps in prop::collection::vec((any::<bool>(), 14_usize..=MAX_FRAME_LEN as usize), 1..120),
    ) {
        let mut pool = Pool::new(64 * BLOCK as u64);
        let mut model = VecDeque::new();
        let mut stamp = 0_u8;
        for (add, len) in steps {
            stamp = stamp.wrapping_add(1);
            let held: usize = model.iter().map(|&(_, _, len): &(u32, u8, usize)| (len + HEADROOM).div_ceil(BLOCK)).sum();
            let fits = held + (len + HEADROOM).div_ceil(BLOCK) <= 64;
            if add {
                let number = put(&mut pool, stamp, len);
                prop_assert_eq!(number.is_some(), fits);
                model.extend(number.map(|number| (number, stamp, len)));
            } else if let Some((number, stamp, len)) = model.pop_front() {
                let middle = len / 3;
                let all = bytes(&pool, number, 0, len);
                let want: Vec<u8> = (0..len).map(|at| stamp.wrapping_add(at.to_le_bytes()[0])).collect();
                prop_assert_eq!(&all, &want);
                prop_assert_eq!(&bytes(&pool, number, middle, len - middle), &want[middle..]);
                pool.free(number);
            }
            prop_assert_eq!(pool.is_empty(), model.is_empty());
        }
    }
}

#[test]
fn frames_of_a_port_that_is_gone_are_nobodys() {
    let mut pool = Pool::new(1 << 20);
    let mut mine = unit(100);
    (mine.target, mine.source) = (Target::Port(1), Some(2));
    let number = pool.keep(mine).unwrap();
    pool.forget_port(3);
    let unit = pool.get(number).unwrap();
    assert_eq!((unit.target, unit.source), (Target::Port(1), Some(2)));
    pool.forget_port(1);
    pool.forget_port(2);
    let unit = pool.get(number).unwrap();
    // It is not one from the uplink for all that.
    assert_eq!(
        (unit.target, unit.source),
        (Target::Port(NOBODY), Some(NOBODY))
    );
}

#[test]
fn a_promised_frame_is_filled_under_its_own_number() {
    let mut pool = Pool::new(1 << 20);
    let number = pool.promise(unit(3000));
    assert!(bytes(&pool, number, 0, 3000).is_empty());
    pool.fill_spare(3000, |_, part| {
        part.fill(7);
        part.len()
    });
    assert!(pool.fulfil(number));
    assert_eq!(bytes(&pool, number, 0, 3000), [7; 3000]);
    pool.free(number);
    assert!(pool.is_empty());
    assert_eq!(pool.used, 0);
}

#[test]
fn a_small_frame_lies_behind_its_header() {
    let mut pool = Pool::new(1 << 20);
    put(&mut pool, 1, 60);
    let (header, head) = pool.head_mut(0).unwrap();
    header.fill(9);
    assert_eq!(head.len(), 60);
    let whole = pool.contiguous(0).unwrap();
    assert_eq!(whole.len(), HEADER_LEN + 60);
    assert_eq!(whole[..HEADER_LEN], [9; HEADER_LEN]);
}

fn read(pool: &mut Pool, stamp: u8, len: usize) -> Option<u32> {
    match pool.place().unwrap() {
        Place::Whole(unit) => unit[HEADER_LEN..HEADER_LEN + len].fill(stamp),
        Place::Parts(_, mut parts) => {
            let mut left = len;
            for part in &mut parts {
                let now = part.len().min(left);
                part[..now].fill(stamp);
                left -= now;
            }
        }
    }
    pool.admit(unit(len))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// In whatever order they go, and wherever they lie by then.
    #[test]
    fn frames_that_were_read_keep_their_bytes_and_their_room(
        steps in prop::collection::vec((0..4_u8, any::<prop::sample::Index>(), prop_oneof![14..3000_usize, 14..=MAX_FRAME_LEN as usize]), 1..160),
    ) {
        let mut pool = Pool::new(64 * BLOCK as u64);
        let mut model: Vec<(u32, u8, usize)> = Vec::new();
        let mut stamp = 0_u8;
        for (step, which, len) in steps {
            stamp = stamp.wrapping_add(1);
            let held = |model: &[(u32, u8, usize)]| -> usize {
                model.iter().map(|(_, _, len)| (len + HEADROOM).div_ceil(BLOCK)).sum()
            };
            match step {
                0 => pool.settle(),
                1 if !model.is_empty() => {
                    let (number, ..) = model.swap_remove(which.index(model.len()));
                    pool.free(number);
                }
                _ => {
                    let fits = held(&model) + (len + HEADROOM).div_ceil(BLOCK) <= 64;
                    let number = read(&mut pool, stamp, len);
                    prop_assert_eq!(number.is_some(), fits);
                    model.extend(number.map(|number| (number, stamp, len)));
                }
            }
            prop_assert_eq!(pool.used, held(&model));
            for &(number, stamp, len) in &model {
                prop_assert!(bytes(&pool, number, 0, len).iter().all(|byte| *byte == stamp));
                prop_assert_eq!(bytes(&pool, number, len / 2, len - len / 2).len(), len - len / 2);
            }
        }
    }
}

#[test]
fn a_frame_is_tagged_and_copied_where_it_was_read() {
    let mut pool = Pool::new(1 << 20);
    read(&mut pool, 1, 5000).unwrap();
    let number = read(&mut pool, 2, 5000).unwrap();
    pool.retag(number, TagChange::Push(7));
    let tagged = bytes(&pool, number, 0, 5004);
    assert_eq!(tagged[12..16], [0x81, 0, 0, 7]);
    let copy = pool.duplicate(number, Target::Uplink).unwrap();
    assert_eq!(bytes(&pool, copy, 0, 5004), tagged);
    assert_eq!(bytes(&pool, number, 0, 5004), tagged);
    let (header, head) = pool.head_mut(number).unwrap();
    assert_eq!((header.len(), head.len()), (HEADER_LEN, HEAD_LEN));
}

#[test]
fn frames_behind_a_long_one_that_waits_are_read_into_blocks() {
    let mut pool = Pool::new(1 << 20);
    let long = read(&mut pool, 1, 60_000).unwrap();
    pool.settle();
    assert!(matches!(pool.place(), Some(Place::Parts(..))));
    let small = read(&mut pool, 2, 100).unwrap();
    assert!(matches!(pool.place(), Some(Place::Whole(_))), "a short one");
    pool.free(small);
    assert_eq!(bytes(&pool, long, 0, 60_000), [1; 60_000]);
    pool.free(long);
    assert!(pool.is_empty());
}
