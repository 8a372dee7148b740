//! Bad input: always a 4xx with a stable code that names the field; never a 5xx, a hang or a change.

use axum::body::Body;
use http::{Method, header};
use serde_json::{Value, json};

use super::{Api, KEY, request};

const LEASE: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// Sends what should be refused and looks that nothing changed.
struct Hostile {
    api: Api,
    place: String,
}

impl Hostile {
    async fn start() -> Self {
        let api = Api::start().await;
        let place = api.place();
        Hostile { api, place }
    }

    async fn refused(&self, path: &str, body: Value, field: &str, reason: &str) {
        let refused = self.api.post(path, body.clone()).await;
        let body = body.to_string();
        let shown = &body[..body.len().min(120)];
        assert_eq!(refused.code(), (400, "bad_request"), "{path} {shown}: {}", refused.text);
        assert_eq!(refused.json["field"], field, "{path} {shown}: {}", refused.text);
        assert_eq!(refused.json["reason"], reason, "{path} {shown}: {}", refused.text);
        assert_eq!(refused.json["acquired"] == json!(false), path.ends_with("acquire"), "{path}");
        assert_eq!(self.api.place(), self.place, "{path} {shown} changed something");
    }
}

#[tokio::test]
async fn a_bad_field_of_an_acquire_is_named() {
    let hostile = Hostile::start().await;
    let day = 24 * 3600;
    let cases = [
        (json!({"ttl": 0}), "ttl", "range"),
        (json!({"ttl": 0.09}), "ttl", "range"),
        (json!({"ttl": 367 * day}), "ttl", "range"),
        (json!({"ttl": "-1s"}), "ttl", "syntax"),
        (json!({"ttl": [30]}), "ttl", "type"),
        (json!({"wait": day + 1}), "wait", "range"),
        (json!({"wait": -0.1}), "wait", "range"),
        (json!({"hold": 601}), "hold", "range"),
        (json!({"lock_delay": 61}), "lock_delay", "range"),
        (json!({"at_least": 367 * day}), "at_least", "range"),
        (json!({"permits": 0}), "permits", "range"),
        (json!({"permits": 2_147_483_649_u32}), "permits", "range"),
        (json!({"permits": 3, "weight": 4}), "weight", "range"),
        (json!({"permits": 3, "weight": 0}), "weight", "range"),
        (json!({"weight": 1}), "permits", "missing"),
        (json!({"permits": 3, "mode": "shared"}), "mode", "duplicate"),
        (json!({"mode": "EXCLUSIVE"}), "mode", "range"),
        (json!({"note": "n".repeat(1025)}), "note", "range"),
        (json!({"note": "line\nfeed"}), "note", "syntax"),
        (json!({"owner": "o".repeat(129)}), "owner", "range"),
        (json!({"request_id": "1234567"}), "request_id", "range"),
        (json!({"request_id": "r".repeat(129)}), "request_id", "range"),
        (json!({"session": 7}), "session", "type"),
        (json!({"session": format!("s-1.{LEASE}"), "ttl": 30}), "ttl", "duplicate"),
        (json!({"name": "b"}), "name", "unknown"),
        (json!({"locks": [{"name": "b"}]}), "locks", "unknown"),
        (json!({"lease": LEASE}), "lease", "unknown"),
        (json!({"reentrant": "yes"}), "reentrant", "type"),
    ];
    for (body, field, reason) in cases {
        hostile.refused("/v1/locks/a/acquire", body, field, reason).await;
    }
    let many = (0..257).map(|n| json!({"name": format!("n{n}")})).collect::<Vec<_>>();
    let cases = [
        (json!({}), "name", "missing"),
        (json!({"locks": []}), "locks", "range"),
        (json!({"locks": many}), "locks", "range"),
        (json!({"locks": [{"name": "a"}, {"name": "a"}]}), "locks", "duplicate"),
        (json!({"locks": [{"name": "a"}], "name": "b"}), "name", "duplicate"),
        (json!({"locks": [{"name": "a"}], "mode": "shared"}), "mode", "duplicate"),
        (
            json!({"locks": [{"name": "a"}, {"name": "b", "permits": 0}]}),
            "locks[1].permits",
            "range",
        ),
        (json!({"locks": [{"name": ""}]}), "locks[0].name", "range"),
        (json!({"name": "x".repeat(513)}), "name", "range"),
        (json!({"name": "a\u{202e}b"}), "name", "syntax"),
        (json!({"name": "a\u{fffe}b"}), "name", "syntax"),
    ];
    for (body, field, reason) in cases {
        hostile.refused("/v1/acquire", body, field, reason).await;
    }
}

