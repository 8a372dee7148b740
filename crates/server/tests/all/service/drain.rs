//! The way out.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;

use super::eventually;
use crate::fixture::{Server, answer};

#[tokio::test]
async fn a_drain_sends_waiters_away_and_lets_holders_renew_until_they_are_done() {
    let server = Server::memory().await;
    let lease = server.post("/v1/locks/a/acquire", json!({"ttl": 60})).await.body["lease"].clone();
    let waiting = tokio::spawn({
        let wait = json!({"wait": 60, "request_id": "my-request-1"});
        let request = server.request(reqwest::Method::POST, "/v1/locks/a/acquire").json(&wait);
        answer(request)
    });
    let metrics = server.service.app().metrics.clone();
    eventually("it waits", || async { metrics.held_answers() == 1 }).await;
    server.service.app().drain.begin(Duration::from_secs(60));

    let sent_away = waiting.await.unwrap();
    assert_eq!(sent_away.status, StatusCode::SERVICE_UNAVAILABLE, "{sent_away:?}");
    assert_eq!(sent_away.body["reason"], "draining");
    assert!(sent_away.headers.contains_key("retry-after"));
    let ready = answer(server.client.get(format!("{}/readyz", server.url))).await;
    assert_eq!(
        (ready.status, &ready.body["reason"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("draining"))
    );
    let healthy = answer(server.client.get(format!("{}/healthz", server.url))).await;
    assert_eq!(healthy.status, StatusCode::OK);

    let renewed = server.post("/v1/locks/a/renew", json!({"lease": lease})).await;
    assert_eq!(renewed.status, StatusCode::OK);
    let queue = server.get("/v1/locks/a").await.body["queue"].clone();
    assert_eq!(queue.as_array().map(Vec::len), Some(1), "the waiter's place is kept: {queue}");
    server.post("/v1/release", json!({"request_id": "my-request-1", "name": "a"})).await;
    let released = server.post("/v1/locks/a/release", json!({"lease": lease})).await;
    assert_eq!(released.status, StatusCode::OK);
    let began = Instant::now();
    server.stop(Duration::from_secs(60)).await;
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "nobody holds: there is nothing to wait for"
    );
}

#[tokio::test]
async fn a_drain_that_names_no_time_takes_the_configured_one() {
    let server = Server::start(|config| config.settings.drain = Duration::from_secs(7)).await;
    server.post("/v1/locks/a/acquire", json!({"ttl": 60})).await;
    let before = tokio::time::Instant::now();
    assert_eq!(server.post("/v1/drain", json!({})).await.status, StatusCode::OK);
    let until = server.service.app().drain.until().unwrap() - before;
    assert!((7.0..27.0).contains(&until.as_secs_f64()), "{until:?}");
}

#[tokio::test]
async fn a_drain_ends_when_its_time_is_over_and_what_was_held_is_held_after_it() {
    let server = Server::disk().await;
    let token = server.post("/v1/locks/a/acquire", json!({"ttl": 600})).await.body["token"].clone();
    let began = Instant::now();
    let dir = server.stop(Duration::from_millis(300)).await;
    assert!(began.elapsed() < Duration::from_secs(10));
    let again = Server::start_in(dir, |config| {
        config.settings.durability = tenure_log::Durability::Disk;
    })
    .await;
    let lock = again.get("/v1/locks/a").await.body;
    assert_eq!((&lock["state"], &lock["holders"][0]["token"]), (&json!("held"), &token));
}
