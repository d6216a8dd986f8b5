//! Traffic in a file, for trying out a tree.
//!
//! ```toml
//! seconds = 30
//! warm_up = "5s"               # not counted
//! seed = 1
//!
//! [[source]]
//! class = "voice"
//! kind = "cbr"                 # or "on-off", "flood", "tcp"
//! rate = "100kbit"
//! frame = 214
//!
//! [[source]]
//! class = "bulk"
//! kind = "tcp"
//! control = "cubic"
//! rtt = "20ms"
//! flows = 4
//! ```

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use qos::sim::{Cbr, Control, Flood, OnOff, Pace, Scenario, ScenarioError, Source, Tcp, Traffic};
use qos::{Interval, Rate};
use serde::Deserialize;
use toml::Spanned;

use super::text::Text;
use super::value::Written;
use super::{Fault, FileError, Place, TreeFile};

/// Frames of a source that does not say.
const FRAME: u32 = 1514;

/// Traffic for a tree, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficFile {
    /// Tree and traffic together.
    pub scenario: Scenario,
}

/// What the command line says about a simulation, before the file does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instead {
    /// How long, in seconds.
    pub seconds: Option<u64>,
    /// The seed.
    pub seed: Option<u64>,
}

impl TrafficFile {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or does not fit the tree.
    pub fn load(path: &Path, tree: &TreeFile, instead: Instead) -> Result<Self, FileError> {
        Self::of(&Text::read(path)?, tree, instead)
    }

    /// Reads the text of a file; the path is for messages.
    ///
    /// # Errors
    /// The traffic makes no sense, or does not fit the tree.
    pub fn parse(
        path: &Path,
        text: &str,
        tree: &TreeFile,
        instead: Instead,
    ) -> Result<Self, FileError> {
        Self::of(&Text::new(path, text.to_owned()), tree, instead)
    }

    fn of(source: &Text, tree: &TreeFile, instead: Instead) -> Result<Self, FileError> {
        let keys: FileKeys = source.keys()?;
        let file = Reader { source, tree };
        let sources = keys.source.iter().map(|source| file.source(source));
        let default = Scenario::new(tree.tree.clone(), sources.collect::<Result<_, _>>()?);
        let seconds = instead.seconds.or(keys.seconds);
        let scenario = Scenario {
            nanos: seconds.map_or(default.nanos, |s| s.saturating_mul(1_000_000_000)),
            warm_up_nanos: keys.warm_up.map_or(0, |Written(time)| time.as_nanos()),
            seed: instead.seed.or(keys.seed).unwrap_or(default.seed),
            ..default
        };
        match scenario.check() {
            Ok(()) => Ok(Self { scenario }),
            Err(error) => Err(file.refused(error, &keys.source)),
        }
    }
}

/// One file as it is read.
struct Reader<'a> {
    source: &'a Text,
    tree: &'a TreeFile,
}

