//! The screen's state put into cells.

use netqos::control::Direction;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;

use super::columns::Columns;
use super::help::HELP;
use super::picture::{Row, Way};
use super::screen::{Screen, Sort};
use crate::number::{count, time};
use crate::text::printable;

/// The least terminal on which something can be read.
const LEAST: (u16, u16) = (52, 8);

/// Lines above and below the rows.
const HEAD: u16 = 4;
const HELP_HEAD: u16 = 3;
const FOOT: u16 = 1;

const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
const FAINT: Style = Style::new().add_modifier(Modifier::DIM);
const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const TITLE: Style = Style::new().add_modifier(Modifier::REVERSED);

/// One line being written.
struct Pen<'a> {
    buffer: &'a mut Buffer,
    x: u16,
    y: u16,
    end: u16,
}

impl<'a> Pen<'a> {
    /// At the beginning of a line.
    fn at(buffer: &'a mut Buffer, area: Rect, line: u16) -> Self {
        Self {
            buffer,
            x: area.left(),
            y: area.top().saturating_add(line),
            end: area.right(),
        }
    }

    /// Writes a text, cut at the end of the line.
    fn put(&mut self, text: &str, style: Style) {
        let room = usize::from(self.end.saturating_sub(self.x));
        let (x, _) = self
            .buffer
            .set_stringn(self.x, self.y, printable(text), room, style);
        self.x = x;
    }

    /// Writes a text into a cell so wide, to its right, with a space before.
    fn cell(&mut self, text: &str, width: usize, style: Style) {
        let cut: String = text.chars().take(width).collect();
        self.put(&format!(" {cut:>width$}"), style);
    }

    fn to(&mut self, x: usize) {
        self.x = u16::try_from(x).unwrap_or(u16::MAX).min(self.end);
    }
}

/// Draws the screen.
pub(super) fn draw(screen: &Screen, area: Rect, buffer: &mut Buffer) {
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let size = format!(
            "{}x{}, {}x{} needed",
            area.width, area.height, LEAST.0, LEAST.1
        );
        for (y, text) in (0..area.height).zip(["The terminal is too small:", &size]) {
            Pen::at(buffer, area, y).put(text, STRONG);
        }
        return;
    }
    title(screen, &mut Pen::at(buffer, area, 0));
    status(screen, &mut Pen::at(buffer, area, 1));
    if screen.help {
        let room = usize::from(area.height - HELP_HEAD - FOOT);
        for (y, text) in (HELP_HEAD..).zip(HELP.iter().take(room)) {
            Pen::at(buffer, area, y).put(text, Style::new());
        }
    } else {
        table(screen, area, buffer);
    }
    foot(screen, &mut Pen::at(buffer, area, area.height - FOOT));
}

/// The headings, and as many rows as there is room for: the page that the selected one is on.
fn table(screen: &Screen, area: Rect, buffer: &mut Buffer) {
    let columns = Columns::new(area.width);
    heads(columns, &mut Pen::at(buffer, area, 2));
    names(columns, screen.sort, &mut Pen::at(buffer, area, 3));
    let rows = screen.rows();
    if rows.is_empty() {
        let text = match (&screen.picture, screen.filter.is_empty()) {
            (None, _) => "Waiting for the daemon ...",
            (Some(_), true) => "The daemon serves no guests.",
            (Some(_), false) => "No guest's name has the filter's text in it: esc ends the filter.",
        };
        return Pen::at(buffer, area, HEAD).put(text, FAINT);
    }
    let room = usize::from(area.height - HEAD - FOOT);
    let selected = screen.place(&rows);
    let first = selected / room * room;
    for ((y, number), one) in (HEAD..)
        .zip(first..)
        .zip(rows.iter().skip(first).take(room))
    {
        row(screen, columns, one, &mut Pen::at(buffer, area, y));
        if number == selected {
            let whole = Rect::new(area.left(), area.top() + y, area.width, 1);
            buffer.set_style(whole, Style::new().add_modifier(Modifier::REVERSED));
        }
    }
}

