//! The comparison as a page shows it.

use std::fmt;

use super::{Comparison, Figures};
use crate::cycles::Cycles;

/// What the project wants to reach, from its first issue.
const ETCD_TIMES: f64 = 8.0;
const REDIS_TIMES: f64 = 1.0;
const ONE_CLIENT_TIMES_MAX: f64 = 1.3;
const HAND_OVER_SHARE_MAX: f64 = 1.0 / 3.0;
const HELD_BYTES_MAX: f64 = 400.0;
const CROWD_RELEASE_MS_MAX: f64 = 10.0;
/// The number of clients that the goals speak of.
const GOAL_CLIENTS: usize = 64;

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cycles_table(f)?;
        self.latency_table(f)?;
        self.goals_table(f)
    }
}

impl Comparison {
    fn cycles_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| clients | Tenure cycles/s | etcd | Redis, `appendfsync always` | Tenure : etcd | Tenure : Redis |"
        )?;
        writeln!(f, "| ---: | ---: | ---: | ---: | ---: | ---: |")?;
        for (own, etcd, redis) in self.rows() {
            let [own_s, etcd_s, redis_s] = [own, etcd, redis].map(|run| run.per_second);
            writeln!(
                f,
                "| {} | {} | {} | {} | {:.1} × | {:.2} × |",
                own.clients,
                grouped(own_s),
                grouped(etcd_s),
                grouped(redis_s),
                own_s / etcd_s,
                own_s / redis_s,
            )?;
        }
        writeln!(f)
    }

    fn latency_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| clients | server | p50 ms | p99 ms | p99.9 ms | server CPU s per 10,000 cycles |"
        )?;
        writeln!(f, "| ---: | --- | ---: | ---: | ---: | ---: |")?;
        for (own, etcd, redis) in self.rows() {
            for (name, run) in [("Tenure", own), ("etcd", etcd), ("Redis", redis)] {
                let [p50, p99, p999] =
                    [run.latency.p50_us, run.latency.p99_us, run.latency.p999_us]
                        .map(|us| us / 1e3);
                let cpu =
                    run.cpu_seconds_per_10000.map_or("–".to_owned(), |cpu| format!("{cpu:.2}"));
                writeln!(
                    f,
                    "| {} | {name} | {p50:.2} | {p99:.2} | {p999:.2} | {cpu} |",
                    run.clients
                )?;
            }
        }
        writeln!(f)
    }

    fn goals_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| goal | wanted | measured | |")?;
        writeln!(f, "| --- | ---: | ---: | --- |")?;
        for goal in self.goals() {
            let mark = if goal.is_reached { "reached" } else { "**missed**" };
            writeln!(f, "| {} | {} | {} | {mark} |", goal.subject, goal.wanted, goal.measured)?;
        }
        Ok(())
    }

    fn rows(&self) -> impl Iterator<Item = (&Cycles, &Cycles, &Cycles)> {
        let own = self.tenure.cycles.iter();
        own.zip(&self.etcd.cycles)
            .zip(&self.redis.cycles)
            .map(|((own, etcd), redis)| (own, etcd, redis))
    }

    /// Every goal that this run has figures for.
    fn goals(&self) -> Vec<Goal> {
        let ratio = |peer: &Figures| Some(at_goal(&self.tenure.cycles)? / at_goal(&peer.cycles)?);
        let own_hand_over = self.tenure.hand_over.latency.p50_us;
        let share = self.etcd.hand_over.map(|etcd| own_hand_over / etcd.latency.p50_us);
        let held = self.tenure.held.map(|held| held.bytes_per_lock);
        let crowd = self.tenure.waiting.map(|waiting| waiting.release.p99_us / 1e3);
        [
            ratio(&self.etcd)
                .map(|times| Goal::at_least("cycles/s of 64 clients, × etcd", times, ETCD_TIMES)),
            ratio(&self.redis)
                .map(|times| Goal::at_least("cycles/s of 64 clients, × Redis", times, REDIS_TIMES)),
            self.tenure.one_client_ratio().map(|times| {
                Goal::at_most(
                    "a request of 1 client, × (fdatasync + round trip)",
                    times,
                    ONE_CLIENT_TIMES_MAX,
                )
            }),
            share.map(|share| {
                Goal::at_most("hand-over p50 with 32 waiters, × etcd", share, HAND_OVER_SHARE_MAX)
            }),
            held.map(|bytes| {
                Goal::at_most("bytes per held lock at 100,000 locks", bytes, HELD_BYTES_MAX)
            }),
            crowd.map(|ms| {
                Goal::at_most(
                    "release p99 while 10,000 wait for another lock, ms",
                    ms,
                    CROWD_RELEASE_MS_MAX,
                )
            }),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

struct Goal {
    subject: &'static str,
    wanted: String,
    measured: String,
    is_reached: bool,
}

impl Goal {
    fn at_least(subject: &'static str, measured: f64, wanted: f64) -> Self {
        let is_reached = measured >= wanted;
        Self {
            subject,
            wanted: format!("≥ {wanted:.2}"),
            measured: format!("{measured:.2}"),
            is_reached,
        }
    }

    fn at_most(subject: &'static str, measured: f64, wanted: f64) -> Self {
        let is_reached = measured <= wanted;
        Self {
            subject,
            wanted: format!("≤ {wanted:.2}"),
            measured: format!("{measured:.2}"),
            is_reached,
        }
    }
}

fn at_goal(cycles: &[Cycles]) -> Option<f64> {
    cycles.iter().find(|run| run.clients == GOAL_CLIENTS).map(|run| run.per_second)
}

/// A whole number with a comma every three digits.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_from_the_right() {
        assert_eq!(grouped(37_123.4), "37,123");
        assert_eq!(grouped(999.0), "999");
        assert_eq!(grouped(1_000_000.0), "1,000,000");
    }

    #[test]
    fn a_goal_that_is_met_exactly_is_reached() {
        assert!(Goal::at_least("x", 8.0, 8.0).is_reached);
        assert!(Goal::at_most("x", 400.0, 400.0).is_reached);
        assert!(!Goal::at_most("x", 400.1, 400.0).is_reached);
    }
}
