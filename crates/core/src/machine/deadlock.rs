//! Deadlock: would this request, if it waited, wait for itself?
//!
//! The graph is walked from the new request. A waiting request waits for every holder that must leave before it fits,
//! and with that for whatever that holder's owner waits for; and it waits for every request ahead of it in a queue, and
//! with that for whatever *that* request waits for. If one of the holders met on the way is of the owner that asks, a
//! cycle would be closed. Since no cycle existed before, only walks from the new request can find one.
//!
//! A holder of a semaphore is in the way only if the claim would not fit even after all other holders left, so no
//! request is refused that could still be served. (Wait-for graphs: Coffman, Elphick, Shoshani, "System Deadlocks",
//! 1971; among the peers MySQL and PostgreSQL judge the same way, within one server.)

use std::collections::{HashMap, HashSet};

use super::acquire::scoped;
use super::record::{OwnerKey, OwnerName};
use super::{Machine, record::Lock};
use crate::answer::{Cycle, CycleMember};
use crate::command::{Acquire, Claim};
use crate::id::TicketId;
use crate::text::{LockName, Owner};

/// One request that waits, met on the walk.
struct Step {
    /// `None`: the request that asks.
    waiting: Option<TicketId>,
    /// The step whose request waits for this one, and the lock it waits for there.
    before: Option<(usize, LockName)>,
    /// The holder whose owner made this request, if it was met as a holder.
    holder: Option<TicketId>,
}

/// A walk in breadth, so that the cycle found is a shortest one.
#[derive(Default)]
struct Walk {
    steps: Vec<Step>,
    seen: HashSet<TicketId>,
    /// How far each queue was looked through already.
    looked: HashMap<LockName, usize>,
}

impl Walk {
    fn add(&mut self, waiting: TicketId, before: (usize, LockName), holder: Option<TicketId>) {
        if self.seen.insert(waiting) {
            self.steps.push(Step { waiting: Some(waiting), before: Some(before), holder });
        }
    }
}

impl Machine {
    /// The cycle a new request would close by waiting.
    pub(super) fn cycle_of(&self, request: &Acquire, owner: &OwnerName) -> Option<Cycle> {
        let owner = scoped(request, owner)?;
        if self.index.owners.get(&owner)?.held.is_empty() {
            return None;
        }
        let wants: Vec<(LockName, Claim)> =
            request.wants.iter().map(|want| (want.name.clone(), want.claim)).collect();
        self.find_cycle(&owner, &wants, None)
    }

    /// The cycle a holder would close by waiting to be alone.
    pub(super) fn cycle_of_upgrade(&self, id: TicketId, name: &LockName) -> Option<Cycle> {
        let owner = self.ticket(id).owner_key(id);
        self.find_cycle(&owner, &[(name.clone(), Claim::Exclusive)], Some(id))
    }

    /// Two holders that wait for each other to leave.
    pub(super) fn cycle_of_upgrades(
        &self,
        first: TicketId,
        second: TicketId,
        name: &LockName,
    ) -> Cycle {
        let members = [second, first].map(|id| self.member(id, name.clone(), name.clone()));
        Cycle { members: members.into() }
    }

    fn find_cycle(
        &self,
        owner: &OwnerKey,
        wants: &[(LockName, Claim)],
        asking: Option<TicketId>,
    ) -> Option<Cycle> {
        let mut walk = Walk::default();
        walk.steps.push(Step { waiting: None, before: None, holder: None });
        let mut at = 0;
        while at < walk.steps.len() {
            let wants_here: Vec<(LockName, Claim)> = match walk.steps[at].waiting {
                None => wants.to_vec(),
                Some(id) => self.wants_of(id),
            };
            let upgrading = match walk.steps[at].waiting {
                None => asking,
                Some(id) => self.state.upgrades.get(&id).map(|upgrade| upgrade.ticket),
            };
            for (name, claim) in wants_here {
                if let Some(closing) = self.look(&mut walk, at, &name, claim, upgrading, owner) {
                    return Some(self.told(&walk, at, &name, closing));
                }
            }
            at += 1;
        }
        None
    }

