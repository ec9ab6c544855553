//! Who writes: a node's name and the identity of one start of it.

/// One start of a registry. The incarnation is its identity; the name is for people.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub name: Box<str>,
    pub incarnation: u128,
}
