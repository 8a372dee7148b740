//! Flows of control.

use tenure::api::ActionName;
use tenure::{AcquireError, Attempt};

use crate::world::{World, soon, until, watch};

pub(crate) async fn an_owner_that_would_wait_for_itself_is_told_of_the_cycle(world: World) {
    let mut changes = watch(&world.tenure, "b").await;
    let (ann, bob) = (world.tenure.owner("ann"), world.tenure.owner("bob"));
    let a = world.tenure.lock("a").owner(&ann).acquire().await.unwrap();
    let b = world.tenure.lock("b").owner(&bob).acquire().await.unwrap();
    let waiting = tokio::spawn({
        let tenure = world.tenure.clone();
        async move { tenure.lock("b").owner(&ann).acquire().await.map(|grant| grant.token()) }
    });
    until(&mut changes, ActionName::Queued).await;
    let refused = soon(world.tenure.lock("a").owner(&bob).acquire()).await.unwrap_err();
    let AcquireError::Deadlock(cycle) = refused else { panic!("{refused:?}") };
    assert_eq!(cycle.members.len(), 2, "{cycle}");
    assert!(cycle.to_string().contains("ann-"), "{cycle}");
    b.release().await.unwrap();
    soon(waiting).await.unwrap().unwrap();
    a.release().await.unwrap();
}

pub(crate) async fn an_owner_has_a_lock_once_or_as_often_as_it_says(world: World) {
    let owner = world.tenure.owner("worker");
    let first = world.tenure.lock("a").owner(&owner).acquire().await.unwrap();
    let again = world.tenure.lock("a").owner(&owner).acquire().await.unwrap_err();
    let AcquireError::AlreadyHeld { token } = again else { panic!("{again:?}") };
    assert_eq!(token, first.token());
    let second = world.tenure.lock("a").owner(&owner).reentrant().acquire().await.unwrap();
    assert_eq!(second.token(), first.token());
    second.release().await.unwrap();
    assert!(matches!(world.tenure.lock("a").try_acquire().await.unwrap(), Attempt::Held(_)));
    first.release().await.unwrap();
    assert!(world.tenure.lock("a").try_acquire().await.unwrap().granted().is_some());
    let nobody = world.tenure.lock("a").reentrant().acquire().await;
    assert!(nobody.is_err(), "re-entrancy needs an owner");
}

pub(crate) async fn tasks_without_an_owner_exclude_each_other(world: World) {
    let _mine = world.tenure.lock("a").acquire().await.unwrap();
    assert!(matches!(world.tenure.lock("a").try_acquire().await.unwrap(), Attempt::Held(_)));
}
