//! What a step gave, held against what the vector expects.

use minikv::{Entry, ErrorKind, Value};
use serde_json::Value as Json;

use crate::{Failure, Output, Run, Step, StepResult, literal};

type Check = Result<(), String>;

/// The output to remember; `None` where there is none.
pub fn check(run: &mut Run, step: &Step<'_>, result: StepResult) -> Result<Option<Output>, String> {
    let expected_error = step.get("error");
    let expect = step.get("expect");
    let output = match (result, expected_error) {
        (Err(Failure::Excluded), _) => return Ok(None),
        (Err(Failure::Wrong(problem)), _) => return Err(problem),
        (Err(failure), Some(expected)) => {
            return error(run, &failure, expected).map(|()| Some(Output::Nothing));
        }
        (Err(Failure::Registry(error)), None) => return Err(error.to_string()),
        (Err(Failure::Thrown), None) => return Err("the function threw".to_owned()),
        (Ok(_), Some(expected)) => return Err(format!("no error; expected {expected}")),
        (Ok(output), None) => output,
    };
    let now = run.clock;
    if let Some(expect) = expect {
        let forms = expect.as_object().ok_or("expect is not an object")?;
        for (form, expected) in forms.iter().filter(|(form, _)| *form != "unordered") {
            let unordered = forms.contains_key("unordered");
            expected_form(&output, form, expected, now, unordered)?;
        }
    }
    relations(run, step, &output)?;
    Ok(Some(output))
}

fn error(run: &Run, failure: &Failure, expected: &Json) -> Check {
    let kind = expected.as_str().or_else(|| expected.get("kind").and_then(Json::as_str));
    let kind = kind.ok_or("error names no kind")?;
    let known = kind == "throw" || ErrorKind::ALL.iter().any(|known| known.as_str() == kind);
    if !known {
        return Err(format!("unknown error kind {kind}"));
    }
    let (found, present) = match failure {
        Failure::Registry(error) => (error.kind().as_str(), error.present()),
        _ => ("throw", None),
    };
    if found != kind {
        let text = match failure {
            Failure::Registry(error) => error.to_string(),
            _ => found.to_owned(),
        };
        return Err(format!("expected {kind}, got {text}"));
    }
    match (expected.get("entry"), present) {
        (None, _) => Ok(()),
        (Some(Json::Null), Some(None)) => Ok(()),
        (Some(fields), Some(Some(present))) => entry(present, fields, run.clock),
        (Some(_), _) => Err("the conflict carries another entry".to_owned()),
    }
}

fn expected_form(output: &Output, form: &str, expected: &Json, now: u64, unordered: bool) -> Check {
    let wrong = || Err(format!("a result of this kind has no {form}"));
    match (form, output) {
        ("entry", Output::Entry(Some(found))) => entry(found, expected, now),
        ("entry", Output::Entry(None)) => Err("the key is absent".to_owned()),
        ("nil", Output::Entry(found)) => equal("nil", &Json::Bool(found.is_none()), expected),
        ("bool", Output::Bool(found)) => equal("bool", &Json::Bool(*found), expected),
        ("count", output) => {
            let count = match output {
                Output::Count(count) => *count,
                Output::Many(entries) => entries.iter().flatten().count(),
                Output::Keys(keys, _) => keys.len(),
                Output::Entries(entries, _) => entries.len(),
                _ => return wrong(),
            };
            equal("count", &Json::from(count), expected)
        }
        ("cursor", Output::Keys(_, cursor) | Output::Entries(_, cursor)) => {
            equal("cursor", &Json::Bool(cursor.is_some()), expected)
        }
        ("keys", Output::Keys(found, _)) => {
            let mut found: Vec<_> = found.iter().map(|key| key.as_bytes().to_vec()).collect();
            let expected = expected.as_array().ok_or("keys is no list")?.iter();
            let mut expected =
                expected.map(literal::key).collect::<Result<Vec<_>, _>>().map_err(|_| "keys")?;
            found.sort();
            expected.sort();
            if found == expected { Ok(()) } else { Err(format!("keys {found:?}")) }
        }
        ("entries", Output::Many(found)) => {
            let expected = expected.as_array().ok_or("entries is no list")?;
            if found.len() != expected.len() {
                return Err(format!("{} entries", found.len()));
            }
            found.iter().zip(expected).try_for_each(|pair| match pair {
                (None, Json::Null) => Ok(()),
                (Some(found), fields) if !fields.is_null() => entry(found, fields, now),
                (found, _) => Err(format!("expected otherwise: {found:?}")),
            })
        }
        ("entries", Output::Entries(found, _)) => {
            let expected = expected.as_array().ok_or("entries is no list")?;
            match_all(found, expected, true, |found, fields| entry(found, fields, now))
        }
        ("value", Output::Value(found)) => same_value("value", found, expected),
        ("stats" | "options", Output::Map(Value::Map(found))) => {
            let expected = expected.as_object().ok_or("not an object")?;
            expected.iter().try_for_each(|(name, field)| {
                let found = found.get(name).ok_or_else(|| format!("there is no {name}"))?;
                same_value(name, found, field)
            })
        }
        ("members", Output::Members(found)) => {
            let expected = expected.as_array().ok_or("members is no list")?;
            match_all(found, expected, false, member)
        }
        ("endpoints", Output::Texts(found)) => equal(form, &Json::from(&found[..]), expected),
        ("events", Output::Events(found)) => {
            let expected = expected.as_array().ok_or("events is no list")?;
            match_all(found, expected, unordered, |found, fields| event(found, fields, now))
        }
        _ => wrong(),
    }
}

