//! The wire: every JSON field of the HTTP interface, once. The server reads requests and writes answers with these
//! types, the clients the other way round.
//!
//! Requests are strict: an unknown or repeated field is an error. Answers are tolerant: a client ignores fields it does
//! not know, so that additions never break it.
//!
//! ```
//! use tenure_api::{AcquireRequest, Seconds};
//!
//! let request: AcquireRequest = serde_json::from_str(r#"{"ttl":"30s","wait":5}"#)?;
//! assert_eq!(request.wait, Some(Seconds::from_secs(5)));
//! assert!(serde_json::from_str::<AcquireRequest>(r#"{"tll":"30s"}"#).is_err());
//! # Ok::<(), serde_json::Error>(())
//! ```

mod answer;
mod change;
mod code;
mod lock;
mod problem;
mod seconds;
mod service;
mod session;
mod view;
mod wall;
mod wire;

pub use change::{
    ActionName, ChangeEvent, Changes, ChangesQuery, ChangesSeen, EndEvent, EndReason, EndedEvent,
    LostEvent, RecalledEvent, ResyncEvent, SessionEventsQuery,
};
pub use code::{BadReason, Code};
pub use lock::{
    AcquireRequest, BreakAnswer, BreakRequest, CheckAnswer, CheckRequest, ConvertRequest,
    EndedName, Grant, GrantedName, HandOverRequest, HistoryView, Holder, KindName, LockHolder,
    LockState, LockView, Locks, LocksQuery, LostName, Many, ManyResult, Mode, RecallAnswer,
    RecallRequest, RecallView, ReleaseRequest, Released, RenewRequest, Renewed, ResizeAnswer,
    ResizeRequest, SortName, StateFilter, Waiter, Wanted,
};
pub use problem::{CycleMember, Problem};
pub use seconds::{NotSeconds, Seconds};
pub use service::{
    Cluster, DrainAnswer, DrainRequest, Info, InfoKey, KeyList, KeyRequest, KeySecret, KeyView,
    LockCounts, Member, Rates, RoleName, RotateRequest, Stats, TopLock,
};
pub use session::{
    EndSessionRequest, HeldGrant, KeepAliveRequest, KeptAlive, OpenSessionRequest, SessionEndName,
    SessionEnded, SessionOpened, SessionView, Sessions, SessionsQuery,
};
