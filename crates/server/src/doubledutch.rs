//! DoubleDutch's three routes and its command line, so that its clients go on as they are: the same URLs, fields,
//! status codes and defaults, on locks that outlive a crash and waiters that are woken at once.
//!
//! [`router()`] puts the routes beside `/v1`; [`run()`] is `tenure doubledutch`, a server that has nothing to be told
//! but what DoubleDutch was told. This dialect puts secrets into URLs, so no log shows more of one than its path.

mod answer;
mod command_line;
mod owner;
mod program;
mod query;
mod request;
mod routes;
mod taking;
#[cfg(test)]
mod tests;

pub(crate) use answer::name;
pub use command_line::{BadLine, CommandLine};
pub use program::{Surroundings, config, run};
pub(crate) use query::redact;
pub use routes::router;

/// Fresh random bytes for a session token.
fn dice() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    bytes
}
