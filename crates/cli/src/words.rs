//! Sentences about locks. What others wrote is cleaned here, so that the sentences may go to a terminal.

use std::time::Duration;

use tenure::{Held, LossReason};
use tenure_api::{Holder, LockView, Mode};
use tenure_core::{Note, Owner};

use crate::output::{clean, count, ordinal, span};

/// Several names as a list.
pub(crate) fn names<T: std::fmt::Display>(names: impl IntoIterator<Item = T>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| clean(&name.to_string())).collect();
    names.join(", ")
}

/// Who it is: what it says of itself, else the bare owner.
pub(crate) fn who(note: Option<&Note>, owner: &Owner) -> String {
    match note {
        Some(note) if !note.as_str().trim().is_empty() => clean(note.as_str()),
        _ => clean(owner.as_str()),
    }
}

/// `exclusive`, `shared`, `2 of 5`.
pub(crate) fn mode(mode: Option<Mode>, permits: Option<u32>, weight: Option<u32>) -> String {
    match (mode, permits) {
        (Some(Mode::Exclusive), _) => "exclusive".to_owned(),
        (Some(Mode::Shared), _) => "shared".to_owned(),
        (None, Some(permits)) => format!("{} of {permits}", weight.unwrap_or(1)),
        (None, None) => "?".to_owned(),
    }
}

/// `held by ann@ci-3 for 2m10s and 2 others`, or why nobody gets it.
pub(crate) fn in_the_way(held: &Held) -> String {
    let others = held.blocked_by.len().saturating_sub(1);
    let of = held.blocked_by.first().filter(|_| others > 0);
    let of = of.map_or(String::new(), |name| format!("{}: ", clean(name.as_str())));
    format!("{of}{}", held_by(&held.holders, held))
}

fn held_by(holders: &[Holder], held: &Held) -> String {
    let Some(first) = holders.first() else {
        if held.opens_in.is_zero() {
            return format!("{} ahead", count(held.queue_length, "waiter"));
        }
        return format!("nobody gets it for another {}", span(held.opens_in));
    };
    let by = who(first.note.as_ref(), &first.owner);
    let held_for = span(first.held_for.get());
    match holders.len() - 1 {
        0 => format!("held by {by} for {held_for}"),
        more => format!("held by {by} for {held_for} and {}", count(more, "other")),
    }
}

/// Why a grant is lost, in a few words.
pub(crate) fn loss(reason: &LossReason) -> String {
    match reason {
        LossReason::Broken(force) => format!("broken by {}", clean(&force.to_string())),
        LossReason::Unreachable => "the server could not be reached in time".to_owned(),
        other => clean(&other.to_string()),
    }
}

/// What a waiter is told: `waiting for deploy: held by ann@ci-3 for 2m10s, you are 3rd`.
///
/// Ours is the last waiter with our note: the default note is nobody else's, and of several with one note we came last.
pub(crate) fn waiting(view: &LockView, ours: &Note) -> String {
    let place = view.queue.iter().rfind(|waiter| waiter.note.as_ref() == Some(ours));
    let place =
        place.map_or(String::new(), |waiter| format!(", you are {}", ordinal(waiter.position)));
    let name = clean(view.name.as_str());
    format!("waiting for {name}: {}{place}", holders(view))
}

/// Who has a lock: `held by ann@ci-3 for 2m10s and 1 other`, `free`.
pub(crate) fn holders(view: &LockView) -> String {
    let Some(first) = view.holders.first() else {
        return match view.opens_in.get() {
            Duration::ZERO => "free".to_owned(),
            opens_in => format!("nobody gets it for another {}", span(opens_in)),
        };
    };
    let by = who(first.holder.note.as_ref(), &first.holder.owner);
    let held_for = span(first.holder.held_for.get());
    match view.holders.len() - 1 {
        0 => format!("held by {by} for {held_for}"),
        more => format!("held by {by} for {held_for} and {}", count(more, "other")),
    }
}

/// What a holder is asked: `back within 30s by ops-key: "host goes down"`.
pub(crate) fn recall(within: Duration, by: Option<&str>, reason: &str) -> String {
    let by = by.map(|by| format!(" by {}", clean(by))).unwrap_or_default();
    format!("back within {}{by}: \"{}\"", span(within), clean(reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tenure_api::Seconds;
    use tenure_core::Token;

    fn holder(note: &str) -> Holder {
        Holder {
            token: Token::new(7),
            mode: Some(Mode::Exclusive),
            permits: None,
            weight: None,
            owner: Owner::new("o-1").unwrap(),
            session: None,
            note: Note::new(note).ok(),
            held_for: Seconds(Duration::from_secs(130)),
            expires_in: Seconds(Duration::from_secs(5)),
        }
    }

    #[test]
    fn who_is_in_the_way_is_named() {
        let held = Held { holders: vec![holder("ann@ci-3")], ..Held::default() };
        assert_eq!(in_the_way(&held), "held by ann@ci-3 for 2m10s");
        let held = Held { holders: vec![holder(""), holder("bob")], ..Held::default() };
        assert_eq!(in_the_way(&held), "held by o-1 for 2m10s and 1 other");
    }

    #[test]
    fn a_lock_that_opens_later_has_nobody_in_the_way() {
        let held = Held { opens_in: Duration::from_secs(90), ..Held::default() };
        assert_eq!(in_the_way(&held), "nobody gets it for another 1m30s");
    }
}
