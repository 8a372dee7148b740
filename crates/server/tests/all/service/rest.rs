//! Bodies that come after their request was refused.

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;
use crate::fixture::{KEY, Server, config};

const WORKER: &str = "worker-key-0123456";
const SLOW: &str = "slow-key-01234567";
/// Between a head and its body.
const GAP: Duration = Duration::from_millis(20);

async fn server() -> Server {
    let hex = |secret: &str| -> String {
        Sha256::digest(secret).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let key = |name, secret: &str, rest| {
        let sha256 = hex(secret);
        format!("[[keys]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\nroles = [\"lock\"]\n{rest}\n")
    };
    let file = key("worker", WORKER, "prefixes = [\"ci/\"]")
        + &key("slow", SLOW, "requests_per_second = 1");
    let dir = tempfile::tempdir().unwrap();
    let keys = config(&dir, &file).keys;
    Server::start_in(dir, |config| config.keys = keys).await
}

fn head(path: &str, key: &str, fields: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\n{fields}\r\n\r\n"
    )
}

/// Reads one answer with its body; what there is of it if the connection ends before.
async fn one(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    let mut part = [0; 4096];
    while !is_whole(&answer) {
        match timeout(PATIENCE, stream.read(&mut part)).await.expect("the server answers") {
            Ok(0) | Err(_) => break,
            Ok(read) => answer += std::str::from_utf8(&part[..read]).unwrap(),
        }
    }
    answer
}

fn is_whole(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let bytes = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    body.len() == bytes.parse::<usize>().unwrap()
}

#[tokio::test]
async fn a_body_that_comes_after_its_refusal_costs_the_connection_nothing() {
    let server = server().await;
    let acquire = "/v1/locks/a/acquire";
    for (path, key, status) in [
        (acquire, "not-the-right-key", "401"),
        (acquire, WORKER, "403"),
        ("/v1/nothing", KEY, "404"),
        (acquire, SLOW, "429"),
    ] {
        for (length, body) in
            [("content-length: 2", "{}"), ("transfer-encoding: chunked", "2\r\n{}\r\n0\r\n\r\n")]
        {
            if key == SLOW {
                // The one request that it has in a second.
                let mut stream = server.connect().await;
                stream.write_all(head(path, key, "content-length: 0").as_bytes()).await.unwrap();
                one(&mut stream).await;
            }
            let mut stream = server.connect().await;
            stream.set_nodelay(true).unwrap();
            stream.write_all(head(path, key, length).as_bytes()).await.unwrap();
            tokio::time::sleep(GAP).await;
            // A connection that is closed by now is what the next request finds out.
            let _ = stream.write_all(body.as_bytes()).await;
            let refused = one(&mut stream).await;
            assert!(refused.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {refused}");
            assert!(!refused.contains("connection: close"), "{status}: {refused}");
            let _ = stream.write_all(head("/v1", KEY, "content-length: 0").as_bytes()).await;
            let next = one(&mut stream).await;
            assert!(next.starts_with("HTTP/1.1 405 "), "{status}, {length}: {next:?}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_not_waited_for_ends_the_connection_with_a_word() {
    let server = Server::memory().await;
    for (fields, at_once) in [
        ("content-length: 2", false),
        ("content-length: 1000000", true),
        ("expect: 100-continue\r\ncontent-length: 2", true),
    ] {
        let mut stream = server.connect().await;
        stream.write_all(head("/v1/nothing", KEY, fields).as_bytes()).await.unwrap();
        let began = Instant::now();
        let refused = one(&mut stream).await;
        assert!(refused.starts_with("HTTP/1.1 404 "), "{fields}: {refused}");
        assert!(refused.contains("connection: close"), "{fields}: {refused}");
        let is_prompt = began.elapsed() < Duration::from_millis(900);
        assert_eq!(is_prompt, at_once, "{fields}: {:?}", began.elapsed());
    }
}
