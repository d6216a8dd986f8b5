//! The result as a table of at most 80 columns.

use std::fmt::Write;

use crate::measure::{Direction, Measured, Trips};

const HEAD: [&str; 2] = [
    "              asked      got  error     TCP      ping, ms: median / max  frames",
    "             Mbit/s   Mbit/s      %  resent          idle    under load dropped",
];

/// The table, ending with a line end.
pub(crate) fn render(all: &[Measured]) -> String {
    let mut text = HEAD.join("\n") + "\n";
    for measured in all {
        for direction in &measured.directions {
            text += &row(measured, direction);
        }
    }
    text
}

fn row(measured: &Measured, direction: &Direction) -> String {
    let asked = measured
        .limit
        .value()
        .map_or_else(|| "no limit".to_owned(), |asked| format!("{asked:.0}"));
    let error = measured
        .error(direction)
        .map_or_else(|| "-".to_owned(), |error| format!("{:+.2}", error * 100.0));
    let mut row = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        row,
        "{:<10} {asked:>8} {:>8.2} {error:>6} {:>7} {:>13} {:>13} {:>7}",
        direction.name,
        direction.wire,
        direction.resent,
        trips(measured.idle),
        trips(direction.loaded),
        direction.drops.total(),
    );
    row
}

fn trips(trips: Trips) -> String {
    format!("{:.1} / {:.1}", trips.median, trips.max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Limit, tests::measured};

    #[test]
    fn rows_line_up_with_their_head_within_eighty_columns() {
        let text = render(&[
            measured(Limit::mbit(1000), 1000.5, 0),
            measured(Limit::none(), 12345.6, 1_234_567),
        ]);
        let widths: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(widths, [79; 6], "\n{text}");
    }
}
