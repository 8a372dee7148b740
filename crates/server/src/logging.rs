//! Log lines: one per event, text for people, JSON for machines, and never a lease, handle, key or request id in them.

mod line;
mod outlet;

use std::io::{IsTerminal, stderr};

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Registry, reload};

use crate::config::{LogConfig, LogFormat};
use outlet::Outlet;

/// The log of a running program.
#[derive(Clone)]
pub struct Lines {
    level: reload::Handle<EnvFilter, Registry>,
    outlet: Outlet,
}

impl Lines {
    /// Takes another level or filter; the words of why not.
    pub fn set_level(&self, level: &str) -> Result<(), String> {
        let filter = filter(level)?;
        self.level.reload(filter).map_err(|error| error.to_string())
    }

    /// Waits a moment for the last lines to be read.
    pub(crate) fn flush(&self) {
        self.outlet.flush();
    }
}

/// Whether this is a level or filter; if not, the words for it.
pub(crate) fn check(level: &str) -> Result<(), String> {
    filter(level).map(drop)
}

/// Sends the process's log to standard error. Once per process; whoever embeds the server may have done it already.
pub(crate) fn start(config: &LogConfig) -> Result<Lines, String> {
    let (filter, level) = reload::Layer::new(filter(&config.level)?);
    let json = match config.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !stderr().is_terminal(),
    };
    let outlet = Outlet::to(stderr()).map_err(|error| error.to_string())?;
    let lines = fmt::layer().with_writer(outlet.clone()).event_format(line::Line { json });
    let started: Result<(), TryInitError> =
        tracing_subscriber::registry().with(filter).with(lines).try_init();
    started.map(|()| Lines { level, outlet }).map_err(|error| error.to_string())
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Whether this is a level, or `TARGET=LEVEL`.
fn is_directive(text: &str) -> bool {
    let (target, level) = text.trim().rsplit_once('=').unwrap_or(("tenure", text.trim()));
    !target.is_empty() && LEVELS.contains(&level)
}

/// A level of ours leaves the libraries below at warnings: their words are for their authors.
fn filter(level: &str) -> Result<EnvFilter, String> {
    let directives = if LEVELS.contains(&level) {
        format!("warn,tenure={level},tenure_core={level},tenure_log={level},tenure_server={level}")
    } else {
        // The filter itself takes any word for a target, and then nothing is logged at all.
        if !level.split(',').all(is_directive) {
            return Err(format!(
                "`{level}` is neither a level (error, warn, info, debug, trace, off) nor a list such as \
                 `info,tenure_log=debug`"
            ));
        }
        level.to_owned()
    };
    EnvFilter::try_new(directives).map_err(|error| {
        format!("`{level}` is neither a level (info, debug …) nor a filter: {error}")
    })
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for good in ["info", "off", "info,tenure_log=debug", "tenure_server::keys=trace, warn"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["bogus", "", "inof,tenure_log=debug", "tenure_log=loud", "=info", "info,"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
