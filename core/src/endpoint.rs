//! Where a member of a cluster listens or is dialled, as people write it.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::error::{Error, Result, shorten};

/// The longest path of a Unix socket, in bytes: what every system takes with room for a suffix.
const MAX_PATH_BYTES: usize = 100;

/// `host:port` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Endpoint {
    /// A name or an address, an IPv6 address without its brackets.
    Tcp { host: String, port: u16 },
    /// An absolute path.
    Unix(String),
}

impl Endpoint {
    /// Reads an endpoint; `what` names the field that it stands in.
    pub fn parse(what: &str, text: &str) -> Result<Endpoint> {
        let wrong = |why: &str| {
            let text = shorten(text.as_bytes());
            Error::argument(format!(
                "{what} has {text}: {why}; write host:port, such as \"127.0.0.1:7447\", or unix:/path"
            ))
        };
        if let Some(path) = text.strip_prefix("unix:") {
            return Endpoint::unix(path).map_err(wrong);
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("it has no port"))?;
        if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong("the port is not a number"));
        }
        let port = port.parse().map_err(|_| wrong("a port is at most 65535"))?;
        let host = Endpoint::host(host).map_err(wrong)?.to_owned();
        Ok(Endpoint::Tcp { host, port })
    }

    fn unix(path: &str) -> Result<Endpoint, &'static str> {
        if !path.starts_with('/') {
            return Err("the path of a socket is absolute");
        }
        if path.ends_with('/') {
            return Err("the path of a socket names a file");
        }
        if path.len() > MAX_PATH_BYTES {
            return Err("the path of a socket has at most 100 bytes");
        }
        // What separates the parts of an address in the engine's own notation.
        if path.contains(['?', '#']) || path.contains(char::is_control) {
            return Err("the path of a socket holds no '?', '#' or control character");
        }
        Ok(Endpoint::Unix(path.to_owned()))
    }

    fn host(host: &str) -> Result<&str, &'static str> {
        if let Some(inner) = host.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or("the bracket is not closed")?;
            return match inner.parse::<Ipv6Addr>() {
                Ok(_) => Ok(inner),
                Err(_) => Err("what is in brackets is not an IPv6 address"),
            };
        }
        if host.is_empty() {
            return Err("it has no host");
        }
        if host.contains(':') {
            return Err("an IPv6 address stands in brackets, such as \"[::1]:7447\"");
        }
        let numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if numeric && host.parse::<Ipv4Addr>().is_err() {
            return Err("the host is not an IPv4 address");
        }
        let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if host.len() > 253 || !host.bytes().all(of_name) {
            return Err("the host is neither a name nor an address");
        }
        Ok(host)
    }

    /// Whether the system is to choose the port.
    pub fn has_free_port(&self) -> bool {
        matches!(self, Endpoint::Tcp { port: 0, .. })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp { host, port } => write!(f, "{host}:{port}"),
            Endpoint::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_come_back_as_they_were_written() {
        for text in [
            "127.0.0.1:7447",
            "0.0.0.0:0",
            "[::1]:0",
            "[fe80::1:2]:65535",
            "host-1.example_net:1",
            "unix:/run/minikv/a.sock",
            "unix:/run/a:b c.sock",
        ] {
            assert_eq!(Endpoint::parse("listen", text).unwrap().to_string(), text);
        }
        let tcp = Endpoint::Tcp { host: "::1".to_owned(), port: 7 };
        assert_eq!(Endpoint::parse("peers", "[::1]:7").unwrap(), tcp);
        assert!(!tcp.has_free_port());
        assert!(Endpoint::parse("listen", "a:0").unwrap().has_free_port());
    }

    #[test]
    fn wrong_endpoints_are_named_with_the_reason() {
        let long = format!("unix:/{}", "x".repeat(MAX_PATH_BYTES));
        assert!(Endpoint::parse("listen", &long[..long.len() - 1]).is_ok());
        for (text, why) in [
            ("", "no port"),
            ("localhost", "no port"),
            (":7447", "no host"),
            ("localhost:", "not a number"),
            ("localhost:http", "not a number"),
            ("localhost:+1", "not a number"),
            ("localhost:65536", "at most 65535"),
            ("localhost:99999999999999999999", "at most 65535"),
            ("::1:7447", "in brackets"),
            ("[::1:7447", "not closed"),
            ("[localhost]:7447", "not an IPv6 address"),
            ("1.2.3:7447", "not an IPv4 address"),
            ("999.0.0.1:7447", "not an IPv4 address"),
            ("tcp/127.0.0.1:7447", "neither a name"),
            ("a b:1", "neither a name"),
            ("*:7447", "neither a name"),
            ("unix:", "absolute"),
            ("unix:a.sock", "absolute"),
            ("unix:/run/", "a file"),
            ("unix:/a?b", "'?'"),
            ("unix:/a\0", "control"),
            (&long, "100 bytes"),
        ] {
            let error = Endpoint::parse("peers", text).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidArgument);
            let message = error.message();
            assert!(message.contains(why) && message.starts_with("peers has \""), "{message}");
            assert!(message.contains(&shorten(text.as_bytes())), "{message}");
        }
    }
}
