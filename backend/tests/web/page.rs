//! The page in a real browser.

use std::sync::atomic::Ordering;

use super::browser::Page;
use super::stub::{GONE, Stub};

/// Waits until rates are known, which takes two answers.
const RATES: &str = "document.querySelector('#rows .rate')?.textContent.includes('bit/s')";

fn open(stub: &Stub, width: u32, height: u32, dark: bool) -> Page {
    stub.go_on();
    let page = Page::open(stub, width, height, dark);
    page.wait_for(RATES);
    page
}

#[test]
fn numbers_have_their_units() {
    let stub = Stub::start(1);
    let page = Page::open(&stub, 1280, 800, false);
    for (expression, text) in [
        ("formatRate(0)", "0 bit/s"),
        ("formatRate(999.4)", "999 bit/s"),
        ("formatRate(1234567)", "1.23 Mbit/s"),
        ("formatRate(999999)", "1.00 Mbit/s"),
        ("formatRate(12.3e9)", "12.3 Gbit/s"),
        ("formatRate(NaN)", "–"),
        ("formatLimit(100e6)", "100 Mbit/s"),
        ("formatLimit(2.5e9)", "2.5 Gbit/s"),
        ("formatLimit(undefined)", "–"),
        ("formatDelay(500000)", "≤ 500 µs"),
        ("formatDelay(2e6)", "≤ 2 ms"),
        ("formatDelay(Infinity)", "> 1 s"),
        ("formatDelay(NaN)", "–"),
        ("formatCount(0)", "0"),
        ("formatCount(0.25)", "0.25/s"),
        ("formatCount(1234)", "1.23 k/s"),
        ("formatShare(0.004)", "<1%"),
        ("formatShare(0.42)", "42%"),
        ("formatSpan(3725)", "1 h 2 min"),
        ("formatSpan(86400)", "1 d"),
    ] {
        let shown = page.value(expression);
        let shown = shown.as_str().unwrap().replace('\u{a0}', " ");
        assert_eq!(shown, text, "{expression}");
    }
}

#[test]
fn a_percentile_is_that_of_the_histograms() {
    use netqos::control::Histogram;
    let stub = Stub::start(1);
    let page = Page::open(&stub, 1280, 800, false);
    let mut histogram = Histogram::default();
    for (waits, nanos) in [(985, 20_000), (10, 3_000_000), (5, 2_000_000_000)] {
        (0..waits).for_each(|_| histogram.add(nanos));
        let counts = serde_json::to_string(&histogram.counts).unwrap();
        let shown = page.value(&format!("percentile99({counts})"));
        assert_eq!(shown.as_u64(), histogram.percentile(99), "{counts}");
    }
}

#[test]
fn guests_are_shown_with_what_they_do() {
    let stub = Stub::start(14);
    let page = open(&stub, 1280, 800, false);
    let text = page.text();
    for part in [
        "14 guests, 12 connected",
        // vm1 sends 250 kB a second and receives twice as much.
        "2.00 Mbit/s",
        "4.00 Mbit/s",
        "100 Mbit/s",
        "≤ 2 ms",
        "not connected",
        "paused",
        "broken ring",
        "wan: ↑",
        "vm1 · 02:00:00:00:00:01 · uplink wan",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    page.is_in_order("wide-light.png");
    assert_eq!(
        page.value("getComputedStyle(document.body).backgroundColor"),
        "rgb(255, 255, 255)"
    );
}

#[test]
fn ten_minutes_are_drawn() {
    let stub = Stub::start(14);
    let page = open(&stub, 1280, 800, false);
    let fill = "(() => { for (const [i, guest] of [...view.model.guests.values()].entries()) {
        for (const side of SIDES) {
          const flow = guest.flows[side];
          const history = { rate: new Series(), delay: new Series(), drops: new Series() };
          for (let age = 599; age >= 0; age -= 1) {
            if (age > 200 && age < 260) continue;
            const wave = 1 + Math.sin((age + 40 * i) / (side === 'from' ? 30 : 50));
            history.rate.put(second() - age, 1e7 * wave * (i + 1));
            history.delay.put(second() - age, wave > 1.5 ? 5e6 : 1e5);
            history.drops.put(second() - age, wave > 1.9 ? 7 * wave : 0);
          }
          flow.history = history;
        }
      }
      draw(); })()";
    page.value(fill);
    page.is_in_order("ten-minutes.png");
    let label = page.value("rates.getAttribute('aria-label')");
    let label = label.as_str().unwrap().replace('\u{a0}', " ");
    let said = "last ten minutes, at most: from the guest 20.0 Mbit/s, to the guest 20.0 Mbit/s";
    assert_eq!(label, said);
    // As dark as ink somewhere, and not everywhere.
    let inked = "(() => { const { data } = rates.getContext('2d').getImageData(0, 0, rates.width, rates.height); \
                 let n = 0; for (let i = 3; i < data.length; i += 4) n += data[i] > 200; return n / data.length * 4; })()";
    let inked = page.value(inked).as_f64().unwrap();
    assert!((0.01..0.3).contains(&inked), "{inked}");
}

