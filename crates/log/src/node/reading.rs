//! Word of a start that takes long: until the log is read, nothing else of the process can be seen.

use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::error::OpenError;

/// How often it is said that the log is still read.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// Says that a log is read, goes on saying so, and says when it is done.
pub(super) async fn told<T>(
    dir: &Path,
    read: impl Future<Output = Result<T, OpenError>>,
) -> Result<T, OpenError> {
    let began = Instant::now();
    let dir = dir.display();
    tracing::info!(event = "log_reading", %dir);
    let mut read = pin!(read);
    loop {
        let done = timeout(TOLD_EVERY, read.as_mut()).await;
        let took = began.elapsed().as_secs_f64();
        match done {
            Ok(Ok(done)) => {
                tracing::info!(event = "log_read", %dir, took);
                return Ok(done);
            }
            // Whoever opens it tells of the error.
            Ok(Err(error)) => return Err(error),
            Err(_) => tracing::info!(event = "log_reading", %dir, took),
        }
    }
}
