//! What stands on the command line, where several commands share it.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};
use tenure_api::Seconds;
use tenure_core::{LockName, Note, Permits, Prefix, Reason, Token, Weight};

/// Flags of every command.
#[derive(Args, Debug, Clone)]
pub(crate) struct Global {
    /// The server, or several with commas between them; or file:DIR to use a data directory without a server
    /// [env: TENURE_URL] [default: http://127.0.0.1:7420]
    #[arg(long, global = true, value_name = "URL[,URL…]", help_heading = "Connection")]
    pub(crate) url: Option<String>,
    /// A file whose first line is the API key (a key itself is never an argument: `ps` shows those)
    /// [env: TENURE_API_KEY_FILE, or TENURE_API_KEY with the key itself]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// Certificates that may sign the server's, in PEM; else those of the system [env: TENURE_CA]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub(crate) ca: Option<PathBuf>,
    /// This client's certificate, in PEM [env: TENURE_CERT]
    #[arg(long, global = true, value_name = "FILE", requires = "key", help_heading = "Connection")]
    pub(crate) cert: Option<PathBuf>,
    /// Its private key, in PEM [env: TENURE_KEY]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        requires = "cert",
        help_heading = "Connection"
    )]
    pub(crate) key: Option<PathBuf>,
    /// How long an unreachable server is tried [env: TENURE_CONNECT_TIMEOUT] [default: 10s]
    #[arg(long, global = true, value_name = "DUR", value_parser = duration, help_heading = "Connection")]
    pub(crate) connect_timeout: Option<Duration>,
    /// Print JSON
    #[arg(long, global = true, env = "TENURE_JSON", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue, help_heading = "Output")]
    pub(crate) json: bool,
    /// Say nothing that was not asked for
    #[arg(short, long, global = true, env = "TENURE_QUIET", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue, conflicts_with = "verbose", help_heading = "Output")]
    pub(crate) quiet: bool,
    /// Say what happens
    #[arg(short, long, global = true, env = "TENURE_VERBOSE", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue, help_heading = "Output")]
    pub(crate) verbose: bool,
}

/// How a lock is wanted.
#[derive(Args, Debug, Clone, Copy)]
pub(crate) struct Mode {
    /// Alone (the default)
    #[arg(short = 'x', long, conflicts_with_all = ["shared", "permits"])]
    pub(crate) exclusive: bool,
    /// Together with other shared holders
    #[arg(short, long, conflicts_with = "permits")]
    pub(crate) shared: bool,
    /// As one of N holders: a semaphore of N permits
    #[arg(long, value_name = "N", value_parser = permits)]
    pub(crate) permits: Option<Permits>,
    /// How many of the permits to take
    #[arg(long, value_name = "W", requires = "permits", value_parser = weight)]
    pub(crate) weight: Option<Weight>,
}

/// How long to wait for a lock.
#[derive(Args, Debug, Clone, Copy)]
pub(crate) struct Waiting {
    /// Do not wait
    #[arg(short, long, conflicts_with = "wait")]
    pub(crate) nonblock: bool,
    /// Wait at most so long; 0 is the same as -n. Without it, wait for ever
    #[arg(short, long, value_name = "DUR", value_parser = duration, env = "TENURE_WAIT", hide_env = true)]
    pub(crate) wait: Option<Duration>,
}

/// The longest a request may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Not at all.
    None,
    /// So long.
    AtMost(Duration),
    /// For ever.
    Endless,
}

impl Waiting {
    /// What the flags mean.
    pub(crate) fn patience(self) -> Patience {
        match self.wait {
            _ if self.nonblock => Patience::None,
            Some(Duration::ZERO) => Patience::None,
            Some(wait) => Patience::AtMost(wait),
            None => Patience::Endless,
        }
    }
}

/// A duration: `10`, `0.5`, `10s`, `500ms`, `5m`, `1h`, `1d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<Seconds>().map(Seconds::get).map_err(|why| why.to_string())
}

/// The name of a lock.
pub(crate) fn lock_name(text: &str) -> Result<LockName, String> {
    LockName::new(text).map_err(|why| format!("a name {why}"))
}

/// The beginning of names.
pub(crate) fn prefix(text: &str) -> Result<Prefix, String> {
    Prefix::new(text).map_err(|why| format!("a prefix {why}"))
}

/// Free text about a holder.
pub(crate) fn note(text: &str) -> Result<Note, String> {
    Note::new(text).map_err(|why| format!("a note {why}"))
}

/// Why an operator does something. Holders are told, and it is kept, so it must say something.
pub(crate) fn reason(text: &str) -> Result<Reason, String> {
    if text.trim().is_empty() {
        return Err("the reason is told to the holder and kept: say why".to_owned());
    }
    Reason::new(text).map_err(|why| format!("a reason {why}"))
}

/// A fencing token.
pub(crate) fn token(text: &str) -> Result<Token, String> {
    text.parse().map(Token::new).map_err(|_| "a token is a whole number".to_owned())
}

/// The size of a semaphore.
pub(crate) fn permits(text: &str) -> Result<Permits, String> {
    let number: Option<u32> = text.parse().ok();
    number
        .and_then(Permits::new)
        .ok_or_else(|| "permits are a whole number from 1 to 2147483648".to_owned())
}

/// A part of a semaphore.
fn weight(text: &str) -> Result<Weight, String> {
    let number: Option<u32> = text.parse().ok();
    number
        .and_then(Weight::new)
        .ok_or_else(|| "a weight is a whole number from 1 to 2147483648".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_units_of_the_interface() {
        let millis = |text| duration(text).map(|span| span.as_millis());
        assert_eq!(millis("10"), Ok(10_000));
        assert_eq!(millis("0.5"), Ok(500));
        assert_eq!(millis("500ms"), Ok(500));
        assert_eq!(millis("5m"), Ok(300_000));
        assert_eq!(millis("1d"), Ok(86_400_000));
        for text in ["", "-1", "1w", "NaN", "inf", "1e3", "s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn waiting_for_nothing_is_not_waiting() {
        let patience = |nonblock, wait| Waiting { nonblock, wait }.patience();
        assert_eq!(patience(true, None), Patience::None);
        assert_eq!(patience(false, Some(Duration::ZERO)), Patience::None);
        assert_eq!(patience(false, None), Patience::Endless);
    }

    #[test]
    fn a_reason_says_something() {
        assert!(reason("  ").is_err());
        assert!(reason("host died").is_ok());
    }
}
