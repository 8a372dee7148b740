//! DoubleDutch's command line: a port, then letters with their values, in any order.

use std::path::PathBuf;

use http::HeaderValue;

/// How a command line is written.
pub(super) const USAGE: &str = "usage: tenure doubledutch PORT [n NAME] [p MS] [t N] [h 0] [a KEY] [c CRT] [k KEY-FILE] [--no-status-tokens]
  n  server name in every answer (DoubleDutch/<version>)
  p  accepted and without effect: nobody polls here, a waiter is woken at once
  t  worker threads (one per processor)
  h  0: plain HTTP instead of HTTPS
  a  API key (else the first line of /config.txt; `a` is visible in the list of processes)
  c  certificate (/certificate.crt)
  k  its private key (/privateKey.key)
The log of all locks is in $TENURE_DATA (./tenure-data).";

/// Most worker threads that can be asked for.
const THREADS_MAX: usize = 1_024;

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The port on every address; 0, which no command line can say, takes a free one.
    pub port: u16,
    /// The server's name in answers.
    pub name: String,
    /// Worker threads; `None`: one per processor.
    pub threads: Option<usize>,
    /// Whether to speak plain HTTP.
    pub plain: bool,
    /// The API key, if it was given here.
    pub api_key: Option<String>,
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The file of its private key.
    pub private_key: PathBuf,
    /// Whether `/status` shows session tokens.
    pub status_tokens: bool,
}

impl CommandLine {
    /// What a line with nothing but this port asks for.
    pub fn on_port(port: u16) -> Self {
        CommandLine {
            port,
            name: default_name(),
            threads: None,
            plain: false,
            api_key: None,
            certificate: PathBuf::from("/certificate.crt"),
            private_key: PathBuf::from("/privateKey.key"),
            status_tokens: true,
        }
    }

    /// Reads the arguments after the program's name. A letter that comes twice counts as it was said last.
    pub fn parse(arguments: &[String]) -> Result<Self, BadLine> {
        let mut rest = arguments.iter().map(String::as_str).peekable();
        let status_tokens = !arguments.iter().any(|a| a == NO_STATUS_TOKENS);
        let mut words = std::iter::from_fn(|| rest.find(|word| *word != NO_STATUS_TOKENS));
        let port = words.next().ok_or(BadLine::NoPort)?;
        let mut line = CommandLine::on_port(number("PORT", port, 1, u16::MAX)?);
        line.status_tokens = status_tokens;
        while let Some(letter) = words.next() {
            let value = words.next().ok_or_else(|| BadLine::NoValue(letter.to_owned()))?;
            line.set(letter, value)?;
        }
        Ok(line)
    }

    fn set(&mut self, letter: &str, value: &str) -> Result<(), BadLine> {
        match letter {
            "n" => self.name = server_name(value)?,
            // Every waiter is woken by the release itself: there is no cycle to set the length of.
            "p" => drop(number::<u32>("p", value, 0, u32::MAX)?),
            "t" => self.threads = Some(number("t", value, 1, THREADS_MAX)?),
            "h" if value == "0" => self.plain = true,
            "h" => return Err(BadLine::OnlyZero(value.to_owned())),
            "a" if value.is_empty() => return Err(BadLine::EmptyKey),
            "a" => self.api_key = Some(value.to_owned()),
            "c" => self.certificate = PathBuf::from(value),
            "k" => self.private_key = PathBuf::from(value),
            other => return Err(BadLine::UnknownLetter(other.to_owned())),
        }
        Ok(())
    }
}

const NO_STATUS_TOKENS: &str = "--no-status-tokens";

/// The name of a server that was given none.
fn default_name() -> String {
    concat!("DoubleDutch/v", env!("CARGO_PKG_VERSION")).to_owned()
}

// The name goes into a header of every answer.
fn server_name(text: &str) -> Result<String, BadLine> {
    match HeaderValue::from_str(text) {
        Ok(_) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(BadLine::NotAName),
    }
}

fn number<N>(what: &'static str, text: &str, min: N, max: N) -> Result<N, BadLine>
where
    N: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    // Digits only, as DoubleDutch demanded: `+8` would be a typing error.
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<N>() {
        Ok(value) if digits && value >= min && value <= max => Ok(value),
        _ => {
            let range = format!("{min} to {max}");
            Err(BadLine::NotANumber { what, text: text.to_owned(), range })
        }
    }
}

