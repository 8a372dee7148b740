//! Asking for a grant until there is an answer: retries under the same id, waiting, giving up. Runs on the library's
//! own thread.

use std::sync::Arc;
use std::time::Duration;

use tenure_api::{AcquireRequest, Grant as WireGrant, HandOverRequest, Seconds};
use tenure_core::{Lease, LockName, RequestId, limits};

use crate::backend::call::{Acquire, Call, HandOver};
use crate::backend::{Denied, Failure, MayHaveHappened};
use crate::clock::Moment;
use crate::connection::Connection;
use crate::course::{Course, Next};
use crate::dice;
use crate::error::{AcquireError, Error, GrantError, Held, Loss, LossReason, Refusal, SessionEnd};
use crate::grant::{Grant, GrantHandle};
use crate::holding::{Facts, Holding, Life};
use crate::keeping;
use crate::promise::Promise;
use crate::request::Wish;
use crate::returns::{Bound, GivenUp, Return};
use crate::session::Session;
use crate::tenure::Shared;

/// Longest time one answer is held back: below what balancers allow.
pub(crate) const HOLD_MAX: Duration = Duration::from_secs(25);
/// How often one request is asked under a new id because the old one turned out to be over.
const IDS_MAX: u32 = 3;

/// What became of a request that is no grant.
#[derive(Debug)]
pub(crate) enum Asked {
    Held(Held),
    TimedOut(Held),
    Denied(Denied),
    Failed(Error),
}

impl From<Error> for Asked {
    fn from(error: Error) -> Self {
        Asked::Failed(error)
    }
}

impl From<Asked> for Error {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Held(held) => Failure::denied(Denied::Held(held)).into(),
            Asked::TimedOut(held) => Failure::denied(Denied::TimedOut(held)).into(),
            Asked::Denied(denied) => Failure::denied(denied).into(),
            Asked::Failed(error) => error,
        }
    }
}

impl From<Asked> for AcquireError {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Held(held) | Asked::TimedOut(held) => AcquireError::TimedOut(held),
            Asked::Denied(Denied::Deadlock(cycle)) => AcquireError::Deadlock(cycle),
            Asked::Denied(Denied::AlreadyHeld(token)) => AcquireError::AlreadyHeld { token },
            Asked::Denied(Denied::CapacityMismatch(has)) => AcquireError::CapacityMismatch { has },
            other => AcquireError::Other(other.into()),
        }
    }
}

/// Acquires what is wished for.
pub(crate) async fn acquire(shared: Arc<Shared>, wish: Wish) -> Result<Grant, Asked> {
    let connection = shared.connection.clone();
    let began = Moment::now();
    let mut ids = 0;
    loop {
        if let Some(end) = wish.session.as_ref().and_then(|session| session.inner().ended()) {
            return Err(Error::SessionEnded(end).into());
        }
        let bound = match (&wish.session, wish.ttl) {
            (Some(session), _) => Bound::Session(session.inner()),
            (None, Some(ttl)) => Bound::own(ttl),
            (None, None) => Bound::Session(connection.session().await?),
        };
        let wait_left = wish.wait.map(|wait| wait.saturating_sub(Moment::now().since(began)));
        let body = acquire_body(&wish, &bound, wait_left.unwrap_or(limits::WAIT_MAX));
        let names: Vec<_> = wish.wants.iter().map(|want| want.name.clone()).collect();
        let name = names[0].clone();
        let mut asking = Asking::new(connection.clone(), names, bound.clone(), &body);
        let answer = asking.settle(Acquire(body), wait_left).await;
        match answer {
            Ok(granted) => return asking.grant(&shared, name, wish.reentrant, granted),
            Err(Unsettled::AskAnew) if ids < IDS_MAX => ids += 1,
            Err(Unsettled::AskAnew) => {
                let over = Refusal::new(tenure_api::Code::RequestFinished, "the request is over");
                return Err(Error::Refused(over).into());
            }
            // The longest wait that can be asked for is over, and the caller's is not.
            Err(Unsettled::Answer(Asked::TimedOut(_))) if is_longer(wish.wait, began) => {}
            Err(Unsettled::Answer(asked)) => return Err(asked),
        }
    }
}

fn is_longer(wait: Option<Duration>, began: Moment) -> bool {
    wait.is_none_or(|wait| Moment::now().since(began) < wait && wait > limits::WAIT_MAX)
}

