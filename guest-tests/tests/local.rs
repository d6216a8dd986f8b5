//! From guest to guest behind one uplink: frames arrive as they were sent, or as the receiver can take them, and
//! the limits of both guests hold.

use std::thread;
use std::time::Duration;

use guest_tests::front_end::{
    Absorbed, Flood, Flooded, Frame, Header, Port, Segment, Shape, Wire, excess, features,
};
use guest_tests::{Daemon, Namespace, Result};

const SOON: Duration = Duration::from_secs(2);
const A: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
const B: [u8; 6] = [2, 0, 0, 0, 0, 0x0b];
/// A receive buffer of the front-end's, in bytes.
const BUFFER: usize = 2048;

/// Two guests that own their addresses, with these keys besides.
fn pair(a: &str, b: &str) -> Result<Segment> {
    let text = format!(
        "[uplink.lan]\nkind = \"tap:tap1\"\n\
         [guest.a]\nmac = \"02:00:00:00:00:0a\"\n{a}\n\
         [guest.b]\nmac = \"02:00:00:00:00:0b\"\n{b}\n"
    );
    Segment::new(&text, &["a", "b"])
}

fn from_a_to_b(frame: Frame) -> Frame {
    frame.from_mac(A).to_mac(B)
}

fn super_frames() -> Vec<Frame> {
    let frames = [
        Frame::tcp4(64_000, 1).segmented(1460),
        Frame::tcp6(64_000, 2).segmented(1440),
        Frame::tcp4(3000, 3).segmented(536),
        Frame::udp4(4800, 4).segmented(1200),
        Frame::udp6(4800, 5).segmented(1200),
        Frame::tcp4(1000, 6).partial_checksum(),
        Frame::udp6(1000, 7).partial_checksum(),
        Frame::plain(60, 8),
        Frame::plain(1514, 9),
    ];
    frames.map(from_a_to_b).to_vec()
}

fn assert_whole(come: &Frame, sent: &Frame) {
    assert!(come.bytes == sent.bytes, "{} bytes", sent.bytes.len());
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
    assert_eq!(
        usize::from(come.header.num_buffers),
        (Header::LEN + sent.bytes.len()).div_ceil(BUFFER)
    );
}

fn assert_nothing_lost(segment: &mut Segment, frames: u64) -> Result<()> {
    let (a, b) = (segment.counters("a")?, segment.counters("b")?);
    assert_eq!(
        (a.from_guest.frames, a.from_guest.drops),
        (frames, 0),
        "{a:?}"
    );
    assert_eq!((b.to_guest.frames, b.to_guest.drops), (frames, 0), "{b:?}");
    Ok(())
}

#[test]
fn super_frames_go_straight_into_the_receivers_ring_whole() -> Result<()> {
    let mut segment = pair("", "")?;
    let wire = segment.wire("tap1")?;
    let [mut a, mut b] = segment.ports(["a", "b"])?;
    for frame in super_frames() {
        for shape in [
            Shape::WHOLE,
            Shape::HEADER_APART,
            Shape::pieces(4096).indirect(),
        ] {
            a.send_as(&frame, &shape)?;
            assert_whole(&b.receive(SOON)?.expect("it arrives"), &frame);
        }
    }
    assert!(wire.receive(Duration::ZERO)?.is_none(), "nothing leaves");
    assert_nothing_lost(&mut segment, 3 * super_frames().len() as u64)
}

#[test]
fn super_frames_wait_whole_for_a_receiver_without_buffers() -> Result<()> {
    let mut segment = pair("", "")?;
    let [mut a] = segment.ports(["a"])?;
    let mut b = segment.front_end("b").posting_nothing().start()?;
    // Some may be in flows of their own, but within one their order holds.
    let frames: Vec<_> = (0..8)
        .map(|seed| from_a_to_b(Frame::tcp4(20_000, seed).segmented(1460)))
        .collect();
    for frame in &frames {
        a.send_as(frame, &Shape::HEADER_APART)?;
    }
    a.settle(SOON)?;
    thread::sleep(Duration::from_millis(100));
    let receive = &mut b.pair(0)?.receive;
    receive.keep_posted(usize::MAX);
    receive.refill();
    for frame in &frames {
        assert_whole(&b.receive(SOON)?.expect("it was kept"), frame);
    }
    // And straight again from then on.
    for frame in &frames {
        a.send(frame)?;
        assert_whole(&b.receive(SOON)?.expect("it arrives"), frame);
    }
    assert_nothing_lost(&mut segment, 2 * frames.len() as u64)
}

