//! Flags and environment over the file over defaults, checked.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tenure_core::{KeyName, Prefix, Quota, limits};
use tenure_log::Durability;

use super::{
    ApiKey, Config, ConnectionLimits, DATA, DoubleDutch, FILE, KeyConfig, Listen, LogConfig,
    LogFormat, PORT, Settings, TlsFiles, file, parse_duration,
};
use crate::identity::role_named;
use crate::keys::is_in_a_path;

/// Longest time that one answer may wait.
const HOLD_MAX: Duration = Duration::from_secs(600);
/// What a later version will know: a file may have it if it is turned off, so that one file serves both.
const LATER: [(&str, &str, &str); 7] = [
    ("backend", "store", "a database as the store"),
    ("backend", "node_ttl", "a database as the store"),
    ("backend", "advertise", "a database as the store"),
    ("cluster", "peers", "a cluster of several nodes"),
    ("cluster", "peer_listen", "a cluster of several nodes"),
    ("limits", "rows", "tables"),
    ("zmq", "bind", "ZeroMQ"),
];

/// What flags and environment said; `None`: nothing.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--config`. An empty path: no file, not even the default one.
    pub config: Option<PathBuf>,
    /// `--listen`, each.
    pub listen: Option<Vec<String>>,
    /// `--admin-listen`.
    pub admin_listen: Option<String>,
    /// `--data`.
    pub data: Option<PathBuf>,
    /// `--durability`.
    pub durability: Option<String>,
    /// `--api-key` or `--api-key-file`.
    pub api_key: Option<ApiKey>,
    /// `--tls-cert`.
    pub tls_cert: Option<PathBuf>,
    /// `--tls-key`.
    pub tls_key: Option<PathBuf>,
    /// `--client-ca`.
    pub client_ca: Option<PathBuf>,
    /// `--insecure`.
    pub insecure: Option<bool>,
    /// `--drain`.
    pub drain: Option<String>,
    /// The server's name.
    pub name: Option<String>,
    /// `$CREDENTIALS_DIRECTORY`, where systemd puts secrets; a file `api-key` in it is the key.
    pub credentials: Option<PathBuf>,
    /// Whether the DoubleDutch routes are served.
    pub doubledutch: Option<bool>,
    /// Whether DoubleDutch's `/status` shows tokens.
    pub status_tokens: Option<bool>,
    /// Whether weak keys are taken with a warning, as DoubleDutch does.
    pub weak_keys: bool,
}

/// Why a configuration cannot be used; exit status 64.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is not understood.
    #[error("{}: {why}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        why: String,
    },
    /// A value cannot be used.
    #[error("{what}: {why}")]
    Value {
        /// Which flag or key.
        what: String,
        /// What is wrong and what would be right.
        why: String,
    },
}

fn value(what: impl Into<String>, why: impl Into<String>) -> ConfigError {
    ConfigError::Value { what: what.into(), why: why.into() }
}

impl Config {
    /// What a server is started with: `overrides` over the file they name (or `/etc/tenure/tenure.toml`, if it exists) over defaults.
    pub fn load(overrides: &Overrides) -> Result<Config, ConfigError> {
        let path = match &overrides.config {
            Some(path) => Some(path.clone()).filter(|path| !path.as_os_str().is_empty()),
            None => Some(PathBuf::from(FILE)).filter(|path| path.exists()),
        };
        let file = match &path {
            Some(path) => read(path)?,
            None => file::File::default(),
        };
        resolve(overrides, file, path)
    }
}

fn read(path: &Path) -> Result<file::File, ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
    parse(&text).map_err(|why| ConfigError::Syntax { path: path.to_owned(), why })
}

/// The file's content, or what is wrong with it in words.
fn parse(text: &str) -> Result<file::File, String> {
    let table: toml::Table = text.parse().map_err(|error| in_one_line(text, &error))?;
    for (section, key, what) in LATER {
        let value = table.get(section).and_then(|section| section.get(key));
        if value.is_some_and(|value| !is_off(value)) {
            return Err(format!("`{section}.{key}`: {what} is not in this version: remove it"));
        }
    }
    toml::from_str(text).map_err(|error| in_one_line(text, &error))
}

