use std::path::PathBuf;
use std::time::Duration;

/// What to measure, and against which server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the server listens: `http://host:port`. Plain HTTP only, because a TLS handshake is not what is measured.
    pub url: String,
    /// The API key, sent as `Authorization: Bearer`.
    pub api_key: Option<String>,
    /// One run of cycles for each number of clients.
    pub clients: Vec<usize>,
    /// How long one run of cycles or hand-overs lasts, after its warm-up.
    pub period: Duration,
    /// Runs of each kind; the median is reported.
    pub rounds: usize,
    /// Locks held at once for the memory figure; 0 leaves it out.
    pub held_locks: usize,
    /// Waiters on one lock while another lock is released, each with a connection of its own; 0 leaves it out.
    pub waiters: usize,
    /// The server's process on this machine, for its processor time and memory.
    pub server_pid: Option<u32>,
    /// A directory on the server's disk; there the cost of `fdatasync` alone is measured.
    pub disk: Option<PathBuf>,
}

impl Options {
    /// The usual measurement of the server at `url`: 1, 16, 64 and 256 clients, three rounds of three seconds.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            api_key: None,
            clients: vec![1, 16, 64, 256],
            period: Duration::from_secs(3),
            rounds: 3,
            held_locks: 100_000,
            waiters: 10_000,
            server_pid: None,
            disk: None,
        }
    }
}
