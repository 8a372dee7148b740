//! The consensus library's own suite, run on this storage.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openraft::StorageError;
use openraft::testing::{StoreBuilder, Suite};

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

impl Builder {
    fn parts(&self) -> (Store, Applier) {
        let meters = Arc::new(Meters::new());
        let health = Arc::new(Health::new(self.durability, 1, meters.clone()));
        let alarm = Arc::new(Alarm::new(health, Arc::new(Desk::default()), meters.clone()));
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

#[test]
fn the_storage_in_memory_passes_the_suite() {
    Suite::test_all(Builder { durability: Durability::Memory }).unwrap();
}
