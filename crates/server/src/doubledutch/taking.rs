//! Taking a lock for one held answer. A waiter is a future and occupies no thread; when its client goes away, it is
//! dropped, and the place in the queue goes with it.

use std::time::Duration;

use tenure_core::{
    Acquire, Answer as Decided, Claim, Command, Lease, LeaseRecord, Life, Refusal, Release,
    RequestName, Settled, Target, Want, limits,
};
use tenure_log::{Log, SubmitError};

use super::answer::{Answer, Route};
use super::owner;
use super::request::GetLock;
use crate::app::App;
use crate::identity::Identity;

const ROUTE: Route = Route::GetLock;

/// Waits for the lock as long as the request says, in this one answer.
pub(super) async fn take(app: &App, caller: &Identity, wanted: &GetLock) -> Answer {
    if caller.ttl_max.is_some_and(|max| wanted.lifetime > max) {
        return ROUTE.bad("lifetime is longer than this api key may ask for");
    }
    if app.drain.is_draining() {
        return ROUTE.unavailable("draining");
    }
    if !wanted.timeout.is_zero() && app.metrics.held_answers() >= app.settings.waiters_max {
        return ROUTE.unavailable("overloaded");
    }
    let token = Lease::from_random(super::dice());
    let mut left = wanted.timeout;
    loop {
        // One place in the queue lasts a day at most; who waits longer goes to the end of it once a day.
        let wait = left.min(limits::WAIT_MAX);
        left -= wait;
        match settle(app, caller, acquire(app, caller, wanted, wait, &token)).await {
            Ok(Settled::Granted(granted)) => {
                app.metrics.granted(&granted);
                return Answer::acquired(wanted.name.as_str(), &token);
            }
            Ok(Settled::Refused(refusal)) => {
                if matches!(*refusal, Refusal::TimedOut(_)) && !left.is_zero() {
                    continue;
                }
                app.metrics.not_granted(&Claim::Exclusive, &refusal);
                return refused(&refusal, wanted);
            }
            Err(answer) => return answer,
        }
    }
}

/// Carries the request through the log and, if it is queued, waits for what becomes of it.
async fn settle(app: &App, caller: &Identity, asked: Acquire) -> Result<Settled, Answer> {
    let mut untold = Untold::new(&app.log, &asked);
    let reply = app.log.submit(Command::Acquire(Box::new(asked))).await;
    if !matches!(reply, Err(SubmitError::Unknown)) {
        untold.is_told();
    }
    let reply = reply.map_err(|error| failed(ROUTE, error))?;
    match (reply.answer, reply.outcome) {
        (Decided::Granted(granted), _) => Ok(Settled::Granted(granted)),
        (Decided::Refused(refusal), _) => Ok(Settled::Refused(refusal)),
        (Decided::Queued(_), Some(outcome)) => {
            let _held = app.metrics.held_answer();
            // Dropped here, the outcome leaves the queue.
            tokio::select! {
                biased;
                () = app.keys.revoked(caller) => Err(ROUTE.wrong_key()),
                settled = outcome => settled.map_err(|_| ROUTE.bug()),
                () = app.drain.begun() => Err(ROUTE.unavailable("draining")),
            }
        }
        (other, _) => {
            tracing::error!(event = "bug", answer = ?other, "an acquire was answered otherwise");
            Err(ROUTE.bug())
        }
    }
}

fn acquire(
    app: &App,
    caller: &Identity,
    wanted: &GetLock,
    wait: Duration,
    token: &Lease,
) -> Acquire {
    let hash = token.hash();
    Acquire {
        caller: caller.caller(),
        wants: vec![Want { name: wanted.name.clone(), claim: Claim::Exclusive }],
        life: Life::Own(wanted.lifetime),
        wait,
        owner: Some(owner::of_token(&hash)),
        reentrant: false,
        lock_delay: Duration::ZERO,
        at_least: Duration::ZERO,
        note: None,
        request: RequestName::Unnamed,
        lease: match app.settings.doubledutch.status_tokens {
            true => LeaseRecord::Plain(*token),
            false => LeaseRecord::Hashed(hash),
        },
    }
}

fn refused(refusal: &Refusal, wanted: &GetLock) -> Answer {
    match refusal {
        Refusal::Held(_) | Refusal::TimedOut(_) => Answer::not_acquired(wanted.name.as_str()),
        Refusal::CapacityMismatch { .. } => ROUTE.mismatch(),
        Refusal::Limit(_) => ROUTE.limited(refusal, Duration::from_secs(1)),
        _ => {
            tracing::error!(event = "bug", %refusal, "a plain acquire was refused for another reason");
            ROUTE.bug()
        }
    }
}

/// What is said when the log did not answer.
pub(super) fn failed(route: Route, error: SubmitError) -> Answer {
    match error {
        SubmitError::Unavailable(reason) => route.unavailable(reason.as_str()),
        SubmitError::Unknown => route.unknown(),
    }
}

/// A request on its way through the log. Dropped without an answer, because its client went away or nobody knows what
/// happened, it gives back what it may have been granted: no client knows the token.
struct Untold<'a> {
    log: &'a Log,
    release: Option<Release>,
}

impl<'a> Untold<'a> {
    fn new(log: &'a Log, asked: &Acquire) -> Self {
        let release = Release {
            caller: asked.caller.clone(),
            name: None,
            target: Target::Lease(asked.lease.hash()),
            names: Vec::new(),
            request: None,
        };
        Untold { log, release: Some(release) }
    }

    fn is_told(&mut self) {
        self.release = None;
    }
}

impl Drop for Untold<'_> {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            self.log.submit_later(Command::Release(Box::new(release)));
        }
    }
}
