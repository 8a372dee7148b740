//! What the other modules ask of a log.

use std::time::Duration;

use tenure_core::{
    Acquire, Answer, Caller, Command, Granted, KeyName, Lease, LeaseRecord, LockName, Queued,
    Release, RequestId, RequestName, Target,
};
use tenure_log::{Log, Options, Reply};

pub(crate) const TTL: Duration = Duration::from_secs(30);

/// A log in a directory.
pub(crate) async fn open(dir: &std::path::Path) -> Log {
    Log::open(Options::disk(dir)).await.unwrap()
}

/// A request whose lease is made of `dice`.
pub(crate) fn acquire(name: &str, dice: u32) -> Acquire {
    Acquire { lease: LeaseRecord::Plain(lease(dice)), ..Acquire::exclusive(name, TTL) }
}

/// The same, and it waits.
pub(crate) fn waiting(name: &str, dice: u32) -> Acquire {
    let request = RequestName::Client(RequestId::new(format!("request-{dice}")).unwrap());
    Acquire { wait: TTL, request, ..acquire(name, dice) }
}

pub(crate) fn lease(dice: u32) -> Lease {
    let mut bytes = [0; 32];
    for (byte, digit) in bytes.iter_mut().zip(format!("{dice:032b}").bytes()) {
        *byte = digit - b'0';
    }
    Lease::from_random(bytes)
}

pub(crate) fn release(dice: u32) -> Command {
    Command::Release(Box::new(Release {
        caller: Caller::new(KeyName::new("local").unwrap()),
        name: None,
        target: Target::Lease(lease(dice).hash()),
        names: Vec::new(),
        request: None,
    }))
}

pub(crate) async fn ask(log: &Log, acquire: Acquire) -> Reply {
    log.submit(Command::Acquire(Box::new(acquire))).await.unwrap()
}

pub(crate) fn granted(reply: Reply) -> Granted {
    match reply.answer {
        Answer::Granted(granted) => *granted,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn queued(reply: &Reply) -> &Queued {
    match &reply.answer {
        Answer::Queued(queued) => queued,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn name(name: &str) -> LockName {
    LockName::new(name).unwrap()
}
