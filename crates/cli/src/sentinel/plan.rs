//! When the command is told to stop and when it is ended: decisions only, nothing is done here.

use std::time::Duration;

use crate::boottime::Boottime;

/// The longest a command runs on after its lock was lost before its time, as by a break: the next holder has begun.
const LOST_GRACE_MAX: Duration = Duration::from_secs(1);

/// Until when the command may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    /// It is asked to stop (SIGTERM).
    pub(crate) terminate_at: Boottime,
    /// It is ended (SIGKILL): from then on the server may grant the lock to another.
    pub(crate) kill_at: Boottime,
}

impl Deadline {
    /// No end.
    pub(crate) const NEVER: Deadline =
        Deadline { terminate_at: Boottime::NEVER, kill_at: Boottime::NEVER };

    /// For a promise that ends at `promised_until`.
    pub(crate) fn before(promised_until: Boottime, grace: Duration) -> Self {
        Deadline { terminate_at: promised_until.minus(grace), kill_at: promised_until }
    }

    /// The lock is lost, so the next holder may be at work already: the command is told now and ended shortly after.
    pub(crate) fn after_loss(&self, now: Boottime, grace: Duration) -> Self {
        let soon = now.plus(grace.min(LOST_GRACE_MAX));
        Deadline { terminate_at: now, kill_at: self.kill_at.min(soon) }
    }

    /// How far apart two of them are.
    pub(crate) fn distance(&self, other: &Deadline) -> Duration {
        let apart = |a: Boottime, b: Boottime| a.as_nanos().abs_diff(b.as_nanos());
        let told = apart(self.terminate_at, other.terminate_at);
        Duration::from_nanos(told.max(apart(self.kill_at, other.kill_at)))
    }
}

/// What is to be done to the command now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Ask it to stop.
    Terminate,
    /// End it.
    Kill,
}

/// How far the command's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Told,
    Killed,
}

/// How long what was killed may take to be gone. What is left then cannot be ended from here.
const GONE_MAX: Duration = Duration::from_millis(500);

/// The deadline and how far it was carried out.
#[derive(Debug)]
pub(crate) struct Plan {
    /// By the promise, as the wrapper told it.
    promised: Deadline,
    /// By ourselves, once the end has begun; no renewal moves it.
    decided: Deadline,
    phase: Phase,
}

impl Plan {
    /// The command runs.
    pub(crate) fn new(deadline: Deadline) -> Self {
        Plan { promised: deadline, decided: Deadline::NEVER, phase: Phase::Running }
    }

    /// Another deadline: later after a renewal, sooner after a loss.
    pub(crate) fn set(&mut self, deadline: Deadline) {
        self.promised = deadline;
    }

    /// The end is decided, whatever is renewed from now on: what runs is told now and has `grace`, but never beyond the
    /// promise. Decided twice, the first holds.
    pub(crate) fn end(&mut self, now: Boottime, grace: Duration) {
        if self.decided == Deadline::NEVER {
            self.decided = Deadline { terminate_at: now, kill_at: now.plus(grace) };
        }
    }

    fn deadline(&self) -> Deadline {
        Deadline {
            terminate_at: self.promised.terminate_at.min(self.decided.terminate_at),
            kill_at: self.promised.kill_at.min(self.decided.kill_at),
        }
    }

    /// What is due at `now`. Each act comes once.
    pub(crate) fn due(&mut self, now: Boottime) -> Option<Act> {
        if self.phase != Phase::Killed && now >= self.deadline().kill_at {
            self.phase = Phase::Killed;
            return Some(Act::Kill);
        }
        if self.phase == Phase::Running && now >= self.deadline().terminate_at {
            self.phase = Phase::Told;
            return Some(Act::Terminate);
        }
        None
    }

    /// When to ask again.
    pub(crate) fn wake_at(&self) -> Boottime {
        let deadline = self.deadline();
        match self.phase {
            Phase::Running => deadline.terminate_at.min(deadline.kill_at),
            Phase::Told => deadline.kill_at,
            Phase::Killed => Boottime::NEVER,
        }
    }

    /// Whether the command's time is over.
    pub(crate) fn is_killed(&self) -> bool {
        self.phase == Phase::Killed
    }

