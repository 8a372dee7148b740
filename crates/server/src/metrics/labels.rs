//! The values that labels can have: few, fixed, and never a lock's, owner's or session's name.

use http::Method;
use prometheus_client::encoding::EncodeLabelSet;
use tenure_core::{Action, Claim, Refusal};

/// How a lock is or was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A plain lock, alone.
    Exclusive,
    /// A plain lock with others.
    Shared,
    /// Part of a semaphore.
    Permits,
}

impl Mode {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Mode; 3] = [Mode::Exclusive, Mode::Shared, Mode::Permits];

    /// The mode of a claim.
    pub(crate) fn of(claim: &Claim) -> Self {
        match claim {
            Claim::Exclusive => Mode::Exclusive,
            Claim::Shared => Mode::Shared,
            Claim::Permits { .. } => Mode::Permits,
        }
    }

    /// The label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Mode::Exclusive => "exclusive",
            Mode::Shared => "shared",
            Mode::Permits => "permits",
        }
    }
}

/// How an acquire was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Got it.
    Granted,
    /// Somebody else has it and it did not wait.
    Held,
    /// Its wait passed.
    TimedOut,
    /// Waiting would close a cycle.
    Deadlock,
    /// Its owner has it already.
    AlreadyHeld,
    /// The busy lock has another kind or size.
    Mismatch,
    /// A limit was reached.
    Limit,
    /// Given up, over, or its session ended.
    Cancelled,
}

impl Outcome {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Outcome; 8] = [
        Outcome::Granted,
        Outcome::Held,
        Outcome::TimedOut,
        Outcome::Deadlock,
        Outcome::AlreadyHeld,
        Outcome::Mismatch,
        Outcome::Limit,
        Outcome::Cancelled,
    ];

    /// What a refusal counts as; `None` for a request that was wrong in itself.
    pub(crate) fn of(refusal: &Refusal) -> Option<Self> {
        Some(match refusal {
            Refusal::Held(_) => Outcome::Held,
            Refusal::TimedOut(_) => Outcome::TimedOut,
            Refusal::Deadlock(_) => Outcome::Deadlock,
            Refusal::AlreadyHeld { .. } => Outcome::AlreadyHeld,
            Refusal::CapacityMismatch { .. } => Outcome::Mismatch,
            Refusal::Limit(_) => Outcome::Limit,
            Refusal::RequestFinished { .. } | Refusal::SessionEnded(_) | Refusal::Superseded => {
                Outcome::Cancelled
            }
            _ => return None,
        })
    }

    /// The label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Outcome::Granted => "granted",
            Outcome::Held => "held",
            Outcome::TimedOut => "timed_out",
            Outcome::Deadlock => "deadlock",
            Outcome::AlreadyHeld => "already_held",
            Outcome::Mismatch => "mismatch",
            Outcome::Limit => "limit",
            Outcome::Cancelled => "cancelled",
        }
    }
}

/// The label of a grant's end; `None` if the action ends none.
pub(crate) fn end_label(action: Action) -> Option<&'static str> {
    Some(match action {
        Action::Released => "released",
        Action::Expired => "expired",
        Action::SessionEnded => "session_ended",
        Action::Broken => "broken",
        Action::HandedOver => "handed_over",
        _ => return None,
    })
}

/// The label of a method: one of ours, or `other`, so that a stranger cannot make new ones.
pub(crate) fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// The labels of an answered request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Http {
    pub(super) route: &'static str,
    pub(super) method: &'static str,
    pub(super) status: u16,
    pub(super) code: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_order_of_all() {
        assert!(Mode::ALL.iter().enumerate().all(|(i, mode)| *mode as usize == i));
        assert!(Outcome::ALL.iter().enumerate().all(|(i, outcome)| *outcome as usize == i));
    }

    #[test]
    fn a_strange_method_makes_no_new_label() {
        assert_eq!(method_label(&Method::from_bytes(b"BREW").unwrap()), "other");
        assert_eq!(method_label(&Method::DELETE), "DELETE");
    }
}
