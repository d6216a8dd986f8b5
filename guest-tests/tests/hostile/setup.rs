//! A1: how rings are set up, and who tells whom.

use std::time::Instant;

use ::ring::driver::Buffer;
use guest_tests::Result;
use guest_tests::front_end::raw::request;
use guest_tests::front_end::{Frame, Port, features};

use crate::ring::{AT, SIZE, completes, poke, table};
use crate::row::{Left, Outcome, Row, refuses, scene, works};
use crate::socket::{addresses, refused, state};
use crate::stage::{RECEIVE, SOON, Stage, TRANSMIT};

/// The used index goes on, whatever was written there, and as many calls come as are asked for.
fn odd_events(port: &mut Port) -> Result<()> {
    for event in [0x7fff, 0x8000, u16::MAX, 0, 1] {
        port.ring(TRANSMIT)?.driver().set_used_event(event);
        completes(port, &[Buffer::readable(AT, 72)], 3)?;
    }
    port.ring(TRANSMIT)?.calls();
    port.ring(TRANSMIT)?.driver().enable_calls();
    let queue = port.ring(TRANSMIT)?;
    queue.driver().add(&[Buffer::readable(AT, 72)]);
    queue.publish();
    assert!(queue.wait_call(SOON)?, "the signal comes all the same");
    queue.driver().collect();
    Ok(())
}

fn never_called(port: &mut Port) -> Result<()> {
    let queue = port.ring(TRANSMIT)?;
    queue.driver().disable_calls();
    let before = queue.calls();
    completes(port, &[Buffer::readable(AT, 72)], 64)?;
    assert_eq!(port.ring(TRANSMIT)?.calls(), before);
    Ok(())
}

fn always_called(stage: &Stage) -> Result<Left> {
    let without = stage.front_end().without(features::EVENT_IDX);
    let mut port = without.start()?;
    let before = port.ring(TRANSMIT)?.calls();
    completes(&mut port, &[Buffer::readable(AT, 72)], 64)?;
    let calls = port.ring(TRANSMIT)?.calls() - before;
    assert!(calls <= 64, "{calls} calls for 64 completions");
    Ok(port.into())
}

fn scribbles(port: &mut Port) -> Result<()> {
    let used = port.ring(TRANSMIT)?.layout().used;
    let event = used + 4 + u64::from(SIZE) * 8;
    for value in [0_u16, 7, 0x8000, u16::MAX] {
        // Not the index, which an honest driver here has to go by; what lies behind it.
        poke(port, used + 4, &[0xff; 64])?;
        poke(port, event, &value.to_le_bytes())?;
        let queue = port.ring(TRANSMIT)?;
        queue.driver().add(&[Buffer::readable(AT, 72)]);
        queue.publish();
        // What it was told to wait for may be nonsense now.
        queue.kick();
        let deadline = Instant::now() + SOON;
        while queue.driver().collect().is_none() {
            assert!(
                Instant::now() < deadline,
                "the device goes by its own indices"
            );
        }
    }
    Ok(())
}

fn used_index_rewritten(stage: &Stage) -> Result<Left> {
    let mut port = stage.port()?;
    let layout = port.ring(TRANSMIT)?.layout();
    let frame = Frame::plain(60, 63);
    poke(&mut port, layout.used + 2, &77_u16.to_le_bytes())?;
    poke(&mut port, AT, &[0; 12])?;
    poke(&mut port, AT + 12, &frame.bytes)?;
    table(&mut port, &[(AT, 72, 0, 0)])?;
    assert!(stage.leaves(&frame)?);
    let deadline = Instant::now() + SOON;
    while port.ring(TRANSMIT)?.driver().used_idx() != 1 {
        assert!(
            Instant::now() < deadline,
            "the device publishes its own index"
        );
    }
    Ok(Left::default())
}

fn bad_places(port: &mut Port) -> Result<()> {
    let layout = port.ring(TRANSMIT)?.layout();
    let [desc, avail, used, end] = [layout.desc, layout.avail, layout.used, port.memory().end()]
        .map(|addr| port.memory().user_address(addr));
    stopped(port, |port| {
        for parts in [
            [desc + 8, used, avail],
            [desc, used + 2, avail],
            [desc, used, avail + 1],
            [end - 16, used, avail],
            [desc, end - 64, avail],
            [desc, used, end],
            [0, 0, 0],
            [u64::MAX - 15, used, avail],
            [desc, desc + 16, avail],
        ] {
            refused(port, request::SET_VRING_ADDR, &addresses(1, parts), &[])?;
        }
        Ok(())
    })
}

fn bad_sizes(port: &mut Port) -> Result<()> {
    stopped(port, |port| {
        for size in [0, 3, 1025, 2048, 32_769, 65_536, u32::MAX] {
            refused(port, request::SET_VRING_NUM, &state(1, size), &[])?;
        }
        Ok(())
    })
}

/// Stops both rings, and starts them where they were.
fn stopped(port: &mut Port, attack: impl Fn(&mut Port) -> Result<()>) -> Result<()> {
    for ring in [RECEIVE, TRANSMIT] {
        assert_eq!(port.stop_ring(ring)?, 0);
    }
    attack(port)?;
    port.start_pair(0)
}

fn changes_while_running(port: &mut Port) -> Result<()> {
    let layout = port.ring(TRANSMIT)?.layout();
    let parts =
        [layout.desc, layout.used, layout.avail].map(|addr| port.memory().user_address(addr + 64));
    refused(port, request::SET_VRING_NUM, &state(1, 128), &[])?;
    refused(port, request::SET_VRING_BASE, &state(1, 5), &[])?;
    refused(port, request::SET_VRING_ADDR, &addresses(1, parts), &[])
}

pub(crate) const ROWS: &[Row] = &[
    refuses(17, "ring parts in bad places", bad_places),
    refuses(18, "bad ring sizes", bad_sizes),
    refuses(19, "changes of a running ring", changes_while_running),
    works(20, "used_event at odd places", odd_events),
    works(21, "never called", never_called),
    scene(21, "always called", Outcome::Works, always_called),
    works(22, "used ring and avail_event rewritten", scribbles),
    scene(
        22,
        "used index rewritten",
        Outcome::Works,
        used_index_rewritten,
    ),
];
