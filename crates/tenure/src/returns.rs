//! Giving back in the background: grants that were dropped, requests that nobody waits for any more. Many at once go
//! out as one call.

use std::sync::Arc;
use std::time::Duration;

use tenure_api::{Code, ManyResult, ReleaseRequest};
use tenure_core::{Lease, LockName, RequestId};
use tokio::sync::{mpsc, oneshot};

use crate::backend::Failure;
use crate::backend::call::{Release, ReleaseMany};
use crate::clock::Moment;
use crate::connection::Connection;
use crate::dice;
use crate::retry;
use crate::session::Session;

/// Most leases in one call.
const TOGETHER_MAX: usize = 256;
/// Most calls under way at once that are not for many.
const AT_ONCE_MAX: usize = 32;
/// What hangs on no session is tried for so long at least: its own end comes later or soon.
const TRIED_MIN: Duration = Duration::from_secs(60);

/// What is given back.
#[derive(Debug)]
pub(crate) enum Return {
    /// A grant.
    Lease(Leaving),
    /// A request, in whatever state it is.
    Request(GivenUp),
    /// Says when all before it is given back.
    Everything(oneshot::Sender<()>),
}

/// A grant on its way back.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub(crate) lease: Lease,
    /// Names the release where its repetition would take more.
    pub(crate) request: Option<RequestId>,
    pub(crate) bound: Bound,
}

/// A request that nobody waits for any more.
#[derive(Debug, Clone)]
pub(crate) struct GivenUp {
    pub(crate) names: Vec<LockName>,
    pub(crate) request: RequestId,
    pub(crate) bound: Bound,
}

/// When trying becomes pointless, because what is given back has ended by itself.
#[derive(Clone)]
pub(crate) enum Bound {
    Session(Arc<Session>),
    At(Moment),
}

impl Bound {
    /// For what lives so long by itself.
    pub(crate) fn own(ttl: Duration) -> Self {
        Bound::At(Moment::now() + ttl.max(TRIED_MIN))
    }

    fn is_reached(&self) -> bool {
        match self {
            Bound::Session(session) => session.ended().is_some(),
            Bound::At(moment) => Moment::now() >= *moment,
        }
    }
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Bound::Session(_) => "Session",
            Bound::At(_) => "At",
        })
    }
}

/// Gives back what comes, as long as the connection lives. What fails for the moment is tried again with the next, so
/// the queue is bounded by what this program held.
pub(crate) async fn give_back(
    connection: Arc<Connection>,
    mut received: mpsc::UnboundedReceiver<Return>,
) {
    let mut pending: Vec<Return> = Vec::new();
    let mut failures = 0;
    loop {
        if pending.is_empty() {
            failures = 0;
            let mut arrived = Vec::new();
            if received.recv_many(&mut arrived, TOGETHER_MAX).await == 0 {
                return;
            }
            pending = arrived;
        } else {
            failures += 1;
            tokio::time::sleep(retry::pause(failures, Duration::ZERO, dice::die())).await;
            while let Ok(more) = received.try_recv() {
                pending.push(more);
            }
        }
        pending = give_back_once(&connection, pending).await;
    }
}

/// One attempt for all of it. Gives what is to be tried again, in order.
async fn give_back_once(connection: &Connection, all: Vec<Return>) -> Vec<Return> {
    let (mut leases, mut singles, mut told) = (Vec::new(), Vec::new(), Vec::new());
    for one in all {
        match one {
            Return::Lease(leaving) if leaving.request.is_none() => leases.push(leaving),
            Return::Everything(done) => told.push(done),
            single => singles.push(single),
        }
    }
    let mut again = Vec::new();
    while !leases.is_empty() {
        let together = leases.split_off(leases.len().saturating_sub(TOGETHER_MAX));
        again.extend(release_together(connection, together).await.into_iter().map(Return::Lease));
    }
    let mut singles = singles.into_iter().peekable();
    while singles.peek().is_some() {
        let some: Vec<_> = singles.by_ref().take(AT_ONCE_MAX).collect();
        let tried = some.into_iter().map(|single| return_single(connection, single));
        again.extend(futures::future::join_all(tried).await.into_iter().flatten());
    }
    if again.is_empty() {
        for done in told {
            // Whoever asked may have stopped waiting.
            let _not_awaited = done.send(());
        }
        return again;
    }
    again.extend(told.into_iter().map(Return::Everything));
    again
}

