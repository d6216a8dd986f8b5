//! Xen: the `vif` strings of xl (xl-network-configuration(5)), alone or in a domain's configuration.
//!
//! - `rate=RATE/s[@INTERVAL]` limits what the guest **sends** alone. `b` are bits and `B` bytes, K, M and G
//!   powers of ten; 10Mb/s and 10MB/s differ by eight.
//! - The interval, 50 ms unless written, is how often the credit comes back whole: a burst of what it
//!   carries.
//! - xen-netback takes off its credit the length of the request, `txreq.size` (`tx_credit_exceeded` in
//!   drivers/net/xen-netback/netback.c): the frame without check sequence, a super-frame with one set of
//!   headers.

use std::net::IpAddr;

use ipnet::IpNet;
use qos::RateSpec;

use super::amount::FRAME;
use super::error::hint;
use super::words::pairs;
use super::{Behind, Branch, Guest, ImportError, Imported, Limits, Place, device};
use crate::config::VlanConfig;

/// All keys (xl-network-configuration(5)).
const KEYS: &[&str] = &[
    "mac",
    "bridge",
    "gatewaydev",
    "type",
    "model",
    "vifname",
    "script",
    "ip",
    "backend",
    "rate",
    "devid",
    "mtu",
    "vlan",
    "trusted",
];

/// What is the guest's hardware, or only a name.
const UNTOLD: &[&str] = &["type", "model", "vifname", "devid"];

/// One vif, where it was written.
struct Vif {
    line: usize,
    text: String,
}

pub(super) fn read(text: &str) -> Result<Imported, ImportError> {
    let (name, vifs) = match Scanner::new(text).domain()? {
        Some(domain) => domain,
        None => ("vif".to_owned(), lines(text)),
    };
    let several = vifs.len() > 1;
    let mut imported = Imported::default();
    for (number, vif) in vifs.iter().enumerate() {
        let name = match several {
            true => format!("{name}-{number}"),
            false => name.clone(),
        };
        imported.guests.push(guest(name, vif)?);
    }
    match imported.guests.is_empty() {
        true => Err(ImportError::Nothing(
            "a vif string such as `mac=00:16:3e:00:00:01,bridge=xenbr0,rate=10Mb/s@20ms`, or a domain's \
             configuration with vif = [ ... ]",
        )),
        false => Ok(imported),
    }
}

/// Vif strings, one a line.
fn lines(text: &str) -> Vec<Vif> {
    let vif = |(line, text): (usize, &str)| {
        let text = text.split('#').next().unwrap_or("");
        let quotes = |c: char| c.is_whitespace() || matches!(c, '\'' | '"' | ',');
        let text = text.trim_matches(quotes).to_owned();
        Vif { line, text }
    };
    let vifs = (1..).zip(text.lines()).map(vif);
    vifs.filter(|vif| !vif.text.is_empty()).collect()
}

fn guest(name: String, vif: &Vif) -> Result<Guest, ImportError> {
    let mut guest = Guest::new(name);
    let mut limits = Limits::default();
    for (key, value) in pairs(&vif.text) {
        let place = Place::line(vif.line).key(&key);
        if !KEYS.contains(&key.as_str()) {
            return Err(ImportError::Unknown {
                place: Place::line(vif.line),
                what: "key",
                hint: hint(&key, KEYS),
                name: key,
            });
        }
        let value = value.ok_or_else(|| place.value(&key, "write `=` and a value after it"))?;
        match key.as_str() {
            "mac" => guest.mac = Some(value.parse().map_err(|e| place.value(&value, e))?),
            "bridge" => bridge(&mut guest, &place, &value)?,
            "rate" => rate(&mut limits, &place, &value)?,
            "mtu" => match value.parse() {
                Ok(mtu) if mtu >= 68 => guest.mtu = Some(mtu),
                _ => return Err(place.value(&value, "an MTU is 68 to 65535 bytes")),
            },
            "vlan" => match value.parse() {
                Ok(vlan @ 1..=4094) => guest.vlan = VlanConfig::Access(vlan),
                _ => guest
                    .notes
                    .push(format!("vlan={value}: write vlan, or trunk and native")),
            },
            "ip" => addresses(&mut guest, &value),
            key if UNTOLD.contains(&key) => {}
            key => guest.notes.push(format!("{key}={value}: no equal")),
        }
    }
    guest.from_guest = Branch::of(limits);
    Ok(guest)
}

