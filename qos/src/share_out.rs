//! One limit divided among several schedulers that send by it at once, such as the shards of an uplink.
//!
//! Each part says what it [wants](Want); [`divide`] gives every part what it is guaranteed, as far as it
//! wants that, then divides what is left by weight among those who want more (weighted max-min), and
//! spreads what nobody wants, so that whoever begins to send has something at hand. The parts add up to
//! the whole, always.
//!
//! Parts take notice of a new division at different moments. [`Leases`] therefore gives out only what
//! is known to have been given back: at no instant do the rates that the parts go by add up to more than
//! the whole. Where parts are told at once and take notice within an interval `i`, they overshoot by
//! no more than what is moved between them in that time: `i` times the sum of all raises, which is at
//! most `i` times the whole.

/// What one part would send by a limit, in bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// All it would send; [`u64::MAX`] if that has no bound.
    pub rate: u64,
    /// What it is guaranteed of that.
    pub guaranteed: u64,
    /// Its weight among those who want more than that; none counts as the least there is.
    pub weight: u32,
}

impl Want {
    /// What it gets before anybody gets more.
    fn floor(&self) -> u64 {
        self.guaranteed.min(self.rate)
    }

    fn weight(&self) -> u128 {
        self.weight.max(1).into()
    }
}

/// Divides `total` bits per second: `parts` gets one number for each of `wants`, as far as it has
/// room. They add up to `total`, if there is any part at all. Guarantees that do not fit are cut in
/// proportion. Takes time in the square of their number, and allocates nothing.
pub fn divide(total: u64, wants: &[Want], parts: &mut [u64]) {
    let count = wants.len().min(parts.len());
    let (Some(wants), Some(parts)) = (wants.get(..count), parts.get_mut(..count)) else {
        return;
    };
    let floors = wants.iter().map(|want| u128::from(want.floor()));
    let floors: u128 = floors.fold(0, u128::saturating_add);
    let mut left = total;
    for (part, want) in parts.iter_mut().zip(wants) {
        let floor = want.floor();
        *part = if floors > total.into() {
            share(total, floor.into(), floors)
        } else {
            floor
        };
        left = left.saturating_sub(*part);
    }
    left = satisfy(left, wants, parts);
    let weights = wants.iter().map(Want::weight);
    let weights: u128 = weights.fold(0, u128::saturating_add);
    let spare = left;
    for (part, want) in parts.iter_mut().zip(wants) {
        let more = share(spare, want.weight(), weights);
        *part = part.saturating_add(more);
        left = left.saturating_sub(more);
    }
    // What rounding left over: less than one for each part.
    if let Some(first) = parts.first_mut() {
        *first = first.saturating_add(left);
    }
}

/// Divides what is left by weight among those who want more; what they do not want is given back.
fn satisfy(mut left: u64, wants: &[Want], parts: &mut [u64]) -> u64 {
    loop {
        let hungry = |part: u64, want: &Want| part < want.rate;
        let weights = parts.iter().zip(wants);
        let weights = weights.filter(|(part, want)| hungry(**part, want));
        let weights = weights.fold(0_u128, |sum, (_, want)| sum.saturating_add(want.weight()));
        if weights == 0 || left == 0 {
            return left;
        }
        // First those who are content with less than their share: the others have more then.
        let (before, mut content) = (left, false);
        for (part, want) in parts.iter_mut().zip(wants) {
            let more = want.rate.saturating_sub(*part);
            if more > 0 && more <= share(before, want.weight(), weights) {
                *part = want.rate;
                left = left.saturating_sub(more);
                content = true;
            }
        }
        if content {
            continue;
        }
        for (part, want) in parts.iter_mut().zip(wants) {
            if hungry(*part, want) {
                let more = share(before, want.weight(), weights);
                *part = part.saturating_add(more);
                left = left.saturating_sub(more);
            }
        }
        return left;
    }
}

