//! Wrong keys per address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Wrong keys that one address may send in a second.
pub(super) const FAILURES_PER_SECOND_MAX: u32 = 10;
/// Addresses remembered; when all of them failed within the last second, newcomers count as one.
const ADDRESSES_MAX: usize = 10_000;
const SECOND: Duration = Duration::from_secs(1);

/// Wrong keys of the last second by address.
#[derive(Default)]
pub(super) struct Failures(Mutex<HashMap<Option<IpAddr>, Window>>);

struct Window {
    began: Instant,
    failures: u32,
}

impl Failures {
    /// Notes a failure; the time to wait if there were too many.
    pub(super) fn note(&self, address: Option<IpAddr>, now: Instant) -> Option<Duration> {
        let mut windows = self.0.lock();
        let mut whose = address.map(network);
        if windows.len() >= ADDRESSES_MAX && !windows.contains_key(&whose) {
            windows.retain(|_, window| now.duration_since(window.began) < SECOND);
            if windows.len() >= ADDRESSES_MAX {
                whose = None;
            }
        }
        let window = windows.entry(whose).or_insert(Window { began: now, failures: 0 });
        let age = now.saturating_duration_since(window.began);
        if age >= SECOND {
            *window = Window { began: now, failures: 0 };
        }
        window.failures = window.failures.saturating_add(1);
        (window.failures > FAILURES_PER_SECOND_MAX).then(|| SECOND.saturating_sub(age))
    }
}

/// Who counts as one: an IPv4 address, or the /64 that one IPv6 customer has to himself.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleventh_wrong_key_of_a_second_waits() {
        let failures = Failures::default();
        let start = Instant::now();
        let address = Some("192.0.2.7".parse().unwrap());
        for _ in 0..FAILURES_PER_SECOND_MAX {
            assert_eq!(failures.note(address, start), None);
        }
        assert_eq!(failures.note(address, start), Some(SECOND));
        assert_eq!(failures.note(Some("192.0.2.8".parse().unwrap()), start), None);
        assert_eq!(failures.note(address, start + SECOND), None);
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }

    #[test]
    fn who_changes_addresses_within_a_network_waits_all_the_same() {
        let failures = Failures::default();
        let now = Instant::now();
        let note = |n: u32| failures.note(format!("2001:db8::{n:x}").parse().ok(), now);
        assert!((0..FAILURES_PER_SECOND_MAX).all(|n| note(n).is_none()));
        assert_eq!(note(99), Some(SECOND));
    }

    #[test]
    fn a_flood_of_addresses_is_remembered_up_to_a_bound() {
        let failures = Failures::default();
        let now = Instant::now();
        for n in 0..(ADDRESSES_MAX as u32 + 50) {
            failures.note(Some(IpAddr::V4(n.into())), now);
        }
        assert!(failures.0.lock().len() <= ADDRESSES_MAX + 1);
    }
}
