//! The shape of the configuration file. Every key is optional; one that is not here stops the start.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected};

use super::parse_duration;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) server: Server,
    pub(super) tls: Tls,
    pub(super) backend: Backend,
    pub(super) limits: Limits,
    pub(super) keys: Vec<Key>,
    pub(super) doubledutch: DoubleDutch,
    pub(super) log: Log,
    #[serde(rename = "cluster")]
    _cluster: Cluster,
    #[serde(rename = "zmq")]
    _zmq: Zmq,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Server {
    pub(super) listen: Option<Vec<String>>,
    pub(super) admin_listen: Option<String>,
    pub(super) name: Option<String>,
    pub(super) insecure: Option<bool>,
    pub(super) cors_origins: Option<Vec<String>>,
    // There is none in this version, and without it nothing is missing to clients.
    #[serde(rename = "dashboard")]
    _dashboard: Option<bool>,
    pub(super) hold: Option<Span>,
    pub(super) idle_timeout: Option<Span>,
    pub(super) header_timeout: Option<Span>,
    pub(super) drain: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tls {
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) client_ca: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Backend {
    pub(super) data: Option<PathBuf>,
    pub(super) durability: Option<String>,
    #[serde(rename = "store")]
    _store: Option<String>,
    #[serde(rename = "node_ttl")]
    _node_ttl: Option<String>,
    #[serde(rename = "advertise")]
    _advertise: Option<String>,
}

/// A cluster, which this version has none of: a file may name the one node that there is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Cluster {
    #[serde(rename = "node_id")]
    _node_id: Option<u64>,
    #[serde(rename = "peer_listen")]
    _peer_listen: Option<String>,
    #[serde(rename = "peers")]
    _peers: Option<toml::Table>,
    #[serde(rename = "peer_secret_file")]
    _peer_secret_file: Option<PathBuf>,
}

/// The republishing of changes, which this version does not do.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Zmq {
    #[serde(rename = "bind")]
    _bind: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) connections: Option<usize>,
    pub(super) connections_per_address: Option<usize>,
    pub(super) waiters: Option<usize>,
    pub(super) sessions: Option<usize>,
    pub(super) changes_kept: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) sha256: Option<String>,
    pub(super) roles: Vec<String>,
    #[serde(default)]
    pub(super) prefixes: Vec<String>,
    pub(super) max_ttl: Option<Span>,
    pub(super) held: Option<u32>,
    pub(super) waiting: Option<u32>,
    pub(super) sessions: Option<u32>,
    pub(super) requests_per_second: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DoubleDutch {
    pub(super) enabled: Option<bool>,
    pub(super) status_tokens: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) level: Option<String>,
    pub(super) format: Option<String>,
    pub(super) slow: Option<Span>,
    pub(super) access: Option<bool>,
}

/// A span of time: a number of seconds or a text with a unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Whole(u64),
            Fraction(f64),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Whole(seconds) => seconds.to_string(),
            Written::Fraction(seconds) => seconds.to_string(),
            Written::Text(text) => text,
        };
        parse_duration(&text).map(Span).ok_or_else(|| {
            D::Error::invalid_value(Unexpected::Str(&text), &"a span such as \"25s\" or \"500ms\"")
        })
    }
}
