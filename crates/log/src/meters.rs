//! Measurements of the log, as counters that anybody may read at any time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const SECONDS: &[f64] =
    &[0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0];
const COMMANDS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0, 4096.0];

/// What can fail on a disk, by the name it has in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Write,
    Sync,
    Prepare,
    Snapshot,
    Purge,
    Read,
}

const OPERATIONS: [(Operation, &str); 6] = [
    (Operation::Write, "write"),
    (Operation::Sync, "sync"),
    (Operation::Prepare, "prepare"),
    (Operation::Snapshot, "snapshot"),
    (Operation::Purge, "purge"),
    (Operation::Read, "read"),
];

/// Measurements since the start.
#[derive(Debug)]
pub struct Meters {
    sync_seconds: Recorder,
    batch_commands: Recorder,
    snapshot_seconds: Recorder,
    log_bytes: AtomicU64,
    // Indexes of the last entries begun to be written, and in effect.
    written: AtomicU64,
    applied: AtomicU64,
    elections: AtomicU64,
    clock_stall_micros: AtomicU64,
    last_sync_micros: AtomicU64,
    errors: [AtomicU64; OPERATIONS.len()],
}

/// A histogram as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Upper bounds, each with how many values were at or below it. The last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
    /// Sum of all values.
    pub sum: f64,
    /// Number of values.
    pub count: u64,
}

impl Meters {
    pub(crate) fn new() -> Self {
        Meters {
            sync_seconds: Recorder::new(SECONDS),
            batch_commands: Recorder::new(COMMANDS),
            snapshot_seconds: Recorder::new(SECONDS),
            log_bytes: AtomicU64::new(0),
            written: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            elections: AtomicU64::new(0),
            clock_stall_micros: AtomicU64::new(0),
            last_sync_micros: AtomicU64::new(0),
            errors: Default::default(),
        }
    }

    /// Seconds per sync of the log.
    pub fn sync_seconds(&self) -> Histogram {
        self.sync_seconds.read(1e-6)
    }

    /// Commands per write.
    pub fn batch_commands(&self) -> Histogram {
        self.batch_commands.read(1.0)
    }

    /// Seconds per snapshot.
    pub fn snapshot_seconds(&self) -> Histogram {
        self.snapshot_seconds.read(1e-6)
    }

    /// Bytes of log since the last snapshot.
    pub fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed)
    }

    /// Entries that are being written or wait to take effect.
    pub fn commit_lag(&self) -> u64 {
        self.written.load(Ordering::Relaxed).saturating_sub(self.applied.load(Ordering::Relaxed))
    }

    /// Terms that this node began as the leader since its start.
    pub fn elections(&self) -> u64 {
        self.elections.load(Ordering::Relaxed)
    }

    /// How long time of the rules stood still since the start, while anything had a deadline: pauses, stalls, and time
    /// without a leader.
    pub fn clock_stall(&self) -> Duration {
        Duration::from_micros(self.clock_stall_micros.load(Ordering::Relaxed))
    }

    /// Failed operations of the disk by name: `write`, `sync`, `prepare`, `snapshot`, `purge`, `read`.
    pub fn errors(&self) -> Vec<(&'static str, u64)> {
        let counts = self.errors.iter().map(|count| count.load(Ordering::Relaxed));
        OPERATIONS.iter().map(|(_, name)| *name).zip(counts).collect()
    }

    /// How many snapshots were taken.
    #[cfg(test)]
    pub(crate) fn snapshots(&self) -> u64 {
        self.snapshot_seconds.read(1.0).count
    }

    /// How long the last sync took; `None` before the first.
    pub(crate) fn last_sync(&self) -> Option<Duration> {
        let micros = self.last_sync_micros.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    pub(crate) fn synced(&self, took: Duration) {
        let micros = whole_micros(took);
        self.sync_seconds.note(micros, took.as_secs_f64());
        self.last_sync_micros.store(micros.max(1), Ordering::Relaxed);
    }

    pub(crate) fn writes(&self, last: u64) {
        self.written.fetch_max(last, Ordering::Relaxed);
    }

    pub(crate) fn applied(&self, last: u64) {
        self.applied.fetch_max(last, Ordering::Relaxed);
    }

    pub(crate) fn elected(&self) {
        self.elections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn clock_stood_still(&self, time: Duration) {
        self.clock_stall_micros.fetch_add(whole_micros(time), Ordering::Relaxed);
    }

    pub(crate) fn wrote_batch(&self, commands: usize) {
        self.batch_commands.note(commands as u64, commands as f64);
    }

    pub(crate) fn took_snapshot(&self, took: Duration) {
        self.snapshot_seconds.note(whole_micros(took), took.as_secs_f64());
    }

    pub(crate) fn logged(&self, bytes: u64) {
        self.log_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes of the log are in a snapshot now.
    pub(crate) fn condensed(&self, bytes: u64) {
        self.log_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, operation: Operation) {
        let at = OPERATIONS.iter().position(|(known, _)| *known == operation);
        self.errors[at.expect("every operation has a name")].fetch_add(1, Ordering::Relaxed);
    }
}

fn whole_micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

#[derive(Debug)]
struct Recorder {
    bounds: &'static [f64],
    // One more than bounds: what is above all of them.
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

impl Recorder {
    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Recorder { bounds, counts, sum: AtomicU64::new(0) }
    }

    fn note(&self, whole: u64, value: f64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(whole, Ordering::Relaxed);
    }

    fn read(&self, unit: f64) -> Histogram {
        let mut count = 0;
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets = bounds
            .zip(&self.counts)
            .map(|(bound, values)| {
                count += values.load(Ordering::Relaxed);
                (bound, count)
            })
            .collect();
        Histogram { buckets, sum: self.sum.load(Ordering::Relaxed) as f64 * unit, count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_up_to_infinity() {
        let meters = Meters::new();
        for commands in [1, 3, 5_000] {
            meters.wrote_batch(commands);
        }
        let histogram = meters.batch_commands();
        assert_eq!((histogram.count, histogram.sum), (3, 5_004.0));
        assert_eq!(histogram.buckets[..3], [(1.0, 1), (2.0, 1), (4.0, 2)]);
        assert_eq!(histogram.buckets.last(), Some(&(f64::INFINITY, 3)));
    }

    #[test]
    fn a_failure_is_counted_by_name() {
        let meters = Meters::new();
        meters.failed(Operation::Sync);
        assert!(meters.errors().contains(&("sync", 1)) && meters.errors().contains(&("write", 0)));
    }
}
