//! A node: its files, its threads, its start and its end.

mod reading;
#[cfg(test)]
mod snapshot_tests;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use openraft::{BasicNode, Config, SnapshotPolicy};
use parking_lot::Mutex;
use tenure_core::Time;
use tokio::sync::{oneshot, watch};

use crate::alarm::Alarm;
use crate::desk::Desk;
use crate::disk::{Directory, Disk};
use crate::error::OpenError;
use crate::feed::Feed;
use crate::meters::Meters;
use crate::options::{Options, Storage};
use crate::proposer::Proposer;
use crate::raft::Raft;
use crate::raft::copy::{Files, STILL_RECORDS_MAX};
use crate::raft::machine::{Applier, Shared, State, restore};
use crate::raft::network::NoPeers;
use crate::raft::store::Store;
use crate::snapshot::{self, Snapshots};
use crate::status::{Durability, Health};
use crate::wal::identity::{IDENTITY_FILE, IdentityFile};
use crate::wal::segment::Identity;
use crate::wal::{SEGMENT_BYTES, Wal};

/// The number of the only node there is.
const NODE: u64 = 1;
/// How long a clean stop waits for the disk, and then once more for the threads.
const STOP_MAX: Duration = Duration::from_secs(3);
/// How long an opening node waits for its first write. A disk that takes longer leaves it open and not ready.
const FIRST_WRITE_MAX: Duration = Duration::from_secs(5);

/// A running node.
pub(crate) struct Node {
    pub(crate) shared: Arc<Shared>,
    pub(crate) alarm: Arc<Alarm>,
    stopping: Arc<AtomicBool>,
    ended: watch::Receiver<bool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What a node is made of, before it runs.
struct Parts {
    store: Store,
    shared: Arc<Shared>,
    stamp: Time,
    snapshot_log_bytes: u64,
    // For messages.
    dir: PathBuf,
}

impl Node {
    /// Starts a node as the options say.
    pub(crate) async fn start(options: Options) -> Result<Self, OpenError> {
        match options.storage.clone() {
            Storage::Memory => Self::run(in_memory(options)).await,
            Storage::Disk(dir) => reading::told(&dir.clone(), Self::read(dir, options)).await,
        }
    }

    async fn read(dir: PathBuf, options: Options) -> Result<Self, OpenError> {
        // Opening reads, zeros and syncs files, which may take long.
        let parts = blocking(move || {
            let disk = Arc::new(Directory::open(&dir)?);
            on_disk(disk, dir, SEGMENT_BYTES, STILL_RECORDS_MAX, options)
        });
        Self::run(parts.await?).await
    }

    /// Starts a node on another kind of disk, whose machine is copied for every snapshot.
    #[cfg(test)]
    pub(crate) async fn start_on(
        disk: Arc<dyn Disk>,
        segment_bytes: u64,
        options: Options,
    ) -> Result<Self, OpenError> {
        let parts = move || on_disk(disk, "disk".into(), segment_bytes, 0, options);
        Self::run(blocking(parts).await?).await
    }

    async fn run(parts: Parts) -> Result<Self, OpenError> {
        let failed = {
            let path = parts.dir.clone();
            move |what, error| OpenError::Io { what, path, error }
        };
        let (shared, alarm) = (parts.shared.clone(), parts.shared.alarm.clone());
        let stopping = Arc::new(AtomicBool::new(false));
        let (started, start) = oneshot::channel();
        let (end, ended) = watch::channel(false);
        let stop = stopping.clone();
        let run = move || {
            run_log(parts, stop, started);
            end.send_replace(true);
        };
        let watched = alarm.clone();
        let log = spawn("tenure-log", run);
        let watch = spawn("tenure-watch", move || watched.watch());
        let threads = match (log, watch) {
            (Ok(log), Ok(watch)) => Mutex::new(vec![log, watch]),
            (Err(error), _) | (_, Err(error)) => {
                alarm.stop();
                return Err(failed("start a thread for", error));
            }
        };
        let node = Node { shared, alarm, stopping, ended, threads };
        match start.await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return Err(failed("replay", io::Error::other(why))),
            Err(_) => return Err(failed("start", io::Error::other("its thread ended"))),
        }
        let mut status = node.alarm.health.watch();
        let ready = status.wait_for(|status| status.ready);
        // Slow or full disks open, too: the status tells.
        drop(tokio::time::timeout(FIRST_WRITE_MAX, ready).await);
        Ok(node)
    }

