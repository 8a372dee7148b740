//! Starts the servers on free ports with data that is thrown away, and ends them by process id.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::BenchError;
use crate::process::Process;

/// A server that does not listen by then has failed.
const LISTENING_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// A started server; dropping it ends it and deletes its data.
#[derive(Debug)]
pub(crate) struct Launched {
    child: Child,
    /// Deleted after the server has ended, because fields are dropped after the value itself.
    _data: TempDir,
}

impl Launched {
    /// Starts `command`, which is to listen at `address`, and waits until it does.
    pub(crate) async fn start(
        mut command: Command,
        address: SocketAddr,
        data: TempDir,
    ) -> Result<Self, BenchError> {
        let name = command.get_program().to_string_lossy().into_owned();
        let log = data.path().join("output");
        let file = std::fs::File::create(&log).map_err(BenchError::io(name.clone()))?;
        let errors = file.try_clone().map_err(BenchError::io(name.clone()))?;
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let child = command.spawn().map_err(BenchError::io(format!("starting {name}")))?;
        let mut launched = Self { child, _data: data };
        let began = Instant::now();
        while tokio::net::TcpStream::connect(address).await.is_err() {
            let ended = launched.child.try_wait().map_err(BenchError::io(name.clone()))?.is_some();
            if ended || began.elapsed() > LISTENING_MAX {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                return Err(BenchError::answer(format!("starting {name}"), said));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(launched)
    }

    pub(crate) fn process(&self) -> Process {
        Process(self.child.id())
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        // Its data goes with it, so there is nothing to stop gently; if it has ended already, so much the better.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A free address on this machine, and a folder on the disk `disk` for the data.
pub(crate) fn place(disk: &Path) -> Result<(SocketAddr, TempDir), BenchError> {
    let data = tempfile::tempdir_in(disk)
        .map_err(BenchError::io(format!("a folder in {}", disk.display())))?;
    Ok((free_address()?, data))
}

/// A port that was free a moment ago: the peers cannot choose one and say which.
pub(crate) fn free_address() -> Result<SocketAddr, BenchError> {
    let free = || BenchError::io("looking for a free port");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(free())?;
    listener.local_addr().map_err(free())
}
