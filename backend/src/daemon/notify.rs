//! What a service manager is told, if one asked to be (`NOTIFY_SOCKET`, sd_notify(3)), and its watchdog.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::{Daemon, Timer};
use crate::shards::Answers;

/// Front-ends can connect; also after a reload, whether it changed something or not.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read again.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => failed(&error),
    }
}

/// The daemon is about to end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        failed(&error);
    }
}

fn failed(error: &std::io::Error) {
    log::warn!(event = "notify-failed"; "the service manager cannot be told the state: {error}");
}

/// Says that the daemon is alive to a service manager that restarts it otherwise (`WATCHDOG_USEC`,
/// sd_watchdog_enabled(3)). This thread says so, and only after every packet thread has answered it: a
/// daemon that forwards nothing any more is to be restarted, too.
#[derive(Debug)]
pub(super) struct Watchdog {
    /// Half of what the service manager waits for, as it recommends.
    period: Duration,
    /// Where the packet threads answer what they were asked last.
    answer: Option<Answers>,
}

impl Watchdog {
    /// None unless a service manager wants it.
    pub(super) fn asked_for() -> Option<Self> {
        sd_notify::watchdog_enabled().map(|timeout| Self {
            period: timeout / 2,
            answer: None,
        })
    }

    /// Whether all packet threads have answered since the last time. Then they are asked again, and where
    /// they could not be. Waits for nothing.
    fn is_answered(&mut self, ask: impl FnOnce() -> Option<Answers>) -> bool {
        let answered = self.answer.as_mut().map(Answers::are_there);
        if !matches!(answered, Some(Ok(false))) {
            self.answer = ask();
        }
        matches!(answered, Some(Ok(true)))
    }
}

impl<R> Daemon<R> {
    /// Gives the service manager a sign of life, if there is one, and asks for the next.
    pub(super) fn feed_watchdog(&mut self, now: Instant) {
        let Some(watchdog) = &mut self.watchdog else {
            return;
        };
        if watchdog.is_answered(|| self.service.ping()) {
            tell(&[NotifyState::Watchdog]);
        }
        let next = now.checked_add(watchdog.period);
        self.timers.set(Timer::Watchdog, next);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{SyncSender, sync_channel};

    use super::*;

    /// A watchdog, and what the packet thread was asked.
    fn watchdog() -> (Watchdog, Vec<SyncSender<()>>) {
        let watchdog = Watchdog {
            period: Duration::from_secs(1),
            answer: None,
        };
        (watchdog, Vec::new())
    }

    fn tick(watchdog: &mut Watchdog, asked: &mut Vec<SyncSender<()>>) -> bool {
        watchdog.is_answered(|| {
            let (answer, wait) = sync_channel(1);
            asked.push(answer);
            Some(Answers::from(vec![wait]))
        })
    }

    #[test]
    fn every_sign_of_life_takes_an_answer_of_its_own() {
        let (mut watchdog, mut asked) = watchdog();
        assert!(!tick(&mut watchdog, &mut asked), "nothing was asked yet");
        for turn in 0..3 {
            asked[turn].send(()).unwrap();
            assert!(tick(&mut watchdog, &mut asked));
            assert!(!tick(&mut watchdog, &mut asked), "that was one answer");
            assert_eq!(asked.len(), turn + 2, "it is asked once for each");
        }
    }

    #[test]
    fn a_packet_thread_that_is_stuck_is_let_down_until_it_answers() {
        let (mut watchdog, mut asked) = watchdog();
        for _ in 0..100 {
            assert!(!tick(&mut watchdog, &mut asked));
        }
        assert_eq!(asked.len(), 1, "it is not asked ever more");
        asked[0].send(()).unwrap();
        assert!(tick(&mut watchdog, &mut asked));
    }

    #[test]
    fn a_packet_thread_that_takes_nothing_or_has_ended_gives_no_sign_of_life() {
        let (mut watchdog, mut asked) = watchdog();
        assert!(!watchdog.is_answered(|| None));
        assert!(!watchdog.is_answered(|| None));
        assert!(!tick(&mut watchdog, &mut asked));
        asked.clear();
        assert!(!tick(&mut watchdog, &mut asked));
        assert_eq!(asked.len(), 1, "it is asked again as soon as it can be");
        asked[0].send(()).unwrap();
        assert!(tick(&mut watchdog, &mut asked));
    }
}
