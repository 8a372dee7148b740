//! From a configuration to a running server.

use std::net::SocketAddr;
use std::sync::Arc;

use tenure_log::{Durability, Log, Options};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::acts::{self, ACTS_MAX};
use super::secret::{self, Secret};
use super::{StartError, tasks};
use crate::app::App;
use crate::config::Config;
use crate::drain::Drain;
use crate::keys::Keys;
use crate::listen::{Crowd, Door, House, descriptors_for_connections, fitted};
use crate::logging::Lines;
use crate::metrics::Metrics;
use crate::tls::Tls;
use crate::{doubledutch, routes};

/// A running server. Dropped, it ends without a drain.
pub struct Service {
    app: App,
    crowd: Arc<Crowd>,
    tls: Option<Arc<Tls>>,
    config: Config,
    secret: Option<Secret>,
    doors: Vec<DoorPlate>,
    _tasks: JoinSet<()>,
}

/// What is known of a door from outside.
pub(super) struct DoorPlate {
    pub(super) name: String,
    pub(super) address: Option<SocketAddr>,
    pub(super) admin: bool,
}

impl Service {
    /// Binds, opens the log and serves. Addresses come first: who connects while the log is read waits for an answer
    /// instead of being refused.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let tls = config.tls.clone().map(Tls::load).transpose()?.map(Arc::new);
        let doors = doors(&config).await?;
        let metrics = Metrics::new();
        let (log, told) = open(&config, &metrics).await?;
        let made_at_run_time = log.read(|machine| machine.keys()).await?;
        let (fixed, secret) = secret::keys(&config, !made_at_run_time.is_empty())?;
        let keys = Keys::new(fixed, metrics.clone());
        keys.replace_run_time(made_at_run_time);
        let limits = fitted(config.connections, descriptors_for_connections());
        let crowd = Crowd::new(limits, metrics.clone());
        let settings = config.settings.clone();
        let app = App::with_tls(log, keys, Drain::new(), metrics, settings, tls.clone());
        let house = House {
            app: app.clone(),
            router: router(&app),
            crowd: crowd.clone(),
            tls: tls.clone(),
            has_admin_door: config.admin_listen.is_some(),
        };
        let plates = doors.iter().map(plate).collect();
        let mut running = tasks::spawn(&app, &crowd, tls.clone(), told);
        for door in doors {
            running.spawn(door.open(house.clone()));
        }
        tracing::info!(event = "started", version = env!("CARGO_PKG_VERSION"));
        Ok(Service { app, crowd, tls, config, secret, doors: plates, _tasks: running })
    }

    /// What requests are answered with.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// The addresses it listens at, with the ports it got; Unix sockets left out, the operators' door last.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.doors.iter().filter_map(|door| door.address).collect()
    }

    /// The key in clear, if it was given in clear or made in the data directory.
    pub fn api_key(&self) -> Option<&str> {
        self.secret.as_ref().map(|secret| secret.text.as_str())
    }

    pub(super) fn crowd(&self) -> &Crowd {
        &self.crowd
    }

    pub(super) fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    pub(super) fn doors(&self) -> &[DoorPlate] {
        &self.doors
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads certificates, keys and log level again. What is bad is refused, and the old one stays.
    pub fn reload(&self, lines: Option<&Lines>) {
        if let Some(tls) = &self.tls {
            tasks::reload_certificates(tls);
        }
        let fresh = Config::load(&self.config.overrides).map_err(StartError::from);
        let fresh = fresh.and_then(|config| {
            let (keys, _) = secret::keys(&config, true)?;
            Ok((config, keys))
        });
        match fresh {
            Ok((config, keys)) => {
                if !keys.is_empty() {
                    self.app.keys.replace_fixed(keys);
                }
                if let Some(Err(why)) = lines.map(|lines| lines.set_level(&config.log.level)) {
                    tracing::warn!(event = "reload_refused", what = "log.level", error = why);
                }
                tracing::info!(event = "reloaded");
            }
            Err(error) => {
                tracing::warn!(event = "reload_refused", what = "configuration", error = %error);
            }
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.app.drain.stop();
        self.crowd.dismiss();
    }
}

async fn doors(config: &Config) -> Result<Vec<Door>, StartError> {
    let public = config.listen.iter().map(|at| (at, false));
    let admin = config.admin_listen.iter().map(|at| (at, true));
    let mut doors = Vec::new();
    for (at, is_admin) in public.chain(admin) {
        let door = Door::bind(at, is_admin).await;
        doors.push(door.map_err(|error| StartError::Listen { address: at.to_string(), error })?);
    }
    Ok(doors)
}

fn plate(door: &Door) -> DoorPlate {
    DoorPlate { name: door.name().to_owned(), address: door.address(), admin: door.is_admin() }
}

/// Opens the log; its changes are counted, and what operators did is told for the log lines.
async fn open(
    config: &Config,
    metrics: &Metrics,
) -> Result<(Log, mpsc::Receiver<acts::Act>), StartError> {
    let mut options = match config.settings.durability {
        Durability::Disk => Options::disk(&config.data),
        Durability::Memory => Options::memory(),
    };
    options.changes_kept = config.changes_kept;
    let (tell, told) = mpsc::channel(ACTS_MAX);
    let (metrics, slow) = (metrics.clone(), config.settings.slow);
    options.observer = Some(Arc::new(move |changes| {
        metrics.changed(changes);
        for act in acts::of(changes, slow) {
            // The log does not wait for a slow reader of log lines: what does not fit is left out.
            let _ = tell.try_send(act);
        }
    }));
    Ok((Log::open(options).await?, told))
}

fn router(app: &App) -> axum::Router {
    let router = routes::router(app.clone());
    if !app.settings.doubledutch.enabled {
        return router;
    }
    router.merge(doubledutch::router(app.clone()))
}
