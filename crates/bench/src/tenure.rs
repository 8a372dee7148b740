//! Our own server as a contender, asked as `curl` would ask it: a lock with a time to live, no session.

use crate::contender::{Client, Contender};
use crate::http::{Connection, Server, text_field};
use crate::process::Process;
use crate::{BenchError, Options};

/// A running server of ours.
#[derive(Debug, Clone)]
pub(crate) struct Tenure {
    pub(crate) server: Server,
    process: Option<Process>,
}

impl Tenure {
    pub(crate) fn find(options: &Options) -> Result<Self, BenchError> {
        Ok(Self { server: Server::find(options)?, process: options.server_pid.map(Process) })
    }
}

impl Contender for Tenure {
    type Client = TenureClient;

    async fn client(&self, lock: &str) -> Result<TenureClient, BenchError> {
        let connection = self.server.connect().await?;
        Ok(TenureClient::new(connection, self.server.clone(), lock))
    }

    fn process(&self) -> Option<Process> {
        self.process
    }
}

/// One connection and the requests it repeats.
#[derive(Debug)]
pub(crate) struct TenureClient {
    connection: Connection,
    server: Server,
    lock: String,
    acquire: Vec<u8>,
    acquire_in_turn: Vec<u8>,
    lease: String,
}

impl TenureClient {
    fn new(connection: Connection, server: Server, lock: &str) -> Self {
        Self {
            connection,
            acquire: acquire(&server, lock),
            acquire_in_turn: acquire_in_turn(&server, lock),
            server,
            lock: lock.to_owned(),
            lease: String::new(),
        }
    }

    /// Joins the queue and lets the answer come when it may.
    pub(crate) async fn join_queue(&mut self) -> Result<(), BenchError> {
        self.connection.send(&self.acquire_in_turn).await
    }
}

impl Client for TenureClient {
    async fn acquire(&mut self) -> Result<(), BenchError> {
        self.lease = lease(self.connection.expect(&self.acquire, 200).await?)?;
        Ok(())
    }

    async fn acquire_in_turn(&mut self) -> Result<(), BenchError> {
        self.lease = lease(self.connection.expect(&self.acquire_in_turn, 200).await?)?;
        Ok(())
    }

    async fn release(&mut self) -> Result<(), BenchError> {
        let request = release(&self.server, &self.lock, &self.lease);
        self.connection.expect(&request, 200).await.map(drop)
    }
}

/// Asks for a lock that is free.
pub(crate) fn acquire(server: &Server, lock: &str) -> Vec<u8> {
    server.post(&format!("/v1/locks/{lock}/acquire"), r#"{"ttl":3600}"#)
}

/// Asks for a lock and waits for it in one answer, five minutes if need be.
fn acquire_in_turn(server: &Server, lock: &str) -> Vec<u8> {
    server.post(&format!("/v1/locks/{lock}/acquire"), r#"{"ttl":3600,"wait":300,"hold":300}"#)
}

/// Gives a lock back.
pub(crate) fn release(server: &Server, lock: &str, lease: &str) -> Vec<u8> {
    server.post(&format!("/v1/locks/{lock}/release"), &format!(r#"{{"lease":"{lease}"}}"#))
}

/// The lease in a grant.
pub(crate) fn lease(grant: &[u8]) -> Result<String, BenchError> {
    let found = text_field(grant, "lease");
    found
        .map(str::to_owned)
        .ok_or_else(|| BenchError::answer("acquire", String::from_utf8_lossy(grant)))
}