    /// Ends the node: answers what was asked, notes the time, gives up the files. Takes a bounded time whatever the
    /// disk does.
    pub(crate) async fn stop(&self) {
        self.begin_stop();
        let mut ended = self.ended.clone();
        if tokio::time::timeout(STOP_MAX, ended.wait_for(|ended| *ended)).await.is_err() {
            tracing::error!(event = "stop_forced", "the disk does not answer: stopping without it");
            self.alarm.stop();
            drop(tokio::time::timeout(STOP_MAX, ended.wait_for(|ended| *ended)).await);
        }
        self.alarm.stop();
        self.alarm.desk.close();
        self.shared.close();
        let threads = std::mem::take(&mut *self.threads.lock());
        let joined = tokio::task::spawn_blocking(move || {
            // A thread that is stuck in the system is left behind; a panic was reported when it happened.
            for thread in threads.into_iter().filter(JoinHandle::is_finished) {
                drop(thread.join());
            }
        });
        drop(joined.await);
    }

    fn begin_stop(&self) {
        self.alarm.health.change(|troubles| troubles.stopping = true);
        self.stopping.store(true, Ordering::Release);
        self.alarm.desk.ring();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.begin_stop();
        self.alarm.stop();
        self.shared.close();
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    tokio::task::spawn_blocking(work).await.map_err(|panicked| OpenError::Io {
        what: "open",
        path: PathBuf::new(),
        error: io::Error::other(panicked),
    })?
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(work)
}

fn alarm(durability: Durability) -> Arc<Alarm> {
    let meters = Arc::new(Meters::new());
    let health = Arc::new(Health::new(durability, NODE, meters.clone()));
    Arc::new(Alarm::new(health, Arc::new(Desk::default()), meters))
}

fn in_memory(options: Options) -> Parts {
    let alarm = alarm(Durability::Memory);
    // Revisions begin anew with every process: a cursor of another one must not fit.
    let life = u64::from(random_u32()) << 16;
    let feed = Feed::new(options.changes_kept, options.changes_max, life);
    let store = Store::in_memory(alarm.meters.clone());
    let snapshots = Snapshots::Memory(Mutex::default());
    let files = Files { snapshots, log: store.clone(), still_records_max: STILL_RECORDS_MAX };
    let shared = Shared::new(State::default(), feed, alarm, options.observer, files);
    let snapshot_log_bytes = options.snapshot_log_bytes;
    Parts {
        store,
        shared: Arc::new(shared),
        stamp: Time::ZERO,
        snapshot_log_bytes,
        dir: "memory".into(),
    }
}

fn on_disk(
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_bytes: u64,
    still_records_max: usize,
    options: Options,
) -> Result<Parts, OpenError> {
    let alarm = alarm(Durability::Disk);
    let identity_file = identity_file(&*disk, &dir)?;
    let identity = identity_file.identity();
    let found = snapshot::find(&*disk, &dir, identity.log)?;
    let state = match &found.newest {
        Some(snapshot) => restore(snapshot).map_err(|why| OpenError::Foreign {
            file: dir.join(snapshot::snapshot_name(snapshot_index(snapshot))),
            why,
        })?,
        None => State::default(),
    };
    let (wal, log) = Wal::open(disk.clone(), &dir, identity_file, segment_bytes, alarm.clone())?;
    let covered = found.newest.as_ref().and_then(|snapshot| snapshot.meta.last);
    let purged = wal.durable().purged;
    // The log begins behind the newest sound snapshot: what lies between them was in a damaged one.
    if purged.map(|id| id.index) > covered.map(|id| id.index) {
        return Err(found.damaged.into_iter().next().unwrap_or_else(|| OpenError::Damaged {
            file: dir.join(snapshot::snapshot_name(purged.map_or(0, |id| id.index))),
            offset: 0,
            why: "it is missing, and the log does not reach back that far".into(),
        }));
    }
    // An entry is synced before it is applied, and applied before it is in a snapshot, sound or not.
    if let Some(reached) = found.reached
        && Some(reached) > wal.durable().last.map(|id| id.index)
    {
        let file = dir.join(snapshot::snapshot_name(reached));
        let why = "the log ends before the last entry in it".into();
        return Err(OpenError::Damaged { file, offset: 0, why });
    }
    for damaged in &found.damaged {
        tracing::warn!(event = "snapshot_damaged", %damaged, "the log makes up for it");
        if let OpenError::Damaged { file, .. } = damaged {
            let path = dir.clone();
            snapshot::remove(&*disk, file).map_err(|error| OpenError::Io {
                what: "remove a snapshot in",
                path,
                error,
            })?;
        }
    }
    let covered = covered.map(|id| id.index);
    let behind = log.appended.iter().filter(|(last, _)| Some(*last) > covered);
    alarm.meters.logged(behind.map(|(_, bytes)| bytes).sum());
    let store = Store::on_disk(wal, alarm.meters.clone());
    let feed = Feed::new(options.changes_kept, options.changes_max, 0);
    let snapshots = Snapshots::Disk { disk, log: identity.log };
    let files = Files { snapshots, log: store.clone(), still_records_max };
    let shared = Shared::new(state, feed, alarm, options.observer, files);
    let (shared, snapshot_log_bytes) = (Arc::new(shared), options.snapshot_log_bytes);
    Ok(Parts { store, shared, stamp: log.stamp, snapshot_log_bytes, dir })
}

fn snapshot_index(snapshot: &snapshot::Snapshot) -> u64 {
    snapshot.meta.last.map_or(0, |last| last.index)
}

// Whose log this is; a new one gets a name of its own.
fn identity_file(disk: &dyn Disk, dir: &Path) -> Result<IdentityFile, OpenError> {
    let failed = |what| move |error| OpenError::Io { what, path: dir.join(IDENTITY_FILE), error };
    let files = disk.list().map_err(failed("look for"))?;
    let file = dir.join(IDENTITY_FILE);
    if files.iter().any(|(name, _)| name == IDENTITY_FILE) {
        return IdentityFile::open(disk, dir);
    }
    let ours = |name: &str| {
        crate::wal::segment::segment_number(name).is_some()
            || snapshot::snapshot_index(name).is_some()
    };
    if files.iter().any(|(name, _)| ours(name)) {
        let why = "it is missing, and there is a log".into();
        return Err(OpenError::Damaged { file, offset: 0, why });
    }
    let log = u64::from(random_u32()) << 32 | u64::from(random_u32());
    let identity = Identity { log, node: NODE };
    IdentityFile::create(disk, identity).map_err(failed("write"))
}

fn random_u32() -> u32 {
    getrandom::u32().expect("the system has random numbers")
}

// The log's own thread: the library, the machine and the proposer run here, so that a caller whose executor is
// blocked holds nobody up, and a write that blocks holds up nothing that could go on.
fn run_log(parts: Parts, stopping: Arc<AtomicBool>, started: oneshot::Sender<Result<(), String>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime,
        // Whoever waits for the start hears of the dropped sender, too.
        Err(error) => return drop(started.send(Err(error.to_string()))),
    };
    runtime.block_on(async {
        let Parts { store, shared, stamp, snapshot_log_bytes, .. } = parts;
        let raft = match start_raft(store, shared.clone()).await {
            Ok(raft) => raft,
            Err(why) => return drop(started.send(Err(why))),
        };
        drop(started.send(Ok(())));
        Proposer::new(raft.clone(), shared, stopping, snapshot_log_bytes, stamp).run().await;
        if let Err(error) = raft.shutdown().await {
            tracing::error!(event = "log_not_closed", %error);
        }
    });
    // A snapshot that is being written is not waited for; it is complete or not there.
    runtime.shutdown_background();
}

async fn start_raft(store: Store, shared: Arc<Shared>) -> Result<Raft, String> {
    let config = Config {
        cluster_name: "tenure".into(),
        // A node alone sends no heartbeats; this is only how often the library wakes up.
        heartbeat_interval: 500,
        election_timeout_min: 1_500,
        election_timeout_max: 3_000,
        // Snapshots are taken by the size of the log, and the log is kept back to the older snapshot.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        ..Config::default()
    };
    let config = Arc::new(config.validate().map_err(|error| error.to_string())?);
    let raft = Raft::new(NODE, config, NoPeers, store, Applier(shared))
        .await
        .map_err(|error| error.to_string())?;
    if !raft.is_initialized().await.map_err(|error| error.to_string())? {
        let members = std::collections::BTreeMap::from([(NODE, BasicNode::default())]);
        raft.initialize(members).await.map_err(|error| error.to_string())?;
    }
    Ok(raft)
}
