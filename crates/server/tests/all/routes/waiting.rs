//! Requests that wait: their answers end, their places stay.

use std::task::{Context, Waker};
use std::time::Duration;

use axum::body::Body;
use http::{Method, header};
use serde_json::{Value, json};
use tenure_core::limits::WAITER_GRACE;
use tenure_core::{Action, Change};
use tenure_log::Event;
use tower::Service as _;

use super::{Api, KEY, Reply, posting, request};

/// Waits until the lock has so many waiters.
async fn queued(api: &Api, name: &str, waiters: u64) {
    let mut changes = api.service.app().log.changes(None);
    while api.get(&format!("/v1/locks/{name}")).await.json["queue_length"] != waiters {
        changes.next().await;
    }
}

#[tokio::test]
async fn a_wait_that_passed_says_so() {
    let api = Api::start().await;
    api.take("a").await;
    let refused = api.post("/v1/locks/a/acquire", json!({"wait": "100ms"})).await;
    assert_eq!(refused.code(), (409, "timed_out"), "{}", refused.text);
    assert!(refused.json["waited"].as_f64().unwrap() >= 0.1);
    assert_eq!(refused.json["acquired"], false);
    assert_eq!(refused.json["holders"].as_array().unwrap().len(), 1);
    assert_eq!(api.get("/v1/locks/a").await.json["queue_length"], 0, "no trace is left");
}

