//! What a restart finds.

use std::os::unix::fs::FileExt;

use tenure_core::{Answer, Command};
use tenure_log::{Log, OpenError, Options, Reason, SubmitError};

use crate::commands::{acquire, ask, granted, lease, name, open, release};

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    for dice in 0..50 {
        granted(ask(&log, acquire(&format!("lock-{dice}"), dice)).await);
    }
    for dice in 0..25 {
        let reply = log.submit(release(dice)).await.unwrap();
        assert!(matches!(reply.answer, Answer::Released(_)), "{reply:?}");
    }
    log.stop().await;
    drop(log);
    let log = open(dir.path()).await;
    let held = log.read(|machine| machine.grants()).await.unwrap();
    assert_eq!(held.len(), 25);
    assert!(held.iter().all(|grant| grant.lease.is_some()));
    assert!(held.iter().any(|grant| grant.lease == Some(lease(30))));
    let next = granted(ask(&log, acquire("another", 99)).await);
    assert!(next.token().get() > 50, "tokens go on");
}

#[tokio::test]
async fn a_machine_is_the_same_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    for dice in 0..20 {
        granted(ask(&log, acquire(&format!("lock-{dice}"), dice)).await);
    }
    let before = log.read(told).await.unwrap();
    log.stop().await;
    drop(log);
    let log = open(dir.path()).await;
    assert_eq!(log.read(told).await.unwrap(), before);
    // Replayed from the log, and restored from its own snapshot: the same bytes.
    let bytes = log.read(|machine| machine.snapshot()).await.unwrap();
    let restored = tenure_core::Machine::restore(&bytes).unwrap();
    assert_eq!(restored.snapshot(), bytes);
    assert_eq!(told(&restored), before);
}

// What of a machine does not depend on the time.
fn told(machine: &tenure_core::Machine) -> Vec<String> {
    let grants = machine.grants().into_iter();
    let lines = grants.map(|grant| {
        let lease = grant.lease.map(|lease| lease.as_str().to_owned());
        format!("{} {} {} {lease:?}", grant.name, grant.token, grant.key)
    });
    lines.chain([format!("{:?} {}", machine.revision(), machine.epoch())]).collect()
}

#[tokio::test]
async fn snapshots_keep_the_log_short_and_a_damaged_one_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options { snapshot_log_bytes: 16 * 1024, ..Options::disk(dir.path()) };
    let log = Log::open(options()).await.unwrap();
    let mut snapshots = Vec::new();
    let mut dice = 0;
    // Until there are two of them, and then some more.
    while snapshots.len() < 2 || dice % 100 != 0 {
        granted(ask(&log, acquire(&format!("lock-{dice}"), dice)).await);
        dice += 1;
        snapshots = snapshot_files(dir.path());
    }
    log.stop().await;
    drop(log);
    let newest = snapshot_files(dir.path()).pop().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    let log = Log::open(options()).await.unwrap();
    let held = log.read(|machine| machine.grants().len()).await.unwrap();
    assert_eq!(held, dice as usize);
    // The log from the older one on is too long: a new one is taken at once, and a stop does not wait for it.
    while log.status().log_bytes >= 16 * 1024 {
        tokio::task::yield_now().await;
    }
    log.stop().await;
    drop(log);
    for file in snapshot_files(dir.path()) {
        std::fs::write(file, b"nothing of the kind").unwrap();
    }
    let opened = Log::open(options()).await;
    assert!(matches!(opened, Err(OpenError::Damaged { .. })), "{opened:?}");
}

#[tokio::test]
async fn a_log_that_ends_before_its_snapshots_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options { snapshot_log_bytes: 16 * 1024, ..Options::disk(dir.path()) };
    let log = Log::open(options()).await.unwrap();
    let mut dice = 0;
    while snapshot_files(dir.path()).len() < 2 {
        granted(ask(&log, acquire(&format!("lock-{dice}"), dice)).await);
        dice += 1;
    }
    log.stop().await;
    drop(log);
    // The disk lost all frames: the log looks as if it had just been begun.
    let segment = std::fs::OpenOptions::new().write(true).open(first_segment(dir.path())).unwrap();
    segment.write_all_at(&vec![0; 1 << 20], 4096).unwrap();
    drop(segment);
    let snapshots = snapshot_files(dir.path());
    refused_for(dir.path(), &snapshots[1]).await;
    // Also when what is left of the newest one cannot be read.
    std::fs::write(&snapshots[1], b"nothing of the kind").unwrap();
    refused_for(dir.path(), &snapshots[1]).await;
}

#[tokio::test]
async fn a_log_whose_only_segment_is_gone_or_short_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    granted(ask(&log, acquire("a", 1)).await);
    log.stop().await;
    drop(log);
    let segment = first_segment(dir.path());
    let whole = std::fs::read(&segment).unwrap();
    for bytes in [0, 5000, whole.len() - 1] {
        std::fs::write(&segment, &whole[..bytes]).unwrap();
        refused_for(dir.path(), &segment).await;
    }
    std::fs::remove_file(&segment).unwrap();
    refused_for(dir.path(), &segment).await;
    std::fs::write(&segment, &whole).unwrap();
    let log = open(dir.path()).await;
    assert_eq!(log.read(|machine| machine.grants().len()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_log_without_its_identity_is_refused_and_not_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).await.stop().await;
    let identity = dir.path().join("log.id");
    std::fs::remove_file(&identity).unwrap();
    refused_for(dir.path(), &identity).await;
    assert!(!identity.exists());
}

