//! May it have the locks, must it wait, or neither?

use std::borrow::Cow;
use std::time::Duration;

use super::record::{
    Extra, Kind, MaybeTime, OwnerKey, OwnerName, Part, Parts, Ticket, TicketLife, TicketSet, Ttl,
};
use super::request::Named;
use super::{Decided, Machine, Told, invalid, refuse};
use crate::answer::{Answer, DeniedBy, Refusal};
use crate::change::Action;
use crate::command::{Acquire, Caller, Claim, Life, RequestName, Want};
use crate::id::{Permits, SessionHandle, TicketId, Weight};
use crate::limits;
use crate::text::{KeyName, LockName};
use crate::time::Time;

/// Grants kept free below the end of the token numbers, more than one batch can make.
const TOKENS_RESERVED: u64 = 1 << 30;

impl Machine {
    pub(super) fn acquire(&mut self, request: &Acquire) -> Decided<Answer> {
        check_shape(request)?;
        if let Life::Session(handle) = &request.life {
            self.check_session(handle)?;
        }
        let named = match self.find_request(request)? {
            Ok(answer) => return Ok(answer),
            Err(named) => named,
        };
        let sized = self.sized(request);
        let request = sized.as_ref();
        let owner = owner_name(request);
        if let Some(id) = self.held_by_owner(request, &owner)? {
            return self.enter_again(id, request, named);
        }
        self.check_kinds(&request.wants)?;
        let wants: Vec<(&LockName, Claim)> =
            request.wants.iter().map(|want| (&want.name, want.claim)).collect();
        let free = wants.iter().all(|(name, claim)| self.would_get(name, *claim, None));
        self.check_bounds(request, free)?;
        if free {
            return Ok(self.grant_new(request, owner, named));
        }
        if request.wait.is_zero() {
            return refuse(Refusal::Held(self.blocked_by(&wants, None)));
        }
        if let Some(cycle) = self.cycle_of(request, &owner) {
            return refuse(Refusal::Deadlock(cycle));
        }
        Ok(self.enqueue_new(request, owner, named))
    }

