//! Neighbouring frames of one flow leave a guest, and reach one, as one super-frame; what the far side makes
//! of that is what was sent, byte for byte.

use std::time::Duration;

use guest_tests::Result;
use guest_tests::front_end::{Frame, Header, Port, Segment, Shape, Wire, features};
use ring::{Part, inspect_from_host, segment};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

const SOON: Duration = Duration::from_secs(2);
const NO_MORE: Duration = Duration::from_millis(200);
const SEGMENTS: usize = 20;

fn file(coalesce: bool) -> String {
    format!("[uplink.wan]\nkind = \"tap:tap0\"\n[guest.vm1]\ncoalesce = {coalesce}\n")
}

/// The frames that a super-frame stands for, or the frame itself, with their checksums.
fn cut(whole: &Frame) -> Vec<Vec<u8>> {
    let header = whole.header.to_bytes();
    let head = &whole.bytes[..whole.bytes.len().min(ring::net::HEAD_LEN)];
    let len = u32::try_from(whole.bytes.len()).expect("a frame");
    let facts = inspect_from_host(&header, head, len).expect("a frame that the daemon sends");
    if facts.segments == 1 {
        return vec![whole.bytes.clone()];
    }
    let mut part = Part::new();
    let mut one = |index| {
        let range = segment(&facts, head, &[&whole.bytes], index, true, &mut part)
            .expect("a segment of a super-frame");
        let payload = &whole.bytes[range.start as usize..range.end as usize];
        [part.headers(), payload].concat()
    };
    (0..facts.segments).map(&mut one).collect()
}

/// Shows the guest's frames to the device all at once.
fn send(port: &mut Port, frames: &[Vec<u8>]) -> Result<()> {
    let transmit = &mut port.pair(0)?.transmit;
    for bytes in frames {
        let frame = Frame {
            header: Header::default(),
            bytes: bytes.clone(),
        };
        assert!(transmit.push(&frame, &Shape::WHOLE)?, "the ring has room");
    }
    transmit.queue().publish();
    transmit.settle(SOON)
}

/// All that comes, until nothing does.
fn receive(wire: &Wire) -> Result<Vec<Frame>> {
    let mut come = Vec::new();
    while let Some(frame) = wire.receive(NO_MORE)? {
        come.push(frame);
    }
    Ok(come)
}

fn flows() -> [Frame; 4] {
    let bytes = SEGMENTS * 100 - 30;
    [
        Frame::tcp4(bytes, 1),
        Frame::tcp6(bytes, 2),
        Frame::udp4(bytes, 3),
        Frame::udp6(bytes, 4),
    ]
    .map(|frame| frame.segmented(100))
}

#[test]
fn neighbours_of_one_flow_leave_as_one_super_frame() -> Result<()> {
    let mut lab = Segment::new(&file(true), &["vm1"])?;
    // A guest that finishes all of it itself.
    let mut port = lab.front_end("vm1").features(features::PLAIN).start()?;
    let wire = lab.wire("tap0")?;
    for whole in flows() {
        let frames = cut(&whole);
        assert_eq!(frames.len(), SEGMENTS);
        send(&mut port, &frames)?;
        let come = receive(&wire)?;
        assert_eq!(come.len(), 1, "one super-frame");
        assert_eq!(come[0].header.gso_size, 100);
        assert_eq!(cut(&come[0]), frames);
    }
    let counters = lab.counters("vm1")?.from_guest;
    let all = 4 * SEGMENTS as u64;
    assert_eq!(
        (counters.frames, counters.segments, counters.drops),
        (all, all, 0)
    );
    assert_eq!(counters.coalesced, all - 4);
    Ok(())
}

#[test]
fn what_does_not_belong_together_stays_apart_and_in_order() -> Result<()> {
    let lab = Segment::new(&file(true), &["vm1"])?;
    let mut port = lab.front_end("vm1").features(features::PLAIN).start()?;
    let wire = lab.wire("tap0")?;
    for whole in flows() {
        let mut frames = cut(&whole);
        // A wrong checksum, a frame of another flow, a hole.
        let last = frames[4].len() - 1;
        frames[4][last] ^= 1;
        frames[9] = Frame::udp4(300, 9).bytes;
        frames.remove(14);
        send(&mut port, &frames)?;
        let come = receive(&wire)?;
        assert!(
            come.len() >= 5 && come.len() < frames.len(),
            "{}",
            come.len()
        );
        let pieces: Vec<_> = come.iter().flat_map(cut).collect();
        assert_eq!(pieces, frames);
    }
    Ok(())
}

