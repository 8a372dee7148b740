//! What every request is answered with.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use http::request::Parts;
use tenure_log::Log;

use crate::config::Settings;
use crate::drain::Drain;
use crate::identity::{Identity, NotIdentified, Peer};
use crate::keys::Keys;
use crate::metrics::Metrics;
use crate::tls::Tls;

/// A handle on all that requests share; cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// What requests share.
pub struct Shared {
    /// The log with the machine in it.
    pub log: Log,
    /// The API keys.
    pub keys: Keys,
    /// Whether the server is on its way out.
    pub drain: Drain,
    /// Counters.
    pub metrics: Metrics,
    /// The settings this server was started with.
    pub settings: Settings,
    /// When it was started.
    pub started: Instant,
    tls: Option<Arc<Tls>>,
}

impl App {
    /// Puts the parts together.
    pub fn new(log: Log, keys: Keys, drain: Drain, metrics: Metrics, settings: Settings) -> Self {
        Self::with_tls(log, keys, drain, metrics, settings, None)
    }

    /// Puts the parts of an encrypted server together.
    pub(crate) fn with_tls(
        log: Log,
        keys: Keys,
        drain: Drain,
        metrics: Metrics,
        settings: Settings,
        tls: Option<Arc<Tls>>,
    ) -> Self {
        let started = Instant::now();
        App(Arc::new(Shared { log, keys, drain, metrics, settings, started, tls }))
    }

    /// Seconds until the certificate runs out, if there is one.
    pub(crate) fn tls_expires_in(&self) -> Option<i64> {
        self.tls.as_ref().map(|tls| tls.expires_in())
    }

    /// The key behind a request, from its `Authorization` header or its connection's client certificate.
    pub fn identify(&self, request: &Parts) -> Result<Arc<Identity>, NotIdentified> {
        static NOBODY: Peer = Peer {
            address: None,
            certificate: None,
            admin: false,
            operators_welcome: true,
            tls: false,
        };
        let peer = request.extensions.get::<Peer>().unwrap_or(&NOBODY);
        self.keys.identify(&request.headers, peer)
    }

    /// Takes the keys made at run time as they are now. Called after each change of them by a route, and every second,
    /// since another node may have made one.
    pub async fn refresh_keys(&self) {
        // A log that cannot be read now leaves the keys as they were known last.
        if let Ok(keys) = self.log.read(|machine| machine.keys()).await {
            self.keys.replace_run_time(keys);
        }
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
