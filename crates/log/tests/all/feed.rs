//! The feed of changes, through a running log.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tenure_core::{Action, Change};
use tenure_log::{Cursor, Event, Log, Options};

use crate::commands::{acquire, ask, granted, open, release};

async fn actions(log: &Log, after: Cursor, count: usize) -> Vec<Action> {
    let mut subscription = log.changes(Some(after));
    let mut actions = Vec::new();
    while actions.len() < count {
        match subscription.next().await {
            Event::Changes(changes) => {
                actions.extend(changes.into_iter().map(|(_, change)| match change {
                    Change::Lock(lock) => lock.action,
                    Change::SessionEnded { .. } => Action::SessionEnded,
                }));
            }
            other => panic!("{other:?}"),
        }
    }
    actions
}

#[tokio::test]
async fn changes_come_in_order_from_a_cursor_on() {
    let log = Log::open(Options::memory()).await.unwrap();
    granted(ask(&log, acquire("a", 1)).await);
    let cursor = log.cursor();
    log.submit(release(1)).await.unwrap();
    granted(ask(&log, acquire("a", 2)).await);
    assert_eq!(actions(&log, cursor, 2).await, [Action::Released, Action::Granted]);
    let all = actions(&log, Cursor::OLDEST, 3).await;
    assert_eq!(all, [Action::Granted, Action::Released, Action::Granted]);
}

#[tokio::test]
async fn a_subscriber_is_woken_and_told_of_the_end() {
    let log = Log::open(Options::memory()).await.unwrap();
    let mut subscription = log.changes(None);
    let woken = tokio::spawn(async move { (subscription.next().await, subscription) });
    granted(ask(&log, acquire("a", 1)).await);
    let (event, mut subscription) = woken.await.unwrap();
    assert!(matches!(event, Event::Changes(_)), "{event:?}");
    log.stop().await;
    assert_eq!(subscription.next().await, Event::Stopping);
}

#[tokio::test]
async fn a_cursor_of_before_a_restart_goes_on_without_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    granted(ask(&log, acquire("a", 1)).await);
    let cursor = log.cursor();
    log.submit(release(1)).await.unwrap();
    log.stop().await;
    drop(log);
    let log = open(dir.path()).await;
    assert_eq!(actions(&log, cursor, 1).await, [Action::Released]);
}

#[tokio::test]
async fn a_cursor_of_another_memory_is_a_gap() {
    let first = Log::open(Options::memory()).await.unwrap();
    granted(ask(&first, acquire("a", 1)).await);
    let second = Log::open(Options::memory()).await.unwrap();
    granted(ask(&second, acquire("a", 1)).await);
    let event = second.changes(Some(first.cursor())).next().await;
    assert_eq!(event, Event::Resync(second.cursor()));
}

#[tokio::test]
async fn an_observer_hears_what_is_new_and_nothing_that_is_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let heard = Arc::new(AtomicUsize::new(0));
    for round in 1..=2 {
        let count = heard.clone();
        let observer = move |changes: &[Change]| {
            count.fetch_add(changes.len(), Ordering::SeqCst);
        };
        let options = Options::disk(dir.path());
        let log =
            Log::open(Options { observer: Some(Arc::new(observer)), ..options }).await.unwrap();
        granted(ask(&log, acquire(&format!("lock-{round}"), round)).await);
        log.stop().await;
    }
    assert_eq!(heard.load(Ordering::SeqCst), 2);
}
