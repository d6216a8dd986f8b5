//! Kicks and calls, counted: none that nobody needs, and none that somebody waits for left out.

use std::time::{Duration, Instant};

use guest_tests::Result;
use guest_tests::front_end::{Frame, Lab, Port, Shape, features};

const SOON: Duration = Duration::from_secs(2);
const NO_ARGS: [&str; 0] = [];
/// Longer than any call is put off.
const REST: Duration = Duration::from_millis(5);

/// A port whose calls at the start have come.
fn started(lab: &Lab) -> Result<Port> {
    let mut port = lab.front_end().start()?;
    let queue = port.pair(0)?.transmit.queue();
    queue.wait_call(SOON)?;
    std::thread::sleep(REST);
    Ok(port)
}

/// Publishes so many frames at once, and asks to be called for the first that is completed.
fn burst(port: &mut Port, count: usize) -> Result<()> {
    let transmit = &mut port.pair(0)?.transmit;
    transmit.queue().driver().enable_calls();
    for _ in 0..count {
        assert!(transmit.push(&Frame::plain(200, 1), &Shape::WHOLE)?);
    }
    transmit.queue().publish();
    Ok(())
}

/// Waits, without asking for anything, until all is completed.
fn completed(port: &mut Port) -> Result<()> {
    let transmit = &mut port.pair(0)?.transmit;
    let deadline = Instant::now() + SOON;
    while transmit.under_way() > 0 {
        assert!(Instant::now() < deadline, "{} left", transmit.under_way());
        transmit.collect()?;
    }
    Ok(())
}

fn calls(port: &mut Port) -> Result<u64> {
    Ok(port.pair(0)?.transmit.queue().calls())
}

fn kicks(port: &mut Port) -> Result<u64> {
    Ok(port.pair(0)?.transmit.queue().kicks())
}

#[test]
fn a_lone_frame_is_called_for_once_and_waits_for_no_other() -> Result<()> {
    for without in [0, features::EVENT_IDX] {
        let lab = Lab::new(NO_ARGS)?;
        let mut port = lab.front_end().without(without).start()?;
        port.pair(0)?.transmit.queue().wait_call(SOON)?;
        std::thread::sleep(REST);
        let before = calls(&mut port)?;
        for number in 1..=100 {
            burst(&mut port, 1)?;
            let queue = port.pair(0)?.transmit.queue();
            assert!(queue.wait_call(SOON)?, "frame {number} is called for");
            completed(&mut port)?;
            std::thread::sleep(REST);
            assert_eq!(calls(&mut port)? - before, number);
        }
    }
    Ok(())
}

#[test]
fn under_load_every_completion_is_called_for_though_the_guest_only_waits() -> Result<()> {
    let lab = Lab::new(NO_ARGS)?;
    let mut port = started(&lab)?;
    let before = calls(&mut port)?;
    for number in 1..=2000 {
        burst(&mut port, 1)?;
        let queue = port.pair(0)?.transmit.queue();
        assert!(queue.wait_call(SOON)?, "frame {number} is called for");
        completed(&mut port)?;
    }
    std::thread::sleep(REST);
    assert_eq!(calls(&mut port)? - before, 2000);
    Ok(())
}

#[test]
fn a_guest_that_looks_by_itself_is_hardly_called() -> Result<()> {
    let lab = Lab::new(NO_ARGS)?;
    let mut port = started(&lab)?;
    let before = calls(&mut port)?;
    for _ in 0..2000 {
        burst(&mut port, 1)?;
        completed(&mut port)?;
    }
    std::thread::sleep(REST);
    let calls = calls(&mut port)? - before;
    println!("{calls} calls for 2000 frames");
    assert!(calls <= 1000, "{calls} calls for 2000 frames");
    Ok(())
}

#[test]
fn bursts_cost_few_calls_and_kicks() -> Result<()> {
    const BURST: usize = 100;
    const BURSTS: usize = 100;
    let lab = Lab::new(NO_ARGS)?;
    let mut port = started(&lab)?;
    let before = (calls(&mut port)?, kicks(&mut port)?);
    for _ in 0..BURSTS {
        burst(&mut port, BURST)?;
        completed(&mut port)?;
    }
    std::thread::sleep(REST);
    let calls = calls(&mut port)? - before.0;
    let kicks = kicks(&mut port)? - before.1;
    println!(
        "{calls} calls and {kicks} kicks for {} frames",
        BURST * BURSTS
    );
    assert!(calls <= 2 * BURSTS as u64, "{calls} calls");
    assert!(kicks <= BURSTS as u64, "{kicks} kicks");
    Ok(())
}

#[test]
fn while_the_shard_polls_a_guest_need_not_kick() -> Result<()> {
    for without in [0, features::EVENT_IDX] {
        let lab = Lab::new(["--poll-us", "100000"])?;
        let mut port = lab.front_end().without(without).start()?;
        // Sleeps that were short for such a window make it longer than the pauses here.
        for _ in 0..200 {
            burst(&mut port, 1)?;
            completed(&mut port)?;
            std::thread::sleep(Duration::from_millis(1));
        }
        let before = kicks(&mut port)?;
        for _ in 0..1000 {
            burst(&mut port, 1)?;
            completed(&mut port)?;
        }
        let kicks = kicks(&mut port)? - before;
        println!("{kicks} kicks for 1000 frames");
        assert!(kicks <= 100, "{kicks} kicks for 1000 frames");
    }
    Ok(())
}

#[test]
fn an_idle_daemon_takes_no_processor_time_whether_it_polls_or_not() -> Result<()> {
    for poll in ["0", "50", "1000"] {
        let lab = Lab::new(["--poll-us", poll])?;
        let mut port = lab.front_end().start()?;
        for number in 0..1000 {
            port.send(&Frame::plain(200, number))?;
            assert!(lab.wire.receive(SOON)?.is_some());
        }
        port.settle(SOON)?;
        std::thread::sleep(Duration::from_millis(200));
        let before = lab.daemon.usage()?;
        std::thread::sleep(Duration::from_secs(3));
        let after = lab.daemon.usage()?;
        let (cpu, switches) = (after.cpu - before.cpu, after.switches - before.switches);
        println!("--poll-us {poll}: {cpu:?} and {switches} switches in 3 s");
        assert!(cpu <= Duration::from_millis(10), "{cpu:?}");
        assert!(switches <= 10, "{switches} switches");
    }
    Ok(())
}
