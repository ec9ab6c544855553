//! Keys: byte strings of 1 to 65,535 bytes, shown as text when they are valid UTF-8.

use std::borrow::Borrow;
use std::fmt;

use crate::error::{Error, ErrorKind, Result};

/// The longest key and the longest prefix, in bytes.
pub const MAX_KEY_BYTES: usize = 65_535;

#[inline]
pub(crate) fn check_key(key: &[u8]) -> Result<()> {
    match key.len() {
        1..=MAX_KEY_BYTES => Ok(()),
        length => Err(invalid_key(length)),
    }
}

#[cold]
fn invalid_key(length: usize) -> Error {
    let what = if length == 0 { "is empty".to_owned() } else { format!("has {length} bytes") };
    let message = format!("the key {what}; a key has 1 to {MAX_KEY_BYTES} bytes");
    Error::new(ErrorKind::InvalidKey, message)
}

pub(crate) fn check_prefix(prefix: &[u8]) -> Result<()> {
    if prefix.len() > MAX_KEY_BYTES {
        let length = prefix.len();
        return Err(Error::new(
            ErrorKind::InvalidKey,
            format!("the prefix has {length} bytes; a prefix has 0 to {MAX_KEY_BYTES}"),
        ));
    }
    Ok(())
}

/// A key of its own, as listings and events hand it out.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Box<[u8]>);

impl Key {
    pub(crate) fn new(bytes: &[u8]) -> Key {
        Key(bytes.into())
    }

    /// The key as text, if it is valid UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq<str> for Key {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other.as_bytes()
    }
}

impl PartialEq<&str> for Key {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl From<&str> for Key {
    fn from(key: &str) -> Key {
        Key::new(key.as_bytes())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str() {
            Some(text) => write!(f, "{text:?}"),
            None => write!(f, "b\"{}\"", self.0.escape_ascii()),
        }
    }
}
