//! How grants and waits end: one door for release, expiry, session end and force, so that every end leaves the same
//! traces in holders, indexes, history, request memory and the feed.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::due::{Due, NamedDue};
use super::record::{Past, Ticket, TicketLife};
use super::{LeaseKey, Machine, Told, lease_key};
use crate::answer::{Ended, Force, Granted, GrantedLock, Lost, LostGrant, LostReason};
use crate::change::Action;
use crate::id::{TicketId, Token};
use crate::limits;
use crate::text::LockName;
use crate::time::Time;

/// Ended grants by lease, so that a repeated release answers as the first did and a loser learns why. Bounded: the
/// oldest are forgotten, and a lease nobody knows is told to be lost for an unknown reason.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct EndedLeases {
    #[serde(with = "super::snapshot::sorted")]
    known: HashMap<LeaseKey, EndedLease>,
    order: VecDeque<LeaseKey>,
}

/// How the grant of one lease ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct EndedLease {
    pub(super) ended: Ended,
    pub(super) at: Time,
    pub(super) held: Duration,
    pub(super) token: Token,
    /// The lock, if it was one.
    pub(super) name: Option<LockName>,
    /// The operator behind the end.
    pub(super) forced: Option<Box<Force>>,
}

impl EndedLeases {
    fn remember(&mut self, key: LeaseKey, lease: EndedLease) {
        if self.known.insert(key, lease).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > limits::ENDED_LEASES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    pub(super) fn get(&self, hash: &[u8; 32]) -> Option<&EndedLease> {
        self.known.get(&lease_key(hash))
    }
}

impl EndedLease {
    pub(super) fn reason(&self) -> LostReason {
        let forced = self.forced.as_deref().cloned();
        match (self.ended, forced) {
            (Ended::Broken, Some(force)) => LostReason::Broken(force),
            (Ended::SessionEnded, forced) => LostReason::SessionEnded(forced),
            (Ended::HandedOver, _) => LostReason::HandedOver,
            (Ended::Expired, _) => LostReason::Expired,
            _ => LostReason::Unknown,
        }
    }
}

impl Machine {
    /// Why the lease is not its holder's any more.
    pub(super) fn lost(&self, hash: &[u8; 32]) -> Lost {
        match self.state.ended_leases.get(hash) {
            Some(ended) => Lost {
                reason: ended.reason(),
                ended_ago: self.state.now.since(ended.at),
                token: Some(ended.token),
            },
            None => Lost { reason: LostReason::Unknown, ended_ago: Duration::ZERO, token: None },
        }
    }

    /// The same for who named a lock: of another lock's lease he need not know anything.
    pub(super) fn lost_at(&self, hash: &[u8; 32], named: Option<&LockName>) -> Lost {
        if self.is_foreign(hash, named) { self.lost(&[0; 32]) } else { self.lost(hash) }
    }

    /// Whether an ended lease was of one lock, and not of the one that was named.
    pub(super) fn is_foreign(&self, hash: &[u8; 32], named: Option<&LockName>) -> bool {
        let held = self.state.ended_leases.get(hash).and_then(|lease| lease.name.as_ref());
        held.zip(named).is_some_and(|(held, named)| held != named)
    }

    /// Ends a ticket and lets the next ones in.
    pub(super) fn end_and_pump(&mut self, id: TicketId, ended: Ended, told: Told<'_>) {
        let names = self.end(id, ended, told);
        self.pump(names);
    }

    /// Ends a ticket, held or waiting. Returns the locks that have something to give now; the caller pumps them, once
    /// for many tickets.
    pub(super) fn end(&mut self, id: TicketId, ended: Ended, told: Told<'_>) -> Vec<LockName> {
        let names: Vec<LockName> =
            self.ticket(id).parts.as_slice().iter().map(|part| part.name.clone()).collect();
        for name in &names {
            self.end_part(id, name, ended, told);
        }
        self.forget_ticket(id, ended, told);
        names
    }

    /// Takes one lock away from a ticket; the ticket itself stays.
    pub(super) fn end_part(&mut self, id: TicketId, name: &LockName, ended: Ended, told: Told<'_>) {
        if self.ticket(id).is_granted() {
            self.end_upgrade(id, name, ended, told);
            self.tell(id, name, ended.action(), told);
            self.free(id, name, ended, told);
        } else {
            self.tell(id, name, Action::Left, told);
            let lock = self.lock_mut(name);
            lock.dequeue(id);
            if lock.queue_length() == 0 {
                self.index.waited_locks -= 1;
            }
        }
        self.idle_if_unused(name);
    }

