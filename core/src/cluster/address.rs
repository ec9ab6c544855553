//! Endpoints as the engine writes them: `tcp/host:port`, `tls/host:port`, `unixsock-stream//path`.

use std::net::IpAddr;

use crate::endpoint::Endpoint;

const UNIX: &str = "unixsock-stream";

pub(crate) fn to_locator(endpoint: &Endpoint, tls: bool) -> String {
    match endpoint {
        Endpoint::Tcp { .. } if tls => format!("tls/{endpoint}"),
        Endpoint::Tcp { .. } => format!("tcp/{endpoint}"),
        Endpoint::Unix(path) => format!("{UNIX}/{path}"),
    }
}

/// For dialling: with TLS the engine takes an IPv6 address as the name to check only without its brackets.
pub(crate) fn to_dial(endpoint: &Endpoint, tls: bool) -> String {
    match endpoint {
        Endpoint::Tcp { host, port } if tls => format!("tls/{host}:{port}"),
        _ => to_locator(endpoint, tls),
    }
}

pub(crate) fn from_locator(locator: &str) -> String {
    // What follows are metadata and settings.
    let locator = locator.split(['?', '#']).next().unwrap_or(locator);
    match locator.split_once('/') {
        Some((UNIX, path)) => format!("unix:{path}"),
        Some((_, address)) => address.to_owned(),
        None => locator.to_owned(),
    }
}

/// Whether other machines can reach it.
pub(crate) fn is_beyond_loopback(endpoint: &Endpoint) -> bool {
    let Endpoint::Tcp { host, .. } = endpoint else { return false };
    match host.parse::<IpAddr>() {
        Ok(address) => !address.is_loopback(),
        Err(_) => host != "localhost",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        Endpoint::parse("listen", text).unwrap()
    }

    #[test]
    fn endpoints_go_there_and_back() {
        for (text, plain, tls) in [
            ("127.0.0.1:7447", "tcp/127.0.0.1:7447", "tls/127.0.0.1:7447"),
            ("[::1]:0", "tcp/[::1]:0", "tls/[::1]:0"),
            ("name.example:1", "tcp/name.example:1", "tls/name.example:1"),
            ("unix:/run/a b;c", "unixsock-stream//run/a b;c", "unixsock-stream//run/a b;c"),
        ] {
            assert_eq!(to_locator(&endpoint(text), false), plain);
            assert_eq!(to_locator(&endpoint(text), true), tls);
            assert_eq!(from_locator(plain), text);
            assert_eq!(from_locator(tls), text);
        }
        assert_eq!(to_dial(&endpoint("[::1]:7"), false), "tcp/[::1]:7");
        assert_eq!(to_dial(&endpoint("[::1]:7"), true), "tls/::1:7");
        assert_eq!(to_dial(&endpoint("a.b:7"), true), "tls/a.b:7");
        assert_eq!(from_locator("tcp/10.0.0.1:5?rel=1#iface=eth0"), "10.0.0.1:5");
    }

    #[test]
    fn loopback_and_sockets_stay_on_the_machine() {
        let beyond = |text: &str| is_beyond_loopback(&endpoint(text));
        assert!(!beyond("127.0.0.1:1") && !beyond("[::1]:1") && !beyond("localhost:1"));
        assert!(!beyond("unix:/x") && beyond("0.0.0.0:1") && beyond("[::]:1") && beyond("a.b:1"));
    }
}
