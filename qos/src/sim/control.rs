//! How large a TCP sender's window is: Reno, CUBIC and DCTCP, in integers.

use super::scenario::Control;

/// One segment, in the units of a window: fine enough that one acknowledgement counts in a window of
/// a million segments.
const ONE: u64 = 1 << 20;

/// The window of a new connection, in segments (RFC 6928).
const INITIAL: u64 = 10;

/// A congestion window.
#[derive(Clone, Debug)]
pub(super) struct Window {
    control: Control,
    /// In 1/[`ONE`] segments, as all windows here.
    size: u64,
    /// Where slow start ends.
    threshold: u64,
    /// What the receiver allows.
    most: u64,
    cubic: Cubic,
    /// DCTCP's estimate of the share of marked segments, in 1/[`ONE`].
    alpha: u64,
}

/// CUBIC's curve (RFC 9438 §4).
#[derive(Clone, Copy, Debug, Default)]
struct Cubic {
    /// The window at the last congestion.
    peak: u64,
    /// When the curve began, in nanoseconds; zero for not yet.
    since: u64,
    /// Milliseconds until the curve is back at the peak.
    rise: u64,
    /// What Reno's growth would have made of it.
    reno: u64,
}

impl Window {
    /// The window of a new connection that never has more than `most` segments on the way.
    pub(super) fn new(control: Control, most: u64) -> Self {
        let most = most.max(1).saturating_mul(ONE);
        Self {
            control,
            size: (INITIAL * ONE).min(most),
            threshold: u64::MAX,
            most,
            cubic: Cubic::default(),
            // RFC 8257 §3.3: as if all had been marked, so that the first mark is not overlooked.
            alpha: ONE,
        }
    }

    /// Whole segments that may be on the way.
    pub(super) const fn segments(&self) -> u64 {
        self.size / ONE
    }

    /// Grows for `acked` segments that arrived unharmed while the window was in use.
    pub(super) fn grow(&mut self, acked: u64, now: u64, rtt: u64) {
        let mut acked = acked;
        if self.size < self.threshold {
            let step = (acked * ONE).min(self.threshold - self.size);
            self.size += step;
            acked -= step / ONE;
        }
        if acked > 0 {
            match self.control {
                Control::Reno | Control::Dctcp => self.size += acked * ONE * ONE / self.size,
                Control::Cubic => self.grow_cubic(acked, now, rtt),
            }
        }
        self.size = self.size.min(self.most);
    }

    fn grow_cubic(&mut self, acked: u64, now: u64, rtt: u64) {
        let size = self.size;
        let cubic = &mut self.cubic;
        if cubic.since == 0 {
            cubic.begin(size, now);
        }
        // Reno's growth, 3 (1 - 0.7) / (1 + 0.7) of a segment per window until it is back at the peak.
        let share = if cubic.reno < cubic.peak { 9 } else { 17 };
        cubic.reno += acked * ONE / 17 * share * ONE / size;
        let target = cubic.at(now + rtt).clamp(size, size + size / 2);
        let step = u128::from(target - size) * u128::from(acked * ONE) / u128::from(size);
        self.size += u64::try_from(step).unwrap_or(0);
        self.size = self.size.max(cubic.reno);
    }

    /// Shrinks for segments that were lost, or marked.
    pub(super) fn shrink(&mut self, marked: bool) {
        let size = self.size;
        let rest = match self.control {
            Control::Reno => size / 2,
            Control::Cubic => self.cubic.remember(size),
            Control::Dctcp if marked => {
                let part = u128::from(size) * u128::from(self.alpha) / u128::from(2 * ONE);
                size - u64::try_from(part).unwrap_or(0)
            }
            Control::Dctcp => size / 2,
        };
        self.threshold = rest.max(2 * ONE);
        self.size = self.threshold;
    }

    /// Starts from one segment, as nothing came back.
    pub(super) fn restart(&mut self) {
        // The second time in a row there is nothing to learn any more.
        if self.size > ONE {
            self.shrink(false);
        }
        self.size = ONE;
    }

