//! Drives a running server as fast as one thread can and measures what comes back.
//!
//! The load generator shares the machine with the server, so it is made as cheap as possible: one thread, plain TCP,
//! requests built once, answers scanned and not parsed.

mod contender;
mod crowd;
mod cycles;
mod error;
mod floor;
mod hand_over;
mod http;
mod listeners;
mod options;
#[cfg(feature = "peers")]
mod peers;
mod process;
mod report;
mod spread;
mod tenure;
#[cfg(feature = "peers")]
pub mod versus;

pub use crowd::{Held, Waiting};
pub use cycles::Cycles;
pub use error::BenchError;
pub use floor::Floor;
pub use hand_over::HandOver;
pub use listeners::Beside;
pub use options::Options;
pub use report::Report;
pub use spread::Latency;

use process::Process;
use tenure::Tenure;

/// Measures the server. Blocks until it is done; brings its own thread and its own runtime, so it may be called
/// from anywhere.
///
/// # Errors
/// When the server cannot be reached or refuses what is asked. A figure that this machine cannot give (no process
/// id, no disk) is left out of the report instead.
pub fn run(options: &Options) -> Result<Report, BenchError> {
    on_own_thread(|| measure(options))
}

/// Runs `work` on one thread with one runtime: the load generator must not take the server's processors.
fn on_own_thread<T: Send>(
    work: impl AsyncFnOnce() -> Result<T, BenchError> + Send,
) -> Result<T, BenchError> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime =
                builder.enable_all().build().map_err(BenchError::io("starting a runtime"))?;
            tokio::task::LocalSet::new().block_on(&runtime, work())
        });
        thread.join().expect("the measuring thread does not panic")
    })
}

/// First what needs a server whose memory is fresh, then what wears it.
async fn measure(options: &Options) -> Result<Report, BenchError> {
    let tenure = Tenure::find(options)?;
    let held = held(&tenure, options).await?;
    let mut floors = Vec::new();
    let mut cycles = vec![Vec::new(); options.clients.len()];
    let mut hand_overs = Vec::new();
    for _ in 0..options.rounds {
        let disk = options.disk.as_deref();
        floors.push(floor::measure(&tenure.server, disk, options.period).await?);
        for (runs, clients) in cycles.iter_mut().zip(&options.clients) {
            runs.push(cycles::run(&tenure, *clients, options.period).await?);
        }
        hand_overs.push(hand_over::run(&tenure, options.period).await?);
    }
    Ok(Report {
        url: options.url.clone(),
        rounds: options.rounds,
        floor: Floor::median(&floors),
        cycles: cycles.iter().map(|runs| Cycles::median(runs)).collect(),
        hand_over: HandOver::median(&hand_overs),
        held,
        beside: listeners::run(&tenure, options.period).await?,
        waiting: waiting(&tenure, options).await?,
    })
}

async fn held(tenure: &Tenure, options: &Options) -> Result<Option<Held>, BenchError> {
    match options.server_pid {
        Some(pid) if options.held_locks > 0 => {
            crowd::hold(tenure, Process(pid), options.held_locks).await
        }
        _ => Ok(None),
    }
}

async fn waiting(tenure: &Tenure, options: &Options) -> Result<Option<Waiting>, BenchError> {
    if options.waiters == 0 {
        return Ok(None);
    }
    crowd::wait(tenure, options.waiters).await.map(Some)
}
