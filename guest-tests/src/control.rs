//! The daemon's control socket: one JSON object a line each way.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::{Context, Error, Result};
use crate::process::POLL;

/// How long an answer may take, and the socket to appear.
const PATIENCE: Duration = Duration::from_secs(10);

/// A daemon's control socket. Every request has a connection of its own: the daemon sends callers away that
/// are silent for some seconds.
#[derive(Debug, Clone)]
pub struct Control {
    path: PathBuf,
}

impl Control {
    /// Waits until the daemon answers there.
    ///
    /// # Errors
    /// [`Error::Io`] if nobody listens, and as [`Self::ask`].
    pub fn new(path: impl Into<PathBuf>) -> Result<Self> {
        let control = Self { path: path.into() };
        let deadline = Instant::now() + PATIENCE;
        loop {
            match control.ask(r#"{"do":"ping"}"#) {
                Ok(_) => return Ok(control),
                Err(_) if Instant::now() < deadline => std::thread::sleep(POLL),
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no answer, [`Error::Output`] if it is no JSON object.
    pub fn ask(&self, request: &str) -> Result<Value> {
        let answer = self.line(request)?;
        match serde_json::from_str(&answer) {
            Ok(value @ Value::Object(_)) => Ok(value),
            _ => Err(Error::Output {
                tool: "the control socket",
                reason: format!("no object in answer to {request}"),
                output: answer,
            }),
        }
    }

    fn line(&self, request: &str) -> Result<String> {
        let what = || format!("asking {} for {request}", self.path.display());
        let mut stream = UnixStream::connect(&self.path).context(what())?;
        let patience = Some(PATIENCE);
        stream.set_read_timeout(patience).context(what())?;
        let line = format!("{request}\n");
        stream.write_all(line.as_bytes()).context(what())?;
        let mut answer = String::new();
        let read = BufReader::new(stream).read_line(&mut answer);
        read.context(what())?;
        Ok(answer)
    }

    /// How long it takes until the whole answer is there; what it says is not looked at.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no answer.
    pub fn time(&self, request: &str) -> Result<Duration> {
        let start = Instant::now();
        self.line(request)?;
        Ok(start.elapsed())
    }

    /// Has the configuration read again: why it was refused, if it was.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn try_reload(&self) -> Result<Option<String>> {
        let answer = self.ask(r#"{"do":"reload"}"#)?;
        let error = answer.get("error").and_then(Value::as_str);
        Ok(error.map(str::to_owned))
    }

    /// Has the configuration read again; how long the answer took.
    ///
    /// # Errors
    /// [`Error::Output`] with the reason if it is refused, and as [`Self::ask`].
    pub fn reload(&self) -> Result<Duration> {
        let start = Instant::now();
        match self.try_reload()? {
            None => Ok(start.elapsed()),
            Some(why) => Err(Error::Output {
                tool: "the control socket",
                reason: "the configuration was refused".to_owned(),
                output: why,
            }),
        }
    }
}
