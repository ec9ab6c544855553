//! One step of a vector, as a call.

use std::time::Duration;

use minikv::{
    Entry, Error, ListOptions, LockOptions, Options, PutOptions, Registry, Update, Value, Version,
    WatchOptions, WriteOptions,
};
use serde_json::Value as Json;

use crate::{Failure, Output, Run, Step, StepResult, literal};

/// The error of a function in a vector, told apart from the registry's own.
enum FnError {
    Registry(Error),
    Thrown,
    Wrong(String),
}

impl From<Error> for FnError {
    fn from(error: Error) -> FnError {
        FnError::Registry(error)
    }
}

impl From<FnError> for Failure {
    fn from(error: FnError) -> Failure {
        match error {
            FnError::Registry(error) => Failure::Registry(error),
            FnError::Thrown => Failure::Thrown,
            FnError::Wrong(message) => Failure::Wrong(message),
        }
    }
}

fn entry(entry: Entry) -> Output {
    Output::Entry(Some(Box::new(entry)))
}

fn maybe(entry: Option<Entry>) -> Output {
    Output::Entry(entry.map(Box::new))
}

fn required<T>(value: Option<T>, field: &str) -> Result<T, Failure> {
    value.ok_or_else(|| Failure::Wrong(format!("{field} is missing")))
}

/// Who asks, and under which conditions.
struct Asker {
    owner: Option<String>,
    fence: Option<u64>,
    version: Option<Version>,
}

macro_rules! asked_by {
    ($options:expr, $asker:expr) => {{
        let mut options = $options;
        let asker = $asker;
        if let Some(owner) = asker.owner {
            options = options.owner(owner);
        }
        if let Some(fence) = asker.fence {
            options = options.fence(fence);
        }
        if let Some(version) = asker.version {
            options = options.if_version(version);
        }
        options
    }};
}

impl Run {
    fn entry_of_step(&self, number: usize) -> Result<&Entry, Failure> {
        match self.outputs.get(number) {
            Some(Some(Output::Entry(Some(entry)))) => Ok(entry),
            _ => Err(format!("step {number} gave no entry").into()),
        }
    }

    fn key(&self, step: &Step<'_>) -> Result<Vec<u8>, Failure> {
        literal::key(required(step.get("key"), "key")?)
    }

    fn keys(&self, step: &Step<'_>) -> Result<Vec<Vec<u8>>, Failure> {
        let keys = required(step.get("keys").and_then(Json::as_array), "keys")?;
        keys.iter().map(literal::key).collect()
    }

    fn asker(&self, step: &Step<'_>) -> Result<Asker, Failure> {
        let owner = step.get("owner").map(literal::label).transpose()?;
        let fence = match (step.get("fence"), step.number("fence_of_step")?) {
            (Some(fence), _) => Some(required(fence.as_u64(), "fence")?),
            (None, Some(number)) => self.entry_of_step(number)?.fence(),
            (None, None) => None,
        };
        let version = match (step.text("if_version")?, step.number("if_version_of_step")?) {
            (Some(text), _) => {
                // Rust takes a parsed version: what every language checks before, it checks here.
                match step.get("key") {
                    Some(key) => self.kv.check_key(literal::key(key)?)?,
                    None => self.kv.ensure_running()?,
                }
                Some(text.parse()?)
            }
            (None, Some(number)) => Some(self.entry_of_step(number)?.version()),
            (None, None) => None,
        };
        Ok(Asker { owner, fence, version })
    }

    fn write(&self, step: &Step<'_>) -> Result<WriteOptions, Failure> {
        Ok(asked_by!(WriteOptions::new(), self.asker(step)?))
    }

    /// What a put says of its entry, leaving out who asks.
    fn content(&self, step: &Step<'_>) -> Result<PutOptions, Failure> {
        let mut options = PutOptions::new()
            .persist(step.flag("persist")?)
            .keep_ttl(step.flag("keep_ttl")?)
            .if_absent(step.flag("if_absent")?);
        if let Some(ttl) = step.duration("ttl_ms")? {
            options = options.ttl(ttl);
        }
        Ok(options)
    }

