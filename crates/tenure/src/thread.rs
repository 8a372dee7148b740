//! The library's own thread. Everything that talks to a backend runs here, so that a program which blocks its own
//! executor still keeps its session.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longest wait for what cannot be stopped, such as looking up a name.
const ENDING_MAX: Duration = Duration::from_secs(1);

/// A thread with an executor of its own.
#[derive(Debug)]
pub(crate) struct OwnThread {
    handle: Handle,
}

/// Ends the thread: what the future says is done first.
pub(crate) type Farewell = Pin<Box<dyn Future<Output = ()> + Send>>;

impl OwnThread {
    /// Starts the thread. It ends when the sender sends its last work or is dropped; the receiver it gives resolves
    /// when it has ended.
    pub(crate) fn start() -> io::Result<(Self, oneshot::Sender<Farewell>, oneshot::Receiver<()>)> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<Farewell>();
        let (over, is_over) = oneshot::channel();
        std::thread::Builder::new().name("tenure".into()).spawn(move || {
            runtime.block_on(async {
                if let Ok(farewell) = stopped.await {
                    farewell.await;
                }
            });
            // Tasks that still run are dropped here, before anybody is told that the thread is over. A name that is
            // being looked up is not waited for.
            runtime.shutdown_timeout(ENDING_MAX);
            let _nobody_may_wait = over.send(());
        })?;
        Ok((OwnThread { handle }, stop, is_over))
    }

    /// Runs work on the thread. Dropping what it returns stops the work.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Running<T> {
        Running(self.handle.spawn(work))
    }

    /// Does something that starts tasks on the thread.
    pub(crate) fn enter<T>(&self, act: impl FnOnce() -> T) -> T {
        let _entered = self.handle.enter();
        act()
    }

    /// Runs work on the thread until it is done or the thread ends.
    pub(crate) fn leave(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.handle.spawn(work));
    }
}

/// Work on the thread; `None` if the thread ended first.
#[must_use = "work stops when this is dropped"]
#[derive(Debug)]
pub(crate) struct Running<T>(JoinHandle<T>);

impl<T> Future for Running<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.0).poll(context).map(|joined| match joined {
            Ok(done) => Some(done),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_stopped) => None,
            },
        })
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
