//! Why a command ends otherwise than well: the exit status that scripts decide by, and the line that people read.

use std::io;
use std::process::ExitCode;

use rustix::process::Signal;
use tenure::{ConnectError, Error, GrantError, Refusal};
use tenure_api::Code;

use crate::{output, reaching};

/// Exit statuses (sysexits.h where there is one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Not acquired, not current, free, not ready.
    No,
    /// What the user gave as the status of "not acquired", or a command's own.
    Given(u8),
    /// Wrong usage: nothing was tried.
    Usage,
    /// The answer was not understood.
    NotUnderstood,
    /// The server cannot be reached or cannot do it now, or nobody knows whether it did.
    Unavailable,
    /// The lock was lost.
    Lost,
    /// The key was refused.
    Refused,
}

impl Exit {
    /// The number.
    pub(crate) fn status(self) -> u8 {
        match self {
            Exit::No => 1,
            Exit::Given(status) => status,
            Exit::Usage => 64,
            Exit::NotUnderstood => 65,
            Exit::Unavailable => 69,
            Exit::Lost => 75,
            Exit::Refused => 77,
        }
    }

    /// That of a program that a signal ended.
    pub(crate) fn signalled(signal: Signal) -> Self {
        Exit::Given(u8::try_from(128 + signal.as_raw()).unwrap_or(u8::MAX))
    }
}

/// The end of a command that did not do what it was asked to do.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    /// What happened and, in brackets, what to do next. `None`: all was said, or there is nothing to say.
    message: Option<String>,
}

impl Failure {
    /// Says `message` and ends with `exit`.
    pub(crate) fn new(exit: Exit, message: impl AsRef<str>) -> Self {
        Failure { exit, message: Some(output::clean(message.as_ref())) }
    }

    /// Ends with `exit` and says nothing.
    pub(crate) fn silent(exit: Exit) -> Self {
        Failure { exit, message: None }
    }

    /// Wrong usage.
    pub(crate) fn usage(message: impl AsRef<str>) -> Self {
        Failure::new(Exit::Usage, message)
    }

    /// What was to be printed could not be.
    pub(crate) fn output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            // Who reads it has read enough, as `| head` does: 128 + SIGPIPE, and nothing to say.
            return Failure::silent(Exit::Given(141));
        }
        Failure::new(Exit::Given(74), format!("cannot write: {error}"))
    }

    /// Says what is to be said.
    pub(crate) fn report(self) -> ExitCode {
        if let Some(message) = &self.message {
            output::say(message);
        }
        ExitCode::from(self.exit.status())
    }

    /// The exit status.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => Failure::from(refusal),
            Error::SessionEnded(end) => {
                Failure::new(Exit::Lost, format!("the session is over: {end} (start again)"))
            }
            Error::Unavailable { why, .. } => Failure::new(
                Exit::Unavailable,
                format!(
                    "{} (is the server running, and is this its URL? see: tenure health, TENURE_URL)",
                    reaching::plainly(&why)
                ),
            ),
            Error::Unknown { why, .. } => Failure::new(
                Exit::Unavailable,
                format!(
                    "it may have happened or not: {} (see what is there before you try again: tenure who NAME)",
                    reaching::plainly(&why)
                ),
            ),
            Error::NotUnderstood { why } => Failure::new(
                Exit::NotUnderstood,
                format!(
                    "the answer was not understood: {why} (is this the URL of a Tenure server?)"
                ),
            ),
            other => Failure::new(Exit::Unavailable, other.to_string()),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.sentence();
        match refusal.code {
            Code::Unauthenticated => Failure::new(
                Exit::Refused,
                format!("{detail} (give the key in TENURE_API_KEY, --api-key-file or client.toml)"),
            ),
            Code::Forbidden => Failure::new(
                Exit::Refused,
                format!("{detail} (another key is needed; an operator makes one: tenure keys add)"),
            ),
            Code::NotFound | Code::Held => Failure::new(Exit::No, detail),
            Code::Lost | Code::SessionEnded => Failure::new(Exit::Lost, detail),
            Code::Limit | Code::Bug | Code::Unavailable | Code::Unknown | Code::NotSupported => {
                Failure::new(Exit::Unavailable, detail)
            }
            _ => Failure::new(Exit::Usage, detail),
        }
    }
}

impl From<GrantError> for Failure {
    fn from(error: GrantError) -> Self {
        match error {
            GrantError::Lost(loss) => Failure::new(Exit::Lost, loss.to_string()),
            GrantError::Other(error) => Failure::from(error),
            other => Failure::new(Exit::NotUnderstood, other.to_string()),
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Refused(error) => Failure::from(error),
            ConnectError::InUse(_) | ConnectError::System(_) => {
                Failure::new(Exit::Unavailable, error.to_string())
            }
            ConnectError::Damaged(_) => Failure::new(Exit::NotUnderstood, error.to_string()),
            other => Failure::usage(other.to_string()),
        }
    }
}
