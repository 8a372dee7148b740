//! How grants and waits end.

use super::acquire::finished;
use super::*;

impl Naive {
    /// Ends a ticket, held or waiting; the caller pumps its locks.
    pub(super) fn end(&mut self, id: TicketId, ended: Ended) -> Vec<LockName> {
        let names: Vec<LockName> =
            self.ticket(id).parts.iter().map(|part| part.name.clone()).collect();
        for name in &names {
            self.end_lock(id, name, ended);
        }
        self.forget(id, ended);
        names
    }

    /// What the end of one lock of a ticket leaves behind.
    pub(super) fn end_lock(&mut self, id: TicketId, name: &LockName, ended: Ended) {
        self.end_upgrade(id, name, ended);
        let now = self.now;
        let ticket = self.ticket(id);
        let Some(granted) = ticket.granted else { return };
        let mut opens = granted + ticket.at_least;
        if matches!(ended, Ended::Expired | Ended::SessionEnded) {
            opens = opens.max(now + ticket.lock_delay);
        }
        let lock =
            self.locks.iter_mut().find(|lock| lock.name == *name).expect("a held lock is known");
        if opens > now && opens > lock.opens {
            lock.opens = opens;
            lock.opening = true;
        }
    }

    pub(super) fn end_upgrade(&mut self, id: TicketId, name: &LockName, ended: Ended) {
        let found = self.upgrades.iter().position(|u| u.ticket == id && u.name == *name);
        if let Some(place) = found {
            let upgrade = self.upgrades.remove(place);
            let token = self.token_at(id, name);
            self.settled.push((upgrade.id, format!("refused: {}", finished(ended, token))));
        }
    }

    fn token_at(&self, id: TicketId, name: &LockName) -> Option<Token> {
        let part = self.ticket(id).parts.iter().find(|part| part.name == *name);
        part.map(|part| part.token)
    }

    /// Takes the ticket away; its ids and its lease are remembered.
    pub(super) fn forget(&mut self, id: TicketId, ended: Ended) {
        let place = self.tickets.iter().position(|ticket| ticket.id == id).expect("it lives");
        let ticket = self.tickets.remove(place);
        let token = ticket.granted.map(|_| ticket.parts[0].token);
        for scope in &ticket.ids {
            self.end_request(scope, ended, token);
        }
        let Some(token) = token else { return };
        let held = self.now.since(ticket.granted.expect("it has a token"));
        let lease = ticket.lease;
        self.ended_leases.retain(|before| before.lease != lease);
        let name = (ticket.parts.len() == 1).then(|| ticket.parts[0].name.clone());
        let (at, force) = (self.now, self.force.clone());
        let over = EndedLease { lease, ended, at, held, token, name, force: force.clone() };
        self.ended_leases.push(over);
        if let (Lives::Session(session), Ended::Broken | Ended::HandedOver | Ended::Expired) =
            (ticket.life, ended)
            && let Some(session) = self.sessions.iter_mut().find(|s| s.id == session)
        {
            let now = self.now;
            let parts = ticket.parts.into_iter();
            let lost = parts.map(|part| (now, part.name, part.token, force.clone()));
            session.lost.extend(lost);
        }
    }

    pub(super) fn end_and_pump(&mut self, id: TicketId, ended: Ended) {
        let names = self.end(id, ended);
        self.pump(&names);
    }

    fn granted_by(&self, lease: &[u8; 32]) -> Option<TicketId> {
        let granted = |ticket: &&Ticket| ticket.granted.is_some() && ticket.lease == *lease;
        self.tickets.iter().find(granted).map(|ticket| ticket.id)
    }

    fn ended_lease(&self, lease: &[u8; 32]) -> Option<&EndedLease> {
        self.ended_leases.iter().find(|ended| ended.lease == *lease)
    }

