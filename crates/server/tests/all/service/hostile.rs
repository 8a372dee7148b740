//! Bytes that no honest client sends.

use reqwest::StatusCode;
use serde_json::json;

use super::exchange;
use crate::fixture::{KEY, Server};

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("nothing")
}

/// The lock that the attacks try to take.
async fn is_untouched(server: &Server) -> bool {
    server.get("/v1/locks/target").await.body["latest_token"].is_null()
}

#[tokio::test]
async fn two_lengths_that_differ_are_refused_and_change_nothing() {
    let server = Server::memory().await;
    let smuggled = format!(
        "POST /v1/locks/other/acquire HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: 2\r\ncontent-length: 4\r\n\r\n{{}}\r\n"
    );
    let answer = exchange(&mut server.connect().await, smuggled.as_bytes()).await;
    assert_eq!(status(&answer), "400", "{answer}");
    assert!(server.get("/v1/locks/other").await.body["latest_token"].is_null());
}

#[tokio::test]
async fn a_length_beside_chunks_is_refused_and_what_follows_is_no_request() {
    let server = Server::memory().await;
    let hidden = format!(
        "POST /v1/locks/target/acquire HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {KEY}\r\n\
         content-length: 0\r\n\r\n"
    );
    for (first, second) in [
        ("content-length: 5", "transfer-encoding: chunked"),
        ("transfer-encoding: chunked", "content-length: 5"),
    ] {
        let smuggled = format!(
            "POST /v1/locks/outer/acquire HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {KEY}\r\n\
             content-type: application/json\r\n{first}\r\n{second}\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n{hidden}"
        );
        let answer = exchange(&mut server.connect().await, smuggled.as_bytes()).await;
        assert_eq!(status(&answer), "400", "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "one answer and out: {answer}");
        assert!(is_untouched(&server).await);
        assert!(server.get("/v1/locks/outer").await.body["latest_token"].is_null());
    }
}

#[tokio::test]
async fn encodings_and_lengths_that_are_none_are_refused() {
    let server = Server::memory().await;
    for line in [
        "transfer-encoding: xchunked",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: gzip\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "host: u\r\ncontent-length: 2",
        "content-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: 2",
        "content-length: +2",
        "content-length: 2,2,3",
        "content-length: -1",
        "content-length: 99999999999999999999999",
        "content-length : 2",
    ] {
        let request = format!(
            "POST /v1/locks/target/acquire HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {KEY}\r\n{line}\r\n\r\n{{}}"
        );
        let answer = exchange(&mut server.connect().await, request.as_bytes()).await;
        assert!(status(&answer).starts_with('4'), "{line}: {answer}");
        assert!(is_untouched(&server).await, "{line}");
    }
}

#[tokio::test]
async fn floods_of_header_fields_are_refused() {
    let server = Server::memory().await;
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x: {}\r\n", "a".repeat(100 * 1024));
    for flood in [many, long] {
        let request = format!("GET /v1 HTTP/1.1\r\nhost: t\r\n{flood}\r\n");
        let answer = exchange(&mut server.connect().await, request.as_bytes()).await;
        assert_eq!(status(&answer), "431", "{answer}");
    }
    assert_eq!(server.get("/v1").await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_in_the_words_of_every_refusal() {
    let server = Server::memory().await;
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let get = |path: &str, fields: &str| format!("GET {path} HTTP/1.1\r\nhost: t\r\n{fields}\r\n");
    let chunked = format!(
        "POST /v1/locks/target/acquire HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{{}}\r\n0\r\n\r\n"
    );
    for (request, expected, code) in [
        (get("/v1", "a b: 1\r\n"), "400", "bad_request"),
        (get("/v1", " b: folded\r\n"), "400", "bad_request"),
        ("GET\r\n\r\n".to_owned(), "400", "bad_request"),
        (chunked, "400", "bad_request"),
        (get("/v1", &many), "431", "too_large"),
        (get("/v1", &format!("x: {}\r\n", "a".repeat(100 * 1024))), "431", "too_large"),
        (get(&format!("/{}", "a".repeat(20 * 1024)), ""), "414", "too_large"),
        (get(&format!("/{}", "a".repeat(70 * 1024)), ""), "4", "too_large"),
    ] {
        let shown = &request[..request.len().min(60)];
        let answer = exchange(&mut server.connect().await, request.as_bytes()).await;
        assert!(status(&answer).starts_with(expected), "{shown}: {answer}");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains("content-type: application/problem+json"), "{shown}: {answer}");
        assert!(head.contains("cache-control: no-store"), "{shown}: {answer}");
        assert!(head.contains("date: ") && head.contains(" GMT"), "{shown}: {answer}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{shown}: {answer}");
        let body: serde_json::Value = serde_json::from_str(body).expect("the body is JSON");
        assert_eq!(
            (&body["code"], &body["status"]),
            (&json!(code), &json!(status(&answer).parse::<u16>().unwrap())),
            "{shown}"
        );
    }
    assert!(is_untouched(&server).await);
}

#[tokio::test]
async fn a_url_beyond_the_bound_is_too_large() {
    let server = Server::memory().await;
    let answer = server.get(&format!("/v1/locks/{}", "a".repeat(9 * 1024))).await;
    assert_eq!(answer.status, StatusCode::URI_TOO_LONG);
    assert_eq!(answer.body["code"], "too_large");
}

#[tokio::test]
async fn nonsense_is_answered_and_the_server_goes_on() {
    let server = Server::memory().await;
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"BREW /pot HTCPCP/1.0\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1 HTTP/1.1\r\nhost: a\r\n b: folded\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let answer = exchange(&mut server.connect().await, nonsense).await;
        assert!(!answer.starts_with("HTTP/1.1 5") && !answer.starts_with("HTTP/1.1 2"), "{answer}");
    }
    assert_eq!(server.get("/v1").await.status, StatusCode::OK);
}

#[tokio::test]
async fn requests_in_one_packet_are_answered_in_order() {
    let server = Server::memory().await;
    let one = |name: &str| {
        format!("GET /v1/locks/{name} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {KEY}\r\n\r\n")
    };
    let both = one("first") + &one("second");
    let answer = exchange(&mut server.connect().await, both.as_bytes()).await;
    let (first, second) = (answer.find("\"first\""), answer.find("\"second\""));
    assert!(first.is_some() && first < second, "{answer}");
}

#[tokio::test]
async fn http_2_is_spoken_without_encryption_too() {
    let server = Server::memory().await;
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let request = client.post(format!("{}/v1/locks/a/acquire", server.url)).bearer_auth(KEY);
    let response = request.json(&json!({})).send().await.unwrap();
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_host_is_needed_in_http_1_1_alone() {
    let server = Server::memory().await;
    for (version, expected) in [("1.1", "400"), ("1.0", "200")] {
        let bare = format!("GET /v1 HTTP/{version}\r\nauthorization: Bearer {KEY}\r\n\r\n");
        let answer = exchange(&mut server.connect().await, bare.as_bytes()).await;
        assert_eq!(status(&answer), expected, "{answer}");
    }
}

#[tokio::test]
async fn a_packed_body_is_no_media_type_of_ours() {
    let server = Server::memory().await;
    for (coding, expected) in [("gzip", 415), ("identity", 200)] {
        let request = server.request(reqwest::Method::POST, "/v1/locks/a/acquire");
        let request = request.header("content-encoding", coding).json(&json!({}));
        assert_eq!(crate::fixture::answer(request).await.status, expected, "{coding}");
    }
}
