//! The service: Tenure's rules behind HTTP(S), with keys, limits, metrics and a clean way to start and stop.
//!
//! [`serve()`] is the whole of it: it opens the log, listens, answers and ends with an [`Exit`]. Everything a request
//! needs comes from [`App`], and a request's rights from [`Identity`].

mod app;
mod body;
mod config;
pub mod doubledutch;
mod drain;
mod error;
mod identity;
mod keys;
mod listen;
mod logging;
mod metrics;
mod notify;
mod openapi;
mod routes;
mod serve;
mod stream;
mod tls;

pub use app::{App, Shared};
pub use config::{
    ApiKey, Config, ConfigError, ConnectionLimits, DoubleDutch, KeyConfig, Listen, LogConfig,
    LogFormat, Overrides, Settings, TlsFiles, parse_duration,
};
pub use identity::{Forbidden, Identity, Limited, Needs, NotIdentified, Peer, Unauthenticated};
pub use keys::new_secret;
pub use routes::router;
pub use serve::{Exit, Service, StartError, check, serve};
