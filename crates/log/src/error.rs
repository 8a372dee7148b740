//! Why a log was not opened and why a command was not answered.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a log was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open: exit status 66.
    #[error("another process uses {}", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// A record that was acknowledged cannot be read: exit status 65.
    #[error("{} is damaged at byte {offset}: {why}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        why: String,
    },
    /// A file is not ours, or of another version or node: exit status 65.
    #[error("{} is not a file of this log: {why}", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The disk or the machine answered with an error.
    #[error("cannot {what} {}: {error}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which path.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
}

/// Why a command was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// It did not happen.
    #[error("unavailable: {0}")]
    Unavailable(Reason),
    /// It may have happened.
    #[error("the outcome is unknown")]
    Unknown,
}

/// Why a node does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// It reads its log.
    Starting,
    /// It cannot agree with enough others, or its disk does not answer.
    NoQuorum,
    /// There is no room for more.
    StorageFull,
    /// More is asked than it can queue.
    Overloaded,
    /// It was told to stop.
    Stopping,
}

impl Reason {
    /// The word for it on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Starting => "starting",
            Reason::NoQuorum => "no_quorum",
            Reason::StorageFull => "storage_full",
            Reason::Overloaded => "overloaded",
            Reason::Stopping => "draining",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