/// A bridge's name; with vif-openvswitch also `.TAG` or `:TRUNK:TRUNK`, which only look like one.
fn bridge(guest: &mut Guest, place: &Place, value: &str) -> Result<(), ImportError> {
    let mut parts = value.split(':');
    let name = parts.next().unwrap_or("");
    guest.behind = Behind::Bridge(device::name(place, name)?);
    if parts.next().is_some() {
        let note =
            format!("bridge={value}: of VLANs write trunk, and native for the one after the dot");
        guest.notes.push(note);
    }
    Ok(())
}

fn rate(limits: &mut Limits, place: &Place, value: &str) -> Result<(), ImportError> {
    let (rate, _) = value.split_once('@').unwrap_or((value, ""));
    if !rate.trim_end().ends_with("/s") {
        return Err(place.value(value, "xl writes rates as 10Mb/s, 1MB/s or 10Mb/s@20ms"));
    }
    let spec: RateSpec = value.parse().map_err(|error| place.value(value, error))?;
    limits.ceil = Some(spec.rate);
    limits.cburst = spec.burst;
    limits.framing = Some(FRAME);
    Ok(())
}

/// Addresses between spaces, which the scripts let the guest send from alone.
fn addresses(guest: &mut Guest, value: &str) {
    for text in value.split_whitespace() {
        let address = text
            .parse::<IpAddr>()
            .map(IpNet::from)
            .or_else(|_| text.parse());
        match address {
            Ok(address) if address.trunc() == address => guest.addresses.push(address),
            _ => guest
                .notes
                .push(format!("ip={text}: write addresses = [...]")),
        }
    }
}

/// Reads as much of a domain's configuration (xl.cfg(5)) as is needed: its name and its vifs.
struct Scanner<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            rest: text.chars().peekable(),
            line: 1,
        }
    }

    /// The domain's name and vifs, or nothing if this is no domain's configuration.
    fn domain(mut self) -> Result<Option<(String, Vec<Vif>)>, ImportError> {
        let mut name = None;
        let mut vifs = None;
        while self.rest.peek().is_some() {
            self.skip(|c| c.is_whitespace() || c == ';');
            let key = self.word();
            self.skip(|c| c == ' ' || c == '\t');
            if self.rest.peek() != Some(&'=') {
                self.end_of_line();
                continue;
            }
            self.next();
            self.skip(|c| c == ' ' || c == '\t');
            match (key.as_str(), self.rest.peek().copied()) {
                ("name", Some(quote @ ('"' | '\''))) => name = Some(self.string(quote)?),
                ("vif", Some('[')) => vifs = Some(self.list()?),
                (_, Some('[')) => drop(self.list()?),
                (_, Some(quote @ ('"' | '\''))) => drop(self.string(quote)?),
                _ => self.end_of_line(),
            }
        }
        Ok(vifs.map(|vifs| (name.unwrap_or_else(|| "vif".to_owned()), vifs)))
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        self.line += usize::from(next == Some('\n'));
        next
    }

    fn skip(&mut self, what: impl Fn(char) -> bool) {
        while self.rest.peek().is_some_and(|&c| what(c)) {
            self.next();
        }
    }

    fn end_of_line(&mut self) {
        self.skip(|c| c != '\n');
        self.next();
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(&c) = self
            .rest
            .peek()
            .filter(|c| c.is_alphanumeric() || **c == '_')
        {
            word.push(c);
            self.next();
        }
        word
    }

    /// A string that begins with this quote, which comes next.
    fn string(&mut self, quote: char) -> Result<String, ImportError> {
        let place = Place::line(self.line);
        self.next();
        let mut string = String::new();
        loop {
            match self.next() {
                Some(c) if c == quote => return Ok(string),
                Some(c) => string.push(c),
                None => return Err(unclosed(place, "a quote")),
            }
        }
    }

    /// The strings of a list, whose bracket comes next; lists in it are skipped over.
    fn list(&mut self) -> Result<Vec<Vif>, ImportError> {
        let place = Place::line(self.line);
        let mut strings = Vec::new();
        let mut depth = 0_usize;
        loop {
            match self.rest.peek().copied() {
                Some(quote @ ('"' | '\'')) => {
                    let line = self.line;
                    let text = self.string(quote)?;
                    strings.push(Vif { line, text });
                    continue;
                }
                Some('#') => self.skip(|c| c != '\n'),
                Some('[') => depth = depth.saturating_add(1),
                Some(']') => depth = depth.saturating_sub(1),
                Some(_) => {}
                None => return Err(unclosed(place, "a bracket")),
            }
            self.next();
            if depth == 0 {
                return Ok(strings);
            }
        }
    }
}

fn unclosed(place: Place, what: &str) -> ImportError {
    ImportError::Syntax {
        place,
        what: "a domain's configuration",
        message: format!("{what} is not closed"),
    }
}
