//! What an operator may do to the grants of others.

use super::acquire::check_at_most;
use super::record::{Kind, RecallRecord};
use super::{Decided, Machine, Told, invalid, refuse};
use crate::answer::{Answer, Ended, Force, Refusal};
use crate::change::{Action, Settled};
use crate::command::{Break, Reach, Recalling, Resize};
use crate::id::{Permits, TicketId, Token};
use crate::limits;
use crate::text::LockName;

impl Machine {
    /// Asks holders to give back soon; they read it in renewals, keep-alives and the feed. Nothing is taken by force.
    pub(super) fn recall(&mut self, recall: &Recalling) -> Decided<Answer> {
        check_at_most("within", recall.within, limits::TTL_MAX)?;
        let asked = self.holders_of(&recall.name, recall.token);
        let until = self.state.now + recall.within;
        let told = Told { by: Some(&recall.caller.key), reason: Some(&recall.reason) };
        for id in &asked {
            let recalls = &mut self.ticket_mut(*id).extra().recalls;
            recalls.retain(|before| before.name != recall.name);
            let force = Force { by: recall.caller.key.clone(), reason: recall.reason.clone() };
            recalls.push(RecallRecord { name: recall.name.clone(), until, force });
            self.tell(*id, &recall.name, Action::Recalled, told);
        }
        Ok(Answer::Recalled { asked: asked.len() })
    }

    fn holders_of(&self, name: &LockName, token: Option<Token>) -> Vec<TicketId> {
        let Some(lock) = self.state.locks.get(name) else { return vec![] };
        let wanted = |held: Token| token.is_none_or(|token| token == held);
        lock.holders().filter(|(held, _)| wanted(*held)).map(|(_, id)| id).collect()
    }

    /// Ends grants by force: of the holder with this token, or of whoever holds. A token that is not a holder's breaks
    /// nothing, since the operator looked at an older picture. Without a token a lock that a delay keeps shut is opened,
    /// too: nothing else could, and the delay may be a year.
    pub(super) fn break_grants(&mut self, breaking: &Break) -> Decided<Answer> {
        let ids = self.holders_of(&breaking.name, breaking.token);
        if !breaking.reach.covers(&breaking.name) || !self.within(&breaking.reach, &ids) {
            return refuse(Refusal::OutOfReach);
        }
        if ids.is_empty() && breaking.token.is_some() {
            return refuse(Refusal::Held(self.held_by(&breaking.name)));
        }
        let told = Told { by: Some(&breaking.caller.key), reason: Some(&breaking.reason) };
        let latest =
            |machine: &Self| machine.state.locks.get(&breaking.name).and_then(|lock| lock.latest());
        let before = latest(self);
        let mut names = Vec::new();
        for id in &ids {
            names.append(&mut self.end(*id, Ended::Broken, told));
        }
        if breaking.token.is_none() {
            self.let_open(&breaking.name, told);
            names.push(breaking.name.clone());
        }
        self.pump(names);
        Ok(Answer::Broken { broken: ids.len(), next_granted: latest(self) != before })
    }

    /// Whether an operator may touch every lock of these tickets, held or waited for.
    pub(super) fn within<'a>(
        &self,
        reach: &Reach,
        ids: impl IntoIterator<Item = &'a TicketId>,
    ) -> bool {
        let parts = |id| self.ticket(id).parts.as_slice().iter();
        ids.into_iter().all(|id| parts(*id).all(|part| reach.covers(&part.name)))
    }

    /// Sets the size of a busy semaphore until it is idle, whatever size requests name meanwhile. Growing grants at
    /// once; shrinking waits for holders to leave, and refuses waiters that want more than there will be.
    pub(super) fn resize(&mut self, resize: &Resize) -> Decided<Answer> {
        let Some(lock) = self.state.locks.get_mut(&resize.name).filter(|lock| !lock.is_idle())
        else {
            return Err(invalid("permits", "of an unused lock are those of its next request"));
        };
        if lock.kind == Kind::Plain {
            return refuse(Refusal::CapacityMismatch { name: resize.name.clone(), permits: None });
        }
        lock.resize(Some(resize.permits));
        let any_holder = lock.holders().next();
        let told = Told { by: Some(&resize.caller.key), reason: None };
        match any_holder {
            Some((_, id)) => self.tell(id, &resize.name, Action::Resized, told),
            None => self.tell_of_lock(&resize.name, Action::Resized, told),
        }
        let mut names = self.refuse_too_heavy(&resize.name, resize.permits);
        let waiting_before = self.lock_mut(&resize.name).queue_length();
        names.push(resize.name.clone());
        self.pump(names);
        let waiting_after = self.lock_mut(&resize.name).queue_length();
        Ok(Answer::Resized { permits: resize.permits, granted: waiting_before - waiting_after })
    }

    /// Ends the waits of those that would never fit, since they would block everybody behind them. Returns the locks
    /// they stood at.
    fn refuse_too_heavy(&mut self, name: &LockName, permits: Permits) -> Vec<LockName> {
        let too_heavy = |id: &TicketId| {
            let part = self.ticket(*id).part(name).expect("a waiter wants the lock");
            part.claim.weight() > u64::from(permits.get())
        };
        let lock = self.state.locks.get(name).expect("the caller looked: it is busy");
        let refused: Vec<TicketId> = lock.queue().filter(too_heavy).collect();
        let mut names = Vec::new();
        for id in refused {
            let mismatch = Refusal::CapacityMismatch { name: name.clone(), permits: Some(permits) };
            self.settle(id, Settled::Refused(Box::new(mismatch)));
            names.append(&mut self.end(id, Ended::Cancelled, Told::default()));
        }
        names
    }
}
