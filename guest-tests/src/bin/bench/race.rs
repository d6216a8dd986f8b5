//! Contenders that take turns at one work.

use guest_tests::Result;

use crate::Stop;
use crate::choice::Choice;
use crate::figures::{self, Series};

/// One work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Race<'a> {
    pub(crate) stop: &'a Stop,
    pub(crate) choice: &'a Choice,
    /// What the figures' names begin with.
    pub(crate) prefix: &'a str,
    /// What a figure is.
    pub(crate) unit: &'a str,
    /// Those that ours are compared with, where they take part.
    pub(crate) references: &'a [&'a str],
}

/// Ours' names begin so.
const OURS: &str = "ours";
/// The reference whose name a ratio's leaves out.
const USUAL: &str = "ovs";

impl Race<'_> {
    /// Measures the contenders in turn, prints their medians, and the ratios of ours to the references.
    pub(crate) fn run<C: Copy>(
        &self,
        contenders: &[(&str, C)],
        measure: impl Fn(C) -> Result<f64>,
    ) -> Result<()> {
        let parts = [(self.prefix, self.unit)];
        self.run_parts(parts, contenders, |contender| Ok([measure(contender)?]))
    }

    /// The same for several figures of one measurement, each with a prefix and a unit of its own. What is not a
    /// number is left out: not every contender has every figure.
    pub(crate) fn run_parts<C: Copy, const N: usize>(
        &self,
        parts: [(&str, &str); N],
        contenders: &[(&str, C)],
        measure: impl Fn(C) -> Result<[f64; N]>,
    ) -> Result<()> {
        let chosen = contenders.iter();
        let chosen = chosen.filter(|(name, _)| self.choice.has_contender(name));
        let mut running: Vec<_> = chosen
            .map(|&(name, contender)| (contender, [(); N].map(|()| Series::new(name))))
            .collect();
        for round in 1..=self.choice.rounds() {
            for (contender, series) in &mut running {
                self.stop.check()?;
                let values = measure(*contender)?;
                for ((series, value), (prefix, unit)) in series.iter_mut().zip(values).zip(parts) {
                    if !value.is_nan() {
                        let name = series.name();
                        eprintln!("round {round}: {prefix}.{name} {value:.1} {unit}");
                    }
                    series.add(value);
                }
            }
        }
        for (part, (prefix, unit)) in parts.into_iter().enumerate() {
            let series: Vec<&Series> = running
                .iter()
                .filter_map(|(_, all)| all.get(part))
                .collect();
            self.print(prefix, unit, &series);
        }
        Ok(())
    }

    fn print(&self, prefix: &str, unit: &str, running: &[&Series]) {
        let running = || running.iter().filter(|series| !series.median().is_nan());
        for series in running() {
            figures::value(prefix, series, unit);
        }
        for ours in running() {
            let Some(kind) = ours.name().strip_prefix(OURS) else {
                continue;
            };
            for &reference in self.references {
                if let Some(other) = running().find(|series| series.name() == reference) {
                    let to = match reference {
                        USUAL => String::new(),
                        other => format!("_to_{other}"),
                    };
                    figures::ratio(&format!("{prefix}.ratio{kind}{to}"), ours.ratio_to(other));
                }
            }
        }
    }
}
