//! Reads the files and puts what they say together.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::iter;
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::fault::{ConfigFault, Known};
use super::guest::{Entry, group_id};
use super::keys::{FileKeys, Size};
use super::layer::Layer;
use super::numbers::within;
use super::uplinks::Uplinks;
use super::{
    Config, ControlConfig, DEFAULT_POOL_BYTES, GUEST, GuestConfig, MAX_SHARDS, Member, Refusal,
    SandboxSettings, UplinkConfig,
};
use crate::args::{FrontEnd, MacAddr};
use crate::file::text::{Found, Text};
use crate::file::value::{OneOrMore, Written};
use crate::file::{FileError, Place};
use crate::shards::LEAST_POOL;

/// A shard's part of the pool has room for a few of the largest super-frames, in bytes.
const POOLS: RangeInclusive<u64> = LEAST_POOL..=1 << 40;

/// How many packet threads there may be.
const SHARDS: RangeInclusive<u16> = 1..=MAX_SHARDS;

/// How long a poll may last, in microseconds.
const POLLS: RangeInclusive<u32> = 0..=1_000_000;

/// What makes the guests of a pattern differ.
const PATTERN: &str = "; in a pattern, write {n} where the number belongs";

/// One file, taken apart.
pub(super) struct File {
    pub(super) source: Text,
    pub(super) keys: FileKeys,
}

impl File {
    fn new(source: Text) -> Result<Self, FileError> {
        let keys = source.keys()?;
        Ok(Self { source, keys })
    }
}

type Templates<'a> = HashMap<&'a str, Layer<'a>>;

/// What a file, those it includes, and one more say, made into what is to be done.
pub(super) fn load(source: Text, more: Option<Text>) -> Result<Config, FileError> {
    let main = File::new(source)?;
    let mut drop_ins = drop_ins(&main)?;
    if let Some(more) = more {
        let more = File::new(more)?;
        check_drop_in(&more)?;
        drop_ins.push(more);
    }
    let files = || iter::once(&main).chain(&drop_ins);
    let mut uplinks = Uplinks::default();
    let mut templates = Templates::new();
    for file in files() {
        uplinks.add(file)?;
        add_templates(&mut templates, file)?;
    }
    let defaults = main.keys.defaults.as_ref().map(|keys| Layer {
        source: &main.source,
        keys,
    });
    if let Some(defaults) = defaults {
        defaults.check_shared()?;
    }
    let mut guests = Guests::default();
    for file in files() {
        for (name, keys) in &file.keys.guest.0 {
            let source = &file.source;
            let own = Layer { source, keys };
            let template = template_of(own, &templates)?;
            let behind = template.into_iter().chain(defaults);
            let entry = Entry::new(name.as_deref(), own, behind)?;
            guests.add(entry, &uplinks.configs)?;
        }
    }
    let shards = shards(&main)?;
    let config = Config {
        poll: poll(&main)?,
        shards,
        pool_bytes: pool(&main, shards)?,
        control: control(&main)?,
        metrics: main.keys.metrics.as_ref().map(|address| address.0),
        sandbox: sandbox(&main),
        uplinks: uplinks.configs.clone(),
        guests: std::mem::take(&mut guests.configs),
    };
    match config.admit() {
        Ok(()) => Ok(config),
        Err(refusal) => {
            let place = guests.place(&config, &refusal);
            let place = place.or_else(|| uplinks.place(&refusal));
            let place = place.unwrap_or_else(|| main.source.place(0..0));
            Err(place.fault(*refusal.fault))
        }
    }
}

/// The files that the main one includes, each pattern's in the order of their names.
fn drop_ins(main: &File) -> Result<Vec<File>, FileError> {
    let Some(include) = &main.keys.include else {
        return Ok(Vec::new());
    };
    let include = include.found(&main.source);
    let directory = main.source.path().parent().unwrap_or_else(|| Path::new(""));
    let OneOrMore(patterns) = include.value();
    let mut files = Vec::new();
    for pattern in patterns {
        for path in matching(directory, pattern, include)? {
            let file = File::new(Text::read(&path)?)?;
            check_drop_in(&file)?;
            files.push(file);
        }
    }
    Ok(files)
}

/// The directories of a file and of all that its patterns may ever mean.
pub(super) fn directories(source: Text) -> Result<Vec<PathBuf>, FileError> {
    let main = File::new(source)?;
    let path = main.source.path();
    let own = directory_of(path);
    let mut directories = vec![own.to_owned()];
    // The file itself may be a link.
    if let Ok(path) = path.canonicalize() {
        directories.push(directory_of(&path).to_owned());
    }
    let patterns = main.keys.include.iter().flat_map(|include| &include.0);
    for pattern in patterns {
        let is_fixed = |part: &Component<'_>| {
            let part = part.as_os_str().to_string_lossy();
            !part.contains(['*', '?', '['])
        };
        let fixed: PathBuf = Path::new(pattern)
            .components()
            .take_while(is_fixed)
            .collect();
        let place = own.join(fixed);
        let is_directory = place.is_dir();
        directories.push(if is_directory {
            place
        } else {
            directory_of(&place).to_owned()
        });
    }
    directories.retain(|directory| directory.is_dir());
    Ok(directories)
}

