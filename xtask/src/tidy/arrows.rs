//! Which crate may need which.

use super::Finding;
use super::tree::Tree;

/// Our crates, from the rules outwards, and which of ours each may need.
const ARROWS: [(&str, &[&str]); 8] = [
    ("tenure-core", &[]),
    ("tenure-log", &["tenure-core"]),
    ("tenure-api", &["tenure-core"]),
    ("tenure", &["tenure-core", "tenure-log", "tenure-api"]),
    ("tenure-server", &["tenure-core", "tenure-log", "tenure-api"]),
    ("tenure-bench", &[]),
    ("tenure-cli", &["tenure-core", "tenure-api", "tenure", "tenure-server", "tenure-bench"]),
    ("xtask", &[]),
];

/// All that the rules may be built from: nothing that reads a clock, rolls dice or does I/O.
const CORE_NEEDS: [&str; 6] = ["arcstr", "hashbrown", "postcard", "serde", "sha2", "thiserror"];

/// A second TLS library in one program panics at start or doubles what must be patched.
const FORBIDDEN_PACKAGES: [&str; 4] = ["ring", "openssl-sys", "native-tls", "bincode"];

/// Arrows that [`ARROWS`] does not allow, and strangers among the needs of the rules.
pub(super) fn forbidden_arrows(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in &tree.crates {
        let manifest = format!("{}/Cargo.toml", member.folder);
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == member.name) else {
            findings.push(format!(
                "{manifest}: say in xtask/src/tidy/arrows.rs what {} may need",
                member.name
            ));
            continue;
        };
        for need in &member.needs {
            let is_ours = ARROWS.iter().any(|(name, _)| name == need);
            if is_ours && !allowed.contains(&need.as_str()) {
                findings.push(format!(
                    "{manifest}: {} must not need {need}: move what both use inwards",
                    member.name
                ));
            }
            if member.name == "tenure-core" && !is_ours && !CORE_NEEDS.contains(&need.as_str()) {
                findings.push(format!(
                    "{manifest}: the rules must not need {need}: take what it gives as an argument"
                ));
            }
        }
    }
    findings
}

/// Packages that must not be there.
pub(super) fn forbidden_packages(tree: &Tree) -> Vec<Finding> {
    let present = FORBIDDEN_PACKAGES.iter().filter(|name| tree.packages.contains(**name));
    present
        .map(|name| format!("Cargo.toml: {name} came in; find who brings it with `cargo tree -i {name}` and choose its aws-lc-rs feature"))
        .collect()
}
