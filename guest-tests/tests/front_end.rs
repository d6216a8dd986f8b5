//! The daemon between a light front-end and its tap: every byte, every feature subset, every count.

use std::time::Duration;

use guest_tests::Result;
use guest_tests::front_end::{Buffers, Frame, FrontEnd, Header, Lab, Port, Shape, Wire, features};

const SOON: Duration = Duration::from_secs(2);
const NO_ARGS: [&str; 0] = [];

/// Every short length, and those around each boundary of copying, segments and 64 KiB.
fn lengths() -> impl Iterator<Item = usize> {
    let around = [2048, 2060, 4096, 9014, 32_768, 65_535];
    let around = around.into_iter().flat_map(|len| len - 2..=len);
    (14..=130).chain((130..2100).step_by(61)).chain(around)
}

fn arrives_from_guest(port: &mut Port, wire: &Wire, frame: &Frame, shape: &Shape) -> Result<()> {
    port.send_as(frame, shape)?;
    let come = wire.receive(SOON)?.expect("the frame arrives");
    assert!(
        come.bytes == frame.bytes,
        "{} bytes, {shape:?}",
        frame.bytes.len()
    );
    Ok(())
}

fn arrives_at_guest(port: &mut Port, wire: &Wire, frame: &Frame) -> Result<Frame> {
    assert!(wire.send(frame)?);
    let come = port.receive(SOON)?.expect("the frame arrives");
    assert!(come.bytes == frame.bytes, "{} bytes", frame.bytes.len());
    Ok(come)
}

#[test]
fn every_byte_of_frames_of_all_sizes_arrives_both_ways() -> Result<()> {
    let mut lab = Lab::new(NO_ARGS)?;
    let mut port = lab.front_end().start()?;
    let shapes = [
        Shape::WHOLE,
        Shape::HEADER_APART,
        Shape::WHOLE.indirect(),
        Shape::lengths(&[1, 1, 1, 9, 14]),
        Shape::pieces(512).indirect(),
    ];
    for (number, len) in lengths().enumerate() {
        let frame = Frame::plain(len, number as u64);
        let shape = &shapes[number % shapes.len()];
        arrives_from_guest(&mut port, &lab.wire, &frame, shape)?;
        arrives_at_guest(&mut port, &lab.wire, &frame)?;
    }
    let counters = lab.daemon.counters()?;
    assert_eq!((counters.from_guest.drops, counters.to_guest.drops), (0, 0));
    Ok(())
}

#[test]
fn a_chain_of_single_bytes_is_a_frame() -> Result<()> {
    let lab = Lab::new(NO_ARGS)?;
    let mut port = lab.front_end().ring_size(1024).start()?;
    let frame = Frame::plain(900, 1);
    arrives_from_guest(&mut port, &lab.wire, &frame, &Shape::pieces(1))?;
    arrives_from_guest(&mut port, &lab.wire, &frame, &Shape::pieces(1).indirect())
}

#[test]
fn super_frames_keep_their_segmentation_and_their_unfinished_checksum() -> Result<()> {
    let lab = Lab::new(NO_ARGS)?;
    let mut port = lab.front_end().start()?;
    let frames = [
        Frame::tcp4(64_000, 1).segmented(1460),
        Frame::tcp6(64_000, 2).segmented(1440),
        Frame::tcp4(3000, 3).segmented(536),
        Frame::udp4(4800, 4).segmented(1200),
        Frame::udp6(4800, 5).segmented(1200),
        Frame::tcp4(1000, 6).partial_checksum(),
        Frame::udp6(1000, 7).partial_checksum(),
    ];
    for frame in &frames {
        arrives_from_guest_with_header(&mut port, &lab.wire, frame)?;
        let come = arrives_at_guest(&mut port, &lab.wire, frame)?;
        assert_same_offload(&come, frame);
        assert_eq!(
            usize::from(come.header.num_buffers),
            (Header::LEN + frame.bytes.len()).div_ceil(2048)
        );
    }
    Ok(())
}

fn arrives_from_guest_with_header(port: &mut Port, wire: &Wire, frame: &Frame) -> Result<()> {
    port.send_as(frame, &Shape::HEADER_APART)?;
    let come = wire.receive(SOON)?.expect("the frame arrives");
    assert!(come.bytes == frame.bytes);
    assert_same_offload(&come, frame);
    Ok(())
}

fn assert_same_offload(come: &Frame, sent: &Frame) {
    let fields = |frame: &Frame| {
        let header = frame.header;
        (
            header.gso_type,
            header.gso_size,
            header.flags,
            header.csum_start,
            header.csum_offset,
        )
    };
    assert_eq!(fields(come), fields(sent));
}

