//! What is on the screen: each picture is stored beside this file as it should look.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use netqos::control::Client;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::draw::draw;
use super::feed::{Feed, Sample};
use super::sample::{many, port, report, small};
use super::screen::Screen;

fn screen(samples: impl IntoIterator<Item = Sample>) -> Screen {
    let mut screen = Screen::new("/run/netqos/control.sock");
    for sample in samples {
        screen.take(Ok(sample));
    }
    screen
}

fn press(screen: &mut Screen, codes: impl IntoIterator<Item = KeyCode>) {
    for code in codes {
        assert!(
            screen
                .key(KeyEvent::new(code, KeyModifiers::NONE))
                .is_continue()
        );
    }
}

fn keys(text: &str) -> Vec<KeyCode> {
    text.chars().map(KeyCode::Char).collect()
}

fn text(screen: &Screen, (width, height): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| draw(screen, frame.area(), frame.buffer_mut()))
        .unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| -> String {
        let cells = (0..width).map(|x| buffer[(x, y)].symbol());
        cells.collect::<String>().trim_end().to_owned()
    };
    (0..height).map(line).collect::<Vec<_>>().join("\n") + "\n"
}

fn looks(screen: &Screen, size: (u16, u16), picture: &str) {
    let text = text(screen, size);
    assert_eq!(text, picture, "\n{text}");
}

#[test]
fn guests_and_unfolded_classes_fit_a_terminal_of_80_by_24() {
    let mut screen = screen([small(1), small(3)]);
    press(&mut screen, [KeyCode::Enter]);
    assert!(screen.unfolded().contains("vm1"));
    looks(&screen, (80, 24), include_str!("pictures/small-80x24.txt"));
}

#[test]
fn a_wider_terminal_has_limits_too() {
    let mut screen = screen([small(1), small(3)]);
    press(&mut screen, [KeyCode::Enter, KeyCode::Char('n')]);
    looks(
        &screen,
        (120, 40),
        include_str!("pictures/small-120x40.txt"),
    );
}

#[test]
fn a_narrow_terminal_has_less_and_a_tiny_one_says_what_it_needs() {
    let screen = screen([small(1), small(3)]);
    looks(&screen, (60, 10), include_str!("pictures/small-60x10.txt"));
    looks(
        &screen,
        (40, 10),
        &format!(
            "The terminal is too small:\n40x10, 52x8 needed\n{}",
            "\n".repeat(8)
        ),
    );
}

#[test]
fn before_the_second_report_there_are_no_rates() {
    looks(
        &screen([small(1)]),
        (80, 12),
        include_str!("pictures/first-80x12.txt"),
    );
}

#[test]
fn without_guests_or_daemon_it_says_so() {
    let mut empty = Screen::new("/run/netqos/control.sock");
    assert!(text(&empty, (80, 24)).contains("Waiting for the daemon"));
    empty.take(Ok(Sample {
        guests: report(vec![], 5),
        classes: None,
    }));
    looks(&empty, (80, 10), include_str!("pictures/empty-80x10.txt"));
}

#[test]
fn the_last_picture_stays_when_the_daemon_has_gone_and_goes_on_when_it_is_back() {
    let mut screen = screen([small(1), small(3)]);
    screen.take(Err(
        "/run/netqos/control.sock: Connection refused (os error 111)".to_owned(),
    ));
    looks(&screen, (80, 12), include_str!("pictures/gone-80x12.txt"));
    // Another daemon has counted less: that is no rate.
    screen.take(Ok(small(1)));
    looks(&screen, (80, 12), include_str!("pictures/first-80x12.txt"));
    screen.take(Ok(small(3)));
    assert!(text(&screen, (80, 12)).contains("480M"));
}

#[test]
fn a_thousand_guests_are_paged_filtered_and_ordered() {
    let mut screen = screen([many(1000, 1), many(1000, 2)]);
    press(&mut screen, keys("n"));
    press(
        &mut screen,
        [KeyCode::PageDown, KeyCode::PageDown, KeyCode::Down],
    );
    looks(&screen, (80, 24), include_str!("pictures/many-80x24.txt"));
    press(&mut screen, keys("/VM099"));
    let typing = text(&screen, (80, 24));
    assert!(typing.contains("\n/VM099_"), "{typing}");
    press(&mut screen, [KeyCode::Enter, KeyCode::Char('t')]);
    looks(&screen, (80, 24), include_str!("pictures/filter-80x24.txt"));
    press(&mut screen, keys("/nobody"));
    assert!(text(&screen, (80, 24)).contains("No guest's name has the filter's text"));
}

#[test]
fn long_names_extreme_numbers_and_foreign_letters_stay_in_their_columns() {
    let ports = |second| {
        vec![
            port(&"n".repeat(100), [u64::MAX / 16, 3], Some(1), second),
            port("\u{1b}[31mred", [1, 1], Some(u64::MAX), second),
            port(
                "\u{4e2d}\u{6587}\u{540d}\u{5b57}\u{5f88}\u{957f}\u{5f88}\u{957f}",
                [1, 1],
                None,
                second,
            ),
        ]
    };
    let sample = |second| Sample {
        guests: report(ports(second), second),
        classes: None,
    };
    let screen = screen([sample(1), sample(2)]);
    looks(&screen, (80, 12), include_str!("pictures/long-80x12.txt"));
}

