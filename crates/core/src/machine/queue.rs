//! Who is next: from the head of the queue, while it fits. So writers don't starve, nobody is woken in vain, and a
//! release *is* the grant of the next.

use std::collections::BTreeSet;
use std::time::Duration;

use super::due::Due;
use super::record::{Lock, MaybeTime, TicketLife};
use super::{Machine, Told};
use crate::answer::{Ended, HeldBy, Holder, Queued, Refusal};
use crate::change::{Action, Settled};
use crate::command::Claim;
use crate::id::TicketId;
use crate::text::LockName;

/// Holders told to a loser.
const HOLDERS_TOLD_MAX: usize = 100;
/// The longest advice to wait before asking again.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// And the shortest.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(100);
/// How long a lock without a past is held, as far as anybody can guess.
const TURN_UNKNOWN: Duration = Duration::from_secs(1);

impl Machine {
    /// Grants what can be granted in these queues, in arrival order over all of them. A ticket for several locks stands
    /// in several queues: granting it gives each of them a new head.
    pub(super) fn pump(&mut self, names: impl IntoIterator<Item = LockName>) {
        let mut heads = BTreeSet::new();
        for name in names {
            self.pump_upgrade(&name);
            heads.extend(self.head_of(&name));
        }
        while let Some(id) = heads.pop_first() {
            if !self.is_next_everywhere(id) {
                continue;
            }
            let names: Vec<LockName> =
                self.ticket(id).parts.as_slice().iter().map(|p| p.name.clone()).collect();
            self.take_out_of_queues(id, &names);
            self.grant(id);
            let outcome = Settled::Granted(Box::new(self.granted(id)));
            self.settle(id, outcome);
            heads.extend(names.iter().filter_map(|name| self.head_of(name)));
        }
    }

    fn head_of(&self, name: &LockName) -> Option<TicketId> {
        let lock = self.state.locks.get(name)?;
        if lock.upgrade().is_some() { None } else { lock.head() }
    }

    /// Whether a waiting ticket is at the head of each of its queues and fits in each of its locks. One that is due to
    /// leave now is not: its grant would end at once, and leave its delays behind.
    fn is_next_everywhere(&self, id: TicketId) -> bool {
        !self.is_due_to_leave(id)
            && self.ticket(id).parts.as_slice().iter().all(|part| {
                let lock = self.known_lock(&part.name);
                lock.upgrade().is_none()
                    && lock.head() == Some(id)
                    && self.fits_now(lock, part.claim)
            })
    }

    fn is_due_to_leave(&self, id: TicketId) -> bool {
        let (ticket, now) = (self.ticket(id), self.state.now);
        let session = ticket.session().and_then(|session| self.state.sessions.get(&session));
        ticket.leaves_at().is_some_and(|at| at <= now)
            || session.is_some_and(|session| session.expires_at <= now)
    }

    /// Whether a lock has room for the claim and is not held back by a delay. A lock without holders takes the size of
    /// its next request, unless an operator gave it one.
    pub(super) fn fits_now(&self, lock: &Lock, claim: Claim) -> bool {
        let takes_any_size = !lock.is_held() && lock.resized().is_none();
        lock.opens_at() <= self.state.now && (takes_any_size || lock.fits(claim))
    }

    fn take_out_of_queues(&mut self, id: TicketId, names: &[LockName]) {
        self.unindex(id);
        for name in names {
            let lock = self.lock_mut(name);
            lock.dequeue(id);
            if lock.queue_length() == 0 {
                self.index.waited_locks -= 1;
            }
        }
    }

    /// Gives a ticket that is in no index its locks, each with a new token.
    pub(super) fn grant(&mut self, id: TicketId) {
        let now = self.state.now;
        let parts = self.ticket(id).parts.as_slice().len();
        for place in 0..parts {
            let token = self.next_token();
            let part = &mut self.ticket_mut(id).parts.as_mut_slice()[place];
            part.token = token;
            let (name, claim) = (part.name.clone(), part.claim);
            self.hold(&name, claim, token, id);
        }
        let ticket = self.ticket_mut(id);
        ticket.granted_at = MaybeTime::at(now);
        ticket.depth = 1;
        if let TicketLife::Own { ttl, expires_at } = &mut ticket.life {
            *expires_at = now + ttl.get();
        }
        if let Some(extra) = &mut ticket.extra {
            extra.wait_until = None;
        }
        self.index_ticket(id);
        for place in 0..parts {
            let name = self.ticket(id).parts.as_slice()[place].name.clone();
            self.tell(id, &name, Action::Granted, Told::default());
        }
    }

    fn hold(&mut self, name: &LockName, claim: Claim, token: crate::Token, id: TicketId) {
        let lock = self.lock_mut(name);
        let first = !lock.is_held();
        if first && lock.resized().is_none() {
            lock.kind = claim.kind();
        }
        lock.hold(token, id, claim);
        if first {
            self.index.held_locks += 1;
        }
    }

    /// A place nobody listens at: the waiter leaves; what it was granted meanwhile is given back.
    pub(super) fn leave(&mut self, id: TicketId) {
        if self.state.upgrades.contains_key(&id) {
            let name = self.state.upgrades[&id].name.clone();
            self.refuse_upgrade(id, Ended::Cancelled, Told::default());
            return self.pump([name]);
        }
        if !self.ticket(id).is_granted() {
            let finished =
                Refusal::RequestFinished { ended: Ended::Cancelled, token: None, force: None };
            self.settle(id, Settled::Refused(Box::new(finished)));
        }
        self.end_and_pump(id, Ended::Cancelled, Told::default());
    }

