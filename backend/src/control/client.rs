//! A client of the control socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use thiserror::Error;

use super::answer::{Applied, Explanation, Metrics, Pong, Refusal, Rings, Trees};
use super::event::Event;
use super::report::Report;
use super::request::{self, Request};

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens there, or we may not connect.
    #[error(
        "{path}: {error}; is the daemon running, with `control` in its file, and may you connect?"
    )]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
    /// The daemon has gone, or does not answer.
    #[error("{path}: the daemon does not answer: {error}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
    /// The daemon has closed the connection.
    #[error("{path}: the daemon closed the connection without an answer")]
    Closed {
        /// The socket.
        path: PathBuf,
    },
    /// The answer is not what was asked for.
    #[error("{path}: the daemon's answer is not understood ({error}): is it of another version?")]
    Answer {
        /// The socket.
        path: PathBuf,
        /// Where it fails.
        #[source]
        error: serde_json::Error,
    },
    /// The daemon refuses.
    #[error("{}", .0.error)]
    Refused(Refusal),
}

/// A connection to a daemon. The daemon closes those that are silent for some seconds.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    reader: BufReader<UnixStream>,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
}

/// How a refusal begins; every other answer begins with `"ok":true`.
const REFUSED: &[u8] = b"{\"error\":";

impl Client {
    /// Connects to the daemon that listens there.
    ///
    /// # Errors
    /// [`ClientError::Connect`].
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let connected = UnixStream::connect(path);
        match connected.and_then(|stream| stream.set_read_timeout(Some(PATIENCE)).map(|()| stream))
        {
            Ok(stream) => Ok(Self::over(stream, path)),
            Err(error) => Err(ClientError::Connect {
                path: path.to_owned(),
                error,
            }),
        }
    }

    /// Uses a connection that is there already; the path is for messages.
    #[must_use]
    pub fn over(stream: UnixStream, path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            reader: BufReader::new(stream),
            line: Vec::new(),
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the daemon refuses, others if there is no answer.
    pub fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ClientError> {
        let line = request::line(request).map_err(|error| self.unclear(error))?;
        let sent = self.reader.get_mut().write_all(&line);
        // A daemon that sends us away says why before it hangs up.
        let line = match (self.line(), sent) {
            (Ok(line), _) => line,
            (Err(_), Err(error)) => return Err(self.failed(error)),
            (Err(error), Ok(())) => return Err(error),
        };
        if line.starts_with(REFUSED) {
            return Err(ClientError::Refused(self.parse(&line)?));
        }
        self.parse(&line)
    }

    /// Waits for an event, after `subscribe` or `capture`; for as long as it takes if `patience` is none.
    /// `None` if none came in that time.
    ///
    /// # Errors
    /// The daemon has gone, or says what is not understood.
    pub fn event(&mut self, patience: Option<Duration>) -> Result<Option<Event>, ClientError> {
        let set = self.reader.get_ref().set_read_timeout(patience);
        set.map_err(|error| self.failed(error))?;
        match self.line() {
            Ok(line) => self.parse(&line).map(Some),
            Err(ClientError::Io { error, .. }) if error.kind() == io::ErrorKind::WouldBlock => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the daemon is there, and of which version.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn ping(&mut self) -> Result<Pong, ClientError> {
        self.ask(&Request::Ping {})
    }

    /// The counters of these guests, of all if there are none; of every class as well if `classes`.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn report(&mut self, guests: &[String], classes: bool) -> Result<Report, ClientError> {
        self.ask(&Request::Report {
            guests: guests.to_vec(),
            classes,
        })
    }

    /// A guest's rings.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn rings(&mut self, guest: &str) -> Result<Rings, ClientError> {
        self.ask(&Request::Rings {
            guest: guest.to_owned(),
        })
    }

    /// The counters as OpenMetrics text.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn metrics(&mut self) -> Result<String, ClientError> {
        let Metrics { text } = self.ask(&Request::Metrics {})?;
        Ok(text)
    }

    /// The class trees that are served.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn trees(&mut self) -> Result<Trees, ClientError> {
        self.ask(&Request::Trees {})
    }

    /// Asks for a change.
    ///
    /// # Errors
    /// As [`Self::ask`]; a [`Refusal`] with its [`Conflict`](super::Conflict) if someone was faster.
    pub fn change(&mut self, request: &Request) -> Result<Applied, ClientError> {
        self.ask(request)
    }

    /// What a frame would meet.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn explain(&mut self, request: &Request) -> Result<Explanation, ClientError> {
        self.ask(request)
    }

    fn line(&mut self) -> Result<Vec<u8>, ClientError> {
        let read = self.reader.read_until(b'\n', &mut self.line);
        if let Err(error) = read {
            return Err(self.failed(error));
        }
        let line = std::mem::take(&mut self.line);
        if line.last() != Some(&b'\n') {
            return Err(ClientError::Closed {
                path: self.path.clone(),
            });
        }
        Ok(line)
    }

    fn parse<T: DeserializeOwned>(&self, line: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(line).map_err(|error| self.unclear(error))
    }

    fn failed(&self, error: io::Error) -> ClientError {
        ClientError::Io {
            path: self.path.clone(),
            error,
        }
    }

    fn unclear(&self, error: serde_json::Error) -> ClientError {
        ClientError::Answer {
            path: self.path.clone(),
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Client, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Client::over(ours, Path::new("control.sock")), theirs)
    }

    #[test]
    fn an_answer_is_facts_or_a_refusal() {
        let (mut client, mut daemon) = pair();
        daemon
            .write_all(
                b"{\"ok\":true,\"version\":1,\"daemon\":\"0.1.0\",\"generation\":7}\n\
                  {\"error\":\"no\",\"conflict\":{\"generation\":8}}\n",
            )
            .unwrap();
        assert_eq!(client.ping().unwrap().generation, 7);
        match client.ping() {
            Err(ClientError::Refused(refusal)) => {
                assert_eq!(refusal.error, "no");
                assert_eq!(refusal.conflict.unwrap().generation, 8);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn half_a_line_is_kept_until_the_rest_comes_and_no_longer_than_the_daemon() {
        let (mut client, mut daemon) = pair();
        let soon = Some(Duration::from_millis(1));
        daemon.write_all(b"{\"event\":\"lost\",").unwrap();
        assert_eq!(client.event(soon).unwrap(), None);
        daemon.write_all(b"\"events\":3}\n{\"ev").unwrap();
        assert_eq!(client.event(soon).unwrap(), Some(Event::Lost { events: 3 }));
        drop(daemon);
        assert!(matches!(
            client.event(soon),
            Err(ClientError::Closed { .. })
        ));
    }

    #[test]
    fn what_is_no_answer_is_said_to_be_none() {
        let (mut client, mut daemon) = pair();
        daemon.write_all(b"hello\n").unwrap();
        let error = client.ping().unwrap_err();
        assert!(matches!(error, ClientError::Answer { .. }));
        assert!(error.to_string().contains("control.sock"), "{error}");
    }
}
