//! Until when this member may believe in its own locks: as long as it has contact with who decides, and is awake.

use super::state::{Cx, State, Todo};

impl State {
    /// After a time without ticks this member has slept, not the others: they get time to speak.
    pub fn notice_sleep(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        let (now, timeout) = (cx.now.mono, cx.settings.failure_timeout);
        let slept = std::mem::replace(&mut self.last_tick, now);
        if slept == 0 || now.saturating_sub(slept) <= timeout / 2 {
            return;
        }
        if now >= cx.table.member.until() {
            // Others may have led meanwhile: a term of before is not taken up again.
            self.set_term(cx, None);
            self.close_gate(cx, todo);
            self.lose_own_locks(cx, todo);
        }
        for peer in self.peers.all.values_mut().filter(|peer| peer.live) {
            peer.heard_at = peer.heard_at.max(now.saturating_sub(timeout / 2));
            peer.echoed_at = peer.echoed_at.max(now.saturating_sub(timeout));
            peer.followed_at = peer.followed_at.max(now.saturating_sub(timeout));
            peer.missed = true;
        }
        self.hearsay.forgive(slept, now, timeout);
        self.peers.beat_now = true;
    }

    /// Until when this member may believe in its own locks.
    pub fn look_at_contact(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        let own = &cx.table.member;
        let now = cx.now.mono;
        if now >= own.until() {
            // Believed in again only once they have ended; what waits for them is granted after that.
            self.close_gate(cx, todo);
            self.lose_own_locks(cx, todo);
        }
        let belief = cx.settings.belief();
        let is_alone = self.peers.live().next().is_none();
        if is_alone {
            self.lost_until = 0;
            if self.peers.all.values().all(|peer| peer.freed) {
                // Nobody is there who could think that this member has lost its locks.
                self.peers.contact_until = 0;
            }
        }
        let echoed = match self.leads(cx).map(|(leader, _)| leader) {
            // What others hear of it counts only if they know of no lower-named one.
            Some(leader) if leader == own.incarnation && !cx.settings.faults.hearsay_ignored => {
                self.peers.live().map(|peer| peer.followed_at).max()
            }
            // It may be one that this member has no touch with, only others have.
            Some(leader) if leader != own.incarnation => {
                self.peers.get_live(leader).map(|peer| peer.echoed_at)
            }
            _ => self.peers.live().map(|peer| peer.echoed_at).max(),
        };
        let echoed = echoed.unwrap_or_default();
        let until = if is_alone { u64::MAX } else { echoed + belief };
        let earlier = match own.until() {
            // Who was alone till now has had contact with everyone till now; but not if that was for a moment only.
            u64::MAX
                if now >= self.peers.contact_until + (cx.settings.patience() - belief)
                    || cx.settings.faults.alone_is_contact =>
            {
                now + belief
            }
            u64::MAX => self.peers.contact_until,
            until => until,
        };
        let until = if is_alone { until } else { until.max(earlier.min(now + belief)) };
        let before = own.until();
        own.set_until(until);
        if until != u64::MAX {
            self.peers.contact_until = until;
        }
        if cx.table.clock.mono() >= before && now < before {
            // The table may have refused somebody who waits there meanwhile.
            self.close_gate(cx, todo);
        }
    }

    fn lose_own_locks(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        let until = cx.table.member.until();
        if self.lost_until != until {
            self.lost_until = until;
            todo.follow_ups.extend(cx.table.lose_own_locks());
            if !cx.settings.faults.old_grants_taken {
                self.void_asks(cx, todo);
            }
        }
    }
}
