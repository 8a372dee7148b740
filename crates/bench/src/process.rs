//! What Linux says about another process: its processor time and its memory.

use std::time::Duration;

/// Ticks of `/proc/PID/stat` in a second: fixed at 100 for every program that reads it.
const TICKS_PER_SECOND: u32 = 100;

/// A process on this machine, by its id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// Processor time used so far, in user mode and in the kernel. Nothing when there is no such process.
    pub(crate) fn cpu_time(self) -> Option<Duration> {
        cpu_time(&std::fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?)
    }

    /// Memory it has in use now, in bytes. Nothing when there is no such process.
    pub(crate) fn resident_bytes(self) -> Option<u64> {
        resident_bytes(&std::fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?)
    }
}

/// Fields 14 and 15 of the line; the name before them may contain blanks and brackets, so counting starts behind it.
fn cpu_time(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(Duration::from_secs(1) * (user + system) / TICKS_PER_SECOND)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 9 1 2 3";
        assert_eq!(cpu_time(stat), Some(Duration::from_secs(3)));
    }

    #[test]
    fn we_ourselves_have_memory_and_time() {
        let ourselves = Process(std::process::id());
        assert!(ourselves.resident_bytes().is_some_and(|bytes| bytes > 0));
        assert!(ourselves.cpu_time().is_some());
        assert_eq!(resident_bytes("VmRSS:\t  12 kB\n"), Some(12 * 1024));
    }
}