#[test]
fn a_guest_without_offloads_gets_whole_checksums_and_small_frames() -> Result<()> {
    let lab = Lab::new(NO_ARGS)?;
    let mut port = lab.front_end().features(features::PLAIN).start()?;
    let checked = Frame::tcp4(1000, 1);
    assert!(lab.wire.send(&checked.clone().partial_checksum())?);
    assert_eq!(port.receive(SOON)?.expect("it comes").bytes, checked.bytes);
    // The kernel activates the tap's queue, which cuts the frame up, a while after its carrier.
    std::thread::sleep(Duration::from_millis(300));
    assert!(lab.wire.send(&Frame::tcp4(4000, 2).segmented(1000))?);
    for _ in 0..4 {
        let segment = port.receive(SOON)?.expect("a segment comes");
        assert_eq!((segment.header.gso_type, segment.bytes.len()), (0, 1054));
        assert!(segment.has_good_checksum());
    }
    Ok(())
}

#[test]
fn a_frame_fills_as_many_mergeable_buffers_as_it_needs() -> Result<()> {
    let lab = Lab::new(NO_ARGS)?;
    for size in [64_u32, 129, 1514, 4096] {
        let front_end = lab.front_end().ring_size(1024).buffers(Buffers::of(size));
        let mut port = front_end.start()?;
        for len in [14_usize, 51, 52, 53, 1514, 9000, 60_000] {
            let buffers = (Header::LEN + len).div_ceil(size as usize);
            if buffers > 1000 {
                continue;
            }
            let come = arrives_at_guest(&mut port, &lab.wire, &Frame::plain(len, 1))?;
            assert_eq!(
                usize::from(come.header.num_buffers),
                buffers,
                "{len} in {size}"
            );
        }
    }
    Ok(())
}

#[test]
fn every_subset_of_ring_features_carries_frames_in_order() -> Result<()> {
    let lab = Lab::new(NO_ARGS)?;
    let parts = [
        features::IN_ORDER,
        features::INDIRECT,
        features::EVENT_IDX,
        features::MRG_RXBUF,
    ];
    for subset in 0..16_usize {
        let chosen = (0..4).filter(|bit| subset >> bit & 1 == 1);
        let chosen = chosen.fold(0, |mask, bit| mask | parts[bit]);
        let mut port = lab.front_end().features(chosen).start()?;
        let indirect = chosen & features::INDIRECT != 0;
        let pieces = Shape::pieces(100);
        let pieces = if indirect { pieces.indirect() } else { pieces };
        for number in 0..300 {
            let frame = Frame::plain(60 + number, number as u64);
            arrives_from_guest(&mut port, &lab.wire, &frame, &pieces)?;
            arrives_at_guest(&mut port, &lab.wire, &frame)?;
        }
        port.settle(SOON)?;
        assert_eq!(port.pair(0)?.transmit.completed(), 300);
    }
    Ok(())
}

#[test]
fn a_guest_is_called_as_often_as_it_asks() -> Result<()> {
    let lab = Lab::new(NO_ARGS)?;
    let mut port = lab.front_end().start()?;
    let transmit = &mut port.pair(0)?.transmit;
    // One call follows each start of a ring.
    transmit.queue().wait_call(SOON)?;
    let started = transmit.queue().calls();
    transmit.queue().driver().set_used_event(31);
    send_batch(&mut port, 64)?;
    assert_eq!(port.pair(0)?.transmit.queue().calls(), started + 1);
    port.pair(0)?.transmit.queue().driver().disable_calls();
    for _ in 0..10 {
        send_batch(&mut port, 64)?;
    }
    assert_eq!(port.pair(0)?.transmit.queue().calls(), started + 1);
    Ok(())
}

#[test]
fn without_event_index_the_flag_silences_calls() -> Result<()> {
    let lab = Lab::new(NO_ARGS)?;
    let mut port = lab.front_end().without(features::EVENT_IDX).start()?;
    port.pair(0)?.transmit.queue().wait_call(SOON)?;
    let started = port.pair(0)?.transmit.queue().calls();
    port.pair(0)?.transmit.queue().driver().disable_calls();
    send_batch(&mut port, 64)?;
    assert_eq!(port.pair(0)?.transmit.queue().calls(), started);
    port.pair(0)?.transmit.queue().driver().enable_calls();
    send_batch(&mut port, 64)?;
    let calls = port.pair(0)?.transmit.queue().calls() - started;
    assert!((1..=2).contains(&calls), "{calls} calls for one batch");
    Ok(())
}

/// Publishes `count` frames at once and waits, without calls, until they are completed.
fn send_batch(port: &mut Port, count: u64) -> Result<()> {
    let transmit = &mut port.pair(0)?.transmit;
    let target = transmit.completed() + count;
    for _ in 0..count {
        assert!(transmit.push(&Frame::plain(60, 1), &Shape::WHOLE)?);
    }
    transmit.queue().publish();
    let deadline = std::time::Instant::now() + SOON;
    while transmit.completed() < target {
        assert!(
            std::time::Instant::now() < deadline,
            "the batch is completed"
        );
        transmit.collect()?;
    }
    // The call follows the publication.
    std::thread::sleep(Duration::from_millis(20));
    Ok(())
}

