//! Snapshots of a node at work.

use tokio::time::timeout;

use super::tests::{PATIENCE, acquire, granted, is_held, release, start_with, submit};
use crate::disk::fault::FaultDisk;
use crate::options::Options;

/// More than enough for some snapshots.
const LOCKS_MAX: usize = 10_000;

#[tokio::test]
async fn a_copied_snapshot_is_the_machine_byte_for_byte() {
    let disk = FaultDisk::default();
    let node = start_with(&disk, Options { snapshot_log_bytes: 4096, ..Options::memory() }).await;
    let mut number = 0;
    while node.alarm.meters.snapshots() < 3 {
        number += 1;
        assert!(number < LOCKS_MAX, "snapshots are taken");
        granted(&node, &format!("lock-{number}")).await;
        if number % 3 == 0 {
            submit(&node, release(&format!("lock-{number}"))).await.unwrap();
        }
    }
    let files = node.shared.files().unwrap();
    // A tick may come between the two, but not every time.
    let (copied, still) = loop {
        let copied = node.shared.copied_snapshot(&files).unwrap();
        let still = node.shared.still_snapshot(&files);
        if copied.meta == still.meta {
            break (copied, still);
        }
    };
    assert_eq!(copied, still);
    assert!(node.alarm.meters.errors().contains(&("read", 0)), "no copy failed");
    node.stop().await;
    drop(node);
    let node = start_with(&disk, Options::memory()).await;
    assert!(is_held(&node, "lock-1") && !is_held(&node, "lock-3"));
    node.stop().await;
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_copied_is_taken_of_the_machine_itself() {
    let disk = FaultDisk::default();
    let node = start_with(&disk, Options { snapshot_log_bytes: 4096, ..Options::memory() }).await;
    let mut number = 0;
    let mut until = async |snapshots| {
        while node.alarm.meters.snapshots() < snapshots {
            number += 1;
            assert!(number < LOCKS_MAX, "snapshots are taken");
            granted(&node, &format!("lock-{number}")).await;
        }
    };
    until(2).await;
    let newest = disk.names().into_iter().filter(|name| name.ends_with(".snap")).max().unwrap();
    disk.edit(&newest, |bytes| bytes[100] ^= 1);
    until(4).await;
    assert!(node.alarm.meters.errors().iter().any(|(what, times)| *what == "read" && *times > 0));
    node.stop().await;
    drop(node);
    let node = start_with(&disk, Options::memory()).await;
    assert!(is_held(&node, "lock-1") && is_held(&node, &format!("lock-{number}")));
    node.stop().await;
}

#[tokio::test]
async fn a_log_that_is_too_long_at_the_start_is_condensed_from_the_machine_itself() {
    let disk = FaultDisk::default();
    let node = start_with(&disk, Options { snapshot_log_bytes: 4096, ..Options::memory() }).await;
    let mut number = 0;
    while node.alarm.meters.snapshots() < 1 {
        number += 1;
        assert!(number < LOCKS_MAX, "snapshots are taken");
        granted(&node, &format!("lock-{number}")).await;
    }
    node.stop().await;
    drop(node);
    let node = start_with(&disk, Options::memory()).await;
    for number in 0..50 {
        granted(&node, &format!("more-{number}")).await;
    }
    node.stop().await;
    drop(node);
    let node = start_with(&disk, Options { snapshot_log_bytes: 4096, ..Options::memory() }).await;
    // What a copy would be made from.
    let newest = disk.names().into_iter().filter(|name| name.ends_with(".snap")).max().unwrap();
    disk.edit(&newest, |bytes| bytes[100] ^= 1);
    let saved = async {
        while node.alarm.meters.snapshots() < 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, saved).await.expect("a snapshot is taken");
    assert!(node.alarm.meters.errors().contains(&("read", 0)), "nothing was copied");
    node.stop().await;
}

#[tokio::test]
async fn a_snapshot_follows_another_however_much_was_logged_meanwhile() {
    let disk = FaultDisk::default();
    let node = start_with(&disk, Options { snapshot_log_bytes: 1, ..Options::memory() }).await;
    for number in 0..LOCKS_MAX {
        drop(submit(&node, acquire(&format!("lock-{number}"))).await.unwrap());
        if node.alarm.meters.snapshots() >= 10 {
            break;
        }
    }
    assert!(node.alarm.meters.snapshots() >= 10, "{} were taken", node.alarm.meters.snapshots());
    node.stop().await;
}
