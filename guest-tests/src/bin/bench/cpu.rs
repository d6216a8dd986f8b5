//! `cpu`: processor time of a back-end for what it carries, while it and Open vSwitch carry the same, less than
//! either could, and while there is nothing to carry. It is that of all its threads, in the kernel as well.
//!
//! The back-end has one processor. The other has the guest, a front-end of ours: it sends at a given pace, and
//! looks by itself for what is completed; it receives as the kernel of a guest does, which is called.

use std::time::{Duration, Instant};

use guest_tests::Result;
use guest_tests::front_end::{Frame, FrontEnd, Meter, Pace, Port, Sender, Shape, features};
use guest_tests::peers::{Cores, Wiring};

use crate::Stop;
use crate::behind::{BackEnd, Between, Place};
use crate::choice::Choice;
use crate::race::Race;

const CONTENDERS: [(&str, Between); 3] = [
    ("ours", Between::Ours("")),
    (
        "ours_limited",
        Between::Ours("from_guest = { ceil = \"100gbit\" }\nto_guest = { ceil = \"100gbit\" }"),
    ),
    ("ovs", Between::Ovs(Wiring::Tap)),
];
const LEN: u16 = 1500;
/// Frames a second, about 30 % of what Open vSwitch carries on a small machine.
const FROM_GUEST: u32 = 600_000;
const TO_GUEST: u32 = 75_000;
/// Frames that the guest sends at once.
const BURST: u32 = 32;
const RING: u16 = 1024;
/// What is left out at the start: caches, clocks and the scheduler settle.
const SETTLE: Duration = Duration::from_millis(700);
/// Windows that are counted together: processor time is told in steps of 10 ms.
const WINDOWS: u32 = 2;
const GUEST: [u8; 6] = [2, 0, 0, 0, 0, 2];
const HOST: [u8; 6] = [2, 0, 0, 0, 0, 1];

pub(crate) fn run(stop: &Stop, choice: &Choice) -> Result<()> {
    let place = Place::new(choice.window() * WINDOWS)?;
    let race = Race {
        stop,
        choice,
        prefix: "cpu.idle",
        unit: "ms/s",
        references: &["ovs"],
    };
    race.run_parts(
        [
            ("cpu.path.ms_per_gbit", "ms/Gbit"),
            ("cpu.path.carried", "Gbit/s"),
        ],
        &CONTENDERS,
        |between| place.behind(between, |back_end| path(&place, back_end)),
    )?;
    race.run_parts(
        [
            ("cpu.receive.ms_per_gbit", "ms/Gbit"),
            ("cpu.receive.carried", "Gbit/s"),
        ],
        &CONTENDERS,
        |between| place.behind(between, |back_end| receive(&place, back_end)),
    )?;
    race.run(&CONTENDERS, |between| {
        place.behind(between, |back_end| idle(&place, back_end))
    })
}

fn connect(back_end: &BackEnd<'_>) -> Result<Port> {
    let guest = FrontEnd::connect(&back_end.socket).ring_size(RING);
    let wanted = features::PLAIN | features::EVENT_IDX;
    guest.largest(1514).features(wanted).start()
}

/// Milliseconds for 10^9 bits, and how many of these there were in a second.
fn cost(cpu: Duration, bytes: u64, elapsed: Duration) -> [f64; 2] {
    let megabytes = u32::try_from(bytes / 1_000_000).map_or(f64::NAN, f64::from);
    let gigabits = megabytes * 8.0 / 1000.0;
    [
        cpu.as_secs_f64() * 1000.0 / gigabits,
        gigabits / elapsed.as_secs_f64(),
    ]
}

fn path(place: &Place, back_end: &BackEnd<'_>) -> Result<[f64; 2]> {
    let mut guest = connect(back_end)?;
    let frame = Frame::udp4(usize::from(LEN) - 42, 0);
    let frame = frame.from_mac(GUEST).to_mac(HOST);
    let meter = Meter::new(back_end.namespace, back_end.tap)?;
    Cores::on(place.cores.generator, || {
        send_for(&mut guest, &frame, SETTLE)?;
        let (before, cpu) = (meter.read()?, back_end.processor_time()?);
        send_for(&mut guest, &frame, place.window)?;
        let (after, cpu) = (meter.read()?, back_end.processor_time()? - cpu);
        let elapsed = after.after.duration_since(before.after);
        Ok(cost(cpu, after.bytes - before.bytes, elapsed))
    })
}

/// Sends at the pace, whatever becomes of it: what does not fit into the ring is left out.
fn send_for(guest: &mut Port, frame: &Frame, duration: Duration) -> Result<()> {
    let transmit = &mut guest.pair(0)?.transmit;
    transmit.queue().driver().disable_calls();
    let (start, mut due) = (Instant::now(), Duration::ZERO);
    while due < duration {
        while start.elapsed() < due {
            std::hint::spin_loop();
        }
        while transmit.collect()?.is_some() {}
        for _ in 0..BURST {
            if !transmit.push(frame, &Shape::WHOLE)? {
                break;
            }
        }
        transmit.queue().publish();
        due += Duration::from_secs(1) * BURST / FROM_GUEST;
    }
    Ok(())
}

fn receive(place: &Place, back_end: &BackEnd<'_>) -> Result<[f64; 2]> {
    let mut guest = connect(back_end)?;
    let frame = Frame::udp4(usize::from(LEN) - 42, 0);
    let frame = frame.from_mac(HOST).to_mac(GUEST);
    let (processor, pace) = (place.cores.generator, Pace::Frames(TO_GUEST.into()));
    let _sender = Sender::start(back_end.namespace, back_end.tap, processor, &frame, pace)?;
    Cores::on(processor, || {
        guest.absorb(SETTLE)?;
        let (start, cpu) = (Instant::now(), back_end.processor_time()?);
        let absorbed = guest.absorb(place.window)?;
        let (elapsed, cpu) = (start.elapsed(), back_end.processor_time()? - cpu);
        Ok(cost(cpu, absorbed.bytes, elapsed))
    })
}

/// Milliseconds a second.
fn idle(place: &Place, back_end: &BackEnd<'_>) -> Result<f64> {
    let _guest = connect(back_end)?;
    std::thread::sleep(SETTLE);
    let (start, cpu) = (Instant::now(), back_end.processor_time()?);
    std::thread::sleep(place.window);
    let cpu = back_end.processor_time()? - cpu;
    Ok(cpu.as_secs_f64() * 1000.0 / start.elapsed().as_secs_f64())
}
