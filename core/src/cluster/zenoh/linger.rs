//! Takes `SO_LINGER` off the engine's sockets.
//!
//! The engine sets it, to ten seconds. On Linux that makes `close` wait, also on a socket that never
//! blocks otherwise, until the other side has acknowledged everything. Who is frozen or cut off does not;
//! then one of the engine's few threads stands still, and with it the links to healthy members.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::net::sockopt::{set_socket_linger, socket_linger};
use rustix::net::{SocketAddrAny, getpeername, getsockname};

/// From the socket between these two addresses, as the engine writes them.
pub(super) fn remove(from: &str, to: &str) {
    let (Some(from), Some(to)) = (address(from), address(to)) else { return };
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return };
    for entry in open.flatten() {
        let is_socket = fs::read_link(entry.path())
            .is_ok_and(|target| target.as_os_str().as_encoded_bytes().starts_with(b"socket:"));
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(number) = number
            && is_socket
            && remove_if(number, from, to)
        {
            return;
        }
    }
}

fn remove_if(number: RawFd, from: SocketAddr, to: SocketAddr) -> bool {
    // SAFETY: the number was a socket of this process a moment ago. If it has been closed since, the calls
    // below fail or see another file of this process. They read two addresses and, only where both are
    // those of the engine's socket, put one option back to its default; nothing is closed or consumed.
    #[allow(unsafe_code)]
    let socket = unsafe { BorrowedFd::borrow_raw(number) };
    let is = |found: Option<SocketAddrAny>, wanted: SocketAddr| {
        found.and_then(|found| SocketAddr::try_from(found).ok()).map(canonical) == Some(wanted)
    };
    is(getsockname(socket).ok(), from)
        && is(getpeername(socket).ok().flatten(), to)
        && matches!(socket_linger(socket), Ok(Some(_)))
        && set_socket_linger(socket, None).is_ok()
}

/// IPv4 inside IPv6 is IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn address(text: &str) -> Option<SocketAddr> {
    text.parse().ok().map(canonical)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_the_named_socket_loses_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (near, other) = (listener.local_addr().unwrap(), listener.local_addr().unwrap());
        let sockets: Vec<TcpStream> = [near, other]
            .map(|at| TcpStream::connect(at).unwrap())
            .into_iter()
            .inspect(|socket| set_socket_linger(socket, Some(Duration::from_secs(10))).unwrap())
            .collect();
        let first = sockets[0].local_addr().unwrap();
        remove(&first.to_string(), &near.to_string());
        assert_eq!(socket_linger(&sockets[0]), Ok(None));
        assert_eq!(socket_linger(&sockets[1]), Ok(Some(Duration::from_secs(10))));
        remove("nonsense", "127.0.0.1:1");
    }
}
