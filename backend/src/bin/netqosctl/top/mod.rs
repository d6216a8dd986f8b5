//! `top`: guests and their classes on a live screen.
//!
//! [`feed`] asks the daemon on a thread of its own, [`picture`] makes rates of what it says, [`screen`]
//! is what the operator chose by keys, and [`draw`] puts both into cells; only this file has a terminal.

mod columns;
mod draw;
mod feed;
mod help;
mod picture;
#[cfg(test)]
mod sample;
mod screen;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use netqos::control::Client;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::SIGTERM;

use self::feed::Feed;
use self::screen::Screen;
use crate::failure::{Failure, InputError};

/// How long a key, a report or a signal may wait to be seen.
const PATIENCE: Duration = Duration::from_millis(100);

pub(crate) fn run(socket: &Path, interval: Duration) -> Result<(), Failure> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(InputError::NoTerminal.into());
    }
    // A wrong path is told before the screen is taken.
    Client::connect(socket)?.ping()?;
    let stop = Arc::new(AtomicBool::new(false));
    // SIGHUP ends the program at once: there is no terminal then that could be given back.
    signal_hook::flag::register(SIGTERM, stop.clone())?;
    let feed = Feed::start(socket, interval)?;
    let mut screen = Screen::new(&socket.to_string_lossy());
    let mut terminal = ratatui::try_init()?;
    let result = watch(&mut terminal, &mut screen, &feed, &stop);
    ratatui::try_restore()?;
    Ok(result?)
}

/// Waits for a key, or not for long; whether the terminal is still there. It must not be read from when it
/// is not: nothing would ever come, at once and again.
fn wait() -> io::Result<bool> {
    let (keys, shown) = (io::stdin(), io::stdout());
    let mut fds = vec![PollFd::new(&shown, PollFlags::empty())];
    // Otherwise keys come from the controlling terminal.
    if keys.is_terminal() {
        fds.push(PollFd::new(&keys, PollFlags::IN));
    }
    let patience = Timespec::try_from(PATIENCE).map_err(io::Error::other)?;
    match poll(&mut fds, Some(&patience)) {
        // The terminal has another size, or it is time to end.
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    Ok(!fds.iter().any(|fd| fd.revents().intersects(gone)))
}

fn watch(
    terminal: &mut DefaultTerminal,
    screen: &mut Screen,
    feed: &Feed,
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut changed = true;
    while !stop.load(Ordering::Relaxed) {
        if changed {
            terminal.draw(|frame| draw::draw(screen, frame.area(), frame.buffer_mut()))?;
        }
        changed = false;
        if !wait()? {
            return Ok(());
        }
        while event::poll(Duration::ZERO)? {
            changed = true;
            if let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
            {
                if screen.key(key).is_break() {
                    return Ok(());
                }
                feed.want(screen.unfolded());
            }
        }
        while let Some(said) = feed.next() {
            screen.take(said);
            changed = true;
        }
    }
    Ok(())
}
