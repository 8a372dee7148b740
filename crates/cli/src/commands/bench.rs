//! `tenure bench`: measures a running server.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tenure_bench::{BenchError, Options};

use crate::arguments::{self, Global};
use crate::connection::Connection;
use crate::failure::{Exit, Failure};

/// Measure a running server: cycles a second, latencies, hand-over, memory
///
/// It takes and releases thousands of locks: not for a server in use.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Clients at once, one run for each number
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1, 16, 64, 256])]
    clients: Vec<usize>,
    /// How long one run lasts
    #[arg(long = "for", value_name = "DUR", value_parser = arguments::duration, default_value = "3s")]
    period: Duration,
    /// Runs of each kind; the median is printed
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Locks held at once for the memory figure; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    held: usize,
    /// Waiters on one lock while another is released; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    waiters: usize,
    /// The server's process on this machine, for its processor time and memory
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// A directory on the server's disk, for the cost of fdatasync alone
    #[arg(long, value_name = "DIR")]
    disk: Option<PathBuf>,
}

/// Measures it.
pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let connection = Connection::new(global)?;
    let settings = connection.settings();
    let options = Options {
        api_key: settings.api_key.as_ref().map(|key| key.secret().to_owned()),
        clients: arguments.clients,
        period: arguments.period,
        rounds: arguments.rounds,
        held_locks: arguments.held,
        waiters: arguments.waiters,
        server_pid: arguments.server_pid,
        disk: arguments.disk,
        ..Options::new(settings.url.clone().unwrap_or_default())
    };
    let report = tenure_bench::run(&options).map_err(|error| {
        let exit = match error {
            BenchError::Url { .. } => Exit::Usage,
            BenchError::Io { .. } => Exit::Unavailable,
            BenchError::Answer { .. } => Exit::NotUnderstood,
        };
        Failure::new(exit, error.to_string())
    })?;
    let out = connection.out();
    if out.json { out.json(&report) } else { out.line(report.to_string().trim_end()) }
}
