//! Changing the mode of a held lock, and handing a grant to another process.

use super::acquire::{check_at_most, check_ttl};
use super::record::{Kind, Ticket, TicketLife, Ttl, Upgrade};
use super::request::{MADE, Remembered, RequestState};
use super::{Decided, Machine, Told, invalid, refuse};
use crate::answer::{Answer, Ended, HeldBy, Queued, Refusal, Released};
use crate::change::{Action, Settled};
use crate::command::{Claim, Convert, HandOver, Life, RequestName};
use crate::id::{RequestKey, TicketId};
use crate::limits;
use crate::text::{LockName, RequestId};

impl Machine {
    pub(super) fn convert(&mut self, convert: &Convert) -> Decided<Answer> {
        check_at_most("wait", convert.wait, limits::WAIT_MAX)?;
        let id = self.held_by_lease(&convert.lease, Some(&convert.name))?;
        if self.lock_mut(&convert.name).kind != Kind::Plain {
            return Err(invalid("mode", "a semaphore has none"));
        }
        // Whoever knows the lease has the answer.
        self.set_leaves_at(id, None);
        let has = self.ticket(id).part(&convert.name).expect("it holds it").claim;
        match (has, convert.to) {
            (_, Claim::Permits { .. }) => Err(invalid("mode", "must be shared or exclusive")),
            (Claim::Exclusive, Claim::Shared) => {
                self.downgrade(id, &convert.name);
                Ok(Answer::Granted(Box::new(self.granted(id))))
            }
            (Claim::Shared, Claim::Exclusive) => self.upgrade(id, convert),
            _ => Ok(Answer::Granted(Box::new(self.granted(id)))),
        }
    }

    /// At once, and with the same token: what others were promised does not change.
    fn downgrade(&mut self, id: TicketId, name: &LockName) {
        self.set_claim(id, name, Claim::Shared);
        if let Some(extra) = &mut self.ticket_mut(id).extra {
            extra.upgraded.retain(|(upgraded, _)| upgraded != name);
        }
        self.tell(id, name, Action::Converted, Told::default());
        self.pump([name.clone()]);
    }

    fn set_claim(&mut self, id: TicketId, name: &LockName, claim: Claim) {
        let parts = self.ticket_mut(id).parts.as_mut_slice();
        let part = parts.iter_mut().find(|part| part.name == *name).expect("it holds it");
        let before = std::mem::replace(&mut part.claim, claim);
        self.lock_mut(name).reclaim(before, claim);
    }

    /// Waits ahead of the queue to be alone. Two that wait for each other to leave never would: the second is refused.
    fn upgrade(&mut self, id: TicketId, convert: &Convert) -> Decided<Answer> {
        let name = &convert.name;
        let now = self.state.now;
        let lock = self.lock_mut(name);
        if lock.may_be_alone(now) {
            self.become_exclusive(id, name);
            return Ok(Answer::Granted(Box::new(self.granted(id))));
        }
        if let Some(pending) = lock.upgrade() {
            if self.state.upgrades[&pending].ticket == id {
                self.set_leaves_at(pending, None);
                return Ok(Answer::Queued(self.upgrade_queued(pending)));
            }
            let first = self.state.upgrades[&pending].ticket;
            return refuse(Refusal::Deadlock(self.cycle_of_upgrades(first, id, name)));
        }
        if convert.wait.is_zero() {
            return refuse(Refusal::Held(self.held_by_others(id, name)));
        }
        if let Some(cycle) = self.cycle_of_upgrade(id, name) {
            return refuse(Refusal::Deadlock(cycle));
        }
        Ok(Answer::Queued(self.start_upgrade(id, convert)))
    }

