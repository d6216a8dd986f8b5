//! A class tree in a file.
//!
//! ```toml
//! overcommit = "reject"        # or "scale"
//!
//! [[class]]
//! id = "1:0"                   # as in tc: hexadecimal
//! name = "uplink"              # optional; other places name a class by its name or id
//! ceil = "1gbit"
//!
//! [[class]]
//! id = "1:10"
//! name = "voice"
//! parent = "uplink"
//! rate = "5mbit"
//! queue = "flows"
//! [class.flows]
//! target = "5ms"
//! ```

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use qos::{
    Burst, ClassConfig, ClassId, FlowsConfig, Framing, Interval, LeafQueue, Overcommit,
    PacketBurst, PacketRate, RateSpec, Removed, TreeConfig, TreeError,
};
use serde::Deserialize;
use toml::Spanned;

use super::value::Written;
use super::{Fault, FileError, Place};

/// Frames of a first-in-first-out queue unless the class says.
const FIFO_FRAMES: u32 = 1000;

/// A class tree as it was written, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeFile {
    /// The tree.
    pub tree: TreeConfig,
    /// What the classes are called that have a name.
    pub names: BTreeMap<ClassId, String>,
}

impl TreeFile {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or its tree may not run.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        Self::parse(path, &super::text(path)?)
    }

    /// Reads the text of a file; the path is for messages.
    ///
    /// # Errors
    /// The tree may not run.
    pub fn parse(path: &Path, text: &str) -> Result<Self, FileError> {
        let keys: FileKeys = super::keys(path, text)?;
        let file = Reader { path, text };
        let names = file.names(&keys.class)?;
        let classes = keys.class.iter().map(|class| file.class(class, &names));
        let mut tree = TreeConfig::new(classes.collect::<Result<_, _>>()?);
        set(&mut tree.overcommit, keys.overcommit.map(Into::into));
        set(&mut tree.unit_wire_bytes, keys.unit);
        set(&mut tree.removed, keys.removed.map(Into::into));
        set(&mut tree.frames, keys.frames);
        set(
            &mut tree.pool_share_percent,
            keys.pool_share_percent.map(Some),
        );
        set(&mut tree.flow_sets, keys.flow_sets);
        tree.segment_nanos = keys.segment_nanos;
        if let Err(error) = tree.check() {
            return Err(file.refused(error, &keys.class));
        }
        let names = names.into_iter().map(|(name, id)| (id, name)).collect();
        Ok(Self { tree, names })
    }

    /// The class of this name or id.
    #[must_use]
    pub fn class(&self, name: &str) -> Option<ClassId> {
        let named = self.names.iter().find(|(_, own)| *own == name);
        let exists = |id: &ClassId| self.tree.classes.iter().any(|class| class.id == *id);
        named
            .map(|(&id, _)| id)
            .or_else(|| name.parse().ok().filter(exists))
    }

    /// What to call a class: its name, or its id.
    #[must_use]
    pub fn name(&self, id: ClassId) -> String {
        self.names
            .get(&id)
            .cloned()
            .unwrap_or_else(|| id.to_string())
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileKeys {
    overcommit: Option<OvercommitKey>,
    removed: Option<RemovedKey>,
    unit: Option<u32>,
    segment_nanos: Option<u32>,
    frames: Option<u32>,
    pool_share_percent: Option<u32>,
    flow_sets: Option<u32>,
    #[serde(default)]
    class: Vec<Spanned<ClassKeys>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OvercommitKey {
    Reject,
    Scale,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RemovedKey {
    Drain,
    Drop,
}

impl From<RemovedKey> for Removed {
    fn from(key: RemovedKey) -> Self {
        match key {
            RemovedKey::Drain => Self::Drain,
            RemovedKey::Drop => Self::Drop,
        }
    }
}

impl From<OvercommitKey> for Overcommit {
    fn from(key: OvercommitKey) -> Self {
        match key {
            OvercommitKey::Reject => Self::Reject,
            OvercommitKey::Scale => Self::Scale,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassKeys {
    id: Spanned<Written<ClassId>>,
    name: Option<Spanned<String>>,
    parent: Option<Spanned<String>>,
    rate: Option<Written<RateSpec>>,
    ceil: Option<Written<RateSpec>>,
    weight: Option<u32>,
    prio: Option<u8>,
    burst: Option<Written<Burst>>,
    cburst: Option<Written<Burst>>,
    pps: Option<Written<PacketRate>>,
    ppsburst: Option<Written<PacketBurst>>,
    overhead: Option<i32>,
    mpu: Option<u32>,
    quantum: Option<u32>,
    pace: Option<bool>,
    queue: Option<QueueKey>,
    fifo: Option<Spanned<u32>>,
    flows: Option<Spanned<FlowsKeys>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum QueueKey {
    Hold,
    Fifo,
    Flows,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowsKeys {
    frames: Option<u32>,
    bytes: Option<u32>,
    buckets: Option<u16>,
    quantum: Option<u32>,
    target: Option<Written<Interval>>,
    interval: Option<Written<Interval>>,
    ce_threshold: Option<Written<Interval>>,
    ce_threshold_ect1_only: Option<bool>,
    ack_filter: Option<bool>,
    host_isolation: Option<bool>,
}

impl FlowsKeys {
    fn config(&self) -> FlowsConfig {
        let mut config = FlowsConfig::default();
        let nanos = |key: Option<Written<Interval>>| key.map(|Written(time)| time.as_nanos());
        set(&mut config.frames, self.frames);
        set(&mut config.buckets, self.buckets);
        set(&mut config.target_nanos, nanos(self.target));
        set(&mut config.interval_nanos, nanos(self.interval));
        config.ce_threshold_nanos = nanos(self.ce_threshold);
        (config.bytes, config.quantum) = (self.bytes, self.quantum);
        set(
            &mut config.ce_threshold_ect1_only,
            self.ce_threshold_ect1_only,
        );
        set(&mut config.ack_filter, self.ack_filter);
        set(&mut config.host_isolation, self.host_isolation);
        config
    }
}

/// A setting that was written replaces the default.
fn set<T>(setting: &mut T, written: Option<T>) {
    if let Some(written) = written {
        *setting = written;
    }
}

/// One file as it is read.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn place(&self, span: Range<usize>) -> Place {
        Place::new(self.path, self.text, span)
    }

    /// The classes by their names; neither a name nor an id twice.
    fn names(
        &self,
        classes: &[Spanned<ClassKeys>],
    ) -> Result<BTreeMap<String, ClassId>, FileError> {
        let (mut names, mut ids) = (BTreeMap::new(), BTreeMap::new());
        for class in classes.iter().map(Spanned::get_ref) {
            let id = class.id.get_ref().0;
            let place = self.place(class.id.span());
            if let Some(&first) = ids.get(&id) {
                return Err(place.fault(Fault::SameId { id, first }));
            }
            ids.insert(id, place.line);
            let Some(name) = &class.name else {
                continue;
            };
            let place = self.place(name.span());
            let name = name.get_ref().clone();
            if name.trim().is_empty() || name.contains([':', '\n']) {
                return Err(place.fault(Fault::Name(name)));
            }
            if let Some(&(_, first)) = names.get(&name) {
                return Err(place.fault(Fault::SameName { name, first }));
            }
            names.insert(name, (id, place.line));
        }
        Ok(names
            .into_iter()
            .map(|(name, (id, _))| (name, id))
            .collect())
    }

    fn class(
        &self,
        class: &Spanned<ClassKeys>,
        names: &BTreeMap<String, ClassId>,
    ) -> Result<ClassConfig, FileError> {
        let keys = class.get_ref();
        let parent = keys.parent.as_ref().map(|parent| {
            let name = parent.get_ref();
            let id = names.get(name).copied().or_else(|| name.parse().ok());
            id.ok_or_else(|| {
                let fault = Fault::NoClass(name.clone());
                self.place(parent.span()).fault(fault)
            })
        });
        let spec = |key: Option<Written<RateSpec>>| key.map(|Written(spec)| spec);
        let (rate, ceil) = (spec(keys.rate), spec(keys.ceil));
        let burst = |key: Option<Written<Burst>>, spec: Option<RateSpec>| {
            let own = key.map(|Written(burst)| burst);
            own.or_else(|| spec?.burst).unwrap_or_default()
        };
        Ok(ClassConfig {
            parent: parent.transpose()?,
            rate: rate.map(|spec| spec.rate),
            ceil: ceil.map(|spec| spec.rate),
            weight: keys.weight,
            prio: keys.prio.unwrap_or(0),
            burst: burst(keys.burst, rate),
            cburst: burst(keys.cburst, ceil),
            pps: keys.pps.map(|Written(pps)| pps),
            pps_burst: keys
                .ppsburst
                .map_or_else(PacketBurst::default, |Written(burst)| burst),
            framing: keys.framing(),
            quantum: keys.quantum,
            queue: self.queue(keys)?,
            pace: keys.pace.unwrap_or(false),
            ..ClassConfig::new(keys.id.get_ref().0)
        })
    }

    fn queue(&self, keys: &ClassKeys) -> Result<LeafQueue, FileError> {
        let kind = keys.queue.unwrap_or(QueueKey::Hold);
        let other = |span, queue| Err(self.place(span).fault(Fault::OtherQueue { queue }));
        match (&keys.fifo, &keys.flows) {
            (Some(fifo), _) if kind != QueueKey::Fifo => return other(fifo.span(), "fifo"),
            (_, Some(flows)) if kind != QueueKey::Flows => return other(flows.span(), "flows"),
            _ => {}
        }
        Ok(match kind {
            QueueKey::Hold => LeafQueue::Hold,
            QueueKey::Fifo => LeafQueue::Fifo {
                frames: keys
                    .fifo
                    .as_ref()
                    .map_or(FIFO_FRAMES, |fifo| *fifo.get_ref()),
            },
            QueueKey::Flows => LeafQueue::Flows(match &keys.flows {
                Some(flows) => flows.get_ref().config(),
                None => FlowsConfig::default(),
            }),
        })
    }

    /// A tree that may not run, shown at the class at fault and, if one is, the key.
    fn refused(&self, error: TreeError, classes: &[Spanned<ClassKeys>]) -> FileError {
        let at = error.class().and_then(|id| {
            let same = |class: &&Spanned<ClassKeys>| class.get_ref().id.get_ref().0 == id;
            classes.iter().find(same)
        });
        let start = at.map_or(0, |class| class.span().start);
        let place = match key(&error) {
            Some(key) => Place::of_key(self.path, self.text, start, key),
            None => Place::new(self.path, self.text, start..start),
        };
        place.fault(error)
    }
}

impl ClassKeys {
    fn framing(&self) -> Option<Framing> {
        let default = Framing::ETHERNET;
        (self.overhead.is_some() || self.mpu.is_some()).then(|| Framing {
            overhead: self.overhead.unwrap_or(default.overhead),
            mpu: self.mpu.unwrap_or(default.mpu),
        })
    }
}

/// The key that an error is about.
const fn key(error: &TreeError) -> Option<&'static str> {
    match error {
        TreeError::SecondRoot { .. }
        | TreeError::Orphan { .. }
        | TreeError::Cycle { .. }
        | TreeError::TooDeep { .. } => Some("parent"),
        TreeError::ZeroWeight { .. } => Some("weight"),
        TreeError::ZeroQuantum { .. } => Some("quantum"),
        TreeError::EmptyQueue { .. } | TreeError::QueueOnInner { .. } => Some("queue"),
        TreeError::Prio { .. } => Some("prio"),
        TreeError::RateAboveCeil { .. } => Some("ceil"),
        TreeError::Overcommitted { .. } => Some("rate"),
        TreeError::SmallBurst { what, .. } => Some(what),
        TreeError::SmallPacketBurst { .. } => Some("ppsburst"),
        TreeError::PaceWithoutCeil { .. } => Some("pace"),
        TreeError::SegmentTime { .. } => Some("segment_nanos"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
