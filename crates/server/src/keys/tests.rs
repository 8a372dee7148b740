use std::time::Duration;

use futures::FutureExt;
use http::HeaderValue;
use tenure_core::OldSecret;

use super::*;

fn name(text: &str) -> KeyName {
    KeyName::new(text).unwrap()
}

fn keys(fixed: Vec<KeyConfig>) -> Keys {
    Keys::new(fixed, Metrics::new())
}

fn open_door() -> Peer {
    Peer { operators_welcome: true, ..Peer::default() }
}

fn record(key: &str, secret: &str) -> KeyRecord {
    KeyRecord {
        name: name(key),
        sha256: Sha256::digest(secret.as_bytes()).into(),
        old: None,
        roles: vec![Role::Lock],
        prefixes: Vec::new(),
        ttl_max: None,
        quota: Quota::default(),
        requests_per_second: None,
        expires_in: None,
        by: name("ops"),
    }
}

fn wrong() -> NotIdentified {
    Unauthenticated::Wrong.into()
}

#[test]
fn a_bearer_key_is_found_and_a_near_miss_is_not() {
    let keys = keys(vec![full_key(&name("ops"), "a-long-enough-secret")]);
    let identify = |value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
        keys.identify(&headers, &open_door())
    };
    assert_eq!(identify("Bearer a-long-enough-secret").unwrap().name, name("ops"));
    assert_eq!(identify("bearer  a-long-enough-secret").unwrap().name, name("ops"));
    assert_eq!(identify("Bearer a-long-enough-secreT"), Err(wrong()));
    let malformed = Err(Unauthenticated::Malformed.into());
    assert_eq!(identify("Basic abc"), malformed);
    assert_eq!(identify("Bearer "), malformed);
    assert_eq!(
        keys.identify(&HeaderMap::new(), &open_door()),
        Err(Unauthenticated::Missing.into())
    );
}

#[test]
fn two_authorization_headers_are_refused() {
    let keys = keys(vec![full_key(&name("ops"), "a-long-enough-secret")]);
    let mut headers = HeaderMap::new();
    headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer a-long-enough-secret"));
    headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer other"));
    assert_eq!(keys.identify(&headers, &open_door()), Err(Unauthenticated::Malformed.into()));
}

#[test]
fn a_rotation_keeps_two_secrets_alive_for_a_while() {
    let keys = keys(Vec::new());
    let mut rotated = record("ci", "the-new-secret");
    let old = Sha256::digest(b"the-old-secret").into();
    rotated.old = Some(OldSecret { sha256: old, good_for: Duration::from_secs(60) });
    keys.replace_run_time(vec![rotated.clone()]);
    for secret in ["the-new-secret", "the-old-secret"] {
        let identity = keys.identify_secret(secret.as_bytes(), &open_door()).unwrap();
        assert_eq!(identity.name, name("ci"));
    }
    rotated.old = Some(OldSecret { sha256: old, good_for: Duration::ZERO });
    keys.replace_run_time(vec![rotated]);
    assert_eq!(keys.identify_secret(b"the-old-secret", &open_door()), Err(wrong()));
    assert!(keys.identify_secret(b"the-new-secret", &open_door()).is_ok());
    keys.replace_run_time(Vec::new());
    assert_eq!(keys.identify_secret(b"the-new-secret", &open_door()), Err(wrong()));
}

#[test]
fn an_old_secret_ends_with_its_key() {
    let keys = keys(Vec::new());
    let mut rotated = record("ci", "the-new-secret");
    let old = Sha256::digest(b"the-old-secret").into();
    rotated.old = Some(OldSecret { sha256: old, good_for: Duration::from_secs(60) });
    rotated.expires_in = Some(Duration::ZERO);
    keys.replace_run_time(vec![rotated]);
    assert_eq!(keys.identify_secret(b"the-old-secret", &open_door()), Err(wrong()));
}

#[tokio::test]
async fn an_open_answer_ends_when_its_key_runs_out_or_may_less() {
    let keys = keys(Vec::new());
    let mut key = record("ci", "secret");
    key.roles = vec![Role::Read, Role::Lock];
    keys.replace_run_time(vec![key.clone()]);
    let identity = keys.identify_secret(b"secret", &open_door()).unwrap();
    assert!(keys.revoked(&identity).now_or_never().is_none());
    key.roles = vec![Role::Read];
    keys.replace_run_time(vec![key.clone()]);
    assert!(keys.revoked(&identity).now_or_never().is_some(), "it may not lock any more");
    key.expires_in = Some(Duration::from_millis(50));
    keys.replace_run_time(vec![key]);
    let identity = keys.identify_secret(b"secret", &open_door()).unwrap();
    let revoked = tokio::time::timeout(Duration::from_secs(20), keys.revoked(&identity));
    revoked.await.expect("nothing else tells of the end");
}

