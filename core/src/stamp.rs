//! Which of two states of a key's value is the newer one, in the eyes of every member.

use crate::clock::nanos;
use crate::lock::MAX_LEASE;
use crate::version::Minor;

/// The greater stamp wins everywhere, whatever the order of arrival. One stamp has one content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp {
    /// The newest fence known to the writer if that is recent, else the time less the longest lease:
    /// who wrote without knowing of a lock loses to its holder.
    pub epoch: u64,
    pub time: u64,
    pub writer: u128,
    pub minor: Option<Minor>,
    /// Deleted. (An expired value keeps its stamp: everyone sees for himself that it is over.)
    pub dead: bool,
}

impl Stamp {
    /// Whether both are of one put or delete, however often it was touched since.
    pub fn is_same_put(self, other: Stamp) -> bool {
        Stamp { minor: None, ..self } == Stamp { minor: None, ..other }
    }
}

/// The epoch of a write at `time` by somebody who knows this fence of the key.
pub(crate) fn epoch(time: u64, fence: Option<u64>) -> u64 {
    time.saturating_sub(nanos(MAX_LEASE)).max(fence.unwrap_or_default())
}