#[tokio::test]
async fn a_bad_field_of_a_renewal_release_or_conversion_is_named() {
    let hostile = Hostile::start().await;
    let leases = vec![LEASE; 257];
    let cases = [
        ("/v1/locks/a/renew", json!({}), "lease", "missing"),
        ("/v1/locks/a/renew", json!({"lease": "short"}), "lease", "syntax"),
        ("/v1/locks/a/renew", json!({"lease": LEASE, "ttl": 0}), "ttl", "range"),
        ("/v1/locks/a/renew", json!({"lease": LEASE, "leases": [LEASE]}), "leases", "unknown"),
        ("/v1/locks/a/renew", json!({"lease": LEASE, "name": "b"}), "name", "unknown"),
        ("/v1/renew", json!({}), "lease", "missing"),
        ("/v1/renew", json!({"lease": LEASE, "leases": [LEASE]}), "lease", "duplicate"),
        ("/v1/renew", json!({"leases": ["short"]}), "leases[0]", "syntax"),
        ("/v1/renew", json!({"leases": leases}), "leases", "range"),
        ("/v1/locks/a/release", json!({"lease": LEASE, "names": ["a"]}), "names", "unknown"),
        ("/v1/locks/a/release", json!({"request_id": 12345678}), "request_id", "type"),
        ("/v1/release", json!({"request_id": "request-1"}), "name", "missing"),
        ("/v1/locks/a/convert", json!({"lease": LEASE}), "mode", "missing"),
        ("/v1/locks/a/convert", json!({"mode": "shared"}), "lease", "missing"),
        (
            "/v1/locks/a/convert",
            json!({"lease": LEASE, "mode": "shared", "wait": "1w"}),
            "wait",
            "syntax",
        ),
    ];
    for (path, body, field, reason) in cases {
        hostile.refused(path, body, field, reason).await;
    }
}

#[tokio::test]
async fn a_bad_field_of_any_rarer_body_is_named() {
    let hostile = Hostile::start().await;
    let cases = [
        ("/v1/locks/a/check", json!({}), "token", "missing"),
        ("/v1/locks/a/check", json!({"token": -1}), "token", "range"),
        ("/v1/locks/a/check", json!({"token": "1"}), "token", "type"),
        ("/v1/locks/a/check", json!({"token": 1.5}), "token", "type"),
        (
            "/v1/locks/a/hand_over",
            json!({"lease": LEASE, "ttl": 5, "session": format!("s-1.{LEASE}")}),
            "ttl",
            "duplicate",
        ),
        ("/v1/locks/a/recall", json!({"reason": "r"}), "within", "missing"),
        ("/v1/locks/a/recall", json!({"within": 1}), "reason", "missing"),
        ("/v1/locks/a/recall", json!({"within": "1y", "reason": "r"}), "within", "syntax"),
        ("/v1/locks/a/break", json!({"any": true}), "reason", "missing"),
        ("/v1/locks/a/break", json!({"any": false, "reason": "r"}), "token", "missing"),
        ("/v1/locks/a/break", json!({"any": true, "token": 1, "reason": "r"}), "any", "duplicate"),
        ("/v1/locks/a/resize", json!({"permits": 0}), "permits", "range"),
        ("/v1/locks/unused/resize", json!({"permits": 3}), "permits", "range"),
        ("/v1/sessions", json!({"ttl": 0.05}), "ttl", "range"),
        ("/v1/sessions", json!({"session": "x"}), "session", "unknown"),
        ("/v1/sessions/s-1/keepalive", json!({}), "session", "missing"),
        ("/v1/sessions/nonsense/keepalive", json!({}), "id", "syntax"),
        ("/v1/sessions/s-01/end", json!({"reason": "r"}), "id", "syntax"),
        ("/v1/keys", json!({"roles": ["read"]}), "name", "missing"),
        ("/v1/keys", json!({"name": "k", "roles": []}), "roles", "range"),
        ("/v1/keys", json!({"name": "k", "roles": ["root"]}), "roles[0]", "range"),
        (
            "/v1/keys",
            json!({"name": "k", "roles": ["read"], "requests_per_second": 0}),
            "requests_per_second",
            "range",
        ),
        ("/v1/keys", json!({"name": "k", "roles": ["read"], "expires": 0}), "expires", "range"),
        ("/v1/drain", json!({"within": "1d"}), "within", "range"),
    ];
    for (path, body, field, reason) in cases {
        hostile.refused(path, body, field, reason).await;
    }
}

