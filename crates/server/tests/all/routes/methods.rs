//! Every route has the methods it says, is in the OpenAPI document and in the reference.

use axum::body::Body;
use http::{Method, header};
use serde_json::{Value, json};

use super::{Api, KEY, request};

const REFERENCE: &str = include_str!("../../../../../docs/http-api.md");

/// Every route with a path that means it, and its methods.
const ROUTES: [(&str, &str, &str); 34] = [
    ("/v1", "/v1", "GET, HEAD, OPTIONS"),
    ("/v1/stats", "/v1/stats", "GET, HEAD, OPTIONS"),
    ("/v1/changes", "/v1/changes", "GET, HEAD, OPTIONS"),
    ("/v1/drain", "/v1/drain", "POST, OPTIONS"),
    ("/v1/locks", "/v1/locks", "GET, HEAD, OPTIONS"),
    ("/v1/locks/{name}", "/v1/locks/a", "GET, HEAD, OPTIONS"),
    ("/v1/locks/{name}/acquire", "/v1/locks/a/acquire", "POST, OPTIONS"),
    ("/v1/locks/{name}/renew", "/v1/locks/a/renew", "POST, OPTIONS"),
    ("/v1/locks/{name}/release", "/v1/locks/a/release", "POST, OPTIONS"),
    ("/v1/locks/{name}/convert", "/v1/locks/a/convert", "POST, OPTIONS"),
    ("/v1/locks/{name}/check", "/v1/locks/a/check", "POST, OPTIONS"),
    ("/v1/locks/{name}/hand_over", "/v1/locks/a/hand_over", "POST, OPTIONS"),
    ("/v1/locks/{name}/recall", "/v1/locks/a/recall", "POST, OPTIONS"),
    ("/v1/locks/{name}/break", "/v1/locks/a/break", "POST, OPTIONS"),
    ("/v1/locks/{name}/resize", "/v1/locks/a/resize", "POST, OPTIONS"),
    ("/v1/acquire", "/v1/acquire", "POST, OPTIONS"),
    ("/v1/renew", "/v1/renew", "POST, OPTIONS"),
    ("/v1/release", "/v1/release", "POST, OPTIONS"),
    ("/v1/sessions", "/v1/sessions", "GET, HEAD, POST, OPTIONS"),
    ("/v1/sessions/{id}", "/v1/sessions/s-1", "GET, HEAD, OPTIONS"),
    ("/v1/sessions/{id}/keepalive", "/v1/sessions/s-1/keepalive", "POST, OPTIONS"),
    ("/v1/sessions/{id}/events", "/v1/sessions/s-1/events", "GET, HEAD, OPTIONS"),
    ("/v1/sessions/{id}/end", "/v1/sessions/s-1/end", "POST, OPTIONS"),
    ("/v1/keys", "/v1/keys", "GET, HEAD, POST, OPTIONS"),
    ("/v1/keys/{name}", "/v1/keys/k", "DELETE, OPTIONS"),
    ("/v1/keys/{name}/rotate", "/v1/keys/k/rotate", "POST, OPTIONS"),
    ("/v1/cluster", "/v1/cluster", "GET, HEAD, OPTIONS"),
    ("/v1/cluster/members", "/v1/cluster/members", "POST, OPTIONS"),
    ("/v1/cluster/members/{id}", "/v1/cluster/members/2", "DELETE, OPTIONS"),
    ("/v1/cluster/transfer", "/v1/cluster/transfer", "POST, OPTIONS"),
    ("/v1/cluster/backup", "/v1/cluster/backup", "GET, HEAD, OPTIONS"),
    ("/healthz", "/healthz", "GET, HEAD, OPTIONS"),
    ("/readyz", "/readyz", "GET, HEAD, OPTIONS"),
    ("/openapi.json", "/openapi.json", "GET, HEAD, OPTIONS"),
];

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let api = Api::start().await;
    for (template, path, methods) in ROUTES {
        let options = request(Method::OPTIONS, path, KEY).body(Body::empty()).unwrap();
        let options = api.send(options).await;
        assert_eq!((options.status, options.header("allow")), (204, methods), "{template}");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"] {
            if methods.split(", ").any(|allowed| allowed == method) {
                continue;
            }
            let wrong = request(Method::from_bytes(method.as_bytes()).unwrap(), path, KEY);
            let refused = api.send(wrong.body(Body::empty()).unwrap()).await;
            assert_eq!(refused.code(), (405, "method_not_allowed"), "{method} {template}");
            assert_eq!(refused.header("allow"), methods);
        }
    }
}

