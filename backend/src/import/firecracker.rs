//! Firecracker: the JSON of its configuration file, or of `/network-interfaces`
//! (docs/api_requests, src/firecracker/swagger/firecracker.yaml: NetworkInterface, RateLimiter, TokenBucket).
//!
//! - `rx_rate_limiter` is what the guest **receives**, `tx_rate_limiter` what it sends.
//! - `bandwidth.size` is in **bytes**, `refill_time` in milliseconds: bits per second are
//!   `size * 8 * 1000 / refill_time`. `ops` are buffers.

use super::bucket::{Bucket, Buckets};
use super::json::{Json, parse};
use super::{Branch, Guest, ImportError, Imported, Limits, device};

const KEYS: &[&str] = &[
    "iface_id",
    "host_dev_name",
    "guest_mac",
    "mtu",
    "rx_rate_limiter",
    "tx_rate_limiter",
];

pub(super) fn read(text: &str) -> Result<Imported, ImportError> {
    let value = parse(text)?;
    let whole = Json::new(&value);
    let interfaces = match whole.get("network-interfaces") {
        Some(interfaces) => interfaces.list()?,
        None if value.is_array() => whole.list()?,
        None if whole.get("iface_id").is_some() => vec![whole],
        None => Vec::new(),
    };
    let guests: Result<Vec<Guest>, _> = interfaces.iter().map(guest).collect();
    let guests = guests?;
    if guests.is_empty() {
        return Err(ImportError::Nothing(
            "a configuration with \"network-interfaces\", or an interface with \"iface_id\"",
        ));
    }
    Ok(Imported {
        guests,
        ..Imported::default()
    })
}

fn guest(interface: &Json<'_>) -> Result<Guest, ImportError> {
    interface.table()?;
    let id = interface
        .get("iface_id")
        .ok_or_else(|| ImportError::Missing {
            place: interface.place.clone(),
            what: "iface_id",
            hint: "every interface has one",
        })?;
    let mut guest = Guest::new(id.text()?);
    if let Some(device) = interface.get("host_dev_name") {
        guest.behind = device::behind(&device.place, device.text()?)?;
    }
    if let Some(mac) = interface.get("guest_mac") {
        guest.mac = Some(mac.parsed()?);
    }
    if let Some(mtu) = interface.get("mtu") {
        guest.mtu = Some(mtu_of(&mtu)?);
    }
    guest.to_guest = Branch::of(limits(interface, "rx_rate_limiter")?);
    guest.from_guest = Branch::of(limits(interface, "tx_rate_limiter")?);
    let others = interface.others(KEYS).into_iter();
    guest
        .notes
        .extend(others.map(|key| format!("{key}: no equal")));
    Ok(guest)
}

/// An MTU in bytes.
pub(super) fn mtu_of(mtu: &Json<'_>) -> Result<u16, ImportError> {
    match u16::try_from(mtu.number()?) {
        Ok(bytes) if bytes >= 68 => Ok(bytes),
        _ => Err(mtu.wrong("an MTU is 68 to 65535 bytes")),
    }
}

fn limits(interface: &Json<'_>, key: &str) -> Result<Limits, ImportError> {
    let Some(limiter) = interface.get(key) else {
        return Ok(Limits::default());
    };
    buckets(&limiter, 1)
}

/// The limits of a rate limiter.
pub(super) fn buckets(limiter: &Json<'_>, pairs: u64) -> Result<Limits, ImportError> {
    limiter.table()?;
    let buckets = Buckets {
        bandwidth: bucket(limiter.get("bandwidth"))?,
        ops: bucket(limiter.get("ops"))?,
        pairs,
        place: &limiter.place,
    };
    buckets.limits()
}

fn bucket(bucket: Option<Json<'_>>) -> Result<Option<Bucket>, ImportError> {
    let Some(bucket) = bucket else {
        return Ok(None);
    };
    bucket.table()?;
    let number = |key: &'static str| bucket.get(key).map(|it| it.number()).transpose();
    let needed = |key: &'static str| {
        number(key)?.ok_or_else(|| ImportError::Missing {
            place: bucket.place.clone(),
            what: key,
            hint: "a bucket has a size, and a refill_time in milliseconds",
        })
    };
    Ok(Some(Bucket {
        size: needed("size")?,
        refill_time: needed("refill_time")?,
        one_time_burst: number("one_time_burst")?.unwrap_or(0),
    }))
}
