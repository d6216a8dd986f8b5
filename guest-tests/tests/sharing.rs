//! Four real guests behind one link: whoever is busy gets what water-filling has for them, by weight and
//! above a guarantee, and a changed weight counts at once.
//!
//! Upper bounds always decide. Shares decide as the best of three tries in which nobody else used the
//! machine and the same guests, without a limit, could have sent more: the machines that run this are
//! small and shared.

use std::fmt::Write;
use std::thread;
use std::time::{Duration, Instant};

use guest_tests::report::{Counted, Report};
use guest_tests::{Alone, Bulk, Kernel, Place, QemuVersion, Result, Several, WAN};
use num_rational::Ratio;

/// What the link carries each way, in Mbit/s.
const LINK: u64 = 300;

/// What a share may differ by.
const TOLERANCE: f64 = 0.02;

/// What may pass more than a rate allows in a window: the bursts, seen by a clock that is not the
/// daemon's.
const OVER: f64 = 0.005;

/// Tries for what a busy machine can spoil.
const TRIES: usize = 3;

/// How much more than its share a guest has to be able to send for a try to be fair.
const HEADROOM: f64 = 1.3;

/// How long senders have to find their rate.
const SETTLE: Duration = Duration::from_millis(900);

/// How long a share is measured, and that of all at once.
const WINDOW: Duration = Duration::from_secs(2);
const LONG_WINDOW: Duration = Duration::from_secs(10);

/// What a guest has, in Mbit/s.
#[derive(Debug, Clone, Copy)]
struct Terms {
    name: &'static str,
    rate: u64,
    ceil: Option<u64>,
    weight: u64,
}

/// Three by weight, the largest of them with a ceiling, and one with a guarantee.
const GUESTS: [Terms; 4] = [
    Terms::new("small", 1),
    Terms::new("medium", 2),
    Terms::new("large", 4).ceil(160),
    Terms::new("assured", 1).rate(100),
];

impl Terms {
    const fn new(name: &'static str, weight: u64) -> Self {
        Self {
            name,
            rate: 0,
            ceil: None,
            weight,
        }
    }

    const fn ceil(self, mbit: u64) -> Self {
        Self {
            ceil: Some(mbit),
            ..self
        }
    }

    const fn rate(self, mbit: u64) -> Self {
        Self { rate: mbit, ..self }
    }
}

/// What each of some guests gets that all have more to send than they may, in Mbit/s: its guarantee, and
/// of what these leave over a part by its weight, up to its ceiling.
fn shares(link: u64, guests: &[Terms]) -> Vec<f64> {
    let whole = |mbit: u64| Ratio::from_integer(i64::try_from(mbit).expect("few megabits"));
    let room = |guest: &Terms, got: Ratio<i64>| guest.ceil.map(|ceil| whole(ceil) - got);
    let mut got: Vec<Ratio<i64>> = guests.iter().map(|guest| whole(guest.rate)).collect();
    loop {
        let left = whole(link) - got.iter().sum::<Ratio<i64>>();
        let open: Vec<usize> = (0..guests.len())
            .filter(|&at| room(&guests[at], got[at]) != Some(whole(0)))
            .collect();
        if open.is_empty() || left == whole(0) {
            break;
        }
        let weights = open.iter().map(|&at| guests[at].weight).sum();
        // The water rises until the first of them is full, or nothing is left.
        let rooms = open.iter().filter_map(|&at| {
            let room = room(&guests[at], got[at])?;
            Some(room / whole(guests[at].weight))
        });
        let rise = rooms.fold(left / whole(weights), Ratio::min);
        for at in open {
            got[at] += rise * whole(guests[at].weight);
        }
    }
    let float = |ratio: Ratio<i64>| {
        f64::from(i32::try_from(*ratio.numer()).expect("small figures"))
            / f64::from(i32::try_from(*ratio.denom()).expect("small figures"))
    };
    got.into_iter().map(float).collect()
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    FromGuest,
    ToGuest,
}

