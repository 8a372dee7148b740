//! The measurement against a real server in this process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use tempfile::TempDir;
use tenure_bench::{BenchError, Options, Report};
use tenure_server::{Config, Overrides, Service};
use tokio::runtime::Runtime;

const KEY: &str = "a-key-for-tests-only";

/// The shortest measurement there is, of a server without a disk.
fn measured(key: &str) -> Result<Report, BenchError> {
    let runtime = Runtime::new().unwrap();
    let folder = TempDir::new().unwrap();
    let service = runtime.block_on(Service::start(config(&folder))).unwrap();
    let url = format!("http://{}", service.addresses()[0]);
    runtime.spawn(async move { service.run().await });
    let options = Options {
        api_key: Some(key.to_owned()),
        clients: vec![1, 4],
        period: Duration::from_millis(50),
        rounds: 1,
        held_locks: 100,
        waiters: 20,
        server_pid: Some(std::process::id()),
        disk: Some(folder.path().to_owned()),
        ..Options::new(url)
    };
    tenure_bench::run(&options)
}

fn config(folder: &TempDir) -> Config {
    // An empty file, so that none of the machine's own is read.
    let file = folder.path().join("tenure.toml");
    std::fs::write(&file, "").unwrap();
    let overrides = Overrides {
        config: Some(file),
        listen: Some(vec!["127.0.0.1:0".to_owned()]),
        data: Some(folder.path().join("data")),
        durability: Some("memory".to_owned()),
        api_key: Some(tenure_server::ApiKey::Given(KEY.to_owned())),
        ..Overrides::default()
    };
    Config::load(&overrides).unwrap()
}

#[test]
fn a_real_server_gives_every_figure() {
    let report = measured(KEY).unwrap();
    assert_eq!(report.cycles.iter().map(|run| run.clients).collect::<Vec<_>>(), [1, 4]);
    assert!(report.cycles.iter().all(|run| run.per_second > 0.0 && run.latency.p50_us > 0.0));
    assert!(report.hand_over.latency.p50_us > 0.0);
    assert!(report.one_client_ratio().is_some());
    assert!(report.floor.idle_cycles_per_second > report.cycles[0].per_second);
    assert!(report.beside.streams == 200 && report.beside.per_second > 0.0);
    assert_eq!(report.held.unwrap().locks, 100);
    assert_eq!(report.waiting.unwrap().waiters, 20);
    let shown = report.to_string();
    assert!(shown.contains("cycles/s") && shown.contains("20 waiters"), "{shown}");
}

#[test]
fn a_refused_key_is_told_with_the_servers_words() {
    let refused = measured("a-key-that-is-wrong").unwrap_err();
    assert!(refused.to_string().contains("401"), "{refused}");
}

#[test]
fn what_is_no_plain_http_address_is_refused() {
    let options = Options::new("https://127.0.0.1:1");
    assert!(matches!(tenure_bench::run(&options), Err(BenchError::Url { .. })));
}
