//! How a node is run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tenure_core::Change;

/// Told the changes of each batch, in commit order, right after they took effect; nothing that is read back at the
/// start. Runs on the log's own thread and must not block.
pub type Observer = Arc<dyn Fn(&[Change]) + Send + Sync>;

/// How a node is run.
#[derive(Clone)]
pub struct Options {
    /// Where the log is kept.
    pub storage: Storage,
    /// A snapshot is taken after so many bytes of log. 64 MiB unless said otherwise.
    pub snapshot_log_bytes: u64,
    /// How long changes are kept for readers that come back. 1 hour unless said otherwise.
    pub changes_kept: Duration,
    /// How many changes are kept, about. 1,000,000 unless said otherwise.
    pub changes_max: usize,
    /// Told every change.
    pub observer: Option<Observer>,
}

/// Where the log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In this directory, made if absent; an answer means that it is on disk.
    Disk(PathBuf),
    /// In memory only: it ends with the process.
    Memory,
}

impl Options {
    /// A log in a directory, made if absent.
    pub fn disk(path: impl Into<PathBuf>) -> Self {
        Self::new(Storage::Disk(path.into()))
    }

    /// A log that ends with the process.
    pub fn memory() -> Self {
        Self::new(Storage::Memory)
    }

    fn new(storage: Storage) -> Self {
        Options {
            storage,
            snapshot_log_bytes: 64 << 20,
            changes_kept: Duration::from_secs(3600),
            changes_max: 1_000_000,
            observer: None,
        }
    }
}