/// The directory that a file is in.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The files that a pattern means, sorted.
fn matching(
    directory: &Path,
    pattern: &str,
    include: Found<'_, OneOrMore<String>>,
) -> Result<Vec<PathBuf>, FileError> {
    let wrong = |reason: String| {
        include.fault(ConfigFault::Include {
            pattern: pattern.to_owned(),
            reason,
        })
    };
    // The directory is a name and no pattern.
    let whole = match directory.to_str() {
        Some(name) => Path::new(&glob::Pattern::escape(name)).join(pattern),
        None => {
            return Err(wrong(
                "this file's directory has a name that is no text".into(),
            ));
        }
    };
    let whole = whole.to_string_lossy();
    let paths = glob::glob(&whole).map_err(|error| wrong(error.msg.to_owned()))?;
    let paths: Vec<PathBuf> = paths
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(error.to_string()))?;
    if paths.is_empty() && !pattern.contains(['*', '?', '[']) {
        return Err(wrong("there is no such file".to_owned()));
    }
    Ok(paths)
}

/// What is for the whole daemon is in one place.
fn check_drop_in(file: &File) -> Result<(), FileError> {
    let keys = &file.keys;
    let source = &file.source;
    let main_only = |key, place: Option<Place>| {
        let reason = "belongs in the file that includes this one; here are uplinks, templates and \
                      guests";
        place.map_or(Ok(()), |place| {
            Err(place.fault(ConfigFault::Misplaced { key, reason }))
        })
    };
    let place = |span: Option<_>| span.map(|span| source.place(span));
    main_only("include", place(keys.include.as_ref().map(|at| at.span())))?;
    main_only("poll_us", place(keys.poll_us.as_ref().map(|at| at.span())))?;
    main_only("shards", place(keys.shards.as_ref().map(|at| at.span())))?;
    main_only("pool", place(keys.pool.as_ref().map(|at| at.span())))?;
    main_only("control", place(keys.control.as_ref().map(|at| at.span())))?;
    main_only("sandbox", place(keys.sandbox.as_ref().map(|at| at.span())))?;
    main_only("metrics", place(keys.metrics.as_ref().map(|at| at.span())))?;
    main_only(
        "control_group",
        place(keys.control_group.as_ref().map(|at| at.span())),
    )?;
    main_only(
        "defaults",
        place(keys.defaults.as_ref().map(|at| at.span())),
    )
}

fn control(main: &File) -> Result<Option<ControlConfig>, FileError> {
    let group = main.keys.control_group.as_ref();
    let group = group.map(|group| group.found(&main.source));
    match (&main.keys.control, group) {
        (Some(path), group) => Ok(Some(ControlConfig {
            path: (**path).clone(),
            group: group.map(group_id).transpose()?,
        })),
        (None, Some(group)) => Err(group.fault(ConfigFault::Misplaced {
            key: "control_group",
            reason: "is for the control socket: write control = \"PATH\" as well",
        })),
        (None, None) => Ok(None),
    }
}

fn sandbox(main: &File) -> SandboxSettings {
    let keys = main.keys.sandbox.as_ref().map(|keys| **keys);
    let keys = keys.unwrap_or_default();
    SandboxSettings {
        seccomp: keys.seccomp.unwrap_or_default(),
        require: keys.require.unwrap_or_default(),
    }
}

fn poll(main: &File) -> Result<Duration, FileError> {
    let poll = main.keys.poll_us.as_ref().map(|poll| {
        let poll = poll.found(&main.source);
        within("the microseconds of a poll", poll, &POLLS)
    });
    let micros = poll.transpose()?.unwrap_or(0);
    Ok(Duration::from_micros(micros.into()))
}

fn shards(main: &File) -> Result<u16, FileError> {
    let shards = main.keys.shards.as_ref().map(|shards| {
        let shards = shards.found(&main.source);
        within("the number of shards", shards, &SHARDS)
    });
    Ok(shards.transpose()?.unwrap_or(*SHARDS.start()))
}

fn pool(main: &File, shards: u16) -> Result<u64, FileError> {
    let Some(pool) = &main.keys.pool else {
        return Ok(DEFAULT_POOL_BYTES);
    };
    let Written(Size(bytes)) = **pool;
    let least = POOLS.start().saturating_mul(shards.into());
    if (least..=*POOLS.end()).contains(&bytes) {
        return Ok(bytes);
    }
    Err(pool.found(&main.source).fault(ConfigFault::OutOfRange {
        what: "the bytes of the pool",
        value: bytes,
        least,
        most: *POOLS.end(),
    }))
}

