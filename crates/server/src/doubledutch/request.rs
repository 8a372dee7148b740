//! What a request to one of the three routes wants, decided from its query alone.

use std::time::Duration;

use tenure_core::{LockName, limits};

use super::query::{BadParameter, Query};

/// How long a lock is had when nothing is said.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(30);

/// A lock, how long to wait for it and how long to have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GetLock {
    pub(super) name: LockName,
    pub(super) timeout: Duration,
    pub(super) lifetime: Duration,
}

impl GetLock {
    /// Reads the query of a caller whose key was found good; `name` is its `lockname`.
    pub(super) fn parse(name: &str, query: &Query<'_>) -> Result<Self, BadRequest> {
        let name = lock_name(name)?;
        let lifetime = match query.one("lifetime")? {
            None => LIFETIME_DEFAULT,
            Some(text) => lifetime(&text)?,
        };
        let timeout = match query.one("timeout")? {
            None => Duration::ZERO,
            Some(text) => seconds(&text).ok_or(BadRequest::Timeout)?,
        };
        Ok(GetLock { name, timeout, lifetime })
    }
}

pub(super) fn lock_name(text: &str) -> Result<LockName, BadRequest> {
    LockName::new(text).map_err(BadRequest::LockName)
}

// DoubleDutch granted and forgot a lock of lifetime 0 at once; the shortest life here is 100 ms.
fn lifetime(text: &str) -> Result<Duration, BadRequest> {
    let lifetime = seconds(text).ok_or(BadRequest::Lifetime)?.max(limits::TTL_MIN);
    if lifetime > limits::TTL_MAX { Err(BadRequest::Lifetime) } else { Ok(lifetime) }
}

/// Seconds with or without a fraction; `None` for what is not a number, negative, or beyond a `Duration`.
fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// Why a query was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadRequest {
    #[error(transparent)]
    Parameter(#[from] BadParameter),
    #[error("lockname {0}")]
    LockName(tenure_core::BadText),
    #[error("lifetime is not a number of seconds from 0 to {}", limits::TTL_MAX.as_secs())]
    Lifetime,
    #[error("timeout is not a number of seconds from 0")]
    Timeout,
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::*;

    fn parse(name: &str, query: &str) -> Result<(f64, f64), String> {
        let uri: Uri = format!("/getlock?{query}").parse().unwrap();
        let wanted = GetLock::parse(name, &Query::of(&uri)).map_err(|e| e.to_string())?;
        assert_eq!(wanted.name.as_str(), name);
        Ok((wanted.timeout.as_secs_f64(), wanted.lifetime.as_secs_f64()))
    }

    #[test]
    fn nothing_said_is_no_wait_and_thirty_seconds() {
        assert_eq!(parse("a", ""), Ok((0.0, 30.0)));
        assert_eq!(parse("a", "timeout=0&unknown=1&unknown=2"), Ok((0.0, 30.0)));
    }

    #[test]
    fn fractions_and_powers_count() {
        assert_eq!(parse("a", "timeout=0.25&lifetime=1.5"), Ok((0.25, 1.5)));
        assert_eq!(parse("a", "timeout=1e3&lifetime=.5"), Ok((1000.0, 0.5)));
        assert_eq!(parse("a", "timeout=100000000"), Ok((1e8, 30.0)), "however long");
        assert_eq!(parse("a", "timeout=-0"), Ok((0.0, 30.0)));
    }

    #[test]
    fn a_lifetime_is_from_a_tenth_of_a_second_to_a_leap_year() {
        assert_eq!(parse("a", "lifetime=0"), Ok((0.0, 0.1)));
        assert_eq!(parse("a", "lifetime=0.099"), Ok((0.0, 0.1)));
        assert_eq!(parse("a", "lifetime=1209600"), Ok((0.0, 1_209_600.0)), "two weeks");
        assert_eq!(parse("a", "lifetime=31622400"), Ok((0.0, 31_622_400.0)));
        let bad = Err("lifetime is not a number of seconds from 0 to 31622400".to_owned());
        for text in ["31622400.1", "1e300", "-1", "-0.1", "NaN", "nan", "inf", "-inf", "infinity"] {
            assert_eq!(parse("a", &format!("lifetime={text}")), bad, "{text}");
        }
        for text in ["", "x", "1s", "1,5", "%201", "1%20", "0x10", "1_000", "+1", "%00"] {
            assert_eq!(parse("a", &format!("lifetime={text}")), bad, "{text}");
        }
    }

    #[test]
    fn a_timeout_is_any_number_that_is_a_time() {
        let bad = Err("timeout is not a number of seconds from 0".to_owned());
        for text in ["-1", "NaN", "inf", "1e300", "", "soon", "1;2"] {
            assert_eq!(parse("a", &format!("timeout={text}")), bad, "{text}");
        }
        assert_eq!(parse("a", "timeout=1&timeout=1"), Err("timeout is supplied twice".into()));
    }

    #[test]
    fn a_hostile_name_is_refused() {
        for (name, reason) in [
            ("", "lockname must have at least 1 bytes"),
            ("a\nb", "lockname has the forbidden character U+000A"),
            ("a\u{202E}b", "lockname has the forbidden character U+202E"),
            ("\0", "lockname has the forbidden character U+0000"),
        ] {
            assert_eq!(parse(name, ""), Err(reason.into()), "{name:?}");
        }
        let long = "x".repeat(513);
        let reason = "lockname has 513 bytes, at most 512 are allowed";
        assert_eq!(parse(&long, ""), Err(reason.into()));
        assert!(parse(&long[..512], "").is_ok());
    }
}
