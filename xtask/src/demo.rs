//! Builds the program, starts a server and shows a lock being taken.
//!
//! This process becomes the server (`exec`), so Ctrl-C or a signal reaches the server itself and none is left behind.
//! What is shown comes from a second, short-lived process that waits until the server is ready.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::{CommandExt, parent_id};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::step::{cargo, succeed};

/// Where the server listens unless told otherwise; the program looks there by itself.
const LISTEN: &str = "127.0.0.1:7420";
/// A server that is not ready by then has said why on its own output.
const READY_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// Longest silence of one probe.
const PROBE_MAX: Duration = Duration::from_secs(2);

/// What a new user would type, line by line.
const LINES: [&str; 5] = [
    r#"export TENURE_LEASE=$(tenure acquire deploy --ttl 1m --note "ann, release 12")"#,
    "tenure who deploy",
    "tenure lock -n deploy -- ./deploy.sh",
    "tenure release deploy",
    r#"tenure lock deploy -- sh -c 'echo "deploying, with fencing token $TENURE_TOKEN"'"#,
];
/// Prints each argument behind a prompt and runs it, all in one shell.
const SHELL: &str = r#"for line; do printf '\n$ %s\n' "$line"; eval "$line"; done"#;

/// `demo`, `demo --listen ADDRESS`, and for ourselves `demo --show ADDRESS`.
pub(crate) fn run(root: &Path, words: &[&str]) -> Outcome {
    match words {
        [] => serve(root, LISTEN),
        ["--listen", address] => serve(root, address),
        ["--show", address] => show(root, address),
        _ => Err("usage: cargo xtask demo [--listen ADDRESS:PORT]".to_owned()),
    }
}

fn serve(root: &Path, listen: &str) -> Outcome {
    let address = parsed(listen)?;
    succeed(cargo(root, &["build", "--locked", "--release", "--bin", "tenure"]))?;
    // Without this look a server that runs already would answer what we show.
    drop(TcpListener::bind(address).map_err(|error| {
        format!("{listen}: {error}; stop what listens there, or: cargo xtask demo --listen 127.0.0.1:7430")
    })?);
    let ourselves = std::env::current_exe().map_err(|error| format!("our own path: {error}"))?;
    let _shower = Command::new(ourselves)
        .args(["demo", "--show", listen])
        .spawn()
        .map_err(|error| format!("a second process: {error}"))?;
    let error = Command::new(programs(root).join("tenure"))
        .args(["serve", "--listen", listen])
        .current_dir(root)
        .exec();
    Err(format!("target/release/tenure: {error}"))
}

fn show(root: &Path, listen: &str) -> Outcome {
    wait_until_ready(parsed(listen)?)?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", SHELL, "demo"])
        .args(LINES)
        .current_dir(root)
        .env("PATH", format!("{}:{path}", programs(root).display()))
        .env("TENURE_URL", format!("http://{listen}"))
        .env("TENURE_API_KEY_FILE", root.join("tenure-data/api-key"));
    succeed(shell)?;
    println!(
        "\nThe server listens on http://{listen} until Ctrl-C. In another terminal, in this folder:\n  \
         export PATH=\"$PWD/target/release:$PATH\""
    );
    Ok(())
}

/// Polls `/readyz`.
///
/// # Errors
/// When the server is gone or not ready in time.
fn wait_until_ready(address: SocketAddr) -> Outcome {
    let server = parent_id();
    let began = Instant::now();
    while began.elapsed() < READY_MAX {
        if parent_id() != server {
            return Err("the server has stopped".to_owned());
        }
        if is_ready(address).unwrap_or(false) {
            return Ok(());
        }
        sleep(POLL);
    }
    Err(format!("the server is not ready after {} s", READY_MAX.as_secs()))
}

fn is_ready(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, PROBE_MAX)?;
    stream.set_read_timeout(Some(PROBE_MAX))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(status == *b"HTTP/1.1 200")
}

fn programs(root: &Path) -> PathBuf {
    root.join("target/release")
}

fn parsed(listen: &str) -> Result<SocketAddr, String> {
    listen.parse().map_err(|_| format!("{listen} is not ADDRESS:PORT"))
}