impl Way {
    fn of<'a>(self, report: &'a Report, name: &str) -> Result<&'a Counted> {
        let port = report.port(name)?;
        Ok(match self {
            Self::FromGuest => &port.from_guest,
            Self::ToGuest => &port.to_guest,
        })
    }
}

/// The configuration of guests with these terms, behind a link that carries `link` Mbit/s each way; or, if
/// it is none, the same guests without any limit.
fn config(link: Option<u64>, guests: &[Terms]) -> String {
    let ceiling = link.map_or_else(String::new, |link| format!("ceil = \"{link}mbit\""));
    let mut text = format!(
        "[uplink.{WAN}]\nkind = \"tap:{WAN}\"\nfrom_guest = {{ {ceiling} }}\nto_guest = {{ {ceiling} }}\n"
    );
    for (index, guest) in guests.iter().enumerate() {
        let mut class = format!("weight = {}", guest.weight);
        if link.is_some() && guest.rate > 0 {
            class += &format!(", rate = \"{}mbit\"", guest.rate);
        }
        if let (Some(_), Some(ceil)) = (link, guest.ceil) {
            class += &format!(", ceil = \"{ceil}mbit\"");
        }
        let (name, mac) = (guest.name, Several::mac(index));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "[guest.{name}]\nmac = \"{mac}\"\nfrom_guest = {{ {class} }}\nto_guest = {{ {class} }}"
        );
    }
    text
}

/// Guests with their daemon, and which of them are busy.
#[derive(Debug)]
struct Link {
    // Dropped first: it runs in the guests.
    busy: Vec<Option<Bulk>>,
    host: Several,
    guests: Vec<Terms>,
    way: Way,
}

impl Link {
    fn start(guests: &[Terms]) -> Result<Self> {
        let names: Vec<&str> = guests.iter().map(|guest| guest.name).collect();
        let text = config(Some(LINK), guests);
        let host = Several::start(&text, &names, QemuVersion::V10_0, Kernel::V6_12)?;
        Ok(Self {
            busy: names.iter().map(|_| None).collect(),
            host,
            guests: guests.to_vec(),
            way: Way::FromGuest,
        })
    }

    /// Makes a guest busy, or idle.
    fn set(&mut self, guest: usize, busy: bool) -> Result<()> {
        if busy == self.busy[guest].is_some() {
            return Ok(());
        }
        self.busy[guest] = None;
        if busy {
            let (ns, there): (&dyn Place, &dyn Place) = (&self.host.ns, self.host.guest(guest));
            self.busy[guest] = Some(match self.way {
                Way::FromGuest => Bulk::tcp(there, ns, Several::HOST)?,
                Way::ToGuest => Bulk::tcp(ns, there, &Several::address(guest))?,
            });
        }
        Ok(())
    }

    /// The busy guests.
    fn senders(&self) -> Vec<Terms> {
        let all = self.guests.iter().zip(&self.busy);
        all.filter(|(_, busy)| busy.is_some())
            .map(|(guest, _)| *guest)
            .collect()
    }

    /// Mbit/s on the wire of each busy guest between two reports.
    fn rates(&self, before: &Report, after: &Report) -> Result<Vec<f64>> {
        let seconds = after.seconds_since(before);
        let senders = self.senders();
        let rate = |guest: &Terms| {
            let bytes = self.way.of(after, guest.name)?.wire_bytes
                - self.way.of(before, guest.name)?.wire_bytes;
            let bytes = f64::from(u32::try_from(bytes).expect("less than 4 GiB"));
            Ok(bytes * 8.0 / 1e6 / seconds)
        };
        senders.iter().map(rate).collect()
    }

    fn measure(&self, window: Duration) -> Result<Vec<f64>> {
        let before = self.host.report()?;
        thread::sleep(window);
        self.rates(&before, &self.host.report()?)
    }

