//! The way out: waiters are told to ask again, holders may still renew, then the process ends.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Whether the server is on its way out. Clones are of one drain.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<State>);

#[derive(Debug, Default)]
struct State {
    begun: CancellationToken,
    stopped: CancellationToken,
    until: Mutex<Option<Instant>>,
}

impl Drain {
    /// A server that stays.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on the server is not ready, waiters get `503 draining`, and after `within` (or earlier, if nobody
    /// holds anything) it stops. A second call can only shorten the time.
    pub fn begin(&self, within: Duration) {
        let end = Instant::now() + within;
        let mut until = self.0.until.lock();
        *until = Some(until.map_or(end, |earlier| earlier.min(end)));
        self.0.begun.cancel();
    }

    /// Whether it has begun.
    pub fn is_draining(&self) -> bool {
        self.0.begun.is_cancelled()
    }

    /// Resolves once it has begun; held answers wait on this too.
    pub async fn begun(&self) {
        self.0.begun.cancelled().await;
    }

    /// When it is over at the latest; `None` before it has begun.
    pub fn until(&self) -> Option<Instant> {
        *self.0.until.lock()
    }

    /// Ends it at once: connections are closed after the answers they owe.
    pub fn stop(&self) {
        self.begin(Duration::ZERO);
        self.0.stopped.cancel();
    }

    /// Resolves when connections are to close.
    pub async fn stopped(&self) {
        self.0.stopped.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_drain_only_shortens_the_first() {
        let drain = Drain::new();
        assert!(!drain.is_draining());
        assert_eq!(drain.until(), None);
        let start = Instant::now();
        drain.begin(Duration::from_secs(30));
        drain.begin(Duration::from_secs(60));
        assert_eq!(drain.until(), Some(start + Duration::from_secs(30)));
        drain.begin(Duration::from_secs(5));
        assert_eq!(drain.until(), Some(start + Duration::from_secs(5)));
        drain.begun().await;
        assert!(drain.is_draining());
    }
}
