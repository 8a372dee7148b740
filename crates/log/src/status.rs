//! Whether a node serves, and if not, why.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tenure_core::Command;
use tokio::sync::watch;

use crate::error::Reason;
use crate::meters::Meters;

/// Whether answers wait for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// They do.
    Disk,
    /// They do not.
    Memory,
}

impl Durability {
    /// `disk` or `memory`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Durability::Disk => "disk",
            Durability::Memory => "memory",
        }
    }
}

/// How a node is.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Whether it serves.
    pub ready: bool,
    /// If not: why. A full disk leaves it serving releases and renewals only.
    pub reason: Option<Reason>,
    /// Whether answers wait for a disk.
    pub durability: Durability,
    /// Its number in the cluster.
    pub node: u64,
    /// The term of office.
    pub term: u64,
    /// Bytes of log since the last snapshot.
    pub log_bytes: u64,
    /// Bytes free on the log's disk; `None` in memory or if the disk does not tell.
    pub disk_free_bytes: Option<u64>,
    /// How long the last sync took.
    pub last_sync: Option<Duration>,
}

/// What is wrong at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Troubles {
    /// The log is being read, or no leader has begun.
    pub(crate) starting: bool,
    /// A write or sync failed or takes too long.
    pub(crate) stalled: bool,
    /// There is no room for the next segment.
    pub(crate) full: bool,
    /// The node was told to stop.
    pub(crate) stopping: bool,
}

impl Troubles {
    /// The trouble a caller hears of first.
    pub(crate) fn reason(self) -> Option<Reason> {
        let order = [
            (self.stopping, Reason::Stopping),
            // A start or a stall for want of room is a full disk; that is what helps to know.
            (self.full, Reason::StorageFull),
            (self.starting, Reason::Starting),
            (self.stalled, Reason::NoQuorum),
        ];
        order.into_iter().find(|(is, _)| *is).map(|(_, reason)| reason)
    }

    /// Why the machine cannot be read: it is not complete, or not the latest.
    pub(crate) fn hides(self) -> Option<Reason> {
        (self.starting || self.stopping).then(|| self.reason()).flatten()
    }

    /// Why a command is not even queued.
    pub(crate) fn refuses(self, command: &Command) -> Option<Reason> {
        let serves_some = self.full && !self.stalled && !self.stopping && !self.starting;
        if serves_some && !grows(command) { None } else { self.reason() }
    }
}

/// Whether a command makes the state larger. A full disk refuses these; what makes it smaller, or keeps what is held
/// alive, goes on in the room that is left.
fn grows(command: &Command) -> bool {
    match command {
        Command::Acquire(_) | Command::OpenSession(_) | Command::PutKey(_) => true,
        Command::Tick
        | Command::Resume
        | Command::RaiseEpoch { .. }
        | Command::Renew(_)
        | Command::Release(_)
        | Command::Cancel(_)
        | Command::Detach(_)
        | Command::Convert(_)
        | Command::HandOver(_)
        | Command::Recall(_)
        | Command::Break(_)
        | Command::Resize(_)
        | Command::KeepAlive { .. }
        | Command::EndSession(_)
        | Command::RemoveKey { .. } => false,
    }
}

/// The health of a node, told to whoever watches.
pub(crate) struct Health {
    troubles: Mutex<Troubles>,
    status: watch::Sender<Status>,
    meters: Arc<Meters>,
}

impl Health {
    /// A node that starts.
    pub(crate) fn new(durability: Durability, node: u64, meters: Arc<Meters>) -> Self {
        let status = Status {
            ready: false,
            reason: Some(Reason::Starting),
            durability,
            node,
            term: 0,
            log_bytes: 0,
            disk_free_bytes: None,
            last_sync: None,
        };
        let troubles = Troubles { starting: true, ..Troubles::default() };
        Health { troubles: Mutex::new(troubles), status: watch::Sender::new(status), meters }
    }

    /// What is wrong.
    pub(crate) fn troubles(&self) -> Troubles {
        *self.troubles.lock()
    }

    /// Something got worse or better.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Troubles)) {
        let mut troubles = self.troubles.lock();
        let before = *troubles;
        change(&mut troubles);
        if *troubles == before {
            return;
        }
        let reason = troubles.reason();
        // Under the lock, so that the last change is also the last one told.
        self.status.send_if_modified(|status| {
            let changed = status.reason != reason;
            (status.ready, status.reason) = (reason.is_none(), reason);
            changed
        });
        if before.reason() != reason {
            let (ready, reason) = (reason.is_none(), reason.map(Reason::as_str));
            tracing::info!(event = "log_status", ready, reason);
        }
    }

    /// A leader began its term.
    pub(crate) fn set_term(&self, term: u64) {
        let is_new = |status: &mut Status| std::mem::replace(&mut status.term, term) != term;
        if self.status.send_if_modified(is_new) {
            self.meters.elected();
        }
    }

    /// How much room the disk has.
    pub(crate) fn set_disk_free(&self, bytes: Option<u64>) {
        self.status.send_if_modified(|status| {
            status.disk_free_bytes = bytes;
            false
        });
    }

    /// How the node is.
    pub(crate) fn status(&self) -> Status {
        let status = self.status.borrow().clone();
        Status { log_bytes: self.meters.log_bytes(), last_sync: self.meters.last_sync(), ..status }
    }

    /// Told on every change.
    pub(crate) fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use tenure_core::Acquire;

    use super::*;

    fn acquire() -> Command {
        Command::Acquire(Box::new(Acquire::exclusive("a", Duration::from_secs(30))))
    }

    #[test]
    fn a_full_disk_refuses_only_what_grows() {
        let full = Troubles { full: true, ..Troubles::default() };
        assert_eq!(full.refuses(&acquire()), Some(Reason::StorageFull));
        assert_eq!(full.refuses(&Command::Tick), None);
    }

    #[test]
    fn a_stalled_disk_refuses_everything() {
        let stalled = Troubles { stalled: true, ..Troubles::default() };
        assert_eq!(stalled.refuses(&Command::Tick), Some(Reason::NoQuorum));
        let both = Troubles { stalled: true, full: true, ..Troubles::default() };
        assert_eq!(both.refuses(&Command::Tick), Some(Reason::StorageFull));
    }

    #[test]
    fn a_full_disk_at_the_start_is_named_and_nothing_is_read() {
        let troubles = Troubles { starting: true, full: true, ..Troubles::default() };
        assert_eq!(troubles.hides(), Some(Reason::StorageFull));
        assert_eq!(troubles.refuses(&Command::Tick), Some(Reason::StorageFull));
        assert_eq!(Troubles { starting: false, ..troubles }.hides(), None);
    }

    #[test]
    fn a_change_of_readiness_is_told_once() {
        let health = Health::new(Durability::Memory, 1, Arc::new(Meters::new()));
        let mut watch = health.watch();
        health.change(|troubles| troubles.starting = false);
        assert!(watch.has_changed().unwrap());
        assert!(watch.borrow_and_update().ready);
        health.change(|troubles| troubles.starting = false);
        assert!(!watch.has_changed().unwrap());
    }
}
