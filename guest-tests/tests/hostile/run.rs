//! Does every row to a daemon, and looks at what comes of it.

use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use guest_tests::Result;
use rustix::event::{EventfdFlags, eventfd};

use crate::neighbour::{Fared, Neighbour};
use crate::row::{Attack, Left, Outcome, Row};
use crate::stage::{DEADLINE, HONEST, HOSTILE, Held, RECEIVE, SOON, Stage, TRANSMIT};
use crate::{floods, frames, log, regions, ring, setup, socket};

/// How long a row is done again and again, beside the honest guest and beside its control.
const LASTING: Duration = Duration::from_millis(100);
/// What one row may leave behind of the daemon's own memory, in bytes.
const GROWTH: u64 = 1 << 20;
/// The honest guest keeps so much of its control's rate, and its frames take so much of the control's time
/// and so much longer. It sends its next frame when the last one has gone, so that a single visit to a
/// flooder, of which one may be before each frame, shows in its rate; that it is no more than one is counted by
/// the test `flood`.
const LEAST_RATE: f64 = 0.3;
const MOST_TIME: f64 = 4.0;
const SLACK: Duration = Duration::from_millis(10);
const TRIES: usize = 5;

/// The whole table.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    let tables = [
        ring::ROWS,
        setup::ROWS,
        frames::ROWS,
        socket::ROWS,
        regions::ROWS,
        floods::ROWS,
    ];
    tables.into_iter().flatten()
}

/// Files that are cut short are so for this process too.
pub(crate) fn survive_truncation() {
    let event: OwnedFd = eventfd(0, EventfdFlags::NONBLOCK).expect("an event");
    ::ring::memory::truncation::survive(event).expect("a handler");
}

fn attack(row: &Row, stage: &Stage) -> Result<Left> {
    match row.attack {
        Attack::Ring(attack) => {
            let mut port = stage.port()?;
            attack(&mut port)?;
            Ok(port.into())
        }
        Attack::Frames(frame) => stage.send_often(&frame()),
        Attack::Socket(attack) => {
            let mut session = guest_tests::front_end::raw::RawSession::connect(&stage.socket())?;
            attack(&mut session)?;
            Ok(session.into())
        }
        Attack::Scene(attack) => attack(stage),
    }
}

/// Does it once and checks the outcome.
fn has_its_outcome(row: &Row, stage: &Stage) -> Result<()> {
    let dropped = |stage: &Stage| match row.outcome {
        Outcome::Drop(reason) => stage.dropped("from_guest", reason),
        Outcome::DropToGuest(reason) => stage.dropped("to_guest", reason),
        _ => Ok(0),
    };
    let broken = |stage: &Stage| stage.count(HOSTILE, "broken_rings");
    let before = (dropped(stage)?, broken(stage)?);
    let mut left = attack(row, stage)?;
    // What the attack has sent may have left no room for what is looked for.
    stage.wire.clear()?;
    let name = row.case;
    match row.outcome {
        Outcome::Drop(_) | Outcome::DropToGuest(_) => {
            stage.counts(name, before.0 + left.frames, dropped)?;
            flows(stage, &mut left)?;
        }
        Outcome::Break(at) => {
            let port = left.port.as_mut().expect("a port whose ring breaks");
            assert!(port.ring(at)?.is_broken(SOON)?, "{name}");
            match at {
                RECEIVE => stage.sends(port)?,
                _ => stage.receives(port)?,
            }
            stage.counts(name, before.1 + 1, broken)?;
        }
        Outcome::BreakAll => {
            let port = left.port.as_mut().expect("a port whose rings break");
            for at in [RECEIVE, TRANSMIT] {
                assert!(port.ring(at)?.is_broken(SOON)?, "{name}");
            }
            stage.counts(name, before.1 + 2, broken)?;
        }
        Outcome::Close => {
            let session = left.session.as_mut();
            let session = session.or_else(|| Some(left.port.as_mut()?.raw()));
            let session = session.expect("a session that closes");
            assert!(session.is_closed(DEADLINE)?, "{name}: it stays open");
        }
        Outcome::Refuse | Outcome::Works => flows(stage, &mut left)?,
    }
    if matches!(
        row.outcome,
        Outcome::Drop(_) | Outcome::Refuse | Outcome::Works
    ) {
        assert_eq!(broken(stage)?, before.1, "{name}: a ring is broken");
    }
    drop(left);
    stage.serves()
}

fn flows(stage: &Stage, left: &mut Left) -> Result<()> {
    match &mut left.port {
        Some(port) => {
            stage.sends(port)?;
            stage.receives(port)
        }
        None => Ok(()),
    }
}

