//! The rules of Tenure: what a lock request, a session or an operator may do to the record, decided by pure
//! functions. Nothing here reads a clock, draws a random number or does I/O; all three are arguments.
//!
//! [`Machine::apply`] takes a [`Batch`] of [`Command`]s and answers each of them. Whoever runs it (the log backend,
//! a test, a model checker) gets the same answers for the same batches, on every node and after every restart.
//!
//! ```
//! use tenure_core::*;
//! use std::time::Duration;
//!
//! let mut machine = Machine::new();
//! let deploy = Acquire::exclusive("deploy", Duration::from_secs(30));
//! let batch = Batch::at(Time::ZERO, vec![Command::Acquire(Box::new(deploy))]);
//! let Answer::Granted(grant) = &machine.apply(&batch).answers[0] else { panic!("a free lock is granted") };
//! assert_eq!(grant.token(), Token::new(1));
//! ```

pub mod limits;

mod answer;
mod change;
mod command;
mod id;
mod machine;
mod text;
mod time;
mod view;

pub use answer::{
    Answer, Cycle, CycleMember, DeniedBy, Ended, Force, Granted, GrantedLock, HeldBy, Holder,
    KeptAlive, Lost, LostGrant, LostReason, Queued, Recall, RecalledGrant, Refusal, Released,
    Renewed, SessionEnd, SessionEnded, SessionOpened,
};
pub use change::{Action, Applied, Change, LockChange, Settled};
pub use command::{
    Acquire, Batch, Break, Caller, Cancel, Claim, Command, Convert, Detach, EndSession, EndedBy,
    HandOver, KeyRecord, Life, OldSecret, OpenSession, Quota, Reach, Recalling, Release, Renew,
    RequestName, Resize, Role, Target, Want,
};
pub use id::{
    Lease, LeaseRecord, Permits, RequestKey, Revision, SessionHandle, SessionId, SessionSecret,
    TicketId, Token, Weight,
};
pub use machine::{BadSnapshot, Machine};
pub use text::{BadText, KeyName, LockName, Note, Owner, Prefix, Reason, RequestId};
pub use time::{Time, WallTime};
pub use view::{
    GrantView, HistoryEntry, HolderView, LockKind, LockState, LockView, Page, SessionView, Sort,
    Stats, Usage, WaiterView,
};
