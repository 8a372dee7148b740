//! Converting and handing over.

use super::acquire::{check_ttl, finished};
use super::*;

impl Naive {
    pub(super) fn convert(&mut self, convert: &Convert) -> Said {
        if convert.wait > limits::WAIT_MAX {
            return Err("invalid wait".into());
        }
        let id = self.held(&convert.lease, Some(&convert.name))?;
        if self.lock(&convert.name).and_then(|lock| lock.permits).is_some() {
            return Err("invalid mode".into());
        }
        self.ticket_mut(id).leaves = None;
        let has = self.claim_at(id, &convert.name);
        match (has, convert.to) {
            (_, Claim::Permits { .. }) => Err("invalid mode".into()),
            (Claim::Exclusive, Claim::Shared) => {
                self.set(id, &convert.name, Claim::Shared, None);
                self.pump(std::slice::from_ref(&convert.name));
                Ok(self.told_granted(id))
            }
            (Claim::Shared, Claim::Exclusive) => self.upgrade(id, convert),
            _ => Ok(self.told_granted(id)),
        }
    }

    fn claim_at(&self, id: TicketId, name: &LockName) -> Claim {
        let parts = &self.ticket(id).parts;
        parts.iter().find(|part| part.name == *name).expect("it holds it").claim
    }

    fn set(&mut self, id: TicketId, name: &LockName, claim: Claim, token: Option<Token>) {
        let parts = &mut self.ticket_mut(id).parts;
        let part = parts.iter_mut().find(|part| part.name == *name).expect("it holds it");
        part.claim = claim;
        part.token = token.unwrap_or(part.token);
    }

    pub(super) fn may_be_alone(&self, name: &LockName) -> bool {
        self.holders(name).len() == 1 && self.opens(name) <= self.now
    }

    fn become_exclusive(&mut self, id: TicketId, name: &LockName) {
        let token = self.next_token();
        self.set(id, name, Claim::Exclusive, Some(token));
    }

    fn upgrade(&mut self, id: TicketId, convert: &Convert) -> Said {
        let name = &convert.name;
        if self.may_be_alone(name) {
            self.become_exclusive(id, name);
            return Ok(self.told_granted(id));
        }
        if let Some(upgrade) = self.upgrades.iter_mut().find(|upgrade| upgrade.name == *name) {
            if upgrade.ticket != id {
                return Err("deadlock".into());
            }
            upgrade.leaves = None;
            let pending = upgrade.id;
            return Ok(self.told_upgrade(pending));
        }
        if convert.wait.is_zero() {
            return Err(format!("held {}", self.others(id, name)));
        }
        let who = self.who(self.ticket(id));
        let want = Want { name: name.clone(), claim: Claim::Exclusive };
        if self.closes_cycle(&who, &[want], Some(id)) {
            return Err("deadlock".into());
        }
        let upgrade_id = self.next_ticket();
        self.upgrades.push(Upgrade {
            id: upgrade_id,
            ticket: id,
            name: name.clone(),
            arrived: self.now,
            wait_until: self.now + convert.wait,
            leaves: None,
        });
        Ok(self.told_upgrade(upgrade_id))
    }

    fn told_upgrade(&self, id: TicketId) -> String {
        let upgrade = self.upgrades.iter().find(|upgrade| upgrade.id == id).expect("it waits");
        let length = self.queue_length(&upgrade.name);
        let waited = self.now.since(upgrade.arrived).as_micros();
        let left = upgrade.wait_until.since(self.now).as_micros();
        format!("queued {} 1 of {length} waited {waited} left {left}", id.0)
    }

    /// Who keeps a holder from being alone.
    pub(super) fn others(&self, id: TicketId, name: &LockName) -> String {
        let others: Vec<Token> = self
            .holders(name)
            .into_iter()
            .filter(|(_, other, _)| *other != id)
            .map(|(token, ..)| token)
            .collect();
        let opens = self.opens(name).since(self.now);
        said::told_held(&others, std::slice::from_ref(name), self.queue_length(name), opens)
    }

    pub(super) fn pump_upgrade(&mut self, name: &LockName) {
        if !self.may_be_alone(name) {
            return;
        }
        let Some(place) = self.upgrades.iter().position(|upgrade| upgrade.name == *name) else {
            return;
        };
        let upgrade = self.upgrades.remove(place);
        self.become_exclusive(upgrade.ticket, name);
        let told = self.told_granted(upgrade.ticket);
        self.settled.push((upgrade.id, told));
    }

    pub(super) fn hand_over(&mut self, hand_over: &HandOver) -> Said {
        match &hand_over.life {
            Some(Life::Session(handle)) => self.check_session(handle)?,
            Some(Life::Own(ttl)) => check_ttl(*ttl)?,
            None => {}
        }
        let key = &hand_over.caller.key;
        let scope = match &hand_over.request {
            RequestName::Client(text) => {
                Some(Scope::HandOver(key.clone(), hand_over.lease, text.to_string()))
            }
            RequestName::Unnamed => None,
        };
        match scope.as_ref().and_then(|scope| self.seen(scope)).map(|seen| seen.state) {
            Some(State::Lives(id)) => return Ok(self.told_granted(id)),
            Some(State::Over(ended, token, _)) => return Err(finished(ended, token)),
            _ => {}
        }
        let old = self.held(&hand_over.lease, hand_over.name.as_ref())?;
        let new_lease = hand_over.new_lease.hash();
        if self.tickets.iter().any(|ticket| ticket.lease == new_lease) {
            return Err("invalid lease".into());
        }
        Ok(self.move_grant(old, hand_over, scope))
    }

    fn move_grant(&mut self, old: TicketId, hand_over: &HandOver, scope: Option<Scope>) -> String {
        let now = self.now;
        let mut heir = self.ticket(old).clone();
        heir.id = self.next_ticket();
        heir.life = match (hand_over.life, heir.life) {
            (Some(Life::Session(handle)), _) => Lives::Session(handle.id),
            (Some(Life::Own(ttl)), _) | (None, Lives::Own { ttl, .. }) => {
                Lives::Own { ttl, until: now + ttl }
            }
            (None, life) => life,
        };
        heir.key = hand_over.caller.key.clone();
        heir.lease = hand_over.new_lease.hash();
        heir.depth = 1;
        heir.ids = scope.iter().cloned().collect();
        heir.text = None;
        heir.leaves = None;
        let names: Vec<LockName> = heir.parts.iter().map(|part| part.name.clone()).collect();
        for name in &names {
            self.end_upgrade(old, name, Ended::HandedOver);
        }
        for part in &mut heir.parts {
            self.tokens += 1;
            part.token = Token::new(self.tokens);
        }
        self.forget(old, Ended::HandedOver);
        let id = heir.id;
        self.tickets.push(heir);
        if let Some(scope) = scope {
            self.remember(scope, None, State::Lives(id));
        }
        self.pump(&names);
        self.told_granted(id)
    }
}