/// A command line that asks for nothing that can be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// It is empty.
    #[error("the first argument is the port")]
    NoPort,
    /// A letter at the end.
    #[error("`{0}` needs a value")]
    NoValue(String),
    /// Not one of DoubleDutch's letters.
    #[error("`{0}` is not one of n, p, t, h, a, c, k")]
    UnknownLetter(String),
    /// Not a number, or too high or too low.
    #[error("{what} is a number from {range}, not `{text}`")]
    NotANumber {
        /// Which argument.
        what: &'static str,
        /// What it was.
        text: String,
        /// What it may be.
        range: String,
    },
    /// `h` with anything but 0.
    #[error("h only takes 0 (plain HTTP), not `{0}`")]
    OnlyZero(String),
    /// A name that no header can carry.
    #[error("n is a name of printable ASCII characters")]
    NotAName,
    /// `a` without a key in it.
    #[error("a needs a key that is not empty")]
    EmptyKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<CommandLine, BadLine> {
        let words: Vec<String> =
            line.split(' ').filter(|w| !w.is_empty()).map(Into::into).collect();
        CommandLine::parse(&words)
    }

    #[test]
    fn a_port_alone_means_https_with_the_files_at_the_root() {
        let line = parse("8000").unwrap();
        assert_eq!(line, CommandLine::on_port(8000));
        assert!(!line.plain);
        assert_eq!(line.certificate, PathBuf::from("/certificate.crt"));
        assert_eq!(line.private_key, PathBuf::from("/privateKey.key"));
        assert_eq!(line.name, format!("DoubleDutch/v{}", env!("CARGO_PKG_VERSION")));
        assert_eq!((line.threads, line.api_key), (None, None));
        assert!(line.status_tokens);
    }

    #[test]
    fn the_line_of_the_original_test_is_understood() {
        let line = parse("8000 h 0 a test t 30 n TestServer").unwrap();
        assert!(line.plain);
        assert_eq!(line.api_key.as_deref(), Some("test"));
        assert_eq!(line.threads, Some(30));
        assert_eq!(line.name, "TestServer");
    }

    #[test]
    fn every_letter_is_understood_in_any_order() {
        let line = parse("1 k /k.pem p 333 c /c.pem --no-status-tokens n A n B a 0123").unwrap();
        assert_eq!(line.private_key, PathBuf::from("/k.pem"));
        assert_eq!(line.certificate, PathBuf::from("/c.pem"));
        assert_eq!(line.name, "B", "what is said last counts");
        assert_eq!(line.api_key.as_deref(), Some("0123"), "a key may be of digits");
        assert!(!line.status_tokens);
        assert!(!parse("--no-status-tokens 8000").unwrap().status_tokens);
    }

    #[test]
    fn a_wrong_line_is_refused_with_its_reason() {
        for (line, reason) in [
            ("", "the first argument is the port"),
            ("--no-status-tokens", "the first argument is the port"),
            ("http", "PORT is a number from 1 to 65535, not `http`"),
            ("0", "PORT is a number from 1 to 65535, not `0`"),
            ("65536", "PORT is a number from 1 to 65535, not `65536`"),
            ("+80", "PORT is a number from 1 to 65535, not `+80`"),
            ("8000 n", "`n` needs a value"),
            ("8000 x 1", "`x` is not one of n, p, t, h, a, c, k"),
            ("8000 -p 1", "`-p` is not one of n, p, t, h, a, c, k"),
            ("8000 p -1", "p is a number from 0 to 4294967295, not `-1`"),
            ("8000 t 0", "t is a number from 1 to 1024, not `0`"),
            ("8000 t many", "t is a number from 1 to 1024, not `many`"),
            ("8000 h 1", "h only takes 0 (plain HTTP), not `1`"),
        ] {
            assert_eq!(parse(line).unwrap_err().to_string(), reason, "line {line:?}");
        }
        let empty_key = ["8000", "a", ""].map(String::from);
        assert_eq!(CommandLine::parse(&empty_key), Err(BadLine::EmptyKey));
        let forged = ["8000", "n", "a\r\nSet-Cookie: b"].map(String::from);
        assert_eq!(CommandLine::parse(&forged), Err(BadLine::NotAName));
    }
}
