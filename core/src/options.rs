//! What a registry is started with: plain data, the same fields in every language.

mod cluster;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) use self::cluster::ClusterOptions;
pub use self::cluster::Tls;
use crate::clock::{format_duration, parse_duration};
use crate::codec::MAX_VALUE_BYTES;
use crate::error::{Error, Result, shorten};
use crate::lock::MAX_LEASE;
use crate::value::Value;

/// The clock that a registry runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClockKind {
    /// The machine's.
    #[default]
    System,
    /// Starts at 1,700,000,000,000 ms and moves only by [`Registry::advance`](crate::Registry::advance). For tests.
    Manual,
}

/// How a registry shall be: a specification that can be stored, printed and started again.
///
/// ```
/// # fn main() -> Result<(), minikv::Error> {
/// use std::time::Duration;
/// use minikv::{Options, Registry};
/// let kv = Registry::start(Options::new("sessions").default_ttl(Duration::from_secs(60)))?;
/// let shown = serde_json::to_string(&kv.options().to_value()).unwrap();
/// assert!(shown.contains(r#""default_ttl":"60s""#));
/// let again: Options = serde_json::from_str(&shown).unwrap();
/// assert_eq!(&again, kv.options());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub(crate) name: Option<String>,
    pub(crate) node: String,
    pub(crate) default_ttl: Option<Duration>,
    pub(crate) max_value_bytes: u64,
    pub(crate) max_entries: Option<u64>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) max_watchers: u64,
    pub(crate) lock_lease: Option<Duration>,
    pub(crate) clock: ClockKind,
    pub(crate) cluster: ClusterOptions,
}

/// The longest registry and node name, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 255;

