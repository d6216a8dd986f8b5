use super::*;
use crate::net::HEADER_LEN;

fn frame(len: usize) -> Vec<u8> {
    (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

/// Posts receive chains of the given lengths, 0x2000 bytes apart.
fn post(rig: &mut Rig, lens: &[u32]) {
    for (at, len) in lens.iter().enumerate() {
        let addr = DATA + 0x2000 * u64::try_from(at).unwrap();
        rig.add(&[Buffer::writable(addr, *len)]);
    }
}

fn gather(
    rig: &mut Rig,
    need: usize,
    mergeable: bool,
) -> (Result<GatherOutcome, RingFault>, Gather) {
    let mut gather = Gather::new();
    let outcome = rig.ring.gather(need, mergeable, &mut gather);
    (outcome, gather)
}

#[test]
fn row_13_a_readable_buffer_in_a_receive_ring_breaks_it() {
    for buffers in [
        vec![Buffer::readable(DATA, 2000)],
        vec![Buffer::writable(DATA, 2000), Buffer::readable(DATA, 1)],
    ] {
        let mut rig = rig(8, ALL);
        rig.add(&buffers);
        assert_eq!(
            gather(&mut rig, 100, true).0,
            Err(RingFault::ReceiveReadable)
        );
        assert_eq!(rig.ring.outstanding(), 0);
    }
}

#[test]
fn row_24_a_mergeable_buffer_shorter_than_the_header_breaks_the_ring() {
    for len in [1, 11] {
        let mut rig = rig(8, ALL);
        post(&mut rig, &[len]);
        let fault = RingFault::ReceiveShort(u64::from(len));
        assert_eq!(gather(&mut rig, 100, true).0, Err(fault));
        assert_eq!(gather(&mut rig, 100, false).0, Ok(GatherOutcome::TooSmall));
    }
}

#[test]
fn row_24_a_zero_length_receive_buffer_breaks_the_ring() {
    let mut rig = rig(8, ALL);
    post(&mut rig, &[0]);
    let fault = RingFault::Receive(ChainFault::ZeroLength);
    assert_eq!(gather(&mut rig, 100, true).0, Err(fault));
}

#[test]
fn row_42_a_frame_too_big_for_small_buffers_leaves_the_ring_alive() {
    let mut rig = rig(8, ALL);
    post(&mut rig, &[1526]);
    assert_eq!(
        gather(&mut rig, 65_550, false).0,
        Ok(GatherOutcome::TooSmall)
    );
    let (outcome, mut held) = gather(&mut rig, 1526, false);
    assert_eq!(outcome, Ok(GatherOutcome::Ready));
    assert_eq!(rig.ring.fill(&mut held, &[0; 12], &[&frame(1514)]), 1);
}

#[test]
fn row_42_mergeable_buffers_that_never_suffice_drop_the_frame() {
    let mut rig = rig(4, ALL);
    post(&mut rig, &[100; 4]);
    assert_eq!(gather(&mut rig, 401, true).0, Ok(GatherOutcome::TooSmall));
    assert_eq!(rig.ring.outstanding(), 0);
}

#[test]
fn row_43_buffers_that_run_out_leave_nothing_published() {
    let mut rig = rig(8, ALL);
    post(&mut rig, &[1000, 1000]);
    let (outcome, _) = gather(&mut rig, 2500, true);
    assert_eq!(outcome, Ok(GatherOutcome::TooFew));
    assert_eq!((rig.ring.outstanding(), rig.ring.pending()), (0, 2));
    assert!(!rig.ring.publish());
    assert_eq!(
        rig.ring.enable_kicks(),
        Ok(false),
        "may sleep until there are more"
    );
    rig.add(&[Buffer::writable(DATA + 0x8000, 1000)]);
    assert_eq!(gather(&mut rig, 2500, true).0, Ok(GatherOutcome::Ready));
}

#[test]
fn row_44_num_buffers_and_lengths_appear_with_one_publication() {
    let mut rig = rig(8, ALL);
    post(&mut rig, &[1000, 1000, 1000, 1000]);
    let bytes = frame(2488);
    let (outcome, mut held) = gather(&mut rig, bytes.len() + HEADER_LEN, true);
    assert_eq!(outcome, Ok(GatherOutcome::Ready));
    let (one, two) = bytes.split_at(70);
    assert_eq!(rig.ring.fill(&mut held, &[7; 12], &[one, two]), 3);
    assert!(rig.driver.collect().is_none(), "not before it is published");
    rig.driver.set_used_event(1);
    assert!(rig.ring.publish());
    let mut seen = Vec::new();
    for len in [1000, 1000, 500] {
        let used = rig.driver.collect().unwrap();
        assert_eq!(used.len, len);
        let mut part = vec![0; usize::try_from(len).unwrap()];
        let addr = DATA + 0x2000 * u64::from(used.head);
        rig.driver.peek(addr, &mut part).unwrap();
        seen.extend(part);
    }
    assert!(rig.driver.collect().is_none());
    assert_eq!(seen[..12], [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 3, 0]);
    assert_eq!(seen[12..], bytes);
    assert_eq!(rig.ring.next_avail(), 3);
}

#[test]
fn row_45_only_the_bytes_of_the_frame_are_written() {
    let mut rig = rig(8, ALL);
    rig.driver.poke(DATA, &[0x5a; 200]).unwrap();
    post(&mut rig, &[200]);
    let (_, mut held) = gather(&mut rig, 72, true);
    rig.ring.fill(&mut held, &[0; 12], &[&[1; 60]]);
    rig.ring.publish();
    assert_eq!(rig.driver.collect().unwrap().len, 72);
    let mut seen = [0; 200];
    rig.driver.peek(DATA, &mut seen).unwrap();
    assert_eq!(seen[..10], [0; 10]);
    assert_eq!(seen[72..], [0x5a; 128]);
}

#[test]
fn a_shorter_frame_than_was_gathered_gives_chains_back() {
    let mut rig = rig(8, ALL);
    post(&mut rig, &[100, 100, 100]);
    let (_, mut held) = gather(&mut rig, 300, true);
    assert_eq!(rig.ring.fill(&mut held, &[0; 12], &[&frame(88)]), 1);
    assert_eq!((rig.ring.outstanding(), rig.ring.pending()), (0, 2));
    let (_, mut held) = gather(&mut rig, 200, true);
    assert_eq!(
        rig.ring.fill(&mut held, &[0; 12], &[&frame(189)]),
        0,
        "does not fit"
    );
    assert_eq!((rig.ring.outstanding(), rig.ring.pending()), (0, 2));
}

#[test]
fn a_frame_goes_from_ring_to_ring_with_a_private_head() {
    let mut from = rig(8, ALL);
    from.driver.poke(DATA, &frame(3000)).unwrap();
    from.add(&[
        Buffer::readable(DATA, 100),
        Buffer::readable(DATA + 100, 2900),
    ]);
    assert_eq!(from.pop(), Ok(true));
    let mut to = rig(8, ALL);
    post(&mut to, &[1600, 1600]);
    let (_, mut held) = gather(&mut to, 12 + 3000, true);
    let used = to
        .ring
        .fill_from(&mut held, &[0; 12], &[9; 50], &from.chain, 50);
    assert_eq!(used, 2);
    to.ring.publish();
    let mut seen = vec![0; 1412];
    to.driver.peek(DATA + 0x2000, &mut seen).unwrap();
    assert_eq!(seen, frame(3000)[1588..]);
    let mut seen = vec![0; 1600];
    to.driver.peek(DATA, &mut seen).unwrap();
    assert_eq!(seen[12..62], [9; 50]);
    assert_eq!(seen[62..], frame(3000)[50..1588]);
}