/// Whether a value of a later version asks for nothing.
fn is_off(value: &toml::Value) -> bool {
    match value {
        toml::Value::String(text) => text.is_empty(),
        toml::Value::Table(table) => table.is_empty(),
        toml::Value::Array(array) => array.is_empty(),
        toml::Value::Boolean(on) => !on,
        _ => false,
    }
}

/// What is wrong and where. The library's own words span several lines, which one line of a log cannot show.
fn in_one_line(text: &str, error: &toml::de::Error) -> String {
    let why: Vec<&str> = error.message().lines().map(str::trim).collect();
    let why = why.join("; ");
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return why };
    let line = before.matches('\n').count() + 1;
    let written = text.lines().nth(line - 1).unwrap_or_default();
    // The key is named; the value may be a secret in a wrong place.
    match written.split_once('=') {
        Some((key, _)) => format!("line {line}, `{}`: {why}", key.trim()),
        None => format!("line {line}: {why}"),
    }
}

fn resolve(
    flags: &Overrides,
    file: file::File,
    path: Option<PathBuf>,
) -> Result<Config, ConfigError> {
    let server = &file.server;
    let listen = match (&flags.listen, &server.listen) {
        (Some(flags), _) => flags.clone(),
        (None, Some(file)) => file.clone(),
        (None, None) => vec![format!("127.0.0.1:{PORT}")],
    };
    let listen =
        listen.iter().map(|text| address("listen", text)).collect::<Result<Vec<_>, _>>()?;
    let admin = flags.admin_listen.as_ref().or(server.admin_listen.as_ref());
    let config = Config {
        listen,
        admin_listen: admin.map(|text| address("admin_listen", text)).transpose()?,
        insecure: flags.insecure.or(server.insecure).unwrap_or(false),
        tls: tls_files(flags, &file.tls)?,
        data: flags.data.clone().or(file.backend.data.clone()).unwrap_or(DATA.into()),
        keys: keys(&file.keys)?,
        api_key: api_key(flags),
        weak_keys: flags.weak_keys,
        connections: connections(&file)?,
        changes_kept: span(file.limits.changes_kept, 3600),
        log: log(&file.log)?,
        settings: settings(flags, &file)?,
        file: path,
        overrides: flags.clone(),
    };
    config.check()?;
    Ok(config)
}

impl Config {
    /// What no single value shows.
    fn check(&self) -> Result<(), ConfigError> {
        if self.listen.is_empty() {
            return Err(value("listen", "at least one address is needed"));
        }
        let doors = self.listen.iter().chain(&self.admin_listen);
        for door in doors {
            let Listen::Tcp(at) = door else { continue };
            if self.tls.is_none() && !self.insecure && !at.ip().to_canonical().is_loopback() {
                return Err(value(
                    format!("listen {at}"),
                    "plain HTTP would send keys over the network for all to read; give --tls-cert and \
                     --tls-key, listen on 127.0.0.1, or say --insecure if something in front encrypts",
                ));
            }
        }
        let mut names = HashSet::new();
        if let Some(twice) = self.keys.iter().find(|key| !names.insert(&key.name)) {
            return Err(value(format!("keys.{}", twice.name), "this name is used twice"));
        }
        let mut secrets = HashSet::new();
        match self.keys.iter().find(|key| key.sha256.is_some_and(|hash| !secrets.insert(hash))) {
            Some(twice) => {
                Err(value(format!("keys.{}", twice.name), "another key has the same sha256"))
            }
            None => Ok(()),
        }
    }
}

/// `HOST:PORT`, `PORT` or `unix:PATH`.
fn address(what: &str, text: &str) -> Result<Listen, ConfigError> {
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() {
            return Err(value(what, "`unix:` needs the path of a socket"));
        }
        return Ok(Listen::Unix(path.into()));
    }
    let numeric = text.replacen("localhost:", "127.0.0.1:", 1);
    if let Ok(at) = numeric.parse::<SocketAddr>() {
        return Ok(Listen::Tcp(at));
    }
    if let Some(port) = text.strip_prefix(':').and_then(|port| port.parse().ok()) {
        return Ok(Listen::Tcp((IpAddr::from([0, 0, 0, 0]), port).into()));
    }
    Err(value(
        what,
        format!("`{text}` is not an address: say 127.0.0.1:7420, [::1]:7420 or unix:/run/x"),
    ))
}