#[test]
fn a_held_picture_does_not_move_until_it_goes_on() {
    let mut screen = screen([small(1), small(3)]);
    press(&mut screen, keys("p"));
    let held = text(&screen, (80, 24));
    assert!(held.contains("HELD"), "{held}");
    screen.take(Ok(many(3, 9)));
    assert_eq!(text(&screen, (80, 24)), held);
    press(&mut screen, keys("p"));
    screen.take(Ok(many(3, 10)));
    assert!(text(&screen, (80, 24)).contains("vm0002"));
}

#[test]
fn help_fits_the_smallest_usual_terminal_and_any_key_ends_it() {
    let mut screen = screen([small(1), small(3)]);
    let before = text(&screen, (80, 24));
    press(&mut screen, keys("?"));
    looks(&screen, (80, 24), include_str!("pictures/help-80x24.txt"));
    press(&mut screen, keys("x"));
    assert_eq!(text(&screen, (80, 24)), before);
}

#[test]
fn no_size_of_the_terminal_is_too_much_for_it() {
    let mut screen = screen([small(1), small(3)]);
    press(&mut screen, [KeyCode::Enter]);
    for help in [false, true] {
        for size in (1..60).flat_map(|n| [(n, 30), (n * 7, n), (200, n)]) {
            let text = text(&screen, size);
            assert!(
                text.lines()
                    .all(|line| line.chars().count() <= usize::from(size.0))
            );
        }
        if !help {
            press(&mut screen, keys("?"));
        }
    }
}

#[test]
fn q_and_control_c_end_it_also_while_a_filter_is_typed() {
    let mut screen = screen([small(1)]);
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    press(&mut screen, keys("/q"));
    assert_eq!(screen.filter, "q");
    assert!(screen.key(control_c).is_break());
    press(&mut screen, [KeyCode::Esc]);
    assert!(screen.filter.is_empty());
    let q = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
    assert!(screen.key(q).is_break());
}

/// Optimised it has to be done in 50 ms; what tests are built as takes some times longer.
const REFRESH: Duration = Duration::from_millis(if cfg!(debug_assertions) { 500 } else { 50 });

#[test]
fn a_refresh_of_a_thousand_guests_is_quick() {
    let line = |second| {
        let mut value = serde_json::to_value(many(1000, second).guests).unwrap();
        value["ok"] = true.into();
        let mut line = serde_json::to_vec(&value).unwrap();
        line.push(b'\n');
        line
    };
    let mut screen = screen([]);
    let mut quickest = Duration::MAX;
    for second in 1..6 {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let line = line(second);
        let sender = thread::spawn(move || {
            let mut asked = [0; 16];
            theirs.read_exact(&mut asked).unwrap();
            theirs.write_all(&line).unwrap();
        });
        let mut client = Client::over(ours, Path::new("control.sock"));
        let start = Instant::now();
        let guests = client.report(&[], false).unwrap();
        screen.take(Ok(Sample {
            guests,
            classes: None,
        }));
        assert!(text(&screen, (120, 40)).contains("1000 guests"));
        quickest = quickest.min(start.elapsed());
        sender.join().unwrap();
    }
    println!("refreshed in {quickest:?}");
    assert!(quickest < REFRESH, "{quickest:?}");
}

#[test]
fn the_feed_asks_for_the_classes_of_unfolded_guests_alone_and_tells_failures() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let feed = Feed::start(&path, Duration::from_millis(20)).unwrap();
    // What was asked over one connection, which the feed ends.
    let answer = || {
        let (mut stream, _) = listener.accept().unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        let mut requests = Vec::new();
        for line in reader.lines() {
            requests.push(line.unwrap());
            let sample = small(1);
            let report = match requests.len() {
                1 => sample.guests,
                _ => sample.classes.unwrap(),
            };
            let mut line = serde_json::to_vec(&report).unwrap();
            line.push(b'\n');
            stream.write_all(&line).unwrap();
        }
        requests
    };
    let next = || loop {
        if let Some(said) = feed.next() {
            return said;
        }
        thread::sleep(Duration::from_millis(1));
    };
    let asked = answer();
    assert!(
        asked[0].contains(r#""do":"report","classes":false"#),
        "{asked:?}"
    );
    assert_eq!(asked.len(), 1);
    assert!(next().unwrap().classes.is_none());

    feed.want(&["nobody", "vm1"].map(str::to_owned).into());
    let mut asked = answer();
    if asked.len() == 1 {
        // It was under way already.
        assert!(next().unwrap().classes.is_none());
        asked = answer();
    }
    assert!(
        asked[1].contains(r#""guests":["vm1"],"classes":true"#),
        "{asked:?}"
    );
    assert!(next().unwrap().classes.is_some());

    drop(listener);
    assert!(next().unwrap_err().contains("control.sock"));
}