#[tokio::test]
async fn a_bad_name_in_a_path_is_refused() {
    let hostile = Hostile::start().await;
    let long = format!("/v1/locks/{}/acquire", "n".repeat(513));
    let cases = [
        ("/v1/locks//acquire", "range"),
        (long.as_str(), "range"),
        ("/v1/locks/a%00b/acquire", "syntax"),
        ("/v1/locks/a%0d%0ab/acquire", "syntax"),
        ("/v1/locks/a%7f/acquire", "syntax"),
        ("/v1/locks/%E2%80%AE/acquire", "syntax"),
        ("/v1/locks/a%2/acquire", "encoding"),
        ("/v1/locks/a%zz/acquire", "encoding"),
        ("/v1/locks/a%C3%28/acquire", "encoding"),
        ("/v1/locks/%ED%A0%80/acquire", "encoding"),
        ("/v1/locks/%C0%AF/acquire", "encoding"),
    ];
    for (path, reason) in cases {
        hostile.refused(path, json!({}), "name", reason).await;
    }
    let api = &hostile.api;
    let huge = api.get(&format!("/v1/locks/{}", "n".repeat(10_000))).await;
    assert_eq!(huge.code(), (414, "too_large"));
    let longest = format!("/v1/locks/{}", "%C3%A9".repeat(256));
    assert_eq!(
        api.get(&longest).await.status,
        200,
        "512 bytes are a name, however they are written"
    );
}

#[tokio::test]
async fn a_bad_parameter_is_named() {
    let hostile = Hostile::start().await;
    let cases = [
        ("/v1/locks?limit=0", "limit", "range"),
        ("/v1/locks?limit=1001", "limit", "range"),
        ("/v1/locks?limit=1e3", "limit", "type"),
        ("/v1/locks?limit=99999999999999999999999", "limit", "range"),
        ("/v1/locks?limit=1&limit=2", "limit", "duplicate"),
        ("/v1/locks?prefix=a&prefix=a", "prefix", "duplicate"),
        ("/v1/locks?state=free", "state", "range"),
        ("/v1/locks?sort=waiters&after=a", "after", "duplicate"),
        ("/v1/locks?api_key=x", "api_key", "unknown"),
        ("/v1/locks?prefix=%ff", "prefix", "encoding"),
        ("/v1/locks/a?x=1", "x", "unknown"),
        ("/v1?x", "x", "unknown"),
        ("/v1/sessions?after=nonsense", "after", "syntax"),
        ("/v1/sessions/nonsense", "id", "syntax"),
        ("/v1/changes?after=nonsense", "after", "syntax"),
        ("/v1/changes?after=-1", "after", "syntax"),
        ("/v1/changes?after=99999999999999999999999-1", "after", "syntax"),
        ("/v1/changes?kind=rows", "kind", "range"),
        ("/v1/changes?hold=5", "hold", "unknown"),
    ];
    for (path, field, reason) in cases {
        let refused = hostile.api.get(path).await;
        assert_eq!(refused.code(), (400, "bad_request"), "{path}: {}", refused.text);
        assert_eq!(
            (&refused.json["field"], &refused.json["reason"]),
            (&json!(field), &json!(reason)),
            "{path}"
        );
    }
    let refused = hostile.api.post("/v1/locks/a/acquire?wait=5", json!({})).await;
    assert_eq!((refused.code(), &refused.json["field"]), ((400, "bad_request"), &json!("wait")));
    assert_eq!(hostile.api.place(), hostile.place);
}

