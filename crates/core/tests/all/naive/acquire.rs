//! May it have the locks, must it wait, or neither; retries; deadlock.

use super::*;

impl Naive {
    pub(super) fn acquire(&mut self, asked: &Acquire) -> Said {
        check_shape(asked)?;
        if let Life::Session(handle) = &asked.life {
            self.check_session(handle)?;
        }
        let scope = scope_of(asked);
        if let RequestName::Client(text) = &asked.request
            && let Some(said) = self.again(asked, text, scope.as_ref())?
        {
            return Ok(said);
        }
        let body = body_of(asked);
        let mut asked = asked.clone();
        for want in &mut asked.wants {
            if want.claim == Claim::Exclusive && self.resized(&want.name) == Some(1) {
                want.claim = Claim::Permits { permits: Permits::ONE, weight: Weight::ONE };
            }
        }
        let who = who_asks(&asked);
        if let Some(id) = self.entered(&asked, who.as_ref())? {
            return Ok(self.enter_again(id, &asked, scope, body));
        }
        self.check_kinds(&asked)?;
        let free = asked.wants.iter().all(|want| self.would_get(&want.name, want.claim, None));
        if self.tickets.iter().any(|ticket| ticket.lease == asked.lease.hash()) {
            return Err("invalid lease".into());
        }
        self.check_quota(&asked, free)?;
        if !free && asked.wait.is_zero() {
            return Err(format!("held {}", self.blocked(&asked.wants, None, 0)));
        }
        if !free && who.as_ref().is_some_and(|who| self.closes_cycle(who, &asked.wants, None)) {
            return Err("deadlock".into());
        }
        Ok(self.admit(&asked, scope, body, free))
    }

    fn admit(&mut self, asked: &Acquire, scope: Option<Scope>, body: String, free: bool) -> String {
        let id = self.next_ticket();
        for want in &asked.wants {
            self.take_kind(want);
        }
        let parts = asked.wants.iter().map(|want| Part {
            name: want.name.clone(),
            claim: want.claim,
            token: Token::default(),
        });
        let text = match &asked.request {
            RequestName::Client(text) => Some(text.clone()),
            RequestName::Unnamed => None,
        };
        self.tickets.push(Ticket {
            id,
            parts: parts.collect(),
            key: asked.caller.key.clone(),
            owner: match (&asked.owner, &asked.life) {
                (Some(owner), _) => Name::Named(owner.clone()),
                (None, Life::Session(_)) => Name::Session,
                (None, Life::Own(_)) => Name::Fresh,
            },
            life: match asked.life {
                Life::Session(handle) => Lives::Session(handle.id),
                Life::Own(ttl) => Lives::Own { ttl, until: Time::ZERO },
            },
            lease: asked.lease.hash(),
            arrived: self.now,
            granted: None,
            wait_until: self.now + asked.wait,
            leaves: None,
            depth: 0,
            ids: scope.iter().cloned().collect(),
            text,
            lock_delay: asked.lock_delay,
            at_least: asked.at_least,
        });
        if let Some(scope) = scope {
            self.use_number(&scope);
            self.remember(scope, Some(body), State::Lives(id));
        }
        if free {
            self.grant(id);
            return self.told_granted(id);
        }
        self.told_queued(id)
    }

    /// An unused lock takes the kind of its next request.
    fn take_kind(&mut self, want: &Want) {
        let idle = self.is_idle(&want.name);
        let permits = permits_of(want.claim);
        match self.locks.iter_mut().find(|lock| lock.name == want.name) {
            Some(lock) if idle => {
                lock.permits = permits;
                lock.resized = None;
            }
            Some(_) => {}
            None => {
                let (name, opens) = (want.name.clone(), Time::ZERO);
                self.locks.push(Lock { name, permits, resized: None, opens, opening: false });
            }
        }
    }

    pub(super) fn use_number(&mut self, scope: &Scope) {
        if let Scope::Numbered(id, number) = scope
            && let Some(session) = self.sessions.iter_mut().find(|session| session.id == *id)
        {
            session.used.insert(*number);
        }
    }