/// How the honest guest of a daemon fares beside the attack on it, and beside one on another daemon.
fn fares(row: &Row, stages: [&Stage; 2], neighbour: &Neighbour) -> Result<[Fared; 2]> {
    let [own, other] = stages;
    let lasting = if row.slow {
        Duration::from_millis(1)
    } else {
        LASTING
    };
    let beside = |stage: &Stage| {
        neighbour.beside(lasting, || {
            drop(attack(row, stage)?);
            stage.wire.clear()?;
            Ok(())
        })
    };
    let control = beside(other)?;
    Ok([beside(own)?, control])
}

fn is_fair([own, control]: [Fared; 2]) -> bool {
    own.rate >= LEAST_RATE * control.rate && own.p99 <= control.p99.mul_f64(MOST_TIME) + SLACK
}

fn line(row: &Row, [own, control]: [Fared; 2], tries: usize, grown: i64) -> String {
    format!(
        "{:>3} {:42} {:32} {:>+5.0} % {:>7} us {:>7} us {:>5} KiB{}",
        row.number,
        row.case,
        row.outcome.to_string(),
        (own.rate / control.rate - 1.0) * 100.0,
        own.p99.as_micros(),
        control.p99.as_micros(),
        grown / 1024,
        if tries > 1 { " again" } else { "" },
    )
}

fn run(row: &Row, stages: [&Stage; 2], neighbour: &Neighbour, base: Held) -> Result<()> {
    let [own, _] = stages;
    has_its_outcome(row, own)?;
    own.comes_to_rest(base)?;
    let memory = own.memory()?;
    let mut fared = fares(row, stages, neighbour)?;
    let mut tries = 1;
    while !is_fair(fared) && tries < TRIES {
        fared = fares(row, stages, neighbour)?;
        tries += 1;
    }
    own.comes_to_rest(base)?;
    let grown = i64::try_from(own.memory_within(memory + GROWTH)?).unwrap_or(0)
        - i64::try_from(memory).unwrap_or(0);
    let line = line(row, fared, tries, grown);
    println!("{line}");
    assert!(is_fair(fared), "the neighbour pays for it: {line}");
    let bound = i64::try_from(GROWTH).unwrap_or(0);
    assert!(grown <= bound, "the daemon grows: {line}");
    Ok(())
}

#[test]
fn every_row_has_its_outcome_and_costs_the_neighbours_nothing() -> Result<()> {
    survive_truncation();
    let (own, other) = (Stage::new()?, Stage::new()?);
    let start = Instant::now();
    let honest = own.segment.front_end(HONEST).largest(2000).start()?;
    let neighbour = Neighbour::new(honest);
    own.warm_up()?;
    other.warm_up()?;
    std::thread::sleep(Duration::from_millis(100));
    let base = own.held()?;
    let mut wrong = Vec::new();
    let only = std::env::var("NETQOS_HOSTILE_ROW").ok();
    println!(
        "row case                                       outcome                            rate  p99, own   control   growth"
    );
    for row in rows() {
        if only
            .as_ref()
            .is_some_and(|only| *only != row.number.to_string())
        {
            continue;
        }
        own.wire.clear()?;
        let tried = AssertUnwindSafe(|| run(row, [&own, &other], &neighbour, base));
        match catch_unwind(tried) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => wrong.push(format!("{} {}: {error}", row.number, row.case)),
            Err(_) => wrong.push(format!("{} {}", row.number, row.case)),
        }
    }
    neighbour.end();
    assert!(
        wrong.is_empty(),
        "{} cases went wrong: {wrong:#?}",
        wrong.len()
    );
    for stage in [&own, &other] {
        log::assert_bounded(&stage.segment.daemon.log(), start.elapsed());
    }
    println!("{} cases in {:?}", rows().count(), start.elapsed());
    Ok(())
}

#[test]
fn a_guest_whose_frames_are_copied_out_of_its_ring_has_the_same_outcomes() -> Result<()> {
    survive_truncation();
    let stage = Stage::with_classes()?;
    let start = Instant::now();
    stage.warm_up()?;
    let base = stage.held()?;
    let tables = [ring::ROWS, setup::ROWS, frames::ROWS, regions::ROWS];
    for row in tables.into_iter().flatten() {
        println!("{:>3} {}", row.number, row.case);
        stage.wire.clear()?;
        has_its_outcome(row, &stage)?;
        stage.comes_to_rest(base)?;
    }
    log::assert_bounded(&stage.segment.daemon.log(), start.elapsed());
    Ok(())
}