/// Each found one meets one expected one, in order or in any.
fn match_all<T: std::fmt::Debug>(
    found: &[T],
    expected: &[Json],
    unordered: bool,
    matches: impl Fn(&T, &Json) -> Check,
) -> Check {
    if found.len() != expected.len() {
        return Err(format!("expected {} items, got {}: {found:?}", expected.len(), found.len()));
    }
    if !unordered {
        return found.iter().zip(expected).try_for_each(|(found, fields)| matches(found, fields));
    }
    let mut left: Vec<&T> = found.iter().collect();
    for fields in expected {
        let place = left.iter().position(|found| matches(found, fields).is_ok());
        left.remove(place.ok_or_else(|| format!("nothing matches {fields}: {found:?}"))?);
    }
    Ok(())
}

fn member(found: &minikv::Member, fields: &Json) -> Check {
    let found = serde_json::to_value(found).map_err(|error| error.to_string())?;
    let fields = fields.as_object().ok_or("a member is an object")?;
    fields.iter().try_for_each(|(name, expected)| {
        let found = found.get(name).ok_or_else(|| format!("unknown member field {name}"))?;
        equal(name, found, expected)
    })
}

fn event(found: &minikv::Event, fields: &Json, now: u64) -> Check {
    let fields = fields.as_object().ok_or("an event is an object")?;
    fields.iter().try_for_each(|(name, expected)| match name.as_str() {
        "type" => equal(name, &Json::from(found.kind().as_str()), expected),
        "count" => equal(name, &Json::from(found.count()), expected),
        "key" => {
            let key = literal::key(expected).map_err(|_| "key")?;
            let found = found.key().map(|key| key.as_bytes().to_vec());
            if found.as_deref() == Some(&*key) { Ok(()) } else { Err(format!("key {found:?}")) }
        }
        "entry" => entry(found.entry().ok_or("the event has no entry")?, expected, now),
        other => Err(format!("unknown event field {other}")),
    })
}

fn entry(found: &Entry, fields: &Json, now: u64) -> Check {
    let fields = fields.as_object().ok_or("an entry is an object")?;
    fields.iter().try_for_each(|(name, expected)| match name.as_str() {
        "key" => {
            let key = literal::key(expected).map_err(|_| "key")?;
            if *key == *found.key_bytes() { Ok(()) } else { Err(format!("key {:?}", found.key())) }
        }
        "value" => same_value(name, &found.value(), expected),
        "type" => equal(name, &Json::from(found.value_type().as_str()), expected),
        "node" => equal(name, &Json::from(found.node()), expected),
        "lock" => equal(name, &Json::from(found.is_locked()), expected),
        "fence" => equal(name, &Json::from(found.fence()), expected),
        "exp_in_ms" => {
            let left = found.exp().map(|exp| exp as i128 - now as i128);
            let expected_left = match expected {
                Json::Null => None,
                number => Some((number.as_f64().ok_or("exp_in_ms")? * 1e6).round() as i128),
            };
            let exact = expected.as_i64().map(|ms| i128::from(ms) * 1_000_000);
            let expected_left = exact.or(expected_left);
            if left == expected_left { Ok(()) } else { Err(format!("exp in {left:?} ns")) }
        }
        "holder" => {
            let Some(holder) = found.holder() else {
                return equal(name, &Json::Null, expected);
            };
            let owner = match &expected["owner"] {
                Json::Null => None,
                label => Some(literal::label(label).map_err(|_| "a label is wrong")?),
            };
            if expected["node"] == *holder.node && owner == holder.owner {
                return Ok(());
            }
            Err(format!("the holder is {holder}"))
        }
        other => Err(format!("unknown entry field {other}")),
    })
}

fn same_value(name: &str, found: &Value, expected: &Json) -> Check {
    let expected = literal::value(expected).map_err(|_| "an expected value is wrong")?;
    if *found == expected { Ok(()) } else { Err(format!("{name} is {found:?}")) }
}

fn equal(name: &str, found: &Json, expected: &Json) -> Check {
    if found == expected { Ok(()) } else { Err(format!("{name} is {found}, not {expected}")) }
}

/// The field as text that compares as the field does.
fn field(output: &Output, name: &str) -> Result<String, String> {
    match (output, name) {
        (Output::Digest(digest), "digest") => Ok(digest.clone()),
        (Output::Entry(Some(entry)), "version") => Ok(entry.version().to_string()),
        (Output::Entry(Some(entry)), "time") => Ok(format!("{:020}", entry.time())),
        (Output::Entry(Some(entry)), "exp") => {
            Ok(entry.exp().map_or("none".to_owned(), |exp| format!("{exp:020}")))
        }
        (Output::Entry(Some(entry)), "fence") => {
            Ok(entry.fence().map_or("none".to_owned(), |fence| format!("{fence:020}")))
        }
        _ => Err(format!("there is no field {name}")),
    }
}

fn relations(run: &mut Run, step: &Step<'_>, output: &Output) -> Check {
    for (relation, holds) in [
        ("same", (|a, b| a == b) as fn(&String, &String) -> bool),
        ("differs", |a, b| a != b),
        ("greater", |a, b| a > b),
    ] {
        let Some(pairs) = step.get(relation) else { continue };
        for (name, saved) in pairs.as_object().ok_or("a relation is an object")? {
            let saved = saved.as_str().and_then(|saved| run.saved.get(saved));
            let saved = saved.ok_or("nothing is saved under that name")?;
            let found = field(output, name)?;
            if !holds(&found, saved) {
                return Err(format!("{name} is {found}, saved {saved}: not {relation}"));
            }
        }
    }
    if let Some(pairs) = step.get("save") {
        for (saved, name) in pairs.as_object().ok_or("save is an object")? {
            let found = field(output, name.as_str().unwrap_or_default())?;
            run.saved.insert(saved.clone(), found);
        }
    }
    Ok(())
}
