//! Bad days by the script: what is slow, fails, may have happened, or is never answered.

use std::time::Duration;

use tenure::api::ActionName;
use tenure::testing::{self, Script};
use tenure::{Attempt, Error, GrantError, LossReason, State, Tenure};

use crate::world::{SOON, soon, until, watch};

async fn impatient() -> (Tenure, Script) {
    testing::with(Tenure::at("memory:").retry(Duration::from_millis(300))).await.unwrap()
}

#[tokio::test]
async fn an_answer_that_was_lost_is_asked_for_again_and_there_is_one_grant() {
    let (tenure, script) = testing::connect().await.unwrap();
    tenure.lock("warm").acquire().await.unwrap().release().await.unwrap();
    script.lose_next_answers(3);
    let grant = soon(tenure.lock("a").acquire()).await.unwrap();
    let seen = tenure.why("a").await.unwrap();
    assert_eq!(seen.holders.len(), 1);
    assert_eq!(seen.holders[0].holder.token, grant.token());
    assert!(seen.history.is_empty(), "there was one grant and no other");
    script.lose_next_answers(2);
    grant.release().await.unwrap();
    let seen = tenure.why("a").await.unwrap();
    assert_eq!((seen.holders.len(), seen.history.len()), (0, 1));
}

#[tokio::test]
async fn a_session_whose_opening_was_not_answered_is_opened_once() {
    let (tenure, script) = testing::connect().await.unwrap();
    script.lose_next_answers(2);
    let _grant = soon(tenure.lock("a").acquire()).await.unwrap();
    assert_eq!(tenure.admin().stats().await.unwrap().sessions, 1);
}

#[tokio::test]
async fn what_did_not_happen_is_tried_again_and_then_said_to_be_unavailable() {
    let (tenure, script) = impatient().await;
    script.fail_next(2);
    soon(tenure.lock("a").acquire()).await.unwrap().release().await.unwrap();
    script.fail_next(usize::MAX);
    let refused = soon(tenure.lock("a").try_acquire()).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused:?}");
    script.fail_next(0);
    assert!(tenure.why("a").await.unwrap().holders.is_empty());
}

#[tokio::test]
async fn what_may_have_happened_is_unknown_and_given_up_in_the_background() {
    let (tenure, script) = impatient().await;
    let mut changes = watch(&tenure, "a").await;
    tenure.lock("warm").acquire().await.unwrap().release().await.unwrap();
    script.lose_next_answers(usize::MAX);
    let refused = soon(tenure.lock("a").try_acquire()).await.unwrap_err();
    let Error::Unknown { request_id, .. } = refused else { panic!("{refused:?}") };
    script.lose_next_answers(0);
    until(&mut changes, ActionName::Granted).await;
    until(&mut changes, ActionName::Released).await;
    assert!(matches!(tenure.lock("a").try_acquire().await.unwrap(), Attempt::Granted(_)));
    let request = request_id.unwrap();
    tenure.forget(&request).await.unwrap();
    let again = tenure.forget(&request).await.unwrap_err();
    assert!(matches!(again, Error::Refused(_)), "{again:?}");
}

#[tokio::test]
async fn forgetting_a_request_of_an_old_session_takes_nothing_of_the_new_one() {
    let (tenure, script) = impatient().await;
    let mut changes = watch(&tenure, "warm").await;
    // The first request of each session has the same number.
    script.lose_next_answers(1);
    let _warm = tenure.lock("warm").acquire().await.unwrap();
    script.lose_next_answers(usize::MAX);
    let refused = soon(tenure.lock("a").try_acquire()).await.unwrap_err();
    let Error::Unknown { request_id, .. } = refused else { panic!("{refused:?}") };
    script.lose_next_answers(0);
    let session = tenure.lock("look").acquire().await.unwrap().session().unwrap().id;
    tenure.admin().end_session(session, "a test").await.unwrap();
    until(&mut changes, ActionName::SessionEnded).await;
    let new = [
        soon(tenure.lock("b").acquire()).await.unwrap(),
        soon(tenure.lock("c").acquire()).await.unwrap(),
        soon(tenure.lock("d").acquire()).await.unwrap(),
    ];
    tenure.forget(&request_id.unwrap()).await.unwrap();
    for grant in new {
        let seen = tenure.why(grant.name()).await.unwrap();
        assert_eq!(seen.holders.len(), 1, "{grant:?}");
    }
}

