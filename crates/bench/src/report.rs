//! The figures of one server, for people and for programs.

use std::fmt;

use serde::Serialize;

use crate::crowd::{Held, Waiting};
use crate::cycles::Cycles;
use crate::floor::Floor;
use crate::hand_over::HandOver;
use crate::listeners::Beside;

/// What was measured; each figure is the median of the rounds. Prints as a table.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Where the server listens.
    pub url: String,
    /// Runs of each kind.
    pub rounds: usize,
    /// What the machine itself costs.
    pub floor: Floor,
    /// One entry for each number of clients.
    pub cycles: Vec<Cycles>,
    /// One lock passed from hand to hand.
    pub hand_over: HandOver,
    /// Cycles while many listen.
    pub beside: Beside,
    /// Memory, when the server's process is known.
    pub held: Option<Held>,
    /// A crowd in one queue.
    pub waiting: Option<Waiting>,
}

impl Report {
    /// One request of a single client as a multiple of one write to the disk and one round trip: 1 is what no durable
    /// server can beat. Nothing without a run with one client or without the disk.
    #[must_use]
    pub fn one_client_ratio(&self) -> Option<f64> {
        let alone = self.cycles.iter().find(|run| run.clients == 1)?;
        let floor = self.floor.round_trip_us + self.floor.fdatasync_us?;
        Some(alone.latency.p50_us / 2.0 / floor)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, median of {} rounds", self.url, self.rounds)?;
        writeln!(f, "\nacquire + release, each client with a lock of its own")?;
        writeln!(
            f,
            "clients   cycles/s    p50 ms    p99 ms  p99.9 ms  server CPU s / 10,000 cycles"
        )?;
        for run in &self.cycles {
            let latency = &run.latency;
            let (p50, p99, p999) =
                (latency.p50_us / 1e3, latency.p99_us / 1e3, latency.p999_us / 1e3);
            write!(
                f,
                "{:>7} {:>10.0} {p50:>9.3} {p99:>9.3} {p999:>9.3}  ",
                run.clients, run.per_second
            )?;
            writeln!(
                f,
                "{}",
                run.cpu_seconds_per_10000.map_or("–".to_owned(), |cpu| format!("{cpu:.3}"))
            )?;
        }
        let HandOver { waiters, latency, .. } = &self.hand_over;
        let (p50, p99) = (latency.p50_us / 1e3, latency.p99_us / 1e3);
        writeln!(f, "\nhand-over with {waiters} waiters: p50 {p50:.3} ms, p99 {p99:.3} ms")?;
        let Beside { streams, alone, per_second } = self.beside;
        let share = per_second / alone * 100.0;
        writeln!(
            f,
            "64 clients beside {streams} open streams: {share:.0} % of the cycles without them"
        )?;
        let idle = self.floor.idle_cycles_per_second;
        writeln!(
            f,
            "HTTP alone, 64 clients: {idle:.0} pairs of requests a second that do nothing"
        )?;
        writeln!(f, "HTTP round trip alone: {:.0} µs", self.floor.round_trip_us)?;
        if let Some(fdatasync_us) = self.floor.fdatasync_us {
            writeln!(f, "fdatasync alone: {fdatasync_us:.0} µs")?;
        }
        if let Some(ratio) = self.one_client_ratio() {
            writeln!(f, "a request of one client: {ratio:.2} × (fdatasync + round trip)")?;
        }
        if let Some(Held { locks, bytes_per_lock }) = self.held {
            writeln!(f, "{locks} locks held: {bytes_per_lock:.0} bytes each")?;
        }
        if let Some(Waiting { waiters, release }) = self.waiting {
            let (p50, max) = (release.p50_us / 1e3, release.max_us / 1e3);
            writeln!(
                f,
                "{waiters} waiters on one lock: a release of another takes p50 {p50:.3} ms, at most {max:.3} ms"
            )?;
        }
        Ok(())
    }
}