    fn free(&mut self, id: TicketId, name: &LockName, ended: Ended, told: Told<'_>) {
        let now = self.state.now;
        let past = self.past(id, name, ended, told);
        let ticket = self.ticket(id);
        let part = ticket.part(name).expect("the ticket holds it").clone();
        let opens_at = opens_at(ticket, ended, now);
        let lock = self.lock_mut(name);
        lock.free(part.token, part.claim);
        lock.remember(past);
        let unheld = !lock.is_held();
        if unheld {
            self.index.held_locks -= 1;
        }
        if opens_at > now {
            self.hold_back(name, opens_at);
        }
    }

    /// Nobody gets the lock before this time. It opens once, however often it was held back: a machine that was
    /// restarted knows only the last.
    fn hold_back(&mut self, name: &LockName, until: Time) {
        let lock = self.lock_mut(name);
        let before = lock.opens_at();
        if until <= before {
            return;
        }
        lock.open_at(until);
        self.index.deadlines.remove_named(before, NamedDue::Opens(name.clone()));
        self.index.deadlines.add_named(until, NamedDue::Opens(name.clone()));
    }

    /// Ends the delay that keeps a lock shut, if there is one.
    pub(super) fn let_open(&mut self, name: &LockName, told: Told<'_>) {
        let now = self.state.now;
        let Some(lock) = self.state.locks.get_mut(name) else { return };
        let before = lock.opens_at();
        if before > now {
            lock.open_now(now);
            self.index.deadlines.remove_named(before, NamedDue::Opens(name.clone()));
            self.tell_of_lock(name, Action::Opened, told);
        }
    }

    /// What history keeps of one lock of a grant that ends.
    pub(super) fn past(&self, id: TicketId, name: &LockName, ended: Ended, told: Told<'_>) -> Past {
        let (now, ticket) = (self.state.now, self.ticket(id));
        Past {
            token: ticket.part(name).expect("the ticket holds it").token,
            owner: ticket.owner_shown(id),
            note: ticket.note.clone(),
            waited: ticket.waited(now),
            held: ticket.held_for(now),
            ended,
            at: now,
            wall: self.state.wall,
            by: told.by.cloned(),
            why: told.reason.cloned(),
        }
    }

    /// Puts a lock that nobody has or wants in the line of those that are forgotten one day.
    pub(super) fn idle_if_unused(&mut self, name: &LockName) {
        let now = self.state.now;
        let lock = self.lock_mut(name);
        if !lock.is_idle() || lock.idle_since().is_some() {
            return;
        }
        if lock.becomes_idle(now) {
            self.state.idle.push_back((now, name.clone()));
        }
        self.index.idle_locks += 1;
    }

    /// Takes a ticket out of every index and remembers how its requests and its lease ended.
    pub(super) fn forget_ticket(&mut self, id: TicketId, ended: Ended, told: Told<'_>) {
        self.unindex(id);
        let ticket = self.state.tickets.remove(&id).expect("an indexed ticket exists");
        let token =
            ticket.parts.as_slice().first().map(|part| part.token).filter(|_| ticket.is_granted());
        if let Some(extra) = &ticket.extra {
            for request in &extra.requests {
                self.state.requests.end(*request, ended, token, self.state.now, &ticket.key);
            }
        }
        if let Some(token) = token {
            self.remember_lease(&ticket, ended, token, told);
        }
        if let (Some(session), Some(_)) = (ticket.session(), token)
            && let Some(reason) = lost_by_session(ended, told)
        {
            self.note_lost(session, &ticket, &reason);
        }
    }

    fn remember_lease(&mut self, ticket: &Ticket, ended: Ended, token: Token, told: Told<'_>) {
        let forced = told.force().map(Box::new);
        let now = self.state.now;
        let name = match ticket.parts.as_slice() {
            [part] => Some(part.name.clone()),
            _ => None,
        };
        let lease = EndedLease { ended, at: now, held: ticket.held_for(now), token, name, forced };
        self.state.ended_leases.remember(lease_key(&ticket.lease.hash()), lease);
    }

    fn note_lost(&mut self, session: crate::SessionId, ticket: &Ticket, reason: &LostReason) {
        let now = self.state.now;
        let Some(session) = self.state.sessions.get_mut(&session) else { return };
        for part in ticket.parts.as_slice() {
            if session.lost.len() == limits::LOST_TOLD_MAX {
                session.lost.pop_front();
            }
            let lost =
                LostGrant { name: part.name.clone(), token: part.token, reason: reason.clone() };
            session.lost.push_back((now, lost));
        }
    }

    /// The outcome of a grant, as it is now.
    pub(super) fn granted(&self, id: TicketId) -> Granted {
        let ticket = self.ticket(id);
        let (ttl, expires_at) = match ticket.life {
            TicketLife::Own { ttl, expires_at } => (ttl.get(), expires_at),
            TicketLife::Session(session) => {
                let session =
                    self.state.sessions.get(&session).expect("a ticket's session is alive");
                (session.ttl, session.expires_at)
            }
        };
        Granted {
            ticket: id,
            locks: granted_locks(ticket),
            lease: ticket.lease.plain(),
            owner: ticket.owner_shown(id),
            session: ticket.session(),
            request: self.request_shown(id),
            ttl,
            expires_at,
            now: self.state.now,
            waited: ticket.waited(self.state.now),
            depth: ticket.depth,
        }
    }