    /// What nobody may ever exceed.
    fn within_limits(&self, got: &[f64]) {
        let sum: f64 = got.iter().sum();
        let link = f64::from(u32::try_from(LINK).expect("few megabits"));
        assert!(
            sum <= link * (1.0 + OVER),
            "{sum} Mbit/s of {link}: {got:?}"
        );
        for (guest, got) in self.senders().iter().zip(got) {
            let ceil = guest.ceil.unwrap_or(LINK);
            let ceil = f64::from(u32::try_from(ceil).expect("few megabits"));
            assert!(*got <= ceil * (1.0 + OVER), "{got} Mbit/s for {guest:?}");
        }
    }

    /// Whether the busy guests could send more than their shares if there were no limit.
    fn able(&mut self) -> Result<bool> {
        let shares = shares(LINK, &self.senders());
        self.host.daemon.reconfigure(&config(None, &self.guests))?;
        thread::sleep(SETTLE);
        let able = self.measure(Duration::from_secs(1))?;
        self.host
            .daemon
            .reconfigure(&config(Some(LINK), &self.guests))?;
        thread::sleep(SETTLE);
        println!("without a limit: {able:.1?}");
        Ok(able
            .iter()
            .zip(shares)
            .all(|(able, share)| *able >= share * HEADROOM))
    }

    /// Measures the busy guests until they have their shares.
    fn shares_are_right(&mut self, window: Duration) -> Result<()> {
        let senders = self.senders();
        let names: Vec<&str> = senders.iter().map(|guest| guest.name).collect();
        let expected = shares(LINK, &senders);
        let mut fair_tries = 0;
        for _ in 0..TRIES {
            let machine = Alone::watch()?;
            let got = self.measure(window)?;
            println!(
                "{:?} {names:?}: {got:.2?} of {expected:.2?} Mbit/s",
                self.way
            );
            self.within_limits(&got);
            if close(&got, &expected, TOLERANCE) {
                return Ok(());
            }
            fair_tries += usize::from(machine.was()? && self.able()?);
        }
        assert!(fair_tries < TRIES, "wrong shares for {names:?}");
        Ok(())
    }

    /// TCP segments that guests have sent again since their boots (`RetransSegs`, RFC 4022).
    fn sent_again(&self) -> Result<u64> {
        let one = |guest| {
            let script = "awk '/^Tcp: [0-9]/ { print $13 }' /proc/net/snmp";
            let text = self.host.guest(guest).shell(script)?;
            Ok(text.trim().parse::<u64>().expect("a number"))
        };
        (0..self.guests.len()).map(one).sum()
    }

    /// Nothing of what guests sent was lost.
    fn nothing_was_dropped(&self) -> Result<()> {
        let report = self.host.report()?;
        for guest in &self.guests {
            let counted = Way::FromGuest.of(&report, guest.name)?;
            assert_eq!(counted.dropped(), 0, "{guest:?}: {counted:?}");
        }
        Ok(())
    }
}

/// Whether each figure is as expected, but for a part of it.
fn close(got: &[f64], expected: &[f64], tolerance: f64) -> bool {
    let mut pairs = got.iter().zip(expected);
    pairs.all(|(got, expected)| (got / expected - 1.0).abs() <= tolerance)
}

/// Every set of busy guests but the empty one, each differing from the one before by one guest.
fn every_set(mut visit: impl FnMut(u32) -> Result<()>) -> Result<()> {
    (1_u32..1 << GUESTS.len()).try_for_each(|number| visit(number ^ (number >> 1)))
}

fn every_combination(link: &mut Link) -> Result<()> {
    let all = (1 << GUESTS.len()) - 1;
    every_set(|set| {
        for guest in 0..GUESTS.len() {
            link.set(guest, set & (1 << guest) != 0)?;
        }
        thread::sleep(SETTLE);
        link.shares_are_right(if set == all { LONG_WINDOW } else { WINDOW })
    })?;
    (0..GUESTS.len()).try_for_each(|guest| link.set(guest, false))
}