    pub(super) fn lost(&self, lease: &[u8; 32]) -> String {
        match self.ended_lease(lease) {
            None => "lost Unknown None 0".into(),
            Some(ended) => {
                let reason = match ended.ended {
                    Ended::Expired => "Expired",
                    Ended::SessionEnded => "SessionEnded",
                    Ended::HandedOver => "HandedOver",
                    Ended::Broken => "Broken",
                    _ => "Unknown",
                };
                let ago = self.now.since(ended.at).as_micros();
                let force = said::told_force(ended.force.as_ref());
                format!("lost {reason}{force} {:?} {ago}", Some(ended.token))
            }
        }
    }

    /// A lease of another lock is as good as unknown.
    fn lost_at(&self, lease: &[u8; 32], name: Option<&LockName>) -> String {
        let of_one = self.ended_lease(lease).and_then(|ended| ended.name.as_ref());
        match of_one.zip(name).is_some_and(|(held, named)| held != named) {
            true => "lost Unknown None 0".into(),
            false => self.lost(lease),
        }
    }

    /// The granted ticket of a lease that holds the named lock.
    pub(super) fn held(
        &self,
        lease: &[u8; 32],
        name: Option<&LockName>,
    ) -> Result<TicketId, String> {
        let has = |id: &TicketId| {
            name.is_none_or(|name| self.ticket(*id).parts.iter().any(|part| part.name == *name))
        };
        self.granted_by(lease).filter(has).ok_or_else(|| self.lost_at(lease, name))
    }

    pub(super) fn release(&mut self, release: &Release) -> Said {
        let lease = match &release.target {
            Target::Session(handle) => {
                self.check_session(handle)?;
                return Ok(self.release_session(handle.id));
            }
            Target::Lease(lease) => *lease,
        };
        let key = release.caller.key.clone();
        let scope = release.request.as_ref().map(|id| Scope::Release(key, lease, id.to_string()));
        if let Some(State::Over(_, token, _)) =
            scope.as_ref().and_then(|scope| self.seen(scope)).map(|seen| seen.state)
        {
            return Ok(self.released_again(&lease, token.is_some()));
        }
        let Some(id) = self.granted_by(&lease) else {
            let of_one = self.ended_lease(&lease).and_then(|ended| ended.name.as_ref());
            if of_one.zip(release.name.as_ref()).is_some_and(|(held, named)| held != named) {
                return Err("lost Unknown None 0".into());
            }
            return match self.given_back(&lease) {
                Some(held) => Ok(told_released(true, false, 0, held, &[])),
                None => Err(self.lost(&lease)),
            };
        };
        let ticket = self.ticket(id).clone();
        let names: Vec<LockName> = release.names.iter().chain(&release.name).cloned().collect();
        if names.iter().any(|name| ticket.parts.iter().all(|part| part.name != *name)) {
            return Err("lost Unknown None 0".into());
        }
        Ok(self.release_ticket(&ticket, release, scope))
    }

    fn release_ticket(
        &mut self,
        ticket: &Ticket,
        release: &Release,
        scope: Option<Scope>,
    ) -> String {
        let named = |part: &&Part| release.names.contains(&part.name);
        let mut given: Vec<Part> = ticket.parts.iter().filter(named).cloned().collect();
        let part = !given.is_empty() && given.len() < ticket.parts.len();
        let held = self.now.since(ticket.granted.expect("it is granted"));
        if let Some(scope) = scope.filter(|_| ticket.depth > 1 || part) {
            let token = part.then(|| ticket.parts[0].token);
            self.remember(scope, None, State::Over(Ended::Released, token, self.now));
        }
        if ticket.depth > 1 {
            self.leave_level(ticket.id);
            return told_released(false, false, ticket.depth - 1, held, &[]);
        }
        if part {
            given.sort_by(|a, b| a.name.cmp(&b.name));
            let names: Vec<LockName> = given.iter().map(|part| part.name.clone()).collect();
            for name in &names {
                self.end_lock(ticket.id, name, Ended::Released);
            }
            self.ticket_mut(ticket.id).parts.retain(|part| !names.contains(&part.name));
            self.pump(&names);
            let locks: Vec<Part> = ticket.parts.iter().filter(named).cloned().collect();
            return told_released(true, false, 0, held, &locks);
        }
        self.end_and_pump(ticket.id, Ended::Released);
        told_released(true, false, 0, held, &ticket.parts)
    }

