//! What the others tell of members that this one may have no touch with: not every pair has a link at every time,
//! and whoever decides about locks must be the same for all that are connected by others.

use std::collections::BTreeMap;

use super::messages::{Heartbeat, Leader};
use super::state::{Cx, State};
use super::wire::MAX_MEMBERS;

/// What is told of one member.
pub(crate) struct Told {
    /// The newest of its heartbeats that anybody has told of.
    number: u64,
    /// When that was told first.
    heard_at: u64,
    /// Since when it has been told of without a pause, or has led if that is later.
    since: u64,
    /// Its name, if it is one that may lead.
    name: Option<Box<str>>,
}

/// Of so many others word is remembered; no cluster has as many members.
const MOST: usize = 4 * MAX_MEMBERS;

#[derive(Default)]
pub(crate) struct Hearsay(BTreeMap<u128, Told>);

impl Hearsay {
    fn learn(&mut self, cx: &Cx<'_>, member: u128, number: u64) -> &mut Told {
        let (now, patience) = (cx.now.mono, cx.settings.patience());
        let new = Told { number: 0, heard_at: now, since: now, name: None };
        let told = self.0.entry(member).or_insert(new);
        if number > told.number {
            if now.saturating_sub(told.heard_at) > patience {
                told.since = now;
            }
            (told.number, told.heard_at) = (number, now);
        }
        told
    }

    /// Others have followed a term of its.
    pub fn has_led(&mut self, member: u128, now: u64) {
        if let Some(told) = self.0.get_mut(&member) {
            told.since = now;
        }
    }

    /// After a sleep the others get time to speak of those that they had just told of; what they have been told of
    /// this member is unknown.
    pub fn forgive(&mut self, slept: u64, now: u64, timeout: u64) {
        for told in self.0.values_mut() {
            told.since = now;
            if slept.saturating_sub(told.heard_at) <= timeout {
                told.heard_at = told.heard_at.max(now.saturating_sub(timeout / 2));
            }
        }
    }
}

impl State {
    /// What a heartbeat says of others than its sender.
    pub fn hear_of_others(&mut self, cx: &Cx<'_>, beat: &Heartbeat) {
        let (own, now, remember) = (cx.own(), cx.now.mono, cx.settings.remember);
        // Remembered for long: what others repeat of one who is gone must not seem to be news.
        self.hearsay.0.retain(|_, told| now.saturating_sub(told.heard_at) <= remember);
        for (member, number) in beat.heard.iter().filter(|(member, _)| *member != own) {
            if self.hearsay.0.len() >= MOST && !self.hearsay.0.contains_key(member) {
                continue;
            }
            self.hearsay.learn(cx, *member, *number);
        }
        if let Some(leader) = beat.leader.as_ref().filter(|leader| leader.member != own) {
            let told = self.hearsay.learn(cx, leader.member, leader.number);
            told.name.get_or_insert_with(|| leader.name.clone());
        }
    }

    /// Those that others have had touch with within this time, and this member has not.
    fn unreached(&self, cx: &Cx<'_>, within: u64) -> impl Iterator<Item = (u128, &Told)> {
        let since = cx.now.mono.saturating_sub(within);
        let all = self.hearsay.0.iter().filter(|_| !cx.settings.faults.hearsay_ignored);
        let unreached = all.filter(move |(member, told)| match self.peers.all.get(member) {
            Some(peer) if peer.live || peer.left => false,
            // What others have heard before this member lost touch says nothing; that they have not lost it does.
            Some(peer) => {
                told.heard_at >= since && told.number > peer.lost_at_beat
                    || self.peers.live().any(|other| other.follows == Some(**member))
            }
            None => told.heard_at >= since,
        });
        unreached.map(|(member, told)| (*member, told))
    }

    /// The lowest-named of all that are there and synced, as far as anybody knows who is connected with this member
    /// by others: name, incarnation, last heartbeat, and whether this member has touch with it.
    fn first<'a>(&'a self, cx: &'a Cx<'_>) -> Option<(&'a str, u128, u64, bool)> {
        let own = &*cx.table.member;
        let own = (&*own.name, own.incarnation, self.peers.beat, true);
        let may_lead = self.sync.is_synced() && !cx.replication.is_refusing();
        let own = Some(own).filter(|_| may_lead);
        let others = self.peers.all.values().filter(|peer| peer.may_lead());
        let others =
            others.map(|peer| (&*peer.member.name, peer.member.incarnation, peer.beat, true));
        let told = self.unreached(cx, cx.settings.failure_timeout);
        let told =
            told.filter_map(|(member, t)| Some((t.name.as_deref()?, member, t.number, false)));
        others.chain(own).chain(told).min_by_key(|(name, member, ..)| (*name, *member))
    }

    /// Who leads, and whether this member has touch with it.
    pub fn leads(&self, cx: &Cx<'_>) -> Option<(u128, bool)> {
        self.first(cx).map(|(_, member, _, direct)| (member, direct))
    }

    /// The same, for others.
    pub fn leader(&self, cx: &Cx<'_>) -> Option<Leader> {
        let (name, member, number, direct) = self.first(cx)?;
        Some(Leader { member, name: name.into(), number, direct })
    }

    /// Whether somebody whom this member cannot ask may still believe in a lock: he has to learn first who
    /// decides now, and that it is somebody who does not hear him.
    pub fn awaits_unreached(&self, cx: &Cx<'_>, leads_since: u64) -> bool {
        let notice = cx.settings.notice();
        let mut unreached = self.unreached(cx, cx.settings.patience());
        unreached.any(|(_, told)| cx.now.mono < leads_since.max(told.since) + notice)
    }
}