#[test]
fn two_secrets_of_a_key_share_its_rate_and_another_rate_counts_at_once() {
    let keys = keys(Vec::new());
    let mut key = record("ci", "the-new-secret");
    let old = Sha256::digest(b"the-old-secret").into();
    key.old = Some(OldSecret { sha256: old, good_for: Duration::from_secs(60) });
    key.requests_per_second = Some(1);
    keys.replace_run_time(vec![key.clone()]);
    assert!(keys.identify_secret(b"the-new-secret", &open_door()).is_ok());
    let second = keys.identify_secret(b"the-old-secret", &open_door());
    assert!(matches!(second, Err(NotIdentified::Limited(_))), "{second:?}");
    key.requests_per_second = Some(1_000);
    keys.replace_run_time(vec![key]);
    assert!(keys.identify_secret(b"the-old-secret", &open_door()).is_ok());
    keys.replace_run_time(Vec::new());
    assert!(keys.0.table.load().rates.is_empty(), "a key that is gone leaves nothing behind");
}

#[test]
fn an_expired_key_is_refused() {
    let keys = keys(Vec::new());
    let mut key = record("ci", "secret");
    key.expires_in = Some(Duration::ZERO);
    keys.replace_run_time(vec![key]);
    assert_eq!(keys.identify_secret(b"secret", &open_door()), Err(wrong()));
}

#[test]
fn a_run_time_key_does_not_take_the_name_of_a_configured_one() {
    let keys = keys(vec![full_key(&name("ops"), "configured")]);
    keys.replace_run_time(vec![record("ops", "made at run time")]);
    assert!(keys.is_fixed(&name("ops")));
    assert_eq!(keys.identify_secret(b"made at run time", &open_door()), Err(wrong()));
    assert!(keys.identify_secret(b"configured", &open_door()).is_ok());
}

#[test]
fn a_certificate_is_the_key_of_its_subject_if_that_key_has_no_secret() {
    let mut agent = full_key(&name("cert:agent"), "unused");
    agent.sha256 = None;
    let keys = keys(vec![agent, full_key(&name("ops"), "a-long-enough-secret")]);
    let by = |subject: &str| {
        let peer = Peer { certificate: Some(name(subject)), ..open_door() };
        keys.identify(&HeaderMap::new(), &peer)
    };
    assert_eq!(by("agent").unwrap().name, name("cert:agent"));
    assert_eq!(by("ops"), Err(wrong()));
}

#[test]
fn requests_beyond_the_keys_rate_are_told_when_to_come_back() {
    let mut slow = full_key(&name("slow"), "secret");
    slow.requests_per_second = Some(2);
    let keys = keys(vec![slow.clone()]);
    for _ in 0..2 {
        keys.identify_secret(b"secret", &open_door()).unwrap();
    }
    keys.replace_fixed(vec![slow]);
    let Err(NotIdentified::Limited(limited)) = keys.identify_secret(b"secret", &open_door()) else {
        panic!("the third request of the second is too many, also after a reload")
    };
    assert_eq!((limited.limit, limited.max), ("requests_per_second", 2));
    assert!(limited.retry_after <= Duration::from_millis(500));
}

#[test]
fn operators_at_the_public_door_keep_their_other_rights() {
    let keys = keys(vec![full_key(&name("ops"), "secret")]);
    let public = keys.identify_secret(b"secret", &Peer::default()).unwrap();
    assert!(public.may(Role::Write) && !public.may(Role::Operator));
}

#[test]
fn wrong_keys_of_one_address_are_slowed_down() {
    let keys = keys(vec![full_key(&name("ops"), "secret")]);
    let peer = Peer { address: Some("192.0.2.1".parse().unwrap()), ..open_door() };
    for _ in 0..FAILURES_PER_SECOND_MAX {
        assert_eq!(keys.identify_secret(b"guess", &peer), Err(wrong()));
    }
    assert!(matches!(keys.identify_secret(b"guess", &peer), Err(NotIdentified::Limited(_))));
    assert!(keys.identify_secret(b"secret", &peer).is_ok());
}
