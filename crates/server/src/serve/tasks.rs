//! What goes on beside the requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::acts::{self, Act};
use crate::app::App;
use crate::listen::Crowd;
use crate::tls::Tls;

/// How often keys of other nodes are looked for.
const KEYS_PACE: Duration = Duration::from_secs(1);
/// How often certificate files are looked at.
const CERTIFICATES_PACE: Duration = Duration::from_secs(2);

/// Starts them all; they end when the set is dropped.
pub(super) fn spawn(
    app: &App,
    crowd: &Arc<Crowd>,
    tls: Option<Arc<Tls>>,
    told: mpsc::Receiver<Act>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(sweep(crowd.clone()));
    tasks.spawn(refresh_keys(app.clone()));
    tasks.spawn(acts::write(told));
    if let Some(tls) = tls {
        tasks.spawn(watch_certificates(tls));
    }
    tasks
}

async fn sweep(crowd: Arc<Crowd>) {
    let mut pace = interval(crowd.pace());
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        crowd.sweep();
    }
}

async fn refresh_keys(app: App) {
    let mut pace = interval(KEYS_PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        app.refresh_keys().await;
    }
}

async fn watch_certificates(tls: Arc<Tls>) {
    let mut pace = interval(CERTIFICATES_PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        if tls.has_changed() {
            reload_certificates(&tls);
        }
    }
}

/// Reads the certificates again. Files that are written one after the other do not go together for a moment: they are
/// refused, and taken when the second one has changed too.
pub(super) fn reload_certificates(tls: &Tls) {
    match tls.reload() {
        Ok(()) => tracing::info!(event = "certificates_reloaded", expires_in = tls.expires_in()),
        Err(error) => {
            tracing::warn!(event = "reload_refused", what = "certificates", error = %error);
        }
    }
}