#[tokio::test]
async fn a_dropped_grant_is_given_back_when_somebody_is_there_again() {
    let (tenure, script) = testing::connect().await.unwrap();
    let mut changes = watch(&tenure, "").await;
    let one = tenure.lock("a").acquire().await.unwrap();
    script.fail_next(2);
    drop(one);
    until(&mut changes, ActionName::Released).await;
    let (b, c) =
        (tenure.lock("b").acquire().await.unwrap(), tenure.lock("c").acquire().await.unwrap());
    script.fail_next(2);
    drop((b, c));
    until(&mut changes, ActionName::Released).await;
    until(&mut changes, ActionName::Released).await;
}

#[tokio::test]
async fn an_acquire_that_is_dropped_on_its_way_holds_nothing() {
    let (tenure, script) = testing::connect().await.unwrap();
    tenure.lock("warm").acquire().await.unwrap().release().await.unwrap();
    // Dropped at any moment: before it is asked, while it is, and when the answer is there.
    for micros in (0..4000).step_by(100) {
        script.delay_next(1, Duration::from_millis(1));
        let acquiring = tenure.lock("a").acquire();
        let in_time = tokio::time::timeout(Duration::from_micros(micros), acquiring).await;
        drop(in_time);
        let next = tokio::time::timeout(SOON, tenure.lock("a").acquire()).await;
        next.expect("nothing stays behind").unwrap().release().await.unwrap();
    }
}

#[tokio::test]
async fn a_holder_without_keep_alives_knows_its_loss_before_the_lock_is_free() {
    let ttl = Duration::from_millis(1500);
    let (tenure, script) = testing::with(Tenure::at("memory:").session_ttl(ttl)).await.unwrap();
    let mut changes = watch(&tenure, "a").await;
    let grant = tenure.lock("a").acquire().await.unwrap();
    script.stop_keep_alives();
    let work = grant.protect(std::future::pending::<()>());
    let loss = soon(work).await.unwrap_err();
    let seen = tenure.why("a").await.unwrap();
    assert_eq!(loss.reason, LossReason::Unreachable);
    assert_eq!(seen.holders.len(), 1, "the server still has it: nobody else can");
    until(&mut changes, ActionName::SessionEnded).await;
}

#[tokio::test]
async fn a_grant_with_a_time_of_its_own_is_lost_before_it_is_free() {
    let ttl = Duration::from_millis(1500);
    let (tenure, script) = testing::connect().await.unwrap();
    let mut changes = watch(&tenure, "a").await;
    let grant = tenure.lock("a").ttl(ttl).acquire().await.unwrap();
    script.stop_keep_alives();
    let loss = soon(grant.lost()).await;
    let seen = tenure.why("a").await.unwrap();
    assert_eq!(loss.reason, LossReason::Unreachable);
    assert_eq!(seen.holders.len(), 1, "the server still has it: nobody else can");
    until(&mut changes, ActionName::Expired).await;
}

#[tokio::test]
async fn a_short_outage_is_jeopardy_and_no_loss() {
    let ttl = Duration::from_secs(3);
    let (tenure, script) = testing::with(Tenure::at("memory:").session_ttl(ttl)).await.unwrap();
    let grant = tenure.lock("a").acquire().await.unwrap();
    script.cut();
    let jeopardy = async {
        while !matches!(grant.state(), State::Jeopardy { .. }) {
            tokio::task::yield_now().await;
        }
    };
    soon(jeopardy).await;
    script.reach();
    let state = soon(grant.renewed()).await;
    assert!(matches!(state, State::Held { .. }), "{state:?}");
    grant.release().await.unwrap();
}

