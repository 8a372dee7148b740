//! Servers to test with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tenure_log::Durability;
use tenure_server::{Config, Exit, Overrides, Service};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The key of every test server; it may do everything.
pub(crate) const KEY: &str = "a-key-for-tests-only";

/// A running server. It ends with the test.
pub(crate) struct Server {
    /// The service itself.
    pub(crate) service: Arc<Service>,
    /// `http://127.0.0.1:port`, without a slash at the end.
    pub(crate) url: String,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// A client that keeps its connections.
    pub(crate) client: Client,
    /// Its data directory is `data` in here.
    pub(crate) dir: TempDir,
    running: JoinHandle<()>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    /// The body, if it is JSON; otherwise its text.
    pub(crate) body: Value,
}

impl Server {
    /// A server without a disk.
    pub(crate) async fn memory() -> Self {
        Self::start(|_| {}).await
    }

    /// A server with a log on disk.
    pub(crate) async fn disk() -> Self {
        Self::start(|config| config.settings.durability = Durability::Disk).await
    }

    /// A server whose configuration was changed before its start.
    pub(crate) async fn start(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), change).await
    }

    /// A server in a directory that may have data in it.
    pub(crate) async fn start_in(dir: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(&dir, "");
        change(&mut config);
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let service = Arc::new(started(config).await);
        let address = service.addresses()[0];
        let running = tokio::spawn({
            let service = service.clone();
            async move { service.run().await }
        });
        let url = format!("{scheme}://{address}");
        let client = Client::builder().no_proxy().build().unwrap();
        Server { service, url, address, client, dir, running }
    }

    /// A request with the key.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url)).bearer_auth(KEY)
    }

    /// The answer to a GET with the key.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    /// The answer to a POST of JSON with the key.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        answer(self.request(Method::POST, path).json(&body)).await
    }

    /// A bare connection to it.
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Drains it and waits for its end; its directory can be used again.
    pub(crate) async fn stop(self, within: Duration) -> TempDir {
        self.service.app().drain.begin(within);
        self.running.await.expect("the server ends without a panic");
        self.dir
    }
}

/// A server on a directory that the one before it may not have let go of yet.
async fn started(config: Config) -> Service {
    let starting = async {
        loop {
            match Service::start(config.clone()).await {
                Err(error) if error.exit() == Exit::InUse => tokio::task::yield_now().await,
                started => return started.expect("the test server starts"),
            }
        }
    };
    timeout(Duration::from_secs(10), starting).await.expect("the directory is free in the end")
}

/// A configuration for tests: loopback, any port, in memory, [`KEY`]; `file` is its TOML.
pub(crate) fn config(dir: &TempDir, file: &str) -> Config {
    let path = dir.path().join("tenure.toml");
    std::fs::write(&path, file).unwrap();
    let overrides = Overrides {
        config: Some(path),
        listen: Some(vec!["127.0.0.1:0".to_owned()]),
        data: Some(dir.path().join("data")),
        durability: Some("memory".to_owned()),
        api_key: Some(tenure_server::ApiKey::Given(KEY.to_owned())),
        ..Overrides::default()
    };
    Config::load(&overrides).expect("the test configuration is right")
}

/// Sends a request and reads the whole answer.
pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("the server answers");
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.expect("the answer is whole");
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer { status, headers, body }
}
