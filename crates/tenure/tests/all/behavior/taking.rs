//! Taking locks.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tenure::api::ActionName;
use tenure::{AcquireError, Attempt, Error, Permits, Tenure, Wanted, Weight};

use crate::world::{World, soon, until, watch};

pub(crate) async fn two_are_never_in_at_once_and_tokens_rise(world: World) {
    let other = world.another().await;
    let (inside, tokens) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = |tenure: Tenure| {
        let (inside, tokens) = (&inside, &tokens);
        async move {
            for _ in 0..8 {
                let grant = tenure.lock("contended").acquire().await.unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "somebody else is in");
                tokens.lock().unwrap().push(grant.token());
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                grant.release().await.unwrap();
            }
        }
    };
    let all = (0..8).map(|n| work(if n % 2 == 0 { other.clone() } else { world.tenure.clone() }));
    soon(futures::future::join_all(all)).await;
    let tokens = tokens.into_inner().unwrap();
    assert_eq!(tokens.len(), 64);
    assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
}

pub(crate) async fn a_try_says_who_has_it(world: World) {
    let first = world.tenure.lock("a").note("ann@ci-3").acquire().await.unwrap();
    let Attempt::Held(held) = world.another().await.lock("a").try_acquire().await.unwrap() else {
        panic!("two have it");
    };
    assert_eq!(held.holders[0].token, first.token());
    assert_eq!(held.holders[0].note.as_ref().unwrap().as_str(), "ann@ci-3");
    assert_eq!(held.queue_length, 0);
}

pub(crate) async fn a_wait_that_passes_says_who_has_it(world: World) {
    let first = world.tenure.lock("a").note("ann@ci-3").acquire().await.unwrap();
    let wait = Duration::from_millis(50);
    let refused = world.another().await.lock("a").wait(wait).acquire().await.unwrap_err();
    let AcquireError::TimedOut(held) = refused else { panic!("{refused:?}") };
    assert_eq!(held.holders[0].token, first.token());
    assert!(held.waited > wait / 2, "{:?}", held.waited);
}

pub(crate) async fn waiters_get_it_in_the_order_they_came(world: World) {
    let mut changes = watch(&world.tenure, "a").await;
    let first = world.tenure.lock("a").acquire().await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let tenure = world.another().await;
        waiting.push(tokio::spawn(async move {
            let grant = tenure.lock("a").acquire().await.unwrap();
            let token = grant.token();
            grant.release().await.unwrap();
            token
        }));
        until(&mut changes, ActionName::Queued).await;
    }
    first.release().await.unwrap();
    let mut tokens = Vec::new();
    for waiter in waiting {
        tokens.push(soon(waiter).await.unwrap());
    }
    assert!(tokens.is_sorted(), "{tokens:?}");
}

pub(crate) async fn an_acquire_that_is_dropped_leaves_the_queue(world: World) {
    let mut changes = watch(&world.tenure, "a").await;
    let first = world.tenure.lock("a").acquire().await.unwrap();
    let tenure = world.another().await;
    let waiting = tokio::spawn({
        let tenure = tenure.clone();
        async move { tenure.lock("a").acquire().await.map(|grant| grant.token()) }
    });
    until(&mut changes, ActionName::Queued).await;
    waiting.abort();
    until(&mut changes, ActionName::Left).await;
    assert_eq!(world.tenure.why("a").await.unwrap().queue_length, 0);
    first.release().await.unwrap();
    assert!(tenure.lock("a").try_acquire().await.unwrap().granted().is_some());
}

pub(crate) async fn a_semaphore_lets_as_many_in_as_it_has_permits(world: World) {
    let other = world.another().await;
    let permits = Permits::new(3).unwrap();
    let one = world.tenure.semaphore("build", permits).acquire().await.unwrap();
    let two = Weight::new(2).unwrap();
    let _two = other.semaphore("build", permits).weight(two).acquire().await.unwrap();
    let attempt = other.semaphore("build", permits).try_acquire().await.unwrap();
    assert!(matches!(attempt, Attempt::Held(_)));
    one.release().await.unwrap();
    assert!(other.semaphore("build", permits).try_acquire().await.unwrap().granted().is_some());
}

pub(crate) async fn shared_holders_keep_an_exclusive_one_out(world: World) {
    let other = world.another().await;
    let one = world.tenure.lock("a").shared().acquire().await.unwrap();
    let two = other.lock("a").shared().acquire().await.unwrap();
    assert!(matches!(other.lock("a").try_acquire().await.unwrap(), Attempt::Held(_)));
    one.release().await.unwrap();
    two.release().await.unwrap();
    assert!(other.lock("a").try_acquire().await.unwrap().granted().is_some());
}

pub(crate) async fn several_locks_are_taken_together_or_not_at_all(world: World) {
    let other = world.another().await;
    let b = other.lock("b").acquire().await.unwrap();
    let Attempt::Held(held) = world.tenure.locks(["a", "b"]).try_acquire().await.unwrap() else {
        panic!("b is held");
    };
    assert_eq!(held.blocked_by.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["b"]);
    let a = other.lock("a").try_acquire().await.unwrap().granted().expect("a was left free");
    a.release().await.unwrap();
    b.release().await.unwrap();
    let wanted = [Wanted::exclusive("a"), Wanted::shared("b")];
    let both = world.tenure.locks(wanted).acquire().await.unwrap();
    assert_eq!(both.name().as_str(), "a");
    assert_eq!(both.tokens().len(), 2);
    assert_eq!(both.tokens()["a"], both.token());
    assert!(matches!(other.lock("a").try_acquire().await.unwrap(), Attempt::Held(_)));
    both.release().await.unwrap();
    assert!(other.lock("a").try_acquire().await.unwrap().granted().is_some());
}

pub(crate) async fn a_busy_lock_of_another_size_is_refused(world: World) {
    let three = Permits::new(3).unwrap();
    let _held = world.tenure.semaphore("s", three).acquire().await.unwrap();
    let refused =
        world.tenure.semaphore("s", Permits::new(4).unwrap()).acquire().await.unwrap_err();
    assert!(
        matches!(refused, AcquireError::CapacityMismatch { has } if has == three),
        "{refused:?}"
    );
}

pub(crate) async fn a_wrong_name_is_an_error_and_no_panic(world: World) {
    for wrong in ["", "a\nb", &"x".repeat(513)] {
        let refused = world.tenure.lock(wrong).try_acquire().await.unwrap_err();
        let Error::Refused(refusal) = refused else { panic!("{refused:?}") };
        assert_eq!(refusal.field.as_deref(), Some("name"));
    }
    let twice = world.tenure.locks(["a", "a"]).try_acquire().await.unwrap_err();
    assert!(matches!(twice, Error::Refused(_)), "{twice:?}");
    let none = world.tenure.locks(Vec::<Wanted>::new()).try_acquire().await.unwrap_err();
    assert!(matches!(none, Error::Refused(_)), "{none:?}");
    let long =
        world.tenure.lock("a").ttl(Duration::from_millis(1)).try_acquire().await.unwrap_err();
    assert!(matches!(long, Error::Refused(_)), "{long:?}");
}
