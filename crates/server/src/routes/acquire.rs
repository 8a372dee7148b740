//! Taking locks. A waiting request is a future that holds no thread; its place in the queue is in the log, and what it
//! waits on is the log's [`Outcome`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::Response;
use tenure_api::{AcquireRequest, BadReason, Grant, Mode, Wanted};
use tenure_core::{
    Acquire, Answer, Claim, Command, Granted, Lease, LeaseRecord, Life, Permits, Queued, Refusal,
    Release, RequestId, Role, Settled, Target, TicketId, Want, Weight, limits,
};
use tenure_log::{Log, Outcome, Reason, Reply, SubmitError};

use super::call::{self, Call, HOLD_MAX, TTL_DEFAULT};
use crate::app::App;
use crate::error::Refused;
use crate::identity::{Identity, NotIdentified, Unauthenticated};

/// How much longer than the wait an answer is held, so that the rules and not this clock say that the wait passed.
const SETTLE_SLACK: Duration = Duration::from_secs(1);

/// Whether one lock was asked for or a list of them; the answer has the same form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    One,
    Many,
}

/// A request in the words of the rules.
struct Plan {
    acquire: Box<Acquire>,
    lease: Lease,
    hold: Duration,
    /// The id by which the client can come back, if it made one.
    named: Option<RequestId>,
}

/// Takes the lock of the path.
#[utoipa::path(
    post, path = "/v1/locks/{name}/acquire", tag = "locks", params(("name" = String, Path, description = "The lock")),
    request_body = AcquireRequest,
    responses((status = 200, body = Grant), (status = "default", description = "Not acquired", body = tenure_api::Problem))
)]
pub(super) async fn lock(mut call: Box<Call>, name: &str) -> Result<Response, Refused> {
    let (caller, name) = call.caller_at(Role::Lock, name)?;
    let request: AcquireRequest = call.read().await?;
    for (field, given) in [("name", request.name.is_some()), ("locks", request.locks.is_some())] {
        if given {
            let detail = format!("the lock's name stands in the path, so there is no `{field}`");
            return Err(Refused::field(field, BadReason::Unknown, detail));
        }
    }
    let claim = claim(request.mode, request.permits, request.weight, "")?;
    let plan = Plan::of(&call, &caller, request, vec![Want { name, claim }])?;
    take(&call, &caller, plan, Shape::One).await
}

/// Takes one lock or several, all or nothing.
#[utoipa::path(
    post, path = "/v1/acquire", tag = "locks", request_body = AcquireRequest,
    responses((status = 200, body = Grant), (status = "default", description = "Not acquired", body = tenure_api::Problem))
)]
pub(super) async fn many(mut call: Box<Call>) -> Result<Response, Refused> {
    let caller = call.caller(Role::Lock)?;
    let mut request: AcquireRequest = call.read().await?;
    let (wants, shape) = match (request.name.take(), request.locks.take()) {
        (Some(name), None) => {
            caller.may_touch(&name)?;
            let claim = claim(request.mode, request.permits, request.weight, "")?;
            (vec![Want { name, claim }], Shape::One)
        }
        (None, Some(locks)) => (wants(&caller, &request, locks)?, Shape::Many),
        (Some(_), Some(_)) => return Err(Refused::beside("name", "locks")),
        (None, None) => return Err(Refused::missing("name")),
    };
    let plan = Plan::of(&call, &caller, request, wants)?;
    take(&call, &caller, plan, shape).await
}

fn wants(
    caller: &Identity,
    request: &AcquireRequest,
    locks: Vec<Wanted>,
) -> Result<Vec<Want>, Refused> {
    for lock in &locks {
        caller.may_touch(&lock.name)?;
    }
    if locks.is_empty() || locks.len() > limits::LOCKS_IN_REQUEST_MAX {
        let detail = format!("`locks` has 1 to {} of them", limits::LOCKS_IN_REQUEST_MAX);
        return Err(Refused::field("locks", BadReason::Range, detail));
    }
    let above = [
        ("mode", request.mode.is_some()),
        ("permits", request.permits.is_some()),
        ("weight", request.weight.is_some()),
    ];
    if let Some((field, _)) = above.iter().find(|(_, given)| *given) {
        return Err(Refused::beside(field, "locks"));
    }
    let want = |(index, lock): (usize, Wanted)| {
        let path = format!("locks[{index}].");
        let claim = claim(lock.mode, lock.permits, lock.weight, &path)?;
        Ok(Want { name: lock.name, claim })
    };
    locks.into_iter().enumerate().map(want).collect()
}

