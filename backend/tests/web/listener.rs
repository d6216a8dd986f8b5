//! What HTTP clients are told, and what they cannot do.

use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::stub::{GONE, SOON, Stub, report};

fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap()
}

#[test]
fn metrics_come_in_the_format_that_is_read() {
    let stub = Stub::start(2);
    let (head, body) = stub.get("/metrics");
    assert_eq!(status(&head), "200");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    assert!(
        body.contains("\n# TYPE netqos_guest_frames_total counter\n"),
        "{body}"
    );
    assert!(!body.contains("# EOF"));
    let reply = stub.send(
        "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9555\r\nConnection: close\r\n\
         Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5\r\n\r\n",
    );
    assert!(reply.contains("content-type: application/openmetrics-text; version=1.0.0;"));
    assert!(reply.ends_with("\n# EOF\n"));
    assert!(reply.contains("netqos_class_wire_bytes_total{guest=\"vm2\",uplink=\"wan\""));
}

#[test]
fn the_report_is_that_of_the_control_socket() {
    let stub = Stub::start(3);
    let (head, body) = stub.get("/api/report");
    assert!(head.contains("content-type: application/json"), "{head}");
    let all = report(&body);
    assert_eq!(all.ports.len(), 3);
    let (_, body) = stub.get("/api/report?classes=vm1&classes=vm%33");
    let two = report(&body);
    let names: Vec<_> = two.ports.iter().map(|port| &*port.port).collect();
    assert_eq!(names, ["vm1", "vm3"]);
    assert!(
        two.classes
            .unwrap()
            .iter()
            .all(|class| class.guest != "vm2")
    );
}

#[test]
fn what_is_not_there_is_answered_with_a_sentence() {
    let mut stub = Stub::start(1);
    for (request, code, says) in [
        ("GET /nothing", "404", "/metrics"),
        (
            "GET /api/report?classes=vm9",
            "404",
            "no guest of that name",
        ),
        ("GET /api/report?guests=vm1", "400", "`guests`"),
        ("POST /metrics", "405", "netqosctl"),
        ("OPTIONS /", "405", "only GET and HEAD"),
        ("DELETE /api/report", "405", "nothing can be changed"),
    ] {
        let head = "HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let reply = stub.send(&format!("{request} {head}"));
        assert_eq!(status(&reply), code, "{request}: {reply}");
        assert!(reply.contains(says), "{request}: {reply}");
        assert_eq!(reply.contains("allow: GET, HEAD"), code == "405", "{reply}");
    }
    stub.end();
    assert!(std::net::TcpStream::connect(stub.address).is_err());
}