impl Options {
    /// The fields, by the names that all languages and files use.
    pub const FIELDS: &'static [&'static str] = &[
        "name",
        "node",
        "default_ttl",
        "max_value_bytes",
        "max_entries",
        "max_bytes",
        "max_watchers",
        "lock_lease",
        "clock",
        "cluster",
        "listen",
        "peers",
        "discovery",
        "failure_timeout",
        "tls",
    ];

    /// Those of the fields that are durations.
    pub const DURATION_FIELDS: &'static [&'static str] =
        &["default_ttl", "lock_lease", "failure_timeout"];

    /// Options for a registry that [`Registry::open`](crate::Registry::open) finds under `name`.
    pub fn new(name: impl Into<String>) -> Options {
        Options { name: Some(name.into()), ..Options::unnamed() }
    }

    /// Options for a registry that only its handles reach.
    pub fn unnamed() -> Options {
        Options {
            name: None,
            node: "local".to_owned(),
            default_ttl: None,
            max_value_bytes: MAX_VALUE_BYTES as u64,
            max_entries: None,
            max_bytes: None,
            max_watchers: 1024,
            lock_lease: None,
            clock: ClockKind::System,
            cluster: ClusterOptions::default(),
        }
    }

    /// The node's name, which entries carry as their owner. Default `local`.
    pub fn node(mut self, node: impl Into<String>) -> Options {
        self.node = node.into();
        self
    }

    /// The ttl of entries that are put without one. Default: none, they do not expire.
    pub fn default_ttl(mut self, ttl: Duration) -> Options {
        self.default_ttl = Some(ttl);
        self
    }

    /// The largest canonical encoding of a value, in bytes. Default and maximum 16 MiB.
    pub fn max_value_bytes(mut self, bytes: u64) -> Options {
        self.max_value_bytes = bytes;
        self
    }

    /// The most entries at a time; a put of one more is `limit`. Default: no limit.
    pub fn max_entries(mut self, entries: u64) -> Options {
        self.max_entries = Some(entries);
        self
    }

    /// The most memory for entries (keys, values and what is kept with each), in bytes. Default: no limit.
    pub fn max_bytes(mut self, bytes: u64) -> Options {
        self.max_bytes = Some(bytes);
        self
    }

    /// The most watches at a time. Default 1,024.
    pub fn max_watchers(mut self, watchers: u64) -> Options {
        self.max_watchers = watchers;
        self
    }

    /// The lease of locks that are taken without one, at most 10 minutes. Default: none, they do not end by themselves.
    pub fn lock_lease(mut self, lease: Duration) -> Options {
        self.lock_lease = Some(lease);
        self
    }

    /// The clock. Default: the machine's.
    pub fn clock(mut self, clock: ClockKind) -> Options {
        self.clock = clock;
        self
    }

    /// The registry's name, if it has one.
    pub fn get_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The options as a map of all [`FIELDS`](Options::FIELDS), durations as text with a unit.
    pub fn to_value(&self) -> Value {
        let text = |text: &Option<String>| text.clone().map_or(Value::Nil, Value::Text);
        let int = |int: Option<u64>| int.map_or(Value::Nil, |int| Value::Int(int as i64));
        let duration = |duration: Option<Duration>| {
            duration.map_or(Value::Nil, |duration| Value::Text(format_duration(duration)))
        };
        let clock = match self.clock {
            ClockKind::System => "system",
            ClockKind::Manual => "manual",
        };
        let fields = [
            ("name", text(&self.name)),
            ("node", Value::Text(self.node.clone())),
            ("default_ttl", duration(self.default_ttl)),
            ("max_value_bytes", int(Some(self.max_value_bytes))),
            ("max_entries", int(self.max_entries)),
            ("max_bytes", int(self.max_bytes)),
            ("max_watchers", int(Some(self.max_watchers))),
            ("lock_lease", duration(self.lock_lease)),
            ("clock", Value::Text(clock.to_owned())),
        ];
        let fields = fields.into_iter().chain(self.cluster.to_fields());
        Value::Map(fields.map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Reads options from a map. A field that is missing or nil has its default; a misspelt one is
    /// `invalid_argument` and the message names the nearest right one.
    pub fn from_value(value: &Value) -> Result<Options> {
        let Value::Map(fields) = value else {
            let found = value.value_type();
            return Err(Error::argument(format!("options are a map of fields, not {found}")));
        };
        Options::from_fields(fields)
    }

    fn from_fields(fields: &BTreeMap<String, Value>) -> Result<Options> {
        let mut options = Options::unnamed();
        for (field, value) in fields {
            if !Options::FIELDS.contains(&field.as_str()) {
                return Err(Error::unknown_field("option", field, Options::FIELDS));
            }
            if matches!(value, Value::Nil) {
                continue;
            }
            match field.as_str() {
                "name" => options.name = Some(text(field, value)?.to_owned()),
                "node" => options.node = text(field, value)?.to_owned(),
                "default_ttl" => options.default_ttl = Some(duration(field, value)?),
                "lock_lease" => options.lock_lease = Some(duration(field, value)?),
                "max_value_bytes" => options.max_value_bytes = positive(field, value)?,
                "max_entries" => options.max_entries = Some(positive(field, value)?),
                "max_bytes" => options.max_bytes = Some(positive(field, value)?),
                "max_watchers" => options.max_watchers = positive(field, value)?,
                "clock" => options.clock = clock(text(field, value)?)?,
                _ => options.cluster.set(field, value)?,
            }
        }
        options.check()?;
        Ok(options)
    }

    /// Reads options from TOML text, with the fields of [`from_value`](Options::from_value) at the top level.
    #[cfg(feature = "config")]
    pub fn from_toml(text: &str) -> Result<Options> {
        let value: Value = toml::from_str(text)
            .map_err(|error| Error::argument(format!("the options are not TOML: {error}")))?;
        Options::from_value(&value)
    }

    /// Reads options from a TOML file; `io` if it cannot be read.
    #[cfg(feature = "config")]
    pub fn from_config(path: impl AsRef<std::path::Path>) -> Result<Options> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let message = format!("cannot read {}: {error}", path.display());
            Error::new(crate::ErrorKind::Io, message)
        })?;
        Options::from_toml(&text).map_err(|error| {
            Error::new(error.kind(), format!("{}: {}", path.display(), error.message()))
        })
    }

    pub(crate) fn check(&self) -> Result<()> {
        if let Some(name) = &self.name {
            check_name("name", name)?;
        }
        check_name("node", &self.node)?;
        let maximum = MAX_VALUE_BYTES as u64;
        if self.max_value_bytes > maximum {
            let given = self.max_value_bytes;
            let message = format!("max_value_bytes is {given}; it is at most {maximum}");
            return Err(Error::argument(message));
        }
        for (field, number) in [
            ("max_value_bytes", Some(self.max_value_bytes)),
            ("max_entries", self.max_entries),
            ("max_bytes", self.max_bytes),
            ("max_watchers", Some(self.max_watchers)),
        ] {
            if number.is_some_and(|number| number == 0 || number > i64::MAX as u64) {
                let given = number.unwrap_or_default();
                return Err(Error::argument(format!(
                    "{field} is {given}; it must be from 1 to 2^63 - 1"
                )));
            }
        }
        if let Some(ttl) = self.default_ttl {
            check_ttl("default_ttl", ttl)?;
        }
        if let Some(lease) = self.lock_lease {
            check_lease("lock_lease", lease)?;
        }
        self.cluster.check(self.clock)
    }

    /// The fields in which the other differs.
    pub(crate) fn differences(&self, other: &Options) -> Vec<&'static str> {
        match (self.to_value(), other.to_value()) {
            (Value::Map(a), Value::Map(b)) => Options::FIELDS
                .iter()
                .copied()
                .filter(|field| a.get(*field) != b.get(*field))
                .collect(),
            _ => Vec::new(),
        }
    }
}

