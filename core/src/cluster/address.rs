//! Endpoints as users write them (`host:port`, `unix:/path`) and as the engine does (`tcp/host:port`).

use std::net::IpAddr;

use crate::error::{Error, Result, shorten};

const UNIX: &str = "unix:";
const UNIX_ENGINE: &str = "unixsock-stream/";
/// What separates an address from metadata and settings there.
const RESERVED: [char; 3] = ['?', '#', ';'];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp { host: String, port: u16 },
    Unix(String),
}

impl Address {
    pub fn parse(text: &str) -> Result<Address> {
        let wrong = |why: &str| {
            let shown = shorten(text.as_bytes());
            Err(Error::argument(format!("{shown} is not an endpoint: {why}")))
        };
        if text.chars().any(|c| c.is_control() || RESERVED.contains(&c)) {
            return wrong("control characters, '?', '#' and ';' cannot be in it");
        }
        if let Some(path) = text.strip_prefix(UNIX) {
            if path.is_empty() {
                return wrong("the path is empty");
            }
            return Ok(Address::Unix(path.to_owned()));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return wrong("write host:port or unix:/path");
        };
        let Ok(port) = port.parse() else {
            return wrong("the port is not a number up to 65535");
        };
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let fits = match bare {
            Some(bare) => bare.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains([':', '[', ']', '/']),
        };
        if !fits {
            return wrong("the host is neither a name nor an address ([…] around IPv6)");
        }
        Ok(Address::Tcp { host: host.to_owned(), port })
    }

    /// As the engine writes it.
    pub fn locator(&self, tls: bool) -> String {
        match self {
            Address::Tcp { host, port } => {
                let protocol = if tls { "tls" } else { "tcp" };
                format!("{protocol}/{host}:{port}")
            }
            Address::Unix(path) => format!("{UNIX_ENGINE}{path}"),
        }
    }

    /// Whether other machines can reach it.
    pub fn is_beyond_loopback(&self) -> bool {
        let Address::Tcp { host, .. } = self else { return false };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(address) => !address.is_loopback(),
            Err(_) => bare != "localhost",
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{UNIX}{path}"),
        }
    }
}

/// What users write for what the engine calls `locator`.
pub(crate) fn from_locator(locator: &str) -> String {
    let address = locator.split(RESERVED).next().unwrap_or(locator);
    if let Some(path) = address.strip_prefix(UNIX_ENGINE) {
        return format!("{UNIX}{path}");
    }
    address.split_once('/').map_or(address, |(_, rest)| rest).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_go_there_and_back() {
        for (text, plain, tls) in [
            ("127.0.0.1:7447", "tcp/127.0.0.1:7447", "tls/127.0.0.1:7447"),
            ("[::1]:0", "tcp/[::1]:0", "tls/[::1]:0"),
            ("name.example:1", "tcp/name.example:1", "tls/name.example:1"),
            (
                "unix:/run/a b.sock",
                "unixsock-stream//run/a b.sock",
                "unixsock-stream//run/a b.sock",
            ),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.locator(false), plain);
            assert_eq!(address.locator(true), tls);
            assert_eq!(from_locator(plain), text);
            assert_eq!(from_locator(tls), text);
        }
        assert_eq!(from_locator("tcp/10.0.0.1:5?rel=1"), "10.0.0.1:5");
    }

    #[test]
    fn wrong_ones_are_named() {
        for text in [
            "",
            "host",
            "host:",
            "host:x",
            ":1",
            "host:65536",
            "::1:1",
            "[x]:1",
            "unix:",
            "a:1#b=c",
        ] {
            let error = Address::parse(text).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidArgument);
            assert!(error.message().starts_with(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn loopback_and_unix_stay_on_the_machine() {
        let beyond = |text: &str| Address::parse(text).unwrap().is_beyond_loopback();
        assert!(!beyond("127.0.0.1:1") && !beyond("[::1]:1") && !beyond("localhost:1"));
        assert!(
            !beyond("unix:/x") && beyond("0.0.0.0:1") && beyond("[::]:1") && beyond("a.example:1")
        );
    }
}
