//! What every backend does.

mod giving;
mod keeping;
mod owners;
mod seeing;
mod taking;

/// One test for each behaviour on each backend.
macro_rules! on_every_backend {
    ($($module:ident::$name:ident,)+) => {
        mod embedded {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$module::$name(crate::world::World::embedded().await).await;
                }
            )+
        }

        mod server {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$module::$name(crate::world::World::server().await).await;
                }
            )+
        }
    };
}

on_every_backend! {
    taking::two_are_never_in_at_once_and_tokens_rise,
    taking::a_try_says_who_has_it,
    taking::a_wait_that_passes_says_who_has_it,
    taking::waiters_get_it_in_the_order_they_came,
    taking::an_acquire_that_is_dropped_leaves_the_queue,
    taking::a_semaphore_lets_as_many_in_as_it_has_permits,
    taking::shared_holders_keep_an_exclusive_one_out,
    taking::several_locks_are_taken_together_or_not_at_all,
    taking::a_busy_lock_of_another_size_is_refused,
    taking::a_wrong_name_is_an_error_and_no_panic,
    giving::a_dropped_grant_is_released,
    giving::a_thousand_dropped_grants_are_released,
    giving::a_release_of_what_was_lost_says_so,
    giving::a_grant_is_handed_over_without_being_free,
    giving::a_shared_grant_is_upgraded_and_downgraded,
    giving::two_upgraders_are_a_deadlock_and_keep_what_they_have,
    giving::work_runs_under_the_lock_and_releases_it,
    keeping::a_broken_grant_is_lost_at_once,
    keeping::protected_work_is_dropped_when_the_grant_is_lost,
    keeping::a_recall_reaches_the_holder,
    keeping::a_grant_with_a_time_of_its_own_is_renewed,
    keeping::a_grant_with_a_time_of_its_own_learns_of_its_loss,
    keeping::what_hangs_on_a_session_ends_with_it,
    keeping::who_ended_a_session_and_why_is_told_by_what_it_held,
    keeping::a_waiter_is_told_that_its_place_was_lost_with_its_session,
    keeping::a_blocked_executor_keeps_its_locks,
    owners::an_owner_that_would_wait_for_itself_is_told_of_the_cycle,
    owners::an_owner_has_a_lock_once_or_as_often_as_it_says,
    owners::tasks_without_an_owner_exclude_each_other,
    seeing::a_new_note_is_seen_by_others,
    seeing::the_feed_goes_on_from_a_cursor,
    seeing::a_page_of_locks_goes_on_where_it_ended,
    seeing::leaders_follow_each_other,
    seeing::a_turn_is_had_once,
    seeing::leases_by_hand_are_nobodys_but_the_callers,
    seeing::operators_see_and_end_sessions,
}
