//! Acquire and release, as fast as a number of clients can.

use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::BenchError;
use crate::contender::{Client, Contender};
use crate::spread::{Latency, Spread, median};

/// How long the clients run before anything counts.
const WARM_UP: Duration = Duration::from_millis(500);
/// The size of a batch of cycles whose processor time is reported.
const CPU_CYCLES: f64 = 10_000.0;

/// What a number of clients reached.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cycles {
    /// Connections, each with a lock of its own, each with one request under way.
    pub clients: usize,
    /// Pairs of acquire and release in a second.
    pub per_second: f64,
    /// One pair.
    pub latency: Latency,
    /// Processor seconds of the server for 10,000 pairs.
    pub cpu_seconds_per_10000: Option<f64>,
}

impl Cycles {
    /// The median of each figure over several runs of one kind.
    pub(crate) fn median(runs: &[Self]) -> Self {
        let latencies: Vec<Latency> = runs.iter().map(|run| run.latency).collect();
        let cpu: Option<Vec<f64>> = runs.iter().map(|run| run.cpu_seconds_per_10000).collect();
        Self {
            clients: runs.first().map_or(0, |run| run.clients),
            per_second: median(runs.iter().map(|run| run.per_second).collect()),
            latency: Latency::median(&latencies),
            cpu_seconds_per_10000: cpu.map(median),
        }
    }
}

/// Runs `clients` clients for `period` after a warm-up. Call it inside a `LocalSet`.
pub(crate) async fn run<C: Contender>(
    contender: &C,
    clients: usize,
    period: Duration,
) -> Result<Cycles, BenchError> {
    let start = Rc::new(Barrier::new(clients + 1));
    let mut running = JoinSet::new();
    for number in 0..clients {
        let client = contender.client(&format!("bench/cycles/{number}")).await?;
        running.spawn_local(repeat(client, start.clone(), period));
    }
    start.wait().await;
    tokio::time::sleep(WARM_UP).await;
    let cpu_before = contender.process().and_then(|process| process.cpu_time());
    tokio::time::sleep(period).await;
    let cpu_after = contender.process().and_then(|process| process.cpu_time());
    let mut durations = Vec::new();
    while let Some(done) = running.join_next().await {
        durations.extend(done.expect("a client does not panic")?);
    }
    let spread = Spread::of(durations);
    let cpu = cpu_after.zip(cpu_before).map(|(after, before)| (after - before).as_secs_f64());
    Ok(Cycles {
        clients,
        per_second: spread.count() as f64 / period.as_secs_f64(),
        latency: spread.summary(),
        cpu_seconds_per_10000: cpu
            .map(|seconds| seconds / spread.count().max(1) as f64 * CPU_CYCLES),
    })
}

/// Cycles until the time is up; those that ended after the warm-up and within the period count.
async fn repeat(
    mut client: impl Client,
    start: Rc<Barrier>,
    period: Duration,
) -> Result<Vec<Duration>, BenchError> {
    start.wait().await;
    let counted_from = Instant::now() + WARM_UP;
    let until = counted_from + period;
    let mut durations = Vec::new();
    loop {
        let began = Instant::now();
        client.acquire().await?;
        client.release().await?;
        let ended = Instant::now();
        if ended >= until {
            return Ok(durations);
        }
        if ended >= counted_from {
            durations.push(ended - began);
        }
    }
}