fn acquire_body(wish: &Wish, bound: &Bound, wait: Duration) -> AcquireRequest {
    let wait = wait.min(limits::WAIT_MAX);
    let (session, request_id) = match bound {
        Bound::Session(session) => (Some(session.handle), session.next_request()),
        Bound::At(_) => (None, dice::request_id()),
    };
    let mut body = AcquireRequest {
        session,
        ttl: wish.ttl.map(Seconds),
        wait: Some(Seconds(wait)),
        hold: Some(Seconds(wait.min(HOLD_MAX))),
        owner: Some(wish.owner.clone().unwrap_or_else(|| dice::owner("o"))),
        reentrant: Some(wish.reentrant).filter(|reentrant| *reentrant),
        lock_delay: wish.lock_delay.map(Seconds),
        at_least: wish.at_least.map(Seconds),
        note: wish.note.clone(),
        request_id: Some(request_id),
        ..AcquireRequest::default()
    };
    match wish.wants.as_slice() {
        [one] => {
            body.name = Some(one.name.clone());
            body.mode = one.mode;
            body.permits = one.permits;
            body.weight = one.weight;
        }
        many => body.locks = Some(many.to_vec()),
    }
    body
}

/// Takes a grant over from another process.
pub(crate) async fn resume(shared: Arc<Shared>, handle: GrantHandle) -> Result<Grant, GrantError> {
    let connection = shared.connection.clone();
    let (name, token, lease) = handle.open()?;
    let session = connection.session().await?;
    let body = HandOverRequest {
        lease,
        session: Some(session.handle),
        ttl: None,
        request_id: Some(session.next_request()),
    };
    let bound = Bound::Session(session);
    let mut asking = Asking::named(connection, vec![name.clone()], bound, body.request_id.clone());
    let call = HandOver { name: name.clone(), body };
    match asking.settle(call, Some(Duration::ZERO)).await {
        Ok(granted) => asking
            .grant(&shared, name, false, granted)
            .map_err(|asked| GrantError::Other(asked.into())),
        Err(Unsettled::Answer(Asked::Denied(Denied::Lost(reason)))) => {
            Err(GrantError::Lost(Loss { name, token, reason }))
        }
        // The old lease's request is over only when the grant is.
        Err(Unsettled::AskAnew) => {
            Err(GrantError::Lost(Loss { name, token, reason: LossReason::Unknown }))
        }
        Err(Unsettled::Answer(asked)) => Err(GrantError::Other(asked.into())),
    }
}

/// One request under one id. If it is dropped before its outcome is known, it is given up in the background: then it
/// is certain that no later answer of it is a grant nobody has.
struct Asking {
    connection: Arc<Connection>,
    /// What to give up. Absent when there is nothing that may have happened.
    open: Option<GivenUp>,
    bound: Bound,
    request: Option<RequestId>,
}

/// Why a request under one id is no grant.
enum Unsettled {
    /// It is over, and what it was for is still wanted: ask under a new id.
    AskAnew,
    Answer(Asked),
}

/// A grant with the promise of its answer.
struct Granted {
    wire: WireGrant,
    promise: Promise,
}

impl Asking {
    fn new(
        connection: Arc<Connection>,
        names: Vec<LockName>,
        bound: Bound,
        body: &AcquireRequest,
    ) -> Self {
        Self::named(connection, names, bound, body.request_id.clone())
    }

    fn named(
        connection: Arc<Connection>,
        names: Vec<LockName>,
        bound: Bound,
        request: Option<RequestId>,
    ) -> Self {
        let open = request.clone().map(|request| GivenUp { names, request, bound: bound.clone() });
        Asking { connection, open, bound, request }
    }

    /// Asks until there is an answer. `wait`: how long the caller waits at most.
    async fn settle<C>(&mut self, call: C, wait: Option<Duration>) -> Result<Granted, Unsettled>
    where
        C: Call + Clone,
        C: crate::backend::call::Asks<Answer = WireGrant>,
    {
        let mut course = Course::new(Moment::now(), wait, self.connection.manners.patience);
        loop {
            let sent = Moment::now();
            let failure = match self.connection.call(call.clone()).await {
                Ok(wire) => {
                    let promise = Promise::of(sent, wire.since_request.get(), wire.valid_for.get());
                    return Ok(Granted { wire, promise });
                }
                Err(failure) => failure,
            };
            match course.next(&failure, sent, Moment::now(), dice::die()) {
                Next::AskAgain => {}
                Next::Pause(pause) => tokio::time::sleep(pause).await,
                Next::Over => return Err(self.over(failure, course.was_queued)),
                Next::GiveUp => return Err(self.give_up(failure, course.may_have_happened)),
            }
        }
    }

    /// The request has an answer: nothing of it is left behind.
    fn over(&mut self, failure: Failure, was_queued: bool) -> Unsettled {
        self.open = None;
        let denied = match failure {
            Failure::Denied(denied) => *denied,
            other => return Unsettled::Answer(Asked::Failed(other.into())),
        };
        match denied {
            Denied::Held(held) => Unsettled::Answer(Asked::Held(held)),
            Denied::TimedOut(held) => Unsettled::Answer(Asked::TimedOut(held)),
            Denied::Finished(..) => Unsettled::AskAnew,
            Denied::SessionEnded(end) if !was_queued => {
                self.end_session(end);
                Unsettled::AskAnew
            }
            // A place in a queue was lost with the session, and perhaps other grants: the caller must know.
            Denied::SessionEnded(end) | Denied::PlaceLost(end) => {
                self.end_session(end.clone());
                Unsettled::Answer(Asked::Failed(Error::SessionEnded(end)))
            }
            other => Unsettled::Answer(Asked::Denied(other)),
        }
    }