#[tokio::test]
async fn an_answer_that_is_held_no_longer_keeps_the_place() {
    let api = Api::start().await;
    let lease = api.take("a").await;
    let ask = json!({"wait": 60, "hold": 0.05, "ttl": 60});
    let waiting = api.post("/v1/locks/a/acquire", ask).await;
    assert_eq!(waiting.code(), (409, "waiting"));
    let told = &waiting.json;
    assert_eq!(
        (&told["acquired"], &told["position"], &told["queue_length"]),
        (&json!(false), &json!(1), &json!(1))
    );
    assert!(told["wait_left"].as_f64().unwrap() > 50.0 && told["waited"].as_f64().unwrap() >= 0.05);
    assert_eq!(told["retry_after"], 0);

    api.post("/v1/locks/a/release", json!({"lease": lease})).await;
    let again = json!({"wait": 60, "ttl": 60, "request_id": told["request_id"]});
    let granted = api.post("/v1/locks/a/acquire", again).await;
    assert_eq!(granted.status, 200, "{}", granted.text);
    assert!(granted.json["waited"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn a_release_answers_the_next_waiter_at_once() {
    let api = Api::start().await;
    let lease = api.take("a").await;
    let ask = posting(KEY, "/v1/locks/a/acquire", &json!({"wait": 60, "ttl": 30}));
    let waiter = async { api.send(ask).await };
    let releaser = async {
        queued(&api, "a", 1).await;
        api.post("/v1/locks/a/release", json!({"lease": lease})).await
    };
    let (granted, released) = tokio::join!(waiter, releaser);
    assert_eq!((granted.status, released.status), (200, 200), "{}", granted.text);
    let (waited, since) = (&granted.json["waited"], &granted.json["since_request"]);
    assert!(waited.as_f64().unwrap() > 0.0);
    assert!(since.as_f64().unwrap() <= waited.as_f64().unwrap(), "a promise is never made longer");
}

#[tokio::test]
async fn a_newer_request_with_the_same_id_gets_the_answer() {
    let api = Api::start().await;
    let lease = api.take("a").await;
    let ask = || {
        posting(
            KEY,
            "/v1/locks/a/acquire",
            &json!({"wait": 60, "ttl": 9, "request_id": "request-1"}),
        )
    };
    let older = async { api.send(ask()).await };
    let newer = async {
        queued(&api, "a", 1).await;
        api.send(ask()).await
    };
    // The older one is answered because the newer came; then the lock is released for that.
    let older = async {
        let reply = older.await;
        api.post("/v1/locks/a/release", json!({"lease": lease})).await;
        reply
    };
    let (older, newer) = tokio::join!(older, newer);
    assert_eq!(older.code(), (409, "waiting"), "{}", older.text);
    assert_eq!(older.json["request_id"], "request-1");
    assert_eq!(newer.status, 200, "{}", newer.text);
}

#[tokio::test]
async fn a_cycle_of_waiters_is_refused_with_the_cycle() {
    let api = Api::start().await;
    let ask =
        |owner: &str| json!({"owner": owner, "ttl": 60, "wait": 60, "note": format!("by {owner}")});
    let a = api.post("/v1/locks/a/acquire", ask("one")).await.json;
    api.post("/v1/locks/b/acquire", ask("two")).await;
    let first = async { api.post("/v1/locks/b/acquire", ask("one")).await };
    let second = async {
        queued(&api, "b", 1).await;
        let refused = api.post("/v1/locks/a/acquire", ask("two")).await;
        api.post("/v1/locks/b/break", json!({"any": true, "reason": "end of test"})).await;
        refused
    };
    let (granted, refused) = tokio::join!(first, second);
    assert_eq!(refused.code(), (409, "deadlock"));
    let cycle = refused.json["cycle"].as_array().unwrap();
    assert_eq!(cycle.len(), 2);
    let names: Vec<&Value> = cycle.iter().map(|member| &member["waits_for"]).collect();
    assert!(names.contains(&&json!("a")) && names.contains(&&json!("b")), "{}", refused.text);
    assert_eq!((granted.status, &a["acquired"]), (200, &json!(true)));
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_the_queue_unless_it_can_come_back() {
    let api = Api::start().await;
    api.take("a").await;
    let mut changes = api.service.app().log.changes(None);
    let mut router = api.router.clone();
    let gone = router.call(posting(KEY, "/v1/locks/a/acquire", &json!({"wait": 60})));
    let gone = tokio::time::timeout(Duration::from_millis(200), gone).await;
    assert!(gone.is_err(), "it waits until its client goes");
    let left = loop {
        let Event::Changes(batch) = changes.next().await else { panic!("the feed ended") };
        let left = |(_, change)| match change {
            Change::Lock(change) if change.action == Action::Left => Some(change.micros),
            _ => None,
        };
        if let Some(micros) = batch.into_iter().find_map(left) {
            break Duration::from_micros(micros);
        }
    };
    assert!(left < WAITER_GRACE / 2, "at once, not after the time for those who can come back");

    let body = json!({"wait": 60, "request_id": "request-1"});
    let gone = router.call(posting(KEY, "/v1/locks/a/acquire", &body));
    assert!(tokio::time::timeout(Duration::from_millis(200), gone).await.is_err());
    assert_eq!(
        api.get("/v1/locks/a").await.json["queue_length"],
        1,
        "it made its id: it may come back"
    );
}

#[tokio::test]
async fn a_drain_sends_waiters_away_with_their_places_and_takes_no_new_ones() {
    let api = Api::start().await;
    let lease = api.take("a").await;
    let waiter = async { api.post("/v1/locks/a/acquire", json!({"wait": 60})).await };
    let operator = async {
        queued(&api, "a", 1).await;
        api.post("/v1/drain", json!({"within": 60})).await
    };
    let (waiter, drained) = tokio::join!(waiter, operator);
    assert_eq!(drained.json, json!({"waiters_moved": 1, "holders_left": 1}));
    assert_eq!(waiter.code(), (503, "unavailable"));
    assert_eq!(
        (&waiter.json["reason"], &waiter.json["acquired"]),
        (&json!("draining"), &json!(false))
    );
    assert!(waiter.json["request_id"].is_string());
    assert_eq!(waiter.header("retry-after"), "1");
    assert_eq!(api.get("/v1/locks/a").await.json["queue_length"], 1, "the place is kept");

    let late = api.post("/v1/locks/b/acquire", json!({})).await;
    assert_eq!((late.code(), &late.json["reason"]), ((503, "unavailable"), &json!("draining")));
    assert_eq!(api.get("/readyz").await.status, 503);
    assert_eq!(api.get("/healthz").await.status, 200);
    assert_eq!(api.post("/v1/locks/a/renew", json!({"lease": lease})).await.status, 200);
    assert_eq!(api.post("/v1/locks/a/release", json!({"lease": lease})).await.status, 200);
}

#[tokio::test]
async fn more_waiters_than_allowed_are_sent_away() {
    let api = Api::start_with("[limits]\nwaiters = 1\n", |_| {}).await;
    let lease = api.take("a").await;
    let first = async { api.post("/v1/locks/a/acquire", json!({"wait": 60})).await };
    let second = async {
        queued(&api, "a", 1).await;
        let refused = api.post("/v1/locks/a/acquire", json!({"wait": 60})).await;
        let tried = api.post("/v1/locks/b/acquire", json!({})).await;
        api.post("/v1/locks/a/release", json!({"lease": lease})).await;
        (refused, tried)
    };
    let (first, (refused, tried)) = tokio::join!(first, second);
    assert_eq!(
        (refused.code(), &refused.json["reason"]),
        ((503, "unavailable"), &json!("overloaded"))
    );
    assert_eq!((first.status, tried.status), (200, 200), "who does not wait is served");
}

#[tokio::test]
async fn an_upgrade_that_waits_is_answered_when_it_is_alone() {
    let api = Api::start().await;
    let shared = || api.post("/v1/locks/a/acquire", json!({"mode": "shared", "ttl": 60}));
    let (one, two) = (shared().await.json, shared().await.json);
    let upgrade =
        |lease: &Value| json!({"lease": lease, "mode": "exclusive", "wait": 60, "hold": 60});
    let first = async { api.post("/v1/locks/a/convert", upgrade(&one["lease"])).await };
    let second = async {
        queued(&api, "a", 1).await;
        let refused = api.post("/v1/locks/a/convert", upgrade(&two["lease"])).await;
        api.post("/v1/locks/a/release", json!({"lease": two["lease"]})).await;
        refused
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(second.code(), (409, "deadlock"), "{}", second.text);
    assert_eq!((first.status, &first.json["mode"]), (200, &json!("exclusive")), "{}", first.text);
    assert_eq!(first.json["since_request"], 0);
}

#[tokio::test]
async fn an_idempotency_key_is_the_requests_id_quoted_or_bare() {
    let api = Api::start().await;
    let ask = |key: &str, body: Value| {
        let request = request(Method::POST, "/v1/locks/a/acquire", KEY)
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", key);
        request.body(Body::from(body.to_string())).expect("a request")
    };
    let first = api.send(ask("request-1", json!({"ttl": 60}))).await.json;
    assert_eq!(first["request_id"], "request-1");
    let again = api.send(ask("\"request-1\"", json!({"ttl": 60}))).await.json;
    assert_eq!(again["lease"], first["lease"]);
    let both = json!({"ttl": 60, "request_id": "request-1"});
    assert_eq!(api.send(ask("request-1", both)).await.json["lease"], first["lease"]);
    for (key, field) in [
        ("request-2", "request_id"),
        ("\"request-1", "idempotency-key"),
        ("short", "idempotency-key"),
    ] {
        let refused = api.send(ask(key, json!({"request_id": "request-1"}))).await;
        assert_eq!(
            (refused.code(), &refused.json["field"]),
            ((400, "bad_request"), &json!(field)),
            "{key}"
        );
    }
}

/// Asks for a lock and is gone before the answer: nothing is granted while the machine is read.
async fn ask_and_leave(api: &Api, name: &str, body: &Value) {
    let mut router = api.router.clone();
    let path = format!("/v1/locks/{name}/acquire");
    let mut asked = Box::pin(router.call(posting(KEY, &path, body)));
    let mut context = Context::from_waker(Waker::noop());
    let asked_once = api.service.app().log.read(|_| asked.as_mut().poll(&mut context).is_pending());
    assert_eq!(asked_once.await, Ok(true));
}

#[tokio::test]
async fn a_grant_that_nobody_was_told_is_given_back() {
    let api = Api::start().await;
    let mut changes = api.service.app().log.changes(None);
    ask_and_leave(&api, "a", &json!({"ttl": 1})).await;
    let mut actions = Vec::new();
    while actions.len() < 2 {
        let Event::Changes(batch) = changes.next().await else { panic!("the feed ended") };
        let action = |(_, change)| match change {
            Change::Lock(change) => Some(change.action),
            Change::SessionEnded { .. } => None,
        };
        actions.extend(batch.into_iter().filter_map(action));
    }
    assert_eq!(actions, [Action::Granted, Action::Released], "before it runs out by itself");

    ask_and_leave(&api, "b", &json!({"ttl": 600, "request_id": "request-1"})).await;
    changes.next().await;
    assert_eq!(
        api.get("/v1/locks/b").await.json["state"],
        "held",
        "it made its id: it may come back"
    );
}

async fn remove_key(api: &Api, name: &str) -> Reply {
    let path = format!("/v1/keys/{name}");
    api.send(request(Method::DELETE, &path, KEY).body(Body::empty()).expect("a request")).await
}

#[tokio::test]
async fn a_removed_keys_waiter_is_refused_and_leaves_the_queue() {
    let api = Api::start().await;
    let gone = api.key("gone", &["lock"], &[]).await;
    let lease = api.take("a").await;
    let body = json!({"wait": 60, "hold": 60, "request_id": "request-1"});
    let waiter = async { api.post_as(&gone, "/v1/locks/a/acquire", body).await };
    let operator = async {
        queued(&api, "a", 1).await;
        assert_eq!(remove_key(&api, "gone").await.status, 200);
    };
    let (refused, ()) = tokio::join!(waiter, operator);
    assert_eq!(refused.code(), (401, "unauthenticated"), "{}", refused.text);
    queued(&api, "a", 0).await;
    api.post("/v1/locks/a/release", json!({"lease": lease})).await;
    assert_eq!(api.get("/v1/locks/a").await.json["state"], "free");
}

#[tokio::test]
async fn a_rotated_out_secrets_upgrade_is_refused() {
    let api = Api::start().await;
    let old = api.key("old", &["lock"], &[]).await;
    let shared = json!({"mode": "shared", "ttl": 60});
    let lease =
        api.post_as(&old, "/v1/locks/a/acquire", shared.clone()).await.json["lease"].clone();
    let other = api.post("/v1/locks/a/acquire", shared).await.json["lease"].clone();
    let body = json!({"lease": lease, "mode": "exclusive", "wait": 60, "hold": 60});
    let upgrade = async { api.post_as(&old, "/v1/locks/a/convert", body).await };
    let operator = async {
        queued(&api, "a", 1).await;
        assert_eq!(api.post("/v1/keys/old/rotate", json!({})).await.status, 201);
    };
    let (refused, ()) = tokio::join!(upgrade, operator);
    assert_eq!(refused.code(), (401, "unauthenticated"), "{}", refused.text);
    api.post("/v1/locks/a/release", json!({"lease": other})).await;
    let lock = api.get("/v1/locks/a").await;
    assert_eq!(
        (&lock.json["queue_length"], &lock.json["holders"][0]["mode"]),
        (&json!(0), &json!("shared"))
    );
}

#[tokio::test]
async fn a_waiter_outlives_a_rotation_with_overlap_and_changes_of_other_keys() {
    let api = Api::start().await;
    let old = api.key("old", &["lock"], &[]).await;
    let lease = api.take("a").await;
    let body = json!({"wait": 60, "hold": 60, "ttl": 9});
    let waiter = async { api.post_as(&old, "/v1/locks/a/acquire", body).await };
    let operator = async {
        queued(&api, "a", 1).await;
        assert_eq!(api.post("/v1/keys/old/rotate", json!({"overlap": "1h"})).await.status, 201);
        api.key("other", &["lock"], &[]).await;
        assert_eq!(remove_key(&api, "other").await.status, 200);
        api.post("/v1/locks/a/release", json!({"lease": lease})).await;
    };
    let (granted, ()) = tokio::join!(waiter, operator);
    assert_eq!(granted.status, 200, "{}", granted.text);
}

#[tokio::test]
async fn a_waiter_goes_when_its_key_runs_out() {
    let api = Api::start().await;
    let made = json!({"name": "brief", "roles": ["lock"], "expires": "300ms"});
    let brief = api.post("/v1/keys", made).await.json["key"].as_str().unwrap().to_owned();
    api.take("a").await;
    let body = json!({"wait": 60, "hold": 60});
    let refused = api.post_as(&brief, "/v1/locks/a/acquire", body).await;
    assert_eq!(refused.code(), (401, "unauthenticated"), "{}", refused.text);
}

#[tokio::test]
async fn an_upgrade_that_waits_is_given_up_without_its_grant() {
    let api = Api::start().await;
    let shared = json!({"mode": "shared", "ttl": 60, "request_id": "request-1"});
    let lease = api.post("/v1/locks/a/acquire", shared).await.json["lease"].clone();
    api.post("/v1/locks/a/acquire", json!({"mode": "shared", "ttl": 60})).await;
    let upgrade = json!({"lease": lease, "mode": "exclusive", "wait": 60, "hold": 0});
    let waiting = api.post("/v1/locks/a/convert", upgrade.clone()).await;
    assert_eq!(waiting.code(), (409, "waiting"));
    let id = &waiting.json["request_id"];
    assert_ne!(id, "request-1", "the grant has that one");
    let again = api.post("/v1/locks/a/convert", upgrade).await;
    assert_eq!((again.code(), &again.json["request_id"]), ((409, "waiting"), id));
    let given_up = api.post("/v1/locks/a/release", json!({"request_id": id})).await.json;
    assert_eq!((&given_up["released"], &given_up["cancelled"]), (&json!(false), &json!(true)));
    let lock = api.get("/v1/locks/a").await.json;
    assert_eq!((&lock["queue_length"], lock["holders"].as_array().unwrap().len()), (&json!(0), 2));
}

#[tokio::test]
async fn a_request_that_an_operator_ended_is_over_with_his_name_and_reason() {
    let api = Api::start().await;
    let ask = json!({"request_id": "request-1", "mode": "shared", "ttl": 60});
    let first = api.post("/v1/locks/a/acquire", ask.clone()).await.json;
    api.post("/v1/locks/a/acquire", json!({"mode": "shared", "ttl": 60})).await;
    let up = json!({"lease": first["lease"], "mode": "exclusive", "wait": 60, "hold": 20});
    let broken = async {
        queued(&api, "a", 1).await;
        let body = json!({"token": first["token"], "reason": "host died"});
        api.post("/v1/locks/a/break", body).await
    };
    let (upgrade, broken) = tokio::join!(api.post("/v1/locks/a/convert", up), broken);
    assert_eq!(broken.status, 200, "{}", broken.text);
    let again = api.post("/v1/locks/a/acquire", ask).await;
    let by = &api.get("/v1").await.json["key"]["name"];
    for over in [upgrade, again] {
        assert_eq!(
            (over.code(), &over.json["ended"]),
            ((409, "request_finished"), &json!("broken"))
        );
        assert_eq!((&over.json["by"], &over.json["why"]), (by, &json!("host died")));
    }
    let past = &api.get("/v1/locks/a").await.json["history"][0];
    assert_eq!((&past["by"], &past["why"]), (by, &json!("host died")));
}