/// `whole * weight / weights`, rounded down; nothing of no weights.
fn share(whole: u64, weight: u128, weights: u128) -> u64 {
    let product = u128::from(whole).checked_mul(weight);
    // Weights and rates are numbers of at most 64 bits, so a product has at most 128.
    let share = product.and_then(|product| product.checked_div(weights));
    share
        .and_then(|share| u64::try_from(share).ok())
        .unwrap_or(0)
}

/// What each part may send, told so that the parts never go by more than the whole between them, at
/// whatever moment each takes notice.
///
/// Call [`Self::renew`] at any interval, and tell each part its [`Self::lease`]. [`Self::went_by`] is
/// called when a part goes by what it was told last; until then it is told nothing else, so there is
/// never a doubt about what it goes by. A part that sends nothing, and will not before it has looked (a
/// thread that sleeps), goes by whatever it was told.
#[derive(Clone, Debug)]
pub struct Leases {
    total: u64,
    parts: Box<[Part]>,
    /// Room for what would be, if all took notice at once.
    goal: Box<[u64]>,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    /// What it was told last.
    lease: u64,
    /// What it may still be going by, if it may.
    before: Option<u64>,
}

impl Part {
    /// The most it may be going by.
    fn held(&self) -> u64 {
        self.before.unwrap_or(0).max(self.lease)
    }

    fn tell(&mut self, lease: u64) {
        if lease != self.lease {
            self.before = Some(self.lease);
            self.lease = lease;
        }
    }
}

impl Leases {
    /// `total` bits per second, spread evenly over `parts`, which go by that.
    #[must_use]
    pub fn new(total: u64, parts: usize) -> Self {
        let mut goal = vec![0; parts].into_boxed_slice();
        divide(total, &vec![Want::default(); parts], &mut goal);
        let part = |lease: &u64| Part {
            lease: *lease,
            before: None,
        };
        Self {
            total,
            parts: goal.iter().map(part).collect(),
            goal,
        }
    }

    /// What a part is told to send by, in bits per second; nothing if there is no such part.
    #[must_use]
    pub fn lease(&self, part: usize) -> u64 {
        self.parts.get(part).map_or(0, |part| part.lease)
    }

    /// Another whole, in bits per second. It is divided by the next [`Self::renew`], and less than before
    /// holds when every part goes by what it is told from then on.
    pub fn set_total(&mut self, total: u64) {
        self.total = total;
    }

    /// A part goes by its [lease](Self::lease).
    pub fn went_by(&mut self, part: usize) {
        if let Some(part) = self.parts.get_mut(part) {
            part.before = None;
        }
    }

    /// Divides anew ([`divide`]), one want for each part: takes at once what a part is to have less, and
    /// gives as much of what others are to have more as nobody may still be going by. Parts that do not
    /// yet go by what they were told before keep that. Allocates nothing.
    pub fn renew(&mut self, wants: &[Want]) {
        divide(self.total, wants, &mut self.goal);
        let held: u128 = self.parts.iter().map(|part| u128::from(part.held())).sum();
        let free = u128::from(self.total).saturating_sub(held);
        let free = u64::try_from(free).unwrap_or(u64::MAX);
        let told = self.parts.iter_mut().zip(&self.goal);
        let told = told.filter(|(part, _)| part.before.is_none());
        let mut lacking = 0_u128;
        for (part, goal) in told {
            lacking = lacking.saturating_add(goal.saturating_sub(part.lease).into());
            if *goal < part.lease {
                part.tell(*goal);
            }
        }
        for (part, goal) in self.parts.iter_mut().zip(&self.goal) {
            let lack = goal.saturating_sub(part.lease);
            if part.before.is_some() || lack == 0 {
                continue;
            }
            let more = if lacking <= free.into() {
                lack
            } else {
                share(free, lack.into(), lacking)
            };
            part.tell(part.lease.saturating_add(more));
        }
    }
}

#[cfg(test)]
mod tests;