#[test]
fn a_dark_window_has_a_dark_page() {
    let stub = Stub::start(14);
    let page = open(&stub, 1024, 700, true);
    page.press("ArrowDown");
    page.value("document.querySelector('#rows .row').focus()");
    page.press("ArrowRight");
    page.wait_for("document.querySelector('#rows .class .rate')?.textContent.includes('bit/s')");
    page.is_in_order("medium-dark.png");
    assert_eq!(
        page.value("getComputedStyle(document.body).backgroundColor"),
        "rgb(18, 22, 27)"
    );
}

#[test]
fn a_phone_shows_it_in_its_width() {
    let stub = Stub::start(14);
    let page = open(&stub, 360, 740, false);
    page.is_in_order("phone.png");
    page.value(
        "document.querySelectorAll('.text').forEach((e) => { e.textContent = 'x'.repeat(90); })",
    );
    page.is_in_order("phone-names.png");
    page.value("document.getElementById('graphs').click()");
    page.is_in_order("phone-graphs.png");
}

#[test]
fn the_keyboard_is_enough() {
    let stub = Stub::start(30);
    let page = open(&stub, 1280, 800, false);
    let focus = "document.activeElement.dataset.key ?? document.activeElement.id";
    let mut order = Vec::new();
    for _ in 0..5 {
        page.press("Tab");
        order.push(page.value(focus).as_str().unwrap().to_owned());
    }
    assert_eq!(order, ["filter", "show", "sort", "graphs", "vm1"]);
    page.press("ArrowDown");
    assert_eq!(page.value(focus), "vm2");
    page.press("ArrowRight");
    let row = "document.activeElement";
    assert_eq!(
        page.value(&format!("{row}.getAttribute('aria-expanded')")),
        "true"
    );
    page.wait_for("document.querySelectorAll('#rows .class .rate').length >= 4");
    page.press("ArrowRight");
    assert_eq!(page.value(focus), "vm2//voice");
    for _ in 0..2 {
        page.press("ArrowDown");
    }
    assert_eq!(page.value(focus), "vm2/bulk/backup");
    assert_eq!(
        page.value(&format!("{row}.getAttribute('aria-level')")),
        "3"
    );
    page.wait_for("document.activeElement.querySelector('.drops.some')");
    page.is_in_order("unfolded.png");
    page.press("ArrowLeft");
    assert_eq!(page.value(focus), "vm2");
    page.press("ArrowLeft");
    assert_eq!(
        page.value("document.querySelectorAll('#rows .class').length"),
        0
    );
    page.press("End");
    assert_eq!(page.value(focus), "vm30");
    page.wait_for("document.activeElement.getBoundingClientRect().bottom <= grid.getBoundingClientRect().bottom + 1");
    page.press("Home");
    assert_eq!(page.value(focus), "vm1");
    // What is drawn anew each second leaves the focus where it is.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(page.value(focus), "vm1");
    page.press("/");
    page.type_in("VM1");
    assert_eq!(page.value("count.textContent"), "11 of 30 guests");
    page.type_in("x");
    assert!(page.text().contains("No guest is like that."));
    page.is_in_order("filtered.png");
    page.press("Tab");
    page.press("Tab");
    page.press("Tab");
    page.press("Tab");
    page.press("Enter");
    assert_eq!(page.value(focus), "filter");
    assert_eq!(page.value("view.rows.length"), 30);
}

