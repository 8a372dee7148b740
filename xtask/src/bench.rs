//! Measures the server beside its peers.

use std::path::Path;
use std::process::Command;

use crate::Outcome;
use crate::step::{cargo, shown, succeed};

/// Debian's packages with the peers' servers, and the program each brings.
const PEERS: [(&str, &str); 2] = [("etcd", "etcd-server"), ("redis-server", "redis-server")];

/// Builds everything for release, installs the peers where they are missing, and measures. The arguments go to the
/// measuring program.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Outcome {
    for (program, package) in PEERS {
        install(program, package)?;
    }
    succeed(cargo(root, &["build", "--locked", "--release", "--bin", "tenure"]))?;
    let versus = ["build", "--locked", "--release", "-p", "tenure-bench", "--features", "peers"];
    succeed(cargo(root, &versus))?;
    let mut measure = Command::new(root.join("target/release/tenure-versus"));
    measure.arg(root.join("target/release/tenure")).args(arguments).current_dir(root);
    succeed(measure)
}

fn install(program: &str, package: &str) -> Outcome {
    if Command::new(program).arg("--version").output().is_ok() {
        return Ok(());
    }
    let mut apt = Command::new("apt-get");
    apt.args(["install", "-y", "-qq", "--no-install-recommends", package]);
    let remedy = format!("install {package} as root: {}", shown(&apt));
    succeed(apt).map_err(|error| format!("{error}\n{remedy}"))
}
