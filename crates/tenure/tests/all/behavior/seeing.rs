//! Seeing what goes on, and what is built on it.

use std::time::Duration;

use tenure::api::{AcquireRequest, ActionName, ChangeEvent, SessionsQuery};
use tenure::{Attempt, Error, Event, GrantError, LockName, LocksQuery, Seconds, Turn};

use crate::world::{World, soon, until, watch};

pub(crate) async fn a_new_note_is_seen_by_others(world: World) {
    let grant = world.tenure.lock("a").note("starting").acquire().await.unwrap();
    grant.set_note("half done").await.unwrap();
    let seen = world.another().await.why("a").await.unwrap();
    assert_eq!(seen.holders[0].holder.note.as_ref().unwrap().as_str(), "half done");
    assert_eq!(seen.holders[0].holder.token, grant.token());
    grant.release().await.unwrap();
    let seen = world.tenure.why("a").await.unwrap();
    assert!(seen.holders.is_empty());
    assert_eq!(seen.history.len(), 1);
}

pub(crate) async fn the_feed_goes_on_from_a_cursor(world: World) {
    let mut changes = watch(&world.tenure, "a").await;
    world.tenure.lock("a").acquire().await.unwrap().release().await.unwrap();
    let granted = until(&mut changes, ActionName::Granted).await;
    world.tenure.lock("b").acquire().await.unwrap().release().await.unwrap();
    world.tenure.lock("a").acquire().await.unwrap().release().await.unwrap();
    let again = world.another().await.changes().prefix("a").from(granted);
    let mut again = again.stream().await.unwrap();
    let mut actions = Vec::new();
    while actions.len() < 3 {
        let Event::Change { change, .. } = soon(again.next()).await.unwrap().unwrap() else {
            panic!("nothing is missing");
        };
        let ChangeEvent::Lock { name, action, .. } = change;
        assert_eq!(name.as_str(), "a");
        actions.push(action);
    }
    assert_eq!(actions, [ActionName::Released, ActionName::Granted, ActionName::Released]);
    let nonsense = world.tenure.changes().from("nonsense".parse().unwrap());
    let mut nonsense = nonsense.stream().await.unwrap();
    assert!(matches!(soon(nonsense.next()).await, Some(Err(Error::Refused(_)))));
    assert!(soon(nonsense.next()).await.is_none());
}

pub(crate) async fn a_page_of_locks_goes_on_where_it_ended(world: World) {
    let names = ["p/1", "p/2", "p/3", "q/1"];
    let _all = world.tenure.locks(names).acquire().await.unwrap();
    let mut query = LocksQuery { limit: Some(2), ..LocksQuery::default() };
    let mut seen = Vec::new();
    loop {
        let page = world.tenure.list("p/", query.clone()).await.unwrap();
        seen.extend(page.locks.into_iter().map(|lock| lock.name.as_str().to_owned()));
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, ["p/1", "p/2", "p/3"]);
    assert_eq!(world.tenure.admin().stats().await.unwrap().locks.held, 4);
}

pub(crate) async fn leaders_follow_each_other(world: World) {
    let other = world.another().await;
    let mut leaders = other.election("scheduler").leaders();
    assert_eq!(soon(leaders.next()).await.unwrap().unwrap(), None);
    let first = world.tenure.election("scheduler").campaign("http://one").await.unwrap();
    let seen = soon(leaders.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((seen.value.as_str(), seen.token), ("http://one", first.token()));
    let campaign = tokio::spawn({
        let election = other.election("scheduler");
        async move { election.campaign("http://two").await.unwrap() }
    });
    first.resign().await.unwrap();
    let second = soon(campaign).await.unwrap();
    loop {
        let seen = soon(leaders.next()).await.unwrap().unwrap();
        if let Some(leader) = seen.filter(|leader| leader.value.as_str() == "http://two") {
            assert_eq!(leader.token, second.token());
            break;
        }
    }
    let now = world.tenure.election("scheduler").leader().await.unwrap().unwrap();
    assert_eq!(now.value.as_str(), "http://two");
}

pub(crate) async fn a_turn_is_had_once(world: World) {
    let hour = Duration::from_secs(3600);
    let first = world.tenure.once("nightly", hour).note("ann").run(async |_| "done").await.unwrap();
    assert!(matches!(first, Turn::Ran("done")), "{first:?}");
    let other = world.another().await;
    let second = other.once("nightly", hour).run(async |_| "had it already").await.unwrap();
    let Turn::Skipped(held) = second else { panic!("{second:?}") };
    assert!(held.opens_in > Duration::from_secs(3000), "{:?}", held.opens_in);
    assert!(held.opens_in <= hour.mul_f64(0.9), "{:?}", held.opens_in);
}

pub(crate) async fn leases_by_hand_are_nobodys_but_the_callers(world: World) {
    let name = LockName::new("by-hand").unwrap();
    let request = AcquireRequest {
        name: Some(name.clone()),
        ttl: Some(Seconds::from_secs(60)),
        ..AcquireRequest::default()
    };
    let raw = world.tenure.raw();
    let grant = raw.acquire(request, Some(Duration::ZERO)).await.unwrap();
    let lease = grant.lease.unwrap();
    let longer = raw.renew(lease, Some(Duration::from_secs(120)), None).await.unwrap();
    assert!(longer.expires_in > Seconds::from_secs(100), "{longer:?}");
    assert!(raw.check(&name, grant.token.unwrap()).await.unwrap().current);
    let over = raw.hand_over(&name, lease, None).await.unwrap();
    assert!(over.token > grant.token);
    assert!(matches!(raw.release(lease).await, Err(GrantError::Lost(_))), "it was handed over");
    assert!(!raw.check(&name, grant.token.unwrap()).await.unwrap().current);
    assert!(raw.release(over.lease.unwrap()).await.unwrap().released);
    assert!(raw.release(over.lease.unwrap()).await.unwrap().released, "a retry is told the same");
    assert!(matches!(world.tenure.lock(&name).try_acquire().await.unwrap(), Attempt::Granted(_)));
}

pub(crate) async fn operators_see_and_end_sessions(world: World) {
    let session = world.tenure.session(Duration::from_secs(30)).await.unwrap();
    let grant = world.tenure.lock("a").in_session(&session).acquire().await.unwrap();
    let operator = world.another().await;
    let all = operator.admin().sessions(SessionsQuery::default()).await.unwrap();
    assert!(all.sessions.iter().any(|seen| seen.id == session.id()));
    let seen = operator.admin().session(session.id()).await.unwrap();
    assert_eq!(seen.grants[0].token, grant.token());
    let ended = operator.admin().end_session(session.id(), "its host is gone").await.unwrap();
    assert_eq!(ended.released, 1);
    soon(session.ended()).await;
    soon(grant.lost()).await;
    operator.admin().ready().await.unwrap();
    assert_eq!(operator.admin().info().await.unwrap().backend, "log");
}