    /// What a request that was seen before is told.
    fn again(
        &mut self,
        asked: &Acquire,
        text: &RequestId,
        scope: Option<&Scope>,
    ) -> Result<Option<String>, String> {
        let Some(scope) = scope else { return Err("request finished Over None".into()) };
        if let Some(seen) = self.seen(scope) {
            let (state, same) = (seen.state, seen.body == Some(body_of(asked)));
            let given_up = matches!(state, State::Over(Ended::Cancelled, None, _));
            if !same && !given_up {
                return Err("request id reused".into());
            }
            return match state {
                State::Lives(id) => Ok(Some(self.told_again(id, text))),
                State::Over(ended, token, _) => Err(finished(ended, token)),
                State::Opened(_) => Err("request id reused".into()),
            };
        }
        match scope {
            Scope::Numbered(id, number) if self.number_used(*id, *number) => {
                Err(finished(Ended::Over, None))
            }
            _ => Ok(None),
        }
    }

    fn number_used(&self, id: SessionId, number: u64) -> bool {
        self.session(id).is_some_and(|session| session.used.contains(&number))
    }

    fn told_again(&mut self, id: TicketId, text: &RequestId) -> String {
        self.ticket_mut(id).leaves = None;
        if self.ticket(id).granted.is_none() {
            return self.told_queued(id);
        }
        self.told_granted_as(id, Some(text))
    }

    /// The ticket by which the owner holds one of the locks and may enter again.
    fn entered(&self, asked: &Acquire, who: Option<&Who>) -> Result<Option<TicketId>, String> {
        let Some(who) = who else { return Ok(None) };
        for want in &asked.wants {
            let held = self.holders(&want.name);
            let own = held.iter().find(|(_, id, _)| self.who(self.ticket(*id)) == *who);
            let Some((token, id, claim)) = own else { continue };
            let covers =
                *claim == want.claim || (*claim == Claim::Exclusive && want.claim == Claim::Shared);
            let alone = asked.wants.len() == 1 && self.ticket(*id).parts.len() == 1;
            if asked.reentrant && covers && alone {
                return Ok(Some(*id));
            }
            return Err(format!("already held {token}"));
        }
        Ok(None)
    }

    fn enter_again(
        &mut self,
        id: TicketId,
        asked: &Acquire,
        scope: Option<Scope>,
        body: String,
    ) -> String {
        self.ticket_mut(id).depth += 1;
        if let Some(scope) = scope {
            self.use_number(&scope);
            self.ticket_mut(id).ids.push(scope.clone());
            self.remember(scope, Some(body), State::Lives(id));
        }
        match &asked.request {
            RequestName::Client(text) => self.told_granted_as(id, Some(text)),
            RequestName::Unnamed => self.told_granted(id),
        }
    }

    fn check_kinds(&self, asked: &Acquire) -> Result<(), String> {
        for want in asked.wants.iter().filter(|want| !self.is_idle(&want.name)) {
            let has = self.lock(&want.name).and_then(|lock| lock.permits);
            let fine = match (self.resized(&want.name), want.claim) {
                (Some(permits), Claim::Permits { weight, .. }) => weight.get() <= permits,
                (Some(_), _) => false,
                (None, claim) => permits_of(claim) == has,
            };
            if !fine {
                return Err(mismatch(&want.name, self.resized(&want.name).or(has)));
            }
        }
        Ok(())
    }

    fn check_quota(&self, asked: &Acquire, free: bool) -> Result<(), String> {
        let Some(quota) = &asked.caller.quota else { return Ok(()) };
        let own = || self.tickets.iter().filter(|ticket| ticket.key == asked.caller.key);
        let held: usize =
            own().filter(|t| t.granted.is_some()).map(|ticket| ticket.parts.len()).sum();
        let waiting = own().filter(|ticket| ticket.granted.is_none()).count();
        if let Some(max) = quota.held_max.filter(|max| held + asked.wants.len() > *max as usize) {
            return Err(format!("limit held {max}"));
        }
        match quota.waiting_max.filter(|max| !free && waiting >= *max as usize) {
            Some(max) => Err(format!("limit waiting {max}")),
            None => Ok(()),
        }
    }

