//! Calls about a grant, repeated while the grant lasts. Runs on the library's own thread.

use std::sync::Arc;
use std::time::Duration;

use tenure_api::{ConvertRequest, HandOverRequest, Mode, RenewRequest, Seconds};
use tenure_core::{LockName, Token, limits};

use crate::asking::HOLD_MAX;
use crate::backend::call::{Call, Convert, HandOver, Renew};
use crate::backend::{Denied, Failure};
use crate::clock::Moment;
use crate::connection::Connection;
use crate::course::{Next, ask_again, is_waiting};
use crate::dice;
use crate::error::{Error, GrantError, LossReason};
use crate::grant::GrantHandle;
use crate::holding::{Holding, Life};
use crate::promise::Promise;

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
            let granted = handed_over(&connection, &holding, call, good_for).await?;
            let lease = granted.lease.ok_or_else(no_lease)?;
            (lease, granted.tokens().into_iter().collect())
        }
    };
    Ok(GrantHandle::new(holding.name.clone(), tokens, lease))
}

fn no_lease() -> GrantError {
    GrantError::Other(Error::NotUnderstood { why: "a grant without a lease".into() })
}

/// The hand-over itself. That the old grant is lost to it may be heard before the answer, and must not stop it.
async fn handed_over(
    connection: &Connection,
    holding: &Holding,
    call: HandOver,
    good_for: Duration,
) -> Result<tenure_api::Grant, GrantError> {
    let lost = holding.lost();
    let over = async {
        if lost.await.reason == LossReason::HandedOver {
            tokio::time::sleep(good_for).await;
        }
    };
    told(holding, connection.insist_until(call, over).await)
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
    told(holding, connection.insist_until(call, over).await)
}

fn told<T>(holding: &Holding, answer: Option<Result<T, Failure>>) -> Result<T, GrantError> {
    match answer {
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
            Denied::SessionEnded(end) | Denied::PlaceLost(end) => {
                GrantError::Lost(holding.lose((&end).into()))
            }
            other => GrantError::Other(Failure::denied(other).into()),
        },
        other => GrantError::Other(other.into()),
    }
}

/// What became of a conversion.
pub(crate) enum Converted {
    Granted { tokens: Vec<(LockName, Token)>, promise: Promise },
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SessionEnd;
    use crate::holding::tests::holding;

    #[test]
    fn what_ends_with_its_session_is_lost_and_trouble_loses_nothing() {
        let ten = Duration::from_secs(10);
        let holding = holding(Promise::of(Moment::now(), Duration::ZERO, ten));
        let passing = about(&holding, Failure::Unknown("cut".into()));
        assert!(matches!(passing, GrantError::Other(_)), "{passing:?}");
        assert!(holding.loss(Moment::now()).is_none());
        let ended = Failure::denied(Denied::SessionEnded(SessionEnd::Closed));
        let GrantError::Lost(loss) = about(&holding, ended) else { panic!("it is lost") };
        assert_eq!(loss.reason, LossReason::SessionEnded);
        assert_eq!(holding.loss(Moment::now()), Some(loss));
    }
}
