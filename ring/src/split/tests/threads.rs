//! Both halves on two threads, asleep whenever they may: no wake-up is lost, no frame is torn.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::*;

const FRAMES: u64 = 20_000;

fn sleep_until(woken: &Receiver<()>, who: &str) {
    let reason = woken.recv_timeout(Duration::from_secs(20));
    assert!(reason.is_ok(), "{who} sleeps for ever");
    while woken.try_recv().is_ok() {}
}

fn drive(mut driver: Driver, kick: &Sender<()>, called: &Receiver<()>) {
    let (mut sent, mut done) = (0_u64, 0_u64);
    while done < FRAMES {
        while sent < FRAMES && driver.free() > 0 {
            let addr = DATA + 8 * (sent % 64);
            driver.poke(addr, &sent.to_le_bytes()).unwrap();
            driver.add(&[Buffer::readable(addr, 8)]).unwrap();
            sent += 1;
        }
        if driver.publish() {
            kick.send(()).unwrap();
        }
        let before = done;
        while let Some(used) = driver.collect() {
            assert_eq!(used.len, u32::try_from(done).unwrap(), "completed in order");
            done += 1;
        }
        if done == before && !driver.enable_calls() {
            sleep_until(called, "the driver");
        }
    }
}

fn serve(mut ring: Ring, call: &Sender<()>, kicked: &Receiver<()>) {
    let mut chain = Chain::new();
    let mut served = 0_u64;
    while served < FRAMES {
        while ring.pop(&mut chain).unwrap() {
            let mut bytes = [0; 8];
            assert_eq!(chain.copy_to(0, &mut bytes), 8);
            assert_eq!(
                u64::from_le_bytes(bytes),
                served,
                "popped in order and whole"
            );
            ring.complete(chain.head(), u32::try_from(served).unwrap());
            served += 1;
        }
        if ring.publish() {
            // The driver may be done already.
            let _ = call.send(());
        }
        if served < FRAMES && !ring.enable_kicks().unwrap() {
            sleep_until(kicked, "the device");
        }
    }
}

#[test]
fn two_threads_that_sleep_when_they_may_pass_every_frame() {
    for options in [ALL, PLAIN] {
        let Rig { driver, ring, .. } = rig_at(4, options, 65_000);
        let (kick, kicked) = channel();
        let (call, called) = channel();
        thread::scope(|scope| {
            scope.spawn(move || drive(driver, &kick, &called));
            scope.spawn(move || serve(ring, &call, &kicked));
        });
    }
}
