//! The terminal, handed to the command and taken back as a shell does.

use std::fs::File;
use std::io::{self, IsTerminal};

use nix::sys::signal::{SigSet, Signal};
use rustix::process::{Pid, getpgrp};
use rustix::termios::{tcgetpgrp, tcsetpgrp};

/// The terminal that controls this process.
pub(crate) struct Terminal(File);

impl Terminal {
    /// `None` without one, as under cron.
    pub(crate) fn open() -> Option<Self> {
        File::open("/dev/tty").ok().map(Terminal)
    }

    /// Whether our process group has it now.
    pub(crate) fn is_ours(&self) -> bool {
        tcgetpgrp(&self.0).is_ok_and(|group| group == getpgrp())
    }

    /// Whether a command should have it from the start: it is ours, and what the command reads and writes is the
    /// terminal too. In `tenure lock … | less` it is `less` that reads keys.
    pub(crate) fn suits_command(&self) -> bool {
        io::stdin().is_terminal() && io::stdout().is_terminal() && self.is_ours()
    }

    /// Hands it over.
    pub(crate) fn give(&self, group: Pid) -> io::Result<()> {
        self.set(group)
    }

    /// Takes it back, if the group that had it is the given one: never from a shell that took it meanwhile.
    pub(crate) fn take_back(&self, from: Pid) {
        if tcgetpgrp(&self.0).is_ok_and(|group| group == from) {
            // A terminal that went away cannot be had and is not missed.
            let _ = self.set(getpgrp());
        }
    }

    /// Who sets it from the background is stopped by SIGTTOU, unless that is blocked.
    fn set(&self, group: Pid) -> io::Result<()> {
        let mut stop = SigSet::empty();
        stop.add(Signal::SIGTTOU);
        let before = stop.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)?;
        let set = tcsetpgrp(&self.0, group);
        before.thread_set_mask()?;
        Ok(set?)
    }
}
