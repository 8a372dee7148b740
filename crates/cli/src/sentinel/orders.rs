//! What the sentinel is started with.

use std::ffi::OsString;
use std::time::Duration;

use super::plan::Deadline;
use crate::boottime::Boottime;

/// The sentinel's own arguments, before the command and after its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Orders {
    /// Until when the command may run unless something newer is said.
    pub(crate) deadline: Deadline,
    /// How long the command has after SIGTERM when the wrapper is gone.
    pub(crate) grace: Duration,
    /// Whether the command may be ended at all.
    pub(crate) may_kill: bool,
    /// Whether the command gets the terminal.
    pub(crate) foreground: bool,
    /// The program and its arguments; never empty.
    pub(crate) command: Vec<OsString>,
}

impl Orders {
    /// As arguments.
    pub(crate) fn write(&self) -> Vec<OsString> {
        let word = |yes: bool, yes_word: &str, no_word: &str| {
            OsString::from(if yes { yes_word } else { no_word })
        };
        let mut arguments = vec![
            self.deadline.terminate_at.as_nanos().to_string().into(),
            self.deadline.kill_at.as_nanos().to_string().into(),
            self.grace.as_nanos().to_string().into(),
            word(self.may_kill, "kill", "spare"),
            word(self.foreground, "foreground", "background"),
        ];
        arguments.extend_from_slice(&self.command);
        arguments
    }

    /// From arguments; `None` if somebody else than the wrapper made them.
    pub(crate) fn read(mut arguments: impl Iterator<Item = OsString>) -> Option<Self> {
        let mut number = || arguments.next()?.to_str()?.parse::<u64>().ok();
        let terminate_at = Boottime::from_nanos(number()?);
        let kill_at = Boottime::from_nanos(number()?);
        let grace = Duration::from_nanos(number()?);
        let may_kill = arguments.next()? == "kill";
        let foreground = arguments.next()? == "foreground";
        let command: Vec<_> = arguments.collect();
        let deadline = Deadline { terminate_at, kill_at };
        (!command.is_empty()).then_some(Orders { deadline, grace, may_kill, foreground, command })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_read_back_as_they_were_written() {
        let orders = Orders {
            deadline: Deadline { terminate_at: Boottime::from_nanos(5), kill_at: Boottime::NEVER },
            grace: Duration::from_millis(1500),
            may_kill: true,
            foreground: false,
            command: vec!["a b".into(), "--".into(), "-x".into()],
        };
        assert_eq!(Orders::read(orders.write().into_iter()), Some(orders));
    }

    #[test]
    fn orders_without_a_command_are_none() {
        let words = ["1", "2", "3", "kill", "background"];
        assert_eq!(Orders::read(words.iter().map(Into::into)), None);
    }
}
