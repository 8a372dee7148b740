//! The sentinel: a small second process that is the command's parent and knows until when it may run.
//!
//! The wrapper, which holds the lock, may be killed, frozen or starved; the sentinel does nothing but wait, so it ends
//! the command in time whatever becomes of the wrapper. Three processes run:
//!
//! ```text
//! tenure lock …        the wrapper: holds the lock, tells the sentinel every new deadline over a socket
//!   tenure __sentinel  its own process group, so that no key of the terminal reaches it
//!     CMD …            the leader of a third group; first a moment of `tenure __run`, which asks the kernel to kill
//!                      it when the sentinel dies, takes the terminal if it may, and becomes CMD
//! ```
//!
//! The command's process id is kept from being used again (the dead leader is not reaped) until nothing more is sent
//! to its group.

mod command;
mod descendants;
mod group;
mod orders;
mod plan;
mod runner;
mod wire;

pub(crate) use command::{Launch, NAME as SENTINEL, Sentinel};
pub(crate) use descendants::end as end_descendants;
pub(crate) use group::{SIGNALS_PASSED, end_group, group_is_gone};
pub(crate) use orders::Orders;
pub(crate) use plan::Deadline;
pub(crate) use runner::{NAME as RUN, run};
pub(crate) use wire::{FromSentinel, ToSentinel};

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{Pid, Signal, getpid, kill_process_group};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::boottime::Boottime;
use group::{SIGNALS_ENDING, Status, peek_end, reap, signal_set, take_stop};
use plan::{Act, Plan};

/// How often a group that was told to stop is looked at once its leader is dead.
const GROUP_LOOK: Duration = Duration::from_millis(20);
/// Longest line of the wrapper.
const LINE_BYTES_MAX: usize = 256;

/// The sentinel's whole life. What became of the command is told over the socket on standard input; the exit code is
/// read by nobody.
pub(crate) fn watch(arguments: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let Some(orders) = Orders::read(arguments) else {
        eprintln!("tenure: this is an inner command; use tenure lock");
        return ExitCode::from(64);
    };
    match Watch::start(&orders).and_then(|mut watch| watch.until_the_end()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tenure: the command cannot be watched: {error}");
            ExitCode::from(69)
        }
    }
}

/// The loop's state.
struct Watch {
    socket: OwnedFd,
    /// Whether the wrapper still has its end of the socket.
    wrapper_lives: bool,
    /// The beginning of a line.
    half_line: Vec<u8>,
    signals: SignalFd,
    timer: OwnedFd,
    command: Pid,
    /// Set when the command's own process has ended.
    ended: Option<Status>,
    /// Whether a signal that asks to end was passed on.
    asked_to_end: bool,
    plan: Plan,
    grace: Duration,
    /// Whether the command may be ended at all.
    may_kill: bool,
}

