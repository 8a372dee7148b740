//! Rules about files of code.

use super::Finding;
use super::tree::{File, Tree};

/// Lines of a file of code, its tests not counted.
const LINES_MAX: usize = 600;
/// Bytes of a tracked file. The lock file and licences are as long as they are.
const FILE_BYTES_MAX: usize = 256 * 1024;
/// Marks of unfinished work, spelt in halves so that this file does not contain them.
const LEFTOVERS: [&str; 4] =
    [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X:"), concat!("#[ign", "ore")];
/// What would let the rules see the world.
const WORLD: [&str; 9] = [
    "std::time::Instant",
    "std::time::SystemTime",
    "SystemTime::now",
    "Instant::now",
    "std::fs",
    "std::net",
    "std::thread",
    "std::env",
    "async fn",
];

/// Files that are too long for one noun.
pub(super) fn long_files(tree: &Tree) -> Vec<Finding> {
    let code = tree.rust().filter(|file| !is_test(&file.path));
    let long = code
        .map(|file| (file, lines_without_tests(&file.text)))
        .filter(|(_, lines)| *lines > LINES_MAX);
    long.map(|(file, lines)| {
        format!("{}: {lines} lines, at most {LINES_MAX}: split it into a folder of that name, one noun per file", file.path)
    })
    .collect()
}

/// Files that do not belong into version control.
pub(super) fn big_files(tree: &Tree) -> Vec<Finding> {
    let big =
        tree.files.iter().filter(|file| file.bytes > FILE_BYTES_MAX && file.path != "Cargo.lock");
    big.map(|file| {
        format!(
            "{}: {} bytes, at most {FILE_BYTES_MAX}: generate it, or keep it elsewhere",
            file.path, file.bytes
        )
    })
    .collect()
}

/// Notes to oneself and tests that are skipped in silence.
pub(super) fn leftovers(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in
        tree.files.iter().filter(|file| file.path.ends_with(".rs") || file.path.ends_with(".toml"))
    {
        for (line, mark) in marks(file, &LEFTOVERS) {
            findings.push(format!(
                "{}:{line}: `{mark}`: do it now, or write an issue and delete the mark",
                file.path
            ));
        }
    }
    findings
}

/// Clocks, dice and I/O in the rules.
pub(super) fn impure_core(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust().filter(|file| file.path.starts_with("crates/core/src/")) {
        for (line, mark) in marks(file, &WORLD) {
            findings.push(format!(
                "{}:{line}: `{mark}`: the rules take time, dice and identity as arguments",
                file.path
            ));
        }
    }
    findings
}

/// The lines, counted from 1, on which a mark stands.
fn marks<'a>(
    file: &'a File,
    marks: &'a [&'static str],
) -> impl Iterator<Item = (usize, &'static str)> + 'a {
    let lines = file.text.lines().enumerate();
    lines.flat_map(move |(index, line)| {
        let found = marks.iter().filter(move |mark| line.contains(**mark));
        found.map(move |mark| (index + 1, *mark))
    })
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Lines before the test module at the end of a file.
fn lines_without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests =
        lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].ends_with('{'));
    tests.unwrap_or(lines.len())
}