/// Gives what is to be tried again.
async fn release_together(connection: &Connection, together: Vec<Leaving>) -> Vec<Leaving> {
    let leases: Vec<Lease> = together.iter().map(|leaving| leaving.lease).collect();
    let answer = match leases.as_slice() {
        [lease] => {
            let body = ReleaseRequest { lease: Some(*lease), ..ReleaseRequest::default() };
            connection.call(Release(body)).await.map(|_| Vec::new())
        }
        _ => {
            let body = ReleaseRequest { leases, ..ReleaseRequest::default() };
            connection.call(ReleaseMany(body)).await.map(|many| many.results)
        }
    };
    let is_over = |l: &Leaving| is_settled(&answer, l.lease) || l.bound.is_reached();
    together.into_iter().filter(|leaving| !is_over(leaving)).collect()
}

/// Whether an answer to some releases is the last word about one of them.
fn is_settled(answer: &Result<Vec<ManyResult>, Failure>, lease: Lease) -> bool {
    match answer {
        Ok(results) => !is_passing(results, lease),
        Err(failure) => settles(failure),
    }
}

/// Whether one of many was not answered for the moment only.
fn is_passing(results: &[ManyResult], lease: Lease) -> bool {
    let result = results.iter().find(|result| result.lease == lease);
    result.is_some_and(|r| matches!(r.code, Some(Code::Unavailable | Code::Unknown | Code::Limit)))
}

/// Whether trying again is pointless. What was lost, or is over, is given back; what met a limit is not.
fn settles(failure: &Failure) -> bool {
    let met_limit = matches!(failure, Failure::Refused(refusal) if refusal.code == Code::Limit);
    failure.is_passing().is_none() && !met_limit
}

async fn return_single(connection: &Connection, single: Return) -> Option<Return> {
    let (body, bound) = match &single {
        Return::Lease(leaving) => {
            let lease = Some(leaving.lease);
            let request_id = leaving.request.clone();
            (ReleaseRequest { lease, request_id, ..ReleaseRequest::default() }, &leaving.bound)
        }
        Return::Request(given_up) => (given_up.body(), &given_up.bound),
        Return::Everything(_) => return None,
    };
    let failed = connection.call(Release(body)).await.err();
    is_left(bound, failed.as_ref()).then_some(single)
}

/// Whether a return is to be tried again.
fn is_left(bound: &Bound, failed: Option<&Failure>) -> bool {
    !bound.is_reached() && failed.is_some_and(|failure| !settles(failure))
}

impl GivenUp {
    /// The call that gives the request up.
    pub(crate) fn body(&self) -> ReleaseRequest {
        let session = match &self.bound {
            Bound::Session(session) => Some(session.handle),
            Bound::At(_) => None,
        };
        ReleaseRequest {
            names: self.names.clone(),
            request_id: Some(self.request.clone()),
            session,
            ..ReleaseRequest::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Denied;
    use crate::error::{LossReason, Refusal};

    fn unavailable() -> Failure {
        Failure::Unavailable { retry_after: Duration::ZERO, why: "gone".into() }
    }

    fn refused(code: Code) -> Failure {
        Failure::Refused(Refusal::new(code, "no"))
    }

    #[test]
    fn what_is_over_is_given_back_and_what_met_trouble_is_tried_again() {
        let bound = Bound::own(Duration::ZERO);
        let lost = Failure::denied(Denied::Lost(LossReason::Expired));
        for over in [None, Some(&lost), Some(&refused(Code::BadRequest))] {
            assert!(!is_left(&bound, over), "{over:?}");
        }
        let unknown = Failure::Unknown("cut".into());
        for trouble in [unavailable(), unknown, refused(Code::Limit)] {
            assert!(is_left(&bound, Some(&trouble)), "{trouble:?}");
        }
        let past = Bound::At(Moment::now());
        assert!(!is_left(&past, Some(&unavailable())), "it has ended by itself");
    }

    #[test]
    fn each_of_many_has_its_own_answer() {
        let lease = |seed| Lease::from_random([seed; 32]);
        let result = |seed, code: Option<Code>| -> ManyResult {
            let told = serde_json::json!({ "lease": lease(seed).as_str(), "code": code });
            serde_json::from_value(told).unwrap()
        };
        let answer = Ok(vec![
            result(1, None),
            result(2, Some(Code::Lost)),
            result(3, Some(Code::Unavailable)),
            result(4, Some(Code::Unknown)),
            result(5, Some(Code::Limit)),
        ]);
        let settled = [1, 2, 3, 4, 5].map(|seed| is_settled(&answer, lease(seed)));
        assert_eq!(settled, [true, true, false, false, false]);
        assert!(!is_settled(&Err(unavailable()), lease(1)));
    }
}