impl Reader<'_> {
    fn wrong(&self, span: Range<usize>, fault: Fault) -> FileError {
        self.source.place(span).fault(fault)
    }

    fn source(&self, source: &Spanned<SourceKeys>) -> Result<Source, FileError> {
        let keys = source.get_ref();
        let name = keys.class.get_ref();
        let class = self.tree.class(name);
        let class =
            class.ok_or_else(|| self.wrong(keys.class.span(), Fault::NoClass(name.clone())))?;
        keys.check()
            .map_err(|(span, fault)| self.wrong(span, fault))?;
        let traffic = keys.traffic();
        let traffic = traffic.map_err(|fault| self.wrong(source.span(), fault))?;
        Ok(Source {
            flows: keys.flows.unwrap_or(1),
            start_nanos: keys.start.map_or(0, |Written(time)| time.as_nanos()),
            stop_nanos: keys.stop.map(|Written(time)| time.as_nanos()),
            ..Source::new(class, traffic)
        })
    }

    /// Traffic that cannot be simulated, shown at the source at fault and, if one is, the key.
    fn refused(&self, error: ScenarioError, sources: &[Spanned<SourceKeys>]) -> FileError {
        let source = error.source_index().and_then(|index| sources.get(index));
        let start = source.map_or(0, |source| source.span().start);
        let key = match error {
            ScenarioError::OutOfRange { what, .. } => Some(what),
            ScenarioError::NoClass { .. } | ScenarioError::NotALeaf { .. } => Some("class"),
            ScenarioError::Length => Some("seconds"),
            _ => None,
        };
        let place = match key {
            Some(key) => Place::of_key(self.source.path(), self.source.text(), start, key),
            None => self.source.place(start..start),
        };
        place.fault(error)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileKeys {
    seconds: Option<u64>,
    warm_up: Option<Written<Interval>>,
    seed: Option<u64>,
    #[serde(default)]
    source: Vec<Spanned<SourceKeys>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Cbr,
    OnOff,
    Flood,
    Tcp,
}

impl Kind {
    /// Its name, and the keys that it has.
    const fn keys(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Cbr => ("cbr", &["rate", "interval", "frame"]),
            Self::OnOff => ("on-off", &["rate", "on", "off", "frame"]),
            Self::Flood => ("flood", &["frame"]),
            Self::Tcp => (
                "tcp",
                &[
                    "control", "rtt", "mss", "headers", "segments", "autosize", "ecn", "bytes",
                    "window",
                ],
            ),
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ControlKey {
    Reno,
    Cubic,
    Dctcp,
}

/// A source. Which keys it may have depends on its kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceKeys {
    class: Spanned<String>,
    kind: Kind,
    flows: Option<u32>,
    start: Option<Written<Interval>>,
    stop: Option<Written<Interval>>,

    rate: Option<Spanned<Written<Rate>>>,
    interval: Option<Spanned<Written<Interval>>>,
    frame: Option<Spanned<u32>>,
    on: Option<Spanned<Written<Interval>>>,
    off: Option<Spanned<Written<Interval>>>,

    control: Option<Spanned<ControlKey>>,
    rtt: Option<Spanned<Written<Interval>>>,
    mss: Option<Spanned<u32>>,
    headers: Option<Spanned<u32>>,
    segments: Option<Spanned<u32>>,
    autosize: Option<Spanned<bool>>,
    ecn: Option<Spanned<bool>>,
    bytes: Option<Spanned<u64>>,
    window: Option<Spanned<u64>>,
}

/// The value of a key that was given.
fn value<T: Copy>(key: &Option<Spanned<T>>) -> Option<T> {
    key.as_ref().map(|key| *key.get_ref())
}

fn nanos(key: &Option<Spanned<Written<Interval>>>) -> Option<u64> {
    value(key).map(|Written(time)| time.as_nanos())
}

impl SourceKeys {
    /// The keys given, of those that not all kinds have.
    fn given(&self) -> BTreeMap<&'static str, Range<usize>> {
        fn entry<T>(
            name: &'static str,
            key: &Option<Spanned<T>>,
        ) -> Option<(&'static str, Range<usize>)> {
            key.as_ref().map(|key| (name, key.span()))
        }
        let keys = [
            entry("rate", &self.rate),
            entry("interval", &self.interval),
            entry("frame", &self.frame),
            entry("on", &self.on),
            entry("off", &self.off),
            entry("control", &self.control),
            entry("rtt", &self.rtt),
            entry("mss", &self.mss),
            entry("headers", &self.headers),
            entry("segments", &self.segments),
            entry("autosize", &self.autosize),
            entry("ecn", &self.ecn),
            entry("bytes", &self.bytes),
            entry("window", &self.window),
        ];
        keys.into_iter().flatten().collect()
    }

    /// Whether it has keys of its kind only, and no two that exclude each other.
    fn check(&self) -> Result<(), (Range<usize>, Fault)> {
        let (kind, has) = self.kind.keys();
        let given = self.given();
        if let Some((key, span)) = given.iter().find(|(key, _)| !has.contains(key)) {
            let has = has.join(", ");
            let fault = Fault::OtherKind { kind, key, has };
            return Err((span.clone(), fault));
        }
        if let (Some(_), Some(interval)) = (given.get("rate"), given.get("interval")) {
            let needs = "either a rate or an interval, not both";
            return Err((interval.clone(), Fault::Needs { kind, needs }));
        }
        Ok(())
    }

    fn traffic(&self) -> Result<Traffic, Fault> {
        let frame = value(&self.frame).unwrap_or(FRAME);
        let rate = value(&self.rate).map(|Written(rate)| rate);
        let (kind, _) = self.kind.keys();
        let needs = |needs| Fault::Needs { kind, needs };
        Ok(match self.kind {
            Kind::Cbr => {
                let pace = rate.map(Pace::Rate);
                let pace = pace.or_else(|| nanos(&self.interval).map(Pace::Interval));
                let pace = pace.ok_or_else(|| needs("a rate or an interval"))?;
                Traffic::Cbr(Cbr { pace, frame })
            }
            Kind::OnOff => Traffic::OnOff(OnOff {
                rate: rate.ok_or_else(|| needs("a rate"))?,
                frame,
                on_nanos: nanos(&self.on).ok_or_else(|| needs("how long it is on"))?,
                off_nanos: nanos(&self.off).ok_or_else(|| needs("how long it is off"))?,
            }),
            Kind::Flood => Traffic::Flood(Flood { frame }),
            Kind::Tcp => Traffic::Tcp(self.tcp()),
        })
    }

    fn tcp(&self) -> Tcp {
        let default = Tcp::default();
        let control = value(&self.control).map(|control| match control {
            ControlKey::Reno => Control::Reno,
            ControlKey::Cubic => Control::Cubic,
            ControlKey::Dctcp => Control::Dctcp,
        });
        Tcp {
            // What Linux does unless told otherwise.
            control: control.unwrap_or(Control::Cubic),
            rtt_nanos: nanos(&self.rtt).unwrap_or(default.rtt_nanos),
            mss: value(&self.mss).unwrap_or(default.mss),
            headers: value(&self.headers).unwrap_or(default.headers),
            segments: value(&self.segments).unwrap_or(default.segments),
            autosize: value(&self.autosize).unwrap_or(default.autosize),
            ecn: value(&self.ecn).unwrap_or(default.ecn),
            bytes: value(&self.bytes),
            window: value(&self.window).unwrap_or(default.window),
        }
    }
}

#[cfg(test)]
mod tests;
