//! Log lines: one per event, text for people, JSON for machines, and never a lease, handle, key or request id in them.

mod line;

use std::io::{IsTerminal, stderr};

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Registry, reload};

use crate::config::{LogConfig, LogFormat};

/// Changes the level of a running program.
#[derive(Clone)]
pub struct Level(reload::Handle<EnvFilter, Registry>);

impl Level {
    /// Takes another level or filter; the words of why not.
    pub fn set(&self, level: &str) -> Result<(), String> {
        let filter = filter(level)?;
        self.0.reload(filter).map_err(|error| error.to_string())
    }
}

/// Whether this is a level or filter; if not, the words for it.
pub(crate) fn check(level: &str) -> Result<(), String> {
    filter(level).map(drop)
}

/// Sends the process's log to standard error. Once per process; whoever embeds the server may have done it already.
pub(crate) fn start(config: &LogConfig) -> Result<Level, String> {
    let (filter, handle) = reload::Layer::new(filter(&config.level)?);
    let json = match config.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !stderr().is_terminal(),
    };
    let lines = fmt::layer().with_writer(stderr).event_format(line::Line { json });
    let started: Result<(), TryInitError> =
        tracing_subscriber::registry().with(filter).with(lines).try_init();
    started.map(|()| Level(handle)).map_err(|error| error.to_string())
}

/// A level of ours leaves the libraries below at warnings: their words are for their authors.
fn filter(level: &str) -> Result<EnvFilter, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let directives = if LEVELS.contains(&level) {
        format!("warn,tenure={level},tenure_core={level},tenure_log={level},tenure_server={level}")
    } else {
        level.to_owned()
    };
    EnvFilter::try_new(directives).map_err(|error| {
        format!("`{level}` is neither a level (info, debug …) nor a filter: {error}")
    })
}
