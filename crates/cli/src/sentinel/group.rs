//! Process groups and what becomes of them.

use std::io;

use nix::sys::signal::{SigSet, Signal as Named};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, waitid,
};

use super::wire::FromSentinel;

/// Signals that are passed on to the command's group.
pub(crate) const SIGNALS_PASSED: [Signal; 9] = [
    Signal::INT,
    Signal::TERM,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
    Signal::TSTP,
    Signal::CONT,
];

/// Signals that ask a command to end. It may have its own thoughts about them and go on.
pub(super) const SIGNALS_ENDING: [Signal; 4] =
    [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// By itself.
    Exited(i32),
    /// By a signal.
    Signalled(i32),
}

impl From<Status> for FromSentinel {
    fn from(status: Status) -> Self {
        match status {
            Status::Exited(code) => FromSentinel::Exited(code),
            Status::Signalled(signal) => FromSentinel::Signalled(signal),
        }
    }
}

/// What the sentinel reads from a descriptor instead of being interrupted; its command gets them unblocked.
pub(super) fn signal_set() -> SigSet {
    let named = [
        Named::SIGCHLD,
        Named::SIGINT,
        Named::SIGTERM,
        Named::SIGHUP,
        Named::SIGQUIT,
        Named::SIGUSR1,
        Named::SIGUSR2,
        Named::SIGWINCH,
        Named::SIGTSTP,
        Named::SIGTTIN,
        Named::SIGTTOU,
    ];
    SigSet::from_iter(named)
}

/// The signal that stopped the process since the last time it was asked.
pub(super) fn take_stop(pid: Pid) -> io::Result<Option<i32>> {
    match wait_quietly(pid, WaitIdOptions::STOPPED | WaitIdOptions::NOHANG) {
        Ok(status) => Ok(status.and_then(|status| status.stopping_signal())),
        // The dead are no children to a question that is not about the dead.
        Err(rustix::io::Errno::CHILD) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// How the process ended, if it has. It stays unreaped, so that its id is not used again.
pub(super) fn peek_end(pid: Pid) -> io::Result<Option<Status>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let Some(status) = wait_quietly(pid, options)? else { return Ok(None) };
    let ended = status.exit_status().map(Status::Exited);
    Ok(ended.or_else(|| status.terminating_signal().map(Status::Signalled)))
}

/// Lets the id of the ended process go.
pub(super) fn reap(pid: Pid) {
    // The process has ended, as was seen; nobody else waits for it.
    let _ = wait_quietly(pid, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
}

fn wait_quietly(pid: Pid, options: WaitIdOptions) -> rustix::io::Result<Option<WaitIdStatus>> {
    loop {
        match waitid(WaitId::Pid(pid), options) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Whether no member of the group runs any more. Without /proc nobody knows, and then the group counts as alive.
pub(crate) fn group_is_gone(group: Pid) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    let group = group.as_raw_nonzero().get();
    !processes.flatten().any(|process| {
        let is_process = process.file_name().to_str().is_some_and(|n| n.parse::<u32>().is_ok());
        is_process
            && std::fs::read_to_string(process.path().join("stat"))
                .is_ok_and(|stat| runs_in_group(&stat, group))
    })
}

/// `pid (comm) state ppid pgrp …`; the name in brackets may have anything in it.
fn runs_in_group(stat: &str, group: i32) -> bool {
    let Some((_, rest)) = stat.rsplit_once(") ") else { return false };
    let mut fields = rest.split_ascii_whitespace();
    let dead = matches!(fields.next(), Some("Z" | "X") | None);
    !dead && fields.nth(1).and_then(|field| field.parse().ok()) == Some(group)
}

/// Ends a group from outside: for the wrapper, when the sentinel is gone.
pub(crate) fn end_group(group: Pid) {
    // The group may be gone, which is what is wanted.
    let _ = kill_process_group(group, Signal::KILL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ended_keeps_its_id_until_it_is_let_go() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let status = loop {
            if let Some(status) = peek_end(pid).unwrap() {
                break status;
            }
            std::thread::yield_now();
        };
        assert_eq!(status, Status::Exited(0));
        assert_eq!(peek_end(pid).unwrap(), Some(status), "nobody else can have its id");
        reap(pid);
        assert!(child.wait().is_err(), "it was let go");
    }

    #[test]
    fn the_dead_and_the_others_are_not_in_the_group() {
        assert!(runs_in_group("12 (a) b) S 1 10 10 0", 10));
        assert!(!runs_in_group("12 (sh) Z 1 10 10 0", 10));
        assert!(!runs_in_group("12 (sh) S 10 11 10 0", 10));
        assert!(!runs_in_group("12", 10));
    }
}
