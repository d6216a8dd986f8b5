//! What a service manager is told, if one asked to be (`NOTIFY_SOCKET`, sd_notify(3)).

use sd_notify::NotifyState;

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
    log::warn!("event=notify-failed: the service manager cannot be told the state: {error}");
}
