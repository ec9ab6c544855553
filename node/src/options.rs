//! Options of calls and of registries. They come from `lib/options.js` as one array of names and values in turn, which
//! costs a fraction of reading an object; a known name is its place in `NAMES`. What is undefined or null is not given.

use std::collections::BTreeMap;
use std::time::Duration;

use minikv::{
    Encoded, Error, ListOptions, LockOptions, Options, PutOptions, Stats, Value, Version,
    WatchOptions, WriteOptions, duration_from_millis, format_duration, parse_duration,
};

use crate::js::{Done, Env, Js, Kind};
use crate::state::Helper;
use crate::take::{self, invalid_argument};

/// The names of all options of calls.
pub const NAMES: &[&str] = &[
    "owner",
    "fence",
    "ifVersion",
    "ttl",
    "persist",
    "keepTtl",
    "ifAbsent",
    "wait",
    "lease",
    "put",
    "create",
    "signal",
    "prefix",
    "limit",
    "cursor",
    "raw",
    "key",
    "initial",
    "capacity",
];

/// The names that the calls know; `signal` is the business of `lib/*.js`.
pub const WRITE: &[&str] = &["owner", "fence", "ifVersion"];
pub const PUT: &[&str] = &["owner", "fence", "ifVersion", "ttl", "persist", "keepTtl", "ifAbsent"];
pub const GET_OR_PUT: &[&str] =
    &["owner", "fence", "ifVersion", "ttl", "persist", "keepTtl", "ifAbsent", "signal"];
pub const LOCK: &[&str] = &[
    "owner",
    "fence",
    "ifVersion",
    "wait",
    "lease",
    "put",
    "ttl",
    "persist",
    "keepTtl",
    "ifAbsent",
    "signal",
];
pub const LOCKED: &[&str] = &["owner", "fence", "ifVersion", "wait", "lease", "create", "signal"];
pub const SIGNAL: &[&str] = &["signal"];
const LIST: &[&str] = &["prefix", "limit", "cursor", "raw"];
const WATCH: &[&str] = &["prefix", "key", "initial", "capacity", "signal"];

/// Everything that an option of a call can be.
#[derive(Default)]
pub struct Given {
    owner: Option<String>,
    fence: Option<u64>,
    if_version: Option<Version>,
    ttl: Option<Duration>,
    persist: Option<bool>,
    keep_ttl: Option<bool>,
    if_absent: Option<bool>,
    wait: Option<Duration>,
    lease: Option<Duration>,
    create: Option<bool>,
    put: Option<Encoded>,
}

