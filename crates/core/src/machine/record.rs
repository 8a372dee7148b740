//! The records: what the machine keeps of a lock, a ticket and a session.

mod ticket_set;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(super) use ticket_set::TicketSet;

use super::sequence::Sequences;
use crate::answer::{Ended, Force, LostGrant};
use crate::command::Claim;
use crate::id::{LeaseRecord, Permits, RequestKey, SessionId, SessionSecret, TicketId, Token};
use crate::limits;
use crate::text::{KeyName, LockName, Note, Owner, Reason};
use crate::time::{Time, WallTime};

/// Capacity of a plain lock: an exclusive claim takes all of it, a shared one takes 1. So both kinds of lock are
/// weights, and one grant rule serves both.
const PLAIN_CAPACITY: u64 = limits::PERMITS_MAX as u64;

impl Claim {
    /// How much of the capacity it takes.
    pub(super) fn weight(self) -> u64 {
        match self {
            Claim::Exclusive => PLAIN_CAPACITY,
            Claim::Shared => 1,
            Claim::Permits { weight, .. } => u64::from(weight.get()),
        }
    }

    /// The kind of lock it needs.
    pub(super) fn kind(self) -> Kind {
        match self {
            Claim::Exclusive | Claim::Shared => Kind::Plain,
            Claim::Permits { permits, .. } => Kind::Semaphore(permits),
        }
    }
}

/// Kind and size of a lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    /// Exclusive or shared.
    #[default]
    Plain,
    /// So many permits.
    Semaphore(Permits),
}

impl Kind {
    fn capacity(self) -> u64 {
        match self {
            Kind::Plain => PLAIN_CAPACITY,
            Kind::Semaphore(permits) => u64::from(permits.get()),
        }
    }
}

/// The holders of a lock. Most locks have one, whose token is the lock's latest: it costs no allocation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
enum Holders {
    /// Nobody.
    #[default]
    None,
    /// One, with the latest token.
    Latest(TicketId),
    /// Several, in order of grant.
    #[expect(clippy::box_collection, reason = "most locks have one holder and are smaller for it")]
    Many(Box<BTreeMap<Token, TicketId>>),
}

/// A lock that somebody holds, wants, or lately had.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Lock {
    holders: Holders,
    /// The latest token granted here.
    latest: Token,
    /// Sum of the holders' weights.
    used: u32,
    pub(super) kind: Kind,
    /// What most locks at most times don't have: on the heap.
    rest: Option<Box<Rest>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Rest {
    /// In arrival order, so also in order of ticket id.
    queue: VecDeque<TicketId>,
    /// A shared holder that waits, ahead of the queue, to be alone.
    upgrade: Option<TicketId>,
    history: VecDeque<Past>,
    opens_at: Time,
    /// An operator's size, until the lock is idle.
    resized: Option<Permits>,
    /// When nobody had or wanted it any more.
    idle_since: Option<Time>,
    /// Whether it stands in the queue of idle locks.
    idle_listed: bool,
}

impl Lock {
    fn rest(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }

    /// What it can hold at once.
    pub(super) fn capacity(&self) -> u64 {
        match self.resized() {
            Some(permits) => u64::from(permits.get()),
            None => self.kind.capacity(),
        }
    }

    pub(super) fn resized(&self) -> Option<Permits> {
        self.rest.as_ref().and_then(|rest| rest.resized)
    }

    pub(super) fn resize(&mut self, permits: Option<Permits>) {
        if permits.is_some() || self.rest.is_some() {
            self.rest().resized = permits;
        }
    }

    /// Whether the claim fits beside the holders.
    pub(super) fn fits(&self, claim: Claim) -> bool {
        u64::from(self.used) + claim.weight() <= self.capacity()
    }

    /// Adds a holder. Its token is higher than all before it.
    pub(super) fn hold(&mut self, token: Token, ticket: TicketId, claim: Claim) {
        match &mut self.holders {
            Holders::None => self.holders = Holders::Latest(ticket),
            Holders::Latest(first) => {
                let both = BTreeMap::from([(self.latest, *first), (token, ticket)]);
                self.holders = Holders::Many(Box::new(both));
            }
            Holders::Many(all) => {
                all.insert(token, ticket);
            }
        }
        self.latest = token;
        self.use_instead(0, claim.weight());
    }

