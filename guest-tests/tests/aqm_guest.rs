//! A real guest whose 20 Mbit/s are full both ways: four TCP streams up and four down at once, and a ping
//! beside them (what flent calls RRUL). The ping's flow is sparse, so in neither direction does it wait for
//! what CoDel lets the streams have, and yet the streams fill the link.
//!
//! Upper bounds on rates always decide, and so does a wide one on delays. The others decide as the best of three
//! tries in which nobody else used the machine, each beside the same guest's own delay without streams.

use std::thread;
use std::time::Duration;

use guest_tests::report::{Counted, Report};
use guest_tests::{Alone, Bulk, Kernel, Pings, QemuVersion, Result, Several, WAN};

const TRIES: usize = 3;
/// The ceiling of each direction, in Mbit/s on the wire.
const CEIL: f64 = 20.0;
/// How much of it the streams use at least.
const USED: f64 = 0.98;
/// What 99 of 100 round trips beside the streams may take longer than one without them usually does, in
/// milliseconds: each way CoDel's target (RFC 8289 §4.2) and one frame of 1538 bytes.
const ADDED: f64 = 2.0 * (5.0 + 1538.0 * 8.0 / (CEIL * 1e3));
/// What 99 of 100 take at most whoever else uses the machine, in milliseconds; behind one queue for all it is
/// several hundred.
const MOST: f64 = 100.0;
const PINGS: u32 = 300;
/// Past slow start, of all streams.
const SETTLED: Duration = Duration::from_secs(3);

fn config() -> String {
    let mac = Several::mac(0);
    format!(
        "[uplink.{WAN}]\nkind = \"tap:{WAN}\"\n[guest.vm]\nmac = \"{mac}\"\nlimit = \"{CEIL}mbit\"\n\
         [guest.vm.from_guest]\nqueue = \"flows\"\n[guest.vm.to_guest]\nqueue = \"flows\"\n"
    )
}

/// Wire rates from and to the guest, in Mbit/s.
fn rates(before: &Report, after: &Report) -> Result<[f64; 2]> {
    let (old, new) = (before.port("vm")?, after.port("vm")?);
    let rate = |old: &Counted, new: &Counted| {
        let bytes = u32::try_from(new.wire_bytes - old.wire_bytes).expect("less than 4 GiB");
        f64::from(bytes) * 8.0 / 1e6 / after.seconds_since(before)
    };
    Ok([
        rate(&old.from_guest, &new.from_guest),
        rate(&old.to_guest, &new.to_guest),
    ])
}

#[test]
fn a_sparse_flow_of_a_guest_does_not_wait_for_streams_that_fill_both_directions() -> Result<()> {
    let host = Several::start(&config(), &["vm"], QemuVersion::V10_0, Kernel::V6_12)?;
    let (guest, address) = (host.guest(0), Several::address(0));
    let (mut least, mut added) = (f64::INFINITY, f64::INFINITY);
    let (mut used, mut fair_tries) = ([0.0_f64; 2], 0);
    for _ in 0..TRIES {
        let machine = Alone::watch()?;
        let alone = Pings::count(100).every(Duration::from_millis(10));
        let alone = alone.run(guest, Several::HOST)?.percentile(50);
        let up = Bulk::tcp(guest, &host.ns, Several::HOST)?;
        let down = Bulk::tcp(&host.ns, guest, &address)?;
        thread::sleep(SETTLED);
        let before = host.report()?;
        let beside = Pings::count(PINGS).run(guest, Several::HOST)?;
        let after = host.report()?;
        drop((up, down));
        let (late, lost) = (beside.percentile(99), beside.lost());
        let rates = rates(&before, &after)?;
        println!(
            "{:.2} Mbit/s up, {:.2} down; {alone:.2} ms alone, beside them 99 of 100 below \
             {late:.2} ms, {lost} lost",
            rates[0], rates[1]
        );
        for (used, rate) in used.iter_mut().zip(rates) {
            assert!(rate <= CEIL * 1.005, "{rate} Mbit/s of {CEIL}");
            *used = used.max(rate / CEIL);
        }
        least = least.min(late);
        // A link that is not full makes nobody wait.
        if rates.iter().all(|rate| *rate >= 0.9 * CEIL) {
            added = added.min(late - alone);
        }
        if added <= ADDED && used.iter().all(|used| *used >= USED) {
            return Ok(());
        }
        fair_tries += usize::from(machine.was()?);
    }
    assert!(least <= MOST, "99 of 100 below {least:.2} ms at best");
    assert!(
        fair_tries < TRIES,
        "at best {added:.2} ms longer beside streams, and {used:.3?} of the link used"
    );
    Ok(())
}