#[tokio::test]
async fn after_an_outage_that_was_too_long_old_grants_stay_lost_and_new_ones_are_made() {
    let ttl = Duration::from_millis(600);
    let (tenure, script) = testing::with(Tenure::at("memory:").session_ttl(ttl)).await.unwrap();
    let mut changes = watch(&tenure, "a").await;
    let old = tenure.lock("a").acquire().await.unwrap();
    script.cut();
    soon(old.lost()).await;
    until(&mut changes, ActionName::SessionEnded).await;
    script.reach();
    let new = soon(tenure.lock("a").acquire()).await.unwrap();
    assert!(new.token() > old.token());
    assert!(matches!(old.state(), State::Lost(_)));
    assert!(old.release().await.is_err());
    assert!(matches!(new.state(), State::Held { .. }), "the old release took nothing of it");
    assert_eq!(tenure.why("a").await.unwrap().holders[0].holder.token, new.token());
}

#[tokio::test]
async fn a_release_that_nobody_answers_takes_no_longer_than_the_grant_could_have_lasted() {
    let ttl = Duration::from_millis(600);
    let (tenure, script) = testing::with(Tenure::at("memory:").session_ttl(ttl)).await.unwrap();
    let grant = tenure.lock("a").acquire().await.unwrap();
    script.cut();
    let released = tokio::time::timeout(ttl * 4, grant.release()).await.expect("bounded");
    assert!(matches!(released, Err(tenure::ReleaseError::Unknown(_))), "{released:?}");
}

#[tokio::test]
async fn a_hand_over_goes_on_although_the_old_grant_is_known_to_be_lost_to_it() {
    let (tenure, script) = testing::connect().await.unwrap();
    let grant = tenure.lock("a").acquire().await.unwrap();
    let (token, lost) = (grant.token(), grant.lost());
    script.lose_next_answers(usize::MAX);
    let handing = tokio::spawn(grant.into_handle(Duration::from_secs(60)));
    assert_eq!(soon(lost).await.reason, LossReason::HandedOver);
    script.lose_next_answers(0);
    let handle = soon(handing).await.unwrap().unwrap();
    let told = serde_json::to_value(&handle).unwrap();
    let new = told["tokens"]["a"].as_u64().unwrap();
    assert!(new > token.get(), "{new}: the handle is that of the new grant");
    assert!(soon(tenure.resume(handle)).await.unwrap().token().get() > new);
}

#[tokio::test]
async fn a_hand_over_that_nobody_answers_ends_with_the_grant() {
    let ttl = Duration::from_millis(600);
    let (tenure, script) = testing::with(Tenure::at("memory:").session_ttl(ttl)).await.unwrap();
    let grant = tenure.lock("a").acquire().await.unwrap();
    script.cut();
    let handed = soon(grant.into_handle(SOON * 3)).await.unwrap_err();
    let GrantError::Lost(loss) = handed else { panic!("{handed:?}") };
    assert_eq!(loss.reason, LossReason::Unreachable);
}

#[tokio::test]
async fn a_close_waits_until_what_was_dropped_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file:{}", dir.path().display());
    let (tenure, script) = testing::with(Tenure::at(&url)).await.unwrap();
    let grant = tenure.lock("a").ttl(SOON * 3).acquire().await.unwrap();
    script.fail_next(3);
    drop(grant);
    soon(tenure.close()).await.unwrap();
    let again = Tenure::connect(&url).await.unwrap();
    assert!(again.why("a").await.unwrap().holders.is_empty());
}

#[tokio::test]
async fn a_recall_reaches_a_grant_with_a_time_of_its_own() {
    let (tenure, script) = testing::connect().await.unwrap();
    let grant = tenure.lock("a").ttl(Duration::from_millis(900)).acquire().await.unwrap();
    script.recall("a", Duration::from_secs(5), "please").await.unwrap();
    assert_eq!(soon(grant.recalled()).await.reason, "please");
}

#[tokio::test]
async fn scripted_losses_and_recalls_reach_the_holder() {
    let (tenure, script) = testing::connect().await.unwrap();
    let grant = tenure.lock("a").acquire().await.unwrap();
    script.recall("a", Duration::from_secs(5), "please").await.unwrap();
    assert_eq!(soon(grant.recalled()).await.reason, "please");
    script.lose("a").await.unwrap();
    assert!(matches!(soon(grant.lost()).await.reason, LossReason::Broken { .. }));
}
