//! The consensus library's own suite, run on this storage.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::testing::{StoreBuilder, Suite};
use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId, StorageError, Vote};

use super::Types;
use super::copy::Files;
use super::machine::{Applier, Shared, State};
use super::store::Store;
use crate::alarm::Alarm;
use crate::desk::Desk;
use crate::disk::Disk;
use crate::disk::fault::FaultDisk;
use crate::feed::Feed;
use crate::meters::Meters;
use crate::snapshot::Snapshots;
use crate::status::{Durability, Health};
use crate::wal::Wal;
use crate::wal::identity::IdentityFile;
use crate::wal::segment::Identity;

struct Builder {
    durability: Durability,
}

fn alarm(durability: Durability) -> Arc<Alarm> {
    let meters = Arc::new(Meters::new());
    let health = Arc::new(Health::new(durability, 1, meters.clone()));
    Arc::new(Alarm::new(health, Arc::new(Desk::default()), meters))
}

impl Builder {
    fn parts(&self) -> (Store, Applier) {
        let alarm = alarm(self.durability);
        let meters = alarm.meters.clone();
        let (store, snapshots) = match self.durability {
            Durability::Memory => (Store::in_memory(meters), Snapshots::Memory(Default::default())),
            Durability::Disk => {
                let disk: Arc<dyn Disk> = Arc::new(FaultDisk::default());
                let identity = Identity { log: 5, node: 1 };
                let dir = Path::new("log");
                let identity_file = IdentityFile::create(&*disk, identity).unwrap();
                let opened = Wal::open(disk.clone(), dir, identity_file, 64 << 10, alarm.clone());
                (Store::on_disk(opened.unwrap().0, meters), Snapshots::Disk { disk, log: 5 })
            }
        };
        let feed = Feed::new(Duration::from_secs(60), 1_000, 0);
        let files = Files { snapshots, log: store.clone(), still_records_max: usize::MAX };
        let shared = Shared::new(State::default(), feed, alarm, None, files);
        (store, Applier(Arc::new(shared)))
    }
}

impl StoreBuilder<Types, Store, Applier, ()> for Builder {
    async fn build(&self) -> Result<((), Store, Applier), StorageError<u64>> {
        let (store, machine) = self.parts();
        Ok(((), store, machine))
    }
}

#[test]
fn the_storage_on_disk_passes_the_suite() {
    Suite::test_all(Builder { durability: Durability::Disk }).unwrap();
}

#[tokio::test]
async fn a_vote_is_kept_over_a_restart_and_a_disk_that_refuses_acknowledges_nothing() {
    let (disk, dir) = (FaultDisk::default(), Path::new("log"));
    IdentityFile::create(&disk, Identity { log: 5, node: 1 }).unwrap();
    let open = |alarm: &Arc<Alarm>| {
        let identity_file = IdentityFile::open(&disk, dir).unwrap();
        let opened = Wal::open(Arc::new(disk.clone()), dir, identity_file, 64 << 10, alarm.clone());
        Store::on_disk(opened.unwrap().0, alarm.meters.clone())
    };
    let vote = Vote::new_committed(3, 1);
    open(&alarm(Durability::Disk)).save_vote(&vote).await.unwrap();
    let alarm = alarm(Durability::Disk);
    let mut store = open(&alarm);
    assert_eq!(store.read_vote().await.unwrap(), Some(vote));
    disk.set(|faults| faults.sync_failures = 1);
    alarm.stop();
    let log_id = LogId::new(CommittedLeaderId::new(3, 1), 0);
    let entry = Entry { log_id, payload: EntryPayload::Blank };
    assert!(store.blocking_append([entry]).await.is_err());
}

#[test]
fn the_storage_in_memory_passes_the_suite() {
    Suite::test_all(Builder { durability: Durability::Memory }).unwrap();
}
