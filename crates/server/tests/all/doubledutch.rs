//! DoubleDutch's routes over sockets, started by its command line.

#![expect(clippy::unwrap_used, reason = "a test's fixture fails the test")]

mod server;

use std::path::Path;

use serde_json::{Value, json};
use tenure_core::{Action, Change};
use tenure_log::{Event, Subscription};
use tenure_server::Service;
use tokio::io::AsyncWriteExt;

use server::{KEY, Server};

/// Waits until `action` has happened to a lock so many times.
async fn wait_for(feed: &mut Subscription, action: Action, mut times: usize) {
    while times > 0 {
        let Event::Changes(changes) = feed.next().await else { panic!("the feed ended") };
        let of =
            |change: &Change| matches!(change, Change::Lock(change) if change.action == action);
        times = times.saturating_sub(changes.iter().filter(|(_, change)| of(change)).count());
    }
}

fn changes(service: &Service) -> Subscription {
    service.app().log.changes(None)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_take_a_thousand_locks() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    assert_eq!(server.locks().await, Vec::<Value>::new(), "none after the start");
    let address = server.address;
    let tasks: Vec<_> = (0..1000)
        .map(|number| {
            let target = format!("/getlock?lockname={number}&auth={KEY}&lifetime=1000");
            tokio::spawn(async move { server::ask(address, "GET", &target).await })
        })
        .collect();
    for task in tasks {
        let answer = task.await.unwrap();
        assert_eq!((answer.status, &answer.body["lockacquired"]), (200, &json!(true)));
    }
    let locks = server.locks().await;
    assert_eq!(locks.len(), 1000);
    let remaining = locks[999]["remaining"].as_f64().unwrap();
    assert!(remaining <= 1000.0 && remaining > 950.0, "{remaining}");
}

#[tokio::test]
async fn every_answer_bears_the_servers_name() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    for (method, target, status) in [
        ("GET", "/getlock", 400),
        ("GET", "/getlock?lockname=a&auth=wrong", 401),
        ("POST", "/getlock", 405),
        ("DELETE", "/releaselock", 400),
        ("GET", "/status", 400),
    ] {
        let answer = server::ask(server.address, method, target).await;
        assert_eq!(answer.status, status, "{method} {target}");
        assert_eq!(answer.body["servername"], "TestServer", "{method} {target}");
        assert!(
            answer.head.to_lowercase().contains("\r\nserver: testserver\r\n"),
            "{}",
            answer.head
        );
    }
    for target in ["/", "/lock", "/getlock/a", "/healthz"] {
        let answer = server::ask(server.address, "GET", target).await;
        let head = answer.head.to_lowercase();
        assert_eq!(answer.status == 404, target != "/healthz", "{target}: {head}");
        assert!(head.contains("\r\nserver: testserver\r\n"), "{target}: {head}");
    }
}

#[tokio::test]
async fn a_closed_connection_leaves_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let mut feed = changes(&server.service);
    let token = server.token("lockname=a&lifetime=1000").await;
    let mut waiting = server::connect(server.address).await;
    let head =
        format!("GET /getlock?lockname=a&auth={KEY}&timeout=1000 HTTP/1.1\r\nHost: a\r\n\r\n");
    waiting.write_all(head.as_bytes()).await.unwrap();
    wait_for(&mut feed, Action::Queued, 1).await;
    drop(waiting);
    wait_for(&mut feed, Action::Left, 1).await;
    assert_eq!(server.release("a", &token).await.status, 200);
    server.token("lockname=a&timeout=0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_connections_are_woken_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let mut feed = changes(&server.service);
    let mut token = server.token("lockname=a&lifetime=1000").await;
    let address = server.address;
    let mut waiters = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let target = format!("/getlock?lockname=a&auth={KEY}&timeout=1000&lifetime=1000");
        waiters.spawn(async move { server::ask(address, "GET", &target).await });
    }
    wait_for(&mut feed, Action::Queued, 30).await;
    for _ in 0..30 {
        assert_eq!(server.release("a", &token).await.status, 200);
        let woken = waiters.join_next().await.unwrap().unwrap();
        assert_eq!(woken.body["lockacquired"], true);
        token = woken.body["sessiontoken"].as_str().unwrap().to_owned();
    }
}

