use super::*;

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

/// A queue and its children, all of one priority.
struct Queue {
    fair: Fair,
    seats: Vec<Seat>,
    shares: Vec<Share>,
}

impl Seats for [Seat] {
    fn seat(&self, child: u32) -> &Seat {
        &self[child as usize]
    }

    fn seat_mut(&mut self, child: u32) -> &mut Seat {
        &mut self[child as usize]
    }
}

impl Queue {
    /// Children of these weights, with a quantum of one frame each.
    fn new(weights: &[u32]) -> Self {
        let numbers: Vec<u32> = (0..).take(weights.len()).collect();
        let mut fair = Fair::new(&numbers);
        let shares: Vec<Share> = weights
            .iter()
            .map(|&weight| Share::new(weight, 1538))
            .collect();
        let mut seats: Vec<Seat> = numbers.into_iter().map(Seat::new).collect();
        for (seat, share) in seats.iter_mut().zip(&shares) {
            fair.provide(seat, 0, share, share);
        }
        Self {
            fair,
            seats,
            shares,
        }
    }

    fn insert(&mut self, child: u32) {
        let share = &self.shares[child as usize];
        self.fair.insert(self.seats.as_mut_slice(), child, 1, share);
    }

    fn come_back(&mut self, child: u32) {
        self.fair.come_back(&mut self.seats[child as usize], 0);
        self.insert(child);
    }

    fn remove(&mut self, child: u32) {
        let share = &self.shares[child as usize];
        self.fair.remove(self.seats.as_mut_slice(), child, 1, share);
    }

    /// Serves one unit of at most a quantum.
    fn serve(&mut self, work: u64) -> usize {
        let child = self.fair.pick().unwrap();
        let share = &self.shares[child as usize];
        let seats = self.seats.as_mut_slice();
        self.fair.charge(seats, child, 1, share, work);
        self.fair.keep(seats, child, 1);
        child as usize
    }
}

/// Largest gap between any two children's normalised service, over every window, in bytes at
/// weight 1, against `factor` quanta of both.
fn assert_fair(weights: &[u32], factor: f64, rounds: usize) {
    let mut queue = Queue::new(weights);
    for child in 0..u32::try_from(weights.len()).unwrap() {
        queue.insert(child);
    }
    let mut state = 1;
    let mut done = vec![0.0_f64; weights.len()];
    // Range of the difference so far, per pair with child 0: any window lies between two moments.
    let mut range = vec![(0.0_f64, 0.0_f64); weights.len()];
    for _ in 0..rounds {
        let work = 84 + random(&mut state) % 1455;
        let child = queue.serve(work);
        let work = u32::try_from(work).unwrap();
        done[child] += f64::from(work) / f64::from(weights[child]);
        for (range, &done_here) in range.iter_mut().zip(&done) {
            let gap = done_here - done[0];
            *range = (range.0.min(gap), range.1.max(gap));
        }
    }
    for (child, (low, high)) in range.iter().enumerate() {
        let quanta = 1538.0 / f64::from(weights[0]) + 1538.0 / f64::from(weights[child]);
        assert!(
            high - low <= factor * quanta,
            "child {child}: {low} to {high} of {quanta}"
        );
    }
}

#[test]
fn a_few_children_share_by_weight_in_every_window() {
    assert_fair(&[1, 2, 3, 10], 2.0, 20_000);
    assert_fair(&[1000, 1, 77], 2.0, 200_000);
    assert_fair(&[5; 12], 2.0, 20_000);
}

#[test]
fn many_children_share_by_weight_in_every_window() {
    assert_fair(&[7; 100], 3.0, 50_000);
    let mixed: Vec<u32> = (0..200).map(|n| 1 + n * n % 97).collect();
    assert_fair(&mixed, 3.0, 200_000);
    let wide: Vec<u32> = (0..32).map(|n| 1 << (n / 2)).collect();
    assert_fair(&wide, 3.0, 300_000);
}

#[test]
fn a_light_child_does_not_wait_for_a_burst_of_a_heavy_one() {
    let mut queue = Queue::new(&[100, 1, 1, 1]);
    for child in 0..4 {
        queue.insert(child);
    }
    let served: Vec<usize> = (0..1030).map(|_| queue.serve(1538)).collect();
    let light: Vec<usize> = (0..1030).filter(|&at| served[at] == 1).collect();
    assert_eq!(light.len(), 10);
    for pair in light.windows(2) {
        assert!((100..=106).contains(&(pair[1] - pair[0])), "{light:?}");
    }
}

#[test]
fn whoever_comes_back_gets_neither_credit_nor_penalty() {
    for count in [3, 40] {
        let mut queue = Queue::new(&vec![1; count]);
        for child in 0..2 {
            queue.insert(child);
        }
        for _ in 0..1000 {
            queue.serve(1000);
        }
        queue.come_back(2);
        let mut served = [0_usize; 3];
        for _ in 0..300 {
            served[queue.serve(1000)] += 1;
        }
        assert!(
            served.iter().all(|&times| times.abs_diff(100) <= 2),
            "{served:?}"
        );
    }
}

#[test]
fn leaving_and_returning_at_random_neither_loses_nor_invents_a_child() {
    for count in [12_usize, 13, 300] {
        let weights: Vec<u32> = (0..count).map(|n| 1 << (n % 30)).collect();
        let mut queue = Queue::new(&weights);
        let mut waits = vec![false; count];
        let mut state = 5;
        for _ in 0..30_000 {
            let child = usize::try_from(random(&mut state) % count as u64).unwrap();
            let number = u32::try_from(child).unwrap();
            match waits[child] {
                true if random(&mut state).is_multiple_of(2) => {
                    queue.remove(number);
                    waits[child] = false;
                }
                false => {
                    queue.come_back(number);
                    waits[child] = true;
                }
                true => {
                    let picked = queue.serve(random(&mut state) % 100_000);
                    assert!(waits[picked]);
                }
            }
            let anybody = waits.contains(&true);
            assert_eq!(queue.fair.ready() != 0, anybody);
            assert_eq!(queue.fair.pick().is_some(), anybody);
        }
    }
}

#[test]
fn extreme_work_overflows_nothing() {
    for count in [2, 20] {
        let mut queue = Queue::new(&vec![1; count]);
        queue.insert(0);
        queue.insert(1);
        for work in [u64::MAX, 0, 1 << 40, 1 << 27] {
            for _ in 0..100 {
                queue.serve(work);
            }
        }
    }
}
