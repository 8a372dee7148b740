//! Start to end of a server.

mod acts;
mod greeting;
mod secret;
mod start;
mod tasks;

use std::convert::Infallible;
use std::time::Duration;

use tenure_log::OpenError;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::{Config, ConfigError};
use crate::logging::{self, Lines};
use crate::notify;
use crate::tls::{Tls, TlsError};

pub use start::Service;

/// How often a draining server looks whether anybody still holds.
const DRAIN_PACE: Duration = Duration::from_millis(100);
/// How long a draining server without any connection waits for one.
const LONELY_MAX: Duration = Duration::from_secs(2);
/// How long connections have to end after the drain.
const FAREWELL_MAX: Duration = Duration::from_secs(6);

/// How a server ended: its exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// As it was told.
    Clean = 0,
    /// The configuration cannot be used.
    Usage = 64,
    /// The data is damaged or not Tenure's.
    Data = 65,
    /// Another process uses the data.
    InUse = 66,
    /// The disk or store does not answer.
    Unreachable = 69,
    /// The address cannot be listened at.
    Port = 71,
}

impl Exit {
    /// The number for the shell.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address cannot be listened at.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        error: std::io::Error,
    },
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The key cannot be read or made.
    #[error("cannot read or make an API key: {0}")]
    Key(std::io::Error),
    /// The log was opened and does not answer.
    #[error("the log does not answer: {0}")]
    Silent(#[from] tenure_log::SubmitError),
}

impl StartError {
    /// The exit status that tells a script what happened.
    pub fn exit(&self) -> Exit {
        match self {
            StartError::Config(_) | StartError::Tls(_) => Exit::Usage,
            StartError::Listen { .. } => Exit::Port,
            StartError::Log(OpenError::InUse { .. }) => Exit::InUse,
            StartError::Log(OpenError::Damaged { .. } | OpenError::Foreign { .. }) => Exit::Data,
            StartError::Log(OpenError::Io { .. }) | StartError::Key(_) | StartError::Silent(_) => {
                Exit::Unreachable
            }
        }
    }
}

/// Whether a server could start with this configuration, as far as can be told without starting it: certificates are
/// read and keys are judged, but nothing is made, opened or listened at.
pub fn check(config: &Config) -> Result<(), StartError> {
    config.tls.clone().map(Tls::load).transpose()?;
    if config.api_key.is_some() {
        secret::keys(config, false)?;
    }
    Ok(())
}

/// Runs a server until it is told to stop: SIGTERM and SIGINT drain it, a second one ends it at once, SIGHUP reads
/// certificates, keys and log level again. Prints its address to standard output, what went wrong to standard error.
pub async fn serve(config: Config) -> Exit {
    // Whoever embeds this may have a log of its own.
    let lines = logging::start(&config.log).ok();
    let exit = serve_until_told(config, lines.clone()).await;
    if let Some(lines) = lines {
        lines.flush();
    }
    exit
}

async fn serve_until_told(config: Config, lines: Option<Lines>) -> Exit {
    // Before anything else: whoever reads our address may send a signal at once.
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("tenure: cannot listen to signals: {error}");
            return Exit::Unreachable;
        }
    };
    let greeting_of = config.clone();
    let started = tokio::select! {
        started = Service::start(config) => started,
        never = ask_for_time() => match never {},
        () = signals.stop() => return Exit::Clean,
    };
    let service = match started {
        Ok(service) => service,
        Err(error) => {
            eprintln!("tenure: {error}");
            return error.exit();
        }
    };
    greeting::print(&greeting_of, &service);
    notify::tell(notify::State::Ready);
    let obeying = signals.obey(&service, lines, greeting_of.settings.drain);
    tokio::select! {
        () = service.run() => {}
        never = obeying => match never {},
    }
    tracing::info!(event = "stopped");
    Exit::Clean
}

/// Tells the service manager that the start goes on.
async fn ask_for_time() -> Infallible {
    loop {
        sleep(notify::READING_TOLD_EVERY).await;
        notify::tell(notify::State::Reading);
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Resolves when the process is told to stop.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    async fn obey(
        mut self,
        service: &Service,
        lines: Option<Lines>,
        within: Duration,
    ) -> std::convert::Infallible {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => stop(service, within),
                _ = self.interrupt.recv() => stop(service, within),
                _ = self.hang_up.recv() => {
                    notify::tell(notify::State::Reloading);
                    service.reload(lines.as_ref());
                    notify::tell(notify::State::Ready);
                }
            }
        }
    }
}

/// The first signal drains, the second one has enough.
fn stop(service: &Service, within: Duration) {
    let drain = &service.app().drain;
    if drain.is_draining() { drain.stop() } else { drain.begin(within) }
}

impl Service {
    /// Serves until it has been drained, then closes everything.
    pub async fn run(&self) {
        let drain = &self.app().drain;
        drain.begun().await;
        notify::tell(notify::State::Stopping);
        tracing::info!(event = "draining", held_answers = self.app().metrics.held_answers());
        tokio::select! {
            () = self.nobody_is_left() => {}
            () = drain.stopped() => {}
        }
        drain.stop();
        self.crowd().dismiss();
        let farewell = Instant::now() + FAREWELL_MAX;
        let gone = async {
            while !self.crowd().is_empty() {
                sleep(DRAIN_PACE).await;
            }
        };
        // Who does not go is left behind.
        let _ = timeout_at(farewell, gone).await;
        self.app().log.stop().await;
    }

    /// Resolves when the drain's time is over, nobody holds anything, or nobody has come back.
    async fn nobody_is_left(&self) {
        let mut lonely_since = None;
        loop {
            sleep(DRAIN_PACE).await;
            let now = Instant::now();
            let is_over = self.app().drain.until().is_some_and(|end| end <= now);
            let grants = self.app().log.read(|machine| machine.stats().grants).await;
            if self.crowd().is_empty() {
                lonely_since.get_or_insert(now);
            } else {
                lonely_since = None;
            }
            let is_lonely = lonely_since.is_some_and(|since| now - since >= LONELY_MAX);
            if is_over || is_lonely || matches!(grants, Ok(0)) {
                return;
            }
        }
    }
}
