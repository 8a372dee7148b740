//! Getting a lock: the request, the line that says what it waits for, and the sentence when it was not got.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use tenure::config::default_note;
use tenure::{AcquireError, Attempt, Grant, Held, Tenure, Wanted};
use tenure_api::{
    AcquireRequest, Grant as AnsweredGrant, Mode as ModeName, Seconds, Wanted as WantedOfMany,
};
use tenure_core::{LockName, Note, Permits, Weight};

use crate::arguments::{Mode, Patience};
use crate::failure::{Exit, Failure};
use crate::guarded::Signals;
use crate::output::{self, Output, shell_word};
use crate::words;

/// After this wait a person is told what is waited for.
const QUIET_WAIT: Duration = Duration::from_secs(1);
/// Longest default note.
const NOTE_CHARS_MAX: usize = 200;

/// How a lock is asked for.
pub(crate) struct Terms {
    pub(crate) mode: Mode,
    pub(crate) patience: Patience,
    /// What others see of the holder.
    pub(crate) note: Note,
    pub(crate) lock_delay: Option<Duration>,
    pub(crate) at_least: Option<Duration>,
    /// The exit status when it is not got.
    pub(crate) conflict: Exit,
}

/// The note of a holder that gives none: `user@host:pid program`, where the program is what runs under the lock. Its
/// arguments, which may be secret, are left out.
pub(crate) fn note_for(program: &OsStr) -> Note {
    let mine = default_note();
    let who = mine.rsplit_once(' ').map_or(mine.as_str(), |(who, _)| who);
    let program = Path::new(program).file_name().unwrap_or(program).to_string_lossy();
    let note: String = format!("{who} {program}").chars().take(NOTE_CHARS_MAX).collect();
    // A program's name may have anything in it.
    Note::new(&note)
        .or_else(|_| Note::new(&mine))
        .unwrap_or_else(|_| Note::new("").expect("no text is a note"))
}

/// Gets the locks, all or none, for as long as this program keeps them; or says why not.
pub(crate) async fn acquire(
    tenure: &Tenure,
    names: &[LockName],
    terms: &Terms,
    signals: &mut Signals,
    out: &Output,
) -> Result<Grant, Failure> {
    let attempt = async {
        let request = request(tenure, names, terms);
        match terms.patience {
            Patience::None => match request.try_acquire().await? {
                Attempt::Granted(grant) => Ok(grant),
                Attempt::Held(held) => Err(held_by_another(names, &held, terms.conflict)),
            },
            _ => {
                request.acquire().await.map_err(|error| not_acquired(names, error, terms.conflict))
            }
        }
    };
    tokio::select! {
        got = attempt => {
            if let (Ok(grant), true) = (&got, out.verbose) {
                let tokens = grant.tokens().iter().map(|(name, token)| format!("{name}, token {token}"));
                output::say(&format!("acquired {}", words::names(tokens)));
            }
            got
        }
        never = tell_what_is_waited_for(tenure, &names[0], &terms.note, out) => match never {},
        signal = signals.next_fatal() => Err(Failure::silent(Exit::signalled(signal))),
    }
}

/// Gets the locks, all or none, for `ttl` and for the user to keep; or says why not.
pub(crate) async fn acquire_for_user(
    tenure: &Tenure,
    names: &[LockName],
    ttl: Duration,
    terms: &Terms,
    signals: &mut Signals,
    out: &Output,
) -> Result<AnsweredGrant, Failure> {
    let wait = match terms.patience {
        Patience::None => Some(Duration::ZERO),
        Patience::AtMost(wait) => Some(wait),
        Patience::Endless => None,
    };
    let attempt = async {
        let got = tenure.raw().acquire(body(names, ttl, terms), wait).await;
        got.map_err(|error| match error {
            AcquireError::TimedOut(held) if terms.patience == Patience::None => {
                held_by_another(names, &held, terms.conflict)
            }
            other => not_acquired(names, other, terms.conflict),
        })
    };
    tokio::select! {
        got = attempt => got,
        never = tell_what_is_waited_for(tenure, &names[0], &terms.note, out) => match never {},
        signal = signals.next_fatal() => Err(Failure::silent(Exit::signalled(signal))),
    }
}

