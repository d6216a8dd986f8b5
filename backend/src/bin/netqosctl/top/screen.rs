//! What the operator chose to see, and the last picture of it.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

use netqos::control::Direction;
use netqos::control::Direction::{FromGuest, ToGuest};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::feed::{Said, Sample};
use super::picture::{Key, Picture, Row, Way};

/// Rows that a page key moves by.
const PAGE: usize = 10;

/// What guests are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Name,
    FromGuest,
    ToGuest,
    Delay,
    Drops,
}

impl Sort {
    /// The orders, each with its key and name.
    pub(super) const ALL: [(char, &'static str, Self); 5] = [
        ('n', "name", Self::Name),
        ('f', "from", Self::FromGuest),
        ('t', "to", Self::ToGuest),
        ('d', "delay", Self::Delay),
        ('x', "drops", Self::Drops),
    ];

    fn worth(self, row: &Row) -> u64 {
        let ways = || {
            Direction::BOTH
                .into_iter()
                .filter_map(|direction| row.way(direction))
        };
        let rate = |direction| row.way(direction).and_then(|way| way.rate).unwrap_or(0);
        match self {
            Self::Name => 0,
            Self::FromGuest => rate(FromGuest),
            Self::ToGuest => rate(ToGuest),
            Self::Delay => ways().map(p99).max().unwrap_or(0),
            Self::Drops => ways().filter_map(|way| way.drops).sum(),
        }
    }
}

/// The bound that 99 of 100 waits were below; beyond the last one more than any.
fn p99(way: &Way) -> u64 {
    match way.waits.total() {
        0 => 0,
        _ => way.waits.percentile(99).unwrap_or(u64::MAX),
    }
}

/// The state of the screen; drawing it is a function of this alone.
#[derive(Debug)]
pub(super) struct Screen {
    pub(super) socket: String,
    pub(super) picture: Option<Picture>,
    /// Why the picture is not of now.
    pub(super) complaint: Option<String>,
    pub(super) paused: bool,
    pub(super) help: bool,
    pub(super) sort: Sort,
    pub(super) filter: String,
    /// Whether keys go into the filter.
    pub(super) typing: bool,
    unfolded: BTreeSet<String>,
    selected: Option<Key>,
    before: Option<Sample>,
}

impl Screen {
    pub(super) fn new(socket: &str) -> Self {
        Self {
            socket: socket.to_owned(),
            picture: None,
            complaint: None,
            paused: false,
            help: false,
            sort: Sort::FromGuest,
            filter: String::new(),
            typing: false,
            unfolded: BTreeSet::new(),
            selected: None,
            before: None,
        }
    }

    /// Whose classes are to be shown.
    pub(super) const fn unfolded(&self) -> &BTreeSet<String> {
        &self.unfolded
    }

    /// Takes in what the daemon said; the last picture stays if it says nothing.
    pub(super) fn take(&mut self, said: Said) {
        match said {
            Err(why) => self.complaint = Some(why),
            Ok(_) if self.paused => self.complaint = None,
            Ok(sample) => {
                self.complaint = None;
                self.picture = Some(Picture::new(&sample, self.before.as_ref()));
                self.before = Some(sample);
            }
        }
    }

    /// The rows to be shown, in their order.
    pub(super) fn rows(&self) -> Vec<&Row> {
        let filter = self.filter.to_lowercase();
        let guests = self.picture.iter().flat_map(|picture| &picture.guests);
        let mut guests: Vec<_> = guests
            .filter(|(row, _)| row.key.guest.to_lowercase().contains(&filter))
            .collect();
        // The names' order is the report's.
        guests.sort_by_cached_key(|(row, _)| Reverse(self.sort.worth(row)));
        let mut rows = Vec::with_capacity(guests.len());
        for (row, classes) in guests {
            rows.push(row);
            if self.unfolded.contains(&row.key.guest) {
                rows.extend(classes);
            }
        }
        rows
    }

    /// The place of the selected row: the first one's if there is no such row any more.
    pub(super) fn place(&self, rows: &[&Row]) -> usize {
        let selected = |key: &Key| rows.iter().position(|row| row.key == *key);
        self.selected.as_ref().and_then(selected).unwrap_or(0)
    }

    /// Does what a key says; breaks if it is to end.
    pub(super) fn key(&mut self, key: KeyEvent) -> ControlFlow<()> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match (key.code, control) {
            (KeyCode::Char('c'), true) => return ControlFlow::Break(()),
            (code, false) if self.typing => self.type_filter(code),
            (_, false) if self.help => self.help = false,
            (KeyCode::Char('q'), false) => return ControlFlow::Break(()),
            (code, false) => self.command(code),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(letter) => self.filter.push(letter),
            _ => {}
        }
    }

    fn command(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Enter => self.fold(),
            KeyCode::Up | KeyCode::Char('k') => self.step(|at| at.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.step(|at| at.saturating_add(1)),
            KeyCode::PageUp => self.step(|at| at.saturating_sub(PAGE)),
            KeyCode::PageDown => self.step(|at| at.saturating_add(PAGE)),
            KeyCode::Home => self.step(|_| 0),
            KeyCode::End => self.step(|_| usize::MAX),
            KeyCode::Char(letter) => {
                let sort = Sort::ALL.iter().find(|(key, ..)| *key == letter);
                self.sort = sort.map_or(self.sort, |(.., sort)| *sort);
            }
            _ => {}
        }
    }

    fn step(&mut self, to: impl Fn(usize) -> usize) {
        let rows = self.rows();
        let place = to(self.place(&rows)).min(rows.len().saturating_sub(1));
        self.selected = rows.get(place).map(|row| row.key.clone());
    }

    /// Unfolds the guest of the selected row, or folds it.
    fn fold(&mut self) {
        let rows = self.rows();
        let Some(row) = rows.get(self.place(&rows)) else {
            return;
        };
        let guest = row.key.guest.clone();
        self.selected = Some(Key {
            guest: guest.clone(),
            class: None,
        });
        if !self.unfolded.remove(&guest) {
            self.unfolded.insert(guest);
        }
    }
}
