//! Executes the conformance vectors through the public interface.

#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, missing_docs)]

mod compare;
mod literal;
mod ops;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use minikv::{
    ClockKind, Entry, Error, Event, Key, LockGuard, MANUAL_CLOCK_START_MS, Member, Options,
    Registry, Value, Watch,
};
use serde_json::Value as Json;

/// What a step gave.
pub enum Output {
    Nothing,
    Entry(Option<Box<Entry>>),
    Many(Vec<Option<Entry>>),
    Keys(Vec<Key>, Option<String>),
    Entries(Vec<Entry>, Option<String>),
    Count(usize),
    Bool(bool),
    Value(Value),
    Digest(String),
    Map(Value),
    Members(Vec<Member>),
    Texts(Vec<String>),
    Events(Vec<Event>),
    Spawned,
}

/// Why a step gave nothing.
pub enum Failure {
    Registry(Error),
    /// The error that the vector's own function raised.
    Thrown,
    /// The types of this language exclude the argument.
    Excluded,
    /// The vector or the runner is at fault.
    Wrong(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Registry(error)
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure::Wrong(message)
    }
}

pub type StepResult = Result<Output, Failure>;
type Job = std::thread::JoinHandle<Result<(Output, Option<LockGuard>), Failure>>;

pub struct Run {
    pub kv: Registry,
    pub outputs: Vec<Option<Output>>,
    pub watches: HashMap<String, Watch>,
    pub guards: HashMap<String, LockGuard>,
    pub jobs: HashMap<String, (Job, Option<String>)>,
    pub saved: HashMap<String, String>,
    /// What the manual clock shows, in ns.
    pub clock: u64,
}

/// A step, which notices fields that nobody asked for.
pub struct Step<'a> {
    fields: &'a serde_json::Map<String, Json>,
    asked: std::cell::RefCell<HashSet<&'static str>>,
}

impl<'a> Step<'a> {
    pub fn get(&self, field: &'static str) -> Option<&'a Json> {
        self.asked.borrow_mut().insert(field);
        self.fields.get(field)
    }

    pub fn text(&self, field: &'static str) -> Result<Option<&'a str>, Failure> {
        match self.get(field) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(other) => Err(format!("{field} is not text: {other}").into()),
        }
    }

    pub fn flag(&self, field: &'static str) -> Result<bool, Failure> {
        match self.get(field) {
            None => Ok(false),
            Some(Json::Bool(flag)) => Ok(*flag),
            Some(other) => Err(format!("{field} is not a bool: {other}").into()),
        }
    }

    pub fn number(&self, field: &'static str) -> Result<Option<usize>, Failure> {
        match self.get(field) {
            None => Ok(None),
            Some(json) => {
                let number = json.as_u64().ok_or(format!("{field} is not a number: {json}"))?;
                Ok(Some(number as usize))
            }
        }
    }

    pub fn duration(&self, field: &'static str) -> Result<Option<Duration>, Failure> {
        match self.get(field) {
            None => Ok(None),
            Some(json) => match (json.as_u64(), json.as_f64()) {
                (Some(ms), _) => Ok(Some(Duration::from_millis(ms))),
                (None, Some(ms)) if ms < 0.0 => Err(Failure::Excluded),
                (None, Some(ms)) => Ok(Some(Duration::from_nanos((ms * 1e6).round() as u64))),
                _ => Err(format!("{field} is not a duration: {json}").into()),
            },
        }
    }

    fn unasked(&self) -> Vec<&String> {
        let asked = self.asked.borrow();
        self.fields.keys().filter(|field| !asked.contains(field.as_str())).collect()
    }
}

fn start(fields: &Json) -> Result<Registry, String> {
    let mut options = Options::unnamed().clock(ClockKind::Manual);
    let fields = fields.as_object().cloned().unwrap_or_default();
    for (field, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        let number = value.as_u64().unwrap_or_default();
        options = match field.as_str() {
            "node" => options.node(value.as_str().unwrap_or_default()),
            "default_ttl_ms" => options.default_ttl(Duration::from_millis(number)),
            "lock_lease_ms" => options.lock_lease(Duration::from_millis(number)),
            "max_value_bytes" => options.max_value_bytes(number),
            "max_entries" => options.max_entries(number),
            "max_bytes" => options.max_bytes(number),
            "max_watchers" => options.max_watchers(number),
            _ => return Err(format!("unknown registry field {field}")),
        };
    }
    Registry::start(options).map_err(|error| error.to_string())
}

fn run_case(case: &Json) -> Result<(), String> {
    let kv = start(case.get("registry").unwrap_or(&Json::Null))?;
    let mut run = Run {
        kv,
        outputs: Vec::new(),
        watches: HashMap::new(),
        guards: HashMap::new(),
        jobs: HashMap::new(),
        saved: HashMap::new(),
        clock: MANUAL_CLOCK_START_MS * 1_000_000,
    };
    let steps = case.get("steps").and_then(Json::as_array).ok_or("no steps")?;
    for (number, fields) in steps.iter().enumerate() {
        let fields = fields.as_object().ok_or("a step is not an object")?;
        let step = Step { fields, asked: Default::default() };
        let result = run.step(&step);
        let output = compare::check(&mut run, &step, result).map_err(|problem| {
            format!("step {number} {}: {problem}", Json::from(fields.clone()))
        })?;
        let unasked = step.unasked();
        // An excluded step stops at the argument that excluded it.
        if !unasked.is_empty() && output.is_some() {
            return Err(format!("step {number}: unknown fields {unasked:?}"));
        }
        run.outputs.push(output);
    }
    Ok(())
}

fn main() {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("conformance");
    let folder = std::env::var_os("MINIKV_VECTORS").map_or(own, PathBuf::from);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    let (mut passed, mut failed) = (0, 0);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let cases: Vec<Json> = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for case in cases {
            let name = case.get("name").and_then(Json::as_str).unwrap_or("(no name)");
            match run_case(&case) {
                Ok(()) => passed += 1,
                Err(problem) => {
                    failed += 1;
                    let file = file.file_name().unwrap_or_default().display();
                    println!("FAILED {file}: {name}\n    {problem}");
                }
            }
        }
    }
    println!("Rust: {passed} passed, {failed} failed");
    std::process::exit(i32::from(failed > 0 || passed == 0));
}
