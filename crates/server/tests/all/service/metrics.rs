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