/// What a guest without offloads is to get of each frame.
fn arrives_plain(a: &mut Port, b: &mut Port) -> Result<()> {
    let whole = from_a_to_b(Frame::tcp4(1000, 1));
    a.send(&whole.clone().partial_checksum())?;
    let come = b.receive(SOON)?.expect("it arrives");
    assert_eq!(come.bytes, whole.bytes);
    assert_eq!(come.header.flags & Header::NEEDS_CSUM, 0);
    for frame in [
        Frame::tcp4(4000, 2),
        Frame::tcp6(4000, 3),
        Frame::udp4(4000, 4),
        Frame::udp6(4000, 5),
    ] {
        let frame = from_a_to_b(frame.segmented(1000));
        a.send_as(&frame, &Shape::HEADER_APART)?;
        let mut payload: Vec<u8> = Vec::new();
        for _ in 0..4 {
            let segment = b.receive(SOON)?.expect("a segment arrives");
            let headers = frame.headers_len();
            assert_eq!(
                (
                    segment.header.gso_type,
                    segment.header.flags & Header::NEEDS_CSUM
                ),
                (0, 0)
            );
            assert_eq!(segment.bytes.len(), headers + 1000);
            assert!(segment.has_good_checksum());
            payload.extend(&segment.bytes[headers..]);
        }
        assert!(payload == frame.bytes[frame.headers_len()..]);
    }
    Ok(())
}

#[test]
fn a_receiver_without_offloads_gets_segments_with_their_checksums() -> Result<()> {
    let mut segment = pair("", "")?;
    let [mut a] = segment.ports(["a"])?;
    let mut b = segment.front_end("b").features(features::PLAIN).start()?;
    arrives_plain(&mut a, &mut b)?;
    // The same without mergeable buffers.
    drop(b);
    let mut b = segment
        .front_end("b")
        .features(features::VERSION_1)
        .start()?;
    arrives_plain(&mut a, &mut b)?;
    let b = segment.counters("b")?;
    assert_eq!(b.to_guest.drops, 0, "{b:?}");
    Ok(())
}

