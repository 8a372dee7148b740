//! The shapes on the wire, as other people's programs rely on them.

use std::time::Duration;

use serde_json::{Value, from_str, json, to_value};
use tenure_api::{
    AcquireRequest, ActionName, ChangeEvent, Code, Grant, KeepAliveRequest, KeyRequest, Mode,
    Problem, ReleaseRequest, Seconds,
};
use tenure_core::{Lease, LockName, Owner, RequestId, Token};

fn grant() -> Grant {
    Grant {
        name: Some(LockName::new("billing/42").expect("is one")),
        acquired: true,
        token: Some(Token::new(4711)),
        lease: Some(Lease::from_random([7; 32])),
        mode: Some(Mode::Exclusive),
        permits: None,
        weight: None,
        locks: None,
        owner: Owner::new("o-81").expect("is one"),
        session: None,
        request_id: RequestId::new("4f0c4f0c").expect("is one"),
        ttl: Seconds::from_secs(30),
        valid_for: Seconds(Duration::from_millis(29_700)),
        expires_in: Seconds::from_secs(30),
        waited: Seconds(Duration::from_millis(1250)),
        since_request: Seconds::ZERO,
        depth: None,
    }
}

#[test]
fn a_grant_has_the_documented_members() {
    let lease = "7".repeat(32);
    assert_eq!(
        to_value(grant()).unwrap(),
        json!({"name": "billing/42", "acquired": true, "token": 4711, "lease": lease, "mode": "exclusive",
            "owner": "o-81", "session": null, "request_id": "4f0c4f0c", "ttl": 30, "valid_for": 29.7,
            "expires_in": 30, "waited": 1.25, "since_request": 0})
    );
}

#[test]
fn an_answer_with_unknown_members_and_codes_is_understood() {
    let mut answer = to_value(grant()).unwrap();
    answer["invented_later"] = json!({"a": [1]});
    assert_eq!(serde_json::from_value::<Grant>(answer).unwrap(), grant());

    let problem =
        r#"{"type":"urn:tenure:moon","title":"?","status":409,"code":"moon_phase","phase":3}"#;
    assert_eq!(from_str::<Problem>(problem).unwrap().code, Code::Other);
}

#[test]
fn a_request_with_an_unknown_or_repeated_field_is_refused() {
    for body in [r#"{"tll":1}"#, r#"{"ttl":1,"ttl":1}"#, r#"{"locks":[{"name":"a","x":1}]}"#] {
        assert!(from_str::<AcquireRequest>(body).is_err(), "{body}");
    }
}

#[test]
fn a_text_against_its_rule_is_refused_while_it_is_read() {
    let long = "n".repeat(513);
    let bodies = [
        json!({"name": ""}),
        json!({"name": long}),
        json!({"name": "a\u{0}b"}),
        json!({"name": "a\u{202e}b"}),
        json!({"note": "line\nbreak"}),
        json!({"request_id": "short"}),
        json!({"owner": ""}),
        json!({"session": "s-1"}),
        json!({"mode": "sharde"}),
    ];
    for body in bodies {
        assert!(serde_json::from_value::<AcquireRequest>(body.clone()).is_err(), "{body}");
    }
}

#[test]
fn a_refused_secret_is_not_repeated_in_the_message() {
    let refused = from_str::<ReleaseRequest>(r#"{"lease":"CANARY-CANARY"}"#).unwrap_err();
    assert!(!refused.to_string().contains("CANARY"), "{refused}");
    let refused = from_str::<KeepAliveRequest>(r#"{"session":"s-1.CANARY"}"#).unwrap_err();
    assert!(!refused.to_string().contains("CANARY"), "{refused}");
}

#[test]
fn a_request_is_written_without_what_was_not_said() {
    let request = AcquireRequest { ttl: Some(Seconds::from_secs(30)), ..AcquireRequest::default() };
    assert_eq!(to_value(request).unwrap(), json!({"ttl": 30}));
    let key: KeyRequest = from_str(r#"{"name":"ci","roles":["lock"],"prefixes":["ci/"]}"#).unwrap();
    assert_eq!(
        to_value(key).unwrap(),
        json!({"name": "ci", "roles": ["lock"], "prefixes": ["ci/"]})
    );
}

#[test]
fn null_in_a_request_is_the_same_as_absent() {
    let body = r#"{"session":null,"ttl":null,"note":null,"mode":null}"#;
    assert_eq!(from_str::<AcquireRequest>(body).unwrap(), AcquireRequest::default());
}

#[test]
fn a_change_says_its_kind() {
    let change: ChangeEvent = from_str(
        r#"{"kind":"lock","name":"deploy","action":"broken","revision":9,"token":4,"owner":"o","session":null,
            "note":null,"by":"ops","reason":"host died","held":88.1}"#,
    )
    .unwrap();
    let ChangeEvent::Lock { action, .. } = &change;
    assert_eq!(*action, ActionName::Broken);
    assert_eq!(to_value(&change).unwrap()["kind"], Value::from("lock"));
}
