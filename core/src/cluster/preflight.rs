//! What is checked before the engine listens, so that errors name what is wrong and where.

use std::fs;
use std::io::ErrorKind as Io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};

/// Whether this can be listened on now.
pub(crate) fn listen(endpoint: &Endpoint) -> Result<()> {
    match endpoint {
        Endpoint::Tcp { host, port } => tcp(endpoint, host, *port).map(drop),
        Endpoint::Unix(path) => unix(endpoint, Path::new(path)),
    }
}

/// Listens on a port, for those who take the connections themselves.
pub(crate) fn tcp(endpoint: &Endpoint, host: &str, port: u16) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((host, port)).and_then(|listener| {
        listener.set_nonblocking(true)?;
        let at = listener.local_addr()?;
        Ok((listener, at))
    });
    listener.map_err(|error| cannot(endpoint, &reason(&error)))
}

fn cannot(endpoint: &Endpoint, why: &str) -> Error {
    Error::new(ErrorKind::Io, format!("cannot listen on {endpoint}: {why}"))
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        Io::AddrInUse => {
            "another process, or another registry of this one, listens there".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(not(unix))]
fn unix(endpoint: &Endpoint, _path: &Path) -> Result<()> {
    Err(cannot(endpoint, "this system has no Unix sockets"))
}

/// Leaves nothing in the way that a killed process left behind; touches nothing that lives.
#[cfg(unix)]
fn unix(endpoint: &Endpoint, path: &Path) -> Result<()> {
    use std::os::unix::fs::FileTypeExt;
    use std::os::unix::net::UnixStream;

    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(cannot(endpoint, "there is no such folder"));
    }
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == Io::NotFound => return Ok(()),
        Err(error) => return Err(cannot(endpoint, &error.to_string())),
        Ok(found) => found,
    };
    // The engine would delete whatever is there.
    if !found.file_type().is_socket() {
        return Err(cannot(endpoint, "there is a file that is not a socket"));
    }
    match UnixStream::connect(path) {
        Ok(stream) => Err(cannot(endpoint, &who_listens(&stream))),
        // Its process is gone. The engine's lock file may still be held: by a program that the process
        // started and that inherited it. A new one must not wait for that.
        Err(error) if error.kind() == Io::ConnectionRefused => {
            let _ = fs::remove_file(format!("{}.lock", path.display()));
            Ok(())
        }
        Err(error) => Err(cannot(endpoint, &error.to_string())),
    }
}

#[cfg(unix)]
fn who_listens(stream: &std::os::unix::net::UnixStream) -> String {
    #[cfg(target_os = "linux")]
    if let Ok(peer) = rustix::net::sockopt::socket_peercred(stream) {
        let id = peer.pid.as_raw_nonzero().get();
        return if u32::try_from(id) == Ok(std::process::id()) {
            "another registry of this process listens there".to_owned()
        } else {
            format!("the process {id} listens there")
        };
    }
    let _ = stream;
    "another process listens there".to_owned()
}
