//! Cycles while many listen to their sessions: who only listens must cost those who work nothing.

use std::time::Duration;

use serde::Serialize;

use crate::BenchError;
use crate::cycles;
use crate::http::{Connection, Server, text_field};
use crate::tenure::Tenure;

/// Sessions, each with an open stream of its events.
const STREAMS: usize = 200;
/// Clients that take and give back locks meanwhile.
const CLIENTS: usize = 64;

/// Cycles beside many open streams.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Beside {
    /// Streams that are open.
    pub streams: usize,
    /// Cycles a second just before the streams were opened.
    pub alone: f64,
    /// Cycles a second beside them.
    pub per_second: f64,
}

/// Runs cycles without the streams, then beside them. Call it inside a `LocalSet`.
pub(crate) async fn run(tenure: &Tenure, period: Duration) -> Result<Beside, BenchError> {
    let alone = cycles::run(tenure, CLIENTS, period).await?.per_second;
    let mut streams = Vec::with_capacity(STREAMS);
    for _ in 0..STREAMS {
        streams.push(listen(&tenure.server).await?);
    }
    let per_second = cycles::run(tenure, CLIENTS, period).await?.per_second;
    Ok(Beside { streams: streams.len(), alone, per_second })
}

/// A session and its open stream; the session ends by itself.
async fn listen(server: &Server) -> Result<Connection, BenchError> {
    let mut connection = server.connect().await?;
    let opened = connection.expect(&server.post("/v1/sessions", r#"{"ttl":60}"#), 201).await?;
    let field = |name| {
        let text = text_field(opened, name).map(str::to_owned);
        text.ok_or_else(|| BenchError::answer("POST /v1/sessions", String::from_utf8_lossy(opened)))
    };
    let (id, handle) = (field("id")?, field("session")?);
    let request = server.get_for_session(&format!("/v1/sessions/{id}/events"), &handle);
    connection.begin_stream(&request).await?;
    Ok(connection)
}