    fn start_upgrade(&mut self, id: TicketId, convert: &Convert) -> Queued {
        let upgrade_id = self.next_ticket();
        let now = self.state.now;
        let wait_until = now + convert.wait;
        let upgrade = Upgrade {
            ticket: id,
            name: convert.name.clone(),
            arrived_at: now,
            wait_until,
            leaves_at: None,
        };
        self.state.upgrades.insert(upgrade_id, upgrade);
        let lock = self.lock_mut(&convert.name);
        let first = lock.queue_length() == 0;
        lock.set_upgrade(Some(upgrade_id));
        if first {
            self.index.waited_locks += 1;
        }
        self.index_upgrade(upgrade_id);
        self.tell(id, &convert.name, Action::Queued, Told::default());
        self.upgrade_queued(upgrade_id)
    }

    pub(super) fn index_upgrade(&mut self, upgrade_id: TicketId) {
        let upgrade = &self.state.upgrades[&upgrade_id];
        if let Some(owner) = self.ticket(upgrade.ticket).shared_owner() {
            self.index.owners.entry(owner).or_default().waiting.insert(upgrade_id);
        }
        self.index.deadlines.add(upgrade.wait_until, super::due::Due::Wait(upgrade_id));
        if let Some(at) = upgrade.leaves_at {
            self.index.deadlines.add(at, super::due::Due::Leave(upgrade_id));
        }
    }

    pub(super) fn upgrade_queued(&self, upgrade_id: TicketId) -> Queued {
        let upgrade = &self.state.upgrades[&upgrade_id];
        let now = self.state.now;
        Queued {
            ticket: upgrade_id,
            request: self.upgrade_request(upgrade.ticket, upgrade_id),
            position: 1,
            queue_length: self.known_lock(&upgrade.name).queue_length(),
            waited: now.since(upgrade.arrived_at),
            wait_left: upgrade.wait_until.since(now),
        }
    }

    /// The last other holder left: the upgrade is served before the queue.
    pub(super) fn pump_upgrade(&mut self, name: &LockName) {
        let Some(lock) = self.state.locks.get(name) else { return };
        let alone = lock.may_be_alone(self.state.now);
        let Some(upgrade_id) = lock.upgrade().filter(|_| alone) else { return };
        let id = self.state.upgrades[&upgrade_id].ticket;
        self.drop_upgrade(upgrade_id);
        self.become_exclusive(id, name);
        self.ticket_mut(id).extra().upgraded.push((name.clone(), upgrade_id));
        let outcome = Settled::Granted(Box::new(self.granted(id)));
        self.settle(upgrade_id, outcome);
    }

    /// The id of an upgrade that waits. It is not the grant's: who gives it up keeps the shared grant. Of the grant's
    /// number, so that it is found after the wait, too, and of its lease, so that only its holder can know it.
    fn upgrade_request(&self, id: TicketId, upgrade_id: TicketId) -> RequestId {
        let lease = self.ticket(id).lease.hash();
        let secret = RequestKey::of(&[b"upgrade", &lease, &upgrade_id.0.to_le_bytes()]);
        RequestId::made(format!("{MADE}{}.{}-{}", id.0, upgrade_id.0, secret.letters()))
    }

    /// The live grant and the upgrade behind an id that an upgrade was told.
    pub(super) fn upgrade_made(&self, text: &RequestId) -> Option<(TicketId, TicketId)> {
        let (grant, upgrade) =
            text.as_str().strip_prefix(MADE)?.split_once('-')?.0.split_once('.')?;
        let (id, upgrade_id) = (TicketId(grant.parse().ok()?), TicketId(upgrade.parse().ok()?));
        let lives = self.state.tickets.contains_key(&id);
        (lives && self.upgrade_request(id, upgrade_id) == *text).then_some((id, upgrade_id))
    }

