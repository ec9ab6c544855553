//! From JavaScript to the core: values, keys, numbers.

use minikv::{Encoded, Encoder, Error, ErrorKind, Registry};

use crate::js::{Bytes, Done, Env, Fail, Js, Kind, Text};
use crate::state::Helper;

/// A key or prefix.
pub enum Key {
    Text(Text),
    Bytes(Vec<u8>),
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        match self {
            Key::Text(text) => text.as_bytes(),
            Key::Bytes(bytes) => bytes,
        }
    }
}

pub fn invalid_key(message: &str) -> Fail {
    Fail::Kv(Error::new(ErrorKind::InvalidKey, message))
}

pub fn invalid_argument(message: impl Into<String>) -> Fail {
    Fail::Kv(Error::new(ErrorKind::InvalidArgument, message))
}

/// A key that the registry accepts; `stopped` comes before `invalid_key`.
pub fn key(env: Env<'_>, kv: &Registry, value: Js<'_>) -> Done<Key> {
    kv.ensure_running()?;
    let key = bytes_or_text(env, value)?;
    kv.check_key(&key)?;
    Ok(key)
}

/// A prefix; undefined and null are the empty one.
pub fn prefix(env: Env<'_>, kv: &Registry, value: Js<'_>) -> Done<Key> {
    kv.ensure_running()?;
    match env.kind(value)? {
        Kind::Undefined | Kind::Null => Ok(Key::Bytes(Vec::new())),
        Kind::Text | Kind::Object => bytes_or_text(env, value),
        _ => Err(invalid_key("a prefix is a string, a Uint8Array or an ArrayBuffer")),
    }
}

pub fn bytes_or_text(env: Env<'_>, value: Js<'_>) -> Done<Key> {
    match env.kind(value)? {
        Kind::Text => match env.text_of(value)? {
            Some(text) => Ok(Key::Text(text)),
            None => Err(invalid_key("the key holds a lone surrogate, which is not text")),
        },
        Kind::Object => match env.bytes_of(value)? {
            Bytes::Owned(bytes) => Ok(Key::Bytes(bytes)),
            Bytes::Refused(why) => Err(invalid_key(why)),
            Bytes::Not => Err(invalid_key("a key is a string, a Uint8Array or an ArrayBuffer")),
        },
        _ => Err(invalid_key("a key is a string, a Uint8Array or an ArrayBuffer")),
    }
}

pub fn value(env: Env<'_>, value: Js<'_>) -> Done<Encoded> {
    let mut encoder = Encoder::reusing();
    write(env, value, &mut encoder)?;
    Ok(encoder.finish()?)
}

fn write(env: Env<'_>, value: Js<'_>, encoder: &mut Encoder) -> Done<()> {
    let refuse = |encoder: &Encoder, problem: &str| Err(encoder.error(problem).into());
    match env.kind(value)? {
        Kind::Null => Ok(encoder.nil()?),
        Kind::Bool => Ok(encoder.bool(env.bool_of(value)?)?),
        Kind::Number => number(env.number_of(value)?, encoder),
        Kind::Text => match env.text_of(value)? {
            Some(text) => Ok(encoder.text(text.as_str())?),
            None => refuse(encoder, "a lone surrogate is not text"),
        },
        Kind::BigInt => match env.bigint_of(value)? {
            Some(int) => Ok(encoder.int(int)?),
            None => Err(encoder.int_out_of_range(shown_bigint(env, value)?).into()),
        },
        Kind::Object => object(env, value, encoder),
        Kind::Undefined => refuse(encoder, "undefined cannot be stored; null can"),
        Kind::Symbol => refuse(encoder, "a symbol cannot be stored"),
        Kind::Function => refuse(encoder, "a function cannot be stored"),
        Kind::External => refuse(encoder, "an external cannot be stored"),
    }
}

/// The largest integer that a number holds exactly, as all below it.
const MAX_SAFE: f64 = 9_007_199_254_740_991.0;

pub fn is_safe_int(number: f64) -> bool {
    number.trunc() == number && number.abs() <= MAX_SAFE
}

fn number(number: f64, encoder: &mut Encoder) -> Done<()> {
    let negative_zero = number == 0.0 && number.is_sign_negative();
    if is_safe_int(number) && !negative_zero {
        Ok(encoder.int(number as i64)?)
    } else {
        Ok(encoder.float(number)?)
    }
}

/// Digits of a huge number would cost more than the message is worth.
fn shown_bigint(env: Env<'_>, value: Js<'_>) -> Done<String> {
    match env.bigint_words(value)? {
        0..=8 => env.shown(value),
        words => Ok(format!("of about {} bits", words * 64)),
    }
}

fn object(env: Env<'_>, value: Js<'_>, encoder: &mut Encoder) -> Done<()> {
    if env.is_array(value)? {
        return list(env, value, encoder);
    }
    match env.bytes_of(value)? {
        Bytes::Owned(bytes) => return Ok(encoder.bytes(&bytes)?),
        Bytes::Refused(why) => return Err(encoder.error(why).into()),
        Bytes::Not => {}
    }
    let verdict = env.call(env.helper(Helper::Exotic)?, &[value])?;
    match env.kind(verdict)? {
        Kind::Null => map(env, value, encoder),
        Kind::Number => Ok(encoder.float(env.number_of(verdict)?)?),
        Kind::Object => pairs(env, verdict, encoder),
        _ => {
            let why = env.text_of(verdict)?;
            let why = why.as_ref().map_or("an object of this class cannot be stored", Text::as_str);
            Err(encoder.error(why).into())
        }
    }
}

fn list(env: Env<'_>, array: Js<'_>, encoder: &mut Encoder) -> Done<()> {
    encoder.begin_list()?;
    for at in 0..env.length_of(array)? {
        env.scope(|env| write(env, env.element(array, at)?, encoder))?;
    }
    Ok(encoder.end()?)
}

fn map(env: Env<'_>, object: Js<'_>, encoder: &mut Encoder) -> Done<()> {
    encoder.begin_map()?;
    let names = env.names_of(object)?;
    for at in 0..env.length_of(names)? {
        env.scope(|env| {
            let name = env.element(names, at)?;
            field(env, name, encoder)?;
            write(env, env.property(object, name)?, encoder)
        })?;
    }
    Ok(encoder.end()?)
}

/// The entries of a Map, as one array of keys and values in turn.
fn pairs(env: Env<'_>, pairs: Js<'_>, encoder: &mut Encoder) -> Done<()> {
    encoder.begin_map()?;
    for at in (0..env.length_of(pairs)?).step_by(2) {
        env.scope(|env| {
            field(env, env.element(pairs, at)?, encoder)?;
            write(env, env.element(pairs, at + 1)?, encoder)
        })?;
    }
    Ok(encoder.end()?)
}

fn field(env: Env<'_>, name: Js<'_>, encoder: &mut Encoder) -> Done<()> {
    if env.kind(name)? != Kind::Text {
        return Err(encoder.error("the keys of a Map must be strings").into());
    }
    match env.text_of(name)? {
        Some(name) => Ok(encoder.key(name.as_str())?),
        None => Err(encoder.error("a key holds a lone surrogate, which is not text").into()),
    }
}
