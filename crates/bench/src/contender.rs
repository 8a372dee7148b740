//! What every lock server under measurement offers.

use crate::BenchError;
use crate::process::Process;

/// A running lock server.
pub(crate) trait Contender {
    /// One connection to it.
    type Client: Client + 'static;

    /// Connects a client that will use the lock `lock`.
    async fn client(&self, lock: &str) -> Result<Self::Client, BenchError>;

    /// Its process, when it runs on this machine.
    fn process(&self) -> Option<Process>;
}

/// A client with one connection and one lock.
pub(crate) trait Client {
    /// Takes the lock, which is free.
    async fn acquire(&mut self) -> Result<(), BenchError>;

    /// Waits in the queue until the lock is ours.
    async fn acquire_in_turn(&mut self) -> Result<(), BenchError>;

    /// Gives it back.
    async fn release(&mut self) -> Result<(), BenchError>;
}
