//! What the server was told: flags over environment over file over defaults.

mod duration;
mod file;
mod resolve;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tenure_core::{KeyName, Prefix, Quota, Role};
use tenure_log::Durability;

pub use duration::parse_duration;
pub use resolve::{ConfigError, Overrides};

/// Where the configuration is read from if nothing else is said.
pub(crate) const FILE: &str = "/etc/tenure/tenure.toml";

/// The port if nothing else is said.
pub(crate) const PORT: u16 = 7420;
/// The data directory if nothing else is said.
pub(crate) const DATA: &str = "./tenure-data";

/// Everything a server is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens.
    pub listen: Vec<Listen>,
    /// Where operators come in, if not by the same door.
    pub admin_listen: Option<Listen>,
    /// Plain HTTP beyond loopback.
    pub insecure: bool,
    /// Certificates; `None`: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// The data directory.
    pub data: PathBuf,
    /// Keys of the configuration.
    pub keys: Vec<KeyConfig>,
    /// A single key in clear (`--api-key`, environment).
    pub api_key: Option<ApiKey>,
    /// Whether weak keys are taken with a warning only, as DoubleDutch does.
    pub weak_keys: bool,
    /// Bounds of connections.
    pub connections: ConnectionLimits,
    /// How long changes are kept for readers that come back.
    pub changes_kept: Duration,
    /// How logs are written.
    pub log: LogConfig,
    /// What requests are answered by.
    pub settings: Settings,
    /// The file it came from, if any.
    pub file: Option<PathBuf>,
    /// What was said outside the file, for reading it again.
    pub overrides: Overrides,
}

/// What requests are answered by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The server's name (DoubleDutch's `servername`).
    pub name: String,
    /// How long one answer may wait unless the request says less or more.
    pub hold: Duration,
    /// How long holders may renew after the word to stop, unless that says otherwise.
    pub drain: Duration,
    /// Held answers at once; beyond: 503 `overloaded`.
    pub waiters_max: usize,
    /// Sessions at once; beyond: 429 `limit`.
    pub sessions_max: usize,
    /// Whether the log is on disk.
    pub durability: Durability,
    /// Web origins whose scripts may read answers.
    pub cors_origins: Vec<String>,
    /// The three DoubleDutch routes.
    pub doubledutch: DoubleDutch,
    /// Waits and requests above this are logged.
    pub slow: Duration,
    /// Whether every request is logged.
    pub access_log: bool,
}

/// The DoubleDutch routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoubleDutch {
    /// Whether they are served.
    pub enabled: bool,
    /// Whether `/status` shows session tokens.
    pub status_tokens: bool,
}

/// One address to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An IP address and port; port 0: any free one.
    Tcp(SocketAddr),
    /// A Unix socket's path.
    Unix(PathBuf),
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Listen::Tcp(address) => write!(f, "{address}"),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Certificate files in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authority of client certificates, if they are asked for.
    pub client_ca: Option<PathBuf>,
}

/// A key of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyConfig {
    /// Its name.
    pub name: KeyName,
    /// SHA-256 of its secret; `None`: only client certificates with this subject.
    pub sha256: Option<[u8; 32]>,
    /// What it may do.
    pub roles: Vec<Role>,
    /// The names it sees; empty: all.
    pub prefixes: Vec<Prefix>,
    /// Longest time to live it may ask for.
    pub ttl_max: Option<Duration>,
    /// What it may have at once.
    pub quota: Option<Quota>,
    /// Requests per second.
    pub requests_per_second: Option<u32>,
}

/// A key in clear, and where it came from.
#[derive(Clone, PartialEq, Eq)]
pub enum ApiKey {
    /// The secret itself.
    Given(String),
    /// A file whose first line is the secret.
    File(PathBuf),
}

impl std::fmt::Debug for ApiKey {
    // A key never reaches a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ApiKey::Given(_) => f.write_str("Given(…)"),
            ApiKey::File(path) => write!(f, "File({path:?})"),
        }
    }
}

/// Bounds of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at once.
    pub total_max: usize,
    /// Connections of one address at once.
    pub per_address_max: usize,
    /// Whether that counts for loopback too, where proxies and test programs come from: only if it was asked for.
    pub loopback_too: bool,
    /// How long the head of a request may take.
    pub header_timeout: Duration,
    /// How long a connection may be silent between requests.
    pub idle_timeout: Duration,
}

/// How logs are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,tenure_log=debug`.
    pub level: String,
    /// Text, JSON, or whatever suits.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}
