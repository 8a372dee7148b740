//! Many at once: locks held, and waiters on one lock.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use crate::BenchError;
use crate::contender::{Client, Contender};
use crate::http::{Server, number_field};
use crate::process::Process;
use crate::spread::{Latency, Spread};
use crate::tenure::{Tenure, TenureClient, acquire, lease, release};

/// Connections that take and give back the many locks, and that open the many waiters' connections.
const CONNECTIONS: usize = 64;
/// How often the other lock is released while the crowd waits.
const RELEASES: usize = 500;
/// The server's memory counts once it has not moved for this long.
const CALM: Duration = Duration::from_secs(1);
/// A server that is not calm by then is measured as it is.
const CALM_MAX: Duration = Duration::from_secs(15);
/// Time for the whole crowd to stand in the queue.
const QUEUED_MAX: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);

/// What a held lock costs in the server's memory.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Held {
    /// Locks held at once.
    pub locks: usize,
    /// Growth of the server's resident memory, per lock.
    pub bytes_per_lock: f64,
}

/// How long a release takes while a crowd waits for another lock.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Waiting {
    /// Waiters on one lock, each with an open answer on a connection of its own.
    pub waiters: usize,
    /// A release of another lock meanwhile.
    pub release: Latency,
}

/// Holds `locks` locks and asks how much the server has grown. Call it inside a `LocalSet`, and before anything has
/// made the server's memory grow and shrink.
pub(crate) async fn hold(
    tenure: &Tenure,
    process: Process,
    locks: usize,
) -> Result<Option<Held>, BenchError> {
    let Some(before) = calm_bytes(process).await else { return Ok(None) };
    let held = take_all(tenure, locks).await?;
    let after = calm_bytes(process).await;
    give_back(tenure, held).await?;
    let grown = after.map(|after| after.saturating_sub(before) as f64);
    Ok(grown.map(|bytes| Held { locks, bytes_per_lock: bytes / locks as f64 }))
}

/// Lets `waiters` wait for one lock and releases another. Call it inside a `LocalSet`.
pub(crate) async fn wait(tenure: &Tenure, waiters: usize) -> Result<Waiting, BenchError> {
    let mut holder = tenure.client("bench/crowd").await?;
    holder.acquire().await?;
    let crowd = gather(tenure, waiters).await?;
    until_queued(&tenure.server, waiters as u64).await?;
    let mut other = tenure.client("bench/other").await?;
    let mut durations = Vec::with_capacity(RELEASES);
    for _ in 0..RELEASES {
        other.acquire().await?;
        let began = Instant::now();
        other.release().await?;
        durations.push(began.elapsed());
    }
    // The crowd goes before the holder does, or each of them would be granted the lock on its way out.
    drop(crowd);
    until_gone(&tenure.server).await?;
    holder.release().await?;
    Ok(Waiting { waiters, release: Spread::of(durations).summary() })
}

/// Name and lease of every lock taken.
async fn take_all(tenure: &Tenure, locks: usize) -> Result<Vec<(String, String)>, BenchError> {
    let mut running = JoinSet::new();
    for first in 0..CONNECTIONS {
        let server = tenure.server.clone();
        let names =
            (first..locks).step_by(CONNECTIONS).map(|number| format!("bench/held/{number:06}"));
        running.spawn_local(async move {
            let mut connection = server.connect().await?;
            let mut taken = Vec::new();
            for name in names {
                let body = connection.expect(&acquire(&server, &name), 200).await?;
                taken.push((name, lease(body)?));
            }
            Ok(taken)
        });
    }
    all(running).await
}

async fn give_back(tenure: &Tenure, held: Vec<(String, String)>) -> Result<(), BenchError> {
    let mut running = JoinSet::new();
    for share in held.chunks(held.len().div_ceil(CONNECTIONS).max(1)) {
        let (server, share) = (tenure.server.clone(), share.to_vec());
        running.spawn_local(async move {
            let mut connection = server.connect().await?;
            for (name, lease) in share {
                connection.expect(&release(&server, &name, &lease), 200).await?;
            }
            Ok(Vec::<()>::new())
        });
    }
    all(running).await.map(drop)
}

/// Opens the crowd's connections and sends each one's request; the answers stay away for as long as we like.
async fn gather(tenure: &Tenure, waiters: usize) -> Result<Vec<TenureClient>, BenchError> {
    let mut running = JoinSet::new();
    for first in 0..CONNECTIONS.min(waiters) {
        let (tenure, share) = (tenure.clone(), (first..waiters).step_by(CONNECTIONS));
        running.spawn_local(async move {
            let mut crowd = Vec::new();
            for _ in share {
                let mut client = tenure.client("bench/crowd").await?;
                client.join_queue().await?;
                crowd.push(client);
            }
            Ok(crowd)
        });
    }
    all(running).await
}

async fn until_queued(server: &Server, waiters: u64) -> Result<(), BenchError> {
    until(server, |queued| queued >= waiters).await
}

async fn until_gone(server: &Server) -> Result<(), BenchError> {
    until(server, |queued| queued == 0).await
}

/// Polls the server's count of waiters.
async fn until(server: &Server, enough: impl Fn(u64) -> bool) -> Result<(), BenchError> {
    let mut connection = server.connect().await?;
    let request = server.get("/v1/stats");
    let began = Instant::now();
    loop {
        let body = connection.expect(&request, 200).await?;
        let queued = number_field(body, "waiters");
        let queued = queued
            .ok_or_else(|| BenchError::answer("GET /v1/stats", String::from_utf8_lossy(body)))?;
        if enough(queued) {
            return Ok(());
        }
        if began.elapsed() > QUEUED_MAX {
            let counted = format!(
                "{queued} waiters after {} s: does it allow so many connections?",
                QUEUED_MAX.as_secs()
            );
            return Err(BenchError::answer("GET /v1/stats", counted));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The memory of a process once it has stopped moving.
async fn calm_bytes(process: Process) -> Option<u64> {
    let began = Instant::now();
    let mut last = process.resident_bytes()?;
    while began.elapsed() < CALM_MAX {
        tokio::time::sleep(CALM).await;
        let now = process.resident_bytes()?;
        if now == last {
            break;
        }
        last = now;
    }
    Some(last)
}

/// What all tasks gathered, or the first error.
async fn all<T: 'static>(
    mut running: JoinSet<Result<Vec<T>, BenchError>>,
) -> Result<Vec<T>, BenchError> {
    let mut gathered = Vec::new();
    while let Some(done) = running.join_next().await {
        gathered.extend(done.expect("a client does not panic")?);
    }
    Ok(gathered)
}