impl Watch {
    fn start(orders: &Orders) -> io::Result<Self> {
        let blocked = signal_set();
        // Everything but SIGKILL and SIGSTOP is read from a descriptor: nothing ends the sentinel by accident.
        blocked.thread_block()?;
        let signals =
            SignalFd::with_flags(&blocked, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let timer = timerfd_create(
            TimerfdClockId::Boottime,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        let input = command::receive_input(&socket)?;
        if orders.may_kill {
            descendants::adopt_orphans();
        }
        let command = runner::start(orders, input)?;
        let watch = Watch {
            socket,
            wrapper_lives: true,
            half_line: Vec::new(),
            signals,
            timer,
            command,
            ended: None,
            asked_to_end: false,
            plan: Plan::new(orders.deadline),
            grace: orders.grace,
            may_kill: orders.may_kill,
        };
        watch.say(FromSentinel::Started(command.as_raw_nonzero().get()));
        Ok(watch)
    }

    fn until_the_end(&mut self) -> io::Result<()> {
        loop {
            self.carry_out_what_is_due();
            self.look_at_the_command()?;
            if let Some(status) = self.ended.filter(|_| self.is_over()) {
                reap(self.command);
                self.say_last(status.into());
                return Ok(());
            }
            self.sleep()?;
            self.pass_signals();
            self.listen();
        }
    }

    fn carry_out_what_is_due(&mut self) {
        while let Some(act) = self.plan.due(Boottime::now()) {
            match act {
                Act::Terminate => {
                    self.say_of_command(FromSentinel::Terminated);
                    self.signal_group(Signal::TERM);
                    // A stopped group would not see it otherwise.
                    self.signal_group(Signal::CONT);
                    // Jobs of a shell have groups of their own, and the shell's end is not theirs.
                    for signal in [Signal::TERM, Signal::CONT] {
                        descendants::signal_outside(self.command, getpid(), signal);
                    }
                }
                Act::Kill => {
                    self.say_of_command(FromSentinel::Killed);
                    self.signal_group(Signal::KILL);
                }
            }
        }
        if self.plan.is_killed() {
            descendants::end(getpid());
        }
    }

    fn look_at_the_command(&mut self) -> io::Result<()> {
        if self.ended.is_some() {
            return Ok(());
        }
        while let Some(signal) = take_stop(self.command)? {
            self.say(FromSentinel::Stopped(signal));
        }
        self.ended = peek_end(self.command)?;
        let by_itself = matches!(self.ended, Some(Status::Exited(_))) && !self.asked_to_end;
        if self.ended.is_some() && !by_itself && self.may_kill {
            // Whoever ended the command meant all of it, and the lock is released once this is over.
            self.plan.end(Boottime::now(), self.grace);
        }
        Ok(())
    }

    /// Whether there is nothing more to do for a command that has ended. One that ended by itself may leave others
    /// behind, as under a shell; of one that was told to stop, nothing may stay.
    fn is_over(&self) -> bool {
        if !self.plan.is_ending()
            || (group_is_gone(self.command) && descendants::are_gone(getpid()))
        {
            return true;
        }
        // A wrapper that is gone releases nothing, so there is nothing to hurry for.
        let in_vain = self.wrapper_lives && self.plan.is_in_vain(Boottime::now());
        if in_vain {
            self.say(FromSentinel::Left);
        }
        in_vain
    }

    /// Until something happens or is due.
    fn sleep(&self) -> io::Result<()> {
        let at = self.plan.wake_at();
        let never = at == Boottime::NEVER;
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = if never { none } else { at.as_timespec() };
        let setting = Itimerspec { it_interval: none, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &setting)?;
        let look = Timespec { tv_sec: 0, tv_nsec: GROUP_LOOK.subsec_nanos().into() };
        let mut watched = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.timer, PollFlags::IN),
        ];
        if self.wrapper_lives {
            watched.push(PollFd::new(&self.socket, PollFlags::IN));
        }
        match poll(&mut watched, self.ended.is_some().then_some(&look)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Who signals the sentinel means the command.
    fn pass_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let number = i32::try_from(info.ssi_signo).unwrap_or(0);
            if number == Signal::CHILD.as_raw() {
                descendants::reap_orphans(self.command);
            }
            if let Some(signal) = Signal::from_named_raw(number).filter(|s| *s != Signal::CHILD) {
                self.pass(signal);
            }
        }
    }

    fn listen(&mut self) {
        let mut bytes = [0; 1024];
        while self.wrapper_lives {
            match recv(&self.socket, &mut bytes[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => self.wrapper_is_gone(),
                Ok((_, length)) => self.hear(&bytes[..length]),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Err(_) => self.wrapper_is_gone(),
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte != b'\n' {
                // A line of ours is never longer; what is longer is not understood and changes nothing.
                if self.half_line.len() < LINE_BYTES_MAX {
                    self.half_line.push(*byte);
                }
                continue;
            }
            let line = std::mem::take(&mut self.half_line);
            let said = std::str::from_utf8(&line).ok().and_then(|line| line.parse().ok());
            match said {
                Some(ToSentinel::Deadline(deadline)) if self.may_kill => self.plan.set(deadline),
                Some(ToSentinel::Signal(number)) => {
                    if let Some(signal) = Signal::from_named_raw(number) {
                        self.pass(signal);
                    }
                }
                _ => {}
            }
        }
    }

    fn wrapper_is_gone(&mut self) {
        self.wrapper_lives = false;
        if self.may_kill {
            self.plan.end(Boottime::now(), self.grace);
        }
    }

    fn pass(&mut self, signal: Signal) {
        self.asked_to_end |= SIGNALS_ENDING.contains(&signal);
        self.signal_group(signal);
    }

    fn signal_group(&self, signal: Signal) {
        // Fails only for a group that is gone already: the leader, dead or alive, is not reaped yet.
        let _ = kill_process_group(self.command, signal);
    }

    /// What is done to those that the command left behind is not done to the command.
    fn say_of_command(&self, what: FromSentinel) {
        if self.ended.is_none() {
            self.say(what);
        }
    }

    /// A wrapper that does not read must not hold the sentinel up: what does not fit is not said.
    fn say(&self, what: FromSentinel) {
        let _ = send(
            &self.socket,
            format!("{what}\n").as_bytes(),
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        );
    }

    /// The command is over, so there is time; a wrapper that is gone has no use for it.
    fn say_last(&self, what: FromSentinel) {
        let _ = send(&self.socket, format!("{what}\n").as_bytes(), SendFlags::NOSIGNAL);
    }
}