#[test]
fn guests_can_be_sorted_and_chosen() {
    let stub = Stub::start(50);
    let page = open(&stub, 1280, 800, false);
    let choose = |id: &str, value: &str| {
        page.value(&format!(
            "(() => {{ {id}.value = '{value}'; {id}.dispatchEvent(new Event('input')); }})()"
        ));
        page.value("view.rows.map((row) => row.entry.name)")
    };
    assert_eq!(choose("sort", "name")[9], "vm10", "as numbers, not as text");
    // The fastest are those whose number is one less than a multiple of forty.
    assert_eq!(choose("sort", "from")[0], "vm39");
    let lossy = choose("show", "lossy");
    assert!(lossy.as_array().unwrap().iter().all(|name| {
        let number: u64 = name.as_str().unwrap()[2..].parse().unwrap();
        number % 5 == 4
    }));
    assert_eq!(choose("show", "connected").as_array().unwrap().len(), 43);
}

#[test]
fn a_daemon_without_guests_says_how_to_have_some() {
    let stub = Stub::start(0);
    let page = Page::open(&stub, 1280, 800, false);
    page.wait_for("document.body.innerText.includes('No guests are configured.')");
    page.is_in_order("empty.png");
    stub.guests.store(2, Ordering::Relaxed);
    stub.go_on();
    page.wait_for(RATES);
    assert!(!page.text().contains("No guests"));
}

#[test]
fn a_daemon_that_has_gone_leaves_its_last_picture() {
    let mut stub = Stub::start(5);
    let page = open(&stub, 1280, 800, false);
    let rate = page.value("document.querySelector('#rows .rate').textContent");
    stub.guests.store(GONE, Ordering::Relaxed);
    page.wait_for("document.body.innerText.includes('It says: ')");
    stub.end();
    page.wait_for("document.body.innerText.includes('It has ended')");
    let alarm = page.value("alarm.textContent");
    let alarm = alarm.as_str().unwrap();
    let since = alarm
        .strip_prefix("No answer from the daemon since ")
        .unwrap();
    let is_time = |time: &str| {
        time.split(':')
            .all(|part| part.len() == 2 && part.parse::<u8>().is_ok())
    };
    assert!(is_time(&since[..8]), "{alarm}");
    assert_eq!(
        page.value("document.querySelector('#rows .rate').textContent"),
        rate
    );
    assert!(page.text().contains("last answer "));
    page.is_in_order("gone.png");
}

#[test]
fn a_thousand_guests_are_as_easy_as_ten() {
    let stub = Stub::start(1000);
    let page = open(&stub, 1280, 800, true);
    let drawn = page.value("document.querySelectorAll('#rows .row').length");
    assert!(drawn.as_u64().unwrap() < 40, "{drawn}");
    page.value("document.querySelector('#rows .row').focus()");
    page.press("End");
    page.wait_for("document.activeElement.dataset.key === 'vm1000'");
    page.is_in_order("thousand.png");
    let millis = page.value("(() => { const t = performance.now(); for (let i = 0; i < 10; i += 1) draw(); return (performance.now() - t) / 10; })()");
    assert!(millis.as_f64().unwrap() < 250.0, "{millis} ms to draw once");
}

#[test]
fn nothing_but_this_page_may_run_in_it() {
    let stub = Stub::start(1);
    let page = open(&stub, 1280, 800, false);
    let injected = "(() => { const s = document.createElement('script'); s.textContent = 'globalThis.evil = 1'; \
                    document.body.append(s); return globalThis.evil ?? 'blocked'; })()";
    assert_eq!(page.value(injected), "blocked");
    // Names are text, whatever they say.
    assert_eq!(
        page.value("element('p', '', '<b>x</b>').children.length"),
        0
    );
}