    /// Takes a holder away.
    pub(super) fn free(&mut self, token: Token, claim: Claim) {
        match &mut self.holders {
            Holders::Latest(_) => self.holders = Holders::None,
            Holders::Many(all) => {
                all.remove(&token);
                if all.is_empty() {
                    self.holders = Holders::None;
                }
            }
            Holders::None => {}
        }
        self.use_instead(claim.weight(), 0);
    }

    /// A holder has another claim from now on.
    pub(super) fn reclaim(&mut self, before: Claim, after: Claim) {
        self.use_instead(before.weight(), after.weight());
    }

    fn use_instead(&mut self, before: u64, after: u64) {
        let used = u64::from(self.used) - before + after;
        self.used = u32::try_from(used).expect("holders fit in the capacity, which fits");
    }

    pub(super) fn is_held(&self) -> bool {
        !matches!(self.holders, Holders::None)
    }

    /// How many hold it.
    pub(super) fn holder_count(&self) -> usize {
        match &self.holders {
            Holders::None => 0,
            Holders::Latest(_) => 1,
            Holders::Many(all) => all.len(),
        }
    }

    /// Its holders in order of grant.
    pub(super) fn holders(&self) -> impl Iterator<Item = (Token, TicketId)> + '_ {
        let (one, many) = match &self.holders {
            Holders::None => (None, None),
            Holders::Latest(ticket) => (Some((self.latest, *ticket)), None),
            Holders::Many(all) => (None, Some(all.iter())),
        };
        let many = many.into_iter().flatten();
        one.into_iter().chain(many.map(|(token, ticket)| (*token, *ticket)))
    }

    /// The latest token granted here; `None` if there never was one.
    pub(super) fn latest(&self) -> Option<Token> {
        Some(self.latest).filter(|token| *token != Token::default())
    }

    pub(super) fn opens_at(&self) -> Time {
        self.rest.as_ref().map_or(Time::ZERO, |rest| rest.opens_at)
    }

    pub(super) fn open_at(&mut self, at: Time) {
        self.rest().opens_at = at;
    }

    /// Whether its one holder may have it exclusively: there is no other, and no delay holds it back.
    pub(super) fn may_be_alone(&self, now: Time) -> bool {
        self.holder_count() == 1 && self.opens_at() <= now
    }

    /// Ends a delay before its time.
    pub(super) fn open_now(&mut self, now: Time) {
        self.rest().opens_at = now;
    }

    pub(super) fn upgrade(&self) -> Option<TicketId> {
        self.rest.as_ref().and_then(|rest| rest.upgrade)
    }

    pub(super) fn set_upgrade(&mut self, upgrade: Option<TicketId>) {
        self.rest().upgrade = upgrade;
    }

    pub(super) fn queue(
        &self,
    ) -> impl ExactSizeIterator<Item = TicketId> + DoubleEndedIterator + '_ {
        static NOBODY: VecDeque<TicketId> = VecDeque::new();
        self.rest.as_ref().map_or(&NOBODY, |rest| &rest.queue).iter().copied()
    }

    pub(super) fn queue_length(&self) -> usize {
        self.queue().len() + usize::from(self.upgrade().is_some())
    }

    pub(super) fn head(&self) -> Option<TicketId> {
        self.queue().next()
    }

    pub(super) fn enqueue(&mut self, ticket: TicketId) {
        self.rest().queue.push_back(ticket);
    }

    /// Place in the queue without counting an upgrade, 0 = next.
    pub(super) fn place(&self, ticket: TicketId) -> Option<usize> {
        self.rest.as_ref().and_then(|rest| rest.queue.binary_search(&ticket).ok())
    }

    pub(super) fn dequeue(&mut self, ticket: TicketId) {
        if let Some(place) = self.place(ticket) {
            self.rest().queue.remove(place);
        }
    }

    pub(super) fn history(&self) -> impl DoubleEndedIterator<Item = &Past> {
        self.rest.iter().flat_map(|rest| rest.history.iter())
    }

    pub(super) fn remember(&mut self, past: Past) {
        let history = &mut self.rest().history;
        if history.len() == limits::HISTORY_MAX {
            history.pop_front();
        }
        history.push_back(past);
    }

    /// Nobody has it and nobody wants it.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_held() && self.queue_length() == 0
    }

    /// Notes since when it is idle; true if it must be put in the queue of idle locks.
    pub(super) fn becomes_idle(&mut self, now: Time) -> bool {
        let rest = self.rest();
        rest.idle_since = Some(now);
        rest.resized = None;
        !std::mem::replace(&mut rest.idle_listed, true)
    }

    pub(super) fn becomes_busy(&mut self) {
        if let Some(rest) = &mut self.rest {
            rest.idle_since = None;
        }
    }

    pub(super) fn idle_since(&self) -> Option<Time> {
        self.rest.as_ref().and_then(|rest| rest.idle_since)
    }

    /// Counts as idle since then.
    pub(super) fn idle_from(&mut self, since: Time) {
        self.rest().idle_since = Some(since);
    }

    pub(super) fn unlist(&mut self) {
        self.rest().idle_listed = false;
    }

    /// How long holders of the past had it on average; `None` without a past.
    pub(super) fn usual_hold(&self) -> Option<Duration> {
        let (count, sum) = self
            .history()
            .fold((0u32, Duration::ZERO), |(count, sum), past| (count + 1, sum + past.held));
        (count > 0).then(|| sum / count.max(1))
    }
}

