//! The options of single calls, as builders.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::nanos;
use crate::codec::Encoded;
use crate::error::{Error, Result};
use crate::options::{Options, check_lease, check_ttl};
use crate::table::mutation::{Conditions, Expiry};
use crate::value::IntoValue;
use crate::version::Version;

/// The longest owner label, in bytes.
pub const MAX_OWNER_BYTES: usize = 1024;

/// Who asks, and what must hold: options of every write.
///
/// In a cluster conditions are checked on this member only; hold the lock to make them exclusive.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    owner: Option<Arc<str>>,
    fence: Option<u64>,
    if_version: Option<Version>,
}

impl WriteOptions {
    #[inline(always)]
    pub(crate) fn check(&self) -> Result<()> {
        match &self.owner {
            Some(owner) if owner.len() > MAX_OWNER_BYTES => {
                let length = owner.len();
                let message =
                    format!("owner has {length} bytes; a label has at most {MAX_OWNER_BYTES}");
                Err(Error::argument(message))
            }
            _ => Ok(()),
        }
    }

    #[inline(always)]
    pub(crate) fn conditions(&self) -> Conditions<'_> {
        Conditions { owner: self.owner.as_deref(), fence: self.fence, version: self.if_version }
    }

    pub(crate) fn owner_label(&self) -> Option<Arc<str>> {
        self.owner.clone()
    }
}

macro_rules! write_options {
    ($type:ident $(. $field:ident)?) => {
        impl $type {
            /// No options.
            pub fn new() -> $type {
                $type::default()
            }

            /// Acts as the holder with this label, at most 1,024 bytes. Default: no label.
            pub fn owner(mut self, owner: impl AsRef<str>) -> $type {
                self $(.$field)? .owner = Some(Arc::from(owner.as_ref()));
                self
            }

            /// Only if this is the key's last fence and was not released; otherwise `stale_fence`.
            pub fn fence(mut self, fence: u64) -> $type {
                self $(.$field)? .fence = Some(fence);
                self
            }

            /// Only if the entry is present with this version; otherwise `conflict`.
            pub fn if_version(mut self, version: Version) -> $type {
                self $(.$field)? .if_version = Some(version);
                self
            }
        }
    };
}

write_options!(WriteOptions);
write_options!(PutOptions.write);
write_options!(LockOptions.write);

/// Options of a put.
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    pub(crate) write: WriteOptions,
    ttl: Option<Duration>,
    persist: bool,
    keep_ttl: bool,
    if_absent: bool,
    lock: bool,
    lease: Option<Duration>,
}

impl PutOptions {
    /// Expires after this long; 0: at once. Default: the registry's `default_ttl`.
    pub fn ttl(mut self, ttl: Duration) -> PutOptions {
        self.ttl = Some(ttl);
        self
    }

    /// Never expires, whatever `ttl`, `keep_ttl` and `default_ttl` say.
    pub fn persist(mut self, persist: bool) -> PutOptions {
        self.persist = persist;
        self
    }

    /// Expires when the present entry does; on an absent key as by default. Contradicts `ttl`.
    pub fn keep_ttl(mut self, keep_ttl: bool) -> PutOptions {
        self.keep_ttl = keep_ttl;
        self
    }

    /// Only if the key is absent; otherwise `conflict`.
    pub fn if_absent(mut self, if_absent: bool) -> PutOptions {
        self.if_absent = if_absent;
        self
    }

    /// Takes the lock in the same step; never waits.
    pub fn lock(mut self, lock: bool) -> PutOptions {
        self.lock = lock;
        self
    }

    /// The lease of the lock that `lock` takes, at most 10 minutes. Default: the registry's `lock_lease`.
    pub fn lease(mut self, lease: Duration) -> PutOptions {
        self.lease = Some(lease);
        self
    }

    /// What belongs to the lock is given to the lock, once.
    pub(crate) fn check_within_lock(&self) -> Result<()> {
        if self.write.if_version.is_some() {
            return Err(Error::argument("if_version is an option of the lock, not of its put"));
        }
        self.check_within_guard()
    }

