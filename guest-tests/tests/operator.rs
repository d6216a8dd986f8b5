//! An operator at work: three guests share an uplink, one of them takes more than is wanted, is seen, and
//! is held to less while it runs.
//!
//! What the operator types and sees is printed, as a transcript of the run.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use guest_tests::report::Report;
use guest_tests::{Bulk, Kernel, QemuVersion, Result, Screen, Several, WAN, tool_program};

/// What the uplink carries, and what the greedy one may have in the end, in Mbit/s.
const UPLINK: f64 = 150.0;
const LIMIT: f64 = 30.0;
const GUESTS: [&str; 3] = ["web", "db", "greedy"];
/// What the modest ones send.
const MODEST: &str = "10M";
/// In which time a changed limit has to be seen.
const SEEN_WITHIN: Duration = Duration::from_secs(1);
/// Windows in which rates are told.
const WINDOW: Duration = Duration::from_millis(200);

fn config() -> String {
    let mut text = format!(
        "[uplink.{WAN}]\nkind = \"tap:{WAN}\"\nfrom_guest = {{ ceil = \"{UPLINK}mbit\" }}\n"
    );
    for (index, name) in GUESTS.into_iter().enumerate() {
        text += &format!("[guest.{name}]\nmac = \"{}\"\n", Several::mac(index));
    }
    text
}

/// Mbit/s on the wire that a guest sent between two reports.
fn rate(guest: &str, before: &Report, after: &Report) -> Result<f64> {
    let sent = |report: &Report| Ok(report.port(guest)?.from_guest.wire_bytes);
    let bytes = u32::try_from(sent(after)? - sent(before)?).expect("less than 4 GiB");
    Ok(f64::from(bytes) * 8.0 / 1e6 / after.seconds_since(before))
}

/// Runs the tool as an operator would, and prints both.
fn types(host: &Several, words: &str) -> String {
    let socket = host.daemon.folder().join("control.sock");
    let output = Command::new(tool_program().expect("netqosctl"))
        .env("NETQOS_CONTROL", socket)
        .args(words.split(' '))
        .output()
        .expect("netqosctl runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    println!("$ netqosctl {words}\n{said}{errors}");
    assert!(output.status.success(), "{errors}");
    said
}

/// Whether a program that was started with these words runs.
fn runs(words: &str) -> bool {
    // Behind `env -C FOLDER`.
    let words: Vec<&str> = words.split(' ').skip(3).collect();
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let lines = processes.filter_map(|it| std::fs::read(it.path().join("cmdline")).ok());
    let mut lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
    lines.any(|line| line.split_terminator('\0').eq(words.iter().copied()))
}

#[test]
fn one_who_takes_too_much_is_seen_and_held_to_less_within_a_second() -> Result<()> {
    let host = Several::start(&config(), &GUESTS, QemuVersion::V10_0, Kernel::V6_12)?;
    let modest = [0, 1].map(|guest| Bulk::udp(MODEST, host.guest(guest), &host.ns, Several::HOST));
    let _modest = modest.into_iter().collect::<Result<Vec<_>>>()?;
    let _greedy = Bulk::tcp(host.guest(2), &host.ns, Several::HOST)?;
    thread::sleep(Duration::from_secs(2));

    let tool = tool_program()?;
    let folder = host.daemon.folder().display();
    let top = format!(
        "env -C {folder} {} --control control.sock top",
        tool.display()
    );
    let screen = Screen::start(&top, 24, 80)?;
    thread::sleep(Duration::from_millis(3500));
    let seen = screen.wait_for(|text| text.contains("greedy"), Duration::from_secs(10));
    println!("$ netqosctl top\n{seen}\n");
    assert!(runs(&top));
    for guest in GUESTS {
        assert!(seen.contains(guest), "{guest} is not on the screen");
    }

    let before = host.report()?;
    thread::sleep(Duration::from_secs(1));
    let unheld = rate("greedy", &before, &host.report()?)?;
    println!("greedy sends {unheld:.1} Mbit/s");
    assert!(unheld > 2.0 * LIMIT, "it is not greedy on this machine");

    let asked = Instant::now();
    let diff = types(&host, "set greedy from-guest ceil=30mbit");
    assert!(diff.contains("ceil") && diff.contains("30"), "{diff}");
    let mut last = host.report()?;
    let took = loop {
        thread::sleep(WINDOW);
        let next = host.report()?;
        let now = rate("greedy", &last, &next)?;
        if now <= 1.05 * LIMIT {
            break asked.elapsed();
        }
        assert!(
            asked.elapsed() < Duration::from_secs(10),
            "still {now:.1} Mbit/s"
        );
        last = next;
    };
    println!("seen after {:.0} ms", 1e3 * took.as_secs_f64());
    assert!(took <= SEEN_WITHIN, "{took:?}");

    thread::sleep(Duration::from_millis(2500));
    println!("$ netqosctl top\n{}\n", screen.text());
    types(&host, "show greedy");
    let before = host.report()?;
    thread::sleep(Duration::from_secs(2));
    let held = rate("greedy", &before, &host.report()?)?;
    assert!(held <= 1.005 * LIMIT, "{held} Mbit/s");

    // Whose terminal goes, goes.
    drop(screen);
    let start = Instant::now();
    while runs(&top) {
        assert!(
            start.elapsed() < SEEN_WITHIN,
            "it goes on without a terminal"
        );
        thread::sleep(WINDOW / 10);
    }
    Ok(())
}
