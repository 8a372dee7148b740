//! A server in a process of its own: exit statuses, signals, few descriptors.
//!
//! The process is this test program again, running only [`a_child_serves`], which is told by its environment to be a
//! server.

use std::process::Stdio;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tenure_server::{Config, Overrides, serve};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{PATIENCE, eventually};
use crate::fixture::KEY;

const CONFIG: &str = "TENURE_TEST_CHILD";

/// Not a test of its own: what the child runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_serves() {
    let Some(config) = std::env::var_os(CONFIG) else { return };
    let overrides = Overrides {
        config: Some(config.into()),
        api_key: Some(tenure_server::ApiKey::Given(KEY.to_owned())),
        ..Overrides::default()
    };
    let exit = match Config::load(&overrides) {
        Ok(config) => serve(config).await.code(),
        Err(_) => 64,
    };
    std::process::exit(i32::from(exit));
}

/// A running child.
pub(super) struct Kid {
    pub(super) process: Child,
    pub(super) url: String,
    pub(super) dir: TempDir,
    stderr: JoinHandle<String>,
    _stdout: BufReader<ChildStdout>,
}

fn command(config: &std::path::Path, descriptors: Option<u32>) -> Command {
    let program = std::env::current_exe().unwrap();
    let limit = descriptors.map_or(String::new(), |max| format!("ulimit -n {max}; "));
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(format!("{limit}exec \"$0\" \"$@\"")).arg(program);
    command.args(["service::child::a_child_serves", "--exact", "--nocapture"]);
    command.env(CONFIG, config).stdin(Stdio::null()).kill_on_drop(true);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn file(dir: &TempDir, more: &str) -> std::path::PathBuf {
    let path = dir.path().join("tenure.toml");
    let text = format!("[backend]\ndata = {:?}\n{more}", dir.path().join("data"));
    std::fs::write(&path, text).unwrap();
    path
}

/// A child on a free port; `more` is added to its configuration after `[backend] data`.
pub(super) async fn spawn(more: &str, descriptors: Option<u32>) -> Kid {
    let dir = tempfile::tempdir().unwrap();
    let config = file(
        &dir,
        &format!(
            "{more}\n[server]\nlisten = [\"127.0.0.1:0\"]\ndrain = \"20s\"\nheader_timeout = \"60s\"\n"
        ),
    );
    let mut process = command(&config, descriptors).spawn().unwrap();
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    let mut pipe = process.stderr.take().unwrap();
    let stderr = tokio::spawn(async move {
        let mut text = String::new();
        pipe.read_to_string(&mut text).await.unwrap();
        text
    });
    let url = loop {
        let mut line = String::new();
        let read =
            timeout(PATIENCE, stdout.read_line(&mut line)).await.expect("it starts").unwrap();
        assert!(read > 0, "the child ended before it served");
        if let Some((_, url)) = line.trim_end().split_once("serving at ") {
            break url.to_owned();
        }
    };
    Kid { process, url, dir, stderr, _stdout: stdout }
}

impl Kid {
    pub(super) async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let client = Client::builder().no_proxy().build().unwrap();
        let request = client.post(format!("{}{path}", self.url)).bearer_auth(KEY).json(&body);
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    /// Sends a signal by name.
    pub(super) async fn signal(&self, name: &str) {
        let id = self.process.id().expect("it runs").to_string();
        let sent = Command::new("/bin/kill").args(["-s", name, &id]).status().await.unwrap();
        assert!(sent.success());
    }

    /// Its exit status and what it wrote to standard error.
    pub(super) async fn ended(mut self) -> (Option<i32>, String) {
        let status = timeout(PATIENCE, self.process.wait()).await.expect("it ends").unwrap();
        (status.code(), self.stderr.await.unwrap())
    }
}

async fn exit_of(config: &std::path::Path) -> Option<i32> {
    let output = timeout(PATIENCE, command(config, None).output()).await.expect("it ends").unwrap();
    output.status.code()
}

#[tokio::test]
async fn sigterm_drains_and_a_second_one_ends_at_once() {
    let kid = spawn("", None).await;
    kid.post("/v1/locks/a/acquire", json!({"ttl": 600})).await;
    kid.signal("TERM").await;
    let ready = format!("{}/readyz", kid.url);
    eventually("it drains", || async {
        let answer = reqwest::get(&ready).await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::SERVICE_UNAVAILABLE)
    })
    .await;
    let began = std::time::Instant::now();
    kid.signal("TERM").await;
    let (code, stderr) = kid.ended().await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(began.elapsed() < Duration::from_secs(10), "twenty seconds were left to drain");
    assert!(stderr.contains("draining") && stderr.contains("stopped"), "{stderr}");
}