    /// What a guard has given already.
    pub(crate) fn check_within_guard(&self) -> Result<()> {
        let WriteOptions { owner, fence, .. } = &self.write;
        if owner.is_some() || fence.is_some() || self.lock || self.lease.is_some() {
            let message = "owner, fence, lock and lease are options of the lock, not of its put";
            return Err(Error::argument(message));
        }
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn absent_only(&self) -> bool {
        self.if_absent
    }

    #[inline(always)]
    pub(crate) fn expiry(&self, options: &Options) -> Result<Expiry> {
        let default = options.default_ttl.map(nanos);
        match (self.ttl, self.keep_ttl) {
            (Some(_), true) => {
                Err(Error::argument("ttl and keep_ttl contradict each other; give one of them"))
            }
            (Some(ttl), false) => {
                check_ttl("ttl", ttl)?;
                Ok(if self.persist { Expiry::Never } else { Expiry::After(nanos(ttl)) })
            }
            _ if self.persist => Ok(Expiry::Never),
            (None, true) => Ok(Expiry::Keep(default)),
            (None, false) => Ok(Expiry::of_default(default)),
        }
    }

    /// The lease to take the lock with, if it is to be taken; both lengths in nanoseconds.
    #[inline(always)]
    pub(crate) fn lock_lease(&self, options: &Options) -> Result<Option<Option<u64>>> {
        if !self.lock {
            return match self.lease {
                Some(_) => Err(Error::argument("lease without lock; give lock as well")),
                None => Ok(None),
            };
        }
        lease(self.lease, options).map(Some)
    }
}

/// Options of a lock, and of the scoped form.
#[derive(Clone, Debug, Default)]
pub struct LockOptions {
    pub(crate) write: WriteOptions,
    wait: Duration,
    lease: Option<Duration>,
    put: Option<(Encoded, PutOptions)>,
    create: bool,
}

impl LockOptions {
    /// Waits for the lock at most this long, in order of arrival; `Duration::MAX`: as long as it takes. Default 0.
    pub fn wait(mut self, wait: Duration) -> LockOptions {
        self.wait = wait;
        self
    }

    /// The lock ends by itself after this long, at most 10 minutes. Default: the registry's `lock_lease`.
    pub fn lease(mut self, lease: Duration) -> LockOptions {
        self.lease = Some(lease);
        self
    }

    /// Puts a value in the same step, also on an absent key. Of `options` the expiry and `if_absent` count.
    pub fn put(mut self, value: impl IntoValue, options: PutOptions) -> Result<LockOptions> {
        self.put = Some((Encoded::new(value)?, options));
        Ok(self)
    }

    /// Of the scoped form: on an absent key stores nil and locks it in one step; the release deletes it
    /// if nobody put a value since. Default: an absent key is `not_found`.
    pub fn create(mut self, create: bool) -> LockOptions {
        self.create = create;
        self
    }

    pub(crate) fn creates(&self) -> bool {
        self.create
    }

    /// In nanoseconds; `u64::MAX`: for ever.
    pub(crate) fn wait_nanos(&self) -> u64 {
        nanos(self.wait)
    }

    pub(crate) fn lease_nanos(&self, options: &Options) -> Result<Option<u64>> {
        lease(self.lease, options)
    }

    pub(crate) fn stored(&self) -> Option<&(Encoded, PutOptions)> {
        self.put.as_ref()
    }
}

fn lease(given: Option<Duration>, options: &Options) -> Result<Option<u64>> {
    if let Some(lease) = given {
        check_lease("lease", lease)?;
    }
    Ok(given.or(options.lock_lease).map(nanos))
}

/// Options of a watch. Default: every key, no present entries first, a queue of 4,096 events.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    pub(crate) prefix: Vec<u8>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) initial: bool,
    pub(crate) capacity: usize,
}

impl Default for WatchOptions {
    fn default() -> WatchOptions {
        WatchOptions { prefix: Vec::new(), key: None, initial: false, capacity: 4096 }
    }
}

impl WatchOptions {
    /// The largest queue.
    pub const MAX_CAPACITY: usize = 1 << 24;

    /// Watches every key.
    pub fn new() -> WatchOptions {
        WatchOptions::default()
    }

    /// Only keys that start with this.
    pub fn prefix(mut self, prefix: impl AsRef<[u8]>) -> WatchOptions {
        self.prefix = prefix.as_ref().to_vec();
        self
    }

    /// Only this key. Contradicts a prefix.
    pub fn key(mut self, key: impl AsRef<[u8]>) -> WatchOptions {
        self.key = Some(key.as_ref().to_vec());
        self
    }

    /// The present entries come first, as `put` events, without a gap before what follows.
    pub fn initial(mut self, initial: bool) -> WatchOptions {
        self.initial = initial;
        self
    }

    /// How many unread events are kept before the oldest are dropped, 1 to 2^24. Default 4,096.
    pub fn capacity(mut self, capacity: usize) -> WatchOptions {
        self.capacity = capacity;
        self
    }
}

/// Options of a listing.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    pub(crate) prefix: Vec<u8>,
    pub(crate) limit: Option<usize>,
    pub(crate) cursor: Option<String>,
}

impl ListOptions {
    /// Everything at once.
    pub fn new() -> ListOptions {
        ListOptions::default()
    }

    /// Only keys that start with this.
    pub fn prefix(mut self, prefix: impl AsRef<[u8]>) -> ListOptions {
        self.prefix = prefix.as_ref().to_vec();
        self
    }

    /// At most so many, at least 1; the page's cursor leads to the next ones.
    pub fn limit(mut self, limit: usize) -> ListOptions {
        self.limit = Some(limit);
        self
    }

    /// Goes on where the page with this cursor ended.
    pub fn cursor(mut self, cursor: impl Into<String>) -> ListOptions {
        self.cursor = Some(cursor.into());
        self
    }
}