/// Floods from one port while another receives.
fn flooded(
    a: &mut Port,
    b: &mut Port,
    flood: &Flood,
    lasting: Duration,
) -> Result<(Flooded, Absorbed)> {
    thread::scope(|scope| {
        let receiver = scope.spawn(move || b.absorb(lasting + Duration::from_millis(200)));
        let flooded = a.flood(&flood.clone().lasting(lasting))?;
        let absorbed = receiver.join().expect("the receiver does not panic")?;
        Ok((flooded, absorbed))
    })
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn number(count: u64) -> f64 {
    count as f64
}

const LASTING: Duration = Duration::from_millis(1300);
const BURST: f64 = 65_536.0;
/// One super-frame of 45 segments on the wire, and a little.
const UNIT: f64 = 69_000.0;

/// What the receiver got beyond 50 Mbit/s and the burst, and its share of that rate.
fn held_against_50mbit(frame: &Frame, absorbed: &Absorbed) -> (f64, f64) {
    let (rate, each) = (6.25e6, number(frame.wire_bytes()));
    let second = Duration::from_secs(1);
    let over = excess(&absorbed.samples, second, rate, |s| number(s.frames) * each);
    let share = number(absorbed.frames) * each / (rate * LASTING.as_secs_f64());
    (over, share)
}

#[test]
fn the_senders_own_ceiling_binds_and_drops_nothing() -> Result<()> {
    for frame in [
        Frame::plain(1514, 1),
        Frame::tcp4(64_240, 2).segmented(1460),
    ] {
        let limit = "from_guest = { ceil = \"50mbit\", cburst = \"64k\" }";
        let mut segment = pair(limit, "")?;
        let mut a = segment.front_end("a").ring_size(16).start()?;
        let [mut b] = segment.ports(["b"])?;
        let frame = from_a_to_b(frame);
        let (_, absorbed) = flooded(&mut a, &mut b, &Flood::new(frame.clone()), LASTING)?;
        let (over, share) = held_against_50mbit(&frame, &absorbed);
        println!(
            "{} B: excess {over:.0}, {share:.3} of the rate",
            frame.bytes.len()
        );
        assert!(over <= BURST + UNIT, "{over} bytes over");
        assert!(share > 0.9, "{share} of the rate");
        assert_nothing_lost(&mut segment, absorbed.frames)?;
    }
    Ok(())
}

#[test]
fn the_receivers_own_ceiling_binds_and_holds_no_sender() -> Result<()> {
    for frame in [
        Frame::plain(1514, 1),
        Frame::tcp4(64_240, 2).segmented(1460),
    ] {
        let limit = "to_guest = { ceil = \"50mbit\", cburst = \"64k\" }";
        let mut segment = pair("", limit)?;
        let [mut a, mut b] = segment.ports(["a", "b"])?;
        let frame = from_a_to_b(frame);
        let (sent, absorbed) = flooded(&mut a, &mut b, &Flood::new(frame.clone()), LASTING)?;
        let (over, share) = held_against_50mbit(&frame, &absorbed);
        println!(
            "{} B: excess {over:.0}, {share:.3} of the rate, sent {:.0} Mbit/s",
            frame.bytes.len(),
            sent.wire_mbit()
        );
        assert!(over <= BURST + UNIT, "{over} bytes over");
        assert!(share > 0.9, "{share} of the rate");
        assert!(sent.wire_mbit() > 200.0, "the sender was held back");
        assert_eq!(segment.counters("a")?.from_guest.drops, 0);
        let b = segment.counters("b")?.to_guest;
        assert!(b.drops > 0, "{b:?}");
    }
    Ok(())
}

/// Two daemons of one guest each, whose taps the kernel bridges.
struct Bridged {
    daemons: [Daemon; 2],
    _namespace: Namespace,
}

impl Bridged {
    fn new() -> Result<Self> {
        let namespace = Namespace::new()?;
        Wire::quiet(&namespace)?;
        namespace.ip("link add br0 type bridge")?;
        namespace.ip("link set br0 up")?;
        let daemon = |name: &str, tap: &str| {
            let daemon = Daemon::new(&namespace).port(name, tap);
            daemon.args(["--bridge", "br0"]).start()
        };
        Ok(Self {
            daemons: [daemon("a", "tap1")?, daemon("b", "tap2")?],
            _namespace: namespace,
        })
    }

    fn ports(&self) -> Result<[Port; 2]> {
        let [a, b] = &self.daemons;
        let front_end = |daemon: &Daemon, name| {
            guest_tests::front_end::FrontEnd::connect(&daemon.socket(name)).start()
        };
        Ok([front_end(a, "a")?, front_end(b, "b")?])
    }
}

/// Sends until the other port hears it, in both directions, so that everybody knows who is where.
fn acquaint(a: &mut Port, b: &mut Port) -> Result<()> {
    let hello = Frame::plain(60, 0);
    for (from, to, port, other) in [(A, B, 0, 1), (B, A, 1, 0)] {
        let ports = [&mut *a, &mut *b];
        let frame = hello.clone().from_mac(from).to_mac(to);
        let mut heard = false;
        for _ in 0..50 {
            ports[port].send(&frame)?;
            heard = ports[other].receive(Duration::from_millis(100))?.is_some();
            if heard {
                break;
            }
        }
        assert!(heard, "the ports reach each other");
    }
    Ok(())
}

/// Mbit/s that arrive.
fn throughput(ports: &mut [Port; 2], frame: &Frame) -> Result<f64> {
    let [a, b] = ports;
    let second = Duration::from_millis(700);
    let (_, absorbed) = flooded(a, b, &Flood::new(frame.clone()), second)?;
    Ok(number(absorbed.bytes) * 8.0 / second.as_secs_f64() / 1e6)
}

#[test]
fn the_direct_path_is_faster_than_two_taps_and_a_bridge() -> Result<()> {
    let segment = pair("", "")?;
    let bridged = Bridged::new()?;
    let mut direct = segment.ports(["a", "b"])?;
    let mut around = bridged.ports()?;
    for ports in [&mut direct, &mut around] {
        let [a, b] = ports;
        acquaint(a, b)?;
    }
    for frame in [
        Frame::plain(1514, 1),
        Frame::tcp4(64_000, 2).segmented(1460),
    ] {
        let frame = from_a_to_b(frame);
        let mut best = 0.0_f64;
        for _ in 0..3 {
            let (direct, around) = (
                throughput(&mut direct, &frame)?,
                throughput(&mut around, &frame)?,
            );
            println!(
                "{} B: {direct:.0} Mbit/s direct, {around:.0} Mbit/s around",
                frame.bytes.len()
            );
            best = best.max(direct / around);
        }
        assert!(best >= 1.2, "{best:.2} times of {} B", frame.bytes.len());
    }
    Ok(())
}
