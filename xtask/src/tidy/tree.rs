//! The working tree as the rules see it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::step::{cargo, shown};

/// Every file that is, or is about to be, under version control, and the dependencies between our crates.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
    pub(crate) crates: Vec<Crate>,
    /// Names of all packages that any of our programs is built from, on any platform, with every feature of ours.
    pub(crate) packages: BTreeSet<String>,
}

/// One file.
#[derive(Debug)]
pub(crate) struct File {
    /// From the top, with `/`.
    pub(crate) path: String,
    pub(crate) bytes: usize,
    /// Empty when it is not UTF-8.
    pub(crate) text: String,
}

/// One crate of the workspace.
#[derive(Debug)]
pub(crate) struct Crate {
    pub(crate) name: String,
    /// The folder, from the top.
    pub(crate) folder: String,
    /// What it needs to run; what only its tests need does not count.
    pub(crate) needs: Vec<String>,
}

impl Tree {
    /// Reads it.
    ///
    /// # Errors
    /// When git or cargo cannot be asked, or a file cannot be read.
    pub(crate) fn read(root: &Path) -> Result<Self, String> {
        Ok(Self { files: files(root)?, crates: crates(root)?, packages: packages(root)? })
    }

    /// The file at `path`.
    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Rust files.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    /// Markdown pages.
    pub(crate) fn pages(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".md"))
    }
}

fn files(root: &Path) -> Result<Vec<File>, String> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let listed = output(git)?;
    let paths = listed.split('\0').filter(|path| !path.is_empty());
    // A file that git still lists but that is deleted here is on its way out.
    let present = paths.filter(|path| root.join(path).is_file());
    present
        .map(|path| {
            let content =
                std::fs::read(root.join(path)).map_err(|error| format!("{path}: {error}"))?;
            let bytes = content.len();
            Ok(File {
                path: path.to_owned(),
                bytes,
                text: String::from_utf8(content).unwrap_or_default(),
            })
        })
        .collect()
}

fn crates(root: &Path) -> Result<Vec<Crate>, String> {
    let text = output(cargo(root, &["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value =
        serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    Ok(packages.iter().map(|package| parsed(package, root)).collect())
}

/// Asks `cargo tree`, because the lock file also lists packages that no feature in use brings in.
fn packages(root: &Path) -> Result<BTreeSet<String>, String> {
    let all =
        ["tree", "--workspace", "--all-features", "--target", "all", "--edges", "normal,build"];
    let plain = ["--prefix", "none", "--format", "{p}"];
    let text = output(cargo(root, &[all.as_slice(), plain.as_slice()].concat()))?;
    Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

fn parsed(package: &Value, root: &Path) -> Crate {
    let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
    let folder = manifest.parent().and_then(|folder| folder.strip_prefix(root).ok());
    let needs = package["dependencies"].as_array().into_iter().flatten();
    Crate {
        name: package["name"].as_str().unwrap_or_default().to_owned(),
        folder: folder.unwrap_or(Path::new("")).to_string_lossy().into_owned(),
        needs: needs
            .filter(|need| need["kind"].as_str() != Some("dev"))
            .filter_map(|need| need["name"].as_str().map(str::to_owned))
            .collect(),
    }
}

fn output(mut command: Command) -> Result<String, String> {
    let shown = shown(&command);
    let done = command.output().map_err(|error| format!("{shown}: {error}"))?;
    if !done.status.success() {
        return Err(format!("{shown}: {}", String::from_utf8_lossy(&done.stderr).trim()));
    }
    String::from_utf8(done.stdout).map_err(|_| format!("{shown}: not UTF-8"))
}
