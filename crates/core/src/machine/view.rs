//! What readers see of the record.

use std::time::Duration;

use super::Machine;
use super::record::{Kind, Lock, Past, TicketLife};
use crate::answer::Queued;
use crate::id::{Permits, SessionId, TicketId, Token};
use crate::limits;
use crate::text::{KeyName, LockName};
use crate::time::Time;
use crate::view::{
    GrantView, HistoryEntry, HolderView, LockKind, LockState, LockView, Page, SessionView, Sort,
    Stats, Usage, WaiterView,
};

impl Machine {
    /// One lock; free and empty if nobody asked for it lately. At most [`limits::PAGE_MAX`] holders and waiters are shown.
    pub fn lock(&self, name: &LockName) -> LockView {
        let mut view = self.summary(name);
        let Some(lock) = self.state.locks.get(name) else { return view };
        view.holders = self.holder_views(name, lock);
        view.queue = self.waiter_views(name, lock);
        let entry = |past: &Past| HistoryEntry {
            token: Some(past.token),
            owner: past.owner.clone(),
            note: past.note.clone(),
            waited: past.waited,
            held: past.held,
            ended: past.ended,
            ended_ago: self.state.now.since(past.at),
            at: past.wall,
            by: past.by.clone(),
            why: past.why.clone(),
        };
        view.history = lock.history().rev().map(entry).collect();
        view
    }

    /// A lock without its queue and history.
    fn summary(&self, name: &LockName) -> LockView {
        let free = Lock::default();
        let lock = self.state.locks.get(name).unwrap_or(&free);
        let (kind, permits) = match (lock.resized(), lock.kind) {
            (Some(permits), _) | (None, Kind::Semaphore(permits)) => (LockKind::Semaphore, permits),
            (None, Kind::Plain) => (LockKind::Plain, Permits::ONE),
        };
        LockView {
            name: name.clone(),
            state: if lock.is_held() { LockState::Held } else { LockState::Free },
            kind,
            permits,
            latest_token: lock.latest(),
            opens_in: lock.opens_at().since(self.state.now),
            holders: vec![],
            queue: vec![],
            queue_length: lock.queue_length(),
            history: vec![],
            revision: self.revision(),
        }
    }

    fn holder_views(&self, name: &LockName, lock: &Lock) -> Vec<HolderView> {
        let view = |id: TicketId| {
            let holder = self.holder(id, name)?;
            Some(HolderView {
                holder,
                key: self.ticket(id).key.clone(),
                recall: self.recall_at(id, name),
            })
        };
        lock.holders().take(limits::PAGE_MAX).filter_map(|(_, id)| view(id)).collect()
    }

    fn waiter_views(&self, name: &LockName, lock: &Lock) -> Vec<WaiterView> {
        let now = self.state.now;
        let usual = lock.usual_hold();
        let upgrade = lock.upgrade().map(|upgrade_id| {
            let upgrade = &self.state.upgrades[&upgrade_id];
            (upgrade.ticket, upgrade.arrived_at, Some(upgrade.wait_until), crate::Claim::Exclusive)
        });
        let queued = lock.queue().filter_map(|id| {
            let ticket = self.ticket(id);
            Some((id, ticket.arrived_at, ticket.wait_until(), ticket.part(name)?.claim))
        });
        let waiters = upgrade.into_iter().chain(queued).take(limits::PAGE_MAX).enumerate();
        waiters
            .map(|(ahead, (id, arrived_at, until, claim))| WaiterView {
                position: ahead + 1,
                claim,
                owner: self.ticket(id).owner_shown(id),
                session: self.ticket(id).session(),
                note: self.ticket(id).note.clone(),
                waited: now.since(arrived_at),
                wait_left: until.map_or(Duration::ZERO, |until| until.since(now)),
                expected_in: usual.map(|hold| hold * u32::try_from(ahead + 1).unwrap_or(u32::MAX)),
            })
            .collect()
    }

    /// A page of locks with their holders; `queue` and `history` are left empty.
    pub fn locks(&self, page: &Page<'_>) -> Vec<LockView> {
        let limit = page.limit.min(limits::PAGE_MAX);
        let wanted = |lock: &Lock| {
            (!page.held || lock.is_held()) && (!page.waited || lock.queue_length() > 0)
        };
        // A page begins where the last one ended, without a look at all that came before it.
        let from = match page.sort {
            Sort::Name if page.after >= page.prefix && !page.after.is_empty() => {
                std::ops::Bound::Excluded(page.after)
            }
            _ => std::ops::Bound::Included(page.prefix),
        };
        let covered = self
            .state
            .locks
            .from::<str>(from)
            .take_while(|(name, _)| name.as_str().starts_with(page.prefix));
        let matching = covered.filter(|(_, lock)| wanted(lock));
        let names: Vec<&LockName> = match page.sort {
            Sort::Name => matching.take(limit).map(|(name, _)| name).collect(),
            Sort::Waiters => top(matching, limit, |lock| lock.queue_length() as u128),
            Sort::HeldFor => top(matching, limit, |lock| self.oldest_hold(lock).as_micros()),
        };
        names.into_iter().map(|name| self.with_holders(name)).collect()
    }

    fn with_holders(&self, name: &LockName) -> LockView {
        let mut view = self.summary(name);
        view.holders = self.holder_views(name, self.known_lock(name));
        view
    }