    /// What a waiting ticket or upgrade waits for.
    fn wants_of(&self, id: TicketId) -> Vec<(LockName, Claim)> {
        if let Some(upgrade) = self.state.upgrades.get(&id) {
            return vec![(upgrade.name.clone(), Claim::Exclusive)];
        }
        self.ticket(id)
            .parts
            .as_slice()
            .iter()
            .map(|part| (part.name.clone(), part.claim))
            .collect()
    }

    /// Adds what the request of one step waits for at one lock; returns the holder that closes the cycle.
    fn look(
        &self,
        walk: &mut Walk,
        at: usize,
        name: &LockName,
        claim: Claim,
        upgrading: Option<TicketId>,
        owner: &OwnerKey,
    ) -> Option<TicketId> {
        let lock = self.state.locks.get(name)?;
        for (_, holder) in lock.holders().filter(|(_, holder)| Some(*holder) != upgrading) {
            if !self.is_in_the_way(lock, name, holder, claim) {
                continue;
            }
            let holders_owner = self.ticket(holder).owner_key(holder);
            if holders_owner == *owner {
                return Some(holder);
            }
            for waiting in self.waits_of(&holders_owner) {
                walk.add(waiting, (at, name.clone()), Some(holder));
            }
        }
        if upgrading.is_none() {
            self.look_ahead(walk, at, name, lock);
        }
        None
    }

    /// The tickets and upgrades an owner waits for.
    fn waits_of(&self, owner: &OwnerKey) -> Vec<TicketId> {
        match owner {
            OwnerKey::Fresh(id) => self.upgrades_of(*id),
            _ => self
                .index
                .owners
                .get(owner)
                .map(|owned| owned.waiting.iter().collect())
                .unwrap_or_default(),
        }
    }

    /// Everybody ahead in the queue must be served first.
    fn look_ahead(&self, walk: &mut Walk, at: usize, name: &LockName, lock: &Lock) {
        if let Some(upgrade) = lock.upgrade() {
            walk.add(upgrade, (at, name.clone()), None);
        }
        let place =
            walk.steps[at].waiting.and_then(|id| lock.place(id)).unwrap_or(lock.queue().len());
        let from = walk.looked.get(name).copied().unwrap_or(0);
        for ahead in lock.queue().take(place).skip(from) {
            walk.add(ahead, (at, name.clone()), None);
        }
        walk.looked.insert(name.clone(), from.max(place));
    }

    /// Whether the claim would not fit even if all other holders left.
    fn is_in_the_way(&self, lock: &Lock, name: &LockName, holder: TicketId, claim: Claim) -> bool {
        let held = self.ticket(holder).part(name).map_or(0, |part| part.claim.weight());
        held + claim.weight() > lock.capacity()
    }

    /// The cycle in words: from the asker over everybody it would wait for back to what it holds itself.
    fn told(&self, walk: &Walk, last: usize, last_name: &LockName, closing: TicketId) -> Cycle {
        let mut members = Vec::new();
        let mut waits_for = last_name.clone();
        let mut at = last;
        while let Some((before, name)) = &walk.steps[at].before {
            let step = &walk.steps[at];
            let id = step.holder.or(step.waiting).expect("only the first step is neither");
            let id = self.state.upgrades.get(&id).map_or(id, |upgrade| upgrade.ticket);
            members.push(self.member(id, name.clone(), waits_for));
            waits_for = name.clone();
            at = *before;
        }
        members.push(self.member(closing, last_name.clone(), waits_for));
        members.reverse();
        Cycle { members }
    }

    fn member(&self, id: TicketId, name: LockName, waits_for: LockName) -> CycleMember {
        let ticket = self.ticket(id);
        let owner: Owner = ticket.owner_shown(id);
        CycleMember { name, owner, session: ticket.session(), note: ticket.note.clone(), waits_for }
    }
}
