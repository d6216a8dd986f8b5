//! The result as a picture: the rate of every leaf over time, and below it how long its frames waited.

use std::io;
use std::ops::Div;
use std::path::Path;

use netqos::file::TreeFile;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use qos::sim::{ClassReport, Report};

use crate::number::{count, time};

/// A picture that cannot be drawn or written.
pub(crate) type DrawError = DrawingAreaErrorKind<io::Error>;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Colours that differ in lightness too (Okabe and Ito's), so that nobody needs to tell red from green.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(60, 60, 60),
];

/// In pixels: the picture's width, the height of the rates, of what surrounds the bars, and of a bar.
const WIDTH: u32 = 960;
const RATES: u32 = 420;
const AROUND: u32 = 110;
const BAR: u32 = 32;

/// In pixels: room for labels on the left, and for the names of the lines on the right.
const LABELS: u32 = 130;
const NAMES: u32 = 150;

/// The shortest delay that is drawn, in nanoseconds.
const SHORTEST: f64 = 1000.0;

/// Draws the leaves of a report into a file.
pub(crate) fn svg(path: &Path, tree: &TreeFile, report: &Report) -> Result<(), DrawError> {
    let parents: Vec<_> = tree.tree.classes.iter().filter_map(|c| c.parent).collect();
    let leaves = report.classes.iter();
    let leaves: Vec<_> = leaves.filter(|c| !parents.contains(&c.id)).collect();
    let bars = BAR * u32::try_from(leaves.len()).unwrap_or(u32::MAX / BAR / 2);
    let whole = SVGBackend::new(path, (WIDTH, RATES + AROUND + bars)).into_drawing_area();
    whole.fill(&WHITE)?;
    let (above, below) = whole.split_vertically(RATES);
    rates(&above, tree, report, &leaves)?;
    delays(&below, tree, &leaves)?;
    whole.present()
}

/// A line per leaf.
fn rates(
    area: &Area<'_>,
    tree: &TreeFile,
    report: &Report,
    leaves: &[&ClassReport],
) -> Result<(), DrawError> {
    let bin = float(report.bin_nanos) / 1e9;
    let bins = leaves.iter().map(|class| class.series.len()).max();
    let end = bin * float(bins.unwrap_or(0) as u64);
    let bits = |bytes: u64| float(bytes) * 8.0 / bin;
    let most = leaves.iter().flat_map(|class| class.series.iter().copied());
    let link = float(report.link.bits_per_second());
    let top = bits(most.max().unwrap_or(0))
        .min(1.5 * link)
        .max(link / 1e3)
        * 1.05;
    let mut chart = ChartBuilder::on(area)
        .caption("Rate on the wire, bit/s", ("sans-serif", 20))
        .margin(10)
        .margin_right(NAMES)
        .x_label_area_size(45)
        .y_label_area_size(LABELS)
        .build_cartesian_2d(0.0..end, 0.0..top)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc("seconds")
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .x_label_formatter(&|seconds| (seconds * 1e3).round().div(1e3).to_string())
        .y_label_formatter(&|bits| count(whole(*bits)))
        .draw()?;
    for (number, class) in leaves.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let points = class.series.iter().zip(0_u64..);
        let points = points.map(|(&bytes, at)| (bin * (float(at) + 0.5), bits(bytes)));
        chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
        name(area, number, &tree.name(class.id), colour)?;
    }
    Ok(())
}

/// The name of a line, beside the chart.
fn name(area: &Area<'_>, number: usize, name: &str, colour: RGBColor) -> Result<(), DrawError> {
    let left = i32::try_from(WIDTH - NAMES).unwrap_or(0);
    let y = 50 + 22 * i32::try_from(number).unwrap_or(0);
    let key = PathElement::new(vec![(left, y), (left + 20, y)], colour.stroke_width(4));
    area.draw(&key)?;
    let place = Pos::new(HPos::Left, VPos::Center);
    let style = ("sans-serif", 14).into_text_style(area).pos(place);
    area.draw(&Text::new(name.to_owned(), (left + 26, y), style))
}

/// A bar per leaf: dark to the median, light to the 99th percentile; the scale is logarithmic.
fn delays(area: &Area<'_>, tree: &TreeFile, leaves: &[&ClassReport]) -> Result<(), DrawError> {
    let longest = leaves.iter().map(|class| class.delay.p99).max();
    let end = float(longest.unwrap_or(0)).max(SHORTEST * 10.0) * 3.0;
    let rows = leaves.len() as u64;
    let mut chart = ChartBuilder::on(area)
        .caption("Delay from arrival to sending", ("sans-serif", 20))
        .margin(10)
        .margin_right(NAMES)
        .x_label_area_size(45)
        .y_label_area_size(LABELS)
        .build_cartesian_2d((SHORTEST * 0.93..end).log_scale(), 0.0..float(rows))?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc("dark: half of the frames, light: 99 of 100")
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .x_label_formatter(&|nanos| time(whole(*nanos)))
        .draw()?;
    let beside = ("sans-serif", 14).into_text_style(area);
    // The first leaf stands at the top, as in the table.
    for (number, (class, row)) in leaves.iter().zip((0..rows).rev()).enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let middle = float(row) + 0.5;
        for (nanos, style) in [
            (class.delay.p99, colour.mix(0.4).filled()),
            (class.delay.p50, colour.filled()),
        ] {
            let to = float(nanos).max(SHORTEST);
            let corners = [(SHORTEST, middle - 0.35), (to, middle + 0.35)];
            chart.draw_series([Rectangle::new(corners, style)])?;
        }
        let place = beside.pos(Pos::new(HPos::Right, VPos::Center));
        let name = tree.name(class.id);
        chart.draw_series([Text::new(name, (SHORTEST * 0.93, middle), place)])?;
        let text = match class.delay.count {
            0 => "nothing sent".to_owned(),
            _ => format!("{} / {}", time(class.delay.p50), time(class.delay.p99)),
        };
        let at = float(class.delay.p99).max(SHORTEST) * 1.08;
        let place = beside.pos(Pos::new(HPos::Left, VPos::Center));
        chart.draw_series([Text::new(text, (at, middle), place)])?;
    }
    Ok(())
}

/// For coordinates, where the last of 53 bits is never seen.
#[allow(clippy::cast_precision_loss)]
const fn float(value: u64) -> f64 {
    value as f64
}

/// For labels: what is negative or too large does not occur, and would be cut off.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
const fn whole(value: f64) -> u64 {
    value as u64
}
