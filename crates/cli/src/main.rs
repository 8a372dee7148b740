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
mod reaching;
mod sentinel;
mod terminal;
mod words;

// A sixth of a server's work was spent in the allocator of glibc, and that of musl is slower still. Without huge pages
// (its feature `no_thp`), which keep room that nothing uses: with a hundred thousand locks an eighth of the memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    inner::run_if_asked().unwrap_or_else(commands::run)
}