    /// Whether the command was told or is about to be, so that what is left of its group must go too.
    pub(crate) fn is_ending(&self) -> bool {
        self.phase != Phase::Running || self.decided != Deadline::NEVER
    }

    /// Whether what was killed should have been gone by now.
    pub(crate) fn is_in_vain(&self, now: Boottime) -> bool {
        self.is_killed() && now > self.deadline().kill_at.plus(GONE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Boottime {
        Boottime::from_nanos(nanos)
    }

    fn plan(terminate_at: u64, kill_at: u64) -> Plan {
        Plan::new(Deadline { terminate_at: at(terminate_at), kill_at: at(kill_at) })
    }

    #[test]
    fn the_command_is_told_first_and_ended_at_the_deadline() {
        let mut plan = plan(10, 20);
        assert_eq!(plan.due(at(9)), None);
        assert_eq!(plan.due(at(10)), Some(Act::Terminate));
        assert_eq!(plan.due(at(19)), None);
        assert_eq!(plan.due(at(20)), Some(Act::Kill));
        assert_eq!(plan.due(at(21)), None);
    }

    #[test]
    fn after_a_sleep_beyond_the_deadline_it_is_ended_at_once() {
        let mut plan = plan(10, 20);
        assert_eq!(plan.due(at(500)), Some(Act::Kill));
    }

    #[test]
    fn a_renewal_in_time_moves_both() {
        let mut plan = plan(10, 20);
        plan.set(Deadline { terminate_at: at(110), kill_at: at(120) });
        assert_eq!(plan.due(at(50)), None);
        assert_eq!(plan.wake_at(), at(110));
    }

    #[test]
    fn after_a_loss_there_is_a_second_at_most() {
        let second = LOST_GRACE_MAX.as_secs() * 1_000_000_000;
        let after = |kill_at: u64, grace: Duration| {
            let before = Deadline { terminate_at: at(7), kill_at: at(kill_at) };
            let Deadline { terminate_at, kill_at } = before.after_loss(at(10), grace);
            assert_eq!(terminate_at, at(10));
            kill_at
        };
        let minute = Duration::from_secs(60);
        assert_eq!(after(u64::MAX, minute), at(10 + second));
        assert_eq!(after(u64::MAX, Duration::from_nanos(5)), at(15));
        assert_eq!(after(12, minute), at(12));
    }

    #[test]
    fn who_is_to_end_is_told_now_and_never_outlives_the_deadline() {
        let mut short = plan(10, 20);
        short.end(at(5), Duration::from_nanos(100));
        assert_eq!(short.due(at(5)), Some(Act::Terminate));
        assert_eq!(short.wake_at(), at(20));

        let mut long = plan(1_000, 2_000);
        long.end(at(5), Duration::from_nanos(100));
        assert_eq!(long.due(at(5)), Some(Act::Terminate));
        assert_eq!(long.wake_at(), at(105));
    }

    #[test]
    fn a_renewal_does_not_move_an_end_that_was_decided() {
        let mut plan = plan(1_000, 2_000);
        plan.end(at(5), Duration::from_nanos(100));
        assert!(plan.is_ending());
        plan.set(Deadline { terminate_at: at(5_000), kill_at: at(6_000) });
        plan.end(at(50), Duration::from_nanos(100));
        assert_eq!(plan.due(at(5)), Some(Act::Terminate));
        plan.set(Deadline { terminate_at: at(50), kill_at: at(60) });
        assert_eq!(plan.wake_at(), at(60), "but the promise may end before it");
        plan.set(Deadline::NEVER);
        assert_eq!(plan.due(at(104)), None);
        assert_eq!(plan.due(at(105)), Some(Act::Kill));
    }

    #[test]
    fn what_outlives_its_killing_is_waited_for_with_a_bound() {
        let mut plan = plan(10, 20);
        let late = at(20).plus(GONE_MAX);
        assert!(!plan.is_in_vain(at(u64::MAX)), "nothing was killed yet");
        assert_eq!(plan.due(at(20)), Some(Act::Kill));
        assert!(!plan.is_in_vain(late));
        assert!(plan.is_in_vain(late.plus(Duration::from_nanos(1))));
    }
}