#[test]
fn water_filling_gives_what_can_be_worked_out_by_hand() {
    let expected = [
        (vec![0, 1, 2, 3], vec![25.0, 50.0, 100.0, 125.0]),
        (vec![0, 2], vec![140.0, 160.0]),
        (vec![2], vec![160.0]),
        (vec![3], vec![300.0]),
        (vec![0, 1], vec![100.0, 200.0]),
    ];
    for (guests, expected) in expected {
        let guests: Vec<Terms> = guests
            .into_iter()
            .map(|guest: usize| GUESTS[guest])
            .collect();
        let got = shares(300, &guests);
        assert!(close(&got, &expected, 1e-12), "{got:?}, not {expected:?}");
    }
}

#[test]
fn every_combination_of_sending_guests_shares_the_link_as_water_filling_has_it() -> Result<()> {
    let mut link = Link::start(&GUESTS)?;
    every_combination(&mut link)?;
    link.nothing_was_dropped()
}

#[test]
fn every_combination_of_receiving_guests_shares_the_link_as_water_filling_has_it() -> Result<()> {
    let mut link = Link::start(&GUESTS)?;
    link.way = Way::ToGuest;
    every_combination(&mut link)
}

/// Where the weights of the first and the last are exchanged.
fn turned_over(guests: &[Terms]) -> Vec<Terms> {
    let weights = guests.iter().rev().map(|guest| guest.weight);
    let pairs = guests.iter().zip(weights);
    pairs
        .map(|(guest, weight)| Terms { weight, ..*guest })
        .collect()
}

/// From when on a change of the weights has to count.
const SOON: Duration = Duration::from_millis(100);
/// How often counters are looked at around it.
const OFTEN: Duration = Duration::from_millis(25);

/// Changes weights while all are busy; whether the shares were the new ones soon enough.
fn change_counts_soon(link: &mut Link) -> Result<bool> {
    link.guests = turned_over(&link.guests);
    let changed = Instant::now();
    link.host
        .daemon
        .reconfigure(&config(Some(LINK), &link.guests))?;
    let mut reports = Vec::new();
    while changed.elapsed() < SOON * 4 {
        reports.push(link.host.report()?);
        thread::sleep(OFTEN);
    }
    let after = |wait: Duration| {
        let report = reports.iter().find(|report| report.at >= changed + wait);
        report.expect("a report from then on")
    };
    let expected = shares(LINK, &link.senders());
    let got = link.rates(after(SOON), after(SOON * 3))?;
    println!(
        "{:?} from {SOON:?} on: {got:.2?} of {expected:.2?} Mbit/s",
        link.way
    );
    Ok(close(&got, &expected, TOLERANCE))
}

#[test]
fn a_changed_weight_counts_within_a_tenth_of_a_second_and_loses_nothing() -> Result<()> {
    let mut link = Link::start(&GUESTS[..3])?;
    for way in [Way::FromGuest, Way::ToGuest] {
        link.way = way;
        for guest in 0..3 {
            link.set(guest, true)?;
        }
        thread::sleep(SETTLE);
        link.shares_are_right(WINDOW)?;
        let before = link.sent_again()?;
        let mut fair_tries = 0;
        for _ in 0..TRIES {
            let machine = Alone::watch()?;
            let right = change_counts_soon(&mut link)?;
            if right {
                break;
            }
            fair_tries += usize::from(machine.was()? && link.able()?);
        }
        assert!(
            fair_tries < TRIES,
            "{way:?}: the change did not count in time"
        );
        println!("{way:?}: sent again {} times", link.sent_again()? - before);
        for guest in 0..3 {
            link.set(guest, false)?;
        }
    }
    link.nothing_was_dropped()
}