    /// One level less; beyond one id for each level, the latest id is over.
    fn leave_level(&mut self, id: TicketId) {
        let ticket = self.ticket_mut(id);
        ticket.depth -= 1;
        let token = ticket.parts[0].token;
        if ticket.ids.len() > ticket.depth as usize {
            let over = ticket.ids.pop().expect("there are more ids than levels");
            self.end_request(&over, Ended::Released, Some(token));
        }
    }

    fn given_back(&self, lease: &[u8; 32]) -> Option<Duration> {
        let ended = self.ended_lease(lease)?;
        matches!(ended.ended, Ended::Released | Ended::Cancelled).then_some(ended.held)
    }

    fn released_again(&self, lease: &[u8; 32], gave_locks: bool) -> String {
        let before = self.given_back(lease);
        let released = before.is_some() || gave_locks;
        let depth = self.tickets.iter().find(|t| t.lease == *lease).map_or(0, |t| t.depth);
        told_released(
            released,
            false,
            if released { 0 } else { depth },
            before.unwrap_or_default(),
            &[],
        )
    }

    fn release_session(&mut self, id: SessionId) -> String {
        let (released, cancelled) =
            self.end_tickets_of(id, Ended::Released, &finished(Ended::Cancelled, None));
        told_released(released > 0, cancelled > 0, 0, Duration::ZERO, &[])
    }

    /// Ends everything of a session: how many grants, how many places.
    pub(super) fn end_tickets_of(
        &mut self,
        id: SessionId,
        ended: Ended,
        told: &str,
    ) -> (usize, usize) {
        let of_session =
            |ticket: &&Ticket| matches!(ticket.life, Lives::Session(session) if session == id);
        let mut ids: Vec<(TicketId, bool)> = self
            .tickets
            .iter()
            .filter(of_session)
            .map(|ticket| (ticket.id, ticket.granted.is_some()))
            .collect();
        ids.sort();
        for (id, _) in ids.iter().filter(|(_, granted)| !granted) {
            self.settled.push((*id, format!("refused: {told}")));
        }
        let mut names = vec![];
        for (id, _) in &ids {
            names.append(&mut self.end(*id, ended));
        }
        names.sort();
        self.pump(&names);
        let released = ids.iter().filter(|(_, granted)| *granted).count();
        (released, ids.len() - released)
    }

    pub(super) fn cancel(&mut self, cancel: &Cancel) -> Said {
        if let Some(handle) = &cancel.session {
            self.check_session(handle)?;
        }
        let session = cancel.session.map(|handle| handle.id);
        let scope = super::acquire::scope(
            &cancel.caller.key,
            session,
            cancel.names.clone(),
            &cancel.request,
        );
        if cancel.names.is_empty() && !matches!(scope, Scope::Numbered(..)) {
            return Err("invalid name".into());
        }
        match self.seen(&scope).map(|seen| seen.state) {
            Some(State::Lives(id)) => Ok(self.give_up(id, &scope)),
            Some(State::Over(ended, token, _)) => match ended {
                Ended::Released | Ended::Cancelled | Ended::TimedOut => {
                    Ok(told_released(token.is_some(), true, 0, Duration::ZERO, &[]))
                }
                _ => Err(finished(ended, token)),
            },
            Some(State::Opened(_)) => Err("request id reused".into()),
            None => {
                match &scope {
                    Scope::Numbered(..) => self.use_number(&scope),
                    _ => self.remember(scope, None, State::Over(Ended::Cancelled, None, self.now)),
                }
                Ok(told_released(false, true, 0, Duration::ZERO, &[]))
            }
        }
    }

