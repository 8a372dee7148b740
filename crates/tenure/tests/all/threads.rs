//! What the compiler promises to those who use threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tenure::{
    Changes, Election, Grant, GrantHandle, Leaders, Leadership, Request, Session, Tenure,
};

fn is_send_and_sync<T: Send + Sync>() {}

#[test]
fn everything_may_go_to_any_thread() {
    is_send_and_sync::<Tenure>();
    is_send_and_sync::<Request<'static>>();
    is_send_and_sync::<Grant>();
    is_send_and_sync::<GrantHandle>();
    is_send_and_sync::<Session>();
    is_send_and_sync::<Election>();
    is_send_and_sync::<Leadership>();
    is_send_and_sync::<Changes>();
    is_send_and_sync::<tenure::ChangeStream>();
    is_send_and_sync::<Leaders>();
    is_send_and_sync::<tenure::Error>();
    is_send_and_sync::<tenure::UpgradeError>();
}

#[test]
fn threads_exclude_each_other_without_an_executor() {
    let tenure = tenure::blocking::Tenure::connect("memory:").unwrap();
    let inside = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..8 {
                    let ran = tenure.lock("a").run(|grant| {
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        grant.check().unwrap();
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        grant.token()
                    });
                    ran.unwrap();
                }
            });
        }
    });
    assert_eq!(tenure.why("a").unwrap().history.len(), 32);
    tenure.close().unwrap();
}

#[test]
fn threads_see_what_happens_and_who_leads() {
    let tenure = tenure::blocking::Tenure::connect("memory:").unwrap();
    let mut changes = tenure.changes("lead", None).unwrap();
    let election = tenure.election("lead");
    let mut leaders = election.leaders();
    assert_eq!(leaders.next().unwrap().unwrap(), None);
    let lead = election.campaign("me").unwrap();
    assert_eq!(leaders.next().unwrap().unwrap().unwrap().value.as_str(), "me");
    assert!(matches!(changes.next(), Some(Ok(tenure::Event::Change { .. }))));
    let attempt = tenure.lock("lead").try_acquire().unwrap();
    assert!(matches!(attempt, tenure::blocking::Attempt::Held(_)));
    let breaking = tenure.as_async().admin();
    let broken = breaking.break_grant("lead", tenure::Whose::Anyone, "a test");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(broken).unwrap();
    assert_eq!(lead.wait_until_lost().token, lead.token());
    assert!(lead.check().is_err());
    let ran = tenure.once("job", Duration::from_secs(60), || 7).unwrap();
    assert!(matches!(ran, tenure::Turn::Ran(7)));
}