    /// Gives up an upgrade, in whatever state it is: it waits no more, or what it got is shared again. The grant stays.
    pub(super) fn cancel_upgrade(&mut self, id: TicketId, upgrade_id: TicketId) -> Released {
        let upgraded = self.ticket(id).extra.as_ref().map(|extra| extra.upgraded.as_slice());
        let done = upgraded.unwrap_or_default().iter().find(|(_, by)| *by == upgrade_id);
        if let Some((name, _)) = done.cloned() {
            self.downgrade(id, &name);
        } else if self.state.upgrades.contains_key(&upgrade_id) {
            self.leave(upgrade_id);
        }
        let ticket = self.ticket(id);
        Released {
            released: false,
            cancelled: true,
            depth: ticket.depth,
            held_for: ticket.held_for(self.state.now),
            locks: vec![],
        }
    }

    /// An exclusive grant is a new one: it has a new token.
    fn become_exclusive(&mut self, id: TicketId, name: &LockName) {
        self.set_claim(id, name, Claim::Exclusive);
        self.retoken(id, name);
        self.tell(id, name, Action::Converted, Told::default());
    }

    /// Gives one lock of a ticket a new token, and the lock the ticket as its holder.
    fn retoken(&mut self, id: TicketId, name: &LockName) {
        let token = self.next_token();
        let parts = self.ticket_mut(id).parts.as_mut_slice();
        let part = parts.iter_mut().find(|part| part.name == *name).expect("it holds it");
        let (before, claim) = (std::mem::replace(&mut part.token, token), part.claim);
        let lock = self.lock_mut(name);
        lock.free(before, claim);
        lock.hold(token, id, claim);
    }

    /// Takes an upgrade out of every index; the grant stays as it is.
    pub(super) fn drop_upgrade(&mut self, upgrade_id: TicketId) {
        let upgrade = self.state.upgrades.remove(&upgrade_id).expect("the caller looked: it waits");
        if let Some(owner) = self.ticket(upgrade.ticket).shared_owner()
            && let Some(owned) = self.index.owners.get_mut(&owner)
        {
            owned.waiting.remove(upgrade_id);
        }
        self.index.deadlines.remove(upgrade.wait_until, super::due::Due::Wait(upgrade_id));
        if let Some(at) = upgrade.leaves_at {
            self.index.deadlines.remove(at, super::due::Due::Leave(upgrade_id));
        }
        let lock = self.lock_mut(&upgrade.name);
        lock.set_upgrade(None);
        if lock.queue_length() == 0 {
            self.index.waited_locks -= 1;
        }
    }

    /// A ticket loses a lock while it waits to be alone there: that wait ends, too.
    pub(super) fn end_upgrade(
        &mut self,
        id: TicketId,
        name: &LockName,
        ended: Ended,
        told: Told<'_>,
    ) {
        let pending = self.state.locks.get(name).and_then(|lock| lock.upgrade());
        if let Some(upgrade_id) = pending.filter(|at| self.state.upgrades[at].ticket == id) {
            self.refuse_upgrade(upgrade_id, ended, told);
        }
    }

    pub(super) fn refuse_upgrade(&mut self, upgrade_id: TicketId, ended: Ended, told: Told<'_>) {
        let upgrade = &self.state.upgrades[&upgrade_id];
        let token = self.ticket(upgrade.ticket).part(&upgrade.name).map(|part| part.token);
        self.drop_upgrade(upgrade_id);
        let finished = Refusal::RequestFinished { ended, token, force: told.force() };
        self.settle(upgrade_id, Settled::Refused(Box::new(finished)));
    }

    /// Who keeps a shared holder from being alone.
    pub(super) fn held_by_others(&self, id: TicketId, name: &LockName) -> HeldBy {
        let own = self.ticket(id).part(name).map(|part| part.token);
        let mut held = self.held_by(name);
        held.holders.retain(|holder| Some(holder.token) != own);
        held
    }

    /// The upgrades a ticket waits for.
    pub(super) fn upgrades_of(&self, id: TicketId) -> Vec<TicketId> {
        let locks = self
            .ticket(id)
            .parts
            .as_slice()
            .iter()
            .filter_map(|part| self.state.locks.get(&part.name));
        let upgrades = locks.filter_map(|lock| lock.upgrade());
        upgrades.filter(|upgrade_id| self.state.upgrades[upgrade_id].ticket == id).collect()
    }

