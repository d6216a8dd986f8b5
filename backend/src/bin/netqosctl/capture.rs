//! `capture`: copies of a guest's frames, as lines or as a pcapng file.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use netqos::control::{Client, Direction, Event, Request};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::cli::Capture;
use crate::failure::{Failure, InputError};
use crate::packet::summary;
use crate::pcapng::Pcapng;
use crate::plain::{Done, do_it};
use crate::text::{PLAIN, paragraph};

/// How long a frame may wait to be written out, or a signal to be seen.
const PATIENCE: Duration = Duration::from_millis(200);

/// A frame that was captured.
pub(crate) struct Frame<'a> {
    pub(crate) time: Duration,
    pub(crate) direction: Direction,
    pub(crate) class: Option<&'a str>,
    pub(crate) verdict: &'a str,
    pub(crate) len: u32,
    pub(crate) bytes: Vec<u8>,
}

impl<'a> Frame<'a> {
    fn read(event: &'a Event) -> Option<Self> {
        let Event::Frame {
            time_nanos,
            direction,
            class,
            verdict,
            len,
            data,
        } = event
        else {
            return None;
        };
        Some(Self {
            time: Duration::from_nanos(*time_nanos),
            direction: *direction,
            class: class.as_deref(),
            verdict,
            len: *len,
            // Whatever is no base64 is an empty frame: it is still told that there was one.
            bytes: BASE64_STANDARD.decode(data).unwrap_or_default(),
        })
    }

    /// What is known of it besides its bytes.
    pub(crate) fn comment(&self) -> String {
        let class = self.class.map_or_else(
            || "none of its own".to_owned(),
            |class| format!("`{class}`"),
        );
        format!("{}, class {class}, {}", self.direction.name(), self.verdict)
    }
}

/// Where frames go.
enum Sink<'a> {
    Lines(&'a mut dyn Write, Option<Duration>),
    File(Pcapng<BufWriter<File>>, &'a Path),
    Pipe(Pcapng<BufWriter<io::Stdout>>),
}

pub(crate) fn run(
    daemon: impl FnOnce() -> Result<Client, netqos::control::ClientError>,
    out: &mut impl Write,
    args: &Capture,
) -> Result<(), Failure> {
    let pipe = args.write.as_deref() == Some(Path::new("-"));
    if pipe && io::stdout().is_terminal() {
        return Err(InputError::BytesOnTerminal.into());
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, stop.clone())?;
    }
    let mut daemon = daemon()?;
    let Done {} = do_it(&mut daemon, &request(args))?;
    // Not before the daemon has agreed: a refused capture leaves no file.
    let mut sink = match args.write.as_deref() {
        None => Sink::Lines(out, None),
        Some(_) if pipe => {
            let stdout = BufWriter::new(io::stdout());
            Sink::Pipe(Pcapng::new(stdout, &args.guest, args.snap)?)
        }
        Some(path) => {
            let file = File::create(path).map(BufWriter::new);
            let file = file.and_then(|file| Pcapng::new(file, &args.guest, args.snap));
            Sink::File(file.map_err(|error| unwritten(path, error))?, path)
        }
    };
    let (frames, missed) = copy(&mut daemon, &mut sink, args, &stop)?;
    // As the last word, also with frames on the output.
    eprintln!("frames captured: {frames}, missed: {missed}");
    Ok(())
}

fn request(args: &Capture) -> Request {
    Request::Capture {
        guest: args.guest.clone(),
        class: args.class.clone(),
        direction: args.direction.map(Direction::from),
        snap: args.snap,
        frames: args.frames.unwrap_or(u32::MAX),
    }
}

/// Writes frames until the capture is over; how many, and how many were missed.
fn copy(
    daemon: &mut Client,
    sink: &mut Sink<'_>,
    args: &Capture,
    stop: &AtomicBool,
) -> Result<(u64, u64), Failure> {
    let time = args.seconds.map(Duration::from_secs);
    let end = time.and_then(|time| Instant::now().checked_add(time));
    let (mut frames, mut missed) = (0_u64, 0_u64);
    let mut flushed = Instant::now();
    while !stop.load(Ordering::Relaxed) && end.is_none_or(|end| Instant::now() < end) {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let patience = left.map_or(PATIENCE, |left| left.min(PATIENCE));
        let event = daemon.event(Some(patience.max(Duration::from_millis(1))));
        let over = match &event {
            Ok(Some(Event::CaptureEnd { missed: more })) => {
                missed = missed.saturating_add(*more);
                true
            }
            Ok(Some(Event::Lost { events })) => {
                missed = missed.saturating_add(*events);
                false
            }
            Ok(Some(event)) => {
                if let Some(frame) = Frame::read(event) {
                    sink.put(&frame)?;
                    frames = frames.saturating_add(1);
                }
                false
            }
            Ok(None) => false,
            Err(_) => true,
        };
        if over || matches!(event, Ok(None)) || flushed.elapsed() > PATIENCE {
            sink.flush()?;
            flushed = Instant::now();
        }
        event?;
        if over {
            break;
        }
    }
    sink.flush()?;
    Ok((frames, missed))
}

impl Sink<'_> {
    fn put(&mut self, frame: &Frame<'_>) -> Result<(), Failure> {
        match self {
            Self::Lines(out, first) => {
                let since = frame.time.saturating_sub(*first.get_or_insert(frame.time));
                let (what, bytes) = (frame.comment(), summary(&frame.bytes));
                let text = format!(
                    "{:.6}s {what}, {} bytes: {bytes}",
                    since.as_secs_f64(),
                    frame.len
                );
                Ok(paragraph(out, PLAIN, ["", "  "], &text)?)
            }
            Self::File(file, path) => file.put(frame).map_err(|error| unwritten(path, error)),
            Self::Pipe(pipe) => Ok(pipe.put(frame)?),
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Self::Lines(out, _) => Ok(out.flush()?),
            Self::File(file, path) => file.flush().map_err(|error| unwritten(path, error)),
            Self::Pipe(pipe) => Ok(pipe.flush()?),
        }
    }
}

fn unwritten(path: &Path, error: io::Error) -> Failure {
    Failure::Write {
        path: path.to_owned(),
        error,
    }
}
