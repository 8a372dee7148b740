//! Requests that wait: who gets the outcome, and what becomes of a place when its connection goes.

use tenure_core::{Acquire, Answer, Command, RequestName, Settled};
use tenure_log::{Log, Options, Superseded};

use crate::commands::{acquire, ask, granted, name, open, queued, release, waiting};

#[tokio::test]
async fn a_release_is_the_grant_of_the_next() {
    let log = Log::open(Options::memory()).await.unwrap();
    granted(ask(&log, acquire("a", 1)).await);
    let reply = ask(&log, waiting("a", 2)).await;
    assert_eq!(queued(&reply).position, 1);
    log.submit(release(1)).await.unwrap();
    let Ok(Settled::Granted(next)) = reply.outcome.unwrap().await else { panic!("not granted") };
    assert_eq!(next.token().get(), 2);
}

#[tokio::test]
async fn a_place_is_granted_within_the_batch_that_made_it() {
    let log = Log::open(Options::memory()).await.unwrap();
    granted(ask(&log, acquire("a", 1)).await);
    let commands = vec![Command::Acquire(Box::new(waiting("a", 2))), release(1)];
    let mut replies = log.submit_all(commands).await.unwrap();
    let outcome = replies.remove(0).outcome.unwrap();
    assert!(matches!(outcome.await, Ok(Settled::Granted(_))));
}

#[tokio::test]
async fn a_newer_request_with_the_same_id_gets_the_outcome() {
    let log = Log::open(Options::memory()).await.unwrap();
    granted(ask(&log, acquire("a", 1)).await);
    let older = ask(&log, waiting("a", 2)).await;
    let newer = ask(&log, waiting("a", 2)).await;
    assert_eq!(queued(&older).ticket, queued(&newer).ticket);
    assert_eq!(older.outcome.unwrap().await, Err(Superseded));
    log.submit(release(1)).await.unwrap();
    assert!(matches!(newer.outcome.unwrap().await, Ok(Settled::Granted(_))));
}

#[tokio::test]
async fn an_older_connection_that_goes_does_not_cost_the_newer_one_its_place() {
    let log = Log::open(Options::memory()).await.unwrap();
    granted(ask(&log, acquire("a", 1)).await);
    let older = ask(&log, waiting("a", 2)).await;
    let newer = ask(&log, waiting("a", 2)).await;
    drop(older);
    // A later command: whatever the drop told the machine has taken effect by its answer.
    log.submit(Command::Tick).await.unwrap();
    let queue = log.read(|machine| machine.lock(&name("a")).queue_length).await.unwrap();
    assert_eq!(queue, 1);
    drop(newer);
}

#[tokio::test]
async fn a_dropped_outcome_gives_its_place_up() {
    let log = Log::open(Options::memory()).await.unwrap();
    granted(ask(&log, acquire("a", 1)).await);
    let unnamed = Acquire { request: RequestName::Unnamed, ..waiting("a", 2) };
    drop(ask(&log, unnamed).await);
    log.submit(Command::Tick).await.unwrap();
    let queue = log.read(|machine| machine.lock(&name("a")).queue_length).await.unwrap();
    assert_eq!(queue, 0);
}

#[tokio::test]
async fn a_dropped_outcome_whose_client_may_return_keeps_its_place() {
    let log = Log::open(Options::memory()).await.unwrap();
    granted(ask(&log, acquire("a", 1)).await);
    let reply = ask(&log, waiting("a", 2)).await;
    reply.outcome.unwrap().leave(true);
    log.submit(Command::Tick).await.unwrap();
    let again = ask(&log, waiting("a", 2)).await;
    assert_eq!(queued(&again).position, 1);
    log.submit(release(1)).await.unwrap();
    assert!(matches!(again.outcome.unwrap().await, Ok(Settled::Granted(_))));
}

#[tokio::test]
async fn a_grant_that_nobody_heard_of_is_given_back() {
    let log = Log::open(Options::memory()).await.unwrap();
    granted(ask(&log, acquire("a", 1)).await);
    let unnamed = Acquire { request: RequestName::Unnamed, ..waiting("a", 2) };
    let reply = ask(&log, unnamed).await;
    // The connection goes between the grant and the answer.
    log.submit(release(1)).await.unwrap();
    drop(reply);
    log.submit(Command::Tick).await.unwrap();
    let holders = log.read(|machine| machine.lock(&name("a")).holders.len()).await.unwrap();
    assert_eq!(holders, 0);
}

#[tokio::test]
async fn a_waiter_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).await;
    granted(ask(&log, acquire("a", 1)).await);
    let reply = ask(&log, waiting("a", 2)).await;
    let ticket = queued(&reply).ticket;
    // The process ends with the answer still open.
    std::mem::forget(reply);
    log.stop().await;
    drop(log);
    let log = open(dir.path()).await;
    let again = ask(&log, waiting("a", 2)).await;
    assert_eq!(queued(&again).ticket, ticket);
    log.submit(release(1)).await.unwrap();
    assert!(matches!(again.outcome.unwrap().await, Ok(Settled::Granted(_))));
}

#[tokio::test]
async fn a_grant_ends_by_itself_when_its_time_is_up() {
    let log = Log::open(Options::memory()).await.unwrap();
    let short = Acquire {
        life: tenure_core::Life::Own(std::time::Duration::from_millis(100)),
        ..acquire("a", 1)
    };
    granted(ask(&log, short).await);
    let reply = ask(&log, waiting("a", 2)).await;
    // Nobody says a word: a tick ends the first grant.
    assert!(matches!(reply.outcome.unwrap().await, Ok(Settled::Granted(_))));
    let late = log.submit(release(1)).await.unwrap();
    assert!(matches!(late.answer, Answer::Refused(_)));
}