#[test]
fn a_guest_may_be_left_alone() -> Result<()> {
    let lab = Segment::new(&file(false), &["vm1"])?;
    let mut port = lab.front_end("vm1").features(features::PLAIN).start()?;
    let wire = lab.wire("tap0")?;
    for whole in flows() {
        let frames = cut(&whole);
        send(&mut port, &frames)?;
        let come: Vec<_> = receive(&wire)?
            .into_iter()
            .map(|frame| frame.bytes)
            .collect();
        assert_eq!(come, frames);
    }
    Ok(())
}

/// What a driver takes to whom joined frames may be given.
const TAKES_ALL: u64 = features::PLAIN
    | features::GUEST_CSUM
    | features::GUEST_TSO4
    | features::GUEST_TSO6
    | features::GUEST_USO4
    | features::GUEST_USO6;

/// What the guest gets of frames that wait in the tap all together.
fn deliver(
    lab: &mut Segment,
    port: &mut Port,
    wire: &Wire,
    frames: &[Vec<u8>],
) -> Result<Vec<Frame>> {
    let daemon = lab.daemon.process();
    daemon.signal(Signal::STOP);
    // Its threads stop one after the other.
    let pid = i32::try_from(daemon.pid()).ok().and_then(Pid::from_raw);
    let stopped = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid.expect("a process")), stopped).expect("our own process");
    for bytes in frames {
        let frame = Frame {
            header: Header::default(),
            bytes: bytes.clone(),
        };
        assert!(wire.send(&frame)?, "the tap has room");
    }
    daemon.signal(Signal::CONT);
    let mut come = Vec::new();
    while let Some(frame) = port.receive(NO_MORE)? {
        come.push(frame);
    }
    Ok(come)
}

#[test]
fn neighbours_of_one_flow_reach_a_guest_as_one_super_frame() -> Result<()> {
    let mut lab = Segment::new(&file(true), &["vm1"])?;
    let mut port = lab.front_end("vm1").features(TAKES_ALL).start()?;
    let wire = lab.wire("tap0")?;
    let mut joined = 0;
    for whole in flows() {
        let frames = cut(&whole);
        let come = deliver(&mut lab, &mut port, &wire, &frames)?;
        assert_eq!(come.len(), 1, "one super-frame");
        assert_eq!(come[0].header.gso_size, 100);
        assert_eq!(cut(&come[0]), frames);
        joined += frames.len() as u64 - 1;
        // A wrong checksum, a frame of another flow, a hole.
        let mut frames = frames;
        let last = frames[4].len() - 1;
        frames[4][last] ^= 1;
        frames[9] = Frame::udp4(300, 9).bytes;
        frames.remove(14);
        let come = deliver(&mut lab, &mut port, &wire, &frames)?;
        assert!(come.len() >= 5 && come.len() < frames.len());
        let pieces: Vec<_> = come.iter().flat_map(cut).collect();
        assert_eq!(pieces, frames);
        joined += (frames.len() - come.len()) as u64;
    }
    let to_guest = lab.counters("vm1")?.to_guest;
    assert_eq!((to_guest.coalesced, to_guest.drops), (joined, 0));
    Ok(())
}

#[test]
fn a_guest_gets_frames_as_they_came_if_it_takes_no_others_or_is_left_alone() -> Result<()> {
    for (coalesce, features) in [(true, features::PLAIN), (false, TAKES_ALL)] {
        let mut lab = Segment::new(&file(coalesce), &["vm1"])?;
        let mut port = lab.front_end("vm1").features(features).start()?;
        let wire = lab.wire("tap0")?;
        for whole in flows() {
            let frames = cut(&whole);
            let come = deliver(&mut lab, &mut port, &wire, &frames)?;
            let come: Vec<_> = come.into_iter().map(|frame| frame.bytes).collect();
            assert_eq!(come, frames);
        }
    }
    Ok(())
}