fn add_templates<'a>(templates: &mut Templates<'a>, file: &'a File) -> Result<(), FileError> {
    for (name, keys) in &file.keys.template {
        let source = &file.source;
        let layer = Layer { source, keys };
        layer.check_shared()?;
        if let Some(first) = templates.insert(name, layer) {
            return Err(layer.place().fault(ConfigFault::SameName {
                what: "template",
                name: name.clone(),
                first: first.place().line().to_string(),
                hint: "",
            }));
        }
    }
    Ok(())
}

fn template_of<'a>(
    own: Layer<'a>,
    templates: &Templates<'a>,
) -> Result<Option<Layer<'a>>, FileError> {
    let Some(name) = &own.keys.template else {
        return Ok(None);
    };
    let template = templates.get(name.as_str()).copied();
    template.map(Some).ok_or_else(|| {
        let mut known: Vec<&str> = templates.keys().copied().collect();
        known.sort_unstable();
        let known = Known::new(name, known.into_iter());
        name.found(own.source).fault(ConfigFault::NoTemplate(known))
    })
}

/// The guests so far, and what is one guest's alone.
#[derive(Default)]
struct Guests<'a> {
    entries: Vec<Entry<'a>>,
    /// For each guest which entry it is of.
    origins: Vec<usize>,
    configs: Vec<GuestConfig>,
    names: HashMap<String, usize>,
    sockets: HashMap<PathBuf, usize>,
    macs: HashMap<MacAddr, usize>,
}

impl<'a> Guests<'a> {
    fn add(&mut self, entry: Entry<'a>, uplinks: &[UplinkConfig]) -> Result<(), FileError> {
        let guests = entry.guests(uplinks)?;
        self.entries.push(entry);
        for guest in guests {
            self.add_one(guest)?;
        }
        Ok(())
    }

    fn add_one(&mut self, guest: GuestConfig) -> Result<(), FileError> {
        let number = self.configs.len();
        self.origins.push(self.entries.len().saturating_sub(1));
        let name = guest.name.clone();
        let (key, socket) = match &guest.front_end {
            FrontEnd::Listen { path, .. } => ("socket", Some(path.clone())),
            FrontEnd::Connect { path } => ("connect", Some(path.clone())),
            FrontEnd::Fd(_) => ("socket", None),
        };
        let mac = guest.mac;
        self.configs.push(guest);
        if let Some(first) = taken(&mut self.names, Some(name.clone()), number) {
            return Err(self.key_place(number, "name").fault(ConfigFault::SameName {
                what: "guest",
                name,
                first: self.key_place(first, "name").line().to_string(),
                hint: self.hint(number),
            }));
        }
        if let Some(first) = taken(&mut self.sockets, socket.clone(), number) {
            let path = socket.unwrap_or_default();
            return Err(self.taken("socket", path.display(), key, number, first));
        }
        match (taken(&mut self.macs, mac, number), mac) {
            (Some(first), Some(mac)) => Err(self.taken("MAC address", mac, "mac", number, first)),
            _ => Ok(()),
        }
    }

    fn entry(&self, guest: usize) -> Option<&Entry<'a>> {
        self.entries.get(*self.origins.get(guest)?)
    }

    /// Where a guest's key was written.
    fn key_place(&self, guest: usize, key: &str) -> Place {
        let entry = self.entry(guest);
        entry.map_or_else(Place::default, |entry| entry.place(key))
    }

    fn hint(&self, guest: usize) -> &'static str {
        let is_pattern = self.entry(guest).is_some_and(Entry::is_pattern);
        if is_pattern { PATTERN } else { "" }
    }

    /// Where a class is that may not run.
    fn place(&self, config: &Config, refusal: &Refusal) -> Option<Place> {
        let Member::Guest { guest, class } = refusal.member else {
            return None;
        };
        let tree = config.guests.get(guest)?.tree(refusal.direction);
        let class = tree.classes.get(class).map_or(GUEST, |class| class.id);
        let branch = self.entry(guest)?.branch(refusal.direction);
        Some(branch.place(class, refusal.key))
    }

    fn taken(
        &self,
        what: &'static str,
        value: impl fmt::Display,
        key: &str,
        number: usize,
        first: usize,
    ) -> FileError {
        let owner = self.configs.get(first).map(|guest| guest.name.clone());
        self.key_place(number, key).fault(ConfigFault::Taken {
            what,
            value: value.to_string(),
            owner: owner.unwrap_or_default(),
            first: self.key_place(first, key).line().to_string(),
            hint: self.hint(number),
        })
    }
}

/// Notes whose something is; who has it already, if anyone has.
fn taken<T: Eq + Hash>(
    owners: &mut HashMap<T, usize>,
    value: Option<T>,
    owner: usize,
) -> Option<usize> {
    owners.insert(value?, owner)
}