fn body(names: &[LockName], ttl: Duration, terms: &Terms) -> AcquireRequest {
    let Mode { shared, permits, weight, .. } = terms.mode;
    let mode = shared.then_some(ModeName::Shared);
    let (permits, weight) = (permits.map(Permits::get), weight.map(Weight::get));
    let mut body = AcquireRequest {
        ttl: Some(Seconds(ttl)),
        lock_delay: terms.lock_delay.map(Seconds),
        at_least: terms.at_least.map(Seconds),
        note: Some(terms.note.clone()),
        ..AcquireRequest::default()
    };
    if let [one] = names {
        return AcquireRequest { name: Some(one.clone()), mode, permits, weight, ..body };
    }
    let wanted = |name: &LockName| WantedOfMany { name: name.clone(), mode, permits, weight };
    body.locks = Some(names.iter().map(wanted).collect());
    body
}

fn request<'a>(tenure: &'a Tenure, names: &[LockName], terms: &Terms) -> tenure::Request<'a> {
    let mut request = tenure.locks(names.iter().map(|name| wanted(name, terms.mode)));
    if let Patience::AtMost(wait) = terms.patience {
        request = request.wait(wait);
    }
    if let Some(delay) = terms.lock_delay {
        request = request.lock_delay(delay);
    }
    if let Some(at_least) = terms.at_least {
        request = request.at_least(at_least);
    }
    request.note(terms.note.clone())
}

fn wanted(name: &LockName, mode: Mode) -> Wanted {
    match mode.permits {
        Some(permits) => {
            Wanted::permits(name.clone(), permits).weight(mode.weight.unwrap_or(Weight::ONE))
        }
        None if mode.shared => Wanted::shared(name.clone()),
        None => Wanted::exclusive(name.clone()),
    }
}

/// After a while, for people: who has it and which place is ours. Never ends, so that it may stand beside what does.
async fn tell_what_is_waited_for(
    tenure: &Tenure,
    name: &LockName,
    note: &Note,
    out: &Output,
) -> Infallible {
    if !out.quiet && (out.verbose || std::io::stderr().is_terminal()) {
        tokio::time::sleep(QUIET_WAIT).await;
        // Only a courtesy: a lock that cannot be looked at is waited for all the same.
        if let Ok(view) = tenure.why(name.clone()).await {
            output::say(&words::waiting(&view, note));
        }
    }
    std::future::pending().await
}

/// Somebody else has it, and it was not to be waited for.
fn held_by_another(names: &[LockName], held: &Held, conflict: Exit) -> Failure {
    let why = words::in_the_way(held);
    let first = held.blocked_by.first().unwrap_or(&names[0]);
    Failure::new(
        conflict,
        format!("{} not acquired: {why} ({})", words::names(names), see_why(first)),
    )
}

fn see_why(name: &LockName) -> String {
    format!("see: tenure why {}", shell_word(name.as_str()))
}

/// Why it was not got, and with which exit status.
pub(crate) fn not_acquired(names: &[LockName], error: AcquireError, conflict: Exit) -> Failure {
    let all = words::names(names);
    match error {
        AcquireError::TimedOut(held) => {
            let waited = output::span(held.waited);
            let first = held.blocked_by.first().unwrap_or(&names[0]);
            let why = words::in_the_way(&held);
            Failure::new(
                conflict,
                format!("{all} not acquired in {waited}: {why} ({})", see_why(first)),
            )
        }
        AcquireError::Deadlock(cycle) => Failure::new(
            conflict,
            format!(
                "{all} not acquired: waiting would never end, {cycle} (release one of them and try again)"
            ),
        ),
        AcquireError::AlreadyHeld { token } => Failure::new(
            conflict,
            format!("{all} not acquired: this owner has it already (token {token})"),
        ),
        AcquireError::CapacityMismatch { has } => Failure::usage(other_size(&all, has)),
        AcquireError::Other(error) => Failure::from(error),
        other => Failure::new(Exit::NotUnderstood, other.to_string()),
    }
}

fn other_size(all: &str, has: Permits) -> String {
    match has.get() {
        1 => format!(
            "{all} is in use as a plain lock (leave --permits out, or wait until it is idle)"
        ),
        n => format!(
            "{all} is in use with {n} permits (say --permits {n}, or an operator: tenure resize)"
        ),
    }
}