/// A mode, or permits and weight; `path` is put before the field's name in a refusal.
fn claim(
    mode: Option<Mode>,
    permits: Option<u32>,
    weight: Option<u32>,
    path: &str,
) -> Result<Claim, Refused> {
    let field = |name: &str| format!("{path}{name}");
    let Some(permits) = permits else {
        if weight.is_some() {
            return Err(Refused::missing(&field("permits")));
        }
        return Ok(match mode {
            Some(Mode::Shared) => Claim::Shared,
            Some(Mode::Exclusive) | None => Claim::Exclusive,
        });
    };
    if mode.is_some() {
        return Err(Refused::beside(&field("mode"), &field("permits")));
    }
    let permits = self::permits(&field("permits"), permits)?;
    let claim = Weight::new(weight.unwrap_or(1)).and_then(|weight| Claim::permits(permits, weight));
    claim.ok_or_else(|| {
        let detail = format!("`weight` is a number from 1 to the permits, {}", permits.get());
        Refused::field(&field("weight"), BadReason::Range, detail)
    })
}

/// A semaphore's size.
pub(super) fn permits(field: &str, number: u32) -> Result<Permits, Refused> {
    Permits::new(number).ok_or_else(|| {
        let detail = format!("`permits` is a number from 1 to {}", limits::PERMITS_MAX);
        Refused::field(field, BadReason::Range, detail)
    })
}

impl Plan {
    fn of(
        call: &Call,
        caller: &Identity,
        request: AcquireRequest,
        wants: Vec<Want>,
    ) -> Result<Self, Refused> {
        let life = life(call, caller, &request)?;
        let within = |field, given, max| call::within(field, given, Duration::ZERO, max);
        let wait = within("wait", request.wait, limits::WAIT_MAX)?.unwrap_or_default();
        let hold = within("hold", request.hold, HOLD_MAX)?;
        let lock_delay = within("lock_delay", request.lock_delay, limits::LOCK_DELAY_MAX)?;
        // A lock that is kept shut is held by nobody, so the key's own bound must hold for that, too.
        let at_least_max = caller.ttl_max.unwrap_or(limits::AT_LEAST_MAX).min(limits::AT_LEAST_MAX);
        let at_least = within("at_least", request.at_least, at_least_max)?;
        let named = call.request_id(request.request_id)?;
        let lease = call::fresh_lease()?;
        let acquire = Box::new(Acquire {
            caller: caller.caller(),
            wants,
            life,
            wait,
            owner: request.owner,
            reentrant: request.reentrant.unwrap_or(false),
            lock_delay: lock_delay.unwrap_or_default(),
            at_least: at_least.unwrap_or_default(),
            note: request.note,
            request: call::request_name(&named),
            lease: LeaseRecord::Plain(lease),
        });
        let hold = hold.unwrap_or(call.app.settings.hold).min(HOLD_MAX);
        Ok(Plan { acquire, lease, hold, named })
    }
}

/// What the grant hangs on: the session, or a time of its own.
fn life(call: &Call, caller: &Identity, request: &AcquireRequest) -> Result<Life, Refused> {
    let ttl = call::ttl(request.ttl, caller)?;
    match (call.session(request.session)?, ttl) {
        (Some(_), Some(_)) => Err(Refused::beside("ttl", "session")),
        (Some(session), None) => Ok(Life::Session(session)),
        (None, Some(ttl)) => Ok(Life::Own(ttl)),
        (None, None) => {
            Ok(Life::Own(caller.ttl_max.map_or(TTL_DEFAULT, |max| max.min(TTL_DEFAULT))))
        }
    }
}

async fn take(
    call: &Call,
    caller: &Arc<Identity>,
    plan: Plan,
    shape: Shape,
) -> Result<Response, Refused> {
    let (claim, named) = (plan.acquire.wants[0].claim, plan.named.clone());
    let settled = settle(&call.app, caller, plan)
        .await
        .map_err(|refused| refused.of_request(named.clone()))?;
    match settled {
        Taken::Granted { granted, since_request } => {
            call.app.metrics.granted(&granted);
            call.ok(&match shape {
                Shape::One => Grant::of_one(*granted, since_request),
                Shape::Many => Grant::of_many(*granted, since_request),
            })
        }
        Taken::Refused { refusal, waited } => {
            call.app.metrics.not_granted(&claim, &refusal);
            let refused = Refused::of(*refusal, caller).of_request(named).of_wait(waited);
            Err(if shape == Shape::One { refused.of_one_lock() } else { refused })
        }
    }
}

/// What became of a request within its answer.
pub(super) enum Taken {
    /// The locks are its; this much after the request came in.
    Granted { granted: Box<Granted>, since_request: Duration },
    /// It got nothing; after a time in the queue, if it had a place there.
    Refused { refusal: Box<Refusal>, waited: Option<Duration> },
}