    /// Notes what share of one window's segments was marked: an average with weight 1/16
    /// (RFC 8257 §3.3).
    pub(super) fn observe(&mut self, marked: u64, acked: u64) {
        let share = marked * ONE / acked.max(1);
        self.alpha = self.alpha - self.alpha / 16 + share / 16;
    }
}

impl Cubic {
    /// Notes the peak and says what is left. A peak below the last one makes room for newcomers.
    fn remember(&mut self, size: u64) -> u64 {
        let falling = size < self.peak;
        self.peak = if falling { size / 20 * 17 } else { size };
        self.since = 0;
        size / 10 * 7
    }

    fn begin(&mut self, size: u64, now: u64) {
        self.peak = self.peak.max(size);
        self.since = now.max(1);
        self.reno = size;
        // With the curve's 0.4 segments per cubic second.
        let cube = u128::from(self.peak - size) * 2_500_000_000 / u128::from(ONE);
        self.rise = cube_root(cube);
    }

    /// The curve at `now`.
    fn at(&self, now: u64) -> u64 {
        let millis = i128::from(now.saturating_sub(self.since) / 1_000_000);
        let offset = (millis - i128::from(self.rise)).clamp(-(1 << 28), 1 << 28);
        let change = offset * offset * offset * 2 * i128::from(ONE) / 5_000_000_000;
        u64::try_from(i128::from(self.peak) + change).unwrap_or(0)
    }
}

/// The root, rounded down.
fn cube_root(cube: u128) -> u64 {
    let mut root = 0_u128;
    for bit in (0..40).rev() {
        let more = root | (1 << bit);
        if more * more * more <= cube {
            root = more;
        }
    }
    u64::try_from(root).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn at_peak(control: Control, segments: u64) -> Window {
        let mut window = Window::new(control, 1 << 30);
        window.size = segments * ONE;
        window.threshold = 0;
        window
    }

    #[test]
    fn cube_roots_are_rounded_down() {
        for root in [0_u128, 1, 2, 99, 1 << 30] {
            let cube = root * root * root;
            assert_eq!(u128::from(cube_root(cube)), root);
            assert_eq!(u128::from(cube_root(cube + 3 * root)), root);
        }
    }

    #[test]
    fn slow_start_doubles_and_reno_then_adds_one_per_round() {
        let mut window = Window::new(Control::Reno, 1 << 30);
        for _ in 0..3 {
            window.grow(window.segments(), 0, 0);
        }
        assert_eq!(window.segments(), 80);
        window.shrink(false);
        assert_eq!(window.segments(), 40);
        for _ in 0..400 {
            window.grow(1, 0, 0);
        }
        assert!((48..=50).contains(&window.segments()), "{window:?}");
    }

    #[test]
    fn cubic_is_back_at_its_peak_when_the_rfc_says() {
        let mut window = at_peak(Control::Cubic, 1000);
        window.shrink(false);
        assert_eq!(window.segments(), 700);
        // K = cbrt(1000 x 0.3 / 0.4) = 9.086 s.
        let (mut now, rtt) = (MS, 100 * MS);
        let mut passed = 0;
        while passed == 0 {
            window.grow(window.segments(), now, rtt);
            now += rtt;
            if window.segments() >= 999 {
                passed = now;
            }
        }
        assert!((7_500..9_500).contains(&(passed / MS)), "{}", passed / MS);
    }

    #[test]
    fn dctcp_gives_way_in_proportion_to_marks_and_halves_for_losses() {
        let mut window = at_peak(Control::Dctcp, 1000);
        for _ in 0..200 {
            window.observe(10, 100);
        }
        window.shrink(true);
        assert!((948..=951).contains(&window.segments()), "{window:?}");
        window.shrink(false);
        assert!((474..=476).contains(&window.segments()), "{window:?}");
    }

    #[test]
    fn the_receivers_window_bounds_it() {
        let mut window = Window::new(Control::Reno, 16);
        window.grow(1000, 0, 0);
        assert_eq!(window.segments(), 16);
    }
}