    fn oldest_hold(&self, lock: &Lock) -> Duration {
        lock.holders()
            .next()
            .map_or(Duration::ZERO, |(_, id)| self.ticket(id).held_for(self.state.now))
    }

    /// Whether `token` is of a live grant of `name`, and the latest token of it.
    pub fn check(&self, name: &LockName, token: Token) -> (bool, Option<Token>) {
        let Some(lock) = self.state.locks.get(name) else { return (false, None) };
        let current = lock.holders().any(|(held, _)| held == token);
        (current, lock.latest())
    }

    /// The place of a request that stands in a queue; `None` once it does not.
    pub fn place(&self, ticket: TicketId) -> Option<Queued> {
        if self.state.upgrades.contains_key(&ticket) {
            return Some(self.upgrade_queued(ticket));
        }
        let waits = self.state.tickets.get(&ticket).is_some_and(|ticket| !ticket.is_granted());
        waits.then(|| self.queued(ticket))
    }

    /// The locks behind a live lease, by its hash: what a key limited to some names must cover to use the lease.
    pub fn names_of_lease(&self, hash: &[u8; 32]) -> Vec<LockName> {
        let Some(id) = self.ticket_of_lease(hash) else { return vec![] };
        self.ticket(id).parts.as_slice().iter().map(|part| part.name.clone()).collect()
    }

    /// Every live grant in order of token.
    pub fn grants(&self) -> Vec<GrantView> {
        let mut grants = Vec::new();
        for (id, ticket) in self.state.tickets.iter().filter(|(_, ticket)| ticket.is_granted()) {
            let owner = ticket.owner_shown(*id);
            let expires_at = self.expires_at(&ticket.life);
            grants.extend(ticket.parts.as_slice().iter().map(|part| GrantView {
                name: part.name.clone(),
                token: part.token,
                key: ticket.key.clone(),
                owner: owner.clone(),
                lease: ticket.lease.plain(),
                expires_in: expires_at.since(self.state.now),
            }));
        }
        grants.sort_by_key(|grant| grant.token);
        grants
    }

    fn expires_at(&self, life: &TicketLife) -> Time {
        match life {
            TicketLife::Own { expires_at, .. } => *expires_at,
            TicketLife::Session(id) => {
                self.state.sessions.get(id).map_or(Time::ZERO, |session| session.expires_at)
            }
        }
    }

    /// One live session.
    pub fn session(&self, id: SessionId) -> Option<SessionView> {
        let session = self.state.sessions.get(&id)?;
        let now = self.state.now;
        let tickets = || session.tickets.iter().map(|id| self.ticket(*id));
        let grants = tickets()
            .filter(|ticket| ticket.is_granted())
            .flat_map(|ticket| ticket.parts.as_slice());
        let waits = tickets()
            .filter(|ticket| !ticket.is_granted())
            .flat_map(|ticket| ticket.parts.as_slice());
        Some(SessionView {
            id,
            note: session.note.clone(),
            key: session.key.clone(),
            ttl: session.ttl,
            idle_for: now.since(session.heard_at),
            expires_in: session.expires_at.since(now),
            grants: grants
                .take(limits::PAGE_MAX)
                .map(|part| (part.name.clone(), part.token))
                .collect(),
            waits: waits.take(limits::PAGE_MAX).map(|part| part.name.clone()).collect(),
        })
    }

    /// Live sessions after `after`, by id.
    pub fn sessions(&self, after: Option<SessionId>, limit: usize) -> Vec<SessionView> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let ids = self.state.sessions.range((from, std::ops::Bound::Unbounded)).map(|(id, _)| *id);
        ids.take(limit.min(limits::PAGE_MAX)).filter_map(|id| self.session(id)).collect()
    }

    /// Sessions open.
    pub fn session_count(&self) -> usize {
        self.state.sessions.len()
    }

    /// Counts over everything. Looks at every grant for the oldest of them.
    pub fn stats(&self) -> Stats {
        let now = self.state.now;
        let held = self.state.tickets.values().filter(|ticket| ticket.is_granted());
        let (grants, oldest_hold) = held.fold((0, Duration::ZERO), |(count, oldest), ticket| {
            (count + ticket.parts.as_slice().len(), oldest.max(ticket.held_for(now)))
        });
        let oldest_waiter = self.index.waiting.first().map(|id| self.ticket(*id).waited(now));
        Stats {
            held: self.index.held_locks,
            waited: self.index.waited_locks,
            idle: self.index.idle_locks,
            waiters: self.index.waiting.len() + self.state.upgrades.len(),
            sessions: self.state.sessions.len(),
            grants,
            oldest_wait: oldest_waiter.unwrap_or_default(),
            oldest_hold,
        }
    }

    /// What a key has at the moment.
    pub fn usage(&self, key: &KeyName) -> Usage {
        self.index.usage.get(key).copied().unwrap_or_default()
    }
}

/// The first `limit` locks by a measure, the largest first; ties by name.
fn top<'a>(
    locks: impl Iterator<Item = (&'a LockName, &'a Lock)>,
    limit: usize,
    measure: impl Fn(&Lock) -> u128,
) -> Vec<&'a LockName> {
    let mut measured: Vec<(std::cmp::Reverse<u128>, &LockName)> =
        locks.map(|(name, lock)| (std::cmp::Reverse(measure(lock)), name)).collect();
    measured.sort_unstable();
    measured.into_iter().take(limit).map(|(_, name)| name).collect()
}
