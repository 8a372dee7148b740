//! What an operator does.

use super::acquire::mismatch;
use super::*;

impl Naive {
    pub(super) fn holders_with(&self, name: &LockName, token: Option<Token>) -> Vec<TicketId> {
        let holders = self.holders(name).into_iter();
        holders
            .filter(|(held, ..)| token.is_none_or(|token| token == *held))
            .map(|(_, id, _)| id)
            .collect()
    }

    /// Whether an operator may touch all locks of these tickets.
    pub(super) fn within(&self, reach: &Reach, ids: &[TicketId]) -> bool {
        ids.iter().all(|id| self.ticket(*id).parts.iter().all(|part| reach.covers(&part.name)))
    }

    pub(super) fn break_grants(&mut self, breaking: &Break) -> Said {
        let ids = self.holders_with(&breaking.name, breaking.token);
        if !breaking.reach.covers(&breaking.name) || !self.within(&breaking.reach, &ids) {
            return Err("out of reach".into());
        }
        if ids.is_empty() && breaking.token.is_some() {
            let tokens: Vec<Token> =
                self.holders(&breaking.name).into_iter().map(|(token, ..)| token).collect();
            let opens = self.opens(&breaking.name).since(self.now);
            let queue = self.queue_length(&breaking.name);
            let names = std::slice::from_ref(&breaking.name);
            return Err(format!("held {}", said::told_held(&tokens, names, queue, opens)));
        }
        let before = self.tokens;
        let mut names = vec![];
        let (by, reason) = (breaking.caller.key.clone(), breaking.reason.clone());
        self.force = Some(Force { by, reason });
        for id in &ids {
            names.append(&mut self.end(*id, Ended::Broken));
        }
        self.force = None;
        if breaking.token.is_none() {
            names.push(breaking.name.clone());
            let now = self.now;
            let shut = |lock: &&mut Lock| lock.name == breaking.name && lock.opens > now;
            if let Some(lock) = self.locks.iter_mut().find(shut) {
                (lock.opens, lock.opening) = (now, false);
            }
        }
        self.pump(&names);
        let newer = self.holders(&breaking.name).iter().any(|(token, ..)| token.get() > before);
        Ok(format!("broken {} next {newer}", ids.len()))
    }

    pub(super) fn resize(&mut self, resize: &Resize) -> Said {
        if self.is_idle(&resize.name) {
            return Err("invalid permits".into());
        }
        let permits = resize.permits.get();
        let lock = self.locks.iter_mut().find(|lock| lock.name == resize.name).expect("it is busy");
        if lock.permits.is_none() {
            return Err(mismatch(&resize.name, None));
        }
        lock.resized = Some(permits);
        let mut names = vec![];
        let too_heavy = |(_, claim): &(TicketId, Claim)| weight(*claim) > u64::from(permits);
        for (id, _) in self.queue(&resize.name).into_iter().filter(too_heavy) {
            let told = mismatch(&resize.name, Some(permits));
            self.settled.push((id, format!("refused: {told}")));
            names.append(&mut self.end(id, Ended::Cancelled));
        }
        let before = self.queue_length(&resize.name);
        names.push(resize.name.clone());
        self.pump(&names);
        let granted = before - self.queue_length(&resize.name);
        Ok(format!("resized {permits} granted {granted}"))
    }
}
