//! Who may be connected, and for how long.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use tenure_server::{Exit, Listen, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{closed_after, exchange};
use crate::fixture::{KEY, Server, config};

#[tokio::test]
async fn a_socket_that_a_killed_server_left_is_taken_over_and_a_live_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tenure.sock");
    // Its file stays behind, as after a kill.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listen = Listen::Unix(path.clone());
    let _server = Server::start(|config| config.listen.push(listen.clone())).await;
    UnixStream::connect(&path).await.expect("it is taken over");
    let mut second = config(&dir, "");
    second.listen.push(listen);
    let refused = Service::start(second).await.err().expect("the place is taken");
    assert_eq!(refused.exit(), Exit::Port, "{refused}");
    UnixStream::connect(&path).await.expect("the first one still listens there");
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("precious");
    std::fs::write(&path, "text").unwrap();
    let mut config = config(&dir, "");
    config.listen.push(Listen::Unix(path.clone()));
    let refused = Service::start(config).await.err().expect("there is a file");
    assert_eq!(refused.exit(), Exit::Port, "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), b"text");
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_off() {
    let server = Server::start(|config| {
        config.connections.header_timeout = Duration::from_millis(300);
    })
    .await;
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    slow.write_all(b"GET /v1 HTTP/1.1\r\nhost: t\r\nx: ").await.unwrap();
    let mut later = server.connect().await;
    let whole = format!("GET /v1 HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {KEY}\r\n\r\n");
    let answer = exchange(&mut later, whole.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    later.write_all(b"GET /v1 HTT").await.unwrap();
    for stream in [&mut silent, &mut slow, &mut later] {
        assert!(closed_after(stream).await < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn a_connection_may_rest_between_requests_longer_than_a_head_may_take() {
    let server = Server::start(|config| {
        config.connections.header_timeout = Duration::from_millis(200);
        config.connections.idle_timeout = Duration::from_millis(1500);
    })
    .await;
    let request = format!("GET /v1 HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {KEY}\r\n\r\n");
    let mut stream = server.connect().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut part = [0; 4096];
    assert!(stream.read(&mut part).await.unwrap() > 0);
    let rested = closed_after(&mut stream).await;
    assert!(rested > Duration::from_millis(1000), "closed after {rested:?}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
    let server = Server::memory().await;
    let request = format!(
        "POST /v1/locks/a/acquire HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    let mut stream = server.connect().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    assert!(closed_after(&mut stream).await < Duration::from_secs(15));
    assert!(server.get("/v1/locks/a").await.body["latest_token"].is_null());
}

#[tokio::test]
async fn a_full_house_lets_a_holder_in_and_sends_the_idlest_away() {
    let server = Server::start(|config| config.connections.total_max = 32).await;
    let lease = server.post("/v1/locks/a/acquire", json!({})).await.body["lease"].clone();
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(server.connect().await);
    }
    let fresh = reqwest::Client::builder().no_proxy().build().unwrap();
    let renew = fresh.post(format!("{}/v1/locks/a/renew", server.url)).bearer_auth(KEY);
    let renewed = renew.json(&json!({"lease": lease})).send().await.unwrap();
    assert_eq!(renewed.status(), StatusCode::OK);
    assert!(closed_after(&mut idle[0]).await < Duration::from_secs(1));
}

#[tokio::test]
async fn waiters_in_every_seat_do_not_keep_a_holder_from_renewing() {
    let server = Server::start(|config| config.connections.total_max = 32).await;
    let lease = server.post("/v1/locks/a/acquire", json!({})).await.body["lease"].clone();
    let mut waiters = Vec::new();
    for _ in 0..40 {
        let wait = format!(
            "POST /v1/locks/a/acquire HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {KEY}\r\n\
             content-type: application/json\r\ncontent-length: 11\r\n\r\n{{\"wait\":60}}"
        );
        let mut stream = server.connect().await;
        // One that finds no room is told so and closed.
        let _ = stream.write_all(wait.as_bytes()).await;
        waiters.push(stream);
    }
    super::eventually("a seat of the reserve is free for a renewal", || async {
        let fresh = reqwest::Client::builder().no_proxy().build().unwrap();
        let renew = fresh.post(format!("{}/v1/locks/a/renew", server.url)).bearer_auth(KEY);
        let renewed = renew.json(&json!({"lease": lease})).send().await;
        renewed.is_ok_and(|answer| answer.status() == StatusCode::OK)
    })
    .await;
}

#[tokio::test]
async fn one_address_gets_no_more_than_its_share() {
    let server = Server::start(|config| {
        config.connections.per_address_max = 2;
        config.connections.loopback_too = true;
    })
    .await;
    let held = server.post("/v1/locks/a/acquire", json!({})).await;
    assert_eq!(held.status, StatusCode::OK);
    let wait = format!(
        "POST /v1/locks/a/acquire HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: 11\r\n\r\n{{\"wait\":60}}"
    );
    let mut busy = [server.connect().await, server.connect().await];
    for stream in &mut busy {
        stream.write_all(wait.as_bytes()).await.unwrap();
    }
    let held = server.service.app().metrics.clone();
    super::eventually("both wait", || async { held.held_answers() == 2 }).await;
    let answer = exchange(&mut server.connect().await, b"").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("connections_per_address") && answer.contains("retry-after: 1"));
}

#[tokio::test]
async fn a_waiter_that_hangs_up_leaves_the_queue() {
    let server = Server::memory().await;
    server.post("/v1/locks/a/acquire", json!({})).await;
    let wait = format!(
        "POST /v1/locks/a/acquire HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: 11\r\n\r\n{{\"wait\":60}}"
    );
    let mut stream = server.connect().await;
    stream.write_all(wait.as_bytes()).await.unwrap();
    let queued = |n: usize| {
        let server = &server;
        async move {
            let queue = server.get("/v1/locks/a").await.body["queue"].clone();
            queue.as_array().is_some_and(|queue| queue.len() == n)
        }
    };
    super::eventually("it waits", || queued(1)).await;
    drop(stream);
    super::eventually("it is gone", || queued(0)).await;
}

#[tokio::test]
async fn a_unix_socket_serves_and_a_stale_one_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tenure.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "what a killed server leaves");
    let server =
        Server::start_in(dir, |config| config.listen.push(Listen::Unix(path.clone()))).await;
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let request = format!(
        "GET /v1 HTTP/1.1\r\nhost: t\r\nconnection: close\r\nauthorization: Bearer {KEY}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.stop(Duration::ZERO).await;
    assert!(!path.exists(), "the socket goes with the server");
}

#[tokio::test]
async fn operators_have_their_own_door_if_they_want_one() {
    let server = Server::start(|config| {
        config.admin_listen = Some(Listen::Tcp("127.0.0.1:0".parse().unwrap()));
    })
    .await;
    let admin = format!("http://{}", server.service.addresses()[1]);
    server.post("/v1/locks/a/acquire", json!({})).await;
    let breaking = json!({"any": true, "reason": "r"});
    let refused = server.post("/v1/locks/a/break", breaking.clone()).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.body["needs"], "admin_listen");
    assert_eq!(server.get("/metrics").await.status, StatusCode::NOT_FOUND);

    let broken = server.client.post(format!("{admin}/v1/locks/a/break")).bearer_auth(KEY);
    assert_eq!(broken.json(&breaking).send().await.unwrap().status(), StatusCode::OK);
    let metrics = server.client.get(format!("{admin}/metrics")).send().await.unwrap();
    assert_eq!(metrics.status(), StatusCode::OK, "no key is needed there");
}