fn tls_files(flags: &Overrides, file: &file::Tls) -> Result<Option<TlsFiles>, ConfigError> {
    // An empty text in the file stands for nothing, as the reference configuration shows it.
    let pick = |flag: &Option<PathBuf>, file: &Option<PathBuf>| {
        flag.clone().or(file.clone()).filter(|path| !path.as_os_str().is_empty())
    };
    let cert = pick(&flags.tls_cert, &file.cert);
    let key = pick(&flags.tls_key, &file.key);
    let client_ca = pick(&flags.client_ca, &file.client_ca);
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key, client_ca })),
        (None, None) if client_ca.is_some() => {
            Err(value("tls.client_ca", "client certificates need tls.cert and tls.key too"))
        }
        (None, None) => Ok(None),
        (Some(_), None) => Err(value("tls.key", "is missing beside tls.cert")),
        (None, Some(_)) => Err(value("tls.cert", "is missing beside tls.key")),
    }
}

/// The key that flags or environment name, or the one that systemd hands over.
fn api_key(flags: &Overrides) -> Option<ApiKey> {
    let credential = || {
        let path = flags.credentials.as_ref()?.join("api-key");
        path.exists().then_some(ApiKey::File(path))
    };
    flags.api_key.clone().or_else(credential)
}

fn keys(written: &[file::Key]) -> Result<Vec<KeyConfig>, ConfigError> {
    written.iter().map(key).collect()
}

fn key(written: &file::Key) -> Result<KeyConfig, ConfigError> {
    let what = format!("keys.{}", written.name);
    let name = KeyName::new(&written.name).map_err(|bad| value(&what, bad.to_string()))?;
    if !is_in_a_path(&name) {
        return Err(value(&what, "a name has no `/` in it and is not `.` or `..`"));
    }
    if written.max_ttl.is_some_and(|span| span.0 < limits::TTL_MIN) {
        return Err(value(&what, "max_ttl is at least 100ms"));
    }
    if written.requests_per_second == Some(0) {
        return Err(value(&what, "requests_per_second is at least 1"));
    }
    let sha256 = match &written.sha256 {
        Some(text) => Some(hash(text).ok_or_else(|| {
            value(&what, "sha256 is 64 hexadecimal digits; `printf %s KEY | sha256sum` prints them")
        })?),
        None => None,
    };
    let roles = written.roles.iter().map(|word| {
        role_named(word).ok_or_else(|| {
            value(&what, format!("`{word}` is no role: read, lock, write or operator"))
        })
    });
    let roles = roles.collect::<Result<Vec<_>, _>>()?;
    if roles.is_empty() {
        return Err(value(&what, "roles: at least one is needed"));
    }
    if roles.iter().collect::<HashSet<_>>().len() < roles.len() {
        return Err(value(&what, "roles: one is there twice"));
    }
    let prefixes = written.prefixes.iter().map(|text| {
        Prefix::new(text).map_err(|bad| value(&what, format!("prefix `{text}` {bad}")))
    });
    let quota = Quota {
        held_max: written.held,
        waiting_max: written.waiting,
        sessions_max: written.sessions,
    };
    Ok(KeyConfig {
        name,
        sha256,
        roles,
        prefixes: prefixes.collect::<Result<_, _>>()?,
        ttl_max: written.max_ttl.map(|span| span.0),
        quota: Some(quota).filter(|quota| *quota != Quota::default()),
        requests_per_second: written.requests_per_second,
    })
}

