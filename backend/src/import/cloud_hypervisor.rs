//! cloud-hypervisor: its `--net` (docs/device_model.md, docs/io_throttling.md), or the JSON of a VM
//! (`NetConfig` of vmm/src/api/openapi/cloud-hypervisor.yaml, also as `ch-remote info` prints it).
//!
//! - `bw_size` is in **bytes** and `bw_refill_time` in milliseconds, `ops_size` in buffers. Without both
//!   of them there is no limit.
//! - The same limit holds for each direction by itself, and for each **queue pair** by itself (`activate`
//!   of virtio-devices/src/net.rs makes a limiter for each): a guest with four queues may send twice as
//!   much as one with two.
//! - What is counted is what `readv` and `writev` of the tap returned, the virtio header included
//!   (net_util/src/queue_pair.rs).
//! - `vhost_mode` is what cloud-hypervisor is: a client connects, so that we listen.

use super::bucket::{Bucket, Buckets};
use super::error::hint;
use super::firecracker::{buckets, mtu_of};
use super::json::{Json, parse};
use super::words::{lines, pairs, words};
use super::{Branch, Guest, ImportError, Imported, Limits, Met, Place, device};
use crate::args::MAX_QUEUE_PAIRS;

/// Keys of `--net`.
const KEYS: &[&str] = &[
    "tap",
    "ip",
    "mask",
    "mac",
    "host_mac",
    "mtu",
    "fd",
    "iommu",
    "num_queues",
    "queue_size",
    "id",
    "vhost_user",
    "socket",
    "vhost_mode",
    "bw_size",
    "bw_one_time_burst",
    "bw_refill_time",
    "ops_size",
    "ops_one_time_burst",
    "ops_refill_time",
    "pci_segment",
    "offload_tso",
    "offload_ufo",
    "offload_csum",
];

/// What is the guest's hardware.
const UNTOLD: &[&str] = &[
    "iommu",
    "queue_size",
    "vhost_user",
    "pci_segment",
    "pci_bdf_device",
    "offload_tso",
    "offload_ufo",
    "offload_csum",
    "fd",
    "fds",
    "host_mac",
];

const NOTHING: ImportError = ImportError::Nothing(
    "`--net tap=...,bw_size=...,bw_refill_time=...`, or the JSON of a VM with \"net\"",
);

pub(super) fn read(text: &str) -> Result<Imported, ImportError> {
    let guests = match text.trim_start().starts_with(['{', '[']) {
        true => from_json(text)?,
        false => from_command_line(text)?,
    };
    match guests.is_empty() {
        true => Err(NOTHING),
        false => Ok(Imported {
            guests,
            ..Imported::default()
        }),
    }
}

/// What both spellings say about a NIC.
#[derive(Default)]
struct Net {
    id: Option<String>,
    tap: Option<String>,
    socket: Option<String>,
    server: bool,
    queues: u64,
}

impl Net {
    /// The queue pairs: two queues each, two queues unless written.
    fn pairs(&self) -> u64 {
        (self.queues / 2).max(1)
    }

    fn guest(&self, place: &Place, number: usize) -> Result<Guest, ImportError> {
        let name = self.id.clone().unwrap_or_else(|| format!("net{number}"));
        let mut guest = Guest::new(name);
        if let Some(tap) = &self.tap {
            guest.behind = device::behind(&place.key("tap"), tap)?;
        }
        guest.met = match (&self.socket, self.server) {
            (None, _) => Met::Unsaid,
            (Some(socket), false) => Met::Socket(socket.into()),
            (Some(socket), true) => Met::Connect(socket.into()),
        };
        let pairs = u16::try_from(self.pairs()).unwrap_or(u16::MAX);
        guest.queues = (pairs > 1).then_some(pairs.min(MAX_QUEUE_PAIRS));
        if pairs > MAX_QUEUE_PAIRS {
            let note = format!("{pairs} queue pairs: a guest has {MAX_QUEUE_PAIRS} at most");
            guest.notes.push(note);
        }
        Ok(guest)
    }
}

/// Both directions have the limits.
fn limit(guest: &mut Guest, limits: Limits) {
    guest.from_guest = Branch::of(limits.clone());
    guest.to_guest = Branch::of(limits);
}

fn from_json(text: &str) -> Result<Vec<Guest>, ImportError> {
    let value = parse(text)?;
    let whole = Json::new(&value);
    let config = whole.get("config").unwrap_or_else(|| whole.clone());
    let nets = match config.get("net") {
        Some(nets) => nets.list()?,
        None if value.is_array() => whole.list()?,
        None => ["tap", "mac", "rate_limiter_config", "vhost_socket"]
            .iter()
            .any(|key| whole.get(key).is_some())
            .then_some(whole)
            .into_iter()
            .collect(),
    };
    let nets = nets.iter().enumerate();
    nets.map(|(number, net)| json_net(net, number)).collect()
}