#[test]
fn two_queue_pairs_carry_frames_both_ways() -> Result<()> {
    let lab = Lab::new(["--queues", "2"])?;
    let mut port = lab.front_end().queues(2).start()?;
    for pair in 0..2 {
        for number in 0..100 {
            let frame = Frame::plain(64, number);
            port.pair(pair)?.transmit.send(&frame, &Shape::WHOLE)?;
            let come = lab.wire.receive(SOON)?.expect("the frame arrives");
            assert_eq!(come.bytes, frame.bytes);
        }
    }
    port.settle(SOON)?;
    assert_eq!(lab.wire.repeat(&Frame::plain(64, 1), 100)?, 100);
    let mut received = 0;
    while received < 100 {
        let before = received;
        for pair in 0..2 {
            let come = port.pair(pair)?.receive.wait(Duration::from_millis(200))?;
            received += usize::from(come.is_some());
        }
        assert!(received > before, "{received} of 100 frames");
    }
    Ok(())
}

#[test]
fn fifty_reconnects_leave_nothing_behind() -> Result<()> {
    let lab = Lab::new(NO_ARGS)?;
    let mut base = None;
    for number in 0..50 {
        let mut port = lab.front_end().start()?;
        let frame = Frame::plain(100, number);
        arrives_from_guest(&mut port, &lab.wire, &frame, &Shape::WHOLE)?;
        arrives_at_guest(&mut port, &lab.wire, &frame)?;
        drop(port);
        if number % 10 == 0 {
            let usage = settled_usage(&lab)?;
            assert_eq!(*base.get_or_insert(usage), usage, "after {number} sessions");
        }
    }
    Ok(())
}

/// Descriptors and threads, once the session has ended.
fn settled_usage(lab: &Lab) -> Result<(usize, usize)> {
    std::thread::sleep(Duration::from_millis(100));
    let usage = lab.daemon.usage()?;
    Ok((usage.descriptors, usage.threads))
}

#[test]
fn frames_wait_for_a_guest_that_posts_few_buffers_and_come_when_it_does() -> Result<()> {
    let mut lab = Lab::new(NO_ARGS)?;
    let mut port = lab.front_end().posting_nothing().start()?;
    let receive = &mut port.pair(0)?.receive;
    assert_eq!(lab.wire.repeat(&Frame::plain(200, 1), 20)?, 20);
    assert_eq!(receive.wait(Duration::from_millis(100))?, None);
    receive.keep_posted(1);
    receive.refill();
    for number in 0..20 {
        assert!(receive.wait(SOON)?.is_some(), "frame {number}");
    }
    assert_eq!(lab.daemon.counters()?.to_guest.drops, 0);
    Ok(())
}

#[test]
fn a_guest_that_never_posts_loses_frames_and_gets_new_ones_when_it_posts() -> Result<()> {
    let mut lab = Lab::new(NO_ARGS)?;
    let mut port = lab.front_end().posting_nothing().start()?;
    lab.wire.repeat(&Frame::plain(200, 1), 20)?;
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(
        lab.daemon.counters()?.to_guest.reasons.get("stalled"),
        Some(&20)
    );
    let receive = &mut port.pair(0)?.receive;
    receive.keep_posted(256);
    receive.refill();
    std::thread::sleep(Duration::from_millis(50));
    arrives_at_guest(&mut port, &lab.wire, &Frame::plain(300, 2)).map(drop)
}

#[test]
fn a_frame_too_large_for_unmergeable_buffers_is_dropped_and_the_next_one_comes() -> Result<()> {
    let mut lab = Lab::new(NO_ARGS)?;
    let small = |lab: &Lab| -> FrontEnd {
        lab.front_end()
            .features(features::EVENT_IDX)
            .buffers(Buffers::chains(&[1, 11, 100]))
    };
    let mut port = small(&lab).start()?;
    assert!(lab.wire.send(&Frame::plain(101, 1))?);
    arrives_at_guest(&mut port, &lab.wire, &Frame::plain(100, 2))?;
    assert_eq!(
        lab.daemon
            .counters()?
            .to_guest
            .reasons
            .get("buffer-too-small"),
        Some(&1)
    );
    Ok(())
}

#[test]
fn a_shard_that_polls_carries_frames_and_comes_to_rest() -> Result<()> {
    let lab = Lab::new(["--poll-us", "200"])?;
    let mut port = lab.front_end().start()?;
    for round in 0..50 {
        let frame = Frame::plain(200, round);
        arrives_from_guest(&mut port, &lab.wire, &frame, &Shape::WHOLE)?;
        arrives_at_guest(&mut port, &lab.wire, &frame)?;
    }
    // Long past the last look.
    std::thread::sleep(Duration::from_millis(100));
    let before = lab.daemon.usage()?.cpu;
    std::thread::sleep(Duration::from_secs(1));
    let used = lab.daemon.usage()?.cpu - before;
    assert!(
        used < Duration::from_millis(10),
        "{used:?} in an idle second"
    );
    Ok(())
}
