//! Until when tombstones are needed: whoever is away and comes back must not bring back what was deleted meanwhile.

use std::collections::BTreeSet;

use super::state::{Cx, State};
use crate::table::graves::Forgettable;

/// What a member that joins cannot know by itself: until when those that it has never seen had everything.
pub(crate) struct Ceiling {
    /// As those said who were there, on the wall clock.
    settled: u64,
    /// When that was.
    joined: u64,
    from: BTreeSet<u128>,
}

impl State {
    /// This member is synced: from now on it remembers for those who were there before, should they be gone.
    pub fn inherit(&mut self, cx: &Cx<'_>) {
        // Of two that join at the same time at most one waits for the other.
        let before = || self.peers.live().filter(|peer| peer.synced);
        let from = before().map(|peer| peer.member.incarnation).collect();
        let settled = before().map(|peer| peer.settled).min();
        let joined = self.common_wall(cx);
        self.ceiling = settled
            .filter(|_| !cx.settings.faults.nothing_inherited)
            .map(|settled| Ceiling { settled, joined, from });
    }

    /// It is over once they say so, or if nobody who was away then is remembered any more.
    fn look_at_ceiling(&mut self, cx: &Cx<'_>) {
        let wall = self.common_wall(cx);
        let Some(ceiling) = &self.ceiling else { return };
        let there = self.peers.live().filter(|p| ceiling.from.contains(&p.member.incarnation));
        let lowest = there.map(|peer| peer.settled).min();
        let is_over = lowest.is_some_and(|settled| settled > ceiling.joined)
            || wall > ceiling.joined.saturating_add(cx.settings.remember);
        if is_over {
            self.ceiling = None;
        }
    }

    /// Graves that every member had long enough ago are forgotten, and all that are too old.
    pub fn forget(&mut self, cx: &Cx<'_>) {
        let (now, settings) = (cx.now.mono, cx.settings);
        if now.saturating_sub(self.forgot_at) < settings.forget_after / 60 {
            return;
        }
        self.forgot_at = now;
        self.look_at_ceiling(cx);
        cx.table.forget(self.forgettable(cx), 4096);
    }

    /// Until when everyone this member remembers is known to have had everything, on the monotonic clock.
    fn settled_mono(&self, cx: &Cx<'_>) -> u64 {
        let (now, age) = (cx.now.mono, cx.settings.max_message_age);
        let others = self.peers.all.values().filter(|peer| !peer.left);
        let own = others.map(|peer| peer.agreed_then(now, age)).min().unwrap_or(now);
        let ceiling = self.ceiling.as_ref().map_or(now, |ceiling| {
            now.saturating_sub(self.common_wall(cx).saturating_sub(ceiling.settled))
        });
        own.min(ceiling)
    }

    /// The same, on the wall clock.
    pub fn settled(&self, cx: &Cx<'_>) -> u64 {
        let ago = cx.now.mono.saturating_sub(self.settled_mono(cx));
        self.common_wall(cx).saturating_sub(ago)
    }

    /// The wall clock as the lower median of all sees it.
    fn common_wall(&self, cx: &Cx<'_>) -> u64 {
        cx.now.wall.saturating_add_signed(self.peers.clock_offset.saturating_neg())
    }

    pub fn forgettable(&self, cx: &Cx<'_>) -> Forgettable {
        let (wall, settings) = (self.common_wall(cx), cx.settings);
        // Somebody may be remembered by another member only.
        let settled = self.peers.live().map(|peer| peer.settled).min().unwrap_or(wall);
        let settled = settled.saturating_sub(settings.clock_bound);
        Forgettable {
            ended: wall.saturating_sub(settings.forget_after).min(settled),
            dug: self.settled_mono(cx),
            ended_long_ago: wall.saturating_sub(settings.remember),
            dug_just_now: cx.now.mono.saturating_sub(2 * settings.max_message_age),
        }
    }
}