fn json_net(net: &Json<'_>, number: usize) -> Result<Guest, ImportError> {
    net.table()?;
    let text = |key| {
        net.get(key)
            .map(|it| it.text().map(str::to_owned))
            .transpose()
    };
    let mode = text("vhost_mode")?;
    let queues = net.get("num_queues").map(|it| it.number()).transpose()?;
    let read = Net {
        id: text("id")?,
        tap: text("tap")?,
        socket: text("vhost_socket")?,
        server: mode.is_some_and(|mode| mode.eq_ignore_ascii_case("server")),
        queues: queues.unwrap_or(2),
    };
    let mut guest = read.guest(&net.place, number)?;
    if let Some(mac) = net.get("mac") {
        guest.mac = Some(mac.parsed()?);
    }
    if let Some(mtu) = net.get("mtu") {
        guest.mtu = Some(mtu_of(&mtu)?);
    }
    if let Some(limiter) = net.get("rate_limiter_config") {
        limit(&mut guest, buckets(&limiter, read.pairs())?);
    }
    let known = [
        "id",
        "tap",
        "mac",
        "mtu",
        "num_queues",
        "vhost_socket",
        "vhost_mode",
        "rate_limiter_config",
    ];
    let others = net.others(&[&known, UNTOLD].concat());
    let no_equal = |key: String| format!("{key}: no equal; it is the host's side of the tap");
    guest.notes.extend(others.into_iter().map(no_equal));
    Ok(guest)
}

fn from_command_line(text: &str) -> Result<Vec<Guest>, ImportError> {
    let mut guests = Vec::new();
    let mut in_net = false;
    // Without any option all words are of `--net`.
    let bare = !text.contains("--net");
    for (line, text) in lines(text) {
        let place = Place::line(line);
        for word in words(&place, &text)? {
            match word.strip_prefix("--net=") {
                Some(net) => {
                    guests.push(net_option(&place, net, guests.len())?);
                    in_net = true;
                }
                None if word == "--net" => in_net = true,
                None if word.starts_with("--") => in_net = false,
                None if in_net || bare => guests.push(net_option(&place, &word, guests.len())?),
                None => {}
            }
        }
    }
    Ok(guests)
}

fn net_option(place: &Place, option: &str, number: usize) -> Result<Guest, ImportError> {
    let mut net = Net {
        queues: 2,
        ..Net::default()
    };
    let mut bandwidth = Bucket::default();
    let mut ops = Bucket::default();
    let mut others = Guest::default();
    for (key, value) in pairs(option) {
        if !KEYS.contains(&key.as_str()) {
            return Err(ImportError::Unknown {
                place: place.clone(),
                what: "key of --net",
                hint: hint(&key, KEYS),
                name: key,
            });
        }
        let place = place.key(&key);
        let value = value.ok_or_else(|| place.value(&key, "write `=` and a value after it"))?;
        match key.as_str() {
            "id" => net.id = Some(value),
            "tap" => net.tap = Some(value),
            "socket" => net.socket = Some(value),
            "vhost_mode" => net.server = value == "server",
            "num_queues" => net.queues = place.number(&value)?,
            "mac" => others.mac = Some(value.parse().map_err(|e| place.value(&value, e))?),
            "mtu" => match value.parse() {
                Ok(mtu) if mtu >= 68 => others.mtu = Some(mtu),
                _ => return Err(place.value(&value, "an MTU is 68 to 65535 bytes")),
            },
            "bw_size" => bandwidth.size = place.number(&value)?,
            "bw_refill_time" => bandwidth.refill_time = place.number(&value)?,
            "bw_one_time_burst" => bandwidth.one_time_burst = place.number(&value)?,
            "ops_size" => ops.size = place.number(&value)?,
            "ops_refill_time" => ops.refill_time = place.number(&value)?,
            "ops_one_time_burst" => ops.one_time_burst = place.number(&value)?,
            key if UNTOLD.contains(&key) => {}
            key => {
                let note = format!("{key}={value}: no equal; it is the host's side of the tap");
                others.notes.push(note);
            }
        }
    }
    let mut guest = net.guest(place, number)?;
    (guest.mac, guest.mtu) = (others.mac, others.mtu);
    guest.notes.extend(others.notes);
    let written = |bucket: Bucket| (bucket.size > 0 || bucket.refill_time > 0).then_some(bucket);
    let buckets = Buckets {
        bandwidth: written(bandwidth),
        ops: written(ops),
        pairs: net.pairs(),
        place,
    };
    limit(&mut guest, buckets.limits()?);
    Ok(guest)
}
