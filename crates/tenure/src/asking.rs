//! Asking for a grant until there is an answer: retries under the same id, waiting, giving up. Runs on the library's
//! own thread.

use std::sync::Arc;
use std::time::Duration;

use tenure_api::{
    AcquireRequest, ConvertRequest, Grant as WireGrant, HandOverRequest, Mode, RenewRequest,
    Seconds,
};
use tenure_core::{Lease, LockName, RequestId, limits};

use crate::backend::call::{Acquire, Call, Convert, HandOver, Renew};
use crate::backend::{Denied, Failure, MayHaveHappened};
use crate::clock::Moment;
use crate::connection::Connection;
use crate::dice;
use crate::error::{AcquireError, Error, GrantError, Held, Loss, LossReason, Refusal};
use crate::grant::{Grant, GrantHandle};
use crate::holding::{Facts, Holding, Life};
use crate::keeping;
use crate::promise::Promise;
use crate::request::Wish;
use crate::retry;
use crate::returns::{Bound, GivenUp, Return};
use crate::session::Session;
use crate::tenure::Shared;

/// Longest time one answer is held back: below what balancers allow.
const HOLD_MAX: Duration = Duration::from_secs(25);
/// How long to wait with asking for an answer again that nobody held back. Well below the time a place is kept.
const ASK_AGAIN_PAUSE: Duration = Duration::from_millis(500);
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

/// What became of a grant that was to be left to another process.
pub(crate) async fn leave_for(
    connection: Arc<Connection>,
    holding: Arc<Holding>,
    good_for: Duration,
) -> Result<GrantHandle, GrantError> {
    let (lease, tokens) = match &holding.life {
        Life::Own { .. } => {
            let ttl = Some(Seconds(good_for));
            let body = RenewRequest { lease: Some(holding.lease), ttl, ..RenewRequest::default() };
            settled(&connection, &holding, Renew(body)).await?;
            (holding.lease, holding.tokens.clone())
        }
        Life::Session(_) => {
            let body = HandOverRequest {
                lease: holding.lease,
                session: None,
                ttl: Some(Seconds(good_for)),
                request_id: Some(dice::request_id()),
            };
            let call = HandOver { name: holding.name.clone(), body };
            let granted = settled(&connection, &holding, call).await?;
            let lease = granted.lease.ok_or_else(no_lease)?;
            (lease, granted.tokens().into_iter().collect())
        }
    };
    Ok(GrantHandle::new(holding.name.clone(), tokens, lease))
}

fn no_lease() -> GrantError {
    GrantError::Other(Error::NotUnderstood { why: "a grant without a lease".into() })
}

/// A call about a grant, repeated while the grant lasts.
pub(crate) async fn settled<C: Call>(
    connection: &Connection,
    holding: &Holding,
    call: C,
) -> Result<C::Answer, GrantError> {
    let lost = holding.lost();
    let over = async {
        lost.await;
    };
    match connection.insist_until(call, over).await {
        Some(Ok(answer)) => Ok(answer),
        Some(Err(failure)) => Err(about(holding, failure)),
        None => Err(GrantError::Lost(holding.lose(LossReason::Unreachable))),
    }
}

/// What a failure says about a grant.
pub(crate) fn about(holding: &Holding, failure: Failure) -> GrantError {
    match failure {
        Failure::Denied(denied) => match *denied {
            Denied::Lost(reason) => GrantError::Lost(holding.lose(reason)),
            Denied::SessionEnded(_) => GrantError::Lost(holding.lose(LossReason::SessionEnded)),
            other => GrantError::Other(Failure::denied(other).into()),
        },
        other => GrantError::Other(other.into()),
    }
}

/// What became of a conversion.
pub(crate) enum Converted {
    Granted { tokens: Vec<(LockName, tenure_core::Token)>, promise: Promise },
    Denied(Denied),
    Failed(GrantError),
}

/// Changes the mode of a grant, asking again while it waits and the grant lasts.
pub(crate) async fn convert(
    connection: Arc<Connection>,
    holding: Arc<Holding>,
    mode: Mode,
    wait: Duration,
) -> Converted {
    let wait = wait.min(limits::WAIT_MAX);
    let body = ConvertRequest {
        lease: holding.lease,
        mode,
        wait: Some(Seconds(wait)),
        hold: Some(Seconds(wait.min(HOLD_MAX))),
    };
    let call = Convert { name: holding.name.clone(), body };
    loop {
        let sent = Moment::now();
        match settled_or_denied(&connection, &holding, call.clone()).await {
            Ok(granted) => {
                let promise =
                    Promise::of(sent, granted.since_request.get(), granted.valid_for.get());
                return Converted::Granted { tokens: granted.tokens(), promise };
            }
            Err(failure) if is_waiting(&failure) => {
                if let Next::Pause(pause) = ask_again(Moment::now().since(sent), dice::die()) {
                    tokio::time::sleep(pause).await;
                }
            }
            Err(Failure::Denied(denied)) if is_of_the_lock(&denied) => {
                return Converted::Denied(*denied);
            }
            Err(failure) => return Converted::Failed(about(&holding, failure)),
        }
    }
}

fn is_of_the_lock(denied: &Denied) -> bool {
    matches!(denied, Denied::Held(_) | Denied::TimedOut(_) | Denied::Deadlock(_))
}

