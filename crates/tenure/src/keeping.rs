//! Keeping a grant that has a time of its own.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tenure_api::{RenewRequest, Seconds};
use tokio::sync::watch;

use crate::backend::call::Renew;
use crate::clock::{Moment, sleep_until};
use crate::connection::Connection;
use crate::error::{GrantError, LossReason};
use crate::holding::{Facts, Holding, Life, Recall};
use crate::promise::Promise;
use crate::session;
use crate::settling;

/// Longest wait for the answer to one renewal.
const RENEW_MAX: Duration = Duration::from_secs(10);

/// A holding with a life of its own, renewed as long as somebody has it.
pub(crate) fn hold_alone(
    connection: &Arc<Connection>,
    facts: Facts,
    ttl: Duration,
    promise: Promise,
) -> Arc<Holding> {
    let life = Life::Own { ttl, promise: watch::channel(promise).0 };
    let holding = Arc::new(Holding::new(facts, life));
    tokio::spawn(renew_while_held(connection.clone(), Arc::downgrade(&holding), ttl));
    holding
}

/// Ends when the grant is given back or lost.
async fn renew_while_held(connection: Arc<Connection>, weak: Weak<Holding>, ttl: Duration) {
    let mut due = Moment::now() + ttl / 3;
    let mut failures = 0;
    loop {
        let Some(until) = weak.upgrade().and_then(|holding| still_held_until(&holding)) else {
            return;
        };
        if due >= until {
            // Nothing more can be done in time: notice the end when it comes.
            sleep_until(until).await;
            continue;
        }
        sleep_until(due).await;
        let Some(holding) = weak.upgrade() else { return };
        let sent = Moment::now();
        let renewed = tokio::select! {
            renewed = renew_once(&connection, &holding, ttl, sent) => renewed,
            // An answer that comes later gives nothing back.
            () = sleep_until(until) => continue,
        };
        match renewed {
            Ok(()) => {
                failures = 0;
                due = sent + ttl / 3;
            }
            Err(retry_after) => {
                failures += 1;
                due = session::next_try(ttl, failures, retry_after);
            }
        }
    }
}

/// Until when it is ours for sure; noticing that it is not is part of asking.
fn still_held_until(holding: &Holding) -> Option<Moment> {
    let now = Moment::now();
    if holding.loss(now).is_some() {
        return None;
    }
    match &holding.life {
        Life::Own { promise, .. } => Some(promise.borrow().until),
        Life::Session(_) => None,
    }
}

/// One attempt; on failure, when to try again at the server's word. The old promise stands then.
async fn renew_once(
    connection: &Connection,
    holding: &Holding,
    ttl: Duration,
    sent: Moment,
) -> Result<(), Duration> {
    let body = RenewRequest {
        lease: Some(holding.lease),
        ttl: Some(Seconds(ttl)),
        ..RenewRequest::default()
    };
    let answer_max = (ttl / 3).min(RENEW_MAX);
    let answer = tokio::time::timeout(answer_max, connection.call(Renew(body))).await;
    let renewed = match answer {
        Ok(Ok(renewed)) => renewed,
        Ok(Err(failure)) => {
            let retry_after = failure.retry_after();
            if let GrantError::Other(error) = settling::about(holding, failure) {
                tracing::debug!(event = "renewal_failed", %error);
            }
            return Err(retry_after);
        }
        Err(_) => return Err(Duration::ZERO),
    };
    if let Some(recall) = renewed.recall {
        let (reason, by) = (recall.reason.to_string(), recall.by.map(|by| by.to_string()));
        holding.recall(Recall { within: recall.within.get(), reason, by });
    }
    extend(holding, Promise::of(sent, Duration::ZERO, renewed.valid_for.get()));
    Ok(())
}

/// A renewal that comes after the promise has passed gives nothing back.
pub(crate) fn extend(holding: &Holding, new: Promise) {
    let Life::Own { promise, .. } = &holding.life else { return };
    if promise.borrow().is_over(Moment::now()) {
        holding.lose(LossReason::Unreachable);
        return;
    }
    promise.send_modify(|promise| *promise = promise.or(new));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holding::State;
    use crate::holding::tests::holding;

    #[test]
    fn a_renewal_that_comes_after_the_promise_gives_nothing_back() {
        let ten = Duration::from_secs(10);
        let holding = holding(Promise::of(Moment::now().minus(ten), Duration::ZERO, ten));
        extend(&holding, Promise::of(Moment::now(), Duration::ZERO, ten));
        let State::Lost(loss) = holding.state(Moment::now()) else { panic!("it came too late") };
        assert_eq!(loss.reason, LossReason::Unreachable);
    }
}
