//! The committed header is what the sources say; its numbers are the core's; no function is left out of the NULL test.
//!
//! After a change of an export: `BLESS=1 cargo test -p minikv-c`.

#![allow(missing_docs, clippy::unwrap_used)]

use std::fmt::Write;
use std::path::{Path, PathBuf};

use minikv::{ErrorKind, EventKind, MemberState, Stats, ValueType};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

const GENERATED: &str = include_str!(concat!(env!("OUT_DIR"), "/minikv.h"));

fn same_as_committed(path: &str, generated: &str) {
    let path = here(path);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "{} is not what the sources say; BLESS=1 cargo test -p minikv-c updates it",
        path.display()
    );
}

#[test]
fn the_committed_header_is_up_to_date() {
    same_as_committed("include/minikv.h", GENERATED);
}

fn assert_defines(name: &str, number: i32) {
    let line = format!("    {name} = {number},");
    assert!(GENERATED.lines().any(|found| found == line), "the header does not say {line}");
}

#[test]
fn codes_and_types_are_the_cores() {
    for kind in ErrorKind::ALL {
        assert_defines(&format!("MINIKV_{}", kind.as_str().to_uppercase()), kind.code());
    }
    let types = [
        ValueType::Nil,
        ValueType::Bool,
        ValueType::Int,
        ValueType::Float,
        ValueType::Text,
        ValueType::Bytes,
        ValueType::List,
        ValueType::Map,
    ];
    for (number, value_type) in (1..).zip(types) {
        assert_defines(&format!("MINIKV_{}", value_type.as_str().to_uppercase()), number);
    }
    let events = [
        EventKind::Put,
        EventKind::Delete,
        EventKind::Expire,
        EventKind::Touch,
        EventKind::Persist,
        EventKind::Lock,
        EventKind::Unlock,
        EventKind::Lagged,
        EventKind::Owner,
        EventKind::Member,
    ];
    for (number, event) in (1..).zip(events) {
        assert_defines(&format!("MINIKV_EVENT_{}", event.as_str().to_uppercase()), number);
    }
    let states = [MemberState::Joining, MemberState::Live, MemberState::Down, MemberState::Left];
    for (number, state) in (1..).zip(states) {
        assert_defines(&format!("MINIKV_MEMBER_{}", state.as_str().to_uppercase()), number);
    }
    let (before, _) = GENERATED.split_once("} minikv_stats;").unwrap();
    let (_, stats) = before.rsplit_once("typedef struct {").unwrap();
    let fields = stats.lines().filter_map(|line| line.trim().strip_suffix(';'));
    let fields: Vec<String> = fields.map(|field| split_name(field).1).collect();
    assert_eq!(fields, Stats::FIELDS, "the fields of minikv_stats");
}

struct Function {
    result: String,
    name: String,
    parameters: Vec<(String, String)>,
}

/// The declarations of the header.
fn functions() -> Vec<Function> {
    let mut code = String::new();
    let mut rest = GENERATED;
    while let Some((before, after)) = rest.split_once("/*") {
        code.push_str(before);
        rest = after.split_once("*/").unwrap().1;
    }
    code.push_str(rest);
    let code = code.split_once("extern \"C\" {").unwrap().1;
    let code = code.split_once("}  // extern \"C\"").unwrap().0;
    let lines = code.lines().filter(|line| !line.starts_with('#'));
    let code = lines.collect::<Vec<_>>().join(" ");
    let mut functions = Vec::new();
    for declaration in code.split(';').map(str::trim).filter(|text| !text.is_empty()) {
        let (head, parameters) = declaration.split_once('(').unwrap();
        let (result, name) = split_name(head);
        let parameters = parameters.trim_end_matches(')');
        let parameters = parameters.split(',').map(str::trim).filter(|text| *text != "void");
        functions.push(Function { result, name, parameters: parameters.map(split_name).collect() });
    }
    functions
}

/// `const char *name` as its type and its name.
fn split_name(declaration: &str) -> (String, String) {
    let declaration = declaration.trim();
    let at = declaration.rfind([' ', '*']).unwrap() + 1;
    let (kind, name) = declaration.split_at(at);
    (kind.split_whitespace().collect::<Vec<_>>().join(" "), name.to_owned())
}

