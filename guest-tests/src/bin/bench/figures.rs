//! Medians, ratios, and the lines they are printed as.

/// What one contender reached, a figure for each round.
#[derive(Debug)]
pub(crate) struct Series {
    name: String,
    rounds: Vec<f64>,
}

impl Series {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            rounds: Vec::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Takes up a round's figure.
    pub(crate) fn add(&mut self, value: f64) {
        self.rounds.push(value);
    }

    /// The median over the rounds.
    pub(crate) fn median(&self) -> f64 {
        median(&self.rounds)
    }

    /// The median of this contender's figure over another's in the same round.
    pub(crate) fn ratio_to(&self, other: &Self) -> f64 {
        let rounds = self.rounds.iter().zip(&other.rounds);
        let ratios: Vec<f64> = rounds.map(|(own, other)| own / other).collect();
        median(&ratios)
    }
}

/// Prints a figure with its unit, small ones with decimal places.
pub(crate) fn value(prefix: &str, series: &Series, unit: &str) {
    let median = series.median();
    let places = match median {
        ..10.0 => 3,
        ..1000.0 => 1,
        _ => 0,
    };
    println!("{prefix}.{} {median:.places$} {unit}", series.name);
}

/// Prints nanoseconds per frame; without a prefix, the contender has its whole name.
pub(crate) fn nanos(prefix: &str, series: &Series) {
    let dot = if prefix.is_empty() { "" } else { "." };
    println!("{prefix}{dot}{} {:.1} ns", series.name, series.median());
}

/// Prints how many there were.
pub(crate) fn count(name: &str, value: f64) {
    println!("{name} {value:.1} count");
}

/// Prints how many times as much.
pub(crate) fn ratio(name: &str, value: f64) {
    println!("{name} {value:.3} x");
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.get(..) {
        None | Some([]) => f64::NAN,
        Some(sorted) if sorted.len() % 2 == 1 => sorted[middle],
        Some(sorted) => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_ratio_compares_within_rounds() {
        let (mut own, mut other) = (Series::new("own"), Series::new("other"));
        for (round, pace) in [1.0, 10.0, 5.0].into_iter().enumerate() {
            own.add(pace * if round == 1 { 3.0 } else { 2.0 });
            other.add(pace);
        }
        assert!((own.ratio_to(&other) - 2.0).abs() < 1e-9);
    }
}
