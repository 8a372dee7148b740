//! Doors, keys, limits, certificates, drain.

mod certificates;
mod child;
mod connections;
mod drain;
mod hostile;
mod keys;
mod logs;
mod metrics;
mod rest;

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest that anything in these tests may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends bytes and reads until the server closes or says nothing more for a while.
async fn exchange(stream: &mut TcpStream, bytes: &[u8]) -> String {
    // The server may have closed before it took everything: what it said is what counts.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while let Ok(Ok(read)) = timeout(Duration::from_millis(1500), stream.read(&mut part)).await {
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&part[..read]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// How long until the server closes the connection.
async fn closed_after(stream: &mut TcpStream) -> Duration {
    let began = Instant::now();
    let mut part = [0; 4096];
    loop {
        match timeout(PATIENCE, stream.read(&mut part)).await {
            Ok(Ok(0) | Err(_)) => return began.elapsed(),
            Ok(Ok(_)) => {}
            Err(_) => panic!("the server never closed the connection"),
        }
    }
}

/// Asks until the answer is yes.
async fn eventually<F: Future<Output = bool>>(what: &str, ask: impl Fn() -> F) {
    let asking = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(PATIENCE, asking).await.is_ok(), "never: {what}");
}
