//! Numbers for people: three or four digits and a unit.

/// A count or rate: `999`, `12.3k`, `4.56M`, `1G`.
pub(crate) fn count(value: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1_000_000_000_000, "T"),
        (1_000_000_000, "G"),
        (1_000_000, "M"),
        (1_000, "k"),
    ];
    for (scale, unit) in UNITS {
        if value >= scale {
            return format!("{}{unit}", digits(value, scale));
        }
    }
    value.to_string()
}

/// A length of time in nanoseconds: `850ns`, `12.3us`, `4.56ms`, `1.2s`.
pub(crate) fn time(nanos: u64) -> String {
    match nanos {
        0..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}us", digits(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", digits(nanos, 1_000_000)),
        _ => format!("{}s", digits(nanos, 1_000_000_000)),
    }
}

/// Millionths as percent: `12.34%`.
pub(crate) fn percent(millionths: u64) -> String {
    format!("{}.{:02}%", millionths / 10_000, millionths / 100 % 100)
}

/// `value / scale` with three digits where they say something, rounded down.
fn digits(value: u64, scale: u64) -> String {
    let whole = value / scale;
    let places = match whole {
        0..10 => 2,
        10..100 => 1,
        _ => 0,
    };
    let fraction = (value % scale) / (scale / 1_000) / 10_u64.pow(3 - places);
    if fraction == 0 {
        return whole.to_string();
    }
    let width = places as usize;
    let text = format!("{whole}.{fraction:0width$}");
    text.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(12_345), "12.3k");
        assert_eq!(count(4_567_000), "4.56M");
        assert_eq!(count(1_000_000_000), "1G");
        assert_eq!(count(987_654_321), "987M");
        assert_eq!(count(1_050_000), "1.05M");
        assert_eq!(time(850), "850ns");
        assert_eq!(time(5_000_000), "5ms");
        assert_eq!(time(1_234_567_890), "1.23s");
        assert_eq!(percent(123_456), "12.34%");
        assert_eq!(percent(1_000_000), "100.00%");
    }
}
