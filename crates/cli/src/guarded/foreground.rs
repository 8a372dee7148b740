//! Who has the terminal: this job's command or whoever shares the job with it.

use rustix::process::{Pid, Signal, getpgrp, getsid, kill_current_process_group};

use super::signals::stop_this_process;
use crate::terminal::Terminal;

/// The terminal and whether the command has it.
pub(super) struct Foreground {
    terminal: Option<Terminal>,
    /// Whether the command was given it, so that it is taken back and given again with the job.
    given: bool,
}

impl Foreground {
    pub(super) fn new() -> Self {
        let terminal = Terminal::open();
        let given = terminal.as_ref().is_some_and(Terminal::suits_command);
        Foreground { terminal, given }
    }

    /// Whether the command takes the terminal before it starts.
    pub(super) fn starts_in_front(&self) -> bool {
        self.given
    }

    /// Gives the command the terminal that it asked for, if it is ours to give.
    pub(super) fn give(&mut self, group: Pid) -> bool {
        let Some(terminal) = self.terminal.as_ref().filter(|terminal| terminal.is_ours()) else {
            return false;
        };
        self.given = terminal.give(group).is_ok();
        self.given
    }

    /// The command was stopped: stops this process too, so that the shell sees its job stopped. Comes back when the
    /// shell continues the job. Answers whether our own group was sent SIGTSTP.
    pub(super) fn stop_with(&mut self, group: Pid) -> bool {
        // Without a shell that could continue it a job does not stop, as the kernel has it for orphaned groups.
        if self.terminal.is_none() || !has_a_shell() {
            return false;
        }
        let terminal = self.terminal.as_ref().filter(|_| self.given);
        if let Some(terminal) = terminal {
            terminal.take_back(group);
            // The key that stopped the command reached its group only; the rest of the job is to stop as well.
            // Whoever cannot be signalled is not of our job.
            let _ = kill_current_process_group(Signal::TSTP);
        }
        let told = terminal.is_some();
        stop_this_process();
        told
    }

    /// The job goes on: the command has the terminal again if it had it and the shell gave it to the job.
    pub(super) fn resume(&mut self, group: Pid) {
        if let Some(terminal) = self.terminal.as_ref().filter(|_| self.given)
            && terminal.is_ours()
        {
            // If it cannot be had, the command is stopped when it asks for it, and asked about again.
            let _ = terminal.give(group);
        }
    }

    /// The command is over.
    pub(super) fn take_back(&self, group: Pid) {
        if let Some(terminal) = self.terminal.as_ref().filter(|_| self.given) {
            terminal.take_back(group);
        }
    }
}

/// Whether the leader of our session, the shell, is in another group than we: then it has jobs, and we are one.
fn has_a_shell() -> bool {
    getsid(None).is_ok_and(|leader| leader != getpgrp())
}
