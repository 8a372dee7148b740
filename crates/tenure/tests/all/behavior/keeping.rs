//! Keeping locks, and knowing when they are lost.

use std::sync::Arc;
use std::time::Duration;

use tenure::api::ActionName;
use tenure::{AcquireError, Error, LossReason, SessionEnd, State, Tenure, Whose};

use crate::world::{KEY, World, soon, until, watch};

pub(crate) async fn a_broken_grant_is_lost_at_once(world: World) {
    let grant = world.tenure.lock("a").acquire().await.unwrap();
    assert!(matches!(grant.state(), State::Held { .. }));
    let lost = grant.lost();
    let broken = world.another().await;
    let broken = broken.admin().break_grant("a", Whose::Token(grant.token()), "host died").await;
    assert_eq!(broken.unwrap().broken, 1);
    // Keep-alives come every 5 s: this is faster.
    let loss = tokio::time::timeout(Duration::from_secs(3), lost).await.expect("at once");
    let LossReason::Broken(force) = &loss.reason else { panic!("{loss}") };
    assert_eq!((force.by.is_some(), force.why.as_deref()), (true, Some("host died")));
    assert_eq!(grant.state(), State::Lost(loss));
}

pub(crate) async fn who_ended_a_session_and_why_is_told_by_what_it_held(world: World) {
    let session = world.tenure.session(Duration::from_secs(30)).await.unwrap();
    let grant = world.tenure.lock("a").in_session(&session).acquire().await.unwrap();
    let other = world.another().await;
    other.admin().end_session(session.id(), "host died").await.unwrap();
    let LossReason::Broken(force) = soon(grant.lost()).await.reason else { panic!("was ended") };
    assert_eq!((force.by.is_some(), force.why.as_deref()), (true, Some("host died")));
    let SessionEnd::Broken(same) = soon(session.ended()).await else { panic!("was ended") };
    assert_eq!(same, force);
    let late = session.keep_alive().await.unwrap_err();
    assert_eq!(late, Error::SessionEnded(SessionEnd::Broken(force)));
}

pub(crate) async fn protected_work_is_dropped_when_the_grant_is_lost(world: World) {
    let grant = world.tenure.lock("a").acquire().await.unwrap();
    let alive = Arc::new(());
    let work = {
        let alive = alive.clone();
        async move {
            std::future::pending::<()>().await;
            drop(alive);
        }
    };
    let breaking = async {
        world.tenure.admin().break_grant("a", Whose::Anyone, "a test").await.unwrap();
    };
    let (stopped, ()) = soon(async { tokio::join!(grant.protect(work), breaking) }).await;
    assert_eq!(stopped.unwrap_err().token, grant.token());
    assert_eq!(Arc::strong_count(&alive), 1, "the work was dropped");
    let after = grant.protect(async { "more" }).await;
    assert!(after.is_err(), "nothing runs under a lost grant");
}

pub(crate) async fn a_recall_reaches_the_holder(world: World) {
    let grant = world.tenure.lock("a").acquire().await.unwrap();
    let recalled = grant.recalled();
    let other = world.another().await;
    let within = Duration::from_secs(60);
    let asked = other.admin().recall("a", within, "deploy first, please", None).await.unwrap();
    assert_eq!(asked, 1);
    let recall = tokio::time::timeout(Duration::from_secs(3), recalled).await.expect("at once");
    assert_eq!(recall.reason, "deploy first, please");
    assert!(recall.by.is_some());
    assert!(recall.within <= within && recall.within > within / 2, "{:?}", recall.within);
    assert!(matches!(grant.state(), State::Held { .. }), "nothing is taken");
}

pub(crate) async fn a_grant_with_a_time_of_its_own_is_renewed(world: World) {
    let ttl = Duration::from_millis(600);
    let grant = world.tenure.lock("a").ttl(ttl).acquire().await.unwrap();
    assert_eq!(grant.session(), None);
    for _ in 0..4 {
        let state = soon(grant.renewed()).await;
        assert!(matches!(state, State::Held { .. }), "{state:?}");
    }
    grant.release().await.unwrap();
}

pub(crate) async fn a_grant_with_a_time_of_its_own_learns_of_its_loss(world: World) {
    let ttl = Duration::from_millis(600);
    let grant = world.tenure.lock("a").ttl(ttl).acquire().await.unwrap();
    world.tenure.admin().break_grant("a", Whose::Anyone, "a test").await.unwrap();
    let loss = soon(grant.lost()).await;
    assert!(matches!(loss.reason, LossReason::Broken { .. }), "{loss}");
}

pub(crate) async fn what_hangs_on_a_session_ends_with_it(world: World) {
    let mut changes = watch(&world.tenure, "a").await;
    let session = world.tenure.session(Duration::from_secs(30)).await.unwrap();
    assert!(session.for_sure() > Duration::from_secs(20));
    session.keep_alive().await.unwrap();
    let grant = world.tenure.lock("a").in_session(&session).acquire().await.unwrap();
    let own = world.tenure.lock("b").acquire().await.unwrap();
    assert_ne!(grant.session(), own.session());
    session.clone().close().await.unwrap();
    let late = world.tenure.lock("c").in_session(&session).try_acquire().await.unwrap_err();
    assert!(matches!(late, Error::SessionEnded(_)), "{late:?}");
    until(&mut changes, ActionName::Released).await;
    assert_eq!(soon(grant.lost()).await.reason, LossReason::SessionEnded);
    assert!(matches!(own.state(), State::Held { .. }));
}

pub(crate) async fn a_waiter_is_told_that_its_place_was_lost_with_its_session(world: World) {
    let other = world.another().await;
    let _held = other.lock("a").acquire().await.unwrap();
    let mut changes = watch(&other, "a").await;
    let tenure = world.tenure.clone();
    let waiting = tokio::spawn(async move { tenure.lock("a").acquire().await });
    until(&mut changes, ActionName::Queued).await;
    // Within the first answer that is held back: nothing was told of the place yet.
    let session = world.tenure.lock("look").acquire().await.unwrap().session().unwrap().id;
    other.admin().end_session(session, "host died").await.unwrap();
    let refused = soon(waiting).await.unwrap().unwrap_err();
    let AcquireError::Other(Error::SessionEnded(SessionEnd::Broken(force))) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(force.why.as_deref(), Some("host died"));
}

pub(crate) async fn a_blocked_executor_keeps_its_locks(world: World) {
    let ttl = Duration::from_millis(500);
    let connect = match &world.server {
        Some(server) => Tenure::at(&server.url()).api_key(KEY),
        None => Tenure::at("memory:"),
    };
    let tenure = connect.session_ttl(ttl).connect().await.unwrap();
    let grant = tenure.lock("a").acquire().await.unwrap();
    // The test's only thread does nothing else for three lifetimes of the session.
    std::thread::sleep(ttl * 3);
    assert!(!matches!(grant.state(), State::Lost(_)), "{:?}", grant.state());
    grant.release().await.unwrap();
}
