//! How long a lock lies idle between two holders while others wait.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use crate::BenchError;
use crate::contender::{Client, Contender};
use crate::spread::{Latency, Spread, median};

/// Clients that want the lock at any time.
pub(crate) const WAITERS: usize = 32;
/// Rounds of the queue before anything counts: the first grants happen while others still connect.
const WARM_UP: Duration = Duration::from_millis(500);

/// From the moment a holder sends its release until the next one has read its grant.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct HandOver {
    /// Clients that want the lock at any time.
    pub waiters: usize,
    /// Hand-overs in a second, when each holder releases at once.
    pub per_second: f64,
    /// One hand-over.
    pub latency: Latency,
}

impl HandOver {
    /// The median of each figure over several runs.
    pub(crate) fn median(runs: &[Self]) -> Self {
        let latencies: Vec<Latency> = runs.iter().map(|run| run.latency).collect();
        Self {
            waiters: WAITERS,
            per_second: median(runs.iter().map(|run| run.per_second).collect()),
            latency: Latency::median(&latencies),
        }
    }
}

/// What the clients of one run share: they all live on one thread.
struct Relay {
    released: Cell<Option<Instant>>,
    counted_from: Instant,
    until: Instant,
}

/// Passes one lock round and round for `period`. Call it inside a `LocalSet`.
pub(crate) async fn run<C: Contender>(
    contender: &C,
    period: Duration,
) -> Result<HandOver, BenchError> {
    let mut clients = Vec::new();
    for _ in 0..WAITERS {
        clients.push(contender.client("bench/relay").await?);
    }
    let counted_from = Instant::now() + WARM_UP;
    let relay = Relay { released: Cell::new(None), counted_from, until: counted_from + period };
    let relay = Rc::new(relay);
    let mut running = JoinSet::new();
    for client in clients {
        running.spawn_local(take_turns(client, relay.clone()));
    }
    let mut durations = Vec::new();
    while let Some(done) = running.join_next().await {
        durations.extend(done.expect("a client does not panic")?);
    }
    let spread = Spread::of(durations);
    Ok(HandOver {
        waiters: WAITERS,
        per_second: spread.count() as f64 / period.as_secs_f64(),
        latency: spread.summary(),
    })
}

/// Waits for the lock, notes how long it lay idle, passes it on, waits again.
async fn take_turns(
    mut client: impl Client,
    relay: Rc<Relay>,
) -> Result<Vec<Duration>, BenchError> {
    let mut durations = Vec::new();
    loop {
        client.acquire_in_turn().await?;
        let granted = Instant::now();
        if let Some(released) = relay.released.get()
            && granted >= relay.counted_from
            && granted < relay.until
        {
            durations.push(granted - released);
        }
        relay.released.set(Some(Instant::now()));
        client.release().await?;
        if granted >= relay.until {
            return Ok(durations);
        }
    }
}
