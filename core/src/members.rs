//! The members of a cluster, as users see them.

use std::fmt;

use serde::{Serialize, Serializer};

/// How a member is, as this one sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemberState {
    /// It is there, and has not got all entries yet.
    Joining,
    /// It is there and synced.
    Live,
    /// Nothing was heard of it for the failure timeout, its link has closed, or it does not hear this one.
    Down,
    /// It has said that it goes.
    Left,
}

impl MemberState {
    /// The stable name: `joining live down left`.
    pub const fn as_str(self) -> &'static str {
        match self {
            MemberState::Joining => "joining",
            MemberState::Live => "live",
            MemberState::Down => "down",
            MemberState::Left => "left",
        }
    }
}

impl fmt::Display for MemberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for MemberState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One member of a cluster, from [`Registry::members`](crate::Registry::members). Other fields may follow.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Member {
    /// Its name.
    pub node: String,
    /// The identity of this start of it: 32 hexadecimal digits.
    pub incarnation: String,
    /// How it is, as this member sees it.
    pub state: MemberState,
    /// Changes it has announced that are not applied here yet.
    pub lag: u64,
    /// What it holds, as 16 hexadecimal digits: equal tables have equal ones. None until it has told, and outside a cluster.
    pub digest: Option<String>,
    /// Whether it is this very member.
    pub is_self: bool,
    /// Whether another live member has the same name.
    pub namesake: bool,
}

impl Member {
    /// The fields, by the names that all languages use.
    pub const FIELDS: &'static [&'static str] =
        &["node", "incarnation", "state", "lag", "digest", "is_self", "namesake"];

    /// A registry by itself is its own and only member.
    pub(crate) fn alone(node: &str, incarnation: u128) -> Member {
        Member {
            node: node.to_owned(),
            incarnation: format!("{incarnation:032x}"),
            state: MemberState::Live,
            lag: 0,
            digest: None,
            is_self: true,
            namesake: false,
        }
    }
}
