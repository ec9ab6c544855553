//! What a read hands out.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::codec::type_of;
use crate::error::{Result, shorten};
use crate::key::Key;
use crate::lock::{Holder, NEVER};
use crate::reader::{Reader, Token, unchecked_text};
use crate::serde_value::from_value;
use crate::table::readers::Lent;
use crate::value::{Value, ValueType};
use crate::version::Version;

/// A whole word, although it says little: it is here that an absent entry is told from a present one, and a part of a
/// word is moved in pieces which wait for each other. Half of what a hot read takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
enum Locked {
    No,
    Yes,
}

/// A snapshot of a key as it was when it was read. Later changes do not show in it.
#[derive(Clone)]
pub struct Entry {
    record: Lent,
    /// The wall clock at the read; only meaningful for an entry that expires.
    read_at: u64,
    locked: Locked,
    /// Who owns it if no live member has its writer's name.
    heir: Option<Arc<str>>,
}

impl Entry {
    pub(crate) fn new(record: Lent, read_at: u64, locked: bool, heir: Option<Arc<str>>) -> Entry {
        let locked = if locked { Locked::Yes } else { Locked::No };
        Entry { record, read_at, locked, heir }
    }

    /// The key's bytes.
    pub fn key_bytes(&self) -> &[u8] {
        self.record.key()
    }

    /// A copy of the key.
    pub fn key(&self) -> Key {
        Key::new(self.record.key())
    }

    /// A copy of the value.
    pub fn value(&self) -> Value {
        // The table holds only what the encoder wrote.
        let value = Value::read(&mut self.reader());
        debug_assert!(value.is_ok());
        value.unwrap_or_default()
    }

    /// The value as a type of your own; a mismatch is `invalid_value`.
    pub fn value_as<T: DeserializeOwned>(&self) -> Result<T> {
        from_value(self.value())
    }

    /// The type of the value.
    pub fn value_type(&self) -> ValueType {
        type_of(self.record.encoded())
    }

    /// The value if it is text, without copying it.
    #[inline(always)]
    pub fn as_str(&self) -> Option<&str> {
        let text = unchecked_text(self.encoded())?;
        // Checking it again would be a fifth of what reading a hot entry takes.
        #[allow(unsafe_code)]
        // SAFETY: the table holds only what the encoder has written, whose texts are `str`s, and what another member
        // sent once `is_canonical` has found it well-formed, UTF-8 included. Nothing changes it in the table.
        Some(unsafe { std::str::from_utf8_unchecked(text) })
    }

    /// The value if it is bytes, without copying them.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self.reader().token() {
            Ok(Token::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// The value if it is an int.
    pub fn as_int(&self) -> Option<i64> {
        match self.reader().token() {
            Ok(Token::Int(int)) => Some(int),
            _ => None,
        }
    }

    /// The value if it is a float.
    pub fn as_float(&self) -> Option<f64> {
        match self.reader().token() {
            Ok(Token::Float(float)) => Some(float),
            _ => None,
        }
    }

    /// The value if it is a bool.
    pub fn as_bool(&self) -> Option<bool> {
        match self.reader().token() {
            Ok(Token::Bool(bool)) => Some(bool),
            _ => None,
        }
    }

    /// The value piece by piece, without copying it.
    #[inline]
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(self.record.encoded())
    }

    /// The value in its canonical encoding.
    #[inline]
    pub fn encoded(&self) -> &[u8] {
        self.record.encoded()
    }

    /// The owner: the node whose put created this value; in a cluster, while no member of that name is
    /// live, the live member whose name comes first.
    pub fn node(&self) -> &str {
        self.heir.as_deref().unwrap_or(&self.record.writer().name)
    }

    /// When the value was put, in nanoseconds since the Unix epoch.
    pub fn time(&self) -> u64 {
        self.record.time()
    }

    /// When the entry expires, in nanoseconds since the Unix epoch; `None`: never.
    pub fn exp(&self) -> Option<u64> {
        Some(self.record.exp()).filter(|exp| *exp != NEVER)
    }

    /// How long the entry had left when it was read; `None`: for ever.
    pub fn expires_in(&self) -> Option<std::time::Duration> {
        let exp = self.exp()?;
        Some(std::time::Duration::from_nanos(exp.saturating_sub(self.read_at)))
    }

    /// Whether somebody held the key's lock.
    pub fn is_locked(&self) -> bool {
        self.locked == Locked::Yes
    }

    /// Who held the lock; `None` if nobody.
    pub fn holder(&self) -> Option<Holder> {
        self.record.lock().filter(|_| self.is_locked()).map(|lock| lock.holder())
    }

    /// The fence of the key's last lock; `None` if it was never locked.
    pub fn fence(&self) -> Option<u64> {
        self.record.lock().map(|lock| lock.fence)
    }

    /// The version of the value.
    pub fn version(&self) -> Version {
        self.record.version()
    }

    /// The end of the lock's lease on the monotonic clock.
    pub(crate) fn lease_end(&self) -> u64 {
        self.record.lease_end()
    }

    /// The entry as it is once its removal has ended the lock.
    pub(crate) fn without_lock(self) -> Entry {
        Entry { locked: Locked::No, ..self }
    }
}

/// Every field is equal, the lock included.
impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.key_bytes() == other.key_bytes()
            && self.encoded() == other.encoded()
            && self.version() == other.version()
            && self.exp() == other.exp()
            && self.node() == other.node()
            && self.locked == other.locked
            && self.holder() == other.holder()
            && self.fence() == other.fence()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &format_args!("{}", shorten(self.key_bytes())))
            .field("value", &self.value())
            .field("node", &self.node())
            .field("time", &self.time())
            .field("exp", &self.exp())
            .field("lock", &self.is_locked())
            .field("holder", &self.holder())
            .field("fence", &self.fence())
            .field("version", &format_args!("{}", self.version()))
            .finish()
    }
}
