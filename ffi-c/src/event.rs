//! Events of a watch.

use std::ffi::c_char;

use minikv::{Event, EventKind};

use crate::border::{free, quietly};
use crate::bytes::minikv_bytes;
use crate::entry::minikv_entry;
use crate::members::minikv_member_state;

/// What happened to a key, to a member of the cluster, or to the watch. Later versions may add others.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum minikv_event_type {
    /// The event is NULL, or of a type that this library does not know.
    MINIKV_EVENT_NONE = 0,
    /// A value was put, incremented or updated; also each present entry of a watch with `initial`.
    MINIKV_EVENT_PUT = 1,
    /// The entry was deleted; the event carries it.
    MINIKV_EVENT_DELETE = 2,
    /// The entry expired; the event carries it.
    MINIKV_EVENT_EXPIRE = 3,
    /// The expiry was moved.
    MINIKV_EVENT_TOUCH = 4,
    /// The expiry was cleared.
    MINIKV_EVENT_PERSIST = 5,
    /// Somebody was granted the lock.
    MINIKV_EVENT_LOCK = 6,
    /// The lock was released, or its lease ran out.
    MINIKV_EVENT_UNLOCK = 7,
    /// The reader was too slow: so many events before the next one are lost (minikv_event_count).
    MINIKV_EVENT_LAGGED = 8,
    /// In a cluster: the entries of a node (minikv_event_node) have passed to another one (minikv_event_owner), or
    /// back; one event for all of them. Every watch gets it, whatever its keys.
    MINIKV_EVENT_OWNER = 9,
    /// In a cluster: a member (minikv_event_node) came, went, or is otherwise than before (minikv_event_state). Every
    /// watch gets it, whatever its keys.
    MINIKV_EVENT_MEMBER = 10,
}

/// One thing that happened. Never changes.
///
/// What its functions give is borrowed and lives as long as the event.
pub struct minikv_event {
    event: Event,
    entry: Option<minikv_entry>,
}

impl From<Event> for minikv_event {
    fn from(event: Event) -> minikv_event {
        let entry = event.entry().cloned().map(minikv_entry::from);
        minikv_event { event, entry }
    }
}

macro_rules! ask {
    ($event:ident, $otherwise:expr, $body:expr) => {
        quietly($otherwise, || {
            // SAFETY: by the header's contract it is NULL or a live event.
            match unsafe { $event.as_ref() } {
                Some(event) => $body(event),
                None => $otherwise,
            }
        })
    };
}

/// What happened; MINIKV_EVENT_NONE of NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_event_type_of(event: *const minikv_event) -> minikv_event_type {
    ask!(event, minikv_event_type::MINIKV_EVENT_NONE, |event: &minikv_event| {
        match event.event.kind() {
            EventKind::Put => minikv_event_type::MINIKV_EVENT_PUT,
            EventKind::Delete => minikv_event_type::MINIKV_EVENT_DELETE,
            EventKind::Expire => minikv_event_type::MINIKV_EVENT_EXPIRE,
            EventKind::Touch => minikv_event_type::MINIKV_EVENT_TOUCH,
            EventKind::Persist => minikv_event_type::MINIKV_EVENT_PERSIST,
            EventKind::Lock => minikv_event_type::MINIKV_EVENT_LOCK,
            EventKind::Unlock => minikv_event_type::MINIKV_EVENT_UNLOCK,
            EventKind::Lagged => minikv_event_type::MINIKV_EVENT_LAGGED,
            EventKind::Owner => minikv_event_type::MINIKV_EVENT_OWNER,
            EventKind::Member => minikv_event_type::MINIKV_EVENT_MEMBER,
            _ => minikv_event_type::MINIKV_EVENT_NONE,
        }
    })
}

/// The name of an event type, such as "put"; "none" for MINIKV_EVENT_NONE, NULL for a number that is none.
/// Lives for ever.
#[unsafe(no_mangle)]
pub extern "C" fn minikv_event_type_name(event_type: i32) -> *const c_char {
    let names = [
        c"none", c"put", c"delete", c"expire", c"touch", c"persist", c"lock", c"unlock", c"lagged",
        c"owner", c"member",
    ];
    let name = usize::try_from(event_type).ok().and_then(|number| names.get(number));
    name.map_or(std::ptr::null(), |name| name.as_ptr())
}

/// The key; {NULL, 0} for MINIKV_EVENT_LAGGED, MINIKV_EVENT_OWNER, MINIKV_EVENT_MEMBER and NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_event_key(event: *const minikv_event) -> minikv_bytes {
    ask!(event, minikv_bytes::NONE, |event: &minikv_event| match &event.entry {
        Some(entry) => minikv_bytes::of(entry.entry().key_bytes()),
        None => minikv_bytes::NONE,
    })
}

/// The entry after the event, for delete and expire the removed one; NULL where there is no key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_event_entry(event: *const minikv_event) -> *const minikv_entry {
    ask!(event, std::ptr::null(), |event: &minikv_event| {
        event.entry.as_ref().map_or(std::ptr::null(), |entry| &raw const *entry)
    })
}

/// For MINIKV_EVENT_LAGGED the number of events lost, otherwise 1; 0 of NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_event_count(event: *const minikv_event) -> u64 {
    ask!(event, 0, |event: &minikv_event| event.event.count())
}

/// For MINIKV_EVENT_MEMBER the member's node name, for MINIKV_EVENT_OWNER that of the node whose entries have passed;
/// otherwise {NULL, 0}.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_event_node(event: *const minikv_event) -> minikv_bytes {
    ask!(event, minikv_bytes::NONE, |event: &minikv_event| text(event.event.node()))
}

/// For MINIKV_EVENT_MEMBER how the member is from now on; otherwise MINIKV_MEMBER_NONE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_event_state(event: *const minikv_event) -> minikv_member_state {
    ask!(event, minikv_member_state::MINIKV_MEMBER_NONE, |event: &minikv_event| {
        event.event.state().map_or(minikv_member_state::MINIKV_MEMBER_NONE, minikv_member_state::of)
    })
}

/// For MINIKV_EVENT_OWNER the node that has the entries from now on; otherwise {NULL, 0}.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_event_owner(event: *const minikv_event) -> minikv_bytes {
    ask!(event, minikv_bytes::NONE, |event: &minikv_event| text(event.event.owner()))
}

fn text(text: Option<&str>) -> minikv_bytes {
    text.map_or(minikv_bytes::NONE, |text| minikv_bytes::of(text.as_bytes()))
}

/// Frees an event and with it what was borrowed from it. Not one that a callback was given. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_event_free(event: *mut minikv_event) {
    // SAFETY: handed on from the caller.
    unsafe { free(event) }
}
