//! What `/metrics` shows.

use serde_json::json;

use crate::fixture::Server;

/// The names that operators' dashboards and alerts rely on.
const NAMES: [&str; 37] = [
    "tenure_build_info",
    "tenure_ready",
    "tenure_uptime_seconds",
    "tenure_locks{state=\"held\"}",
    "tenure_waiters",
    "tenure_oldest_waiter_seconds",
    "tenure_oldest_holder_seconds",
    "tenure_sessions",
    "tenure_subscribers{kind=\"changes\"}",
    "tenure_acquires_total{mode=\"exclusive\",outcome=\"granted\"}",
    "tenure_grants_ended_total{reason=\"released\"}",
    "tenure_recalls_total",
    "tenure_acquire_wait_seconds_bucket{le=\"60.0\",mode=\"exclusive\"}",
    "tenure_hold_seconds_sum{mode=\"exclusive\"}",
    "tenure_handover_seconds_count",
    "tenure_renewals_total{outcome=\"renewed\"}",
    "tenure_releases_lost_total",
    "tenure_request_replays_total",
    "tenure_deadlocks_total",
    "tenure_changes_total{kind=\"lock\"}",
    "tenure_feed_resyncs_total",
    "tenure_feed_slow_total",
    "tenure_http_requests_total{route=\"/v1/locks/{name}/acquire\",method=\"POST\",status=\"200\",code=\"\"}",
    "tenure_http_request_seconds_count{route=\"/v1/locks/{name}/acquire\"}",
    "tenure_http_held_answers",
    "tenure_http_connections",
    "tenure_auth_failures_total{reason=\"wrong\"}",
    "tenure_limit_hits_total{limit=\"waiters\"}",
    "tenure_key_held{key=\"api-key\"}",
    "tenure_log_sync_seconds_bucket",
    "tenure_log_batch_commands_count",
    "tenure_log_bytes",
    "tenure_snapshot_seconds_count",
    "tenure_disk_free_bytes",
    "tenure_log_errors",
    "tenure_raft_leader",
    "tenure_raft_term",
];

/// Every name of the interface, as its reference lists them.
const PROMISED: &str = r#"
tenure_build_info{version,commit,backend}            tenure_ready                       tenure_uptime_seconds
tenure_locks{state="held|waited|idle"}               tenure_waiters                     tenure_oldest_waiter_seconds      tenure_oldest_holder_seconds
tenure_sessions                                      tenure_rows                        tenure_subscribers{kind}          tenure_engines{state="live|dead"}
tenure_acquires_total{mode,outcome="granted|held|timed_out|deadlock|already_held|mismatch|limit|cancelled"}
tenure_grants_ended_total{reason="released|expired|session_ended|broken|handed_over"}   tenure_recalls_total
tenure_acquire_wait_seconds{mode}  tenure_hold_seconds{mode}  tenure_handover_seconds
tenure_renewals_total{outcome}     tenure_releases_lost_total     tenure_request_replays_total     tenure_deadlocks_total
tenure_fenced_rejections_total{guard}                tenure_changes_total{kind}         tenure_feed_lag_seconds           tenure_feed_resyncs_total  tenure_feed_slow_total
tenure_messages_published_total    tenure_messages_delivered_total   tenure_resources{kind,status}    tenure_resources_orphaned{kind}    tenure_takeovers_total
tenure_http_requests_total{route,method,status,code} tenure_http_request_seconds{route} tenure_http_held_answers  tenure_http_connections
tenure_auth_failures_total{reason}                   tenure_limit_hits_total{limit}     tenure_key_held{key}  tenure_key_expiry_seconds{key}  tenure_tls_expiry_seconds
tenure_log_sync_seconds  tenure_log_batch_commands  tenure_log_bytes  tenure_snapshot_seconds  tenure_disk_free_bytes  tenure_log_errors_total{op}
tenure_raft_leader  tenure_raft_term  tenure_raft_commit_lag{peer}  tenure_elections_total  tenure_clock_stall_seconds
tenure_store_requests_total{op,outcome="ok|conflict|unavailable|unknown"}  tenure_store_seconds{op}  tenure_heartbeat_margin_seconds  tenure_verdicts_total
tenure_doubledutch_requests_total{route}
"#;
/// Those of what this version does not have, by their beginnings.
const LATER: [&str; 10] = [
    "tenure_rows",
    "tenure_engines",
    "tenure_fenced_",
    "tenure_messages_",
    "tenure_resources",
    "tenure_takeovers_",
    "tenure_store_",
    "tenure_heartbeat_",
    "tenure_verdicts_",
    // With a certificate only; shown where certificates are tested.
    "tenure_tls_expiry_seconds",
];

#[tokio::test]
async fn every_name_of_the_interface_is_there_and_none_of_what_there_is_not() {
    let server = Server::start(|config| {
        config.settings.durability = tenure_log::Durability::Disk;
        config.settings.doubledutch.enabled = true;
    })
    .await;
    server.get("/status").await;
    let wrong = server.client.get(format!("{}/v1", server.url)).bearer_auth("a-wrong-key-000000");
    wrong.send().await.unwrap();
    server.post("/v1/keys", json!({"name": "a", "roles": ["read"], "expires": "1h"})).await;
    let metrics = metrics(&server).await;
    let names = PROMISED.split_whitespace().filter(|word| word.starts_with("tenure_"));
    for name in names.filter_map(|word| word.split('{').next()) {
        let is_later = LATER.iter().any(|later| name.starts_with(later));
        let is_there = metrics.lines().any(|line| line.starts_with(name));
        assert_eq!(is_there, !is_later, "{name} in\n{metrics}");
    }
}