/// One ended grant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Past {
    pub(super) token: Token,
    pub(super) owner: Owner,
    pub(super) note: Option<Note>,
    pub(super) waited: Duration,
    pub(super) held: Duration,
    pub(super) ended: Ended,
    pub(super) at: Time,
    pub(super) wall: WallTime,
    pub(super) by: Option<KeyName>,
    pub(super) why: Option<Reason>,
}

/// One request from its arrival to the end of its grant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ticket {
    pub(super) parts: Parts,
    pub(super) key: KeyName,
    pub(super) owner: OwnerName,
    pub(super) life: TicketLife,
    pub(super) note: Option<Note>,
    pub(super) lease: LeaseRecord,
    pub(super) arrived_at: Time,
    /// None while it waits.
    pub(super) granted_at: MaybeTime,
    pub(super) depth: u32,
    /// What few tickets have: on the heap.
    pub(super) extra: Option<Box<Extra>>,
}

// A held lock costs one of each. Whoever needs more room says so here.
const _: () = assert!(size_of::<Ticket>() <= 152 && size_of::<Lock>() <= 40);

/// The locks of a ticket. Most have one, and it costs no allocation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Parts {
    One(Part),
    Many(Vec<Part>),
}

impl Parts {
    pub(super) fn as_slice(&self) -> &[Part] {
        match self {
            Parts::One(part) => std::slice::from_ref(part),
            Parts::Many(parts) => parts,
        }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [Part] {
        match self {
            Parts::One(part) => std::slice::from_mut(part),
            Parts::Many(parts) => parts,
        }
    }
}

/// One lock of a ticket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) name: LockName,
    pub(super) claim: Claim,
    /// Zero while it waits.
    pub(super) token: Token,
}

/// The flow of control of a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum OwnerName {
    /// The session itself.
    Session,
    /// One of its own that nobody else has.
    Fresh,
    /// Named by the client.
    Named(Owner),
}

/// What a ticket's life hangs on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum TicketLife {
    Session(SessionId),
    Own { ttl: Ttl, expires_at: Time },
}

/// How long a grant lives, in one word: microseconds, never none.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Ttl(NonZeroU64);

impl Ttl {
    /// Of a span that was checked: it is not shorter than [`limits::TTL_MIN`].
    pub(super) fn new(span: Duration) -> Self {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Ttl(NonZeroU64::new(micros).unwrap_or(NonZeroU64::MIN))
    }

    pub(super) fn get(self) -> Duration {
        Duration::from_micros(self.0.get())
    }
}

/// A time or none, in one word: the end of all time stands for none. What happens then counts as a microsecond before.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct MaybeTime(Time);

impl MaybeTime {
    pub(super) const NONE: MaybeTime = MaybeTime(Time::MAX);

    pub(super) fn at(time: Time) -> Self {
        MaybeTime(time.min(Time::from_micros(u64::MAX - 1)))
    }

    pub(super) fn get(self) -> Option<Time> {
        Some(self.0).filter(|time| *time != Time::MAX)
    }
}

