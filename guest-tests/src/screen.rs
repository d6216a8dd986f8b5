//! A terminal for a program that draws on one.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::error::{Context, Result};

/// A program that runs on a terminal of its own; dropping it ends the program.
#[derive(Debug)]
pub struct Screen {
    child: Child,
    keys: ChildStdin,
    drawn: Arc<Mutex<Vec<u8>>>,
    rows: u16,
    columns: u16,
}

impl Screen {
    /// Starts `command`, for the shell, on a terminal of this size (script(1) of util-linux).
    ///
    /// # Errors
    /// [`crate::Error::Io`] if it cannot be started.
    pub fn start(command: &str, rows: u16, columns: u16) -> Result<Self> {
        let sized = format!("stty rows {rows} cols {columns}; exec {command}");
        let args: [OsString; 5] = ["-q", "-e", "-c", &sized, "/dev/null"].map(Into::into);
        let what = "starting a program on a terminal";
        let mut child = Command::new("script")
            .args(args)
            .env("TERM", "xterm-256color")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context(what)?;
        let keys = child.stdin.take().ok_or(std::io::ErrorKind::BrokenPipe);
        let keys = keys.map_err(std::io::Error::from).context(what)?;
        let drawn = Arc::new(Mutex::new(Vec::new()));
        if let Some(mut output) = child.stdout.take() {
            let drawn = Arc::clone(&drawn);
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(len @ 1..) = output.read(&mut bytes) {
                    let mut drawn = drawn.lock().unwrap_or_else(PoisonError::into_inner);
                    drawn.extend_from_slice(&bytes[..len]);
                }
            });
        }
        Ok(Self {
            child,
            keys,
            drawn,
            rows,
            columns,
        })
    }

    /// Types these keys.
    ///
    /// # Errors
    /// [`crate::Error::Io`] if the program has ended.
    pub fn type_keys(&mut self, keys: &str) -> Result<()> {
        let typed = self.keys.write_all(keys.as_bytes());
        typed.and_then(|()| self.keys.flush()).context("typing")
    }

    /// What the screen shows, without the spaces at the ends of lines.
    #[must_use]
    pub fn text(&self) -> String {
        let drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut terminal = vt100::Parser::new(self.rows, self.columns, 0);
        terminal.process(&drawn);
        let rows = terminal.screen().rows(0, self.columns);
        let rows: Vec<String> = rows.map(|row| row.trim_end().to_owned()).collect();
        rows.join("\n")
    }

    /// Waits until the screen shows something, and gives all that it shows then; the last screen if it
    /// never does.
    #[must_use]
    pub fn wait_for(&self, shows: impl Fn(&str) -> bool, patience: Duration) -> String {
        let step = Duration::from_millis(20);
        let mut left = patience;
        loop {
            let text = self.text();
            if shows(&text) || left.is_zero() {
                return text;
            }
            thread::sleep(step);
            left = left.saturating_sub(step);
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and need not be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