#[tokio::test]
async fn an_idle_server_ends_on_sigint_at_once() {
    let kid = spawn("", None).await;
    kid.signal("INT").await;
    assert_eq!(kid.ended().await.0, Some(0));
}

#[tokio::test]
async fn sighup_reads_the_keys_again_and_refuses_a_bad_file() {
    let kid = spawn("", None).await;
    let config = kid.dir.path().join("tenure.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}\nnonsense = 1\n")).unwrap();
    kid.signal("HUP").await;
    std::fs::write(&config, format!("{text}\n[log]\nlevel = \"debug\"\n")).unwrap();
    kid.signal("HUP").await;
    assert_eq!(kid.post("/v1/locks/a/acquire", json!({})).await.0, StatusCode::OK);
    kid.signal("HUP").await;
    kid.signal("TERM").await;
    kid.signal("TERM").await;
    let (code, stderr) = kid.ended().await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("reloaded"), "{stderr}");
}

#[tokio::test]
async fn exit_statuses_tell_what_stood_in_the_way() {
    let kid = spawn("", None).await;
    let address = kid.url.trim_start_matches("http://");

    let wrong = tempfile::tempdir().unwrap();
    assert_eq!(exit_of(&file(&wrong, "[server]\nlissen = []\n")).await, Some(64));

    let port = tempfile::tempdir().unwrap();
    let taken = format!("[server]\nlisten = [\"{address}\"]\n");
    assert_eq!(exit_of(&file(&port, &taken)).await, Some(71));

    let same = kid.dir.path().join("second.toml");
    let data = kid.dir.path().join("data");
    std::fs::write(
        &same,
        format!("[backend]\ndata = {data:?}\n[server]\nlisten = [\"127.0.0.1:0\"]\n"),
    )
    .unwrap();
    assert_eq!(exit_of(&same).await, Some(66));
}

#[tokio::test]
async fn with_sixty_four_descriptors_a_holder_still_renews_and_releases() {
    let kid = spawn("", Some(64)).await;
    let (status, grant) = kid.post("/v1/locks/a/acquire", json!({"ttl": 600})).await;
    assert_eq!(status, StatusCode::OK);
    let address = kid.url.trim_start_matches("http://").to_owned();
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(&address).await.unwrap());
    }
    let lease = &grant["lease"];
    assert_eq!(kid.post("/v1/locks/a/renew", json!({"lease": lease})).await.0, StatusCode::OK);
    assert_eq!(kid.post("/v1/locks/a/release", json!({"lease": lease})).await.0, StatusCode::OK);
}

#[tokio::test]
async fn ten_thousand_idle_connections_keep_no_holder_from_its_lock() {
    const IDLE: usize = 10_000;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    assert!(limit.maximum.is_none_or(|max| max > IDLE as u64 + 200), "this test needs descriptors");
    let kid = spawn("[limits]\nconnections = 12000\nconnections_per_address = 12000\n", None).await;
    let (_, grant) = kid.post("/v1/locks/a/acquire", json!({"ttl": 600})).await;
    let address = kid.url.trim_start_matches("http://").to_owned();
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(TcpStream::connect(&address).await.unwrap());
    }
    let lease = &grant["lease"];
    assert_eq!(kid.post("/v1/locks/a/renew", json!({"lease": lease})).await.0, StatusCode::OK);
    assert_eq!(kid.post("/v1/locks/a/release", json!({"lease": lease})).await.0, StatusCode::OK);
    let client = Client::builder().no_proxy().build().unwrap();
    let metrics = client.get(format!("{}/metrics", kid.url)).bearer_auth(KEY).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let open = metrics.lines().find_map(|line| line.strip_prefix("tenure_http_connections "));
    let open: usize = open.unwrap().parse().unwrap();
    assert!(open > IDLE / 2, "{open} are open: this machine was so slow that idle ones timed out");
}
