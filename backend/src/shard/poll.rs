//! When the shard looks for work instead of sleeping, and at which rings it looks meanwhile.

use std::cell::RefCell;
use std::time::Duration;

/// Where a window begins to grow, in nanoseconds. A sleep and its end cost about as much.
const FIRST: u64 = 5_000;

/// Most ports whose rings are looked at: what a look may cost. All others are asked to kick.
const PORTS: usize = 64;

/// Looks at the rings for each one at the descriptors, which costs as much as several of them.
const RING_LOOKS: u8 = 8;

/// How long the shard looks on after it had something to do.
///
/// It adapts as KVM's `halt_poll_ns` does: a sleep that was so short that a longer look would have spared
/// it doubles the window, a longer one halves it, so that an idle shard does not look at all.
#[derive(Debug)]
pub(super) struct Window {
    /// What it may grow to, in nanoseconds; 0 is never to look.
    most: u64,
    /// Its length now, in nanoseconds.
    len: u64,
    /// When there was something to do last (monotonic nanoseconds).
    since: u64,
}

impl Window {
    pub(super) fn new(most: Duration) -> Self {
        Self {
            most: u64::try_from(most.as_nanos()).unwrap_or(u64::MAX),
            len: 0,
            since: 0,
        }
    }

    /// There is something to do.
    pub(super) const fn moved(&mut self, now: u64) {
        self.since = now;
    }

    /// Whether to look on.
    pub(super) const fn lasts(&self, now: u64) -> bool {
        now.saturating_sub(self.since) < self.len
    }

    /// A sleep has ended.
    pub(super) fn woke(&mut self, now: u64) {
        let idle = now.saturating_sub(self.since);
        self.len = if idle > self.most {
            let half = self.len / 2;
            if half < FIRST { 0 } else { half }
        } else {
            self.len.saturating_mul(2).max(FIRST).min(self.most)
        };
    }
}

/// The ports whose transmit rings are looked at, and which are not asked to kick meanwhile.
#[derive(Debug)]
pub(super) struct Looks {
    ports: RefCell<Vec<u32>>,
    /// Since the descriptors were looked at last.
    looked: u8,
}

impl Looks {
    pub(super) fn new() -> Self {
        Self {
            ports: RefCell::new(Vec::with_capacity(PORTS)),
            looked: 0,
        }
    }

    /// Whether this look is for the rings alone, if there are any to look at.
    pub(super) fn only_rings(&mut self) -> bool {
        let only = self.looked < RING_LOOKS && !self.ports.get_mut().is_empty();
        self.looked = if only { self.looked + 1 } else { 0 };
        only
    }

    /// Takes a port up; false if there are as many as one look is for.
    pub(super) fn add(&self, port: u32) -> bool {
        let mut ports = self.ports.borrow_mut();
        if ports.contains(&port) {
            return true;
        }
        let room = ports.len() < PORTS;
        if room {
            ports.push(port);
        }
        room
    }

    /// Goes on with the ports for which `stays` says so.
    pub(super) fn retain(&mut self, mut stays: impl FnMut(u32) -> bool) {
        self.ports.get_mut().retain(|port| stays(*port));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u64 = 50_000;

    fn window() -> Window {
        Window::new(Duration::from_nanos(MOST))
    }

    /// How long a window is after it slept so long, once for each.
    fn after(window: &mut Window, sleeps: &[u64]) -> u64 {
        for sleep in sleeps {
            let now = window.since + sleep;
            window.woke(now);
            window.moved(now);
        }
        window.len
    }

    #[test]
    fn it_grows_while_sleeps_are_short_and_never_above_its_most() {
        let mut window = window();
        assert_eq!(after(&mut window, &[MOST]), FIRST);
        assert_eq!(after(&mut window, &[20_000, 20_000]), 4 * FIRST);
        assert_eq!(after(&mut window, &[1; 40]), MOST);
    }

    #[test]
    fn it_shrinks_while_sleeps_are_long_until_there_is_none() {
        let mut window = window();
        after(&mut window, &[1; 10]);
        assert_eq!(after(&mut window, &[MOST + 1]), MOST / 2);
        assert_eq!(after(&mut window, &[1_000_000; 3]), 0);
        assert!(!window.lasts(window.since));
    }

    #[test]
    fn it_lasts_from_the_last_thing_done() {
        let mut window = window();
        after(&mut window, &[1; 10]);
        let since = window.since;
        assert!(window.lasts(since) && window.lasts(since + MOST - 1));
        assert!(!window.lasts(since + MOST));
        window.moved(since + MOST);
        assert!(window.lasts(since + 2 * MOST - 1));
    }

    #[test]
    fn a_most_below_the_first_is_kept_and_none_is_none() {
        let mut short = Window::new(Duration::from_nanos(100));
        assert_eq!(after(&mut short, &[50, 50, 50]), 100);
        let mut none = Window::new(Duration::ZERO);
        assert_eq!(after(&mut none, &[0, 0, 1, 1_000_000]), 0);
        assert!(!none.lasts(0));
    }

    #[test]
    fn the_descriptors_are_looked_at_every_so_often() {
        let mut looks = Looks::new();
        assert!(!looks.only_rings(), "there are no rings");
        looks.add(0);
        for _ in 0..3 {
            let rings = (0..20).take_while(|_| looks.only_rings());
            assert_eq!(rings.count(), usize::from(RING_LOOKS));
        }
    }

    #[test]
    fn ports_are_taken_up_once_and_not_beyond_what_a_look_may_cost() {
        let mut looks = Looks::new();
        for port in 0..PORTS {
            let port = u32::try_from(port).unwrap();
            assert!(looks.add(port) && looks.add(port));
        }
        assert!(!looks.add(1000));
        looks.retain(|port| port != 5);
        assert!(looks.add(1000) && !looks.add(1001));
    }
}