/// What a crash at this moment would leave.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn locks_survive_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = (dir.path().join("before"), dir.path().join("after"));
    let server = Server::start(&before).await;
    let kept = server.token("lockname=kept&lifetime=1000").await;
    let gone = server.token("lockname=gone&lifetime=1000").await;
    assert_eq!(server.release("gone", &gone).await.status, 200);
    copy(&before, &after);
    drop(server);

    let server = Server::start(&after).await;
    let locks = server.locks().await;
    assert_eq!(locks.len(), 1);
    assert_eq!((&locks[0]["lockname"], &locks[0]["sessiontoken"]), (&json!("kept"), &json!(kept)));
    assert!(locks[0]["remaining"].as_f64().unwrap() > 900.0);
    server.refused("lockname=kept").await;
    assert_eq!(server.release("kept", &kept).await.status, 200);
}

#[tokio::test]
async fn neither_key_nor_token_is_in_what_others_may_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut line = server::plain_line();
    line.status_tokens = false;
    line.api_key = Some("CANARY-of-the-api-key".into());
    let server = Server::start_with(&line, dir.path()).await;
    let address = server.address;
    let get = async |target: &str| server::ask(address, "GET", target).await;
    let taken = get("/getlock?lockname=a&auth=CANARY-of-the-api-key&lifetime=1000").await;
    let token = taken.body["sessiontoken"].as_str().unwrap().to_owned();
    let wrong = get("/getlock?lockname=CANARY&auth=CANARY-of-a-wrong-key").await;
    let bad = get("/getlock?lockname=a&auth=CANARY-of-the-api-key&timeout=CANARY").await;
    let metrics =
        server::ask_with(address, "GET", "/metrics", "Bearer CANARY-of-the-api-key").await;
    for answer in [&wrong, &bad, &metrics] {
        assert!(!answer.text.contains("CANARY"), "{}", answer.text);
    }
    server.service.app().log.stop().await;
    for file in server::files(dir.path()) {
        let bytes = std::fs::read(&file).unwrap();
        let has = |secret: &[u8]| bytes.windows(secret.len()).any(|w| w == secret);
        assert!(!has(b"CANARY") && !has(token.as_bytes()), "{file:?} has a secret in it");
    }
}

#[tokio::test]
async fn bytes_that_are_no_request_are_answered_400() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    for target in [
        &b"/getlock?auth=test&lockname=\xff"[..],
        b"/getlock?auth=test&lockname=%ff",
        b"/getlock?auth=test&lockname=a%00b",
        b"/getlock?auth=test&lockname=a\x7fb",
        b"/getlock?auth=test&lockname=a&lockname=b",
        b"/getlock?auth=test&lockname=a&lifetime=1e999",
    ] {
        let answer = server::ask_raw(server.address, b"GET", target).await;
        assert_eq!(answer.status, 400, "{}", String::from_utf8_lossy(target));
    }
    assert_eq!(server.locks().await, Vec::<Value>::new());
}

#[tokio::test]
async fn the_other_routes_are_there_too() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let ready = server::ask(server.address, "GET", "/readyz").await;
    assert_eq!(ready.status, 200);
    server.token("lockname=seen&lifetime=1000").await;
    let target = "/v1/locks/seen";
    let seen = server::ask_with(server.address, "GET", target, &format!("Bearer {KEY}")).await;
    assert_eq!((seen.status, &seen.body["state"]), (200, &json!("held")));
    assert_eq!(server::ask(server.address, "GET", target).await.status, 401);
}

#[tokio::test]
async fn https_is_spoken_with_the_files_of_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let mut line = server::plain_line();
    line.plain = false;
    line.certificate = dir.path().join("c.crt");
    line.private_key = dir.path().join("k.key");
    std::fs::write(&line.certificate, made.cert.pem()).unwrap();
    std::fs::write(&line.private_key, made.signing_key.serialize_pem()).unwrap();
    let server = Server::start_with(&line, &dir.path().join("data")).await;
    let trusted = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .add_root_certificate(trusted)
        .resolve("localhost", server.address)
        .build()
        .unwrap();
    let port = server.address.port();
    let url = format!("https://localhost:{port}/getlock?auth={KEY}&lockname=a");
    let answer: Value = client.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["lockacquired"], true);
}

#[tokio::test]
async fn a_line_without_its_files_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut line = server::plain_line();
    line.plain = false;
    line.certificate = dir.path().join("missing.crt");
    let config = server::config(&line, dir.path());
    let Err(error) = Service::start(config).await else { panic!("it has no certificate") };
    assert!(error.to_string().contains("missing.crt"), "{error}");
    assert_eq!(error.exit().code(), 64);
}

#[tokio::test]
async fn an_expired_lock_is_the_next_ones_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.token("lockname=a&lifetime=1").await;
    server.refused("lockname=a&timeout=0").await;
    server.token("lockname=a&timeout=1").await;
}
