//! One lock: taken, refused, held longer, given back, changed, handed on.

use serde_json::{Value, json};

use super::Api;

#[tokio::test]
async fn a_grant_has_all_that_its_holder_needs() {
    let api = Api::start().await;
    let body = json!({"ttl": "30s", "wait": 5, "note": "invoice run", "request_id": "4f0c4f0c"});
    let grant = api.post("/v1/locks/billing/42/acquire", body).await;
    assert_eq!(grant.status, 200, "{}", grant.text);
    let token = grant.json["token"].as_u64().unwrap();
    let mut json = grant.json.clone();
    assert_eq!(json["lease"].take().as_str().unwrap().len(), 32);
    assert!(json["owner"].take().is_string());
    let expected = json!({"name": "billing/42", "acquired": true, "token": token, "lease": null,
        "mode": "exclusive", "owner": null, "session": null, "request_id": "4f0c4f0c", "ttl": 30,
        "valid_for": 29.7, "expires_in": 30, "waited": 0, "since_request": 0});
    assert_eq!(json, expected);
    assert_eq!(grant.header("content-type"), "application/json");
    assert_eq!(grant.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_held_lock_is_refused_and_says_who_has_it() {
    let api = Api::start().await;
    let first = json!({"ttl": 60, "note": "ann@ci-3", "owner": "task-1"});
    let holder = api.post("/v1/locks/deploy/acquire", first).await.json;
    let refused = api.post("/v1/locks/deploy/acquire", json!({})).await;
    assert_eq!(refused.code(), (409, "held"));
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert_eq!(refused.json["type"], "urn:tenure:held");
    assert_eq!(refused.json["acquired"], false);
    assert_eq!(refused.json["detail"], "deploy is held by ann@ci-3");
    assert_eq!(
        (&refused.json["queue_length"], &refused.json["blocked_by"]),
        (&json!(0), &Value::Null)
    );
    assert!(refused.json["retry_after"].is_number());
    let held = &refused.json["holders"][0];
    assert_eq!((&held["token"], &held["mode"]), (&holder["token"], &json!("exclusive")));
    assert_eq!((&held["note"], &held["owner"]), (&json!("ann@ci-3"), &json!("task-1")));
    assert!(held["expires_in"].as_f64().unwrap() > 50.0);
    assert_eq!(held["lease"], Value::Null, "a lease is its holder's secret");
}

#[tokio::test]
async fn a_release_is_answered_again_like_the_first_time() {
    let api = Api::start().await;
    let lease = api.take("a").await;
    for _ in 0..2 {
        let released = api.post("/v1/locks/a/release", json!({"lease": lease})).await;
        assert_eq!((released.status, &released.json["released"]), (200, &json!(true)));
        assert!(released.json["held_for"].is_number());
    }
    let other = api.post("/v1/locks/a/release", json!({"lease": "x".repeat(32)})).await;
    assert_eq!(other.code(), (410, "lost"));
    assert_eq!(other.json["reason"], "unknown");
    assert_eq!(api.post("/v1/locks/a/release", json!({})).await.json["field"], "lease");
}

#[tokio::test]
async fn a_renewal_never_shortens_and_one_of_a_lost_grant_says_why() {
    let api = Api::start().await;
    let lease = api.take("a").await;
    let renewed = api.post("/v1/locks/a/renew", json!({"lease": lease, "ttl": 5})).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text);
    assert_eq!((&renewed.json["name"], &renewed.json["ttl"]), (&json!("a"), &json!(5)));
    assert!(renewed.json["expires_in"].as_f64().unwrap() > 50.0);
    let valid_for = renewed.json["valid_for"].as_f64().unwrap();
    assert!(valid_for < renewed.json["expires_in"].as_f64().unwrap());

    let broken = api.post("/v1/locks/a/break", json!({"any": true, "reason": "host died"})).await;
    assert_eq!(broken.json, json!({"broken": 1, "next_granted": false}));
    let lost = api.post("/v1/locks/a/renew", json!({"lease": lease})).await;
    assert_eq!(lost.code(), (410, "lost"));
    assert_eq!(lost.json["reason"], "broken");
    assert!(lost.json["by"].is_string() && lost.json["ended_ago"].is_number());
    let release = api.post("/v1/locks/a/release", json!({"lease": lease})).await;
    assert_eq!(release.code(), (410, "lost"));
}

#[tokio::test]
async fn a_lease_of_another_lock_is_lost() {
    let api = Api::start().await;
    let lease = api.take("a").await;
    for verb in ["renew", "release"] {
        let refused = api.post(&format!("/v1/locks/b/{verb}"), json!({"lease": lease})).await;
        assert_eq!(refused.code(), (410, "lost"), "{verb}");
    }
    assert_eq!(api.post("/v1/locks/a/renew", json!({"lease": lease})).await.status, 200);
}

#[tokio::test]
async fn permits_are_shared_out_by_weight() {
    let api = Api::start().await;
    let ask = |weight: u32| json!({"permits": 3, "weight": weight, "ttl": 60});
    let first = api.post("/v1/locks/build/acquire", ask(2)).await;
    assert_eq!((&first.json["permits"], &first.json["weight"]), (&json!(3), &json!(2)));
    assert_eq!(first.json["mode"], Value::Null);
    assert_eq!(api.post("/v1/locks/build/acquire", ask(2)).await.code(), (409, "held"));
    assert_eq!(api.post("/v1/locks/build/acquire", ask(1)).await.status, 200);
    let plain = api.post("/v1/locks/build/acquire", json!({})).await;
    assert_eq!(plain.code(), (409, "capacity_mismatch"));
    assert_eq!((&plain.json["permits"], &plain.json["acquired"]), (&json!(3), &json!(false)));

    let resized = api.post("/v1/locks/build/resize", json!({"permits": 5})).await;
    assert_eq!(resized.json, json!({"permits": 5, "granted": 0}));
    assert_eq!(api.post("/v1/locks/build/acquire", ask(2)).await.status, 200);
    api.take("plain").await;
    let refused = api.post("/v1/locks/plain/resize", json!({"permits": 5})).await;
    assert_eq!(refused.code(), (409, "capacity_mismatch"));
}

#[tokio::test]
async fn an_owner_that_asks_again_has_it_already_or_once_more() {
    let api = Api::start().await;
    let ask = |reentrant: bool| json!({"owner": "task-1", "reentrant": reentrant, "ttl": 60});
    let first = api.post("/v1/locks/a/acquire", ask(false)).await.json;
    let again = api.post("/v1/locks/a/acquire", ask(false)).await;
    assert_eq!(again.code(), (409, "already_held"));
    assert_eq!(again.json["token"], first["token"]);
    let deeper = api.post("/v1/locks/a/acquire", ask(true)).await;
    assert_eq!((&deeper.json["depth"], &deeper.json["token"]), (&json!(2), &first["token"]));
    let release = json!({"lease": first["lease"]});
    let up = api.post("/v1/locks/a/release", release.clone()).await.json;
    assert_eq!((&up["released"], &up["depth"]), (&json!(false), &json!(1)));
    let out = api.post("/v1/locks/a/release", release).await.json;
    assert_eq!((&out["released"], &out["depth"]), (&json!(true), &Value::Null));
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_grant_and_is_over_with_it() {
    let api = Api::start().await;
    let ask = json!({"request_id": "request-1", "ttl": 60});
    let first = api.post("/v1/locks/a/acquire", ask.clone()).await.json;
    let again = api.post("/v1/locks/a/acquire", ask.clone()).await.json;
    assert_eq!((&again["lease"], &again["token"]), (&first["lease"], &first["token"]));
    let other = json!({"request_id": "request-1", "ttl": 61});
    let reused = api.post("/v1/locks/a/acquire", other).await;
    assert_eq!(reused.code(), (422, "request_id_reused"));
    assert_eq!(reused.json["acquired"], false);

    api.post("/v1/locks/a/release", json!({"lease": first["lease"]})).await;
    let over = api.post("/v1/locks/a/acquire", ask).await;
    assert_eq!(over.code(), (409, "request_finished"));
    assert_eq!(
        (&over.json["ended"], &over.json["request_id"]),
        (&json!("released"), &json!("request-1"))
    );
}

#[tokio::test]
async fn a_request_given_up_before_it_came_is_refused_when_it_comes() {
    let api = Api::start().await;
    let cancelled = api.post("/v1/locks/a/release", json!({"request_id": "request-1"})).await;
    assert_eq!((cancelled.status, &cancelled.json["cancelled"]), (200, &json!(true)));
    let late = api.post("/v1/locks/a/acquire", json!({"request_id": "request-1"})).await;
    assert_eq!(late.code(), (409, "request_finished"));

    let grant = api.post("/v1/locks/a/acquire", json!({"request_id": "request-2"})).await;
    assert_eq!(grant.status, 200);
    let given_up = api.post("/v1/locks/a/release", json!({"request_id": "request-2"})).await.json;
    assert_eq!((&given_up["released"], &given_up["cancelled"]), (&json!(true), &json!(true)));
    api.take("a").await;
}

#[tokio::test]
async fn a_shared_holder_becomes_exclusive_with_a_new_token_and_back_with_the_same() {
    let api = Api::start().await;
    let shared = json!({"mode": "shared", "ttl": 60});
    let first = api.post("/v1/locks/a/acquire", shared.clone()).await.json;
    let second = api.post("/v1/locks/a/acquire", shared).await.json;
    let upgrade = json!({"lease": first["lease"], "mode": "exclusive"});
    let held = api.post("/v1/locks/a/convert", upgrade.clone()).await;
    assert_eq!(held.code(), (409, "held"), "{}", held.text);
    api.post("/v1/locks/a/release", json!({"lease": second["lease"]})).await;
    let alone = api.post("/v1/locks/a/convert", upgrade).await.json;
    assert_eq!((&alone["mode"], &alone["lease"]), (&json!("exclusive"), &first["lease"]));
    assert!(alone["token"].as_u64() > first["token"].as_u64());
    let downgrade = json!({"lease": first["lease"], "mode": "shared"});
    let shared = api.post("/v1/locks/a/convert", downgrade).await.json;
    assert_eq!((&shared["mode"], &shared["token"]), (&json!("shared"), &alone["token"]));
}

#[tokio::test]
async fn a_hand_over_makes_a_new_lease_and_a_higher_token() {
    let api = Api::start().await;
    let first = api.post("/v1/locks/a/acquire", json!({"ttl": 60})).await.json;
    let handle = json!({"lease": first["lease"], "ttl": 40});
    let second = api.post("/v1/locks/a/hand_over", handle.clone()).await;
    assert_eq!(second.status, 200, "{}", second.text);
    assert!(second.json["token"].as_u64() > first["token"].as_u64());
    assert_ne!(second.json["lease"], first["lease"]);
    assert_eq!(second.json["ttl"], 40);
    let late = api.post("/v1/locks/a/renew", json!({"lease": first["lease"]})).await;
    assert_eq!((late.code(), &late.json["reason"]), ((410, "lost"), &json!("handed_over")));
    assert_eq!(api.post("/v1/locks/a/hand_over", handle).await.code(), (410, "lost"));
}

#[tokio::test]
async fn a_check_tells_whether_a_token_is_current() {
    let api = Api::start().await;
    let first = api.post("/v1/locks/a/acquire", json!({"ttl": 60})).await.json;
    let check = |token: Value| api.post("/v1/locks/a/check", json!({"token": token}));
    let current = check(first["token"].clone()).await.json;
    assert_eq!(current, json!({"current": true, "latest_token": first["token"]}));
    api.post("/v1/locks/a/release", json!({"lease": first["lease"]})).await;
    let over = check(first["token"].clone()).await.json;
    assert_eq!(over, json!({"current": false, "latest_token": first["token"]}));
    let unused = api.post("/v1/locks/never/check", json!({"token": 1})).await.json;
    assert_eq!(unused, json!({"current": false, "latest_token": null}));
}

#[tokio::test]
async fn a_recall_reaches_the_holder_with_its_next_renewal() {
    let api = Api::start().await;
    let lease = api.take("a").await;
    let asked = api.post("/v1/locks/a/recall", json!({"within": 20, "reason": "urgent"})).await;
    assert_eq!(asked.json, json!({"asked": 1}));
    let renewed = api.post("/v1/locks/a/renew", json!({"lease": lease})).await.json;
    assert_eq!(renewed["recall"]["reason"], "urgent");
    assert!(renewed["recall"]["within"].as_f64().unwrap() <= 20.0);
    let shown = api.get("/v1/locks/a").await.json;
    assert_eq!(shown["holders"][0]["recall"]["reason"], "urgent");
}

#[tokio::test]
async fn a_break_needs_the_holders_token_or_any() {
    let api = Api::start().await;
    let first = api.post("/v1/locks/a/acquire", json!({"ttl": 60})).await.json;
    let token = first["token"].as_u64().unwrap();
    let stale = api.post("/v1/locks/a/break", json!({"token": token + 1, "reason": "r"})).await;
    assert_eq!(stale.code(), (409, "held"));
    assert_eq!(stale.json["holders"][0]["token"], token);
    let said = format!(
        "token {} is not a holder's: a is held by {}",
        token + 1,
        first["owner"].as_str().unwrap()
    );
    assert_eq!(stale.json["detail"], said);
    let neither = api.post("/v1/locks/a/break", json!({"reason": "r"})).await;
    assert_eq!((neither.code(), &neither.json["field"]), ((400, "bad_request"), &json!("token")));
    let broken = api.post("/v1/locks/a/break", json!({"token": token, "reason": "r"})).await;
    assert_eq!(broken.json["broken"], 1);
    let history = &api.get("/v1/locks/a").await.json["history"][0];
    assert_eq!((&history["ended"], &history["token"]), (&json!("broken"), &json!(token)));
    assert!(history["by"].is_string() && history["at"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn a_break_of_what_nobody_holds_says_so() {
    let api = Api::start().await;
    let lease = api.take("left").await;
    api.post("/v1/locks/left/release", json!({"lease": lease})).await;
    for name in ["left", "never"] {
        let body = json!({"token": 1, "reason": "r"});
        let refused = api.post(&format!("/v1/locks/{name}/break"), body).await;
        assert_eq!(refused.code(), (409, "held"));
        let said = format!("token 1 is not a holder's: nobody holds {name}");
        assert_eq!(refused.json["detail"], said);
    }
}

#[tokio::test]
async fn a_lock_opens_after_its_delay() {
    let api = Api::start().await;
    let grant = api.post("/v1/locks/a/acquire", json!({"at_least": 60, "ttl": 90})).await.json;
    api.post("/v1/locks/a/release", json!({"lease": grant["lease"]})).await;
    let refused = api.post("/v1/locks/a/acquire", json!({})).await;
    assert_eq!(refused.code(), (409, "held"));
    assert!(refused.json["opens_in"].as_f64().unwrap() > 50.0, "{}", refused.text);
    assert_eq!(refused.json["holders"], json!([]));
}

#[tokio::test]
async fn an_unused_lock_is_free_and_lists_show_what_is_held() {
    let api = Api::start().await;
    let free = api.get("/v1/locks/never/used").await.json;
    assert_eq!((&free["state"], &free["name"]), (&json!("free"), &json!("never/used")));
    assert_eq!(
        (&free["holders"], &free["queue"], &free["latest_token"]),
        (&json!([]), &json!([]), &Value::Null)
    );
    assert!(free["cursor"].is_string());
    for name in ["a/1", "a/2", "a/3", "b/1"] {
        api.take(name).await;
    }
    let names = |page: &Value| -> Vec<String> {
        let locks = page["locks"].as_array().unwrap().iter();
        locks.map(|lock| lock["name"].as_str().unwrap().to_owned()).collect()
    };
    let page = api.get("/v1/locks?prefix=a/&limit=2&state=held").await.json;
    assert_eq!(
        (names(&page), &page["next"]),
        (vec!["a/1".to_owned(), "a/2".to_owned()], &json!("a/2"))
    );
    let rest = api.get("/v1/locks?prefix=a/&limit=2&after=a/2").await.json;
    assert_eq!((names(&rest), &rest["next"]), (vec!["a/3".to_owned()], &Value::Null));
    assert!(rest["cursor"].is_string());
    assert_eq!(names(&api.get("/v1/locks?state=waited").await.json), Vec::<String>::new());
    assert_eq!(names(&api.get("/v1/locks?sort=held_for&limit=1").await.json).len(), 1);
}

#[tokio::test]
async fn a_name_is_the_same_raw_encoded_and_in_the_body() {
    let api = Api::start().await;
    let lease = api.take("a%20b%2Fc").await;
    assert_eq!(api.get("/v1/locks/a%20b/c").await.json["name"], "a b/c");
    let refused = api.post("/v1/acquire", json!({"name": "a b/c"})).await;
    assert_eq!(refused.code(), (409, "held"));
    assert_eq!(api.post("/v1/release", json!({"lease": lease})).await.status, 200);
    let verb = api.post("/v1/acquire", json!({"name": "x/acquire"})).await;
    assert_eq!(verb.json["name"], "x/acquire");
    assert_eq!(api.get("/v1/locks/x%2Facquire").await.json["state"], "held");
    assert_eq!(api.get("/v1/locks/%2E%2E/x").await.json["name"], "../x", "no path is made of it");
    assert_eq!(api.get("/v1/locks/100%25").await.json["name"], "100%", "decoded once");
}
