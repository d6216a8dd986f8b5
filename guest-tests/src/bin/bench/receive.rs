//! `receive`: the host's side of a tap to a guest, the reverse of `path`. Figures are frames that a DPDK guest
//! receives, by its own count, or segments of TCP that a front-end of ours receives, as super-frames if the
//! back-end hands them over whole.
//!
//! The back-end has one processor. The other is the host's side and the guest: a real-time thread sends
//! through a packet socket for somewhat more than half of the time, and the guest has the rest, of which it
//! needs little. Single frames are sent as super-frames that the tap does not take, so the kernel cuts them on
//! the sender's side, for less than it would cost to send them one by one. Who hands over super-frames whole is
//! faster than the sender, which copies them: that figure is the sender's, and the ratio a lower bound.

use std::time::{Duration, Instant};

use guest_tests::Result;
use guest_tests::front_end::{Frame, FrontEnd, Pace, Sender, features};
use guest_tests::peers::{Cores, Count, Testpmd, Wiring};

use crate::Stop;
use crate::behind::{Between, Place};
use crate::choice::Choice;
use crate::race::Race;

const LENGTHS: [u16; 2] = [64, 1500];
/// Super-frames are listed by the bytes that they have at most.
const SUPER: u16 = 65_535;
const HOST: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Whoever is between does not know the guest's address, so there is nobody else who could have it.
const TO: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// Most segments of a datagram (`UDP_MAX_SEGMENTS` of kernels before 6.7).
const SEGMENTS: usize = 64;
/// Payload of a TCP segment in a frame of 1500 bytes.
const PAYLOAD: u16 = 1446;
/// What is left out at the start: caches, clocks and the scheduler settle.
const SETTLE: Duration = Duration::from_millis(700);
/// Of a front-end's rings, as of testpmd's.
const RING: u16 = 1024;

const CONTENDERS: [(&str, Between); 5] = [
    ("ours", Between::Ours("")),
    (
        "ours_limited",
        Between::Ours("to_guest = { ceil = \"100gbit\" }"),
    ),
    ("ovs", Between::Ovs(Wiring::Tap)),
    ("ovs_net_tap", Between::Ovs(Wiring::PolledTap)),
    ("testpmd", Between::Testpmd),
];

pub(crate) fn run(stop: &Stop, choice: &Choice) -> Result<()> {
    let place = Place::new(choice.window())?;
    let race = Race {
        stop,
        choice,
        prefix: "",
        unit: "frames/s",
        references: &["ovs", "ovs_net_tap", "testpmd"],
    };
    for len in LENGTHS.into_iter().filter(|len| choice.has_size(*len)) {
        let prefix = format!("receive.{len}");
        let race = Race {
            prefix: &prefix,
            ..race
        };
        let load = datagrams(len);
        race.run(&CONTENDERS, |between| place.frames(between, &load))?;
    }
    if choice.has_size(SUPER) {
        let race = Race {
            prefix: "receive.super",
            unit: "segments/s",
            ..race
        };
        let segments = (SUPER - 54) / PAYLOAD;
        let load = Frame::tcp4(usize::from(segments * PAYLOAD), 0);
        let load = load.from_mac(HOST).to_mac(TO).segmented(PAYLOAD);
        race.run(&CONTENDERS, |between| place.segments(between, &load))?;
    }
    Ok(())
}

impl Place {
    /// Frames that a DPDK guest receives in a second.
    fn frames(&self, between: Between, load: &Frame) -> Result<f64> {
        self.behind(between, |back_end| {
            let (namespace, pages, cores) = (back_end.namespace, &self.pages, self.cores);
            let mut guest = Testpmd::receiver(namespace, pages, cores, &back_end.socket)?;
            let tap = back_end.tap;
            let _sender = Sender::start(namespace, tap, cores.generator, load, Pace::Most)?;
            guest.rate(&[Testpmd::RECEIVER], Count::Received, self.window)
        })
    }

    /// Segments that a front-end of ours receives in a second.
    fn segments(&self, between: Between, load: &Frame) -> Result<f64> {
        let offloads = match between {
            Between::Ours(_) => features::GUEST_CSUM | features::GUEST_TSO4,
            // Neither hands over super-frames.
            Between::Ovs(_) | Between::Testpmd => 0,
        };
        let headers = load.headers_len();
        self.behind(between, |back_end| {
            let guest = FrontEnd::connect(&back_end.socket);
            let guest = guest.ring_size(RING).largest(1514);
            let mut guest = guest.features(features::PLAIN | offloads).start()?;
            let (tap, processor) = (back_end.tap, self.cores.generator);
            let _sender = Sender::start(back_end.namespace, tap, processor, load, Pace::Most)?;
            let (absorbed, elapsed) = Cores::on(processor, || {
                guest.absorb(SETTLE)?;
                let start = Instant::now();
                Ok((guest.absorb(self.window)?, start.elapsed()))
            })?;
            let payload = absorbed.bytes - absorbed.frames * headers as u64;
            let segments = payload / u64::from(PAYLOAD);
            Ok(u32::try_from(segments).map_or(f64::NAN, f64::from) / elapsed.as_secs_f64())
        })
    }
}

/// A datagram that is cut into as many frames of `len` bytes as go into one.
fn datagrams(len: u16) -> Frame {
    let headers = Frame::udp4(0, 0).headers_len();
    let payload = usize::from(len).saturating_sub(headers).max(1);
    let segments = (usize::from(u16::MAX) - headers) / payload;
    let frame = Frame::udp4(payload * segments.min(SEGMENTS), 0);
    let payload = u16::try_from(payload).unwrap_or(u16::MAX);
    frame.from_mac(HOST).to_mac(TO).segmented(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_cut_into_frames_of_the_length_asked_for() {
        for (len, segments) in [(64, 64), (1500, 44)] {
            let frame = datagrams(len);
            let payload = usize::from(frame.header.gso_size);
            assert_eq!(payload + frame.headers_len(), usize::from(len));
            assert_eq!(frame.bytes.len() - frame.headers_len(), segments * payload);
        }
    }
}
