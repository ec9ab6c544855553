//! A key-value registry that lives inside your program.
//!
//! ```
//! # fn main() -> Result<(), minikv::Error> {
//! use minikv::{LockOptions, Options, PutOptions, Registry};
//! use std::time::Duration;
//!
//! let kv = Registry::start(Options::new("wallet").default_ttl(Duration::from_secs(60)))?;
//! kv.put("balance", 100)?;
//! let entry = kv.get("balance")?.expect("just put");
//! assert_eq!((entry.as_int(), entry.node()), (Some(100), "local"));
//!
//! // A lock with a label, a lease and a wait; the guard releases it.
//! let options = LockOptions::new().owner("worker-7").lease(Duration::from_secs(30));
//! let held = kv.locked("balance", options.wait(Duration::from_millis(500)))?;
//! held.put(90)?;
//! assert!(kv.put("balance", 0).is_err());
//! held.release()?;
//!
//! kv.put_with("session", "abc", PutOptions::new().ttl(Duration::from_secs(5)))?;
//! # Ok(()) }
//! ```
//!
//! Start with [`Registry`]. Values are typed ([`Value`], or your own types through [`to_value`]); a read
//! hands out an [`Entry`]; errors have a stable [`ErrorKind`]. The same operations with the same names
//! exist in C, Python and Node.js.
//!
//! Cargo features: `async` (futures and streams, for any runtime), `config` (options from TOML) and `cluster` (members in
//! other processes).

#![deny(unsafe_code)]
// What only a cluster needs lies beside what everyone does; the build with all features shows what is dead.
#![cfg_attr(not(feature = "cluster"), allow(dead_code))]

mod call_options;
mod callback;
mod clock;
mod cluster;
mod codec;
mod digest;
mod endpoint;
mod entry;
mod error;
mod flight;
mod fork;
mod guard;
mod key;
mod lock;
mod member;
mod members;
mod names;
mod oneshot;
mod options;
mod pending;
mod reader;
mod record;
mod registry;
mod renewal;
mod serde_value;
mod stamp;
mod stats;
mod supervisor;
mod sync;
mod table;
mod update;
mod value;
mod version;
mod watch;

pub use call_options::{
    ListOptions, LockOptions, MAX_OWNER_BYTES, PutOptions, WatchOptions, WriteOptions,
};
pub use clock::{
    MANUAL_CLOCK_START_MS, duration_from_millis, duration_from_secs, format_duration,
    parse_duration,
};
#[cfg(feature = "__fuzz")]
#[doc(hidden)]
pub use cluster::fuzzing::messages as __fuzz_messages;
#[cfg(feature = "cluster")]
pub use cluster::zenoh::{count_refusals, refusals_layer};
pub use codec::{Encoded, Encoder, MAX_DEPTH, MAX_VALUE_BYTES, decode};
pub use entry::Entry;
pub use error::{Error, ErrorKind, Result};
pub use flight::{Computation, GetOrPut, PendingValue};
pub use guard::LockGuard;
pub use key::{Key, MAX_KEY_BYTES};
pub use lock::{Holder, MAX_LEASE};
pub use members::{Member, MemberState};
pub use options::{ClockKind, Options, Tls};
pub use pending::{PendingGuard, PendingLock, PendingStart, PendingSync};
pub use reader::{Reader, Token};
#[cfg(feature = "__shuttle")]
#[doc(hidden)]
pub use record::alive::count as __records;
pub use registry::{Page, Registry};
pub use serde_value::{from_value, to_value};
pub use stats::Stats;
#[doc(hidden)]
pub use table::counters::{Counted, WriteCounters};
pub use update::Update;
pub use value::{IntoValue, Value, ValueType};
pub use version::Version;
pub use watch::{Event, EventKind, Watch};

/// The examples of the README; one of them starts a cluster.
#[cfg(all(doctest, feature = "cluster"))]
#[doc = include_str!("../../README.md")]
struct Readme;