async fn settle(app: &App, caller: &Identity, plan: Plan) -> Result<Taken, Refused> {
    if app.drain.is_draining() {
        return Err(Refused::draining(None));
    }
    let (wait, hold, claim) = (plan.acquire.wait, plan.hold, plan.acquire.wants[0].claim);
    if !wait.is_zero() && app.metrics.held_answers() >= app.settings.waiters_max {
        app.metrics.limit_hit("waiters");
        return Err(Refused::unavailable(Reason::Overloaded));
    }
    let _held = (!wait.is_zero()).then(|| app.metrics.held_answer());
    let mut unanswered = Unanswered::new(app, &plan);
    let fresh = plan.lease;
    let submitted = app.log.submit(Command::Acquire(plan.acquire)).await;
    if !matches!(submitted, Err(SubmitError::Unknown)) {
        unanswered.is_answered();
    }
    let Reply { answer, outcome } = submitted?;
    match (answer, outcome) {
        (Answer::Granted(granted), _) => {
            if granted.lease != Some(fresh) && granted.depth == 1 {
                app.metrics.replayed();
            }
            Ok(Taken::Granted { granted, since_request: Duration::ZERO })
        }
        (Answer::Refused(refusal), _) => Ok(Taken::Refused { refusal, waited: None }),
        (Answer::Queued(place), Some(mut outcome)) => {
            if !place.waited.is_zero() {
                app.metrics.replayed();
            }
            outcome.returning(plan.named.is_some());
            let gone = Gone { app, claim };
            // Boxed, so that a request that does not wait does not carry the memory of one that does.
            let taken = Box::pin(hold_back(app, caller, outcome, place, hold)).await;
            std::mem::forget(gone);
            taken
        }
        (other, _) => Err(Refused::bug(&format!("an acquire was answered with {other:?}"))),
    }
}

/// Holds the answer back until the request is settled, the hold is over, the key is no longer good, or the server
/// drains.
pub(super) async fn hold_back(
    app: &App,
    caller: &Identity,
    mut outcome: Outcome,
    place: Queued,
    hold: Duration,
) -> Result<Taken, Refused> {
    let queued_at = Instant::now();
    let hold = if hold >= place.wait_left { place.wait_left + SETTLE_SLACK } else { hold };
    let settled = tokio::select! {
        biased;
        () = app.keys.revoked(caller) => {
            outcome.leave(false);
            return Err(NotIdentified::from(Unauthenticated::Wrong).into());
        }
        settled = &mut outcome => settled,
        () = app.drain.begun() => {
            outcome.leave(true);
            return Err(Refused::draining(Some(place.request)));
        }
        () = tokio::time::sleep(hold) => match place_now(&app.log, place.ticket).await {
            Place::Waits(now) => {
                outcome.leave(true);
                return Err(Refused::waiting(&passed(&place, &now, queued_at.elapsed())));
            }
            // It was settled at this very moment: the outcome is on its way.
            Place::Settled => outcome.await,
            Place::Unread => {
                outcome.leave(true);
                return Err(Refused::waiting(&passed(&place, &place, queued_at.elapsed())));
            }
        },
    };
    match settled {
        Ok(Settled::Granted(granted)) => {
            // Counted on the log's clock, which never runs ahead: a pause between grant and answer must not make the
            // promise longer.
            let since_request = granted.waited.saturating_sub(place.waited);
            Ok(Taken::Granted { granted, since_request })
        }
        Ok(Settled::Refused(refusal)) => match *refusal {
            Refusal::Superseded => Err(Refused::superseded(Some(place.request))),
            _ => {
                let waited = Some(place.waited + queued_at.elapsed());
                Ok(Taken::Refused { refusal, waited })
            }
        },
        Err(_) => Err(Refused::superseded(Some(place.request))),
    }
}

/// The place as it is `now`, with the times as they have passed since it was taken: the log's clock is read with its
/// entries and may be a second behind.
fn passed(then: &Queued, now: &Queued, since: Duration) -> Queued {
    let waited = now.waited.max(then.waited + since);
    let wait_left = now.wait_left.min(then.wait_left.saturating_sub(since));
    Queued { waited, wait_left, ..now.clone() }
}

/// Where a ticket stands now.
enum Place {
    Waits(Queued),
    Settled,
    Unread,
}

async fn place_now(log: &Log, ticket: TicketId) -> Place {
    match log.read(|machine| machine.place(ticket)).await {
        Ok(Some(place)) => Place::Waits(place),
        Ok(None) => Place::Settled,
        Err(_) => Place::Unread,
    }
}

/// A request without an id of its client's, whose answer is not known yet. Dropped so (the connection broke, or the
/// outcome is unknown), it gives back what it may have been granted: nobody knows the lease.
struct Unanswered<'a> {
    log: &'a Log,
    taken: Option<(tenure_core::Caller, Lease)>,
}

impl<'a> Unanswered<'a> {
    fn new(app: &'a App, plan: &Plan) -> Self {
        let unnamed = plan.named.is_none();
        let taken = unnamed.then(|| (plan.acquire.caller.clone(), plan.lease));
        Unanswered { log: &app.log, taken }
    }

    fn is_answered(&mut self) {
        self.taken = None;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let Some((caller, lease)) = self.taken.take() else { return };
        let target = Target::Lease(lease.hash());
        let release = Release { caller, name: None, target, names: Vec::new(), request: None };
        self.log.submit_later(Command::Release(Box::new(release)));
    }
}

/// Counts a waiter whose client went away; forgotten when there is an answer.
struct Gone<'a> {
    app: &'a App,
    claim: Claim,
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.app.metrics.cancelled(&self.claim);
    }
}
