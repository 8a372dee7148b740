//! What the machine itself costs: no lock server can be faster than one write to the disk and one round trip.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::BenchError;
use crate::http::Server;
use crate::spread::{Spread, median, micros};

/// How often each is tried; the median counts.
const TRIES: usize = 500;
/// Bytes of one write: a log record of one command with its frame.
const RECORD_BYTES: usize = 512;
/// The round trip's server answers this without touching a lock or the disk.
const NOTHING: &str = "/healthz";

/// Costs below which no request can go.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Floor {
    /// One request over a kept-alive connection that does nothing, in microseconds.
    pub round_trip_us: f64,
    /// One `fdatasync` after a small write into a file whose blocks exist already, in microseconds.
    pub fdatasync_us: Option<f64>,
}

impl Floor {
    /// The median of each figure over several rounds.
    pub(crate) fn median(rounds: &[Self]) -> Self {
        let syncs: Option<Vec<f64>> = rounds.iter().map(|round| round.fdatasync_us).collect();
        Self {
            round_trip_us: median(rounds.iter().map(|round| round.round_trip_us).collect()),
            fdatasync_us: syncs.map(median),
        }
    }
}

pub(crate) async fn measure(server: &Server, disk: Option<&Path>) -> Result<Floor, BenchError> {
    let fdatasync =
        disk.map(fdatasync).transpose().map_err(BenchError::io("measuring fdatasync"))?;
    Ok(Floor {
        round_trip_us: micros(round_trip(server).await?),
        fdatasync_us: fdatasync.map(micros),
    })
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
