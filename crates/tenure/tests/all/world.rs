//! Backends to test with.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;
use tenure::{Connect, Cursor, Event, Tenure, api};
use tenure_server::{Config, Overrides, Service};

use crate::proxy::Proxy;

/// The key of every test server; it may do everything.
pub(crate) const KEY: &str = "a-key-for-tests-only";

/// Long enough for anything that happens at once, also on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// One backend with clients.
pub(crate) struct World {
    pub(crate) tenure: Tenure,
    pub(crate) server: Option<Server>,
}

impl World {
    pub(crate) async fn embedded() -> Self {
        World { tenure: Tenure::connect("memory:").await.unwrap(), server: None }
    }

    pub(crate) async fn server() -> Self {
        let server = Server::start("memory");
        World { tenure: server.client().await, server: Some(server) }
    }

    /// Another program, as far as the backend has several: an embedded log has one.
    pub(crate) async fn another(&self) -> Tenure {
        match &self.server {
            Some(server) => server.client().await,
            None => self.tenure.clone(),
        }
    }
}

/// A server behind a proxy, on a thread of its own.
pub(crate) struct Server {
    pub(crate) proxy: Proxy,
    dir: TempDir,
    overrides: Overrides,
    address: Option<SocketAddr>,
    running: Option<Running>,
}

struct Running {
    stop: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Server {
    /// A server with its data in memory or on `disk`.
    pub(crate) fn start(durability: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), "", |overrides| {
            overrides.durability = Some(durability.to_owned());
        })
    }

    /// A server with a configuration file and flags of its own.
    pub(crate) fn start_in(dir: TempDir, file: &str, change: impl FnOnce(&mut Overrides)) -> Self {
        let path = dir.path().join("tenure.toml");
        std::fs::write(&path, file).unwrap();
        let mut overrides = Overrides {
            config: Some(path),
            listen: Some(vec!["127.0.0.1:0".to_owned()]),
            data: Some(dir.path().join("data")),
            durability: Some("memory".to_owned()),
            api_key: Some(tenure_server::ApiKey::Given(KEY.to_owned())),
            ..Overrides::default()
        };
        change(&mut overrides);
        let mut server =
            Server { proxy: Proxy::start(), dir, overrides, address: None, running: None };
        server.run();
        server
    }

    /// Its directory.
    pub(crate) fn path(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// `http://127.0.0.1:port`, the same for the server's whole life.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.proxy.address)
    }

    pub(crate) fn connect(&self) -> Connect {
        Tenure::at(&self.url()).api_key(KEY)
    }

    pub(crate) async fn client(&self) -> Tenure {
        self.connect().connect().await.unwrap()
    }

    /// A client that does not go through the proxy.
    pub(crate) async fn direct_client(&self) -> Tenure {
        let url = format!("http://{}", self.address.expect("the server runs"));
        Tenure::at(&url).api_key(KEY).connect().await.unwrap()
    }

    /// Ends the server; connections are cut. What it has on disk stays.
    pub(crate) fn stop(&mut self) {
        self.proxy.lead_to(None);
        if let Some(running) = self.running.take() {
            drop(running.stop);
            running.thread.join().unwrap();
        }
    }

    /// Starts it again on the same data.
    pub(crate) fn run(&mut self) {
        let config = Config::load(&self.overrides).expect("the test configuration is right");
        let (running, address) = Running::start(config);
        self.running = Some(running);
        self.address = Some(address);
        self.proxy.lead_to(Some(address));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Running {
    fn start(config: Config) -> (Self, SocketAddr) {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (told, address) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let service = Service::start(config).await.expect("the test server starts");
                told.send(service.addresses()[0]).unwrap();
                tokio::select! {
                    () = service.run() => {}
                    _ = stopped => service.app().log.stop().await,
                }
            });
        });
        (Running { stop, thread }, address.recv().expect("the test server has an address"))
    }
}

/// Waits for the next thing of that kind that happens to a lock.
pub(crate) async fn until(changes: &mut tenure::ChangeStream, wanted: api::ActionName) -> Cursor {
    let found = async {
        loop {
            let event = changes.next().await.expect("the feed goes on").unwrap();
            let Event::Change { cursor, change } = event else { continue };
            let api::ChangeEvent::Lock { action, .. } = change;
            if action == wanted {
                return cursor;
            }
        }
    };
    tokio::time::timeout(SOON, found).await.expect("it happens soon")
}

/// What happens to a lock from now on.
pub(crate) async fn watch(tenure: &Tenure, name: &str) -> tenure::ChangeStream {
    tenure.changes().prefix(name).stream().await.unwrap()
}

/// The answer, soon.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, work).await.expect("it happens soon")
}
