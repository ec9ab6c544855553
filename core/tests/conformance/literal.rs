//! How vectors write values and keys.

use std::collections::BTreeMap;

use minikv::Value;
use serde_json::Value as Json;

use crate::Failure;

/// The form and the content of an object with one key that starts with `$`.
fn form(json: &Json) -> Option<(&str, &Json)> {
    let object = json.as_object().filter(|object| object.len() == 1)?;
    let (key, content) = object.iter().next()?;
    key.starts_with('$').then_some((key, content))
}

fn text_of(content: &Json) -> Result<&str, Failure> {
    content.as_str().ok_or_else(|| Failure::Wrong(format!("not text: {content}")))
}

pub fn value(json: &Json) -> Result<Value, Failure> {
    if let Some((form, content)) = form(json) {
        return special(form, content);
    }
    Ok(match json {
        Json::Null => Value::Nil,
        Json::Bool(bool) => Value::Bool(*bool),
        Json::Number(number) => {
            let int = number.as_i64().filter(|int| int.unsigned_abs() < 1 << 53);
            Value::Int(int.ok_or_else(|| format!("a bare number must be a safe int: {number}"))?)
        }
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(value).collect::<Result<_, _>>()?),
        Json::Object(fields) => {
            let entry = |(key, field): (&String, &Json)| Ok((key.clone(), value(field)?));
            Value::Map(fields.iter().map(entry).collect::<Result<_, Failure>>()?)
        }
    })
}

fn special(form: &str, content: &Json) -> Result<Value, Failure> {
    Ok(match form {
        "$int" => Value::Int(text_of(content)?.parse().map_err(|_| Failure::Excluded)?),
        "$float" => {
            let float = text_of(content)?.parse();
            Value::Float(float.map_err(|_| format!("not a float: {content}"))?)
        }
        "$bytes" => Value::Bytes(base64(text_of(content)?)?),
        "$map" => {
            let pairs = content.as_array().ok_or_else(|| format!("not pairs: {content}"))?;
            let mut map = BTreeMap::new();
            for pair in pairs {
                let Value::Text(key) = value(&pair[0])? else {
                    return Err(format!("a map key must be text: {pair}").into());
                };
                map.insert(key, value(&pair[1])?);
            }
            Value::Map(map)
        }
        "$repeat" => Value::Text(repeated(content)?),
        "$nest" => {
            let depth = content.as_u64().unwrap_or_default();
            let empty = Value::List(Vec::new());
            (1..depth).fold(empty, |inner, _| Value::List(vec![inner]))
        }
        "$utf16" => return Err(Failure::Excluded),
        other => return Err(format!("unknown form {other}").into()),
    })
}

fn repeated(content: &Json) -> Result<String, Failure> {
    let times = content[1].as_u64().ok_or_else(|| format!("not a repetition: {content}"))?;
    Ok(text_of(&content[0])?.repeat(times as usize))
}

/// The bytes of a key or prefix.
pub fn key(json: &Json) -> Result<Vec<u8>, Failure> {
    match (form(json), json) {
        (Some(("$bytes", content)), _) => base64(text_of(content)?),
        (Some(("$repeat", content)), _) => Ok(repeated(content)?.into_bytes()),
        (Some(("$utf16", _)), _) | (None, Json::Null) => Err(Failure::Excluded),
        (None, Json::String(text)) => Ok(text.clone().into_bytes()),
        _ => Err(format!("not a key: {json}").into()),
    }
}

pub fn label(json: &Json) -> Result<String, Failure> {
    match form(json) {
        Some(("$repeat", content)) => repeated(content),
        _ => Ok(text_of(json)?.to_owned()),
    }
}

fn base64(text: &str) -> Result<Vec<u8>, Failure> {
    let digits = text.trim_end_matches('=');
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for digit in digits.bytes() {
        let six = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(format!("not base64: {text}").into()),
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Ok(bytes)
}