    /// The request as a lock takes it that was resized to one permit: one permit of one is written as an exclusive
    /// claim, and beside larger sizes it is a permit.
    fn sized<'a>(&self, request: &'a Acquire) -> Cow<'a, Acquire> {
        let has_one_permit = |want: &Want| {
            let lock = self.state.locks.get(&want.name);
            lock.and_then(|lock| lock.resized()) == Some(Permits::ONE)
        };
        let mut sized = Cow::Borrowed(request);
        for (place, want) in request.wants.iter().enumerate() {
            if want.claim == Claim::Exclusive && has_one_permit(want) {
                sized.to_mut().wants[place].claim =
                    Claim::Permits { permits: Permits::ONE, weight: Weight::ONE };
            }
        }
        sized
    }

    fn grant_new(&mut self, request: &Acquire, owner: OwnerName, named: Named) -> Answer {
        let id = self.store(request, owner, named, None);
        self.grant(id);
        Answer::Granted(Box::new(self.granted(id)))
    }

    fn enqueue_new(&mut self, request: &Acquire, owner: OwnerName, named: Named) -> Answer {
        let until = self.state.now + request.wait;
        let id = self.store(request, owner, named, Some(until));
        for want in &request.wants {
            let lock = self.lock_mut(&want.name);
            let first = lock.queue_length() == 0;
            lock.enqueue(id);
            if first {
                self.index.waited_locks += 1;
            }
        }
        self.index_ticket(id);
        for want in &request.wants {
            self.tell(id, &want.name, Action::Queued, Told::default());
        }
        Answer::Queued(self.queued(id))
    }

    /// Makes the ticket and its locks; it is in no index yet.
    fn store(
        &mut self,
        request: &Acquire,
        owner: OwnerName,
        named: Named,
        wait_until: Option<Time>,
    ) -> TicketId {
        let id = self.next_ticket();
        for want in &request.wants {
            self.make_busy(want);
        }
        let ticket = Ticket {
            parts: parts(&request.wants),
            key: self.known_key(&request.caller.key),
            owner,
            life: match request.life {
                Life::Session(handle) => TicketLife::Session(handle.id),
                Life::Own(ttl) => TicketLife::Own { ttl: Ttl::new(ttl), expires_at: Time::ZERO },
            },
            note: request.note.clone(),
            lease: request.lease,
            arrived_at: self.state.now,
            granted_at: MaybeTime::NONE,
            depth: 0,
            extra: extra(request, &named, wait_until),
        };
        self.state.tickets.insert(id, ticket);
        self.remember_request(named, id);
        id
    }

    /// The key's name as it is kept already: every command brings a copy of its own.
    fn known_key(&self, key: &KeyName) -> KeyName {
        self.index.usage.get_key_value(key).map_or(key, |(known, _)| known).clone()
    }

    /// The lock, made if nobody asked for it lately; it is not idle any more. An unused lock takes the kind and size of
    /// its next request.
    fn make_busy(&mut self, want: &Want) {
        let lock = self.state.locks.get_or_default(&want.name);
        if lock.is_idle() {
            lock.kind = want.claim.kind();
        }
        if lock.idle_since().is_some() {
            lock.becomes_busy();
            self.index.idle_locks -= 1;
        }
    }

    /// The ticket by which this owner holds one of these locks already, if it may enter again; a refusal if not.
    fn held_by_owner(&self, request: &Acquire, owner: &OwnerName) -> Decided<Option<TicketId>> {
        let Some(owner) = scoped(request, owner) else { return Ok(None) };
        let Some(owned) = self.index.owners.get(&owner) else { return Ok(None) };
        for want in &request.wants {
            let Some(id) = self.holding(&owner, &owned.held, want) else { continue };
            let part = self.ticket(id).part(&want.name).expect("it holds it");
            let covers = part.claim == want.claim
                || (part.claim, want.claim) == (Claim::Exclusive, Claim::Shared);
            let same_locks = self.ticket(id).parts.as_slice().len() == request.wants.len();
            if request.reentrant && covers && same_locks && request.wants.len() == 1 {
                return Ok(Some(id));
            }
            return refuse(Refusal::AlreadyHeld { token: part.token });
        }
        Ok(None)
    }

    /// The owner's ticket that holds this lock: looked for among what the owner holds or among the lock's holders,
    /// whichever are fewer.
    fn holding(&self, owner: &OwnerKey, held: &TicketSet, want: &Want) -> Option<TicketId> {
        let lock = self.state.locks.get(&want.name)?;
        if held.len() <= lock.holder_count() {
            return held.iter().find(|id| self.ticket(*id).part(&want.name).is_some());
        }
        lock.holders().map(|(_, id)| id).find(|id| self.ticket(*id).owner_key(*id) == *owner)
    }

    fn enter_again(&mut self, id: TicketId, request: &Acquire, named: Named) -> Decided<Answer> {
        if self.ticket(id).depth >= limits::DEPTH_MAX {
            return refuse(limit("depth", u64::from(limits::DEPTH_MAX)));
        }
        let ticket = self.ticket_mut(id);
        ticket.depth += 1;
        if let Some(key) = named.key() {
            ticket.extra().requests.push(key);
        }
        self.remember_request(named, id);
        let again = Answer::Granted(Box::new(self.granted(id)));
        match &request.request {
            RequestName::Client(text) => Ok(again.named(text)),
            RequestName::Unnamed => Ok(again),
        }
    }

    /// A busy lock refuses another kind or size; after a resize, whatever size requests name is fine while it fits.
    fn check_kinds(&self, wants: &[Want]) -> Decided<()> {
        for want in wants {
            let Some(lock) = self.state.locks.get(&want.name).filter(|lock| !lock.is_idle()) else {
                continue;
            };
            let fine = match (lock.resized(), lock.kind, want.claim) {
                (Some(permits), _, Claim::Permits { weight, .. }) => weight.get() <= permits.get(),
                (None, kind, claim) => kind == claim.kind(),
                (Some(_), ..) => false,
            };
            if !fine {
                let permits = match (lock.resized(), lock.kind) {
                    (Some(permits), _) | (None, Kind::Semaphore(permits)) => Some(permits),
                    (None, Kind::Plain) => None,
                };
                return refuse(Refusal::CapacityMismatch { name: want.name.clone(), permits });
            }
        }
        Ok(())
    }

    /// Every bound a new ticket could break.
    fn check_bounds(&self, request: &Acquire, free: bool) -> Decided<()> {
        let wants = request.wants.len() as u32;
        if self.state.grants + TOKENS_RESERVED >= 1 << limits::TOKEN_BITS {
            return refuse(limit("tokens", 1 << limits::TOKEN_BITS));
        }
        if self.index.leases.contains_key(&super::lease_key(&request.lease.hash())) {
            return Err(invalid("lease", "is in use: dice fell the same twice"));
        }
        self.check_quota(&request.caller, wants, free)?;
        if free || request.wait.is_zero() {
            return Ok(());
        }
        let full = |want: &Want| {
            self.state
                .locks
                .get(&want.name)
                .is_some_and(|lock| lock.queue_length() >= limits::QUEUE_MAX)
        };
        if request.wants.iter().any(full) {
            return refuse(limit("queue", limits::QUEUE_MAX as u64));
        }
        Ok(())
    }

    fn check_quota(&self, caller: &Caller, wants: u32, free: bool) -> Decided<()> {
        let Some(quota) = &caller.quota else { return Ok(()) };
        let usage = self.usage(&caller.key);
        if let Some(max) = quota.held_max
            && usage.held + wants > max
        {
            return refuse(limit("held", u64::from(max)));
        }
        if let Some(max) = quota.waiting_max
            && !free
            && usage.waiting >= max
        {
            return refuse(limit("waiting", u64::from(max)));
        }
        Ok(())
    }

    /// The owner of a request, in its scope; `None` for a fresh one, which can hold nothing yet.
    pub(super) fn check_session(&self, handle: &SessionHandle) -> Decided<()> {
        self.knows(handle).map_err(|end| Box::new(Refusal::SessionEnded(end)))
    }
}

