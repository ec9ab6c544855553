//! Endpoints as the engine writes them: `tcp/host:port`, `unixsock-stream//path`.

use std::net::IpAddr;

use crate::endpoint::Endpoint;

const UNIX: &str = "unixsock-stream";

pub(crate) fn to_locator(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Tcp { .. } => format!("tcp/{endpoint}"),
        Endpoint::Unix(path) => format!("{UNIX}/{path}"),
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
        for (text, locator) in [
            ("127.0.0.1:7447", "tcp/127.0.0.1:7447"),
            ("[::1]:0", "tcp/[::1]:0"),
            ("name.example:1", "tcp/name.example:1"),
            ("unix:/run/a b;c", "unixsock-stream//run/a b;c"),
        ] {
            assert_eq!(to_locator(&endpoint(text)), locator);
            assert_eq!(from_locator(locator), text);
        }
        assert_eq!(from_locator("tcp/10.0.0.1:5?rel=1#iface=eth0"), "10.0.0.1:5");
    }

    #[test]
    fn loopback_and_sockets_stay_on_the_machine() {
        let beyond = |text: &str| is_beyond_loopback(&endpoint(text));
        assert!(!beyond("127.0.0.1:1") && !beyond("[::1]:1") && !beyond("localhost:1"));
        assert!(!beyond("unix:/x") && beyond("0.0.0.0:1") && beyond("[::]:1") && beyond("a.b:1"));
    }
}
