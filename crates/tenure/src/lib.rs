//! Locks for programs on many machines: exclusive, shared, counted, several at once; with fencing tokens, a queue
//! without polling, deadlock detection, and the answer to *who holds it*. On a Tenure server, or on Tenure's own log
//! inside this program.
//!
//! ```
//! use std::time::Duration;
//! use tenure::Tenure;
//!
//! # async fn write_invoice(_token: tenure::Token) -> Result<(), Box<dyn std::error::Error>> { Ok(()) }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tenure = Tenure::connect("memory:").await?;                  // or file:DIRECTORY, http://…, https://…
//! let secs = Duration::from_secs;
//! let grant = tenure.lock("billing/42").ttl(secs(30)).wait(secs(5)).note("invoice run").acquire().await?;
//! write_invoice(grant.token()).await?;                             // the guarded resource refuses a lower token
//! grant.release().await?;                                          // drop releases too, in the background
//! # tenure.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! What a lock cannot do: stop a program that is paused, or a request that is under way. Only the guarded resource
//! can, by refusing every token lower than the highest it has seen. What the library does about it: a grant's promise
//! is counted from when its request was sent, on a clock that goes on while the machine sleeps, and
//! [`Grant::protect`] drops the work before the server can give the lock to anybody else.
//!
//! - [`Tenure`]: a connection. [`Request`]: asking. [`Grant`]: having. [`Grant::lost`], [`Grant::state`]: how surely.
//! - [`Tenure::once`]: once per hour, anywhere. [`Tenure::election`]: one leader.
//! - [`Tenure::why`], [`Tenure::list`], [`Tenure::changes`]: seeing.
//! - [`Admin`]: what operators do. [`raw`]: leases by hand.
//! - `blocking` (feature): the same for threads. `testing` (feature): bad days on purpose.
//!
//! Everything is `Send` and `Sync`, runs under any executor, and may be dropped at any `await`.

#[cfg(feature = "blocking")]
pub mod blocking;
pub mod config;
pub mod raw;
#[cfg(feature = "testing")]
pub mod testing;

mod admin;
mod asking;
mod backend;
mod changes;
mod clock;
mod connect;
mod connection;
mod course;
mod dice;
mod election;
mod error;
mod grant;
mod holding;
mod keeping;
mod liveness;
mod once;
mod owner;
mod promise;
mod request;
mod retry;
mod returns;
mod session;
mod settling;
mod tenure;
mod text;
mod thread;
mod url;

pub use admin::{Admin, Whose};
pub use changes::{ChangeStream, Changes, Cursor, Event};
pub use connect::{Connect, PATIENCE_DEFAULT, SESSION_TTL_DEFAULT};
pub use election::{Election, Leader, Leaders, Leadership};
pub use error::{
    AcquireError, ConnectError, Cycle, Error, Force, GrantError, Held, Loss, LossReason, Refusal,
    ReleaseError, RunError, SessionEnd, UpgradeError,
};
pub use grant::{Grant, GrantHandle};
pub use holding::{Recall, State};
pub use liveness::Session;
pub use once::{Once, Turn};
pub use owner::Owner;
pub use request::{Attempt, Request, Wanted};
pub use tenure::Tenure;
pub use text::IntoText;
pub use url::BadUrl;

/// The types of the wire: what views, lists and operators' acts are answered with.
pub use tenure_api as api;
pub use tenure_api::{Code, Holder, LockView, Locks, LocksQuery, Seconds};
pub use tenure_core::{
    BadText, KeyName, Lease, LockName, Note, Permits, RequestId, SessionHandle, SessionId, Token,
    Weight,
};

/// The example in the README compiles, or its doctest fails.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