async fn settled_or_denied<C: Call>(
    connection: &Connection,
    holding: &Holding,
    call: C,
) -> Result<C::Answer, Failure> {
    let lost = holding.lost();
    let over = async {
        lost.await;
    };
    let answer = connection.insist_until(call, over).await;
    answer.unwrap_or_else(|| {
        let loss = holding.lose(LossReason::Unreachable);
        Err(Failure::denied(Denied::Lost(loss.reason)))
    })
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
            Denied::Finished(_) => Unsettled::AskAnew,
            Denied::SessionEnded(end) => {
                if let Bound::Session(session) = &self.bound {
                    session.end(end);
                }
                // A place in a queue was lost with the session, and perhaps other grants: the caller must know.
                if was_queued {
                    return Unsettled::Answer(Asked::Failed(Error::SessionEnded(end)));
                }
                Unsettled::AskAnew
            }
            other => Unsettled::Answer(Asked::Denied(other)),
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

/// How asking goes on, decided from what was answered and the time alone.
struct Course {
    began: Moment,
    wait: Option<Duration>,
    patience: Duration,
    failures: u32,
    was_queued: bool,
    may_have_happened: MayHaveHappened,
}

fn is_waiting(failure: &Failure) -> bool {
    matches!(failure, Failure::Denied(denied) if **denied == Denied::Waiting)
}

/// An answer that was held back is asked for again at once; one that was not, after a pause.
fn ask_again(answered_after: Duration, die: u8) -> Next {
    if answered_after >= ASK_AGAIN_PAUSE {
        return Next::AskAgain;
    }
    Next::Pause(ASK_AGAIN_PAUSE / 2 + ASK_AGAIN_PAUSE.mul_f64(f64::from(die) / 255.0))
}

#[derive(Debug, PartialEq)]
enum Next {
    /// At once, with the same id.
    AskAgain,
    /// After a pause, with the same id.
    Pause(Duration),
    /// That was the answer.
    Over,
    /// There will be no answer in time.
    GiveUp,
}

impl Course {
    fn new(began: Moment, wait: Option<Duration>, patience: Duration) -> Self {
        let may_have_happened = MayHaveHappened(false);
        Course { began, wait, patience, failures: 0, was_queued: false, may_have_happened }
    }

    /// What to do after a failure of an attempt that was sent at `sent`.
    fn next(&mut self, failure: &Failure, sent: Moment, now: Moment, die: u8) -> Next {
        if is_waiting(failure) {
            self.failures = 0;
            self.was_queued = true;
            return ask_again(now.since(sent), die);
        }
        let Some(may) = failure.is_passing() else { return Next::Over };
        self.may_have_happened.0 |= may.0;
        self.failures += 1;
        let pause = retry::pause(self.failures, failure.retry_after(), die);
        let is_too_late = self.goes_on_for().is_some_and(|span| now + pause >= self.began + span);
        if is_too_late { Next::GiveUp } else { Next::Pause(pause) }
    }

    /// How long it is worth to go on: patience for a first answer, then as long as the place in the queue is good for,
    /// and patience on top for the answer that it has passed.
    fn goes_on_for(&self) -> Option<Duration> {
        match (self.wait, self.was_queued) {
            (Some(wait), _) => Some(wait.saturating_add(self.patience)),
            (None, false) => Some(self.patience),
            (None, true) => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn unavailable() -> Failure {
        Failure::Unavailable { retry_after: Duration::ZERO, why: "gone".into() }
    }

    fn course(wait: Option<Duration>) -> (Course, Moment) {
        let began = Moment::now();
        (Course::new(began, wait, SECOND * 10), began)
    }

    #[test]
    fn a_first_answer_is_awaited_with_patience_only() {
        let (mut course, began) = course(None);
        assert!(matches!(course.next(&unavailable(), began, began, 0), Next::Pause(_)));
        assert_eq!(course.next(&unavailable(), began, began + SECOND * 11, 0), Next::GiveUp);
        assert!(!course.may_have_happened.0);
    }

    #[test]
    fn who_stands_in_the_queue_goes_on_for_ever() {
        let (mut course, began) = course(None);
        let held_back = began + SECOND * 25;
        let next = course.next(&Failure::denied(Denied::Waiting), began, held_back, 0);
        assert_eq!(next, Next::AskAgain);
        let at_once = course.next(&Failure::denied(Denied::Waiting), began, began, 0);
        assert!(matches!(at_once, Next::Pause(_)), "{at_once:?}");
        let next = course.next(&unavailable(), began, began + SECOND * 10_000, 0);
        assert!(matches!(next, Next::Pause(_)), "{next:?}");
    }

    #[test]
    fn a_bounded_wait_ends_with_its_bound_and_some_patience() {
        let (mut course, began) = course(Some(SECOND * 60));
        course.next(&Failure::denied(Denied::Waiting), began, began, 0);
        assert!(matches!(
            course.next(&unavailable(), began, began + SECOND * 65, 0),
            Next::Pause(_)
        ));
        assert_eq!(course.next(&unavailable(), began, began + SECOND * 71, 0), Next::GiveUp);
    }

    #[test]
    fn once_it_may_have_happened_it_stays_so() {
        let (mut course, began) = course(Some(Duration::ZERO));
        course.next(&Failure::Unknown("cut".into()), began, began, 0);
        course.next(&unavailable(), began, began, 0);
        assert!(course.may_have_happened.0);
    }

    #[test]
    fn a_refusal_is_the_answer() {
        let (mut course, began) = course(None);
        let refusal = Failure::Refused(Refusal::field("name", "is wrong"));
        assert_eq!(course.next(&refusal, began, began, 0), Next::Over);
        let held = Failure::denied(Denied::Held(Held::default()));
        assert_eq!(course.next(&held, began, began, 0), Next::Over);
    }
}
