//! Drives a running server as fast as one thread can and measures what comes back.
//!
//! The load generator shares the machine with the server, so it is made as cheap as possible: one thread, plain TCP,
//! requests built once, answers scanned and not parsed.

mod options;

pub use options::Options;

use serde::Serialize;

/// What was measured. Prints as a table.
#[derive(Debug, Clone, Serialize)]
pub struct Report {}

impl std::fmt::Display for Report {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The address is not one this tool can drive.
    #[error("{url} cannot be measured: {why}")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The server could not be reached or broke off.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The server answered something else than the measurement needs, a refusal for example.
    #[error("{doing}: the server answered {answer}")]
    Answer {
        /// What was asked.
        doing: String,
        /// The status line and the beginning of the body.
        answer: String,
    },
}

/// Measures the server. Blocks until it is done; brings its own thread and its own runtime, so it may be called
/// from anywhere.
///
/// # Errors
/// When the server cannot be reached or refuses what is asked. A figure that this machine cannot give (no process
/// id, no disk) is left out of the report instead.
pub fn run(_options: &Options) -> Result<Report, BenchError> {
    Ok(Report {})
}