    fn give_up(&mut self, id: TicketId, scope: &Scope) -> String {
        let ticket = self.ticket(id).clone();
        let held = ticket.granted.map_or(Duration::ZERO, |at| self.now.since(at));
        if ticket.depth > 1 {
            let ticket = self.ticket_mut(id);
            ticket.depth -= 1;
            ticket.ids.retain(|id| id != scope);
            let depth = ticket.depth;
            self.end_request(scope, Ended::Cancelled, None);
            return told_released(false, true, depth, held, &[]);
        }
        self.leave(id);
        let locks = if ticket.granted.is_some() { ticket.parts } else { vec![] };
        told_released(ticket.granted.is_some(), true, 0, held, &locks)
    }

    /// Gives up a place, a grant or an upgrade.
    pub(super) fn leave(&mut self, id: TicketId) {
        if let Some(upgrade) = self.upgrades.iter().find(|upgrade| upgrade.id == id) {
            let (ticket, name) = (upgrade.ticket, upgrade.name.clone());
            self.end_upgrade(ticket, &name, Ended::Cancelled);
            return self.pump(&[name]);
        }
        if self.ticket(id).granted.is_none() {
            let told = format!("refused: {}", finished(Ended::Cancelled, None));
            self.settled.push((id, told));
        }
        self.end_and_pump(id, Ended::Cancelled);
    }

    pub(super) fn detach(&mut self, detach: Detach) -> String {
        let id = detach.ticket;
        let at = self.now + limits::WAITER_GRACE;
        let upgrade = self.upgrades.iter_mut().find(|upgrade| upgrade.id == id);
        let ticket = self.tickets.iter_mut().find(|ticket| ticket.id == id);
        match (upgrade, ticket) {
            (None, None) => {}
            _ if !detach.returning => self.leave(id),
            (Some(upgrade), _) => upgrade.leaves = Some(at),
            (None, Some(ticket)) => {
                if matches!(ticket.life, Lives::Own { .. }) {
                    ticket.leaves = Some(at);
                }
            }
        }
        "done".into()
    }

    pub(super) fn resume(&mut self) -> String {
        let at = self.now + limits::WAITER_GRACE;
        for ticket in self.tickets.iter_mut().filter(|ticket| ticket.granted.is_none()) {
            if matches!(ticket.life, Lives::Own { .. }) || ticket.text.is_none() {
                ticket.leaves = Some(at);
            }
        }
        for upgrade in &mut self.upgrades {
            upgrade.leaves = Some(at);
        }
        "done".into()
    }

    pub(super) fn renew(&mut self, renew: &Renew) -> Said {
        if let Some(ttl) = renew.ttl {
            super::acquire::check_ttl(ttl)?;
        }
        let own_ttl = || match renew.ttl {
            Some(_) => Err("invalid ttl".to_owned()),
            None => Ok(()),
        };
        let lease = match &renew.target {
            Target::Session(handle) => {
                self.check_session(handle)?;
                own_ttl()?;
                return Ok(format!("renewed [] {}", self.hear_of(handle.id)));
            }
            Target::Lease(lease) => lease,
        };
        let id = self.held(lease, renew.name.as_ref())?;
        let now = self.now;
        let left = match &mut self.ticket_mut(id).life {
            Lives::Session(session) => {
                let session = *session;
                own_ttl()?;
                self.hear_of(session)
            }
            Lives::Own { ttl, until } => {
                *ttl = renew.ttl.unwrap_or(*ttl);
                *until = (*until).max(now + *ttl);
                format!("{} {}", ttl.as_micros(), until.since(now).as_micros())
            }
        };
        self.ticket_mut(id).leaves = None;
        Ok(format!("renewed {} {left}", said::parts(&self.ticket(id).parts)))
    }
}

pub(super) fn told_released(
    released: bool,
    cancelled: bool,
    depth: u32,
    held: Duration,
    locks: &[Part],
) -> String {
    let locks = said::parts(locks);
    format!(
        "released {released} cancelled {cancelled} depth {depth} held {} {locks}",
        held.as_micros()
    )
}
