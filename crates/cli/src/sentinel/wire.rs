//! What wrapper and sentinel tell each other: one line each, over a socket that nobody else has.

use std::fmt;
use std::str::{FromStr, SplitAsciiWhitespace};

use super::plan::Deadline;
use crate::boottime::Boottime;

/// The line is none of ours.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotALine;

/// What the wrapper says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToSentinel {
    /// The command may run so long.
    Deadline(Deadline),
    /// Pass this signal to the command's group.
    Signal(i32),
}

/// What the sentinel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FromSentinel {
    /// The command runs, under this process id, which is also that of its group.
    Started(i32),
    /// The command was stopped by this signal and may go on later.
    Stopped(i32),
    /// The command was told to stop because its time is up.
    Terminated,
    /// The command was ended because its time is up.
    Killed,
    /// Something that the command left behind runs on, though it was to be ended.
    Left,
    /// The command has ended: its own status.
    Exited(i32),
    /// The command has ended by this signal.
    Signalled(i32),
}

impl fmt::Display for ToSentinel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ToSentinel::Deadline(deadline) => {
                let (terminate, kill) = (deadline.terminate_at, deadline.kill_at);
                write!(f, "deadline {} {}", terminate.as_nanos(), kill.as_nanos())
            }
            ToSentinel::Signal(number) => write!(f, "signal {number}"),
        }
    }
}

impl fmt::Display for FromSentinel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FromSentinel::Started(pid) => write!(f, "started {pid}"),
            FromSentinel::Stopped(signal) => write!(f, "stopped {signal}"),
            FromSentinel::Terminated => f.write_str("terminated"),
            FromSentinel::Killed => f.write_str("killed"),
            FromSentinel::Left => f.write_str("left"),
            FromSentinel::Exited(status) => write!(f, "exited {status}"),
            FromSentinel::Signalled(signal) => write!(f, "signalled {signal}"),
        }
    }
}

impl FromStr for ToSentinel {
    type Err = NotALine;

    fn from_str(line: &str) -> Result<Self, NotALine> {
        let mut words = line.split_ascii_whitespace();
        let said = match words.next() {
            Some("deadline") => {
                let terminate_at = Boottime::from_nanos(number(&mut words)?);
                let kill_at = Boottime::from_nanos(number(&mut words)?);
                ToSentinel::Deadline(Deadline { terminate_at, kill_at })
            }
            Some("signal") => ToSentinel::Signal(number(&mut words)?),
            _ => return Err(NotALine),
        };
        words.next().map_or(Ok(said), |_| Err(NotALine))
    }
}

impl FromStr for FromSentinel {
    type Err = NotALine;

    fn from_str(line: &str) -> Result<Self, NotALine> {
        let mut words = line.split_ascii_whitespace();
        let said = match words.next() {
            Some("started") => FromSentinel::Started(number(&mut words)?),
            Some("stopped") => FromSentinel::Stopped(number(&mut words)?),
            Some("terminated") => FromSentinel::Terminated,
            Some("killed") => FromSentinel::Killed,
            Some("left") => FromSentinel::Left,
            Some("exited") => FromSentinel::Exited(number(&mut words)?),
            Some("signalled") => FromSentinel::Signalled(number(&mut words)?),
            _ => return Err(NotALine),
        };
        words.next().map_or(Ok(said), |_| Err(NotALine))
    }
}

fn number<N: FromStr>(words: &mut SplitAsciiWhitespace<'_>) -> Result<N, NotALine> {
    words.next().and_then(|word| word.parse().ok()).ok_or(NotALine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_reads_back_as_what_was_said() {
        let deadline = Deadline { terminate_at: Boottime::from_nanos(7), kill_at: Boottime::NEVER };
        for said in [ToSentinel::Deadline(deadline), ToSentinel::Signal(15)] {
            assert_eq!(said.to_string().parse(), Ok(said));
        }
        let answers = [
            FromSentinel::Started(17),
            FromSentinel::Stopped(20),
            FromSentinel::Terminated,
            FromSentinel::Killed,
            FromSentinel::Left,
            FromSentinel::Exited(7),
            FromSentinel::Signalled(9),
        ];
        for said in answers {
            assert_eq!(said.to_string().parse(), Ok(said));
        }
    }

    #[test]
    fn half_a_line_is_none() {
        for line in ["", "deadline 5", "signal", "signal x", "deadline 1 2 3", "run"] {
            assert_eq!(line.parse::<ToSentinel>(), Err(NotALine), "{line}");
        }
        assert_eq!("exited".parse::<FromSentinel>(), Err(NotALine));
    }
}