    /// Enters a ticket into every index; the mirror of [`Self::unindex`], also used when a snapshot is opened.
    pub(super) fn index_ticket(&mut self, id: TicketId) {
        let ticket = self.state.tickets.get(&id).expect("the ticket was stored");
        if let Some(owner) = ticket.shared_owner() {
            let owned = self.index.owners.entry(owner).or_default();
            let tickets = if ticket.is_granted() { &mut owned.held } else { &mut owned.waiting };
            tickets.insert(id);
        }
        let usage = self.index.usage.entry(ticket.key.clone()).or_default();
        self.index.leases.insert(lease_key(&ticket.lease.hash()), id);
        let deadlines = &mut self.index.deadlines;
        if ticket.is_granted() {
            usage.held += ticket.parts.as_slice().len() as u32;
            if let TicketLife::Own { expires_at, .. } = ticket.life {
                deadlines.add(expires_at, Due::Grant(id));
            }
        } else {
            usage.waiting += 1;
            self.index.waiting.insert(id);
            if let Some(until) = ticket.wait_until() {
                deadlines.add(until, Due::Wait(id));
            }
        }
        if let Some(at) = ticket.leaves_at() {
            deadlines.add(at, Due::Leave(id));
        }
        if let Some(session) = ticket.session()
            && let Some(session) = self.state.sessions.get_mut(&session)
        {
            session.tickets.insert(id);
        }
    }

    /// Takes a ticket out of every index.
    pub(super) fn unindex(&mut self, id: TicketId) {
        let ticket = self.state.tickets.get(&id).expect("an indexed ticket exists");
        if let Some(owner) = ticket.shared_owner()
            && let Some(owned) = self.index.owners.get_mut(&owner)
        {
            owned.held.remove(id);
            owned.waiting.remove(id);
            if owned.held.is_empty() && owned.waiting.is_empty() {
                self.index.owners.remove(&owner);
            }
        }
        let usage = self.index.usage.get_mut(&ticket.key).expect("a ticket's key is counted");
        let deadlines = &mut self.index.deadlines;
        self.index.leases.remove(&lease_key(&ticket.lease.hash()));
        if ticket.is_granted() {
            usage.held -= ticket.parts.as_slice().len() as u32;
            if let TicketLife::Own { expires_at, .. } = ticket.life {
                deadlines.remove(expires_at, Due::Grant(id));
            }
        } else {
            usage.waiting -= 1;
            self.index.waiting.remove(&id);
            if let Some(until) = ticket.wait_until() {
                deadlines.remove(until, Due::Wait(id));
            }
        }
        if let Some(at) = ticket.leaves_at() {
            deadlines.remove(at, Due::Leave(id));
        }
        if *usage == crate::Usage::default() {
            self.index.usage.remove(&ticket.key);
        }
        if let Some(session) = ticket.session()
            && let Some(session) = self.state.sessions.get_mut(&session)
        {
            session.tickets.remove(&id);
        }
    }
}

impl Ended {
    fn action(self) -> Action {
        match self {
            Ended::Released | Ended::Cancelled | Ended::TimedOut | Ended::Over => Action::Released,
            Ended::Expired => Action::Expired,
            Ended::SessionEnded => Action::SessionEnded,
            Ended::Broken => Action::Broken,
            Ended::HandedOver => Action::HandedOver,
        }
    }
}

/// The locks of a granted ticket.
pub(super) fn granted_locks(ticket: &Ticket) -> Vec<GrantedLock> {
    let parts = ticket.parts.as_slice().iter();
    parts
        .map(|part| GrantedLock { name: part.name.clone(), claim: part.claim, token: part.token })
        .collect()
}

/// Until when nobody gets the lock after this end: `lock_delay` guards against a holder that did not give back itself,
/// `at_least` counts from the grant, however it ends.
fn opens_at(ticket: &Ticket, ended: Ended, now: Time) -> Time {
    let Some(extra) = &ticket.extra else { return now };
    let from_grant = ticket.granted_at.get().unwrap_or(now) + extra.at_least;
    match ended {
        Ended::Expired | Ended::SessionEnded => from_grant.max(now + extra.lock_delay),
        _ => from_grant,
    }
}

/// What a living session is told about a grant that ended without its doing.
fn lost_by_session(ended: Ended, told: Told<'_>) -> Option<LostReason> {
    match ended {
        Ended::Broken => told.force().map(LostReason::Broken),
        Ended::HandedOver => Some(LostReason::HandedOver),
        Ended::Expired => Some(LostReason::Expired),
        _ => None,
    }
}
