//! A daemon that only answers on its control socket, and the listener before it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use netqos::control::{Refusal, Report, Request, parse};
use netqos::web::{Listener, Server};
use serde::Serialize;

use super::sample;

/// How long anything may take that is to happen at once.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// As many guests as have the daemon break off at the next question.
pub(crate) const GONE: u64 = u64::MAX;

/// A listener whose daemon has some guests.
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    /// Guests that the daemon has.
    pub(crate) guests: Arc<AtomicU64>,
    /// How many seconds it has been there.
    pub(crate) seconds: Arc<AtomicU64>,
    /// Questions that came to it.
    pub(crate) asked: Arc<AtomicU64>,
    server: Option<Server>,
}

impl Stub {
    /// One that has been there for ten seconds.
    pub(crate) fn start(guests: u64) -> Self {
        Self::start_at("127.0.0.1:0", guests)
    }

    pub(crate) fn start_at(address: &str, guests: u64) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let listener = Listener::bind(address.parse().unwrap()).unwrap();
        let stub = Self {
            address: listener.address(),
            guests: Arc::new(guests.into()),
            seconds: Arc::new(10.into()),
            asked: Arc::default(),
            server: Some(listener.serve(theirs).unwrap()),
        };
        let [guests, seconds, asked] = [&stub.guests, &stub.seconds, &stub.asked].map(Arc::clone);
        thread::spawn(move || {
            let mut lines = BufReader::new(ours.try_clone().unwrap()).lines();
            while let Some(Ok(line)) = lines.next() {
                asked.fetch_add(1, Ordering::Relaxed);
                let [guests, seconds] = [&guests, &seconds].map(|n| n.load(Ordering::Relaxed));
                if guests == GONE {
                    return;
                }
                let answer = answer(&parse(line.as_bytes()).unwrap(), guests, seconds);
                (&ours).write_all(answer.as_bytes()).unwrap();
            }
        });
        stub
    }

    /// Has its time go on from now on.
    pub(crate) fn go_on(&self) {
        let seconds = Arc::downgrade(&self.seconds);
        thread::spawn(move || {
            while let Some(seconds) = seconds.upgrade() {
                seconds.fetch_add(1, Ordering::Relaxed);
                drop(seconds);
                thread::sleep(Duration::from_secs(1));
            }
        });
    }

    /// Ends the listener, as the daemon does when it ends.
    pub(crate) fn end(&mut self) {
        self.server = None;
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }

    /// Sends a request as it is; all that comes back.
    pub(crate) fn send(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    /// Head and body of what there is at this path.
    pub(crate) fn get(&self, path: &str) -> (String, String) {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let reply = self.send(&head);
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }
}

fn answer(request: &Request, guests: u64, seconds: u64) -> String {
    let report = match request {
        Request::Report {
            guests: named,
            classes,
        } if named.is_empty() => {
            let mut report = sample::report(guests, seconds);
            let all = (1..=guests).filter(|_| *classes);
            let classes = all.flat_map(|guest| sample::with_classes(guest, seconds).classes);
            report.classes = Some(classes.flatten().collect());
            report
        }
        Request::Report { guests: named, .. } => {
            let mut all = sample::report(guests, seconds);
            all.ports.retain(|port| named.contains(&port.port));
            if all.ports.len() < named.len() {
                return line(&refusal("no guest of that name is served"));
            }
            let number = |name: &String| name.trim_start_matches("vm").parse().unwrap();
            let classes = |name| sample::with_classes(number(name), seconds).classes;
            all.classes = Some(named.iter().filter_map(classes).flatten().collect());
            all
        }
        _ => return line(&refusal("not served")),
    };
    line(&report)
}

fn refusal(error: &str) -> Refusal {
    Refusal {
        error: error.to_owned(),
        conflict: None,
    }
}

fn line(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).unwrap() + "\n"
}

/// The body as a report.
pub(crate) fn report(body: &str) -> Report {
    serde_json::from_str(body).unwrap()
}