impl From<&str> for Options {
    fn from(name: &str) -> Options {
        Options::new(name)
    }
}

impl Serialize for Options {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Options {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Options, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Options::from_value(&value).map_err(|error| serde::de::Error::custom(error.message()))
    }
}

fn text<'a>(field: &str, value: &'a Value) -> Result<&'a str> {
    value.as_str().ok_or_else(|| {
        let found = value.value_type();
        Error::argument(format!("{field} is text, not {found}"))
    })
}

fn positive(field: &str, value: &Value) -> Result<u64> {
    value.as_int().and_then(|int| u64::try_from(int).ok()).filter(|int| *int > 0).ok_or_else(|| {
        Error::argument(format!("{field} is {}; it must be an int of at least 1", shown(value)))
    })
}

/// A value as messages show it.
fn shown(value: &Value) -> String {
    match value {
        Value::Int(int) => int.to_string(),
        Value::Float(float) => float.to_string(),
        Value::Text(text) => shorten(text.as_bytes()),
        other => format!("a {}", other.value_type()),
    }
}

fn duration(field: &str, value: &Value) -> Result<Duration> {
    match value {
        Value::Text(text) => parse_duration(field, text),
        other => {
            let message = format!(
                "{field} is {}; write a number with its unit as text, such as \"60s\"",
                shown(other)
            );
            Err(Error::argument(message))
        }
    }
}

fn clock(text: &str) -> Result<ClockKind> {
    match text {
        "system" => Ok(ClockKind::System),
        "manual" => Ok(ClockKind::Manual),
        other => {
            let other = shorten(other.as_bytes());
            Err(Error::argument(format!("clock is {other}; it is \"system\" or \"manual\"")))
        }
    }
}

fn check_name(field: &str, name: &str) -> Result<()> {
    match name.len() {
        1..=MAX_NAME_BYTES => Ok(()),
        length => Err(Error::argument(format!(
            "{field} has {length} bytes; it must have 1 to {MAX_NAME_BYTES}"
        ))),
    }
}

/// A ttl that no clock can carry is refused at once; whether it leads too far depends on the time.
pub(crate) fn check_ttl(field: &str, ttl: Duration) -> Result<()> {
    if ttl.as_nanos() > i64::MAX as u128 {
        return Err(Error::argument(format!("{field} leads past the year 2262")));
    }
    Ok(())
}

pub(crate) fn check_lease(field: &str, lease: Duration) -> Result<()> {
    if lease.is_zero() || lease > MAX_LEASE {
        let given = format_duration(lease);
        let maximum = format_duration(MAX_LEASE);
        let message = format!("{field} is {given}; it must be more than 0 and at most {maximum}");
        return Err(Error::argument(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn options_survive_every_way_of_storing_them() {
        let options = Options::new("a")
            .node("n")
            .default_ttl(Duration::from_millis(1500))
            .max_entries(5)
            .lock_lease(Duration::from_secs(30))
            .clock(ClockKind::Manual);
        assert_eq!(Options::from_value(&options.to_value()).unwrap(), options);
        let json = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<Options>(&json).unwrap(), options);
    }

    #[test]
    fn wrong_fields_are_named() {
        for (json, expected) in [
            (r#"{"defualt_ttl": "1s"}"#, "did you mean 'default_ttl'?"),
            (r#"{"default_ttl": 60}"#, "such as \"60s\""),
            (r#"{"default_ttl": "60"}"#, "such as \"60s\""),
            (r#"{"name": ""}"#, "name has 0 bytes"),
            (r#"{"max_entries": 0}"#, "max_entries"),
            (r#"{"max_entries": -1}"#, "max_entries"),
            (r#"{"max_value_bytes": 99999999}"#, "at most 16777216"),
            (r#"{"lock_lease": "11m"}"#, "at most 600s"),
            (r#"{"clock": "sundial"}"#, "sundial"),
            (r#"[]"#, "a map"),
        ] {
            let value: Value = serde_json::from_str(json).unwrap();
            let error = Options::from_value(&value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.message().contains(expected), "{json}: {error}");
        }
    }

    #[cfg(feature = "config")]
    #[test]
    fn toml_is_read() {
        let options = Options::from_toml("name = \"wallet\"\ndefault_ttl = \"60s\"").unwrap();
        assert_eq!(options, Options::new("wallet").default_ttl(Duration::from_secs(60)));
        assert!(Options::from_toml("name = ").is_err());
        assert_eq!(Options::from_config("nowhere.toml").unwrap_err().kind(), ErrorKind::Io);
    }
}
