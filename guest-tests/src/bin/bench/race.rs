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
        let chosen = contenders.iter();
        let chosen = chosen.filter(|(name, _)| self.choice.has_contender(name));
        let mut running: Vec<_> = chosen
            .map(|&(name, contender)| (contender, Series::new(name)))
            .collect();
        let (prefix, unit) = (self.prefix, self.unit);
        for round in 1..=self.choice.rounds() {
            for (contender, series) in &mut running {
                self.stop.check()?;
                let value = measure(*contender)?;
                let name = series.name();
                eprintln!("round {round}: {prefix}.{name} {value:.0} {unit}");
                series.add(value);
            }
        }
        for (_, series) in &running {
            figures::value(prefix, series, unit);
        }
        let named = |name: &str| running.iter().find(|(_, series)| series.name() == name);
        for (_, ours) in &running {
            let Some(kind) = ours.name().strip_prefix(OURS) else {
                continue;
            };
            for &reference in self.references {
                if let Some((_, other)) = named(reference) {
                    let to = match reference {
                        USUAL => String::new(),
                        other => format!("_to_{other}"),
                    };
                    figures::ratio(&format!("{prefix}.ratio{kind}{to}"), ours.ratio_to(other));
                }
            }
        }
        Ok(())
    }
}
