//! Who may do what.

use std::os::unix::fs::PermissionsExt;

use reqwest::{Method, StatusCode};
use serde_json::json;
use tenure_server::{Overrides, Service};

use crate::fixture::{Answer, Server, answer, config};

/// `printf %s KEY | sha256sum` of `reader-key-0123456`, `worker-key-0123456` and `slow-key-01234567`.
const FILE: &str = r#"
[[keys]]
name = "reader"
sha256 = "READER"
roles = ["read"]

[[keys]]
name = "worker"
sha256 = "WORKER"
roles = ["lock"]
prefixes = ["ci/"]
max_ttl = "60s"
held = 1

[[keys]]
name = "slow"
sha256 = "SLOW"
roles = ["read"]
requests_per_second = 2
"#;
const READER: &str = "reader-key-0123456";
const WORKER: &str = "worker-key-0123456";
const SLOW: &str = "slow-key-01234567";

fn hex(secret: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn server() -> Server {
    let file = FILE
        .replace("READER", &hex(READER))
        .replace("WORKER", &hex(WORKER))
        .replace("SLOW", &hex(SLOW));
    let dir = tempfile::tempdir().unwrap();
    let keys = config(&dir, &file).keys;
    Server::start_in(dir, |config| config.keys = keys).await
}

async fn post_as(server: &Server, key: &str, path: &str, body: serde_json::Value) -> Answer {
    let url = format!("{}{path}", server.url);
    answer(server.client.post(url).bearer_auth(key).json(&body)).await
}

async fn get_as(server: &Server, key: &str, path: &str) -> Answer {
    answer(server.client.get(format!("{}{path}", server.url)).bearer_auth(key)).await
}

#[tokio::test]
async fn without_a_key_nothing_is_told_but_health() {
    let server = Server::memory().await;
    for path in ["/v1", "/v1/locks", "/v1/locks/a", "/metrics", "/openapi.json"] {
        let bare = answer(server.client.get(format!("{}{path}", server.url))).await;
        assert_eq!(bare.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(bare.headers["www-authenticate"], "Bearer");
        assert_eq!(bare.body["code"], "unauthenticated");
        assert_eq!(get_as(&server, "not-the-right-key", path).await.status, 401, "{path}");
        assert_eq!(server.get(path).await.status, StatusCode::OK, "{path}");
    }
    for path in ["/healthz", "/readyz"] {
        let bare = answer(server.client.get(format!("{}{path}", server.url))).await;
        assert_eq!((bare.status, bare.body), (StatusCode::OK, json!("ok\n")), "{path}");
    }
}

#[tokio::test]
async fn a_key_does_what_its_role_may_and_no_more() {
    let server = server().await;
    let refused = post_as(&server, READER, "/v1/locks/a/acquire", json!({})).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(
        (&refused.body["code"], &refused.body["needs"]),
        (&json!("forbidden"), &json!("lock"))
    );
    assert_eq!(get_as(&server, READER, "/v1/locks/a").await.status, StatusCode::OK);

    let taken = post_as(&server, WORKER, "/v1/locks/ci/a/acquire", json!({})).await;
    assert_eq!(taken.status, StatusCode::OK, "{taken:?}");
    let broken =
        post_as(&server, WORKER, "/v1/locks/ci/a/break", json!({"any": true, "reason": "r"})).await;
    assert_eq!((broken.status, &broken.body["needs"]), (StatusCode::FORBIDDEN, &json!("operator")));
}

#[tokio::test]
async fn a_name_outside_the_prefixes_is_forbidden_whether_it_exists_or_not() {
    let server = server().await;
    assert_eq!(server.post("/v1/locks/prod/db/acquire", json!({})).await.status, StatusCode::OK);
    for path in ["/v1/locks/prod/db", "/v1/locks/prod/none"] {
        let refused = get_as(&server, WORKER, path).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(refused.body["needs"], "prefix");
    }
    let listed = get_as(&server, WORKER, "/v1/locks").await;
    assert_eq!(listed.body["locks"], json!([]));
}

#[tokio::test]
async fn a_key_holds_no_more_than_its_quota_and_no_longer_than_its_ttl() {
    let server = server().await;
    let first = post_as(&server, WORKER, "/v1/locks/ci/a/acquire", json!({"ttl": 60})).await;
    assert_eq!(first.status, StatusCode::OK);
    let second = post_as(&server, WORKER, "/v1/locks/ci/b/acquire", json!({})).await;
    assert_eq!(second.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!((&second.body["limit"], &second.body["max"]), (&json!("held"), &json!(1)));
    let long = post_as(&server, WORKER, "/v1/locks/ci/b/acquire", json!({"ttl": 61})).await;
    assert_eq!((long.status, &long.body["field"]), (StatusCode::BAD_REQUEST, &json!("ttl")));
}

#[tokio::test]
async fn a_key_beyond_its_rate_is_told_when_to_come_back() {
    let server = server().await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let answer = get_as(&server, SLOW, "/v1").await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(answer.headers["retry-after"], "1");
            assert_eq!(answer.body["limit"], "requests_per_second");
        }
        statuses.push(answer.status);
    }
    assert_eq!(statuses[..2], [StatusCode::OK, StatusCode::OK]);
    assert!(statuses.contains(&StatusCode::TOO_MANY_REQUESTS), "{statuses:?}");
}

#[tokio::test]
async fn an_address_that_tries_keys_is_slowed_down_and_right_keys_still_work() {
    let server = Server::memory().await;
    let mut slowed = false;
    for n in 0..30 {
        let tried = get_as(&server, &format!("a-wrong-key-{n:06}"), "/v1").await;
        if tried.status == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(tried.body["limit"], "auth_failures");
            slowed = true;
        }
    }
    assert!(slowed, "thirty wrong keys within a second are too many");
    assert_eq!(server.get("/v1").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_key_made_at_run_time_works_at_once_is_rotated_and_removed() {
    let server = Server::memory().await;
    let made = server.post("/v1/keys", json!({"name": "deploy", "roles": ["lock"]})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let first = made.body["key"].as_str().unwrap().to_owned();
    assert_eq!(get_as(&server, &first, "/v1").await.body["key"]["name"], "deploy");

    let rotated = server.post("/v1/keys/deploy/rotate", json!({"overlap": "1h"})).await;
    let second = rotated.body["key"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    for key in [&first, &second] {
        assert_eq!(get_as(&server, key, "/v1").await.status, StatusCode::OK);
    }

    let removed = answer(server.request(Method::DELETE, "/v1/keys/deploy")).await;
    assert_eq!(removed.status, StatusCode::OK);
    for key in [&first, &second] {
        assert_eq!(get_as(&server, key, "/v1").await.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_server_without_keys_makes_one_for_its_owner_alone_and_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&dir, "");
    config.api_key = None;
    let service = Service::start(config.clone()).await.unwrap();
    let key = service.api_key().unwrap().to_owned();
    let file = dir.path().join("data/api-key");
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), key);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    drop(service);
    let again = Service::start(config).await.unwrap();
    assert_eq!(again.api_key(), Some(key.as_str()));
}

#[tokio::test]
async fn a_weak_key_does_not_start_a_server() {
    for weak in ["short", "change this api key"] {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(&dir, "");
        config.api_key = Some(tenure_server::ApiKey::Given(weak.to_owned()));
        let error = Service::start(config).await.err().expect("a weak key is refused");
        assert_eq!(error.exit().code(), 64);
        assert!(
            !error.to_string().contains(&format!("`{weak}`")),
            "a key is not repeated: {error}"
        );
    }
}

#[tokio::test]
async fn keys_of_the_file_are_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tenure.toml");
    let server = Server::start_in(dir, |config| {
        config.overrides = Overrides { config: Some(path.clone()), ..config.overrides.clone() };
    })
    .await;
    assert_eq!(get_as(&server, READER, "/v1").await.status, StatusCode::UNAUTHORIZED);
    let key =
        format!("[[keys]]\nname = \"reader\"\nsha256 = \"{}\"\nroles = [\"read\"]\n", hex(READER));
    std::fs::write(&path, &key).unwrap();
    server.service.reload(None);
    assert_eq!(get_as(&server, READER, "/v1").await.status, StatusCode::OK);

    std::fs::write(&path, format!("{key}\nnonsense")).unwrap();
    server.service.reload(None);
    assert_eq!(get_as(&server, READER, "/v1").await.status, StatusCode::OK, "the old keys stay");
}

#[tokio::test]
async fn metrics_are_not_for_a_key_with_prefixes() {
    let server = server().await;
    let refused = get_as(&server, WORKER, "/metrics").await;
    assert_eq!((refused.status, &refused.body["needs"]), (StatusCode::FORBIDDEN, &json!("prefix")));
    assert_eq!(get_as(&server, READER, "/metrics").await.status, StatusCode::OK);
}
