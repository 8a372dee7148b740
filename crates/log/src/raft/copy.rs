//! A second machine for a snapshot, so that the first one need not stand still: the newest snapshot, and the log behind it
//! carried out once more. Equal batches make equal machines.

use std::io;

use openraft::EntryPayload;
use tenure_core::{Machine, Revision, Time};

use super::machine::restore;
use super::store::Store;
use crate::snapshot::Snapshots;
use crate::wal::record::EntryId;

/// Records of a machine whose bytes are made while it stands still: some ten milliseconds. A larger one is copied.
pub(crate) const STILL_RECORDS_MAX: usize = 50_000;

/// What a machine is stored in, and can be made from again.
pub(crate) struct Files {
    pub(crate) snapshots: Snapshots,
    pub(crate) log: Store,
    /// A machine with more records is copied for a snapshot.
    pub(crate) still_records_max: usize,
}

/// Tells machines apart that should be the same, at no cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark(Time, Revision, u64, usize);

impl Mark {
    pub(super) fn of(machine: &Machine) -> Self {
        Mark(machine.now(), machine.revision(), machine.epoch(), machine.records())
    }
}

impl Files {
    /// The machine as of an entry, which had this mark. An error if the files do not lead there, or once `stop` says so.
    pub(super) fn copy(
        &self,
        last: Option<EntryId>,
        mark: Mark,
        stop: impl Fn() -> bool,
    ) -> io::Result<Machine> {
        let (mut machine, next) = self.base()?;
        self.log.walk(next..after(last), |entry| {
            if let EntryPayload::Normal(proposal) = entry.payload {
                machine.apply(&proposal.batch);
            }
            if stop() { Err(io::Error::other("the node stops")) } else { Ok(()) }
        })?;
        if Mark::of(&machine) != mark {
            return Err(io::Error::other("the log does not lead to the machine as it is"));
        }
        Ok(machine)
    }

    fn base(&self) -> io::Result<(Machine, u64)> {
        let Some(newest) = self.snapshots.newest()? else { return Ok((Machine::new(), 0)) };
        let state = restore(&newest).map_err(io::Error::other)?;
        Ok((state.machine, after(newest.meta.last)))
    }
}

fn after(last: Option<EntryId>) -> u64 {
    last.map_or(0, |last| last.index + 1)
}
