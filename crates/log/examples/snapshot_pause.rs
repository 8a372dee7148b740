//! How long a caller waits while a snapshot is taken of a machine with many locks.
//!
//! `cargo run --release -p tenure-log --example snapshot_pause [LOCKS…]`

use std::time::{Duration, Instant};

use tenure_core::{Acquire, Answer, Caller, Command, KeyName, Lease, LeaseRecord, Release, Target};
use tenure_log::{Log, Options};

type Error = Box<dyn std::error::Error>;

const TTL: Duration = Duration::from_secs(3600);
/// Commands per call while the machine is filled.
const FILL: usize = 1_000;
/// Snapshots that are lived through.
const SNAPSHOTS: u64 = 3;
/// Cycles measured while no snapshot is taken.
const QUIET: usize = 2_000;

fn main() -> Result<(), Error> {
    let mut sizes: Vec<usize> =
        std::env::args().skip(1).map(|size| size.parse()).collect::<Result<_, _>>()?;
    if sizes.is_empty() {
        sizes = vec![100_000, 1_000_000];
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    sizes.into_iter().try_for_each(|locks| runtime.block_on(measure(locks)))
}

async fn measure(locks: usize) -> Result<(), Error> {
    let dir = tempfile::tempdir()?;
    let options = Options { snapshot_log_bytes: u64::MAX, ..Options::disk(dir.path()) };
    let log = Log::open(options.clone()).await?;
    for first in (0..locks).step_by(FILL) {
        let commands = (first..locks.min(first + FILL)).map(|n| acquire(&format!("held-{n}")).1);
        log.submit_all(commands.collect()).await?;
    }
    let quiet = cycles(&log, |cycles| cycles < QUIET).await?;
    log.stop().await;
    drop(log);
    // Every batch from now on asks for a snapshot, one at a time.
    let log = Log::open(Options { snapshot_log_bytes: 1, ..options }).await?;
    let during = cycles(&log, |_| log.meters().snapshot_seconds().count < SNAPSHOTS).await?;
    let taken = log.meters().snapshot_seconds();
    println!(
        "{locks} locks: longest cycle {:?} without a snapshot, {:?} with; a snapshot took {:.2} s, p99 of cycles meanwhile {:?}",
        quiet[quiet.len() - 1],
        during[during.len() - 1],
        taken.sum / taken.count as f64,
        during[during.len() * 99 / 100],
    );
    log.stop().await;
    Ok(())
}

// How long acquire and release took together, shortest first.
async fn cycles(log: &Log, more: impl Fn(usize) -> bool) -> Result<Vec<Duration>, Error> {
    let mut took = Vec::new();
    while more(took.len()) {
        let begun = Instant::now();
        let (lease, acquire) = acquire("probe");
        let reply = log.submit(acquire).await?;
        assert!(matches!(reply.answer, Answer::Granted(_)), "nobody else wants it");
        log.submit(release(lease)).await?;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    Ok(took)
}

fn acquire(name: &str) -> (Lease, Command) {
    let mut dice = [0; 32];
    getrandom::fill(&mut dice).expect("the system has random numbers");
    let lease = Lease::from_random(dice);
    let wanted = Acquire { lease: LeaseRecord::Plain(lease), ..Acquire::exclusive(name, TTL) };
    (lease, Command::Acquire(Box::new(wanted)))
}

fn release(lease: Lease) -> Command {
    Command::Release(Box::new(Release {
        caller: Caller::new(KeyName::new("local").expect("is a key name")),
        name: None,
        target: Target::Lease(lease.hash()),
        names: Vec::new(),
        request: None,
    }))
}
