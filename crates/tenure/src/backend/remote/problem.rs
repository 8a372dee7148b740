//! Refusals of a server: what they mean for the caller.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use tenure_api::{Code, EndedEvent, LostName, Problem, SessionEndName};
use tenure_core::Permits;

use crate::backend::{Denied, Failure};
use crate::error::{Cycle, Force, Held, LossReason, Refusal, SessionEnd};

/// The header of that name, in seconds.
pub(super) fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

/// What an answer that is no success means. A body that is not ours comes from something between: what it says with
/// 4xx was never passed on, after 5xx it may have been.
pub(super) fn failure(status: u16, retry_after: Duration, body: &[u8]) -> Failure {
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
        return match status {
            500.. => Failure::Unknown(format!("status {status} from something between")),
            _ => Failure::NotUnderstood(format!("status {status} without a problem in it")),
        };
    };
    let retry_after = problem.retry_after.map_or(retry_after, Duration::from);
    let said = problem.detail.clone().unwrap_or_else(|| problem.title.clone());
    match problem.code {
        Code::Unavailable => Failure::Unavailable { retry_after, why: said },
        // A bug may have come after the act.
        Code::Unknown | Code::Bug => Failure::Unknown(said),
        Code::NotSupported => Failure::NotSupported(problem.capability.unwrap_or(said)),
        _ => match denied(&problem) {
            Some(denied) => Failure::denied(denied),
            None => Failure::Refused(Refusal {
                code: problem.code,
                detail: said,
                field: problem.field,
                retry_after: Some(retry_after).filter(|after| !after.is_zero()),
            }),
        },
    }
}

fn denied(problem: &Problem) -> Option<Denied> {
    Some(match problem.code {
        Code::Held => Denied::Held(held(problem)),
        Code::TimedOut => Denied::TimedOut(held(problem)),
        Code::Waiting => Denied::Waiting,
        Code::Deadlock => {
            Denied::Deadlock(Cycle { members: problem.cycle.clone().unwrap_or_default() })
        }
        Code::AlreadyHeld => Denied::AlreadyHeld(problem.token?),
        Code::CapacityMismatch => Denied::CapacityMismatch(problem.permits.unwrap_or(Permits::ONE)),
        Code::RequestFinished => Denied::Finished(problem.ended?, force(problem)),
        Code::Lost => Denied::Lost(loss_reason(problem)),
        Code::SessionEnded if problem.waited.is_some() => Denied::PlaceLost(session_end(problem)),
        Code::SessionEnded => Denied::SessionEnded(session_end(problem)),
        _ => return None,
    })
}

fn held(problem: &Problem) -> Held {
    let span =
        |seconds: Option<tenure_api::Seconds>| seconds.map_or(Duration::ZERO, Duration::from);
    Held {
        holders: problem.holders.clone().unwrap_or_default(),
        queue_length: problem.queue_length.unwrap_or(0),
        opens_in: span(problem.opens_in),
        retry_after: span(problem.retry_after),
        blocked_by: problem.blocked_by.clone().unwrap_or_default(),
        waited: span(problem.waited),
    }
}

fn loss_reason(problem: &Problem) -> LossReason {
    let name = problem.reason.as_deref().map_or(LostName::Unknown, LostName::named);
    LossReason::told(name, force(problem))
}

fn session_end(problem: &Problem) -> SessionEnd {
    let name = problem.reason.as_deref().map_or(SessionEndName::Unknown, SessionEndName::named);
    session_ended(name, force(problem))
}

fn session_ended(name: SessionEndName, force: Force) -> SessionEnd {
    match name {
        SessionEndName::Expired | SessionEndName::NodeDead => SessionEnd::Expired,
        SessionEndName::Closed => SessionEnd::Closed,
        SessionEndName::Broken => SessionEnd::Broken(force),
        SessionEndName::Unknown | SessionEndName::Other => SessionEnd::Unknown,
    }
}

fn force(problem: &Problem) -> Force {
    Force::told(problem.by.as_ref(), problem.why.as_ref())
}

impl From<EndedEvent> for SessionEnd {
    fn from(ended: EndedEvent) -> Self {
        session_ended(ended.reason, Force::told(ended.by, ended.why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, json: &str) -> Failure {
        failure(status, Duration::from_secs(2), json.as_bytes())
    }

    #[test]
    fn what_happened_and_what_may_have_are_kept_apart() {
        let unavailable =
            r#"{"type":"urn:tenure:unavailable","title":"t","status":503,"code":"unavailable"}"#;
        let answer = of(503, unavailable);
        assert_eq!(answer.is_passing().map(|may| may.0), Some(false));
        assert_eq!(answer.retry_after(), Duration::from_secs(2));
        let unknown = r#"{"type":"urn:tenure:unknown","title":"t","status":504,"code":"unknown"}"#;
        assert_eq!(of(504, unknown).is_passing().map(|may| may.0), Some(true));
        assert_eq!(of(502, "<html>bad gateway</html>").is_passing().map(|may| may.0), Some(true));
        assert!(matches!(of(404, "<html>not here</html>"), Failure::NotUnderstood(_)));
    }

    #[test]
    fn a_code_of_a_later_server_is_a_refusal_with_its_words() {
        let json = r#"{"type":"urn:tenure:new","title":"New","status":409,"code":"new_thing","detail":"so"}"#;
        let Failure::Refused(refusal) = of(409, json) else { panic!("a refusal") };
        assert_eq!((refusal.code, refusal.detail.as_str()), (Code::Other, "so"));
    }

    #[test]
    fn a_held_lock_says_by_whom() {
        let json = r#"{"type":"urn:tenure:held","title":"t","status":409,"code":"held","acquired":false,
            "holders":[{"token":17,"mode":"exclusive","owner":"o-80","session":"s-Hk2v9","note":"ann@ci-3",
            "held_for":12.4,"expires_in":17.6}],"queue_length":3,"retry_after":2}"#;
        let Failure::Denied(denied) = of(409, json) else { panic!("denied") };
        let Denied::Held(held) = *denied else { panic!("held") };
        assert_eq!((held.queue_length, held.holders[0].token.get()), (3, 17));
        assert_eq!(held.to_string(), "held by ann@ci-3 for 12.4 s");
    }
}
