//! Numbers for people: three digits and a unit.

/// A count or rate: `999`, `12.3k`, `4.56M`, `1G`.
pub(crate) fn count(value: u64) -> String {
    const UNITS: [(u64, &str); 7] = [
        (1, ""),
        (1_000, "k"),
        (1_000_000, "M"),
        (1_000_000_000, "G"),
        (1_000_000_000_000, "T"),
        (1_000_000_000_000_000, "P"),
        (1_000_000_000_000_000_000, "E"),
    ];
    digits(value, &UNITS)
}

/// A length of time in nanoseconds: `850ns`, `12.3us`, `4.56ms`, `1.2s`.
pub(crate) fn time(nanos: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1, "ns"),
        (1_000, "us"),
        (1_000_000, "ms"),
        (1_000_000_000, "s"),
    ];
    digits(nanos, &UNITS)
}

/// Millionths as percent: `12.34%`.
pub(crate) fn percent(millionths: u64) -> String {
    let hundredths = (millionths + 50) / 100;
    format!("{}.{:02}%", hundredths / 100, hundredths % 100)
}

/// A value rounded to three digits, in the largest unit that does not exceed it.
fn digits(value: u64, units: &[(u64, &str)]) -> String {
    // The third digit counts so many.
    let step = 10_u64.pow(value.max(1).ilog10().saturating_sub(2));
    let value = value.saturating_add(step / 2) / step * step;
    let fitting = units.iter().rfind(|(scale, _)| *scale <= value);
    let &(scale, unit) = fitting.unwrap_or(&units[0]);
    let (whole, fraction) = (value / scale, value % scale);
    if fraction < step.max(scale / 1_000) || whole >= 1_000 {
        return format!("{whole}{unit}");
    }
    let width = scale.ilog10() as usize;
    let text = format!("{whole}.{fraction:0width$}");
    format!("{}{unit}", text.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_three_digits_and_have_a_unit() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(12_345), "12.3k");
        assert_eq!(count(4_567_000), "4.57M");
        assert_eq!(count(1_000_000_000), "1G");
        assert_eq!(count(999_990_000), "1G");
        assert_eq!(count(987_654_321), "988M");
        assert_eq!(count(1_050_000), "1.05M");
        assert_eq!(count(u64::MAX), "18.4E");
        assert_eq!(time(850), "850ns");
        assert_eq!(time(5_000_000), "5ms");
        assert_eq!(time(1_234_567_890), "1.23s");
        assert_eq!(time(3_600_000_000_000), "3600s");
        assert_eq!(time(20_000_000_000), "20s");
        assert_eq!(percent(123_456), "12.35%");
        assert_eq!(percent(999_990), "100.00%");
    }
}
