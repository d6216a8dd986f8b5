//! What the daemon says, asked once for all who want to know at about the same time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use tokio::time::timeout;

use crate::control::answer::Rings;
use crate::control::{Client, ClientError, Report};
use crate::metrics::{self, Format, Snapshot};

/// How long an answer is good for whoever asks the same.
const FRESH: Duration = Duration::from_millis(250);

/// Different questions that are put to the daemon in that time, at most.
const MOST_QUESTIONS: usize = 32;

/// How long to wait for the daemon, and for those who have asked before.
const PATIENCE: Duration = Duration::from_secs(10);

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    /// All metrics.
    Metrics(Format),
    /// The report as JSON: of all guests, without classes.
    Report,
    /// The report as JSON: of these guests, with their classes.
    Classes(Vec<String>),
}

/// Why there is no answer, in words for whoever asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// The daemon refuses.
    #[error("{0}")]
    Refused(String),
    /// The daemon does not say.
    #[error("{0}")]
    Unavailable(String),
    /// Others have asked too much.
    #[error("too many different questions at once: ask again in a second")]
    TooMany,
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(refusal) => Self::Refused(refusal.error),
            error => Self::Unavailable(error.to_string()),
        }
    }
}

/// The daemon, by its control socket.
#[derive(Debug)]
pub(super) struct Answers {
    client: Arc<tokio::sync::Mutex<Client>>,
    known: Mutex<Known>,
}

impl Answers {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client: Arc::new(tokio::sync::Mutex::new(client)),
            known: Mutex::default(),
        }
    }

    /// The answer, at most [`FRESH`] old.
    pub(super) async fn get(&self, question: Question) -> Result<Bytes, Failure> {
        let late = |_| Failure::Unavailable("the daemon does not answer in time".to_owned());
        timeout(PATIENCE, self.fetch(question))
            .await
            .map_err(late)?
    }

    async fn fetch(&self, question: Question) -> Result<Bytes, Failure> {
        // One question at a time. Whoever asked the same while this one waited has the answer for it.
        let mut client = Arc::clone(&self.client).lock_owned().await;
        let now = Instant::now();
        if let Some(answer) = self.known(|known| known.recall(&question, now))? {
            return Ok(answer);
        }
        // It holds on to the client to the end, even if nobody waits any more: then no answer is taken
        // for that to a later question.
        let ask = move || {
            let answer = ask(&mut client, &question);
            (client, question, answer)
        };
        let asked = tokio::task::spawn_blocking(ask).await;
        let (client, question, answer) =
            asked.map_err(|error| Failure::Unavailable(error.to_string()))?;
        let answer = answer?;
        self.known(|known| known.keep(question, &answer, Instant::now()));
        // Only now may the next one look.
        drop(client);
        Ok(answer)
    }

    fn known<T>(&self, with: impl FnOnce(&mut Known) -> T) -> T {
        with(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Answers that others may want as well.
#[derive(Debug, Default)]
struct Known(BTreeMap<Question, (Instant, Bytes)>);

impl Known {
    /// The answer if it is known; an error if no more may be asked for now.
    fn recall(&mut self, question: &Question, now: Instant) -> Result<Option<Bytes>, Failure> {
        self.0
            .retain(|_, (since, _)| now.saturating_duration_since(*since) < FRESH);
        match self.0.get(question) {
            Some((_, answer)) => Ok(Some(answer.clone())),
            None if self.0.len() >= MOST_QUESTIONS => Err(Failure::TooMany),
            None => Ok(None),
        }
    }

    fn keep(&mut self, question: Question, answer: &Bytes, now: Instant) {
        self.0.insert(question, (now, answer.clone()));
    }
}

fn ask(client: &mut Client, question: &Question) -> Result<Bytes, Failure> {
    Ok(match question {
        Question::Metrics(format) => {
            let report = match client.report(&[], true) {
                // There are more classes than one report can hold.
                Err(ClientError::Refused(_)) => client.report(&[], false)?,
                other => other?,
            };
            let rings = rings(client, &report)?;
            metrics::text(Snapshot { report, rings }, *format).into()
        }
        Question::Report => json(&client.report(&[], false)?)?,
        Question::Classes(guests) => json(&client.report(guests, true)?)?,
    })
}

/// The rings of all guests that have a session.
fn rings(client: &mut Client, report: &Report) -> Result<Vec<Rings>, Failure> {
    let mut all = Vec::new();
    for port in report.ports.iter().filter(|port| port.session) {
        match client.rings(&port.port) {
            Ok(rings) => all.push(rings),
            // The guest has gone since.
            Err(ClientError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(all)
}

fn json(report: &Report) -> Result<Bytes, Failure> {
    let written = serde_json::to_vec(report);
    written
        .map(Bytes::from)
        .map_err(|error| Failure::Unavailable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_known_for_a_while_and_questions_are_limited() {
        let (mut known, now) = (Known::default(), Instant::now());
        let guest = |n: usize| Question::Classes(vec![format!("vm{n}")]);
        for n in 0..MOST_QUESTIONS {
            assert_eq!(known.recall(&guest(n), now), Ok(None));
            known.keep(guest(n), &Bytes::from(n.to_string()), now);
        }
        assert_eq!(known.recall(&guest(7), now), Ok(Some(Bytes::from("7"))));
        assert_eq!(known.recall(&Question::Report, now), Err(Failure::TooMany));
        let later = now + FRESH;
        assert_eq!(known.recall(&guest(7), later), Ok(None));
        assert!(known.0.is_empty());
    }
}