/// 64 hexadecimal digits.
fn hash(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

fn span(written: Option<file::Span>, default_seconds: u64) -> Duration {
    written.map_or(Duration::from_secs(default_seconds), |span| span.0)
}

fn connections(file: &file::File) -> Result<ConnectionLimits, ConfigError> {
    let limits = ConnectionLimits {
        total_max: file.limits.connections.unwrap_or(4096),
        per_address_max: file.limits.connections_per_address.unwrap_or(256),
        loopback_too: file.limits.connections_per_address.is_some(),
        header_timeout: span(file.server.header_timeout, 10),
        idle_timeout: span(file.server.idle_timeout, 75),
    };
    let bounds = [
        ("limits.connections", limits.total_max),
        ("limits.connections_per_address", limits.per_address_max),
    ];
    if let Some((what, _)) = bounds.iter().find(|(_, max)| *max == 0) {
        return Err(value(*what, "nobody could connect with 0"));
    }
    let spans = [
        ("server.header_timeout", limits.header_timeout),
        ("server.idle_timeout", limits.idle_timeout),
    ];
    if let Some((what, _)) = spans.iter().find(|(_, span)| span.is_zero()) {
        return Err(value(*what, "0 would end every connection at once"));
    }
    Ok(limits)
}

fn log(file: &file::Log) -> Result<LogConfig, ConfigError> {
    let format = match file.format.as_deref().unwrap_or("auto") {
        "auto" => LogFormat::Auto,
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        other => return Err(value("log.format", format!("`{other}` is not auto, text or json"))),
    };
    let level = file.level.clone().unwrap_or("info".to_owned());
    crate::logging::check(&level).map_err(|why| value("log.level", why))?;
    Ok(LogConfig { level, format })
}

/// `SCHEME://HOST` or `SCHEME://HOST:PORT`, as browsers send it.
fn is_origin(text: &str) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else { return false };
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let has_host = uri.host().is_some_and(|host| !host.is_empty() && !host.contains('*'));
    let is_plain = !host.contains(['/', '?', '#', '@']) && !scheme.is_empty();
    has_host && is_plain && text == text.to_ascii_lowercase()
}

fn cors_origins(file: &file::File) -> Result<Vec<String>, ConfigError> {
    let origins = file.server.cors_origins.clone().unwrap_or_default();
    match origins.iter().find(|origin| !is_origin(origin)) {
        Some(wrong) => Err(value(
            "server.cors_origins",
            format!("`{wrong}` is no origin: say https://example.org, without a path"),
        )),
        None => Ok(origins),
    }
}

fn drain(flags: &Overrides, server: &file::Server) -> Result<Duration, ConfigError> {
    let Some(text) = &flags.drain else { return Ok(span(server.drain, 30)) };
    parse_duration(text)
        .ok_or_else(|| value("drain", format!("`{text}` is not a span such as 30s")))
}

fn settings(flags: &Overrides, file: &file::File) -> Result<Settings, ConfigError> {
    let durability = flags.durability.as_ref().or(file.backend.durability.as_ref());
    let durability = match durability.map_or("disk", String::as_str) {
        "disk" => Durability::Disk,
        "memory" => Durability::Memory,
        other => return Err(value("durability", format!("`{other}` is not disk or memory"))),
    };
    let name = flags.name.clone().or(file.server.name.clone()).unwrap_or("tenure".to_owned());
    if name.is_empty() || name.len() > 256 || name.chars().any(char::is_control) {
        return Err(value("server.name", "has 1 to 256 bytes and no control character"));
    }
    let hold = span(file.server.hold, 25);
    if hold > HOLD_MAX {
        return Err(value("server.hold", "is at most 10m: balancers give up long before"));
    }
    Ok(Settings {
        name,
        hold,
        drain: drain(flags, &file.server)?,
        waiters_max: file.limits.waiters.unwrap_or(100_000),
        sessions_max: file.limits.sessions.unwrap_or(100_000),
        durability,
        cors_origins: cors_origins(file)?,
        doubledutch: DoubleDutch {
            enabled: flags.doubledutch.or(file.doubledutch.enabled).unwrap_or(false),
            status_tokens: flags.status_tokens.or(file.doubledutch.status_tokens).unwrap_or(true),
        },
        slow: span(file.log.slow, 1),
        access_log: file.log.access.unwrap_or(false),
    })
}

#[cfg(test)]
mod tests;