async fn refused_for(dir: &std::path::Path, file: &std::path::Path) {
    match Log::open(Options::disk(dir)).await {
        Err(OpenError::Damaged { file: named, .. }) => assert_eq!(named, file),
        other => panic!("{other:?}"),
    }
}

fn first_segment(dir: &std::path::Path) -> std::path::PathBuf {
    dir.join("log-0000000000000001.seg")
}

fn snapshot_files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut snapshots: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "snap")).collect();
    snapshots.sort();
    snapshots
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    let second = Log::open(Options::disk(dir.path())).await;
    assert!(matches!(second, Err(OpenError::InUse { .. })), "{second:?}");
    log.stop().await;
    drop(log);
    open(dir.path()).await;
}

#[tokio::test]
async fn a_foreign_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("log.id"), b"my notes").unwrap();
    let opened = Log::open(Options::disk(dir.path())).await;
    assert!(matches!(opened, Err(OpenError::Foreign { .. })), "{opened:?}");
}

#[tokio::test]
async fn a_stopped_log_refuses_what_did_not_happen() {
    let log = Log::open(Options::memory()).await.unwrap();
    granted(ask(&log, acquire("a", 1)).await);
    log.stop().await;
    let refused = log.submit(Command::Tick).await.unwrap_err();
    assert_eq!(refused, SubmitError::Unavailable(Reason::Stopping));
    let unread = log.read(|machine| machine.stats()).await.unwrap_err();
    assert_eq!(unread, SubmitError::Unavailable(Reason::Stopping));
    log.stop().await;
}

#[tokio::test]
async fn commands_of_one_call_take_effect_together() {
    let log = Log::open(Options::memory()).await.unwrap();
    let both = vec![
        Command::Acquire(Box::new(acquire("a", 1))),
        release(1),
        Command::Acquire(Box::new(acquire("a", 2))),
    ];
    let replies = log.submit_all(both).await.unwrap();
    let answers: Vec<_> = replies.into_iter().map(|reply| reply.answer).collect();
    assert!(matches!(
        answers.as_slice(),
        [Answer::Granted(_), Answer::Released(_), Answer::Granted(_)]
    ));
    let view = log.read(|machine| machine.lock(&name("a"))).await.unwrap();
    assert_eq!(view.latest_token.map(|token| token.get()), Some(2));
}

#[tokio::test]
async fn a_log_in_memory_is_ready_and_says_what_it_is() {
    let log = Log::open(Options::memory()).await.unwrap();
    let status = log.status();
    assert!(status.ready && status.reason.is_none(), "{status:?}");
    assert_eq!((status.durability.as_str(), status.node), ("memory", 1));
    assert!(log.meters().batch_commands().count == 0);
    granted(ask(&log, acquire("a", 1)).await);
    assert_eq!(log.meters().batch_commands().count, 1);
}

#[tokio::test]
async fn a_stopped_log_gives_its_directory_up_although_it_is_still_held() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    granted(ask(&log, acquire("a", 1)).await);
    log.stop().await;
    let again = open(dir.path()).await;
    assert_eq!(again.read(|machine| machine.grants().len()).await.unwrap(), 1);
    drop(log);
}

#[tokio::test]
async fn a_log_that_is_dropped_without_a_stop_can_be_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    for dice in 0..5 {
        let log = open(dir.path()).await;
        granted(ask(&log, acquire(&format!("lock-{dice}"), dice)).await);
        drop(log);
    }
    let log = open(dir.path()).await;
    assert_eq!(log.read(|machine| machine.grants().len()).await.unwrap(), 5);
}

#[tokio::test]
async fn time_goes_on_over_restarts_and_stands_still_in_between() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    granted(ask(&log, acquire("a", 1)).await);
    log.stop().await;
    let stopped_at = open(dir.path()).await.read(|machine| machine.now()).await.unwrap();
    let later = open(dir.path()).await;
    let now = later.read(|machine| machine.now()).await.unwrap();
    assert!(now >= stopped_at, "{now:?} is before {stopped_at:?}");
    let left = later.read(|machine| machine.grants()[0].expires_in).await.unwrap();
    assert!(left <= crate::commands::TTL);
}

#[tokio::test]
async fn a_clean_stop_notes_the_time_up_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    granted(ask(&log, acquire("a", 1)).await);
    let before = log.read(|machine| machine.now()).await.unwrap();
    // Shorter than ticks are apart.
    let lived = std::time::Duration::from_millis(300);
    tokio::time::sleep(lived).await;
    log.stop().await;
    let now = open(dir.path()).await.read(|machine| machine.now()).await.unwrap();
    assert!(now >= before + lived, "{before:?} and {lived:?} make {now:?}");
}

#[tokio::test]
async fn nothing_is_written_while_nothing_is_held() {
    let log = Log::open(Options::memory()).await.unwrap();
    granted(ask(&log, acquire("a", 1)).await);
    log.submit(release(1)).await.unwrap();
    let before = log.meters().batch_commands().count;
    // Twice as long as ticks are apart.
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    assert_eq!(log.meters().batch_commands().count, before);
    granted(ask(&log, acquire("a", 2)).await);
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    let ticks = log.meters().batch_commands().count - before - 1;
    assert!((1..=3).contains(&ticks), "{ticks} ticks in two seconds");
}
