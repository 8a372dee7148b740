//! The signals that reach the wrapper.

use std::io;

use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::sentinel::SIGNALS_PASSED;

/// Signals that nobody has asked for yet; more are as good as one.
const PENDING_MAX: usize = 16;

/// Signals to this process, one after the other.
pub(crate) struct Signals(mpsc::Receiver<Signal>);

impl Signals {
    /// Listens from now on. Must be called within a runtime.
    ///
    /// What was ignored when the program started (SIGHUP under `nohup`) stays ignored.
    pub(crate) fn listen() -> io::Result<Self> {
        let (to, signals) = mpsc::channel(PENDING_MAX);
        let ignored = ignored_at_start();
        for passed in SIGNALS_PASSED {
            if ignored & (1 << (passed.as_raw() - 1)) != 0 {
                continue;
            }
            let mut stream = signal(SignalKind::from_raw(passed.as_raw()))?;
            let to = to.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    // Full: the same kind of news is waiting already.
                    let _ = to.try_send(passed);
                }
            });
        }
        Ok(Signals(signals))
    }

    /// The next one. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Signal {
        match self.0.recv().await {
            Some(signal) => signal,
            // All of them are ignored: none will ever come.
            None => std::future::pending().await,
        }
    }

    /// The next one that would end a program that does not catch it. One that would stop it, stops it.
    pub(crate) async fn next_fatal(&mut self) -> Signal {
        loop {
            match self.next().await {
                Signal::TSTP => stop_this_process(),
                Signal::WINCH | Signal::CONT => {}
                fatal => return fatal,
            }
        }
    }
}

/// Stops here until somebody sends SIGCONT.
pub(super) fn stop_this_process() {
    // A process may always signal itself.
    let _ = kill_process(getpid(), Signal::STOP);
}

/// A bit for each signal that is ignored, from the lowest; none without /proc.
fn ignored_at_start() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored_in(&status)
}

fn ignored_in(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nohup_ignores_is_read_from_the_kernels_own_account() {
        let status = "Name:\ttenure\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert_eq!(ignored_in(status), 0x1001);
        assert_eq!(ignored_in(""), 0);
    }
}