/// What few tickets have.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Extra {
    /// End of the wait.
    pub(super) wait_until: Option<Time>,
    /// Nobody listens: when it leaves the queue, or is released if it was granted meanwhile.
    pub(super) leaves_at: Option<Time>,
    /// Whether the client made the id.
    pub(super) named: bool,
    /// The ids of the request and of its re-entrant followers.
    pub(super) requests: Vec<RequestKey>,
    /// The client's own text of the id, to tell it again.
    pub(super) request: Option<crate::text::RequestId>,
    pub(super) lock_delay: Duration,
    pub(super) at_least: Duration,
    /// At most one for each lock.
    pub(super) recalls: Vec<RecallRecord>,
    /// The upgrade by which each lock became exclusive, so that whoever gives that request up gets back to shared.
    pub(super) upgraded: Vec<(LockName, TicketId)>,
}

/// A request to give back soon.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RecallRecord {
    pub(super) name: LockName,
    pub(super) until: Time,
    pub(super) force: Force,
}

impl Ticket {
    pub(super) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    pub(super) fn session(&self) -> Option<SessionId> {
        match self.life {
            TicketLife::Session(id) => Some(id),
            TicketLife::Own { .. } => None,
        }
    }

    pub(super) fn is_granted(&self) -> bool {
        self.granted_at.get().is_some()
    }

    pub(super) fn part(&self, name: &LockName) -> Option<&Part> {
        self.parts.as_slice().iter().find(|part| part.name == *name)
    }

    pub(super) fn waited(&self, now: Time) -> Duration {
        self.granted_at.get().unwrap_or(now).since(self.arrived_at)
    }

    pub(super) fn held_for(&self, now: Time) -> Duration {
        self.granted_at.get().map_or(Duration::ZERO, |granted| now.since(granted))
    }

    pub(super) fn wait_until(&self) -> Option<Time> {
        self.extra.as_ref().and_then(|extra| extra.wait_until)
    }

    pub(super) fn leaves_at(&self) -> Option<Time> {
        self.extra.as_ref().and_then(|extra| extra.leaves_at)
    }

    /// Its owner in its scope.
    pub(super) fn owner_key(&self, id: TicketId) -> OwnerKey {
        self.shared_owner().unwrap_or(OwnerKey::Fresh(id))
    }

    /// Its owner in its scope, if that can have other tickets.
    pub(super) fn shared_owner(&self) -> Option<OwnerKey> {
        match (&self.owner, self.session()) {
            (OwnerName::Named(owner), Some(session)) => {
                Some(OwnerKey::InSession(session, owner.clone()))
            }
            (OwnerName::Named(owner), None) => {
                Some(OwnerKey::InKey(self.key.clone(), owner.clone()))
            }
            (OwnerName::Session, Some(session)) => Some(OwnerKey::Session(session)),
            (OwnerName::Session | OwnerName::Fresh, _) => None,
        }
    }

    /// What others see of its owner.
    pub(super) fn owner_shown(&self, id: TicketId) -> Owner {
        match (&self.owner, self.session()) {
            (OwnerName::Named(owner), _) => owner.clone(),
            (OwnerName::Session, Some(session)) => Owner::made(session.to_string()),
            (OwnerName::Session | OwnerName::Fresh, _) => Owner::made(format!("o-{}", id.0)),
        }
    }
}

/// An owner in its scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum OwnerKey {
    Session(SessionId),
    InSession(SessionId, Owner),
    InKey(KeyName, Owner),
    Fresh(TicketId),
}

/// A client's liveness.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) secret: SessionSecret,
    pub(super) key: KeyName,
    pub(super) note: Option<Note>,
    pub(super) ttl: Duration,
    pub(super) heard_at: Time,
    pub(super) expires_at: Time,
    /// What it holds and waits for.
    pub(super) tickets: BTreeSet<TicketId>,
    /// What it lost, to be told in keep-alives.
    pub(super) lost: VecDeque<(Time, LostGrant)>,
    /// The numbers of its numbered requests.
    pub(super) sequences: Sequences,
    /// The id of the request that opened it, if the client named one.
    pub(super) request: Option<RequestKey>,
}

/// A shared holder that waits to be alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Upgrade {
    pub(super) ticket: TicketId,
    pub(super) name: LockName,
    pub(super) arrived_at: Time,
    pub(super) wait_until: Time,
    pub(super) leaves_at: Option<Time>,
}
