//! The way from the command line to a server, or to a data directory without one.

use std::time::Duration;

use tenure::Tenure;
use tenure::config::{self, Settings};
use tokio::runtime::Builder;

use crate::arguments::Global;
use crate::failure::{Exit, Failure};
use crate::guarded::Signals;
use crate::output::Output;

/// How long an unreachable server is tried, if nobody says.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long giving the session back may hold up the end of the program.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// What is known of the server before it is asked anything.
pub(crate) struct Connection {
    settings: Settings,
    session_ttl: Option<Duration>,
    out: Output,
}

impl Connection {
    /// From flags, environment and files, in this order.
    pub(crate) fn new(global: &Global) -> Result<Self, Failure> {
        let api_key = match &global.api_key_file {
            Some(path) => {
                Some(config::read_key_file(path).map_err(|e| Failure::usage(e.to_string()))?)
            }
            None => None,
        };
        let given = Settings {
            url: global.url.clone(),
            api_key,
            ca: global.ca.clone(),
            cert: global.cert.clone(),
            key: global.key.clone(),
            connect_timeout: global.connect_timeout,
        };
        let settings =
            config::of_process(given).map_err(|error| Failure::usage(error.to_string()))?;
        let out = Output::new(global.json, global.quiet, global.verbose);
        Ok(Connection { settings, session_ttl: None, out })
    }

    /// With sessions that live so long without a keep-alive.
    pub(crate) fn session_ttl(self, ttl: Duration) -> Self {
        Connection { session_ttl: Some(ttl), ..self }
    }

    /// What was found out about the server.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where answers go.
    pub(crate) fn out(&self) -> &Output {
        &self.out
    }

    /// Runs a command to its end.
    pub(crate) fn run(
        &self,
        command: impl AsyncFnOnce(&Connection) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let cannot = |error| Failure::new(Exit::Unavailable, format!("cannot start: {error}"));
        runtime.map_err(cannot)?.block_on(command(self))
    }

    /// A client, whose first request opens the connection.
    pub(crate) async fn connect(&self) -> Result<Tenure, Failure> {
        let url = self.settings.url.as_deref().unwrap_or(config::DEFAULT_URL);
        let Settings { api_key, ca, cert, key, connect_timeout, .. } = &self.settings;
        let mut connect =
            Tenure::at(url).connect_timeout(connect_timeout.unwrap_or(CONNECT_TIMEOUT));
        if let Some(api_key) = api_key {
            connect = connect.api_key(api_key.secret());
        }
        if let Some(ca) = ca {
            connect = connect.ca(ca);
        }
        if let (Some(cert), Some(key)) = (cert, key) {
            connect = connect.client_cert(cert, key);
        }
        if let Some(ttl) = self.session_ttl {
            connect = connect.session_ttl(ttl);
        }
        Ok(connect.connect().await?)
    }

    /// Runs what holds locks, then ends the session, whatever came of it: nothing stays behind, in a queue least of
    /// all. `act` answers the exit status.
    pub(crate) async fn hold(
        &self,
        act: impl AsyncFnOnce(&Tenure, &mut Signals) -> Result<u8, Failure>,
    ) -> Result<(), Failure> {
        let cannot = |error| Failure::new(Exit::Unavailable, format!("cannot start: {error}"));
        let mut signals = Signals::listen().map_err(cannot)?;
        let tenure = tokio::select! {
            connected = self.connect() => connected?,
            signal = signals.next_fatal() => return Err(Failure::silent(Exit::signalled(signal))),
        };
        let done = act(&tenure, &mut signals).await;
        // The session ends by itself if this comes to nothing; the program has done what it was asked to do.
        let _ = tokio::time::timeout(CLOSE_MAX, tenure.close()).await;
        match done? {
            0 => Ok(()),
            status => Err(Failure::silent(Exit::Given(status))),
        }
    }
}
