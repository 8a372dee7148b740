//! Refusals as their clients see them.

use tenure_core::{
    DeniedBy, Ended, KeyName, LockName, Note, Owner, Permits, Prefix, Role, SessionId, Token,
};

use super::*;

fn key(prefixes: &[&str]) -> Identity {
    Identity {
        name: KeyName::new("k").expect("is a name"),
        roles: vec![Role::Lock],
        prefixes: prefixes.iter().map(|p| Prefix::new(p).expect("is a prefix")).collect(),
        ttl_max: None,
        quota: None,
        sha256: None,
        operators_elsewhere: false,
    }
}

fn name(text: &str) -> LockName {
    LockName::new(text).expect("is a name")
}

fn lost(reason: LostReason) -> Refusal {
    Refusal::Lost(Lost { reason, ended_ago: Duration::from_millis(3200), token: None })
}

#[test]
fn every_refusal_has_its_status_and_code() {
    let cases = [
        (Refusal::Held(HeldBy::default()), 409, "held"),
        (Refusal::TimedOut(HeldBy::default()), 409, "timed_out"),
        (Refusal::Deadlock(Cycle { members: vec![] }), 409, "deadlock"),
        (Refusal::AlreadyHeld { token: Token::new(7) }, 409, "already_held"),
        (
            Refusal::CapacityMismatch { name: name("a"), permits: Permits::new(3) },
            409,
            "capacity_mismatch",
        ),
        (
            Refusal::RequestFinished { ended: Ended::Released, token: None, force: None },
            409,
            "request_finished",
        ),
        (Refusal::RequestIdReused, 422, "request_id_reused"),
        (Refusal::Superseded, 409, "waiting"),
        (lost(LostReason::Expired), 410, "lost"),
        (Refusal::SessionEnded(tenure_core::SessionEnd::Expired), 410, "session_ended"),
        (Refusal::NotFound { what: "session" }, 404, "not_found"),
        (Refusal::OutOfReach, 403, "forbidden"),
        (Refusal::Limit(DeniedBy { limit: "queue", max: 9 }), 429, "limit"),
        (Refusal::DuplicateName(name("a")), 400, "bad_request"),
        (Refusal::Invalid { field: "ttl", why: "is wrong" }, 400, "bad_request"),
    ];
    for (refusal, status, code) in cases {
        let refused = Refused::of(refusal.clone(), &key(&[]));
        assert_eq!(refused.status().as_u16(), status, "{refusal:?}");
        assert_eq!(refused.problem.code.as_str(), code, "{refusal:?}");
        assert_eq!(refused.problem.kind, format!("urn:tenure:{code}"));
    }
}

#[test]
fn a_loss_says_why_and_by_whom() {
    let by = KeyName::new("ops").unwrap();
    let reason = tenure_core::Reason::new("host died").unwrap();
    let problem = Refused::of(lost(LostReason::Broken(Force { by, reason })), &key(&[])).problem;
    assert_eq!(problem.reason.as_deref(), Some("broken"));
    assert_eq!((problem.by.as_deref(), problem.why.as_deref()), (Some("ops"), Some("host died")));
    assert_eq!(problem.detail.as_deref(), Some("ops broke it: host died"));
    assert_eq!(problem.ended_ago, Some(Seconds(Duration::from_millis(3200))));
}

#[test]
fn a_cycle_shows_nothing_outside_the_callers_prefixes() {
    let member = |has: &str, waits_for: &str| tenure_core::CycleMember {
        name: name(has),
        owner: Owner::new(format!("owner-of-{has}")).unwrap(),
        session: Some(SessionId(9)),
        note: Some(Note::new("secret note").unwrap()),
        waits_for: name(waits_for),
    };
    let cycle = Cycle { members: vec![member("ci/a", "prod/b"), member("prod/b", "ci/a")] };
    let seen = Refused::of(Refusal::Deadlock(cycle), &key(&["ci/"])).problem.cycle.unwrap();
    assert_eq!((seen[0].name.as_str(), seen[0].waits_for.as_str()), ("ci/a", "hidden"));
    assert_eq!(seen[0].owner, "owner-of-ci/a");
    assert_eq!((seen[1].name.as_str(), seen[1].owner.as_str()), ("hidden", "hidden"));
    assert_eq!((&seen[1].session, &seen[1].note), (&None, &None));
}

#[test]
fn unavailable_and_limit_say_when_to_ask_again() {
    let after = |refused: Refused| {
        let mut headers = HeaderMap::new();
        refused.write_headers(&mut headers);
        headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    assert_eq!(after(Refused::unavailable(Reason::StorageFull)).as_deref(), Some("1"));
    let limited =
        Limited { limit: "requests_per_second", max: 5, retry_after: Duration::from_millis(1200) };
    assert_eq!(after(limited.into()).as_deref(), Some("2"));
    assert_eq!(after(Refused::of(Refusal::Held(HeldBy::default()), &key(&[]))), None);
}

#[test]
fn what_did_not_happen_and_what_may_have_happened_are_different() {
    let did_not = Refused::from(SubmitError::Unavailable(Reason::NoQuorum)).of_acquire();
    assert_eq!((did_not.status().as_u16(), did_not.problem.acquired), (503, Some(false)));
    let may_have = Refused::from(SubmitError::Unknown).of_acquire();
    assert_eq!((may_have.status().as_u16(), may_have.problem.acquired), (504, None));
}