#[test]
fn a_head_is_answered_without_a_body() {
    let stub = Stub::start(1);
    let head = stub.send("HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&head), "200");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn other_sites_get_nothing_from_loopback() {
    let stub = Stub::start(1);
    for (request, code) in [
        ("GET / HTTP/1.1\r\nHost: evil.example", "421"),
        (
            "GET http://evil.example/ HTTP/1.1\r\nHost: localhost",
            "421",
        ),
        ("GET / HTTP/1.1\r\nHost:", "421"),
        ("GET / HTTP/1.0\r\nX: y", "421"),
        ("GET / HTTP/1.1\r\nHost: localhost:1", "200"),
        ("GET / HTTP/1.1\r\nHost: [::1]:9555", "200"),
    ] {
        let reply = stub.send(&format!("{request}\r\nConnection: close\r\n\r\n"));
        assert_eq!(status(&reply), code, "{request}: {reply}");
    }
    let all = Stub::start_at("0.0.0.0:0", 1);
    let reply = all.send("GET / HTTP/1.1\r\nHost: host.example\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&reply), "200", "what is for the network has names");
}

#[test]
fn every_reply_says_what_browsers_are_to_allow() {
    let stub = Stub::start(1);
    for path in ["/", "/metrics", "/api/report", "/nothing"] {
        let (head, _) = stub.get(path);
        for line in [
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cross-origin-resource-policy: same-origin",
            "content-security-policy: default-src 'none'; ",
        ] {
            assert!(head.contains(line), "{path}: {head}");
        }
        assert!(
            !head.contains("unsafe") && !head.contains("access-control"),
            "{head}"
        );
    }
}

#[test]
fn ten_scrapers_cost_the_daemon_one_question() {
    let stub = Stub::start(0);
    let start = Instant::now();
    let all: Vec<_> = thread::scope(|scope| {
        let scrapers: Vec<_> = (0..10)
            .map(|_| scope.spawn(|| stub.get("/metrics")))
            .collect();
        scrapers
            .into_iter()
            .map(|scraper| scraper.join().unwrap())
            .collect()
    });
    assert!(
        all.iter()
            .all(|(head, body)| status(head) == "200" && *body == all[0].1)
    );
    // One for every quarter of a second that they took to come.
    let most = 1 + start.elapsed().as_millis() / 250;
    let asked = stub.asked.load(Ordering::Relaxed);
    assert!(u128::from(asked) <= most, "{asked} instead of {most}");
    thread::sleep(Duration::from_millis(260));
    stub.seconds.store(11, Ordering::Relaxed);
    assert!(
        stub.get("/metrics")
            .1
            .contains("\nnetqos_uptime_seconds 11")
    );
    assert_eq!(stub.asked.load(Ordering::Relaxed), asked + 1);
}

#[test]
fn many_different_questions_are_put_off() {
    let stub = Stub::start(200);
    let mut stream = stub.connect();
    // All of one connection, one after the other.
    let requests = (1..=100).map(|guest| {
        format!("GET /api/report?classes=vm{guest} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    });
    let last = "HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let all = requests.chain([last.to_owned()]).collect::<String>();
    stream.write_all(all.as_bytes()).unwrap();
    let mut replies = String::new();
    stream.read_to_string(&mut replies).unwrap();
    let put_off = replies.matches("HTTP/1.1 503 ").count();
    let answered = replies.matches("HTTP/1.1 200 ").count() - 1;
    assert_eq!(answered + put_off, 100);
    assert_eq!(
        stub.asked.load(Ordering::Relaxed),
        u64::try_from(answered).unwrap()
    );
    assert!(put_off == 0 || replies.contains("ask again in a second"));
}

#[test]
fn a_long_head_is_refused_and_a_slow_one_is_cut_off() {
    let stub = Stub::start(1);
    let long = "x".repeat(9 << 10);
    let reply = stub.send(&format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n"
    ));
    assert_eq!(status(&reply), "431", "{reply}");
    let mut slow = stub.connect();
    slow.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let start = Instant::now();
    let mut reply = Vec::new();
    // Closed with or without a word.
    let _ = slow.read_to_end(&mut reply);
    assert!(start.elapsed() < SOON, "{reply:?}");
    assert!(start.elapsed() > Duration::from_secs(4));
}

#[test]
fn one_connection_more_waits_until_another_ends() {
    let stub = Stub::start(1);
    let mut held: Vec<_> = (0..16).map(|_| stub.connect()).collect();
    // All of these are served, so none is merely on its way.
    let ask = b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for stream in &mut held {
        stream.write_all(ask).unwrap();
        assert_ne!(stream.read(&mut [0; 2048]).unwrap(), 0);
    }
    let mut late = stub.connect();
    late.write_all(ask).unwrap();
    late.set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    late.read(&mut [0; 2048]).unwrap_err();
    held.pop();
    late.set_read_timeout(Some(SOON)).unwrap();
    assert_ne!(late.read(&mut [0; 2048]).unwrap(), 0);
}

#[test]
fn a_daemon_that_is_gone_is_said_to_be() {
    let stub = Stub::start(1);
    stub.guests.store(GONE, Ordering::Relaxed);
    let (head, body) = stub.get("/metrics");
    assert_eq!(status(&head), "503");
    assert!(head.contains("retry-after: 1"), "{head}");
    assert!(body.contains("the daemon"), "{body}");
}
