//! From the core to JavaScript: values and keys. Everything handed out is the caller's own copy.

use minikv::{Entry, Key, Token, Value};

use crate::js::{Done, Env, Js};

const MAX_SAFE: i64 = 9_007_199_254_740_991;

pub fn int<'a>(env: Env<'a>, int: i64, bigint: bool) -> Done<Js<'a>> {
    if bigint || !(-MAX_SAFE..=MAX_SAFE).contains(&int) {
        return env.bigint(int);
    }
    match i32::try_from(int) {
        Ok(small) => env.small(small),
        Err(_) => env.number(int as f64),
    }
}

/// The value of an entry.
pub fn value_of<'a>(env: Env<'a>, entry: &Entry, bigint: bool) -> Done<Js<'a>> {
    if let Some(text) = entry.as_str() {
        return env.text(text);
    }
    match entry.reader().token()? {
        Token::Nil => env.null(),
        Token::Bool(value) => env.bool(value),
        Token::Int(value) => int(env, value, bigint),
        Token::Float(value) => env.number(value),
        Token::Text(value) => env.text(value),
        Token::Bytes(value) => env.buffer(value),
        Token::List(_) | Token::Map(_) => value(env, &entry.value(), bigint),
    }
}

/// The nesting is bounded by what the core stores.
pub fn value<'a>(env: Env<'a>, from: &Value, bigint: bool) -> Done<Js<'a>> {
    match from {
        Value::Nil => env.null(),
        Value::Bool(value) => env.bool(*value),
        Value::Int(value) => int(env, *value, bigint),
        Value::Float(value) => env.number(*value),
        Value::Text(value) => env.text(value),
        Value::Bytes(value) => env.buffer(value),
        Value::List(items) => {
            let array = env.empty_array(items.len())?;
            for (at, item) in items.iter().enumerate() {
                env.scope(|env| env.set_element(array, at, value(env, item, bigint)?))?;
            }
            Ok(array)
        }
        Value::Map(map) => {
            let mut properties = Vec::with_capacity(map.len());
            for (name, item) in map {
                properties.push((env.text(name)?, value(env, item, bigint)?));
            }
            env.object(&properties)
        }
    }
}

/// Text where the key is valid UTF-8, otherwise bytes; always bytes if `raw`.
pub fn key<'a>(env: Env<'a>, bytes: &[u8], raw: bool) -> Done<Js<'a>> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !raw => env.text(text),
        _ => env.buffer(bytes),
    }
}

pub fn keys<'a>(env: Env<'a>, keys: &[Key], raw: bool) -> Done<Js<'a>> {
    let array = env.empty_array(keys.len())?;
    for (at, item) in keys.iter().enumerate() {
        env.scope(|env| env.set_element(array, at, key(env, item.as_bytes(), raw)?))?;
    }
    Ok(array)
}