/// Something valid of a parameter's type, as tests/nulls.c names it.
fn valid(function: &str, kind: &str, name: &str) -> String {
    let out = |what: &str| format!("&out.{what}");
    match kind {
        "void *" => "&some_user".into(),
        "bool" => "true".into(),
        "double" => "1.0".into(),
        "int64_t" if name == "timeout_ms" => "0".into(),
        "int64_t" | "int32_t" | "uint64_t" => "1".into(),
        "size_t" if name == "size" => "sizeof(minikv_stats)".into(),
        "size_t" => "1".into(),
        "minikv_bytes" if name == "toml" => "minikv_str(\"\")".into(),
        "minikv_bytes" if function == "minikv_options_from_json" => "minikv_str(\"{}\")".into(),
        "minikv_bytes" => "minikv_str(\"1\")".into(),
        "const char *" if name == "version" => "some_version".into(),
        "const char *" => "\"nulls\"".into(),
        "const minikv_bytes *" => "some_keys".into(),
        "const minikv_value *const *" => "some_values".into(),
        "const minikv_value *" => "some_value".into(),
        "minikv_value *" => "fresh_value()".into(),
        "bool *" | "int64_t *" | "uint64_t *" | "double *" | "int32_t *" | "size_t *" => {
            out(&format!("a_{}", kind.trim_end_matches(" *")))
        }
        "minikv_bytes *" => out("a_span"),
        "minikv_stats *" => out("stats"),
        "minikv_view *" => out("view"),
        "char **" => out("text"),
        "minikv_error **" => "&err".into(),
        kind if kind.ends_with("_fn") => format!("some_{}", kind.trim_start_matches("minikv_")),
        kind if kind.ends_with(" **") => {
            out(kind.trim_start_matches("minikv_").trim_end_matches(" **"))
        }
        kind => {
            let changes = !kind.starts_with("const ");
            let kind = kind.trim_start_matches("const ").trim_start_matches("minikv_");
            let kind = kind.trim_end_matches(" *");
            // What one call has changed, or used up, is not what the next one needs.
            let used_up = kind.starts_with("pending_") || matches!(kind, "guard" | "watch");
            if changes || used_up { format!("fresh_{kind}()") } else { format!("some_{kind}") }
        }
    }
}

/// The span, pointer or callback that stands for nothing; `None` for numbers.
fn nothing(kind: &str) -> Option<&'static str> {
    match kind {
        "minikv_bytes" => Some("minikv_span(NULL, 3)"),
        kind if kind.ends_with("_fn") || kind.ends_with('*') => Some("NULL"),
        _ => None,
    }
}

/// Whether NULL is an argument like any other here.
fn may_be_null(function: &str, kind: &str, name: &str) -> bool {
    let result_of_write = matches!(name, "entry" | "page" | "removed")
        && !matches!(
            function,
            "minikv_get"
                | "minikv_get_many"
                | "minikv_guard_get"
                | "minikv_lock"
                | "minikv_keys"
                | "minikv_entries"
                | "minikv_pending_lock_wait"
                | "minikv_entry_json"
        );
    let options_of_call = name == "options"
        && kind.starts_with("const ")
        && !function.starts_with("minikv_registry_start")
        && function != "minikv_options_json";
    matches!(name, "err" | "user" | "otherwise" | "put_options")
        || result_of_write
        || options_of_call
}

/// The kind of a handle that the caller has to free.
fn own_handle(result: &str) -> Option<&str> {
    result.strip_suffix(" *")?.strip_prefix("minikv_")
}

/// One call for each pointer of each function, with NULL there and all else in order.
fn null_calls() -> String {
    let mut calls = String::from("/* Generated from the header by tests/header.rs. */\n");
    for Function { result, name: function, parameters } in functions() {
        let mut pointers = 0;
        for (place, (kind, name)) in parameters.iter().enumerate() {
            let Some(nothing) = nothing(kind) else { continue };
            pointers += 1;
            let argument = |(other, (kind, name)): (usize, &(String, String))| {
                if other == place { nothing.to_owned() } else { valid(&function, kind, name) }
            };
            let arguments: Vec<String> = parameters.iter().enumerate().map(argument).collect();
            let call = format!("{function}({})", arguments.join(", "));
            let has_err = parameters.iter().any(|(_, name)| name == "err");
            let checked = result == "minikv_code " || result == "minikv_code";
            let line = if let Some(kind) = own_handle(&result) {
                format!("ENDS(minikv_{kind}_free, {call});")
            } else if !checked
                || function.starts_with("minikv_error_")
                || may_be_null(&function, kind, name)
            {
                format!("SURVIVES({call});")
            } else {
                let is_key = kind == "minikv_bytes"
                    && matches!(&**name, "key" | "prefix")
                    && function != "minikv_value_add_key";
                let code = if is_key { "MINIKV_INVALID_KEY" } else { "MINIKV_INVALID_ARGUMENT" };
                let told = if has_err { format!("\"{name}\"") } else { "NULL".into() };
                format!("REFUSES({code}, {told}, {call});")
            };
            calls.push_str(&line);
            calls.push('\n');
        }
        if pointers == 0 {
            let arguments: Vec<_> =
                parameters.iter().map(|(kind, name)| valid(&function, kind, name)).collect();
            let call = format!("{function}({})", arguments.join(", "));
            let _ = match own_handle(&result) {
                Some(kind) => writeln!(calls, "ENDS(minikv_{kind}_free, {call});"),
                None => writeln!(calls, "SURVIVES({call});"),
            };
        }
    }
    calls
}

#[test]
fn every_pointer_of_every_function_is_in_the_null_test() {
    let exported = functions().len();
    let declared = GENERATED.matches("\nminikv_code minikv_").count();
    assert!(exported > 150 && declared > 60, "{exported} functions, {declared} with a code");
    same_as_committed("tests/null_calls.inc", &null_calls());
}
