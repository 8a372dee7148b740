//! All that came from a process, in whatever group or session it is by now.
//!
//! The sentinel is a subreaper: what loses its parent becomes its child and not that of the first process, so nothing
//! that the command starts gets out of sight, daemons included. It is found by its parents in /proc.

use std::collections::{HashMap, HashSet};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, pidfd_open, pidfd_send_signal,
    set_child_subreaper, waitid,
};

/// How many looks in a row must find nobody: one look may miss who changes parents meanwhile.
const EMPTY_LOOKS: u32 = 2;
/// How many looks a killing takes at most; whoever is left then (another user's) is looked at again later.
const LOOKS_MAX: u32 = 50;

/// A line of /proc/PID/stat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: i32,
    group: i32,
    is_dead: bool,
}

/// Keeps all that comes from this process in sight, if the kernel lets it.
pub(super) fn adopt_orphans() {
    // Refused only by kernels older than any this runs on; then process groups are what is ended.
    let _ = set_child_subreaper(Some(getpid()));
}

/// Lets the adopted dead go, but not `kept`.
pub(super) fn reap_orphans(kept: Pid) {
    let own = getpid().as_raw_nonzero().get();
    for (id, stat) in processes() {
        if let Some(pid) = Pid::from_raw(id)
            && stat.is_dead
            && stat.parent == own
            && pid != kept
        {
            // It is dead, and nobody else waits for it.
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
    }
}

/// Whether nothing that came from `ancestor` runs any more.
pub(super) fn are_gone(ancestor: Pid) -> bool {
    (0..EMPTY_LOOKS).all(|_| living(&processes(), ancestor).is_empty())
}

/// Signals all that came from `ancestor` and left `group`, whose members are signalled together.
pub(super) fn signal_outside(group: Pid, ancestor: Pid, signal: Signal) {
    let all = processes();
    for id in living(&all, ancestor) {
        if all[&id].group != group.as_raw_nonzero().get() {
            signal_one(id, all[&id].parent, signal);
        }
    }
}

/// Ends all that came from `ancestor`, and what that starts meanwhile.
pub(crate) fn end(ancestor: Pid) {
    let mut empty = 0;
    for _ in 0..LOOKS_MAX {
        let all = processes();
        let left = living(&all, ancestor);
        empty = if left.is_empty() { empty + 1 } else { 0 };
        if empty == EMPTY_LOOKS {
            return;
        }
        for id in left {
            signal_one(id, all[&id].parent, Signal::KILL);
        }
    }
}

/// The id may be another's by now: a descriptor of the process is opened first, and its parent compared.
fn signal_one(id: i32, parent: i32, signal: Signal) {
    let Some(pid) = Pid::from_raw(id) else { return };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    let is_it = stat_of(id).is_some_and(|stat| stat.parent == parent && !stat.is_dead);
    if is_it {
        // It may end in this moment, or be another user's; then whoever waits for it finds it still there.
        let _ = pidfd_send_signal(&process, signal);
    }
}

/// All processes there are.
fn processes() -> HashMap<i32, Stat> {
    let Ok(listed) = std::fs::read_dir("/proc") else { return HashMap::new() };
    let ids = listed.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(|id| Some((id, stat_of(id)?))).collect()
}

fn stat_of(id: i32) -> Option<Stat> {
    parse(&std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// `pid (comm) state ppid pgrp …`; the name in brackets may have anything in it.
fn parse(stat: &str) -> Option<Stat> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X");
    let mut number = || fields.next()?.parse().ok();
    Some(Stat { parent: number()?, group: number()?, is_dead })
}

/// Those that run and came from `ancestor`, which is not among them. The dead that are still listed count as links.
fn living(all: &HashMap<i32, Stat>, ancestor: Pid) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for (id, stat) in all {
        children.entry(stat.parent).or_default().push(*id);
    }
    let mut found = HashSet::new();
    let mut next = vec![ancestor.as_raw_nonzero().get()];
    while let Some(id) = next.pop() {
        for child in children.get(&id).into_iter().flatten() {
            // Read one after the other, the lines may even show a circle.
            if found.insert(*child) {
                next.push(*child);
            }
        }
    }
    found.remove(&ancestor.as_raw_nonzero().get());
    found.into_iter().filter(|id| !all[id].is_dead).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_found_through_the_dead_and_nobody_else_is() {
        let stat = |parent, is_dead| Stat { parent, group: 10, is_dead };
        let all = HashMap::from([
            (10, stat(1, false)),
            (11, stat(10, true)),
            (12, stat(11, false)),
            (13, stat(12, false)),
            (20, stat(1, false)),
        ]);
        let mut found = living(&all, Pid::from_raw(10).unwrap());
        found.sort_unstable();
        assert_eq!(found, [12, 13]);
    }

    #[test]
    fn a_line_is_read_behind_a_name_with_brackets() {
        assert_eq!(
            parse("12 (a) b) S 7 10 10 0"),
            Some(Stat { parent: 7, group: 10, is_dead: false })
        );
        assert_eq!(
            parse("12 (sh) Z 7 10 10 0"),
            Some(Stat { parent: 7, group: 10, is_dead: true })
        );
        assert_eq!(parse("12"), None);
    }
}
