//! How many commands a second the log carries, and what a sync costs on this disk without it.
//!
//! `cargo run --release -p tenure-log --example throughput [DIRECTORY]`

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use tenure_core::{Acquire, Answer, Caller, Command, KeyName, Lease, LeaseRecord, Release, Target};
use tenure_log::{Log, Options};

const TIME: Duration = Duration::from_secs(2);
const SYNCS: u32 = 2_000;
const FRAME_BYTES: usize = 256;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given = std::env::args().nth(1);
    let temporary = tempfile::tempdir()?;
    let dir = given.as_deref().map_or(temporary.path(), Path::new);
    let sync = sync_alone(&dir.join("sync"))?;
    println!("fdatasync after a write into a prepared file: {sync:?}");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build()?;
    for (name, options) in [("disk", Options::disk(dir.join("log"))), ("memory", Options::memory())]
    {
        runtime.block_on(measure(name, options))?;
    }
    Ok(())
}

fn sync_alone(path: &Path) -> std::io::Result<Duration> {
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
    file.write_all_at(&vec![0; FRAME_BYTES * SYNCS as usize], 0)?;
    file.sync_all()?;
    let begun = Instant::now();
    for number in 0..SYNCS {
        file.write_all_at(&[7; FRAME_BYTES], u64::from(number) * FRAME_BYTES as u64)?;
        file.sync_data()?;
    }
    Ok(begun.elapsed() / SYNCS)
}

async fn measure(name: &str, options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let log = Log::open(options).await?;
    for callers in [1u32, 64, 256] {
        let before = log.meters().batch_commands().count;
        let begun = Instant::now();
        let tasks: Vec<_> =
            (0..callers).map(|caller| tokio::spawn(take_and_give(log.clone(), caller))).collect();
        let mut commands = 0;
        for task in tasks {
            commands += task.await??;
        }
        let seconds = begun.elapsed().as_secs_f64();
        let batches = log.meters().batch_commands().count - before;
        println!(
            "{name}, {callers} callers: {:.0} commands/s, {:.1} commands a write, {:.0} µs a command for its caller",
            commands as f64 / seconds,
            commands as f64 / batches as f64,
            seconds * 1e6 * f64::from(callers) / commands as f64,
        );
    }
    log.stop().await;
    Ok(())
}

// One caller: takes and gives back a lock of its own.
async fn take_and_give(log: Log, caller: u32) -> Result<u64, tenure_log::SubmitError> {
    let key = KeyName::new("local").expect("is a key name");
    let begun = Instant::now();
    let mut commands = 0;
    while begun.elapsed() < TIME {
        let mut dice = [0; 32];
        getrandom::fill(&mut dice).expect("the system has random numbers");
        let lease = Lease::from_random(dice);
        let acquire = Acquire {
            lease: LeaseRecord::Plain(lease),
            ..Acquire::exclusive(&format!("lock-{caller}"), Duration::from_secs(30))
        };
        let reply = log.submit(Command::Acquire(Box::new(acquire))).await?;
        assert!(matches!(reply.answer, Answer::Granted(_)), "{reply:?}");
        let release = Release {
            caller: Caller::new(key.clone()),
            name: None,
            target: Target::Lease(lease.hash()),
            names: Vec::new(),
            request: None,
        };
        log.submit(Command::Release(Box::new(release))).await?;
        commands += 2;
    }
    Ok(commands)
}
