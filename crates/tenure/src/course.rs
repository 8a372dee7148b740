//! How asking goes on, decided from what was answered and the time alone.

use std::time::Duration;

use crate::backend::{Denied, Failure, MayHaveHappened};
use crate::clock::Moment;
use crate::retry;

/// How long to wait with asking for an answer again that nobody held back. Well below the time a place is kept.
const ASK_AGAIN_PAUSE: Duration = Duration::from_millis(500);

/// How asking goes on, decided from what was answered and the time alone.
pub(crate) struct Course {
    began: Moment,
    wait: Option<Duration>,
    patience: Duration,
    failures: u32,
    pub(crate) was_queued: bool,
    pub(crate) may_have_happened: MayHaveHappened,
}

pub(crate) fn is_waiting(failure: &Failure) -> bool {
    matches!(failure, Failure::Denied(denied) if **denied == Denied::Waiting)
}

/// An answer that was held back is asked for again at once; one that was not, after a pause.
pub(crate) fn ask_again(answered_after: Duration, die: u8) -> Next {
    if answered_after >= ASK_AGAIN_PAUSE {
        return Next::AskAgain;
    }
    Next::Pause(ASK_AGAIN_PAUSE / 2 + ASK_AGAIN_PAUSE.mul_f64(f64::from(die) / 255.0))
}

#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// At once, with the same id.
    AskAgain,
    /// After a pause, with the same id.
    Pause(Duration),
    /// That was the answer.
    Over,
    /// There will be no answer in time.
    GiveUp,
}

impl Course {
    pub(crate) fn new(began: Moment, wait: Option<Duration>, patience: Duration) -> Self {
        let may_have_happened = MayHaveHappened(false);
        Course { began, wait, patience, failures: 0, was_queued: false, may_have_happened }
    }

    /// What to do after a failure of an attempt that was sent at `sent`.
    pub(crate) fn next(&mut self, failure: &Failure, sent: Moment, now: Moment, die: u8) -> Next {
        if is_waiting(failure) {
            self.failures = 0;
            self.was_queued = true;
            return ask_again(now.since(sent), die);
        }
        let Some(may) = failure.is_passing() else { return Next::Over };
        self.may_have_happened.0 |= may.0;
        self.failures += 1;
        let pause = retry::pause(self.failures, failure.retry_after(), die);
        let is_too_late = self.goes_on_for().is_some_and(|span| now + pause >= self.began + span);
        if is_too_late { Next::GiveUp } else { Next::Pause(pause) }
    }

    /// How long it is worth to go on: patience for a first answer, then as long as the place in the queue is good for,
    /// and patience on top for the answer that it has passed.
    fn goes_on_for(&self) -> Option<Duration> {
        match (self.wait, self.was_queued) {
            (Some(wait), _) => Some(wait.saturating_add(self.patience)),
            (None, false) => Some(self.patience),
            (None, true) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Held, Refusal};

    const SECOND: Duration = Duration::from_secs(1);

    fn unavailable() -> Failure {
        Failure::Unavailable { retry_after: Duration::ZERO, why: "gone".into() }
    }

    fn course(wait: Option<Duration>) -> (Course, Moment) {
        let began = Moment::now();
        (Course::new(began, wait, SECOND * 10), began)
    }

    #[test]
    fn a_first_answer_is_awaited_with_patience_only() {
        let (mut course, began) = course(None);
        assert!(matches!(course.next(&unavailable(), began, began, 0), Next::Pause(_)));
        assert_eq!(course.next(&unavailable(), began, began + SECOND * 11, 0), Next::GiveUp);
        assert!(!course.may_have_happened.0);
    }

    #[test]
    fn who_stands_in_the_queue_goes_on_for_ever() {
        let (mut course, began) = course(None);
        let held_back = began + SECOND * 25;
        let next = course.next(&Failure::denied(Denied::Waiting), began, held_back, 0);
        assert_eq!(next, Next::AskAgain);
        let at_once = course.next(&Failure::denied(Denied::Waiting), began, began, 0);
        assert!(matches!(at_once, Next::Pause(_)), "{at_once:?}");
        let next = course.next(&unavailable(), began, began + SECOND * 10_000, 0);
        assert!(matches!(next, Next::Pause(_)), "{next:?}");
    }

    #[test]
    fn a_bounded_wait_ends_with_its_bound_and_some_patience() {
        let (mut course, began) = course(Some(SECOND * 60));
        course.next(&Failure::denied(Denied::Waiting), began, began, 0);
        assert!(matches!(
            course.next(&unavailable(), began, began + SECOND * 65, 0),
            Next::Pause(_)
        ));
        assert_eq!(course.next(&unavailable(), began, began + SECOND * 71, 0), Next::GiveUp);
    }

    #[test]
    fn once_it_may_have_happened_it_stays_so() {
        let (mut course, began) = course(Some(Duration::ZERO));
        course.next(&Failure::Unknown("cut".into()), began, began, 0);
        course.next(&unavailable(), began, began, 0);
        assert!(course.may_have_happened.0);
    }

    #[test]
    fn who_is_told_to_wait_is_in_no_trouble_any_more() {
        let (mut course, began) = course(None);
        let first = course.next(&unavailable(), began, began, 255);
        for _ in 0..5 {
            course.next(&unavailable(), began, began, 255);
        }
        course.next(&Failure::denied(Denied::Waiting), began, began, 255);
        assert_eq!(course.next(&unavailable(), began, began, 255), first);
    }

    #[test]
    fn a_refusal_is_the_answer() {
        let (mut course, began) = course(None);
        let refusal = Failure::Refused(Refusal::field("name", "is wrong"));
        assert_eq!(course.next(&refusal, began, began, 0), Next::Over);
        let held = Failure::denied(Denied::Held(Held::default()));
        assert_eq!(course.next(&held, began, began, 0), Next::Over);
    }
}