#[tokio::test]
async fn the_time_that_was_held_is_counted_at_every_end_of_a_grant() {
    let server = Server::memory().await;
    for name in ["released", "expired", "broken", "handed-over"] {
        let ttl = if name == "expired" { 0.1 } else { 60.0 };
        let path = format!("/v1/locks/{name}");
        let grant = server.post(&format!("{path}/acquire"), json!({"ttl": ttl})).await.body;
        let (lease, token) = (&grant["lease"], &grant["token"]);
        let (verb, body) = match name {
            "released" => ("release", json!({"lease": lease})),
            "broken" => ("break", json!({"token": token, "reason": "a test"})),
            "handed-over" => ("hand_over", json!({"lease": lease})),
            _ => continue,
        };
        let done = server.post(&format!("{path}/{verb}"), body).await;
        assert!(done.status.is_success(), "{name}: {done:?}");
    }
    let session = server.post("/v1/sessions", json!({"ttl": 60})).await.body;
    let semaphore = json!({"session": session["session"], "permits": 3});
    let taken = server.post("/v1/locks/of-a-session/acquire", semaphore).await;
    assert_eq!(taken.status, 200, "{taken:?}");
    let id = session["id"].as_str().unwrap();
    let ended = server
        .post(&format!("/v1/sessions/{id}/end"), json!({"session": session["session"]}))
        .await;
    assert!(ended.status.is_success(), "{ended:?}");
    super::eventually("all ends are counted", || async {
        let metrics = metrics(&server).await;
        let of = |mode| value(&metrics, &format!("tenure_hold_seconds_count{{mode=\"{mode}\"}}"));
        (of("exclusive"), of("permits")) == (4.0, 1.0)
    })
    .await;
}

#[tokio::test]
async fn the_time_of_the_rules_and_the_log_are_as_they_should_be_on_one_node() {
    let server = Server::disk().await;
    server.post("/v1/locks/a/acquire", json!({})).await;
    let metrics = metrics(&server).await;
    let of = |name: &str| value(&metrics, name);
    assert_eq!(of("tenure_elections_total"), 1.0);
    assert_eq!(of("tenure_raft_commit_lag{peer=\"1\"}"), 0.0);
    assert!(of("tenure_clock_stall_seconds") < 60.0);
    assert_eq!(of("tenure_feed_lag_seconds"), 0.0, "nobody reads");
}

async fn metrics(server: &Server) -> String {
    server.get("/metrics").await.body.as_str().expect("metrics are no JSON").to_owned()
}

/// The value of the line that begins with this.
fn value(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in\n{metrics}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn every_promised_name_is_there_and_no_lock_is() {
    let server = Server::disk().await;
    let lease = server.post("/v1/locks/secret-name/acquire", json!({})).await.body["lease"].clone();
    server.post("/v1/locks/secret-name/renew", json!({"lease": lease})).await;
    let wrong = server.client.get(format!("{}/v1", server.url)).bearer_auth("a-wrong-key-000000");
    wrong.send().await.unwrap();
    server.post("/v1/locks/secret-name/release", json!({"lease": lease})).await;
    server.service.app().metrics.limit_hit("waiters");
    let metrics = metrics(&server).await;
    for name in NAMES {
        assert!(metrics.contains(name), "no {name} in\n{metrics}");
    }
    for series in [
        "tenure_grants_ended_total{reason=\"broken\"} 0",
        "tenure_limit_hits_total{limit=\"connections\"} 0",
    ] {
        assert!(metrics.contains(series), "no {series} in\n{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"));
    assert!(!metrics.contains("secret-name"), "no lock's name is a label");
}

#[tokio::test]
async fn what_happens_is_counted() {
    let server = Server::memory().await;
    let lease = server.post("/v1/locks/a/acquire", json!({})).await.body["lease"].clone();
    let waiting = {
        let wait = json!({"wait": 20});
        let request = server.request(reqwest::Method::POST, "/v1/locks/a/acquire").json(&wait);
        tokio::spawn(crate::fixture::answer(request))
    };
    let counters = server.service.app().metrics.clone();
    super::eventually("it waits", || async { counters.held_answers() == 1 }).await;
    assert_eq!(value(&metrics(&server).await, "tenure_waiters "), 1.0);
    server.post("/v1/locks/a/acquire", json!({})).await;
    server.post("/v1/locks/a/release", json!({"lease": lease})).await;
    waiting.await.unwrap();
    let metrics = metrics(&server).await;
    let of = |name: &str| value(&metrics, name);
    assert_eq!(of("tenure_acquires_total{mode=\"exclusive\",outcome=\"granted\"}"), 2.0);
    assert_eq!(of("tenure_acquires_total{mode=\"exclusive\",outcome=\"held\"}"), 1.0);
    assert_eq!(of("tenure_acquire_wait_seconds_count{mode=\"exclusive\"}"), 2.0);
    assert_eq!(of("tenure_hold_seconds_count{mode=\"exclusive\"}"), 1.0);
    assert_eq!(of("tenure_grants_ended_total{reason=\"released\"}"), 1.0);
    assert_eq!(of("tenure_handover_seconds_count"), 1.0);
    assert_eq!(of("tenure_waiters "), 0.0);
    assert_eq!(of("tenure_ready "), 1.0);
}

#[tokio::test]
async fn a_key_that_runs_out_says_when() {
    let server = Server::memory().await;
    let key = json!({"name": "soon", "roles": ["read"], "expires": "1h"});
    let made = server.post("/v1/keys", key).await;
    assert_eq!(made.status, 201, "{made:?}");
    let left = value(&metrics(&server).await, "tenure_key_expiry_seconds{key=\"soon\"}");
    assert!((3500.0..=3600.0).contains(&left), "{left}");
}