fn title(screen: &Screen, pen: &mut Pen<'_>) {
    let facts = match &screen.picture {
        Some(picture) => {
            let guests = match picture.guests.len() {
                1 => "1 guest".to_owned(),
                many => format!("{many} guests"),
            };
            let (generation, up) = (picture.generation, uptime(picture.uptime_nanos));
            format!("{guests}, generation {generation}, up {up} ")
        }
        None => String::new(),
    };
    let width = usize::from(pen.end);
    let socket = width.saturating_sub(facts.chars().count() + 1);
    let name: String = format!(" netqosctl top {}", screen.socket)
        .chars()
        .take(socket)
        .collect();
    let room = width.saturating_sub(name.chars().count());
    pen.put(&format!("{name}{facts:>room$}"), TITLE);
}

/// For how long: `45s`, `3m12s`, `5h07m`, `12d03h`.
fn uptime(nanos: u64) -> String {
    let seconds = nanos / 1_000_000_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

fn status(screen: &Screen, pen: &mut Pen<'_>) {
    if let Some(why) = &screen.complaint {
        let old = match screen.picture {
            Some(_) => "OLD PICTURE, trying again",
            None => "Trying again",
        };
        let why = why
            .strip_prefix(&format!("{}: ", screen.socket))
            .unwrap_or(why);
        pen.put(&format!(" {old}: {why}"), BAD);
        return;
    }
    let Some(picture) = &screen.picture else {
        return;
    };
    let rate = |rate: Option<u64>| match rate {
        Some(rate) => format!("{}bit/s", count(rate)),
        None => "-".to_owned(),
    };
    let [from, to] = picture.total.map(rate);
    pen.put(
        &format!(" all: from guests {from}, to guests {to}"),
        Style::new(),
    );
    if screen.paused {
        pen.put("  HELD (p goes on)", BAD);
    }
    if !screen.filter.is_empty() && !screen.typing {
        pen.put(&format!("  filter: {}", screen.filter), STRONG);
    }
    if let Some(first) = picture.gone.first() {
        let more = match picture.gone.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        pen.put(&format!("  NO UPLINK {first}{more}"), BAD);
    }
}

fn foot(screen: &Screen, pen: &mut Pen<'_>) {
    if screen.typing {
        pen.put(&format!("/{}_", screen.filter), STRONG);
        pen.put("   enter keeps it, esc ends it", FAINT);
        return;
    }
    pen.put(
        " q quit  ? help  / filter  p hold  enter classes  order:",
        FAINT,
    );
    for (key, name, sort) in Sort::ALL {
        let style = if sort == screen.sort { STRONG } else { FAINT };
        let text = match sort == screen.sort {
            true => format!(" {key}={name}"),
            false => format!(" {key}"),
        };
        pen.put(&text, style);
    }
}

fn heads(columns: Columns, pen: &mut Pen<'_>) {
    for (title, place) in [("from guest", 0), ("to guest", 1)] {
        pen.to(columns.name + place * columns.one_way());
        let width = columns.one_way() - 1;
        pen.put(&format!(" {:-^width$}", format!(" {title} ")), FAINT);
    }
}

fn names(columns: Columns, sort: Sort, pen: &mut Pen<'_>) {
    let style = |sorts: &[Sort]| {
        if sorts.contains(&sort) {
            STRONG.add_modifier(Modifier::UNDERLINED)
        } else {
            STRONG
        }
    };
    pen.put("  guest", style(&[Sort::Name]));
    for (place, rate) in [Sort::FromGuest, Sort::ToGuest].into_iter().enumerate() {
        pen.to(columns.name + place * columns.one_way());
        pen.cell("rate", 6, style(&[rate]));
        if columns.limit {
            pen.cell("limit", 6, STRONG);
        }
        if columns.bar > 0 {
            let width = columns.bar;
            pen.put(&format!(" {:width$}", "of limit"), STRONG);
        }
        if columns.share {
            pen.cell("shr", 4, STRONG);
        }
        pen.cell("p99", 5, style(&[Sort::Delay]));
        pen.cell("drops", 5, style(&[Sort::Drops]));
    }
}

fn row(screen: &Screen, columns: Columns, row: &Row, pen: &mut Pen<'_>) {
    let mark = match (&row.key.class, row.paused, row.connected) {
        (Some(_), ..) => ' ',
        (None, true, _) => '=',
        (None, _, false) => '~',
        (None, ..) if screen.unfolded().contains(&row.key.guest) => '-',
        (None, ..) => '+',
    };
    let indent = 2 * row.depth.min(4);
    let style = match (&row.key.class, row.connected && !row.paused) {
        (_, false) => FAINT,
        (Some(_), true) => Style::new(),
        (None, true) => STRONG,
    };
    let name = row.key.class.as_ref().unwrap_or(&row.key.guest);
    let name = cut(name, columns.name.saturating_sub(indent + 2));
    pen.put(&format!("{mark} {:indent$}{name}", ""), style);
    for (place, direction) in Direction::BOTH.into_iter().enumerate() {
        pen.to(columns.name + place * columns.one_way());
        if let Some(one) = row.way(direction) {
            way(columns, one, pen);
        }
    }
}

/// A name in so many columns, with an ellipsis if it is longer; letters may be two columns wide.
fn cut(name: &str, room: usize) -> String {
    let name = printable(name);
    let width = |text: &str| Span::raw(text).width();
    if width(&name) <= room {
        return name.into_owned();
    }
    let mut cut = String::new();
    for letter in name.chars() {
        let with = format!("{cut}{letter}");
        if width(&with) >= room {
            break;
        }
        cut = with;
    }
    cut + "\u{2026}"
}

fn way(columns: Columns, way: &Way, pen: &mut Pen<'_>) {
    let or_dash = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), count);
    pen.cell(&or_dash(way.rate), 6, Style::new());
    if columns.limit {
        pen.cell(&or_dash(way.limit), 6, FAINT);
    }
    if columns.bar > 0 {
        bar(columns.bar, way, pen);
    }
    if columns.share {
        let share = match way.share {
            None => "-".to_owned(),
            Some(0) => "0%".to_owned(),
            Some(share @ 1..100) => format!("{}.{}%", share / 10, share % 10),
            Some(share) => format!("{}%", share / 10),
        };
        pen.cell(&share, 4, Style::new());
    }
    let delay = match (way.waits.total(), way.waits.percentile(99)) {
        (0, _) => "-".to_owned(),
        (_, Some(bound)) => time(bound),
        (_, None) => ">1s".to_owned(),
    };
    pen.cell(&delay, 5, Style::new());
    let style = if way.drops.unwrap_or(0) > 0 {
        BAD
    } else {
        Style::new()
    };
    pen.cell(&or_dash(way.drops), 5, style);
}

/// The rate as a part of the limit, in halves of a cell.
fn bar(width: usize, way: &Way, pen: &mut Pen<'_>) {
    let (Some(limit), Some(rate)) = (way.limit.filter(|limit| *limit > 0), way.rate) else {
        let text = if way.limit.is_none() { "no limit" } else { "" };
        pen.put(&format!(" {text:width$}"), FAINT);
        return;
    };
    let share = |of: usize| u128::from(rate) * (of as u128) / u128::from(limit);
    let halves = usize::try_from(share(2 * width))
        .unwrap_or(usize::MAX)
        .min(2 * width);
    let full = "\u{2588}".repeat(halves / 2);
    let half = if halves % 2 == 1 { "\u{258c}" } else { "" };
    let bar = format!("{full}{half}");
    let colour = match share(100) {
        0..70 => Color::Green,
        70..95 => Color::Yellow,
        _ => Color::Red,
    };
    let rest = width - halves.div_ceil(2);
    pen.put(" ", Style::new());
    pen.put(&bar, Style::new().fg(colour));
    pen.put(&"\u{b7}".repeat(rest), FAINT);
}