    /// Whether nobody is ahead and it fits.
    pub(super) fn would_get(&self, name: &LockName, claim: Claim, id: Option<TicketId>) -> bool {
        let first = self.queue(name).first().is_none_or(|(head, _)| Some(*head) == id);
        first && self.upgrade_at(name).is_none() && self.fits(name, claim)
    }

    /// Who is in the way, in words.
    pub(super) fn blocked(&self, wants: &[Want], id: Option<TicketId>, own: usize) -> String {
        let blocked: Vec<LockName> = wants
            .iter()
            .filter(|want| !self.would_get(&want.name, want.claim, id))
            .map(|want| want.name.clone())
            .collect();
        let Some(first) = blocked.first() else { return "by nobody".into() };
        let tokens: Vec<Token> = self.holders(first).iter().map(|(token, ..)| *token).collect();
        let queue = self.queue_length(first) - own;
        said::told_held(&tokens, &blocked, queue, self.opens(first).since(self.now))
    }

    /// Whether waiting for these locks would, over whatever others wait for, wait for what `who` holds itself.
    pub(super) fn closes_cycle(&self, who: &Who, wants: &[Want], own: Option<TicketId>) -> bool {
        let holds =
            |who: &Who| self.tickets.iter().any(|t| t.granted.is_some() && self.who(t) == *who);
        if !holds(who) {
            return false;
        }
        let mut reached: Vec<TicketId> = vec![];
        let mut work: Vec<(Option<TicketId>, Vec<Want>, Option<TicketId>)> =
            vec![(None, wants.to_vec(), own)];
        while let Some((waiter, wants, own)) = work.pop() {
            for want in &wants {
                for blocker in self.waits_for(want, waiter, own) {
                    let waits = match blocker {
                        Blocker::Holder(other) if other == *who => return true,
                        Blocker::Holder(other) => self.waits_of(&other),
                        Blocker::Ahead(id) => vec![id],
                    };
                    for id in
                        waits.into_iter().filter(|id| !reached.contains(id)).collect::<Vec<_>>()
                    {
                        reached.push(id);
                        work.push(self.wait(id));
                    }
                }
            }
        }
        false
    }

    /// Whom a request waits for at one lock: holders that leave too little room, and everybody ahead.
    fn waits_for(
        &self,
        want: &Want,
        waiter: Option<TicketId>,
        own: Option<TicketId>,
    ) -> Vec<Blocker> {
        let in_the_way =
            |claim: &Claim| weight(*claim) + weight(want.claim) > self.capacity(&want.name);
        let holders = self.holders(&want.name);
        let holders = holders.iter().filter(|(_, id, claim)| Some(*id) != own && in_the_way(claim));
        let mut blockers: Vec<Blocker> =
            holders.map(|(_, id, _)| Blocker::Holder(self.who(self.ticket(*id)))).collect();
        if own.is_none() {
            blockers.extend(self.upgrade_at(&want.name).map(|upgrade| Blocker::Ahead(upgrade.id)));
            let ahead = self.queue(&want.name);
            let ahead = ahead.iter().filter(|(id, _)| waiter.is_none_or(|waiter| *id < waiter));
            blockers.extend(ahead.map(|(id, _)| Blocker::Ahead(*id)));
        }
        blockers
    }

    /// Everything an owner waits for.
    fn waits_of(&self, who: &Who) -> Vec<TicketId> {
        let tickets = self.tickets.iter().filter(|t| t.granted.is_none() && self.who(t) == *who);
        let upgrades = self.upgrades.iter().filter(|u| self.who(self.ticket(u.ticket)) == *who);
        tickets.map(|ticket| ticket.id).chain(upgrades.map(|upgrade| upgrade.id)).collect()
    }

    fn wait(&self, id: TicketId) -> (Option<TicketId>, Vec<Want>, Option<TicketId>) {
        if let Some(upgrade) = self.upgrades.iter().find(|upgrade| upgrade.id == id) {
            let want = Want { name: upgrade.name.clone(), claim: Claim::Exclusive };
            return (Some(id), vec![want], Some(upgrade.ticket));
        }
        (Some(id), wants_of(self.ticket(id)), None)
    }
}