    fn put_options(&self, step: &Step<'_>) -> Result<PutOptions, Failure> {
        let mut options = asked_by!(self.content(step)?, self.asker(step)?);
        if step.flag("lock")? {
            options = options.lock(true);
        }
        if let Some(lease) = step.duration("lease_ms")? {
            options = options.lease(lease);
        }
        Ok(options)
    }

    fn lock_options(&self, step: &Step<'_>) -> Result<LockOptions, Failure> {
        let mut options = asked_by!(LockOptions::new(), self.asker(step)?);
        if let Some(wait) = step.duration("wait_ms")? {
            options = options.wait(wait);
        }
        if let Some(lease) = step.duration("lease_ms")? {
            options = options.lease(lease);
        }
        if let Some(value) = step.get("put") {
            options = options.put(literal::value(value)?, self.content(step)?)?;
        }
        if step.flag("create")? {
            options = options.create(true);
        }
        Ok(options)
    }

    fn list_options(&self, step: &Step<'_>) -> Result<ListOptions, Failure> {
        let mut options = ListOptions::new();
        if let Some(prefix) = step.get("prefix") {
            options = options.prefix(literal::key(prefix)?);
        }
        if let Some(limit) = step.number("limit")? {
            options = options.limit(limit);
        }
        if let Some(number) = step.number("cursor_of_step")? {
            let cursor = match self.outputs.get(number) {
                Some(Some(Output::Keys(_, cursor) | Output::Entries(_, cursor))) => cursor.clone(),
                _ => None,
            };
            options = options.cursor(required(cursor, "the cursor of that step")?);
        }
        Ok(options)
    }

