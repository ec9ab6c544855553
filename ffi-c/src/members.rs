//! The members of a cluster, and where this one listens.

use std::ffi::{CString, c_char};

use minikv::{Member, MemberState};

use crate::border::{Out, borrow, call, free, quietly};
use crate::bytes::{c_string, minikv_bytes};
use crate::error::{minikv_code, minikv_error};
use crate::registry::minikv_registry;

/// How a member is, as the one sees it that is asked. Later versions may add others.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum minikv_member_state {
    /// There is no member, or it is in a state that this library does not know.
    MINIKV_MEMBER_NONE = 0,
    /// It is there, and has not got all entries yet.
    MINIKV_MEMBER_JOINING = 1,
    /// It is there and synced.
    MINIKV_MEMBER_LIVE = 2,
    /// Nothing was heard of it for the failure timeout, its link has closed, or it does not hear this one.
    MINIKV_MEMBER_DOWN = 3,
    /// It has said that it goes.
    MINIKV_MEMBER_LEFT = 4,
}

impl minikv_member_state {
    pub fn of(state: MemberState) -> minikv_member_state {
        match state {
            MemberState::Joining => minikv_member_state::MINIKV_MEMBER_JOINING,
            MemberState::Live => minikv_member_state::MINIKV_MEMBER_LIVE,
            MemberState::Down => minikv_member_state::MINIKV_MEMBER_DOWN,
            MemberState::Left => minikv_member_state::MINIKV_MEMBER_LEFT,
            _ => minikv_member_state::MINIKV_MEMBER_NONE,
        }
    }
}

/// The name of a state of members, such as "live"; "none" for MINIKV_MEMBER_NONE, NULL for a number that is none.
/// Lives for ever.
#[unsafe(no_mangle)]
pub extern "C" fn minikv_member_state_name(state: i32) -> *const c_char {
    let names = [c"none", c"joining", c"live", c"down", c"left"];
    let name = usize::try_from(state).ok().and_then(|number| names.get(number));
    name.map_or(std::ptr::null(), |name| name.as_ptr())
}

/// One member of a cluster, as it was when it was asked for. Never changes.
///
/// It is borrowed from its list and lives as long; so does what its functions give.
pub struct minikv_member {
    member: Member,
    incarnation: CString,
    digest: Option<CString>,
}

impl From<Member> for minikv_member {
    fn from(member: Member) -> minikv_member {
        let incarnation = c_string(&*member.incarnation);
        let digest = member.digest.as_deref().map(c_string);
        minikv_member { member, incarnation, digest }
    }
}

/// The members of a cluster. Never changes. Free it with minikv_member_list_free.
pub struct minikv_member_list(Vec<minikv_member>);

impl From<Vec<Member>> for minikv_member_list {
    fn from(members: Vec<Member>) -> minikv_member_list {
        minikv_member_list(members.into_iter().map(minikv_member::from).collect())
    }
}

/// Strings. Never changes. Free it with minikv_string_list_free.
pub struct minikv_string_list(Vec<CString>);

impl From<Vec<String>> for minikv_string_list {
    fn from(strings: Vec<String>) -> minikv_string_list {
        minikv_string_list(strings.into_iter().map(c_string).collect())
    }
}

macro_rules! ask {
    ($handle:ident, $otherwise:expr, $body:expr) => {
        quietly($otherwise, || {
            // SAFETY: by the header's contract it is NULL or live.
            match unsafe { $handle.as_ref() } {
                Some(handle) => $body(handle),
                None => $otherwise,
            }
        })
    };
}

/// Lists the members of the cluster, those that went within the last hour included, sorted by node, then incarnation; a registry by
/// itself is its own only member. Free `*members` with minikv_member_list_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_members(
    registry: *const minikv_registry,
    members: *mut *mut minikv_member_list,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (registry, out) =
            unsafe { (borrow(registry, "registry")?, Out::required(members, "members")?) };
        out.give(registry.0.members()?);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// How many members there are; 0 of NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_member_list_count(members: *const minikv_member_list) -> usize {
    ask!(members, 0, |members: &minikv_member_list| members.0.len())
}

/// The member at a place from 0; NULL past the end. Borrowed: lives as long as the list.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_member_list_at(
    members: *const minikv_member_list,
    place: usize,
) -> *const minikv_member {
    ask!(members, std::ptr::null(), |members: &minikv_member_list| {
        members.0.get(place).map_or(std::ptr::null(), |member| &raw const *member)
    })
}

/// Frees a list and with it what was borrowed from it. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_member_list_free(members: *mut minikv_member_list) {
    // SAFETY: handed on from the caller.
    unsafe { free(members) }
}

/// The node's name; {NULL, 0} of NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_member_node(member: *const minikv_member) -> minikv_bytes {
    ask!(member, minikv_bytes::NONE, |member: &minikv_member| {
        minikv_bytes::of(member.member.node.as_bytes())
    })
}

/// The identity of this start of the node, 32 hexadecimal digits; NULL of NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_member_incarnation(member: *const minikv_member) -> *const c_char {
    ask!(member, std::ptr::null(), |member: &minikv_member| member.incarnation.as_ptr())
}

/// How the member is, as this registry sees it; MINIKV_MEMBER_NONE of NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_member_state_of(
    member: *const minikv_member,
) -> minikv_member_state {
    ask!(member, minikv_member_state::MINIKV_MEMBER_NONE, |member: &minikv_member| {
        minikv_member_state::of(member.member.state)
    })
}

/// How many changes it has announced that are not applied here yet; 0 of NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_member_lag(member: *const minikv_member) -> u64 {
    ask!(member, 0, |member: &minikv_member| member.member.lag)
}

/// What the member holds, as 16 hexadecimal digits: members with equal tables have equal ones. NULL until it has told,
/// for a registry by itself, and of NULL. Not the same as minikv_digest, which leaves out owners, times and locks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_member_digest(member: *const minikv_member) -> *const c_char {
    ask!(member, std::ptr::null(), |member: &minikv_member| {
        member.digest.as_ref().map_or(std::ptr::null(), |digest| digest.as_ptr())
    })
}

/// Whether it is the very registry that was asked. False of NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_member_is_self(member: *const minikv_member) -> bool {
    ask!(member, false, |member: &minikv_member| member.member.is_self)
}

/// Whether another live member has the same node name, which should not be. False of NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_member_is_namesake(member: *const minikv_member) -> bool {
    ask!(member, false, |member: &minikv_member| member.member.namesake)
}

/// Lists where other members can dial this one, with the true ports, in the form that minikv_options_add_peer takes;
/// none for a registry by itself. Free `*endpoints` with minikv_string_list_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_endpoints(
    registry: *const minikv_registry,
    endpoints: *mut *mut minikv_string_list,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (registry, out) =
            unsafe { (borrow(registry, "registry")?, Out::required(endpoints, "endpoints")?) };
        out.give(registry.0.endpoints()?);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// How many strings there are; 0 of NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_string_list_count(strings: *const minikv_string_list) -> usize {
    ask!(strings, 0, |strings: &minikv_string_list| strings.0.len())
}

/// The string at a place from 0; NULL past the end. Borrowed: lives as long as the list.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_string_list_at(
    strings: *const minikv_string_list,
    place: usize,
) -> *const c_char {
    ask!(strings, std::ptr::null(), |strings: &minikv_string_list| {
        strings.0.get(place).map_or(std::ptr::null(), |string| string.as_ptr())
    })
}

/// Frees a list and with it what was borrowed from it. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_string_list_free(strings: *mut minikv_string_list) {
    // SAFETY: handed on from the caller.
    unsafe { free(strings) }
}
