//! Where and when the figures were made: without it they say nothing.

use std::process::Command;

/// One line about day, machine and versions. What cannot be found out is left out.
pub(super) fn describe() -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let known = [
        said("date", &["--utc", "+%F %H:%M UTC"]),
        Some(format!("{processors} processors")),
        processor_model(),
        kernel(),
        load(),
        said("etcd", &["--version"]),
        said("redis-server", &["--version"]).map(|version| shortened(&version)),
    ];
    known.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// The first line that a program prints.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.lines().next().map(str::to_owned)
}

fn processor_model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(": ").map(|(_, model)| model.to_owned())
}

fn kernel() -> Option<String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    Some(format!("Linux {}", release.trim()))
}

/// What else the machine was doing in the last minute: above a few tenths the figures are too low.
fn load() -> Option<String> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next().map(|minute| format!("load before {minute}"))
}

/// Without hashes and build flags: `Redis server v=7.0.15`.
fn shortened(version: &str) -> String {
    version.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_cut_before_its_hash() {
        assert_eq!(
            shortened("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc"),
            "Redis server v=7.0.15"
        );
    }

    #[test]
    fn this_machine_is_described() {
        assert!(describe().contains("processors"));
    }
}