    fn end_session(&self, end: SessionEnd) {
        if let Bound::Session(session) = &self.bound {
            session.end(end);
        }
    }

    /// Nobody answered in time.
    fn give_up(&mut self, failure: Failure, may: MayHaveHappened) -> Unsettled {
        if !may.0 {
            self.open = None;
            return Unsettled::Answer(Asked::Failed(failure.into()));
        }
        let why = match failure {
            Failure::Unavailable { why, .. } | Failure::Unknown(why) => why,
            other => format!("{other:?}"),
        };
        if let Some(open) = &self.open {
            self.connection.remember_unsettled(open.clone());
        }
        let request_id = self.request.clone();
        Unsettled::Answer(Asked::Failed(Error::Unknown { request_id, why }))
    }

    /// Puts the grant into the caller's hands and has it kept.
    fn grant(
        mut self,
        shared: &Arc<Shared>,
        name: LockName,
        is_reentrant: bool,
        granted: Granted,
    ) -> Result<Grant, Asked> {
        let Granted { wire, promise } = granted;
        let tokens: std::collections::BTreeMap<_, _> = wire.tokens().into_iter().collect();
        let understood = wire.lease.filter(|_| tokens.contains_key(&name));
        let Some(lease) = understood else {
            let why = "a grant without its lease or without the lock asked for".to_owned();
            return Err(Error::NotUnderstood { why }.into());
        };
        self.open = None;
        let facts = Facts {
            name,
            tokens,
            lease,
            owner: wire.owner,
            request: wire.request_id,
            is_reentrant,
        };
        let holding = match &self.bound {
            Bound::Session(session) => hold_in_session(facts, session, promise),
            Bound::At(_) => keeping::hold_alone(&self.connection, facts, wire.ttl.get(), promise),
        };
        Ok(Grant::new(shared.clone(), holding))
    }
}

/// A holding that hangs on a session.
pub(crate) fn hold_in_session(
    facts: Facts,
    session: &Arc<Session>,
    promise: Promise,
) -> Arc<Holding> {
    let holding = Arc::new(Holding::new(facts, Life::Session(session.clone())));
    session.add(&holding, promise);
    holding
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(given_up) = self.open.take() {
            self.connection.give_back(Return::Request(given_up));
        }
    }
}

/// A grant for which only the lease is known: what is asked for it by hand.
pub(crate) async fn acquire_by_hand(
    connection: Arc<Connection>,
    mut body: AcquireRequest,
    wait: Option<Duration>,
) -> Result<WireGrant, Asked> {
    let request = body.request_id.get_or_insert_with(dice::request_id).clone();
    let wait_asked = wait.unwrap_or(limits::WAIT_MAX).min(limits::WAIT_MAX);
    body.wait = Some(Seconds(wait_asked));
    body.hold = Some(Seconds(wait_asked.min(HOLD_MAX)));
    let locks = body.locks.iter().flatten().map(|wanted| wanted.name.clone());
    let names: Vec<_> = body.name.iter().cloned().chain(locks).collect();
    let bound = Bound::own(body.ttl.map_or(Duration::ZERO, Seconds::get));
    let mut asking = Asking::named(connection, names, bound, Some(request));
    match asking.settle(Acquire(body), wait).await {
        Ok(granted) => {
            asking.open = None;
            Ok(granted.wire)
        }
        Err(Unsettled::Answer(asked)) => Err(asked),
        Err(Unsettled::AskAnew) => {
            let over = Refusal::new(tenure_api::Code::RequestFinished, "the request is over");
            Err(Error::Refused(over).into())
        }
    }
}

/// Takes a grant over by hand.
pub(crate) async fn hand_over_by_hand(
    connection: Arc<Connection>,
    name: LockName,
    lease: Lease,
    ttl: Option<Duration>,
) -> Result<WireGrant, Asked> {
    let request_id = Some(dice::request_id());
    let body = HandOverRequest {
        lease,
        session: None,
        ttl: ttl.map(Seconds),
        request_id: request_id.clone(),
    };
    let bound = Bound::own(ttl.unwrap_or_default());
    let mut asking = Asking::named(connection, vec![name.clone()], bound, request_id);
    match asking.settle(HandOver { name, body }, Some(Duration::ZERO)).await {
        Ok(granted) => {
            asking.open = None;
            Ok(granted.wire)
        }
        Err(Unsettled::Answer(asked)) => Err(asked),
        Err(Unsettled::AskAnew) => Err(Asked::Denied(Denied::Lost(LossReason::Unknown))),
    }
}