    pub fn step(&mut self, step: &Step<'_>) -> StepResult {
        let op = required(step.text("op")?, "op")?;
        if let (
            "get" | "put" | "delete" | "incr" | "update" | "touch" | "persist" | "check"
            | "release",
            Some(guard),
        ) = (op, step.text("of")?)
        {
            return self.guard_step(op, guard, step);
        }
        let kv = self.kv.clone();
        Ok(match op {
            "get" => maybe(kv.get(self.key(step)?)?),
            "put" => {
                let value = literal::value(required(step.get("value"), "value")?)?;
                entry(kv.put_with(self.key(step)?, value, self.put_options(step)?)?)
            }
            "set" => {
                let value = literal::value(required(step.get("value"), "value")?)?;
                entry(kv.set_with(self.key(step)?, value, self.put_options(step)?)?)
            }
            "delete" => maybe(kv.delete_with(self.key(step)?, self.write(step)?)?),
            "unlock" => maybe(kv.unlock_with(self.key(step)?, self.write(step)?)?),
            "persist" => maybe(kv.persist_with(self.key(step)?, self.write(step)?)?),
            "touch" => {
                let ttl = required(step.duration("ttl_ms")?, "ttl_ms")?;
                maybe(kv.touch_with(self.key(step)?, ttl, self.write(step)?)?)
            }
            "incr" => {
                let by = match step.get("by").map(literal::value).transpose()? {
                    None => 1,
                    Some(Value::Int(by)) => by,
                    Some(other) => return Err(format!("by is {other:?}").into()),
                };
                entry(kv.incr_with(self.key(step)?, by, self.write(step)?)?)
            }
            "update" => {
                let change = change(step)?;
                let result = kv.update_with(self.key(step)?, change, self.write(step)?);
                maybe(result.map_err(Failure::from)?)
            }
            "get_or_put" => {
                let function = required(step.get("fn"), "fn")?;
                let returned = function.get("return").map(literal::value).transpose()?;
                if returned.is_none() && function != "throw" {
                    return Err(format!("unknown fn {function}").into());
                }
                let compute = || returned.ok_or(FnError::Thrown);
                let result = kv.get_or_put(self.key(step)?, compute, self.put_options(step)?);
                entry(result.map_err(Failure::from)?)
            }
            "lock" => {
                let (key, options) = (self.key(step)?, self.lock_options(step)?);
                let run = move || Ok((maybe(kv.lock_with(key, options)?), None));
                return self.now_or_spawned(step, None, run);
            }
            "locked" => {
                let (key, options) = (self.key(step)?, self.lock_options(step)?);
                let name = required(step.text("as")?, "as")?.to_owned();
                let run = move || {
                    let guard = kv.locked(key, options)?;
                    Ok((maybe(guard.get()?), Some(guard)))
                };
                return self.now_or_spawned(step, Some(name), run);
            }
            "join" => {
                let name = required(step.text("of")?, "of")?;
                let (job, guard_name) = required(self.jobs.remove(name), "that job")?;
                let joined = job.join().map_err(|_| "the job panicked".to_owned())?;
                let (output, guard) = joined?;
                self.keep_guard(guard_name, guard);
                output
            }
            "lost" => {
                let name = required(step.text("of")?, "of")?;
                Output::Bool(required(self.guards.get(name), "that guard")?.is_lost())
            }
            "get_many" => Output::Many(kv.get_many(self.keys(step)?)?),
            "put_many" => {
                let items = required(step.get("items").and_then(Json::as_array), "items")?;
                let item = |item: &Json| -> Result<_, Failure> {
                    Ok((literal::key(&item[0])?, literal::value(&item[1])?))
                };
                let items = items.iter().map(item).collect::<Result<Vec<_>, _>>()?;
                let entries = kv.put_many(items, self.put_options(step)?)?;
                Output::Many(entries.into_iter().map(Some).collect())
            }
            "delete_many" => Output::Many(kv.delete_many(self.keys(step)?, self.write(step)?)?),
            "keys" => {
                let page = kv.keys(self.list_options(step)?)?;
                Output::Keys(page.items, page.cursor)
            }
            "entries" => {
                let page = kv.entries(self.list_options(step)?)?;
                Output::Entries(page.items, page.cursor)
            }
            "count" => Output::Count(kv.count(self.prefix(step)?)?),
            "clear" => Output::Count(kv.clear_with(self.prefix(step)?, self.write(step)?)?),
            "contains" => Output::Bool(kv.contains(self.key(step)?)?),
            "value" => {
                let default = step.get("default").map(literal::value).transpose()?;
                let found = kv.get(self.key(step)?)?.map(|entry| entry.value());
                Output::Value(found.or(default).unwrap_or_default())
            }
            "digest" => Output::Digest(kv.digest()?),
            "stats" => Output::Map(minikv::to_value(&kv.stats()?)?),
            "options" => {
                // The options of a handle cannot fail in Rust; that it runs is asked apart.
                kv.ensure_running()?;
                Output::Map(kv.options().to_value())
            }
            "start" => {
                Registry::start(options(required(step.get("options"), "options")?)?)?.stop();
                Output::Nothing
            }
            "ready" => Output::Bool(kv.ready()?),
            "wait_synced" => {
                kv.wait_synced(required(step.duration("timeout_ms")?, "timeout_ms")?)?;
                Output::Nothing
            }
            "members" => Output::Members(kv.members()?),
            "endpoints" => Output::Texts(kv.endpoints()?),
            "watch" => {
                let mut options = WatchOptions::new().initial(step.flag("initial")?);
                if let Some(prefix) = step.get("prefix") {
                    options = options.prefix(literal::key(prefix)?);
                }
                if let Some(key) = step.get("key") {
                    options = options.key(literal::key(key)?);
                }
                if let Some(capacity) = step.number("capacity")? {
                    options = options.capacity(capacity);
                }
                let name = required(step.text("as")?, "as")?.to_owned();
                self.watches.insert(name, kv.watch_with(options)?);
                Output::Nothing
            }
            "events" => {
                let name = required(step.text("of")?, "of")?;
                let watch = required(self.watches.get(name), "that watch")?;
                Output::Events(std::iter::from_fn(|| watch.try_next()).collect())
            }
            "advance" => {
                let by = required(step.duration("ms")?, "ms")?;
                kv.advance(by)?;
                self.clock += by.as_nanos() as u64;
                Output::Nothing
            }
            "stop" => {
                kv.stop();
                Output::Nothing
            }
            other => return Err(format!("unknown op {other}").into()),
        })
    }