enum Blocker {
    Holder(Who),
    Ahead(TicketId),
}

pub(super) fn wants_of(ticket: &Ticket) -> Vec<Want> {
    let want = |part: &Part| Want { name: part.name.clone(), claim: part.claim };
    ticket.parts.iter().map(want).collect()
}

pub(super) fn finished(ended: Ended, token: Option<Token>) -> String {
    format!("request finished {ended:?} {token:?}")
}

pub(super) fn mismatch(name: &LockName, permits: Option<u32>) -> String {
    format!("capacity mismatch {name} {permits:?}")
}

fn permits_of(claim: Claim) -> Option<u32> {
    match claim {
        Claim::Permits { permits, .. } => Some(permits.get()),
        Claim::Exclusive | Claim::Shared => None,
    }
}

fn who_asks(asked: &Acquire) -> Option<Who> {
    match (&asked.owner, &asked.life) {
        (Some(owner), Life::Session(handle)) => Some(Who::InSession(handle.id, owner.clone())),
        (Some(owner), Life::Own(_)) => Some(Who::InKey(asked.caller.key.clone(), owner.clone())),
        (None, Life::Session(handle)) => Some(Who::Session(handle.id)),
        (None, Life::Own(_)) => None,
    }
}

/// `None` for a request without an id, or with one that only the machine makes.
fn scope_of(asked: &Acquire) -> Option<Scope> {
    let RequestName::Client(text) = &asked.request else { return None };
    if text.as_str().starts_with("srv-") {
        return None;
    }
    let session = match &asked.life {
        Life::Session(handle) => Some(handle.id),
        Life::Own(_) => None,
    };
    let names = asked.wants.iter().map(|want| want.name.clone()).collect();
    Some(scope(&asked.caller.key, session, names, text))
}

pub(super) fn scope(
    key: &KeyName,
    session: Option<SessionId>,
    mut names: Vec<LockName>,
    text: &RequestId,
) -> Scope {
    if let (Some(session), Some(number)) = (session, text.sequence()) {
        return Scope::Numbered(session, number);
    }
    names.sort();
    let key = if session.is_some() { None } else { Some(key.clone()) };
    Scope::Acquire(session, key, names, text.to_string())
}

fn body_of(asked: &Acquire) -> String {
    let life = match &asked.life {
        Life::Session(handle) => format!("{:?}", handle.id),
        Life::Own(ttl) => format!("{ttl:?}"),
    };
    let Acquire { wants, owner, reentrant, lock_delay, at_least, .. } = asked;
    format!("{wants:?} {life} {owner:?} {reentrant} {lock_delay:?} {at_least:?}")
}

fn check_shape(asked: &Acquire) -> Result<(), String> {
    if asked.wants.is_empty() || asked.wants.len() > 256 {
        return Err("invalid locks".into());
    }
    let mut names: Vec<&LockName> = asked.wants.iter().map(|want| &want.name).collect();
    names.sort();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("named twice {}", twice[0]));
    }
    for want in &asked.wants {
        if let Claim::Permits { permits, weight } = want.claim
            && (weight.get() > permits.get() || permits == Permits::ONE)
        {
            return Err("invalid weight".into());
        }
    }
    if let Life::Own(ttl) = asked.life {
        check_ttl(ttl)?;
    }
    for (what, span, max) in [
        ("wait", asked.wait, limits::WAIT_MAX),
        ("lock_delay", asked.lock_delay, limits::LOCK_DELAY_MAX),
        ("at_least", asked.at_least, limits::AT_LEAST_MAX),
    ] {
        if span > max {
            return Err(format!("invalid {what}"));
        }
    }
    Ok(())
}

pub(super) fn check_ttl(ttl: Duration) -> Result<(), String> {
    let fine = (limits::TTL_MIN..=limits::TTL_MAX).contains(&ttl);
    if fine { Ok(()) } else { Err("invalid ttl".into()) }
}
