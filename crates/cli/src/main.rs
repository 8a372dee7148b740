//! The program `tenure`.

mod acquiring;
mod arguments;
mod boottime;
mod commands;
mod connection;
mod environment;
mod failure;
mod guarded;
mod inner;
mod lease;
mod output;
mod sentinel;
mod terminal;
mod words;

// The allocator of musl is several times slower under a server's load.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    inner::run_if_asked().unwrap_or_else(commands::run)
}
