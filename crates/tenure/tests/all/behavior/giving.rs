//! Giving locks back, on, or another mode.

use std::time::Duration;

use tenure::api::ActionName;
use tenure::{Attempt, GrantHandle, LossReason, ReleaseError, UpgradeError, Whose};

use crate::world::{World, soon, until, watch};

pub(crate) async fn a_dropped_grant_is_released(world: World) {
    let grant = world.tenure.lock("a").acquire().await.unwrap();
    drop(grant);
    soon(world.another().await.lock("a").acquire()).await.unwrap().release().await.unwrap();
    drop(world.tenure.lock("b").ttl(Duration::from_secs(3600)).acquire().await.unwrap());
    soon(world.another().await.lock("b").acquire()).await.unwrap().release().await.unwrap();
}

pub(crate) async fn a_thousand_dropped_grants_are_released(world: World) {
    let names: Vec<String> = (0..1000).map(|n| format!("many/{n}")).collect();
    let asked = names.iter().map(|name| world.tenure.lock(name).acquire());
    let grants = soon(futures::future::try_join_all(asked)).await.unwrap();
    drop(grants);
    let other = world.another().await;
    // All at once: each of them must be free.
    for hundred in names.chunks(250) {
        let all = other.locks(hundred.iter().map(String::as_str));
        soon(all.acquire()).await.unwrap().release().await.unwrap();
    }
}

pub(crate) async fn a_release_of_what_was_lost_says_so(world: World) {
    let grant = world.tenure.lock("a").acquire().await.unwrap();
    let (token, lost) = (grant.token(), grant.lost());
    world.tenure.admin().break_grant("a", Whose::Token(token), "host died").await.unwrap();
    soon(lost).await;
    let Err(ReleaseError::Lost(loss)) = grant.release().await else { panic!("it was lost") };
    assert!(matches!(loss.reason, LossReason::Broken { .. }), "{loss}");
    assert_eq!(loss.token, token);
}

pub(crate) async fn a_grant_is_handed_over_without_being_free(world: World) {
    let mut changes = watch(&world.tenure, "a").await;
    let other = world.another().await;
    let grant = world.tenure.lock("a").acquire().await.unwrap();
    let token = grant.token();
    let waiting = tokio::spawn({
        let other = other.clone();
        async move { other.lock("a").acquire().await.unwrap().token() }
    });
    until(&mut changes, ActionName::Queued).await;
    let handle = grant.into_handle(Duration::from_secs(60)).await.unwrap();
    let text = serde_json::to_string(&handle).unwrap();
    assert!(!format!("{handle:?}").contains("lease"), "a handle is a secret");
    let handle: GrantHandle = serde_json::from_str(&text).unwrap();
    let resumed = other.resume(handle.clone()).await.unwrap();
    assert!(resumed.token() > token, "the old process must lose");
    assert!(!waiting.is_finished());
    let twice = other.resume(handle).await.unwrap_err();
    assert!(matches!(twice, tenure::GrantError::Lost(_)), "{twice:?}");
    let last = resumed.token();
    resumed.release().await.unwrap();
    assert!(soon(waiting).await.unwrap() > last);
}

pub(crate) async fn a_shared_grant_is_upgraded_and_downgraded(world: World) {
    let other = world.another().await;
    let mine = world.tenure.lock("a").shared().acquire().await.unwrap();
    let theirs = other.lock("a").shared().acquire().await.unwrap();
    let refused = mine.upgrade(Duration::from_millis(50)).await.unwrap_err();
    let UpgradeError::TimedOut { grant: mine, .. } = refused else { panic!("{refused:?}") };
    let old = mine.token();
    theirs.release().await.unwrap();
    let mine = mine.upgrade(Duration::from_secs(10)).await.unwrap();
    assert!(mine.token() > old);
    assert!(matches!(other.lock("a").shared().try_acquire().await.unwrap(), Attempt::Held(_)));
    let token = mine.token();
    let mine = mine.downgrade().await.unwrap();
    assert_eq!(mine.token(), token);
    let shared = other.lock("a").shared().try_acquire().await.unwrap().granted().unwrap();
    shared.release().await.unwrap();
    mine.release().await.unwrap();
}

pub(crate) async fn two_upgraders_are_a_deadlock_and_keep_what_they_have(world: World) {
    let other = world.another().await;
    let mine = world.tenure.lock("a").shared().acquire().await.unwrap();
    let theirs = other.lock("a").shared().acquire().await.unwrap();
    let mut changes = watch(&world.tenure, "a").await;
    let upgrading = tokio::spawn(mine.upgrade(Duration::from_secs(60)));
    until(&mut changes, ActionName::Queued).await;
    let refused = soon(theirs.upgrade(Duration::from_secs(60))).await.unwrap_err();
    let UpgradeError::Deadlock { grant: theirs, cycle } = refused else { panic!("{refused:?}") };
    assert!(!cycle.members.is_empty());
    theirs.release().await.unwrap();
    soon(upgrading).await.unwrap().unwrap().release().await.unwrap();
}

pub(crate) async fn work_runs_under_the_lock_and_releases_it(world: World) {
    let tenure = world.tenure.clone();
    let work = tokio::spawn(async move {
        let done = tenure.lock("a").run(async |grant| {
            assert!(matches!(tenure.lock("a").try_acquire().await.unwrap(), Attempt::Held(_)));
            grant.token()
        });
        done.await.unwrap()
    });
    let token = soon(work).await.unwrap();
    let next = world.tenure.lock("a").try_acquire().await.unwrap().granted().unwrap();
    assert!(next.token() > token);
}
