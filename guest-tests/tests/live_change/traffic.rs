//! What flows meanwhile, all of it numbered, from one thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use guest_tests::front_end::{Frame, FrontEnd, Port, Shape, Wire};
use guest_tests::{Daemon, Namespace, Result};

pub(crate) const HOST: [u8; 6] = [2, 0, 0, 0, 0, 1];
const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
pub(crate) const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];
const C: [u8; 6] = [2, 0, 0, 0, 0, 0xc];
pub(crate) const D: [u8; 6] = [2, 0, 0, 0, 0, 0xd];
pub(crate) const S: [u8; 6] = [2, 0, 0, 0, 0, 0x5];

/// Bytes of the frames of guest `a`.
pub(crate) const LEN: u16 = 1000;
/// The lengths that rules tell apart, and one that no rule knows.
const LENGTHS: [u16; 3] = [200, 300, 400];
/// Frames of one stream that may be under way where the sender is to stay below all limits.
const WINDOW: u64 = 8;
/// How long the last frames may take.
const LAST: Duration = Duration::from_secs(5);

/// A frame with a number.
pub(crate) fn numbered(to: [u8; 6], from: [u8; 6], len: u16, number: u64) -> Frame {
    let mut frame = Frame::plain(len.into(), 1).from_mac(from);
    frame.bytes[..6].copy_from_slice(&to);
    frame.bytes[14..22].copy_from_slice(&number.to_be_bytes());
    frame
}

/// The number of a frame.
pub(crate) fn number_of(frame: &Frame) -> u64 {
    let bytes = frame.bytes.get(14..22).and_then(<[u8]>::first_chunk);
    u64::from_be_bytes(*bytes.expect("frames here are longer"))
}

fn source(frame: &Frame) -> [u8; 6] {
    *frame
        .bytes
        .get(6..)
        .and_then(<[u8]>::first_chunk)
        .expect("a header")
}

/// A stream of numbered frames, each of which is to come once.
#[derive(Default)]
pub(crate) struct Stream {
    sent: u64,
    come: u64,
    /// Numbers that came before those in front of them.
    early: Vec<u64>,
    /// How often that was so.
    overtakes: u64,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (sent, missing) = (self.sent, self.sent - self.come);
        write!(f, "{sent}")?;
        if missing + self.overtakes > 0 {
            let [next, early, overtakes] = [self.come, self.early.len() as u64, self.overtakes];
            write!(
                f,
                " ({missing} not come, the first {next}, {early} behind it, {overtakes} overtakes)"
            )?;
        }
        Ok(())
    }
}

impl Stream {
    const fn has_room(&self, window: u64) -> bool {
        self.sent - self.come - (self.early.len() as u64) < window
    }

    fn take(&mut self, number: u64) {
        assert!(
            number >= self.come && !self.early.contains(&number),
            "{number} came twice"
        );
        self.overtakes += u64::from(number != self.come && self.early.is_empty());
        self.early.push(number);
        while let Some(at) = self.early.iter().position(|early| *early == self.come) {
            self.early.swap_remove(at);
            self.come += 1;
        }
    }
}

/// All front-ends that stay, the host's ends, and how far each stream is.
#[derive(Debug)]
struct Ends {
    a: Port,
    b: Port,
    c: Port,
    s: Port,
    wires: [Wire; 3],
}

pub(crate) struct Traffic {
    ends: Ends,
    /// From `a`, at full speed, to the host and to `c`.
    a: Stream,
    a_to_c: Stream,
    /// From `b` and `s`, by length.
    b: [Stream; 3],
    s: [Stream; 3],
    host_to_c: Stream,
}

impl std::fmt::Debug for Traffic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "a to host: {:?}, a to c: {:?}, b: {:?}, s: {:?}, host to c: {:?}",
            self.a, self.a_to_c, self.b, self.s, self.host_to_c
        )
    }
}

impl Traffic {
    pub(crate) fn start(daemon: &Daemon, namespace: &Namespace) -> Result<Self> {
        let port = |name: &str| {
            FrontEnd::connect(&daemon.socket(name))
                .largest(2000)
                .start()
        };
        let ends = Ends {
            a: port("a")?,
            b: port("b")?,
            c: port("c")?,
            s: port("s")?,
            wires: [
                Wire::open(namespace, "one")?,
                Wire::open(namespace, "two")?,
                Wire::open(namespace, "three")?,
            ],
        };
        Ok(Self {
            ends,
            a: Stream::default(),
            a_to_c: Stream::default(),
            b: Default::default(),
            s: Default::default(),
            host_to_c: Stream::default(),
        })
    }

