//! Runs every file of `tests/scripts`: commands, `---`, what the machine must answer, a blank line, and so on.
//!
//! Every script runs twice, the second time through a snapshot after every batch: what a machine answers must not
//! depend on whether it was restarted. `TENURE_REWRITE_SCRIPTS=1` writes the answers into the files, to be read
//! before they are committed.

mod command;
mod told;
mod words;
mod world;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use world::World;

/// One command, or several of one batch, with the answers that follow it in the file.
struct Block {
    commands: Vec<String>,
    answers: Vec<String>,
}

#[test]
fn every_script_is_answered_as_written() {
    let rewrite = std::env::var_os("TENURE_REWRITE_SCRIPTS").is_some();
    let mut failures = String::new();
    let scripts = scripts();
    assert!(scripts.len() > 50, "the scripts are found");
    for path in scripts {
        let text = std::fs::read_to_string(&path).expect("a script can be read");
        let failure =
            match std::panic::catch_unwind(|| (answered(&text, false), answered(&text, true))) {
                Err(_) => "  the machine panics".to_owned(),
                Ok((straight, restarted)) if straight != restarted => {
                    format!("  a restart changes it\n{}", difference(&straight, &restarted))
                }
                Ok((straight, _)) if straight == text => continue,
                Ok((straight, _)) if rewrite => {
                    std::fs::write(&path, &straight).expect("a script can be written");
                    continue;
                }
                Ok((straight, _)) => difference(&text, &straight),
            };
        let name = path.file_name().expect("a script has a name").display();
        writeln!(failures, "{name}\n{failure}").expect("text can be written to memory");
    }
    assert!(failures.is_empty(), "- as written, + as answered\n\n{failures}");
}

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let entries = std::fs::read_dir(folder).expect("the scripts are there");
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a file has a name").path()).collect();
    paths.sort();
    paths
}

/// The script with the answers the machine gives.
fn answered(text: &str, restart: bool) -> String {
    let (title, blocks) = parse(text);
    let mut world = World::new(restart);
    let mut answered = title;
    for block in blocks {
        answered.push('\n');
        let answers: Vec<String> = block
            .commands
            .iter()
            .filter(|line| !line.starts_with('#'))
            .flat_map(|line| world.run(line).unwrap_or_else(|why| vec![format!("error: {why}")]))
            .collect();
        for line in block.commands.iter().map(String::as_str).chain(["---"]) {
            answered.push_str(line);
            answered.push('\n');
        }
        for line in answers {
            answered.push_str(&line);
            answered.push('\n');
        }
    }
    answered
}

/// The title, which is the finding in a sentence, and the blocks.
fn parse(text: &str) -> (String, Vec<Block>) {
    let mut parts = text.trim_end().split("\n\n");
    let title = parts.next().expect("a script has a title").to_owned() + "\n";
    assert!(title.starts_with("# "), "a script begins with the finding: {title}");
    let block = |part: &str| {
        let lines: Vec<String> = part.lines().map(str::to_owned).collect();
        let bar = lines.iter().position(|line| line == "---").unwrap_or(lines.len());
        Block {
            commands: lines[..bar].to_vec(),
            answers: lines.get(bar + 1..).unwrap_or_default().to_vec(),
        }
    };
    let blocks: Vec<Block> = parts.map(block).collect();
    assert!(blocks.iter().all(|block| !block.commands.is_empty()), "a block has commands");
    (title, blocks)
}

/// Line by line, with a little of what is around.
fn difference(written: &str, answered: &str) -> String {
    let (_, written) = parse(written);
    let (_, answered) = parse(answered);
    let mut shown = String::new();
    for (before, after) in written.iter().zip(&answered).filter(|(a, b)| a.answers != b.answers) {
        for line in &before.commands {
            shown.push_str(&format!("    {line}\n"));
        }
        for line in before.answers.iter().filter(|line| !after.answers.contains(line)) {
            shown.push_str(&format!("  - {line}\n"));
        }
        for line in &after.answers {
            let mark = if before.answers.contains(line) { ' ' } else { '+' };
            shown.push_str(&format!("  {mark} {line}\n"));
        }
    }
    shown
}
