//! The log, on standard error: one line an event, of pairs and then words, as text or as JSON.
//!
//! Lines are made with the macros of the `log` crate, as in
//! `log::warn!(port = name, session = "refused"; "a front-end is connected already")`. What a line is about
//! is its pair `port`, `uplink` or `interface`. Guests, front-ends and callers can bring about the same lines again and
//! again, so one place in the code logs at most [`BURST`] lines about one thing at once, then one per
//! [`PERIOD`]; the next line says how many were left out (`suppressed`). Lines of what an operator asked
//! for are all written: they have the target [`OPERATOR`].

mod limit;
mod line;

use std::panic::Location;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use ahash::RandomState;
use clap::ValueEnum;
use env_logger::Env;
use log::kv::{self, Key, Value, VisitSource};
use log::{Level, Log, Metadata, Record};

use self::limit::Limiter;
pub use self::limit::{BURST, PERIOD};

/// The target of lines about what an operator asked for, which are never left out.
pub const OPERATOR: &str = "netqos::operator";

/// What a line can be about.
const SUBJECTS: [&str; 3] = ["port", "uplink", "interface"];

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// `[time level target] key=value key=value: words`
    #[default]
    Text,
    /// An object with `time` (RFC 3339), `level`, `target`, the pairs, and `msg`, the words
    Json,
}

/// Logs to standard error from now on what `RUST_LOG` asks for: information and what is graver, unless it
/// says otherwise.
///
/// Does nothing if a logger is there already.
pub fn start(format: Format) {
    let mut builder = env_logger::Builder::from_env(Env::default().default_filter_or("info"));
    builder.format(move |out, record| match format {
        Format::Text => {
            let time = out.timestamp_seconds();
            line::text(out, &time, record)
        }
        Format::Json => {
            let time = out.timestamp_millis();
            line::json(out, &time, record)
        }
    });
    let logger = Limited {
        inner: builder.build(),
        hasher: RandomState::new(),
        limiter: Mutex::new(Limiter::default()),
    };
    let most = logger.inner.filter();
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(most);
    }
}

/// Logs a line of information that has as many pairs as there are, and no words.
#[track_caller]
pub(crate) fn info(target: &str, pairs: &[(String, Value<'_>)]) {
    let caller = Location::caller();
    let record = Record::builder()
        .level(Level::Info)
        .target(target)
        .file_static(Some(caller.file()))
        .line(Some(caller.line()))
        .key_values(&pairs)
        .args(format_args!(""))
        .build();
    log::logger().log(&record);
}

/// A logger that leaves out what comes too often.
#[derive(Debug)]
struct Limited {
    inner: env_logger::Logger,
    hasher: RandomState,
    limiter: Mutex<Limiter>,
}

impl Limited {
    /// What shares a limit: lines from one place about one thing.
    fn key(&self, record: &Record<'_>) -> u64 {
        let pairs = record.key_values();
        let subject = SUBJECTS.into_iter().find_map(|name| {
            let value = pairs.get(Key::from(name))?;
            Some(self.hasher.hash_one(value.to_string()))
        });
        self.hasher
            .hash_one((record.target(), record.file(), record.line(), subject))
    }
}

impl Log for Limited {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inner.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.inner.matches(record) {
            return;
        }
        if record.target() == OPERATOR {
            return self.inner.log(record);
        }
        let key = self.key(record);
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = limiter.take(key, Instant::now());
        drop(limiter);
        match taken {
            None => {}
            Some(0) => self.inner.log(record),
            Some(suppressed) => {
                let pairs = Suppressed {
                    pairs: record.key_values(),
                    suppressed,
                };
                self.inner
                    .log(&record.to_builder().key_values(&pairs).build());
            }
        }
    }

    fn flush(&self) {
        self.inner.flush();
    }
}

/// The pairs of a line, and how many lines like it were left out.
struct Suppressed<'a> {
    pairs: &'a dyn kv::Source,
    suppressed: u64,
}

impl kv::Source for Suppressed<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), kv::Error> {
        self.pairs.visit(visitor)?;
        visitor.visit_pair(Key::from("suppressed"), Value::from(self.suppressed))
    }
}