    /// Sends until it is over, then waits for what is under way.
    pub(crate) fn run(&mut self, over: &AtomicBool) -> Result<()> {
        while !over.load(Ordering::Relaxed) {
            self.send()?;
            if !self.receive()? {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
        let start = Instant::now();
        while self.missing().next().is_some() && start.elapsed() < LAST {
            if !self.receive()? {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        for port in [&mut self.ends.a, &mut self.ends.b, &mut self.ends.s] {
            port.settle(LAST)?;
        }
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        let transmit = &mut self.ends.a.pair(0)?.transmit;
        while transmit.collect()?.is_some() {}
        loop {
            let local = 8 * self.a_to_c.sent < self.a.sent && self.a_to_c.has_room(WINDOW);
            let (stream, to) = if local {
                (&mut self.a_to_c, C)
            } else {
                (&mut self.a, HOST)
            };
            let frame = numbered(to, A, LEN, stream.sent);
            if !transmit.push(&frame, &Shape::WHOLE)? {
                break;
            }
            stream.sent += 1;
        }
        transmit.queue().publish();
        paced(&mut self.ends.b, B, &mut self.b)?;
        paced(&mut self.ends.s, S, &mut self.s)?;
        while self.host_to_c.has_room(4 * WINDOW) {
            let frame = numbered(C, HOST, 500, self.host_to_c.sent);
            if !self.ends.wires[0].send(&frame)? {
                break;
            }
            self.host_to_c.sent += 1;
        }
        Ok(())
    }

    /// Takes what has come; whether anything had.
    fn receive(&mut self) -> Result<bool> {
        let mut any = false;
        for (at, wire) in self.ends.wires.iter().enumerate() {
            for _ in 0..64 {
                let Some(frame) = wire.receive(Duration::ZERO)? else {
                    break;
                };
                any = true;
                let length = LENGTHS
                    .iter()
                    .position(|len| usize::from(*len) == frame.bytes.len());
                match (at, source(&frame), length) {
                    (0, A, _) => self.a.take(number_of(&frame)),
                    (1, B, Some(length)) => self.b[length].take(number_of(&frame)),
                    (1, D, Some(_)) => {}
                    (2, S, Some(length)) => self.s[length].take(number_of(&frame)),
                    (at, source, _) => panic!("a frame from {source:x?} at uplink {at}"),
                }
            }
        }
        let receive = &mut self.ends.c.pair(0)?.receive;
        while let Some(frame) = receive.take()? {
            any = true;
            match source(&frame) {
                A => self.a_to_c.take(number_of(&frame)),
                HOST => self.host_to_c.take(number_of(&frame)),
                other => panic!("a frame from {other:x?} at c"),
            }
        }
        receive.refill();
        Ok(any)
    }

    fn streams(&self) -> impl Iterator<Item = &Stream> {
        let single = [&self.a, &self.a_to_c, &self.host_to_c];
        single.into_iter().chain(&self.b).chain(&self.s)
    }

    /// The streams that came in another order, but for those whose class is removed and made again: frames of
    /// the old and the new one go side by side.
    pub(crate) fn out_of_order(&self) -> impl Iterator<Item = &Stream> {
        let single = [&self.a, &self.a_to_c, &self.host_to_c];
        let [first, _, last] = &self.b;
        let ordered = single.into_iter().chain([first, last]);
        ordered.filter(|stream| stream.overtakes > 0)
    }

    /// The streams of which frames are missing.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &Stream> {
        self.streams().filter(|stream| stream.sent != stream.come)
    }

    /// Frames that each guest has sent.
    pub(crate) fn sent(&self) -> [(&'static str, u64); 3] {
        let sum = |streams: &[Stream; 3]| streams.iter().map(|stream| stream.sent).sum();
        [
            ("a", self.a.sent + self.a_to_c.sent),
            ("b", sum(&self.b)),
            ("s", sum(&self.s)),
        ]
    }

    /// Frames that guest `c` has received.
    pub(crate) const fn received(&self) -> u64 {
        self.a_to_c.come + self.host_to_c.come
    }
}

/// Sends on each stream as many frames as its window holds.
fn paced(port: &mut Port, from: [u8; 6], streams: &mut [Stream; 3]) -> Result<()> {
    let transmit = &mut port.pair(0)?.transmit;
    while transmit.collect()?.is_some() {}
    for (stream, len) in streams.iter_mut().zip(LENGTHS) {
        while stream.has_room(WINDOW) {
            let frame = numbered(HOST, from, len, stream.sent);
            if !transmit.push(&frame, &Shape::WHOLE)? {
                break;
            }
            stream.sent += 1;
        }
    }
    transmit.queue().publish();
    Ok(())
}