#[tokio::test]
async fn a_bad_body_is_refused_on_every_route_that_has_one() {
    let hostile = Hostile::start().await;
    let paths = [
        "/v1/locks/a/acquire",
        "/v1/locks/a/renew",
        "/v1/locks/a/release",
        "/v1/locks/a/convert",
        "/v1/locks/a/check",
        "/v1/locks/a/hand_over",
        "/v1/locks/a/recall",
        "/v1/locks/a/break",
        "/v1/locks/a/resize",
        "/v1/acquire",
        "/v1/renew",
        "/v1/release",
        "/v1/sessions",
        "/v1/sessions/s-1/keepalive",
        "/v1/sessions/s-1/end",
        "/v1/keys",
        "/v1/drain",
    ];
    let nested = "[".repeat(100_000);
    let bodies: [(&str, &[u8], u16); 14] = [
        ("application/json", b"", 400),
        ("application/json", b"{", 400),
        ("application/json", b"null", 400),
        ("application/json", b"[]", 400),
        ("application/json", b"\"a\"", 400),
        ("application/json", b"{}{}", 400),
        ("application/json", b"{\"a\":\"\xff\"}", 400),
        ("application/json", b"{\"no_such_field\":1}", 400),
        ("application/json", nested.as_bytes(), 400),
        ("application/x-www-form-urlencoded", b"no_such_field=1", 400),
        ("application/x-www-form-urlencoded", b"%", 400),
        ("text/xml", b"<a/>", 415),
        ("multipart/form-data", b"", 415),
        ("application/json; charset=utf-16", b"{}", 415),
    ];
    for path in paths {
        for (kind, body, status) in bodies {
            let request = request(Method::POST, path, KEY).header(header::CONTENT_TYPE, kind);
            let refused = hostile.api.send(request.body(Body::from(body.to_vec())).unwrap()).await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(40)]);
            assert_eq!(refused.status, status, "{path} {kind} {shown}: {}", refused.text);
            assert!(
                status != 400 || refused.json["field"].is_string(),
                "{path} {shown}: {}",
                refused.text
            );
        }
        let large = request(Method::POST, path, KEY)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_LENGTH, "99999999999")
            .body(Body::from("{}"));
        assert_eq!(hostile.api.send(large.unwrap()).await.code(), (413, "too_large"), "{path}");
    }
    assert_eq!(hostile.api.place(), hostile.place, "nothing changed");
}

#[tokio::test]
async fn a_bad_header_is_named() {
    let hostile = Hostile::start().await;
    let send = |name: &'static str, values: &[&[u8]]| {
        let mut request = request(Method::POST, "/v1/locks/a/acquire", KEY);
        for value in values {
            request = request.header(name, *value);
        }
        hostile.api.send(request.body(Body::empty()).unwrap())
    };
    let cases: [(&str, &[&[u8]], &str); 6] = [
        ("idempotency-key", &[b"request-1", b"request-2"], "duplicate"),
        ("idempotency-key", &[b"\xff\xff\xff\xff\xff\xff\xff\xff"], "encoding"),
        ("idempotency-key", &[b"\"request-1"], "syntax"),
        ("idempotency-key", &[b"short"], "range"),
        ("tenure-session", &[b"nonsense"], "syntax"),
        ("tenure-session", &[b"a", b"b"], "duplicate"),
    ];
    for (name, values, reason) in cases {
        let refused = send(name, values).await;
        assert_eq!(refused.code(), (400, "bad_request"), "{name} {}", refused.text);
        assert_eq!(
            (&refused.json["field"], &refused.json["reason"]),
            (&json!(name), &json!(reason)),
            "{name}"
        );
    }
    let last = request(Method::GET, "/v1/changes", KEY)
        .header("last-event-id", "nonsense")
        .body(Body::empty());
    assert_eq!(hostile.api.send(last.unwrap()).await.json["field"], "last-event-id");
    for twice in ["authorization", "content-type"] {
        let refused = send(twice, &[b"Bearer a", b"Bearer b"]).await;
        assert!([400, 401, 415].contains(&refused.status), "{twice}: {}", refused.text);
    }
    assert_eq!(hostile.api.place(), hostile.place);
}

#[tokio::test]
async fn what_must_be_said_is_missing_if_it_is_not() {
    let api = Api::start().await;
    let refused = api.post("/v1/release", json!({"request_id": "request-1"})).await;
    assert_eq!(refused.code(), (400, "bad_request"), "{}", refused.text);
    assert_eq!(
        (&refused.json["field"], &refused.json["reason"]),
        (&json!("name"), &json!("missing"))
    );
    api.take("a").await;
    let refused = api.post("/v1/locks/a/recall", json!({"within": 1, "reason": ""})).await;
    assert_eq!(
        (&refused.json["field"], &refused.json["reason"]),
        (&json!("reason"), &json!("missing"))
    );
    for name in ["a/b", ".", ".."] {
        let refused = api.post("/v1/keys", json!({"name": name, "roles": ["read"]})).await;
        assert_eq!(
            (refused.code(), &refused.json["field"]),
            ((400, "bad_request"), &json!("name"))
        );
    }
    let refused = api.post("/v1/keys", json!({"name": "k", "roles": ["read", "read"]})).await;
    assert_eq!(
        (refused.code(), &refused.json["reason"]),
        ((400, "bad_request"), &json!("duplicate"))
    );
}