    /// Gives the grant to whoever was given the handle: a new lease, higher tokens, never free in between.
    pub(super) fn hand_over(&mut self, hand_over: &HandOver) -> Decided<Answer> {
        match &hand_over.life {
            Some(Life::Session(handle)) => self.check_session(handle)?,
            Some(Life::Own(ttl)) => check_ttl(*ttl)?,
            None => {}
        }
        let request = hand_over_key(hand_over);
        if let Some(key) = &request
            && let Some(seen) = self.state.requests.get(key)
        {
            return match seen.state {
                RequestState::Ticket(id) => Ok(Answer::Granted(Box::new(self.granted(id)))),
                RequestState::Ended(ended, token) => {
                    refuse(self.finished(ended, token, &hand_over.name))
                }
                RequestState::Session(_) => refuse(Refusal::RequestIdReused),
            };
        }
        let old = self.held_by_lease(&hand_over.lease, hand_over.name.as_ref())?;
        if self.ticket_of_lease(&hand_over.new_lease.hash()).is_some() {
            return Err(invalid("lease", "is in use: dice fell the same twice"));
        }
        let new = self.move_grant(old, hand_over);
        if let Some(key) = request {
            let remembered =
                Remembered { body: 0, state: RequestState::Ticket(new), numbered: false };
            self.state.requests.insert(key, remembered);
            self.ticket_mut(new).extra().requests.push(key);
        }
        Ok(Answer::Granted(Box::new(self.granted(new))))
    }

    fn move_grant(&mut self, old: TicketId, hand_over: &HandOver) -> TicketId {
        let new = self.next_ticket();
        let heir = self.heir(old, hand_over);
        let names: Vec<LockName> =
            heir.parts.as_slice().iter().map(|part| part.name.clone()).collect();
        let told = Told { by: Some(&hand_over.caller.key), reason: None };
        for name in &names {
            self.end_upgrade(old, name, Ended::HandedOver, told);
            let past = self.past(old, name, Ended::HandedOver, told);
            self.lock_mut(name).remember(past);
        }
        self.state.tickets.insert(new, heir);
        for name in &names {
            self.retoken(new, name);
        }
        for name in &names {
            self.tell(old, name, Action::HandedOver, told);
        }
        // The old ticket is over without its locks having been free.
        self.forget_ticket(old, Ended::HandedOver, told);
        self.index_ticket(new);
        for name in &names {
            self.tell(new, name, Action::Granted, Told::default());
        }
        // Who stood behind an upgrade of the old holder may be next now.
        self.pump(names);
        new
    }

    /// The ticket of the new holder.
    fn heir(&self, old: TicketId, hand_over: &HandOver) -> Ticket {
        let now = self.state.now;
        let mut heir = self.ticket(old).clone();
        heir.life = match hand_over.life {
            None => heir.life,
            Some(Life::Session(handle)) => TicketLife::Session(handle.id),
            Some(Life::Own(ttl)) => TicketLife::Own { ttl: Ttl::new(ttl), expires_at: now + ttl },
        };
        if let (None, TicketLife::Own { ttl, expires_at }) = (&hand_over.life, &mut heir.life) {
            *expires_at = now + ttl.get();
        }
        heir.key = hand_over.caller.key.clone();
        heir.lease = hand_over.new_lease;
        heir.depth = 1;
        if let Some(extra) = &mut heir.extra {
            extra.requests.clear();
            extra.request = None;
            extra.named = false;
            extra.leaves_at = None;
            extra.recalls.clear();
            extra.upgraded.clear();
        }
        heir
    }
}

fn hand_over_key(hand_over: &HandOver) -> Option<RequestKey> {
    let RequestName::Client(text) = &hand_over.request else { return None };
    Some(RequestKey::of(&[
        b"hand over",
        hand_over.caller.key.as_str().as_bytes(),
        &hand_over.lease,
        text.as_str().as_bytes(),
    ]))
}