#[tokio::test]
async fn a_head_is_a_get_without_its_body() {
    let api = Api::start().await;
    for path in [
        "/v1",
        "/v1/locks",
        "/v1/locks/a",
        "/v1/stats",
        "/v1/sessions",
        "/v1/cluster",
        "/healthz",
        "/v1/changes",
    ] {
        let head = api.send(request(Method::HEAD, path, KEY).body(Body::empty()).unwrap()).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
        assert!(head.headers.contains_key(header::CONTENT_TYPE), "{path}");
        let length = head.headers.get(header::CONTENT_LENGTH);
        assert_eq!(length.is_none(), path == "/v1/changes", "{path}: only a stream has no length");
    }
}

#[tokio::test]
async fn other_paths_are_not_found() {
    let api = Api::start().await;
    for path in ["/", "/v2", "/v1/lock", "/v1/sessions/a/b/c", "/v1/tables", "/favicon.ico"] {
        assert_eq!(api.get(path).await.code(), (404, "not_found"), "{path}");
    }
}

#[tokio::test]
async fn what_a_single_node_cannot_do_is_refused_and_not_done_by_halves() {
    let api = Api::start().await;
    let members = api.post("/v1/cluster/members", json!({"id": 2, "peer": "a:1"})).await;
    assert_eq!(members.code(), (501, "not_supported"));
    assert_eq!(
        (&members.json["backend"], &members.json["capability"]),
        (&json!("log"), &json!("cluster"))
    );
    for path in ["/v1/cluster/transfer"] {
        assert_eq!(api.post(path, json!({"to": 2})).await.status, 501);
    }
    assert_eq!(api.get("/v1/cluster/backup").await.status, 501);
    let cluster = api.get("/v1/cluster").await.json;
    assert_eq!(
        (&cluster["members"][0]["role"], &cluster["members"][0]["id"]),
        (&json!("leader"), &cluster["leader"])
    );
}

#[tokio::test]
async fn the_service_tells_what_it_is_and_what_it_does() {
    let api = Api::start().await;
    let info = api.get("/v1").await.json;
    assert_eq!(
        (&info["backend"], &info["durability"], &info["store"]),
        (&json!("log"), &json!("memory"), &Value::Null)
    );
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert!(info["features"].as_array().unwrap().contains(&json!("locks")));
    assert_eq!(
        (&info["limits"]["name_bytes"], &info["capabilities"]["cluster"]),
        (&json!(512), &json!(false))
    );

    api.take("a").await;
    api.session().await;
    let stats = api.get("/v1/stats").await.json;
    assert_eq!(stats["locks"], json!({"held": 1, "waited": 0, "idle": 0}));
    assert_eq!(
        (&stats["waiters"], &stats["sessions"], &stats["top"]),
        (&json!(0), &json!(1), &json!([]))
    );
    assert!(stats["rates"]["grants"].is_number() && stats["oldest_wait"].is_number());
}

#[tokio::test]
async fn every_route_is_documented_twice() {
    let api = Api::start().await;
    let document = api.get("/openapi.json").await.json;
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    for (template, _, methods) in ROUTES {
        assert!(REFERENCE.contains(&format!("`{template}`")), "docs/http-api.md lacks {template}");
        let Some(path) = paths.get(template) else { panic!("/openapi.json lacks {template}") };
        for method in methods.split(", ").filter(|method| !["HEAD", "OPTIONS"].contains(method)) {
            assert!(
                path[method.to_lowercase()].is_object(),
                "/openapi.json lacks {method} {template}"
            );
        }
    }
    assert_eq!(paths.len(), ROUTES.len());
    let acquire = &document["components"]["schemas"]["AcquireRequest"]["properties"];
    assert!(acquire["ttl"].is_object() && acquire["request_id"].is_object());
}
