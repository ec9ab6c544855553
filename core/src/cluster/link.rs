//! What carries messages between members, as the cluster's logic sees it.

/// How messages get out. Called without any lock of the table held.
pub(crate) trait Link: Send + Sync {
    /// To every member that is linked now.
    fn broadcast(&self, lane: Lane, bytes: Vec<u8>);

    /// To one member, by its incarnation. Lost if it is not linked.
    fn send(&self, to: u128, lane: Lane, bytes: Vec<u8>);

    /// Dials a member (again); returns at once.
    fn connect(&self, dial: &Dial);

    /// Where this member can be dialled.
    fn endpoints(&self) -> Vec<String>;

    /// Leaves: closes links, ends threads. Idempotent.
    fn close(&self);
}

/// A member that should be there, and where it said that it listens.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    pub member: u128,
    pub endpoints: Vec<String>,
    /// It has been silent for so long that a link with it that still stands is of no use, and is made anew.
    pub anew: bool,
}

/// Messages of one lane arrive in the order in which they were sent; those of two lanes may overtake each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Heartbeats and locks: small and urgent.
    Control,
    Bulk,
}

/// Where messages and what is seen of the links go. Called on the engine's threads: implementors only enqueue.
pub(crate) trait Inbound: Send + Sync {
    fn message(&self, bytes: Vec<u8>);

    /// From now on `send` to this member arrives.
    fn link_up(&self, incarnation: u128);

    fn link_down(&self, incarnation: u128);

    /// Something was turned away.
    fn refused(&self, what: &str);

    /// Something went wrong on this machine, and no call can say so.
    fn failed(&self, what: &str);
}
