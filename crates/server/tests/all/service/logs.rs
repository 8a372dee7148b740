//! What never stands in a log line.

use reqwest::StatusCode;
use serde_json::json;

use super::child;
use crate::fixture::KEY;

#[tokio::test]
async fn a_start_says_that_it_reads_the_log_and_when_it_has() {
    let kid = child::spawn("", None).await;
    kid.signal("TERM").await;
    let (_, stderr) = kid.ended().await;
    let at = |event| {
        let event = format!("\"event\":\"{event}\"");
        stderr.find(&event).unwrap_or_else(|| panic!("no {event}: {stderr}"))
    };
    assert!(at("log_reading") < at("log_read") && at("log_read") < at("started"), "{stderr}");
}

#[tokio::test]
async fn no_lease_handle_key_or_request_id_reaches_the_log() {
    let kid = child::spawn(
        "[log]\nlevel = \"trace\"\naccess = true\nslow = 0\n[doubledutch]\nenabled = true\n",
        None,
    )
    .await;
    let id = "a-request-id-canary";
    let (status, session) = kid.post("/v1/sessions", json!({"note": "who"})).await;
    assert_eq!(status, StatusCode::CREATED);
    let handle = session["session"].as_str().unwrap().to_owned();
    let (_, grant) =
        kid.post("/v1/locks/a/acquire", json!({"session": handle, "request_id": id})).await;
    let lease = grant["lease"].as_str().unwrap().to_owned();
    kid.post("/v1/locks/a/acquire", json!({"wait": 0.2})).await;
    kid.post("/v1/locks/a/renew", json!({"lease": lease})).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let urls = [
        format!("{}/getlock?auth={KEY}&lockname=dd", kid.url),
        format!("{}/releaselock?auth={KEY}&lockname=a&token={lease}", kid.url),
        format!("{}/v1/locks?after={lease}&auth={KEY}", kid.url),
    ];
    for url in urls {
        client.get(url).send().await.unwrap();
    }
    let (_, made) = kid.post("/v1/keys", json!({"name": "k", "roles": ["read"]})).await;
    let made = made["key"].as_str().unwrap().to_owned();
    kid.post("/v1/locks/a/break", json!({"any": true, "reason": "host died"})).await;
    kid.signal("TERM").await;
    kid.signal("TERM").await;
    let (_, stderr) = kid.ended().await;
    assert!(stderr.contains("lock_broken") && stderr.contains("access"), "{stderr}");
    let secret = handle.split_once('.').unwrap().1;
    for canary in [KEY, lease.as_str(), secret, id, made.as_str()] {
        let line = stderr.lines().find(|line| line.contains(canary));
        assert_eq!(line, None, "`{canary}` is in the log");
    }
}
