//! Where to listen, and which requests are for there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use hyper::http::uri::Authority;
use thiserror::Error;

/// An address and port to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub SocketAddr);

/// Not an address and port. The operator is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{0}` is no address to listen on: write a port, such as `9555`, which only this machine can reach, \
     or `ADDR:PORT`, such as `192.0.2.1:9555` or `[::1]:9555`"
)]
pub struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let port = text.parse::<u16>();
        let loopback = port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let address = loopback.ok().or_else(|| text.parse().ok());
        address
            .map(Self)
            .ok_or_else(|| AddressError(text.to_owned()))
    }
}

/// Whether a request's `Host` is a name or address that always means this machine. Others can be another
/// site's name that its owner has pointed here, so that the site's pages may read what we answer (DNS
/// rebinding).
pub fn names_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    name.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_this_machines() {
        for (text, address) in [
            ("9555", "127.0.0.1:9555"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[::]:0", "[::]:0"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().0.to_string(), address);
        }
        for text in ["", "65536", "localhost:9555", "::1", "1.2.3.4", "-1"] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn only_names_that_nobody_else_can_point_here_are_this_machines() {
        for host in [
            "localhost",
            "LocalHost:9555",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]:9555",
        ] {
            assert!(names_this_machine(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "[::2]:9555",
            "a b",
        ] {
            assert!(!names_this_machine(host), "{host}");
        }
    }
}
