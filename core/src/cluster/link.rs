//! What carries messages between members, as the cluster's logic sees it.

/// How messages get out. Called without any lock of the table held.
pub(crate) trait Link: Send + Sync {
    /// To every member that is linked now.
    fn broadcast(&self, lane: Lane, bytes: Vec<u8>);

    /// To one member, by its incarnation. Lost if it is not linked.
    fn send(&self, to: u128, lane: Lane, bytes: Vec<u8>);

    /// Dials these endpoints (again); returns at once.
    fn connect(&self, endpoints: &[String]);

    /// Where this member can be dialled.
    fn endpoints(&self) -> Vec<String>;

    /// Leaves: closes links, ends threads. Idempotent.
    fn close(&self);
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
}
