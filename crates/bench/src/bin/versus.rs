//! `tenure-versus PROGRAM [--quick] [--write]`: our server beside etcd and Redis. Run by `cargo xtask bench`.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tenure_bench::versus::{self, Match};

/// The page that shows the figures, and the lines between which they stand.
const PAGE: &str = "docs/performance.md";
const BEGIN: &str = "<!-- figures: begin -->\n";
const END: &str = "<!-- figures: end -->\n";
/// All servers write below this folder; it is on the disk of the working tree.
const DISK: &str = "target/bench";

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tenure-versus: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let program = words
        .next()
        .map(PathBuf::from)
        .ok_or("usage: tenure-versus PROGRAM [--quick] [--write]")?;
    let mut plan = Match {
        program,
        disk: DISK.into(),
        rounds: 5,
        period: Duration::from_secs(3),
        clients: vec![1, 16, 64, 256],
    };
    let mut is_written = false;
    for word in words {
        match word.as_str() {
            "--quick" => (plan.rounds, plan.period) = (1, Duration::from_secs(1)),
            "--write" => is_written = true,
            other => return Err(format!("{other}: neither --quick nor --write").into()),
        }
    }
    std::fs::create_dir_all(&plan.disk)?;
    let comparison = versus::run(&plan)?;
    print!("{}\n\n{}\n{comparison}", comparison.setting, comparison.tenure);
    if is_written {
        let figures =
            format!("{}\n\n```text\n{}```\n\n{comparison}", comparison.setting, comparison.tenure);
        write(&figures)?;
    }
    Ok(())
}

/// Puts the figures between the two lines of the page.
fn write(figures: &str) -> Result<(), Box<dyn Error>> {
    let page = std::fs::read_to_string(PAGE)?;
    let missing = || format!("{PAGE} lacks the lines {} and {}", BEGIN.trim(), END.trim());
    let (before, rest) = page.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    std::fs::write(PAGE, format!("{before}{BEGIN}{figures}{END}{after}"))?;
    Ok(())
}
