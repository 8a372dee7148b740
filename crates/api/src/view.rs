//! What readers see of the rules' record, in the words of the wire. No view has a lease, a handle or a request id.

use tenure_core::{HistoryEntry, HolderView, LockKind, Sort, WaiterView};

use crate::answer::claim_fields;
use crate::lock::{
    HistoryView, Holder, KindName, LockHolder, LockState, LockView, RecallView, SortName, Waiter,
};
use crate::problem::CycleMember;
use crate::seconds::Seconds;
use crate::service::{LockCounts, Rates, Stats, TopLock};
use crate::session::{HeldGrant, SessionView};
use crate::wall::rfc3339;

impl From<tenure_core::Holder> for Holder {
    fn from(holder: tenure_core::Holder) -> Self {
        let (mode, permits, weight) = claim_fields(&holder.claim);
        Holder {
            token: holder.token,
            mode,
            permits,
            weight,
            owner: holder.owner,
            session: holder.session,
            note: holder.note,
            held_for: Seconds(holder.held_for),
            expires_in: Seconds(holder.expires_in),
        }
    }
}

impl From<HolderView> for LockHolder {
    fn from(held: HolderView) -> Self {
        LockHolder {
            holder: held.holder.into(),
            key: held.key,
            recall: held.recall.map(RecallView::from),
        }
    }
}

impl From<WaiterView> for Waiter {
    fn from(waiter: WaiterView) -> Self {
        let (mode, permits, weight) = claim_fields(&waiter.claim);
        Waiter {
            position: waiter.position,
            mode,
            permits,
            weight,
            owner: waiter.owner,
            session: waiter.session,
            note: waiter.note,
            waited: Seconds(waiter.waited),
            wait_left: Seconds(waiter.wait_left),
            expected_in: waiter.expected_in.map(Seconds),
        }
    }
}

impl From<HistoryEntry> for HistoryView {
    fn from(entry: HistoryEntry) -> Self {
        HistoryView {
            token: entry.token,
            owner: entry.owner,
            note: entry.note,
            waited: Seconds(entry.waited),
            held: Seconds(entry.held),
            ended: entry.ended.into(),
            ended_ago: Seconds(entry.ended_ago),
            at: rfc3339(entry.at),
            by: entry.by,
            why: entry.why,
        }
    }
}

/// Without a cursor, which is the feed's.
impl From<tenure_core::LockView> for LockView {
    fn from(lock: tenure_core::LockView) -> Self {
        LockView {
            name: lock.name,
            state: match lock.state {
                tenure_core::LockState::Free => LockState::Free,
                tenure_core::LockState::Held => LockState::Held,
            },
            kind: match lock.kind {
                LockKind::Plain => KindName::Plain,
                LockKind::Semaphore => KindName::Semaphore,
            },
            permits: lock.permits,
            latest_token: lock.latest_token,
            opens_in: Seconds(lock.opens_in),
            holders: lock.holders.into_iter().map(LockHolder::from).collect(),
            queue_length: lock.queue_length,
            queue: lock.queue.into_iter().map(Waiter::from).collect(),
            history: lock.history.into_iter().map(HistoryView::from).collect(),
            cursor: None,
        }
    }
}

impl SessionView {
    /// A session that talks to `node`.
    pub fn of(session: tenure_core::SessionView, node: u64) -> Self {
        let grant = |(name, token)| HeldGrant { name, token };
        SessionView {
            id: session.id,
            note: session.note,
            key: session.key,
            node,
            ttl: Seconds(session.ttl),
            idle_for: Seconds(session.idle_for),
            expires_in: Seconds(session.expires_in),
            grants: session.grants.into_iter().map(grant).collect(),
            waits: session.waits,
            rows: 0,
        }
    }
}

impl From<tenure_core::CycleMember> for CycleMember {
    fn from(member: tenure_core::CycleMember) -> Self {
        CycleMember {
            name: member.name.to_string(),
            owner: member.owner.to_string(),
            session: member.session.map(|id| id.to_string()),
            note: member.note.map(|note| note.to_string()),
            waits_for: member.waits_for.to_string(),
        }
    }
}

impl From<SortName> for Sort {
    fn from(sort: SortName) -> Self {
        match sort {
            SortName::Name => Sort::Name,
            SortName::Waiters => Sort::Waiters,
            SortName::HeldFor => Sort::HeldFor,
        }
    }
}

impl Stats {
    /// The counts, with the rates of whoever measures them and the locks with the longest queues.
    pub fn of(
        stats: &tenure_core::Stats,
        rates: Rates,
        top: impl IntoIterator<Item = tenure_core::LockView>,
    ) -> Self {
        let top = top.into_iter();
        Stats {
            locks: LockCounts { held: stats.held, waited: stats.waited, idle: stats.idle },
            waiters: stats.waiters,
            sessions: stats.sessions,
            rows: 0,
            rates,
            oldest_wait: Seconds(stats.oldest_wait),
            top: top.map(|lock| TopLock { name: lock.name, waiters: lock.queue_length }).collect(),
        }
    }
}
