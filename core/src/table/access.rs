//! May this mutation go ahead? Asked in one order everywhere: expiry, fence, holder, version, absence.

use std::time::Duration;

use super::mutation::{Action, Conditions, Expiry, LockRequest, Mutation, Put};
use super::shard::{Context, Target, entry};
use crate::clock::format_duration;
use crate::error::{Error, ErrorKind, LOCKED_ADVICE, Result, shorten};
use crate::lock::{Holder, LockRegister, LockState, NEVER};
use crate::member::Member;
use crate::record::Record;
use crate::version::Version;

/// The `exp` that the action leads to; it is known to be right before anything else is looked at.
#[inline(always)]
pub(crate) fn expiry_of(
    action: &Action<'_>,
    present: Option<&Record>,
    cx: &Context<'_>,
) -> Result<u64> {
    match action {
        Action::Put(put) => expiry_at(put.expiry, present, cx),
        Action::Touch { ttl } => expiry_at(Expiry::After(*ttl), present, cx),
        Action::Incr { default_ttl, .. } => expiry_at(Expiry::Keep(*default_ttl), present, cx),
        Action::Lock(LockRequest { store: Some(store), .. }, _) => {
            expiry_at(store.expiry, present, cx)
        }
        Action::Lock(..) | Action::Delete | Action::Unlock | Action::Persist => Ok(NEVER),
    }
}

#[inline(always)]
pub(crate) fn expiry_at(expiry: Expiry, present: Option<&Record>, cx: &Context<'_>) -> Result<u64> {
    match (expiry, present) {
        (Expiry::Never, _) | (Expiry::Keep(None), None) => Ok(NEVER),
        (Expiry::Keep(_), Some(present)) => Ok(present.exp()),
        (Expiry::After(ttl) | Expiry::Keep(Some(ttl)), _) => {
            let exp = cx.now.wall.checked_add(ttl).filter(|exp| *exp <= i64::MAX as u64);
            exp.ok_or_else(|| too_far(ttl))
        }
    }
}

#[cold]
fn too_far(ttl: u64) -> Error {
    let ttl = format_duration(Duration::from_nanos(ttl));
    Error::argument(format!("a ttl of {ttl} leads past the year 2262; persist never expires"))
}

#[inline(always)]
pub(crate) fn check_conditions(
    mutation: &Mutation<'_>,
    at: &Target<'_>,
    cx: &Context<'_>,
) -> Result<()> {
    check_access(at, cx.member, &mutation.conditions, cx)?;
    match &mutation.action {
        Action::Put(Put { if_absent: true, .. }) => check_absent(at.key, at.present.as_ref(), cx),
        _ => Ok(()),
    }
}

#[inline]
pub(crate) fn check_absent(key: &[u8], present: Option<&Record>, cx: &Context<'_>) -> Result<()> {
    match present {
        Some(record) => Err(present_error(key, record, cx)),
        None => Ok(()),
    }
}

#[cold]
fn present_error(key: &[u8], record: &Record, cx: &Context<'_>) -> Error {
    let message = format!("{} is present, but if_absent was given", shorten(key));
    Error::conflict(message, Some(entry(record, cx)))
}

/// Whether `member` may change the key, under these conditions.
#[inline(always)]
pub(crate) fn check_access(
    at: &Target<'_>,
    member: &Member,
    conditions: &Conditions<'_>,
    cx: &Context<'_>,
) -> Result<()> {
    check_fence(at, conditions)?;
    if let Some(held) = at.lock().filter(|lock| lock.is_held(cx.now))
        && !held.is_holder(member, conditions.owner)
    {
        return Err(locked_error(at.key, Some(held)));
    }
    check_version(at, conditions, cx)
}

#[inline(always)]
pub(crate) fn check_fence(at: &Target<'_>, conditions: &Conditions<'_>) -> Result<()> {
    let lock = at.lock();
    if let Some(fence) = conditions.fence {
        let valid = lock.is_some_and(|l| l.fence == fence && l.state != LockState::Released);
        if !valid {
            return Err(stale_fence(at.key, fence, lock));
        }
    }
    Ok(())
}

#[inline(always)]
pub(crate) fn check_version(
    at: &Target<'_>,
    conditions: &Conditions<'_>,
    cx: &Context<'_>,
) -> Result<()> {
    let present = at.present.as_ref();
    if let Some(version) = conditions.version
        && present.map(Record::version) != Some(version)
    {
        return Err(version_error(at.key, present, version, cx));
    }
    Ok(())
}

#[cold]
fn version_error(
    key: &[u8],
    present: Option<&Record>,
    version: Version,
    cx: &Context<'_>,
) -> Error {
    let what = present.map_or("absent".to_owned(), |r| format!("at version {}", r.version()));
    let message = format!("{} is {what}, not at version {version}", shorten(key));
    Error::conflict(message, present.map(|record| entry(record, cx)))
}

#[cold]
fn stale_fence(key: &[u8], fence: u64, lock: Option<&LockRegister>) -> Error {
    let last = match lock {
        Some(lock) if lock.fence == fence => "it was released".to_owned(),
        Some(lock) => format!("the last one is {}", lock.fence),
        None => "the key has none".to_owned(),
    };
    let message = format!("fence {fence} of {} is stale: {last}; take the lock anew", shorten(key));
    Error::new(ErrorKind::StaleFence, message)
}

pub(crate) fn locked_error(key: &[u8], lock: Option<&LockRegister>) -> Error {
    locked_by(key, lock.map(LockRegister::holder))
}

/// What somebody is told who may not have a key's lock because this holder has it.
pub(crate) fn locked_by(key: &[u8], holder: Option<Holder>) -> Error {
    let holder = holder.map(|holder| holder.to_string());
    let holder = holder.unwrap_or_else(|| "somebody".to_owned());
    let message = format!("{} is locked by {holder}; {LOCKED_ADVICE}", shorten(key));
    Error::new(ErrorKind::Locked, message)
}