    /// Starts or stops the clock of a waiter, or of a grant nobody has collected, that no answer is open for.
    pub(super) fn set_leaves_at(&mut self, id: TicketId, at: Option<crate::Time>) {
        let before = match self.state.upgrades.get_mut(&id) {
            Some(upgrade) => std::mem::replace(&mut upgrade.leaves_at, at),
            None => {
                let ticket = self.ticket_mut(id);
                if at.is_none() && ticket.extra.is_none() {
                    return;
                }
                std::mem::replace(&mut ticket.extra().leaves_at, at)
            }
        };
        if let Some(before) = before {
            self.index.deadlines.remove(before, Due::Leave(id));
        }
        if let Some(at) = at {
            self.index.deadlines.add(at, Due::Leave(id));
        }
    }

    /// A waiter's place, of several queues the farthest.
    pub(super) fn queued(&self, id: TicketId) -> Queued {
        let ticket = self.ticket(id);
        let now = self.state.now;
        let places = ticket.parts.as_slice().iter().map(|part| {
            let lock = self.known_lock(&part.name);
            let ahead = lock.place(id).unwrap_or(0) + usize::from(lock.upgrade().is_some());
            (ahead + 1, lock.queue_length())
        });
        let (position, queue_length) = places.max().unwrap_or((1, 1));
        Queued {
            ticket: id,
            request: self.request_shown(id),
            position,
            queue_length,
            waited: ticket.waited(now),
            wait_left: ticket.wait_until().map_or(Duration::ZERO, |until| until.since(now)),
        }
    }

    /// Who stands in the way of a waiting ticket, itself not counted.
    pub(super) fn blockers_of(&self, id: TicketId) -> HeldBy {
        let ticket = self.ticket(id);
        let wants: Vec<(&LockName, Claim)> =
            ticket.parts.as_slice().iter().map(|part| (&part.name, part.claim)).collect();
        let mut held = self.blocked_by(&wants, Some(id));
        held.waited = ticket.waited(self.state.now);
        held.queue_length = held.queue_length.saturating_sub(1);
        held
    }

    /// Who stands in the way of these claims; `id` is the ticket that asks, if it stands in the queues already.
    pub(super) fn blocked_by(&self, wants: &[(&LockName, Claim)], id: Option<TicketId>) -> HeldBy {
        let blocked: Vec<LockName> = wants
            .iter()
            .filter(|(name, claim)| !self.would_get(name, *claim, id))
            .map(|(name, _)| (*name).clone())
            .collect();
        let mut held = blocked.first().map(|name| self.held_by(name)).unwrap_or_default();
        held.blocked_by = blocked;
        held
    }

    /// Whether a request would get this lock at once: nobody is ahead of it, and it fits.
    pub(super) fn would_get(&self, name: &LockName, claim: Claim, id: Option<TicketId>) -> bool {
        let Some(lock) = self.state.locks.get(name) else { return true };
        let first = lock.head().is_none_or(|head| Some(head) == id);
        first && lock.upgrade().is_none() && self.fits_now(lock, claim)
    }

    /// Who has a lock, for those who don't.
    pub(super) fn held_by(&self, name: &LockName) -> HeldBy {
        let Some(lock) = self.state.locks.get(name) else {
            return HeldBy { blocked_by: vec![name.clone()], ..HeldBy::default() };
        };
        let holders: Vec<Holder> = lock
            .holders()
            .take(HOLDERS_TOLD_MAX)
            .filter_map(|(_, id)| self.holder(id, name))
            .collect();
        let opens_in = lock.opens_at().since(self.state.now);
        HeldBy {
            retry_after: retry_after(lock, &holders).max(opens_in),
            holders,
            queue_length: lock.queue_length(),
            opens_in,
            blocked_by: vec![name.clone()],
            waited: Duration::ZERO,
        }
    }

    /// One holder, as others may see it.
    pub(super) fn holder(&self, id: TicketId, name: &LockName) -> Option<Holder> {
        let ticket = self.ticket(id);
        let part = ticket.part(name)?;
        let expires_at = match ticket.life {
            TicketLife::Own { expires_at, .. } => expires_at,
            TicketLife::Session(session) => self.state.sessions.get(&session)?.expires_at,
        };
        Some(Holder {
            token: part.token,
            claim: part.claim,
            owner: ticket.owner_shown(id),
            session: ticket.session(),
            note: ticket.note.clone(),
            held_for: ticket.held_for(self.state.now),
            expires_in: expires_at.since(self.state.now),
        })
    }
}

/// A guess when it may be worth to ask again: when the first holder goes, and then a turn for each who waits. Asked for
/// by those who do not wait, perhaps by many of them, so it grows with a holder that stays longer than others did.
fn retry_after(lock: &Lock, holders: &[Holder]) -> Duration {
    let turn = lock.usual_hold().unwrap_or(TURN_UNKNOWN);
    let first_goes = match holders.first().map(|first| first.held_for) {
        Some(held) if held < turn => turn - held,
        // Half of what it has had already: each answer is about half as far ahead as the last one was back.
        Some(held) => held / 2,
        None => Duration::ZERO,
    };
    // Never later than the first end that needs nobody's doing.
    let soonest_end = holders.iter().map(|holder| holder.expires_in).min().unwrap_or_default();
    let waiters = u32::try_from(lock.queue_length()).unwrap_or(u32::MAX);
    let at_once = u32::try_from(holders.len().max(1)).unwrap_or(u32::MAX);
    let turns = turn.saturating_mul(waiters) / at_once;
    first_goes.min(soonest_end).saturating_add(turns).clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX)
}
