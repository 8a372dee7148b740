//! What the machine itself costs: no lock server can be faster than one write to the disk and one round trip, nor than
//! HTTP with nothing behind it.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::BenchError;
use crate::contender::{Client, Contender};
use crate::cycles;
use crate::http::{Connection, Server};
use crate::process::Process;
use crate::spread::{Spread, median, micros};

/// How often each is tried; the median counts.
const TRIES: usize = 500;
/// Bytes of one write: a log record of one command with its frame.
const RECORD_BYTES: usize = 512;
/// Clients that ask at once for nothing.
const CLIENTS: usize = 64;
/// Our server answers this without touching a lock or the disk.
const NOTHING: &str = "/healthz";

/// Costs below which no request can go.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Floor {
    /// One request over a kept-alive connection that does nothing, in microseconds.
    pub round_trip_us: f64,
    /// One `fdatasync` after a small write into a file whose blocks exist already, in microseconds.
    pub fdatasync_us: Option<f64>,
    /// Pairs of requests a second of 64 clients that do nothing: the most that server and load generator could reach
    /// together on this machine.
    pub idle_cycles_per_second: f64,
}

impl Floor {
    /// The median of each figure over several rounds.
    pub(crate) fn median(rounds: &[Self]) -> Self {
        let syncs: Option<Vec<f64>> = rounds.iter().map(|round| round.fdatasync_us).collect();
        Self {
            round_trip_us: median(rounds.iter().map(|round| round.round_trip_us).collect()),
            fdatasync_us: syncs.map(median),
            idle_cycles_per_second: median(
                rounds.iter().map(|round| round.idle_cycles_per_second).collect(),
            ),
        }
    }
}

/// Call it inside a `LocalSet`.
pub(crate) async fn measure(
    server: &Server,
    disk: Option<&Path>,
    period: Duration,
) -> Result<Floor, BenchError> {
    let fdatasync =
        disk.map(fdatasync).transpose().map_err(BenchError::io("measuring fdatasync"))?;
    Ok(Floor {
        round_trip_us: micros(round_trip(server).await?),
        fdatasync_us: fdatasync.map(micros),
        idle_cycles_per_second: cycles::run(&Idle(server), CLIENTS, period).await?.per_second,
    })
}

/// Our server as one that has nothing to do.
struct Idle<'a>(&'a Server);

struct IdleClient {
    connection: Connection,
    request: Vec<u8>,
}

impl Contender for Idle<'_> {
    type Client = IdleClient;

    async fn client(&self, _: &str) -> Result<IdleClient, BenchError> {
        Ok(IdleClient { connection: self.0.connect().await?, request: self.0.get(NOTHING) })
    }

    fn process(&self) -> Option<Process> {
        None
    }
}

impl IdleClient {
    async fn ask(&mut self) -> Result<(), BenchError> {
        self.connection.expect(&self.request, 200).await.map(drop)
    }
}

impl Client for IdleClient {
    async fn acquire(&mut self) -> Result<(), BenchError> {
        self.ask().await
    }

    async fn acquire_in_turn(&mut self) -> Result<(), BenchError> {
        self.ask().await
    }

    async fn release(&mut self) -> Result<(), BenchError> {
        self.ask().await
    }
}

async fn round_trip(server: &Server) -> Result<Duration, BenchError> {
    let mut connection = server.connect().await?;
    let request = server.get(NOTHING);
    let mut durations = Vec::with_capacity(TRIES);
    for _ in 0..TRIES {
        let began = Instant::now();
        connection.expect(&request, 200).await?;
        durations.push(began.elapsed());
    }
    Ok(Spread::of(durations).percentile(0.5))
}

fn fdatasync(disk: &Path) -> std::io::Result<Duration> {
    let path = disk.join(format!("fdatasync-{}", std::process::id()));
    let mut file = File::create(&path)?;
    // The name goes at once: nothing is left behind, whatever happens.
    std::fs::remove_file(&path)?;
    file.write_all(&vec![0; TRIES * RECORD_BYTES])?;
    file.sync_all()?;
    let record = [7; RECORD_BYTES];
    let mut durations = Vec::with_capacity(TRIES);
    for offset in (0..TRIES * RECORD_BYTES).step_by(RECORD_BYTES) {
        let began = Instant::now();
        file.write_all_at(&record, offset as u64)?;
        file.sync_data()?;
        durations.push(began.elapsed());
    }
    Ok(Spread::of(durations).percentile(0.5))
}