    fn prefix(&self, step: &Step<'_>) -> Result<Vec<u8>, Failure> {
        step.get("prefix").map_or(Ok(Vec::new()), literal::key)
    }

    fn keep_guard(&mut self, name: Option<String>, guard: Option<minikv::LockGuard>) {
        if let (Some(name), Some(guard)) = (name, guard) {
            self.guards.insert(name, guard);
        }
    }

    fn now_or_spawned(
        &mut self,
        step: &Step<'_>,
        guard_name: Option<String>,
        run: impl FnOnce() -> Result<(Output, Option<minikv::LockGuard>), Failure> + Send + 'static,
    ) -> StepResult {
        let Some(job_name) = step.text("spawn")? else {
            let (output, guard) = run()?;
            self.keep_guard(guard_name, guard);
            return Ok(output);
        };
        let before = self.kv.stats()?.waiters;
        let job = std::thread::spawn(run);
        while self.kv.stats()?.waiters == before {
            if job.is_finished() {
                return Err("the spawned step did not wait".to_owned().into());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        self.jobs.insert(job_name.to_owned(), (job, guard_name));
        Ok(Output::Spawned)
    }

    fn guard_step(&mut self, op: &str, name: &str, step: &Step<'_>) -> StepResult {
        let guard = required(self.guards.get(name), "that guard")?;
        Ok(match op {
            "get" => maybe(guard.get()?),
            "put" => entry(guard.put(literal::value(required(step.get("value"), "value")?)?)?),
            "delete" => maybe(guard.delete()?),
            "incr" => entry(guard.incr(step.get("by").and_then(Json::as_i64).unwrap_or(1))?),
            "update" => maybe(guard.update(change(step)?).map_err(Failure::from)?),
            "touch" => maybe(guard.touch(required(step.duration("ttl_ms")?, "ttl_ms")?)?),
            "persist" => maybe(guard.persist()?),
            "check" => {
                guard.check()?;
                Output::Nothing
            }
            _ => {
                guard.release()?;
                Output::Nothing
            }
        })
    }
}

/// Options as a file has them: durations as text.
fn options(fields: &Json) -> Result<Options, Failure> {
    let mut map = std::collections::BTreeMap::new();
    for (name, value) in required(fields.as_object(), "options")? {
        let (name, value) = match (name.strip_suffix("_ms"), value.as_u64()) {
            (Some(name), Some(ms)) => (name, Value::from(format!("{ms}ms"))),
            (Some(name), None) => (name, literal::value(value)?),
            (None, _) => (name.as_str(), literal::value(value)?),
        };
        map.insert(name.to_owned(), value);
    }
    Ok(Options::from_value(&Value::Map(map))?)
}

fn change(
    step: &Step<'_>,
) -> Result<impl FnMut(Option<&Entry>) -> Result<Update, FnError> + use<>, Failure> {
    let function = required(step.get("fn"), "fn")?.clone();
    let returned = function.get("return").map(literal::value).transpose()?;
    Ok(move |present: Option<&Entry>| match (&returned, function.as_str()) {
        (Some(value), _) => Ok(Update::put(value)?),
        (None, Some("keep")) => Ok(Update::Keep),
        (None, Some("delete")) => Ok(Update::Delete),
        (None, Some("throw")) => Err(FnError::Thrown),
        (None, Some("incr")) => {
            let old = present.map_or(Some(0), |entry| entry.as_int());
            Ok(Update::put(old.ok_or(FnError::Thrown)? + 1)?)
        }
        _ => Err(FnError::Wrong(format!("unknown fn {function}"))),
    })
}
