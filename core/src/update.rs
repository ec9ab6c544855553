//! Read, change, write, and again if somebody wrote in between.

use crate::call_options::WriteOptions;
use crate::codec::Encoded;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result, shorten};
use crate::registry::core::Core;
use crate::table::mutation::{Action, Conditions, Expiry, Mutation, Put};
use crate::value::IntoValue;

/// What an update makes of a value.
#[derive(Clone, Debug)]
pub enum Update {
    /// Stores this value; expiry and lock stay as they are.
    Put(Encoded),
    /// Leaves everything as it is.
    Keep,
    /// Removes the entry.
    Delete,
}

impl Update {
    /// Stores this value.
    pub fn put(value: impl IntoValue) -> Result<Update> {
        Encoded::new(value).map(Update::Put)
    }
}

/// More writes than this in between are no coincidence: the function writes its own key.
const MAX_TRIES: u32 = 10_000;

pub(crate) fn run_update<E: From<Error>>(
    core: &Core,
    key: &[u8],
    write: &WriteOptions,
    mut change: impl FnMut(Option<&Entry>) -> Result<Update, E>,
    map: impl Fn(Error) -> Error,
) -> Result<Option<Entry>, E> {
    for _ in 0..MAX_TRIES {
        let present = core.table.get(key);
        let allowed = core.table.check(key, &write.conditions());
        // After both: a stop empties the table, and what it emptied is not absent.
        core.ensure_running()?;
        allowed.map_err(&map)?;
        let update = change(present.as_ref())?;
        let value;
        let action = match &update {
            Update::Keep => return Ok(present),
            Update::Delete if present.is_none() => return Ok(None),
            Update::Delete => Action::Delete,
            Update::Put(encoded) => {
                value = core.prepare(key, encoded)?;
                Action::Put(Put {
                    content: value.content(),
                    expiry: Expiry::Keep(core.default_ttl()),
                    if_absent: present.is_none(),
                    lock: None,
                    reserved: false,
                })
            }
        };
        let seen = present.as_ref().map(Entry::version);
        let conditions = Conditions { version: seen, ..write.conditions() };
        match core.table.apply(&Mutation { key, conditions, action }) {
            Ok(applied) => return Ok(applied.entry),
            // Somebody wrote in between: the next round asks the caller's own condition again.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(map(error).into()),
        }
    }
    let key_shown = shorten(key);
    let message = format!(
        "{key_shown} was written {MAX_TRIES} times while its update ran; does the function write it itself?"
    );
    Err(Error::conflict(message, core.table.get(key)).into())
}
