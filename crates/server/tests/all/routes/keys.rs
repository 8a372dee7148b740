//! Keys: who may do what, to which names.

use axum::body::Body;
use http::{Method, Request};
use serde_json::{Value, json};

use super::{Api, KEY, request};

#[tokio::test]
async fn without_a_good_key_nothing_is_told() {
    let api = Api::start().await;
    let paths = [
        "/v1",
        "/v1/locks",
        "/v1/locks/a",
        "/v1/stats",
        "/v1/sessions",
        "/v1/changes",
        "/v1/keys",
        "/v1/cluster",
        "/openapi.json",
    ];
    for path in paths {
        let missing = Request::get(path).body(Body::empty()).unwrap();
        let refused = api.send(missing).await;
        assert_eq!(refused.code(), (401, "unauthenticated"), "{path}");
        assert_eq!(refused.header("www-authenticate"), "Bearer");
        let wrong = api.get_as("wrong-key-wrong-key", path).await;
        assert!([401, 429].contains(&wrong.status), "{path}: {}", wrong.text);
    }
    for path in ["/healthz", "/readyz"] {
        let open = api.send(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!((open.status, open.text.trim()), (200, "ok"), "{path}");
    }
}

#[tokio::test]
async fn a_role_opens_its_routes_and_those_below() {
    let api = Api::start().await;
    let reader = api.key("reader", &["read"], &[]).await;
    let locker = api.key("locker", &["lock"], &[]).await;
    let (id, handle) = api.session().await;
    let lock_routes = [
        ("/v1/locks/a/acquire", json!({})),
        ("/v1/locks/a/renew", json!({"lease": "x".repeat(32)})),
        ("/v1/locks/a/release", json!({"lease": "x".repeat(32)})),
        ("/v1/locks/a/convert", json!({"lease": "x".repeat(32), "mode": "shared"})),
        ("/v1/locks/a/hand_over", json!({"lease": "x".repeat(32)})),
        ("/v1/acquire", json!({"name": "b"})),
        ("/v1/renew", json!({"lease": "x".repeat(32)})),
        ("/v1/release", json!({"lease": "x".repeat(32)})),
        ("/v1/sessions", json!({})),
        (&format!("/v1/sessions/{id}/keepalive"), json!({"session": handle})),
    ];
    for (path, body) in lock_routes {
        let refused = api.post_as(&reader, path, body.clone()).await;
        assert_eq!(
            (refused.code(), &refused.json["needs"]),
            ((403, "forbidden"), &json!("lock")),
            "{path}"
        );
        assert_ne!(api.post_as(&locker, path, body).await.status, 403, "{path}");
    }
    let operator_routes = [
        ("/v1/locks/a/recall", json!({"within": 1, "reason": "r"})),
        ("/v1/locks/a/break", json!({"any": true, "reason": "r"})),
        ("/v1/locks/a/resize", json!({"permits": 2})),
        ("/v1/keys", json!({"name": "k", "roles": ["read"]})),
        ("/v1/keys/reader/rotate", json!({})),
        ("/v1/cluster/members", json!({})),
        ("/v1/drain", json!({})),
    ];
    for (path, body) in operator_routes {
        let refused = api.post_as(&locker, path, body).await;
        assert_eq!(
            (refused.code(), &refused.json["needs"]),
            ((403, "forbidden"), &json!("operator")),
            "{path}"
        );
    }
    for path in ["/v1", "/v1/locks", "/v1/locks/a", "/v1/stats", "/v1/sessions", "/v1/cluster"] {
        assert_eq!(api.get_as(&reader, path).await.status, 200, "{path}");
    }
    let check = api.post_as(&reader, "/v1/locks/a/check", json!({"token": 1})).await;
    assert_eq!(check.status, 200);
}

#[tokio::test]
async fn outside_its_prefixes_everything_is_forbidden_and_nothing_is_not_found() {
    let api = Api::start().await;
    let ci = api.key("ci", &["operator"], &["ci/", "tmp/"]).await;
    let (foreign, own) = (api.take("prod/db").await, api.take("ci/build").await);
    let (id, handle) = api.session().await;
    api.post("/v1/locks/prod/x/acquire", json!({"session": handle})).await;
    let posts = [
        ("/v1/locks/prod/db/acquire", json!({})),
        ("/v1/locks/prod/never/acquire", json!({})),
        ("/v1/locks/prod/db/release", json!({"lease": foreign})),
        ("/v1/locks/prod/db/check", json!({"token": 1})),
        ("/v1/locks/prod/db/break", json!({"any": true, "reason": "r"})),
        ("/v1/locks/prod/db/acquire", json!({"nonsense": 1})),
        ("/v1/acquire", json!({"name": "prod/db"})),
        ("/v1/acquire", json!({"locks": [{"name": "ci/a"}, {"name": "prod/db"}]})),
        ("/v1/renew", json!({"lease": foreign})),
        ("/v1/release", json!({"lease": foreign})),
        ("/v1/release", json!({"leases": [own, foreign]})),
        ("/v1/release", json!({"request_id": "request-1", "name": "prod/db"})),
        (&format!("/v1/sessions/{id}/end"), json!({"reason": "r"})),
        ("/v1/sessions/s-zzzz/end", json!({"reason": "r"})),
        ("/v1/keys", json!({"name": "all", "roles": ["read"]})),
        ("/v1/keys", json!({"name": "all", "roles": ["read"], "prefixes": ["c"]})),
        ("/v1/keys/never/rotate", json!({})),
    ];
    for (path, body) in posts {
        let refused = api.post_as(&ci, path, body.clone()).await;
        assert_eq!(
            (refused.code(), &refused.json["needs"]),
            ((403, "forbidden"), &json!("prefix")),
            "{path} {body}"
        );
    }
    let gets = [
        "/v1/locks/prod/db",
        "/v1/locks?prefix=prod/",
        "/v1/changes?prefix=prod/",
        &format!("/v1/sessions/{id}"),
    ];
    for path in gets {
        assert_eq!(api.get_as(&ci, path).await.code(), (403, "forbidden"), "{path}");
    }
    assert_eq!(
        api.post("/v1/renew", json!({"lease": foreign})).await.status,
        200,
        "nothing happened to it"
    );
    let listed = api.get_as(&ci, "/v1/locks").await;
    assert!(listed.text.contains("ci/build") && !listed.text.contains("prod"), "{}", listed.text);
    assert_eq!(api.get_as(&ci, "/v1/sessions").await.json["sessions"], json!([]));
    assert_eq!(api.post_as(&ci, "/v1/release", json!({"lease": own})).await.status, 200);
}

#[tokio::test]
async fn a_key_is_made_shown_once_used_rotated_and_removed() {
    let api = Api::start().await;
    let made = api
        .post(
            "/v1/keys",
            json!({"name": "ci", "roles": ["lock"], "prefixes": ["ci/"], "max_ttl": "1h",
        "held": 2, "requests_per_second": 500, "expires": "1d"}),
        )
        .await;
    assert_eq!((made.status, &made.json["name"]), (201, &json!("ci")), "{}", made.text);
    let first = made.json["key"].as_str().unwrap().to_owned();
    let info = api.get_as(&first, "/v1").await.json;
    assert_eq!(info["key"], json!({"name": "ci", "roles": ["lock"], "prefixes": ["ci/"]}));
    let listed = api.get("/v1/keys").await;
    let shown = &listed.json["keys"][0];
    assert_eq!(
        (&shown["held"], &shown["max_ttl"], &shown["roles"]),
        (&json!(2), &json!(3600), &json!(["lock"]))
    );
    assert!(shown["expires_in"].as_f64().unwrap() > 80_000.0);
    assert!(!listed.text.contains(&first), "a secret is shown once");
    let twice = api.post("/v1/keys", json!({"name": "ci", "roles": ["lock"]})).await;
    assert_eq!(twice.code(), (412, "exists"));

    let rotated = api.post("/v1/keys/ci/rotate", json!({"overlap": "1h"})).await;
    let second = rotated.json["key"].as_str().unwrap().to_owned();
    assert_eq!(
        (rotated.status, api.get_as(&first, "/v1").await.status),
        (201, 200),
        "{}",
        rotated.text
    );
    assert_eq!(api.get_as(&second, "/v1").await.json["key"]["name"], "ci");
    api.post("/v1/keys/ci/rotate", json!({})).await;
    assert_eq!(api.get_as(&second, "/v1").await.status, 401, "no overlap: the old one is over");

    let removed =
        api.send(request(Method::DELETE, "/v1/keys/ci", KEY).body(Body::empty()).unwrap()).await;
    assert_eq!((removed.status, &removed.json["name"]), (200, &json!("ci")));
    let again =
        api.send(request(Method::DELETE, "/v1/keys/ci", KEY).body(Body::empty()).unwrap()).await;
    assert_eq!(again.code(), (404, "not_found"));
    assert_eq!(api.post("/v1/keys/ci/rotate", json!({})).await.code(), (404, "not_found"));
}

#[tokio::test]
async fn a_keys_limits_hold() {
    let api = Api::start().await;
    let body = json!({"name": "small", "roles": ["lock"], "max_ttl": 10, "held": 1, "waiting": 0, "sessions": 1});
    let key = api.post("/v1/keys", body).await.json["key"].as_str().unwrap().to_owned();
    let long = api.post_as(&key, "/v1/locks/a/acquire", json!({"ttl": 11})).await;
    assert_eq!((long.code(), &long.json["field"]), ((400, "bad_request"), &json!("ttl")));
    let shut = api.post_as(&key, "/v1/locks/a/acquire", json!({"at_least": 11})).await;
    assert_eq!((shut.code(), &shut.json["field"]), ((400, "bad_request"), &json!("at_least")));
    let grant = api.post_as(&key, "/v1/locks/a/acquire", json!({})).await;
    assert_eq!((grant.status, &grant.json["ttl"]), (200, &json!(10)), "the default fits");
    let second = api.post_as(&key, "/v1/locks/b/acquire", json!({})).await;
    assert_eq!(
        (second.code(), &second.json["limit"], &second.json["max"]),
        ((429, "limit"), &json!("held"), &json!(1))
    );
    assert_eq!(second.header("retry-after"), "1");
    assert_eq!(second.json["acquired"], false);
    assert_eq!(api.post_as(&key, "/v1/sessions", json!({})).await.json["ttl"], 10);
    assert_eq!(api.post_as(&key, "/v1/sessions", json!({})).await.json["limit"], "sessions");
}

#[tokio::test]
async fn an_operator_makes_no_key_to_more_than_he_has() {
    let api = Api::start().await;
    let ops = api.key("ops", &["operator"], &["ci/"]).await;
    let made = api
        .post_as(
            &ops,
            "/v1/keys",
            json!({"name": "sub", "roles": ["lock"], "prefixes": ["ci/sub/"]}),
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(api.post_as(&ops, "/v1/keys/ops/rotate", json!({})).await.status, 201);
    let all = api.key("all", &["read"], &[]).await;
    let seen: Value = api.get("/v1/keys").await.json;
    assert_eq!(seen["keys"].as_array().unwrap().len(), 3);
    assert_eq!(api.get_as(&all, "/v1/keys").await.code(), (403, "forbidden"));
}

/// A refusal of a key whose prefixes do not cover what it asks for.
fn assert_outside(refused: &super::Reply, what: &str) {
    assert_eq!(
        (refused.code(), &refused.json["needs"]),
        ((403, "forbidden"), &json!("prefix")),
        "{what}: {}",
        refused.text
    );
}

#[tokio::test]
async fn an_operator_breaks_no_grant_with_locks_outside_his_prefixes() {
    let api = Api::start().await;
    let ops = api.key("ops", &["operator"], &["ci/"]).await;
    let both = json!({"locks": [{"name": "ci/a"}, {"name": "prod/a"}], "ttl": 60});
    let grant = api.post("/v1/acquire", both).await.json;
    let token = &grant["locks"][0]["token"];
    for body in [json!({"token": token, "reason": "r"}), json!({"any": true, "reason": "r"})] {
        let refused = api.post_as(&ops, "/v1/locks/ci/a/break", body.clone()).await;
        assert_outside(&refused, &body.to_string());
    }
    assert_eq!(api.get("/v1/locks/prod/a").await.json["state"], "held");
    let own = json!({"locks": [{"name": "ci/b"}, {"name": "ci/c"}], "ttl": 60});
    api.post("/v1/acquire", own).await;
    let body = json!({"any": true, "reason": "r"});
    assert_eq!(api.post_as(&ops, "/v1/locks/ci/b/break", body).await.status, 200);
}

#[tokio::test]
async fn an_operator_ends_no_session_with_anything_outside_his_prefixes() {
    let api = Api::start().await;
    let ops = api.key("ops", &["operator"], &["ci/"]).await;
    let (id, session) = api.session().await;
    let end = format!("/v1/sessions/{id}/end");
    let inside = json!({"session": session});
    assert_eq!(api.post("/v1/locks/ci/a/acquire", inside.clone()).await.status, 200);
    api.take("prod/a").await;
    let body = json!({"session": session, "wait": 60, "hold": 0, "request_id": "request-1"});
    assert_eq!(api.post("/v1/locks/prod/a/acquire", body).await.code(), (409, "waiting"));
    assert_outside(&api.post_as(&ops, &end, json!({"reason": "r"})).await, "it waits outside");
    let cancel = json!({"session": session, "request_id": "request-1"});
    assert_eq!(api.post("/v1/locks/prod/a/release", cancel).await.status, 200);
    assert_eq!(api.post_as(&ops, &end, json!({"reason": "r"})).await.status, 200);
    assert_outside(&api.post_as(&ops, &end, json!({"reason": "r"})).await, "there is none");
}

#[tokio::test]
async fn what_concerns_all_names_needs_a_key_without_prefixes() {
    let api = Api::start().await;
    let ops = api.key("ops", &["operator"], &["ci/"]).await;
    for path in ["/v1/drain", "/v1/cluster/members", "/v1/cluster/transfer"] {
        assert_outside(&api.post_as(&ops, path, json!({})).await, path);
    }
    for path in ["/v1/cluster/backup", "/v1/stats"] {
        assert_outside(&api.get_as(&ops, path).await, path);
    }
    assert_eq!(api.get("/readyz").await.status, 200, "nothing is drained");
}