impl Given {
    pub fn read(env: Env<'_>, options: Js<'_>, known: &[&str]) -> Done<Given> {
        let mut given = Given::default();
        let kind = env.kind(options)?;
        if kind == Kind::Undefined {
            return Ok(given);
        }
        // A wrong value comes before wrong options.
        if known.contains(&"put") && kind == Kind::Object {
            given.put = put(env, options)?;
        }
        each(env, options, known, |env, name, value| {
            match name {
                "owner" => given.owner = Some(text(env, name, value)?),
                "fence" => given.fence = Some(fence(env, value)?),
                "ifVersion" => {
                    given.if_version = Some(text(env, name, value)?.parse::<Version>()?);
                }
                "ttl" => given.ttl = Some(duration(env, name, value)?),
                "persist" => given.persist = Some(bool(env, name, value)?),
                "keepTtl" => given.keep_ttl = Some(bool(env, name, value)?),
                "ifAbsent" => given.if_absent = Some(bool(env, name, value)?),
                "wait" => given.wait = Some(wait(env, name, value)?),
                "lease" => given.lease = Some(duration(env, name, value)?),
                "create" => given.create = Some(bool(env, name, value)?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(given)
    }

    pub fn write(self) -> WriteOptions {
        let mut options = WriteOptions::new();
        if let Some(owner) = self.owner {
            options = options.owner(owner);
        }
        if let Some(fence) = self.fence {
            options = options.fence(fence);
        }
        if let Some(version) = self.if_version {
            options = options.if_version(version);
        }
        options
    }

    pub fn put(self) -> PutOptions {
        let mut options = self.stored();
        if let Some(owner) = self.owner {
            options = options.owner(owner);
        }
        if let Some(fence) = self.fence {
            options = options.fence(fence);
        }
        if let Some(version) = self.if_version {
            options = options.if_version(version);
        }
        options
    }

    /// What concerns the value that is stored.
    fn stored(&self) -> PutOptions {
        let mut options = PutOptions::new()
            .persist(self.persist.unwrap_or_default())
            .keep_ttl(self.keep_ttl.unwrap_or_default())
            .if_absent(self.if_absent.unwrap_or_default());
        if let Some(ttl) = self.ttl {
            options = options.ttl(ttl);
        }
        options
    }

    pub fn lock(mut self) -> Done<LockOptions> {
        let mut options = LockOptions::new().create(self.create.unwrap_or_default());
        match self.put.take() {
            Some(value) => options = options.put(value, self.stored())?,
            None => {
                let of_put = [self.persist, self.keep_ttl, self.if_absent];
                if self.ttl.is_some() || of_put.iter().any(Option::is_some) {
                    let message =
                        "ttl, persist, keepTtl and ifAbsent belong to put; give put as well";
                    return Err(invalid_argument(message));
                }
            }
        }
        if let Some(owner) = self.owner {
            options = options.owner(owner);
        }
        if let Some(fence) = self.fence {
            options = options.fence(fence);
        }
        if let Some(version) = self.if_version {
            options = options.if_version(version);
        }
        if let Some(wait) = self.wait {
            options = options.wait(wait);
        }
        if let Some(lease) = self.lease {
            options = options.lease(lease);
        }
        Ok(options)
    }
}

/// The value of the option `put`; null is a value too.
fn put(env: Env<'_>, options: Js<'_>) -> Done<Option<Encoded>> {
    if !env.is_array(options)? {
        return Ok(None);
    }
    for at in (0..env.length_of(options)?).step_by(2) {
        let name = env.element(options, at)?;
        if known_name(env, name)? == Some("put") {
            let value = env.element(options, at + 1)?;
            let given = env.kind(value)? != Kind::Undefined;
            return if given { take::value(env, value).map(Some) } else { Ok(None) };
        }
    }
    Ok(None)
}

fn known_name(env: Env<'_>, name: Js<'_>) -> Done<Option<&'static str>> {
    Ok(match env.kind(name)? {
        Kind::Number => NAMES.get(env.number_of(name)? as usize).copied(),
        _ => None,
    })
}

/// Calls `take` for each option that is given; an unknown name is told the nearest right one.
fn each(
    env: Env<'_>,
    options: Js<'_>,
    known: &[&str],
    mut take: impl FnMut(Env<'_>, &str, Js<'_>) -> Done<()>,
) -> Done<()> {
    match env.kind(options)? {
        Kind::Undefined | Kind::Null => return Ok(()),
        Kind::Object if env.is_array(options)? => {}
        _ => return Err(invalid_argument("options are a plain object")),
    }
    for at in (0..env.length_of(options)?).step_by(2) {
        let name = env.element(options, at)?;
        let value = env.element(options, at + 1)?;
        let given = !matches!(env.kind(value)?, Kind::Undefined | Kind::Null);
        if let Some(name) = known_name(env, name)?
            && known.contains(&name)
        {
            if given {
                take(env, name, value)?;
            }
            continue;
        }
        let name = match known_name(env, name)? {
            Some(name) => name.to_owned(),
            None => text(env, "the name of an option", name)?,
        };
        if !known.contains(&name.as_str()) {
            return Err(Error::unknown_field("option", &name, known).into());
        }
        if given {
            take(env, &name, value)?;
        }
    }
    Ok(())
}

pub fn text(env: Env<'_>, name: &str, value: Js<'_>) -> Done<String> {
    if env.kind(value)? != Kind::Text {
        return Err(invalid_argument(format!("{name} is a string")));
    }
    match env.text_of(value)? {
        Some(text) => Ok(text.as_str().to_owned()),
        None => Err(invalid_argument(format!("{name} holds a lone surrogate, which is not text"))),
    }
}

fn bool(env: Env<'_>, name: &str, value: Js<'_>) -> Done<bool> {
    match env.kind(value)? {
        Kind::Bool => env.bool_of(value),
        _ => Err(invalid_argument(format!("{name} is true or false"))),
    }
}

/// A number of milliseconds, or text with a unit.
pub fn duration(env: Env<'_>, name: &str, value: Js<'_>) -> Done<Duration> {
    match env.kind(value)? {
        Kind::Number => Ok(duration_from_millis(name, env.number_of(value)?)?),
        Kind::Text => Ok(parse_duration(name, &text(env, name, value)?)?),
        _ => {
            let message =
                format!("{name} is a number of milliseconds, or text with a unit such as \"60s\"");
            Err(invalid_argument(message))
        }
    }
}

/// A duration that may be infinite.
pub fn wait(env: Env<'_>, name: &str, value: Js<'_>) -> Done<Duration> {
    if env.kind(value)? == Kind::Number && env.number_of(value)? == f64::INFINITY {
        return Ok(Duration::MAX);
    }
    duration(env, name, value)
}

fn fence(env: Env<'_>, value: Js<'_>) -> Done<u64> {
    let fence = match env.kind(value)? {
        Kind::BigInt => env.unsigned_of(value)?,
        Kind::Number => {
            let number = env.number_of(value)?;
            (take::is_safe_int(number) && number >= 0.0).then_some(number as u64)
        }
        _ => None,
    };
    fence.ok_or_else(|| invalid_argument("fence is the fence of an entry: a BigInt of 64 bits"))
}

/// A signed 64-bit integer; undefined is the default.
pub fn int(env: Env<'_>, name: &str, value: Js<'_>, default: i64) -> Done<i64> {
    let int = match env.kind(value)? {
        Kind::Undefined | Kind::Null => Some(default),
        Kind::Number => {
            let number = env.number_of(value)?;
            take::is_safe_int(number).then_some(number as i64)
        }
        Kind::BigInt => env.bigint_of(value)?,
        _ => None,
    };
    int.ok_or_else(|| {
        invalid_argument(format!("{name} is an integer: a safe one, or a BigInt of 64 bits"))
    })
}

fn size(env: Env<'_>, name: &str, value: Js<'_>) -> Done<usize> {
    let size = int(env, name, value, 0)?;
    usize::try_from(size)
        .map_err(|_| invalid_argument(format!("{name} is {size}; it must not be negative")))
}

/// Options of a listing, or the prefix alone; and whether keys are wanted raw.
pub fn list(env: Env<'_>, kv: &minikv::Registry, value: Js<'_>) -> Done<(ListOptions, bool)> {
    let mut options = ListOptions::new();
    let mut raw = false;
    if is_prefix(env, value)? {
        return Ok((options.prefix(take::prefix(env, kv, value)?), raw));
    }
    let mut prefix = None;
    each(env, value, LIST, |env, name, value| {
        match name {
            "prefix" => prefix = Some(take::prefix(env, kv, value)?),
            "limit" => options = std::mem::take(&mut options).limit(size(env, name, value)?),
            "cursor" => options = std::mem::take(&mut options).cursor(text(env, name, value)?),
            _ => raw = bool(env, name, value)?,
        }
        Ok(())
    })?;
    if let Some(prefix) = prefix {
        options = options.prefix(prefix);
    }
    Ok((options, raw))
}

/// Options of a watch, or the prefix alone.
pub fn watch(env: Env<'_>, kv: &minikv::Registry, value: Js<'_>) -> Done<WatchOptions> {
    let mut options = WatchOptions::new();
    if is_prefix(env, value)? {
        return Ok(options.prefix(take::prefix(env, kv, value)?));
    }
    each(env, value, WATCH, |env, name, value| {
        let so_far = std::mem::take(&mut options);
        options = match name {
            "prefix" => so_far.prefix(take::prefix(env, kv, value)?),
            "key" => so_far.key(take::bytes_or_text(env, value)?),
            "initial" => so_far.initial(bool(env, name, value)?),
            "capacity" => so_far.capacity(size(env, name, value)?),
            _ => so_far,
        };
        Ok(())
    })?;
    Ok(options)
}

fn is_prefix(env: Env<'_>, value: Js<'_>) -> Done<bool> {
    match env.kind(value)? {
        Kind::Undefined | Kind::Null | Kind::Text => Ok(true),
        Kind::Object => Ok(!matches!(env.bytes_of(value)?, crate::js::Bytes::Not)),
        _ => Err(take::invalid_key("a prefix is a string, a Uint8Array or an ArrayBuffer")),
    }
}

/// `default_ttl` → `defaultTtl`.
pub fn camel(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for letter in name.chars() {
        match letter {
            '_' => upper = true,
            _ if std::mem::take(&mut upper) => camel.extend(letter.to_uppercase()),
            _ => camel.push(letter),
        }
    }
    camel
}

/// A message of the core with the names of options and counts as they are written here. What stands in quotes is somebody's own.
pub fn spelled(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let (mut quoted, mut escaped) = (false, false);
    let mut rest = message;
    while let Some(first) = rest.chars().next() {
        let of_word = |letter: char| letter == '_' || letter.is_alphanumeric();
        let length = match rest.find(|letter| !of_word(letter)) {
            Some(0) => first.len_utf8(),
            Some(length) => length,
            None => rest.len(),
        };
        let (word, after) = rest.split_at(length);
        let camel = camel(word);
        let known = NAMES.contains(&camel.as_str())
            || Options::FIELDS.contains(&word)
            || Stats::FIELDS.contains(&word);
        if !quoted && known {
            out.push_str(&camel);
        } else {
            out.push_str(word);
        }
        quoted ^= first == '"' && !escaped;
        escaped = first == '\\' && !escaped;
        rest = after;
    }
    out
}

/// What a registry is to be started with, and what concerns this binding only.
pub struct Start {
    pub options: Options,
    pub exist_ok: bool,
    pub bigint: bool,
}

/// Options of a handle, known in this binding only.
const HANDLE: [&str; 2] = ["existOk", "ints"];

impl Start {
    pub fn read(env: Env<'_>, value: Js<'_>) -> Done<Start> {
        let camels: Vec<String> = Options::FIELDS.iter().map(|name| camel(name)).collect();
        let mut known: Vec<&str> = camels.iter().map(String::as_str).collect();
        known.extend(HANDLE);
        let mut fields = BTreeMap::new();
        let (mut exist_ok, mut bigint) = (false, false);
        each(env, value, &known, |env, name, value| {
            match name {
                "existOk" => exist_ok = bool(env, name, value)?,
                "ints" => bigint = ints(env, value)?,
                _ => {
                    let at = camels.iter().position(|camel| camel == name).unwrap_or_default();
                    let field = Options::FIELDS[at];
                    fields.insert(field.to_owned(), field_value(env, field, name, value)?);
                }
            }
            Ok(())
        })?;
        Ok(Start { options: Options::from_value(&Value::Map(fields))?, exist_ok, bigint })
    }

    /// The options of a handle alone, for `open` and `fromConfig`.
    pub fn handle(env: Env<'_>, value: Js<'_>, known: &[&str]) -> Done<(bool, bool)> {
        let (mut exist_ok, mut bigint) = (false, false);
        each(env, value, known, |env, name, value| {
            match name {
                "existOk" => exist_ok = bool(env, name, value)?,
                _ => bigint = ints(env, value)?,
            }
            Ok(())
        })?;
        Ok((exist_ok, bigint))
    }
}

fn ints(env: Env<'_>, value: Js<'_>) -> Done<bool> {
    let text = if env.kind(value)? == Kind::Text { env.text_of(value)? } else { None };
    match text.as_ref().map(crate::js::Text::as_str) {
        Some("bigint") => Ok(true),
        Some("auto") => Ok(false),
        _ => Err(invalid_argument("ints is 'auto' or 'bigint'")),
    }
}

/// As the core reads it: durations as text with a unit, numbers as ints. Whether it is of the right type is the core's
/// to say.
fn field_value(env: Env<'_>, field: &str, name: &str, value: Js<'_>) -> Done<Value> {
    if Options::DURATION_FIELDS.contains(&field) {
        return Ok(Value::Text(format_duration(duration(env, name, value)?)));
    }
    if env.kind(value)? != Kind::Object {
        return scalar(env, name, value);
    }
    if !env.is_array(value)? {
        return fields(env, name, value);
    }
    let mut items = Vec::new();
    for at in 0..env.length_of(value)? {
        items.push(env.scope(|env| scalar(env, name, env.element(value, at)?))?);
    }
    Ok(Value::List(items))
}

fn scalar(env: Env<'_>, name: &str, value: Js<'_>) -> Done<Value> {
    match env.kind(value)? {
        Kind::Undefined | Kind::Null => Ok(Value::Nil),
        Kind::Bool => Ok(Value::Bool(env.bool_of(value)?)),
        Kind::Text => Ok(Value::Text(text(env, name, value)?)),
        Kind::Number if !take::is_safe_int(env.number_of(value)?) => {
            Ok(Value::Float(env.number_of(value)?))
        }
        Kind::Number | Kind::BigInt => Ok(Value::Int(int(env, name, value, 0)?)),
        _ => Err(invalid_argument(format!("{name} holds something that is no option"))),
    }
}

/// A plain object or a Map.
fn fields(env: Env<'_>, name: &str, object: Js<'_>) -> Done<Value> {
    let verdict = env.call(env.helper(Helper::Exotic)?, &[object])?;
    let mut fields = BTreeMap::new();
    let mut field = |env: Env<'_>, key: Js<'_>, value: Js<'_>| {
        let key = text(env, &format!("a name within {name}"), key)?;
        let value = scalar(env, &format!("{name}.{key}"), value)?;
        fields.insert(key, value);
        Ok(())
    };
    match env.kind(verdict)? {
        Kind::Null => {
            let names = env.names_of(object)?;
            for at in 0..env.length_of(names)? {
                env.scope(|env| {
                    let key = env.element(names, at)?;
                    field(env, key, env.property(object, key)?)
                })?;
            }
        }
        Kind::Object => {
            for at in (0..env.length_of(verdict)?).step_by(2) {
                env.scope(|env| {
                    field(env, env.element(verdict, at)?, env.element(verdict, at + 1)?)
                })?;
            }
        }
        _ => return Err(invalid_argument(format!("{name} is an object that is no option"))),
    }
    Ok(Value::Map(fields))
}