pub(super) fn limit(limit: &'static str, max: u64) -> Refusal {
    Refusal::Limit(DeniedBy { limit, max })
}

/// The owner of a request in its scope; `None` for a fresh one, which can hold nothing yet.
pub(super) fn scoped(request: &Acquire, owner: &OwnerName) -> Option<OwnerKey> {
    match (owner, &request.life) {
        (OwnerName::Named(owner), Life::Session(handle)) => {
            Some(OwnerKey::InSession(handle.id, owner.clone()))
        }
        (OwnerName::Named(owner), Life::Own(_)) => {
            Some(OwnerKey::InKey(request.caller.key.clone(), owner.clone()))
        }
        (OwnerName::Session, Life::Session(handle)) => Some(OwnerKey::Session(handle.id)),
        (OwnerName::Session | OwnerName::Fresh, _) => None,
    }
}

fn owner_name(request: &Acquire) -> OwnerName {
    match (&request.owner, &request.life) {
        (Some(owner), _) => OwnerName::Named(owner.clone()),
        (None, Life::Session(_)) => OwnerName::Session,
        (None, Life::Own(_)) => OwnerName::Fresh,
    }
}

fn parts(wants: &[Want]) -> Parts {
    let part = |want: &Want| Part {
        name: want.name.clone(),
        claim: want.claim,
        token: crate::Token::default(),
    };
    match wants {
        [one] => Parts::One(part(one)),
        many => Parts::Many(many.iter().map(part).collect()),
    }
}

/// What few tickets have; nothing for a plain request that does not wait.
fn extra(request: &Acquire, named: &Named, wait_until: Option<Time>) -> Option<Box<Extra>> {
    let plain = request.lock_delay.is_zero() && request.at_least.is_zero();
    if plain && wait_until.is_none() && named.text().is_none() {
        return None;
    }
    Some(Box::new(Extra {
        wait_until,
        named: named.text().is_some(),
        requests: named.key().into_iter().collect(),
        request: named.text().cloned(),
        lock_delay: request.lock_delay,
        at_least: request.at_least,
        ..Extra::default()
    }))
}

fn check_shape(request: &Acquire) -> Decided<()> {
    if request.wants.is_empty() || request.wants.len() > limits::LOCKS_IN_REQUEST_MAX {
        return Err(invalid("locks", "must name 1 to 256 locks"));
    }
    if let Some(twice) = named_twice(&request.wants) {
        return refuse(Refusal::DuplicateName(twice.clone()));
    }
    for want in &request.wants {
        if let Claim::Permits { permits, weight } = want.claim
            && Claim::permits(permits, weight) != Some(want.claim)
        {
            return Err(invalid("weight", "must be at most `permits`"));
        }
    }
    if let Life::Own(ttl) = request.life {
        check_ttl(ttl)?;
    }
    check_at_most("wait", request.wait, limits::WAIT_MAX)?;
    check_at_most("lock_delay", request.lock_delay, limits::LOCK_DELAY_MAX)?;
    check_at_most("at_least", request.at_least, limits::AT_LEAST_MAX)
}

pub(super) fn check_ttl(ttl: Duration) -> Decided<()> {
    if ttl < limits::TTL_MIN || ttl > limits::TTL_MAX {
        return Err(invalid("ttl", "must be 100 ms to 366 days"));
    }
    Ok(())
}

pub(super) fn check_at_most(field: &'static str, span: Duration, max: Duration) -> Decided<()> {
    if span > max { Err(invalid(field, "is longer than allowed")) } else { Ok(()) }
}

fn named_twice(wants: &[Want]) -> Option<&LockName> {
    if wants.len() < 2 {
        return None;
    }
    let mut names: Vec<&LockName> = wants.iter().map(|want| &want.name).collect();
    names.sort();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[1])
}
