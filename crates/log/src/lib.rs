//! The log backend: a durable log in front of the rules.
//!
//! [`Log::open`] starts a node on a directory; [`Log::submit`] carries a command through the log and answers once it
//! is durable and applied. Everything that arrives while one write is being synced becomes the next write, so many
//! callers share one sync and a lone caller waits for nobody.
//!
//! ```
//! use tenure_core::{Acquire, Answer, Command};
//! use tenure_log::{Log, Options};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let log = Log::open(Options::memory()).await?;
//! let deploy = Acquire::exclusive("deploy", Duration::from_secs(30));
//! let reply = log.submit(Command::Acquire(Box::new(deploy))).await?;
//! assert!(matches!(reply.answer, Answer::Granted(_)));
//! log.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! How the files look and what a crash may leave in them: `docs/design/log.md`.

mod alarm;
mod clock;
mod desk;
mod disk;
mod error;
mod feed;
mod log;
mod meters;
mod node;
mod options;
mod outcome;
mod proposal;
mod proposer;
mod raft;
mod snapshot;
mod status;
mod wal;

pub use error::{OpenError, Reason, SubmitError};
pub use feed::{Cursor, Event, NotACursor, Subscription};
pub use log::Log;
pub use meters::{Histogram, Meters};
pub use options::{Observer, Options, Storage};
pub use outcome::{Outcome, Reply, Superseded};
pub use status::{Durability, Status};
