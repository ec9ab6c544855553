//! A folder for sockets that only this user may enter, and that is gone with its process.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result};
use crate::fork::Generation;
use crate::sync::atomic::{AtomicU64, Ordering};

pub(super) const PREFIX: &str = "minikv-tls-";
/// Held as long as the folder is in use: one whose lock is free was left behind by a killed process.
const LOCK: &str = "lock";
/// The longest path of a socket that every system takes. (Linux takes four bytes more.)
const MAX_SOCKET_BYTES: usize = 103;
/// As long as the longest name of a socket: an address and a port.
const MAX_NAME_BYTES: usize = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".len();
/// Of the folder's own name.
const DIGITS: usize = 16;
/// The longest folder in which the sockets' paths are short enough.
const MAX_PATH_BYTES: usize =
    MAX_SOCKET_BYTES - "/".len() - PREFIX.len() - DIGITS - "/".len() - MAX_NAME_BYTES;
const TRIES: usize = 10;

pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
    last: AtomicU64,
    generation: Generation,
}

impl Folder {
    pub fn new() -> Result<Folder> {
        let parent = parent();
        let cannot = |error: io::Error| {
            let text = format!("cannot make a folder for sockets in {}: {error}", parent.display());
            Error::new(ErrorKind::Io, text)
        };
        for _ in 0..TRIES {
            let random =
                getrandom::u64().map_err(|error| cannot(io::Error::other(error.to_string())))?;
            let path = parent.join(format!("{PREFIX}{random:0DIGITS$x}"));
            DirBuilder::new().mode(0o700).create(&path).map_err(cannot)?;
            // Another process may take it for one that was left behind until it is locked.
            let locked = lock(&path);
            if !matches!(locked, Ok(Some(_))) {
                let _ = fs::remove_dir_all(&path);
            }
            if let Some(lock) = locked.map_err(cannot)? {
                sweep(&parent, &lock);
                let (last, generation) = (AtomicU64::new(0), Generation::now());
                return Ok(Folder { path, _lock: lock, last, generation });
            }
        }
        Err(cannot(io::Error::other("others remove it")))
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Nothing goes through it any more.
    pub fn remove(&self) {
        // A forked child's copy is not its own.
        if !self.generation.is_over() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }

    pub fn holds(&self, path: &str) -> bool {
        Path::new(path).starts_with(&self.path)
    }

    /// A name that was not there before.
    pub fn fresh(&self) -> PathBuf {
        self.file(&self.last.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Where temporary files go, if the engine can write its name.
fn parent() -> PathBuf {
    let wanted = std::env::temp_dir();
    let fits = wanted.is_absolute()
        && wanted.to_str().is_some_and(|text| {
            text.len() <= MAX_PATH_BYTES
                && !text.contains(['?', '#'])
                && !text.contains(char::is_control)
        });
    if fits { wanted } else { PathBuf::from("/tmp") }
}

/// Locks a new folder. None if somebody has removed it, or is about to.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let path = folder.join(LOCK);
    let file = match File::create_new(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(None),
        locked => locked?,
    }
    Ok(path.exists().then_some(file))
}

/// Removes what killed processes of this user, whose a file is, have left behind.
fn sweep(parent: &Path, own: &File) {
    let Ok(own) = own.metadata() else { return };
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let is_ours = entry.metadata().is_ok_and(|it| it.is_dir() && it.uid() == own.uid());
        if is_ours && entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)) {
            let folder = entry.path();
            let Ok(file) = File::open(folder.join(LOCK)) else { continue };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                let _ = fs::remove_dir_all(folder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_this_users_and_gone_with_its_owner() {
        let folder = Folder::new().unwrap();
        let mode = fs::metadata(&folder.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_ne!(folder.fresh(), folder.fresh());
        let other = Folder::new().unwrap();
        assert!(folder.path.exists(), "what is in use stays");
        let path = folder.path.clone();
        drop(folder);
        assert!(!path.exists() && other.path.exists());
    }

    #[test]
    fn the_longest_name_of_a_socket_fits() {
        let longest = format!("/{}", "x".repeat(MAX_PATH_BYTES - 1));
        let name = format!("[{}]:65535", std::net::Ipv6Addr::from(u128::MAX));
        assert_eq!(name.len(), MAX_NAME_BYTES);
        let path = format!("{longest}/{PREFIX}{:0DIGITS$x}/{name}", u64::MAX);
        assert_eq!(path.len(), MAX_SOCKET_BYTES);
        std::os::unix::net::SocketAddr::from_pathname(path).unwrap();
    }

    #[test]
    fn what_cannot_be_locked_says_why() {
        let path = parent().join(format!("{PREFIX}no-lock-{}", std::process::id()));
        assert!(matches!(lock(&path), Ok(None)), "somebody has removed it");
        fs::write(&path, "").unwrap();
        assert_eq!(lock(&path).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_a_killed_process_leaves_is_removed() {
        let path = parent().join(format!("{PREFIX}left-behind-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        fs::write(path.join(LOCK), "").unwrap();
        fs::write(path.join("0"), "").unwrap();
        drop(Folder::new().unwrap());
        assert!(!path.exists());
    }
}
