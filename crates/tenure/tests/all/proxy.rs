//! A network between client and server that goes wrong at will. Its address stays when the server behind it changes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// A running proxy, on threads of its own.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    plan: Arc<Plan>,
    runtime: Option<Runtime>,
}

struct Plan {
    server: Mutex<Option<SocketAddr>>,
    /// Answers to requests with this text are lost, so many times.
    lost: Mutex<(String, usize)>,
    /// So long is every answer on its way.
    slow: Mutex<Duration>,
    /// Rises with each cut: connections of before end.
    cuts: watch::Sender<u64>,
}

impl Proxy {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let plan = Arc::new(Plan {
            server: Mutex::new(None),
            lost: Mutex::new((String::new(), 0)),
            slow: Mutex::default(),
            cuts: watch::channel(0).0,
        });
        runtime.spawn(accept(listener, plan.clone()));
        Proxy { address, plan, runtime: Some(runtime) }
    }

    /// Connections go to this server from now on; `None`: they are cut, those that are open too.
    pub(crate) fn lead_to(&self, server: Option<SocketAddr>) {
        *self.plan.server.lock().unwrap() = server;
        self.plan.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Requests with `text` in them reach the server; the next `times` answers do not come back.
    pub(crate) fn lose_answers_to(&self, text: &str, times: usize) {
        *self.plan.lost.lock().unwrap() = (text.to_owned(), times);
    }

    /// Answers take so much longer from now on.
    pub(crate) fn slow_answers(&self, by: Duration) {
        *self.plan.slow.lock().unwrap() = by;
    }

    /// How many answers are still to be lost.
    pub(crate) fn answers_to_lose(&self) -> usize {
        self.plan.lost.lock().unwrap().1
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Tests drop it inside a runtime of their own, where waiting is not allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: std::net::TcpListener, plan: Arc<Plan>) {
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((client, _)) = listener.accept().await {
        let server = *plan.server.lock().unwrap();
        let Some(server) = server else { continue };
        let plan = plan.clone();
        tokio::spawn(async move {
            let mut cuts = plan.cuts.subscribe();
            tokio::select! {
                _ = cuts.changed() => {}
                _ = carry(client, server, &plan) => {}
            }
        });
    }
}

async fn carry(mut client: TcpStream, server: SocketAddr, plan: &Plan) -> std::io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    let (mut request, mut answer) = ([0; 16 * 1024], [0; 16 * 1024]);
    let mut last_request = String::new();
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let bytes = &request[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                last_request = String::from_utf8_lossy(bytes).into_owned();
                server.write_all(bytes).await?;
            }
            read = server.read(&mut answer) => {
                let bytes = &answer[..read?];
                if bytes.is_empty() || plan.is_lost(&last_request) {
                    return Ok(());
                }
                let slow = *plan.slow.lock().unwrap();
                tokio::time::sleep(slow).await;
                client.write_all(bytes).await?;
            }
        }
    }
}

impl Plan {
    fn is_lost(&self, request: &str) -> bool {
        let mut lost = self.lost.lock().unwrap();
        let is_lost = lost.1 > 0 && request.contains(&lost.0);
        lost.1 -= usize::from(is_lost);
        is_lost
    }
}
