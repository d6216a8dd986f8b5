//! `guest`: add, remove, hold and list guests.

use std::io::Write;
use std::path::Path;

use netqos::control::{Client, PortReport, Request};
use toml::{Table, Value};

use crate::cli::{Add, AddKeys, Guest};
use crate::diff;
use crate::failure::{Failure, InputError};
use crate::input;
use crate::number::count;
use crate::plain::{Done, do_it};
use crate::text::{HEAD, fit, printable};

pub(crate) fn run(
    daemon: &mut Client,
    out: &mut impl Write,
    command: &Guest,
) -> Result<(), Failure> {
    let request = match command {
        Guest::Add(args) => Request::GuestAdd {
            guest: args.guest.clone(),
            keys: keys(args)?,
            generation: args.generation,
        },
        Guest::Del { guest, generation } => Request::GuestDel {
            guest: guest.clone(),
            generation: *generation,
        },
        Guest::Pause { guest } => return pause(daemon, guest, true),
        Guest::Resume { guest } => return pause(daemon, guest, false),
        Guest::List => return list(out, &daemon.report(&[], false)?.ports),
    };
    let applied = daemon.change(&request)?;
    Ok(diff::print(out, &applied)?)
}

fn pause(daemon: &mut Client, guest: &str, paused: bool) -> Result<(), Failure> {
    let request = Request::GuestPause {
        guest: guest.to_owned(),
        paused,
    };
    do_it(daemon, &request).map(|Done {}| ())
}

/// What the file would say of the guest.
fn keys(args: &Add) -> Result<String, InputError> {
    let mut table = table(&args.keys);
    if let Some(path) = &args.keys_file {
        let toml = |error: toml::de::Error| InputError::Toml {
            path: path.clone(),
            error: Box::new(error),
        };
        let more: Table = input::read(path)?.parse().map_err(toml)?;
        for (key, value) in more {
            merge(&mut table, key, value, path)?;
        }
    }
    Ok(table.to_string())
}

/// Adds a key; a table that is there already takes the keys of another in.
fn merge(table: &mut Table, key: String, value: Value, path: &Path) -> Result<(), InputError> {
    match (table.get_mut(&key), value) {
        (None, value) => {
            table.insert(key, value);
            Ok(())
        }
        (Some(Value::Table(below)), Value::Table(more)) => {
            let mut more = more.into_iter();
            more.try_for_each(|(key, value)| merge(below, key, value, path))
        }
        (Some(_), _) => Err(InputError::Twice {
            path: path.to_owned(),
            key,
        }),
    }
}

/// What the options say, as the file would.
fn table(keys: &AddKeys) -> Table {
    let mut table = Table::new();
    for (key, value) in [
        ("socket", &keys.socket),
        ("socket_mode", &keys.socket_mode),
        ("socket_group", &keys.socket_group),
        ("connect", &keys.connect),
        ("uplink", &keys.uplink),
        ("template", &keys.template),
        ("mac", &keys.mac),
        ("isolation", &keys.isolation),
        ("limit", &keys.rate),
    ] {
        if let Some(value) = value {
            table.insert(key.to_owned(), value.clone().into());
        }
    }
    for (key, value) in [
        ("vlan", keys.vlan),
        ("queues", keys.queues),
        ("mtu", keys.mtu),
    ] {
        if let Some(value) = value {
            table.insert(key.to_owned(), i64::from(value).into());
        }
    }
    if !keys.addresses.is_empty() {
        table.insert("addresses".to_owned(), keys.addresses.clone().into());
    }
    for (key, ceil) in [
        ("from_guest", &keys.rate_from_guest),
        ("to_guest", &keys.rate_to_guest),
    ] {
        if let Some(ceil) = ceil {
            let below = Table::from_iter([("ceil".to_owned(), Value::from(ceil.clone()))]);
            table.insert(key.to_owned(), below.into());
        }
    }
    table
}

/// What a guest is doing.
pub(crate) const fn state(port: &PortReport) -> &'static str {
    match (port.paused, port.session) {
        (true, _) => "paused",
        (false, true) => "connected",
        (false, false) => "absent",
    }
}

fn list(out: &mut impl Write, ports: &[PortReport]) -> Result<(), Failure> {
    let row = |cells: [&str; 6]| {
        let [name, uplink, state, mac, from, to] = cells;
        let (name, uplink) = (fit(name, 20), fit(uplink, 11));
        format!("{name} {uplink} {state:9} {mac:17} {from:>9} {to:>8}")
    };
    let head = row(["guest", "uplink", "state", "mac", "from max", "to max"]);
    writeln!(out, "{HEAD}{head}{HEAD:#}")?;
    for port in ports {
        let limit = |limit: Option<u64>| limit.map_or_else(|| "-".to_owned(), count);
        let line = row([
            &printable(&port.port),
            &printable(&port.uplink),
            state(port),
            &printable(port.mac.as_deref().unwrap_or("any")),
            &limit(port.from_guest.limits.ceil),
            &limit(port.to_guest.limits.ceil),
        ]);
        writeln!(out, "{line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn add(file: &str) -> Result<String, InputError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        fs::write(&path, file).unwrap();
        keys(&Add {
            guest: "vm1".to_owned(),
            keys: AddKeys {
                socket: Some("/run/a \"b\".sock".to_owned()),
                mac: Some("52:54:00:00:00:01".to_owned()),
                vlan: Some(5),
                addresses: vec!["192.0.2.1".to_owned()],
                rate_from_guest: Some("10mbit".to_owned()),
                ..AddKeys::default()
            },
            generation: None,
            keys_file: Some(path),
        })
    }

    #[test]
    fn options_and_file_make_one_table() {
        let keys = add("mtu = 1400\n[from_guest]\nrate = \"1mbit\"\n").unwrap();
        let table: Table = keys.parse().unwrap();
        assert_eq!(table["socket"].as_str(), Some("/run/a \"b\".sock"));
        assert_eq!(table["vlan"].as_integer(), Some(5));
        assert_eq!(table["mtu"].as_integer(), Some(1400));
        assert_eq!(table["addresses"][0].as_str(), Some("192.0.2.1"));
        assert_eq!(table["from_guest"]["ceil"].as_str(), Some("10mbit"));
        assert_eq!(table["from_guest"]["rate"].as_str(), Some("1mbit"));
        assert!(table.get("limit").is_none());
    }

    #[test]
    fn a_key_said_twice_and_a_file_that_is_no_toml_are_named() {
        let error = add("vlan = 6\n").unwrap_err().to_string();
        assert!(error.ends_with("keys.toml: vlan is given by an option already: say it once"));
        let error = add("vlan = \n").unwrap_err().to_string();
        assert!(
            error.contains("keys.toml: TOML parse error at line 1"),
            "{error}"
        );
    }
}
