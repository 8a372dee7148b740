//! Who asks, and what they may do.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use tenure_core::{Caller, KeyName, LockName, Prefix, Quota, Reach, Role};

/// The API key behind a request. Made by the table of keys, shared by all requests of
/// the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The key's name.
    pub name: KeyName,
    /// What it may do; each role includes the ones before it (read, lock, write, operator).
    pub roles: Vec<Role>,
    /// The names it sees and touches; empty: all.
    pub prefixes: Vec<Prefix>,
    /// Longest time to live it may ask for.
    pub ttl_max: Option<Duration>,
    /// What it may have at once.
    pub quota: Option<Quota>,
    /// SHA-256 of the secret that was shown; `None`: a client certificate.
    pub sha256: Option<[u8; 32]>,
    /// The request came by a door where no operator is served (there is an `admin_listen`, and it is another one).
    pub operators_elsewhere: bool,
}

impl Identity {
    /// Whether the key may do what `role` may, by the door it came in.
    pub fn may(&self, role: Role) -> bool {
        self.require(role).is_ok()
    }

    /// Refuses a key without `role`, and an operator at the wrong door.
    pub fn require(&self, role: Role) -> Result<(), Forbidden> {
        if !self.roles.iter().any(|has| *has >= role) {
            return Err(Forbidden { needs: Needs::Role(role) });
        }
        if role == Role::Operator && self.operators_elsewhere {
            return Err(Forbidden { needs: Needs::AdminListener });
        }
        Ok(())
    }

    /// Whether the key sees `name`.
    pub fn covers(&self, name: &str) -> bool {
        self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| prefix.covers(name))
    }

    /// Refuses a name outside the key's prefixes, whether there is such a lock or not.
    pub fn may_touch(&self, name: &LockName) -> Result<(), Forbidden> {
        if self.covers(name.as_str()) { Ok(()) } else { Err(Forbidden { needs: Needs::Prefix }) }
    }

    /// Whether it may all that `other` may, at the same names.
    pub(crate) fn includes(&self, other: &Identity) -> bool {
        let has = |role: &Role| self.roles.iter().any(|own| own >= role);
        let covered = |prefix: &Prefix| self.covers(prefix.as_str());
        let names = self.prefixes.is_empty()
            || !other.prefixes.is_empty() && other.prefixes.iter().all(covered);
        names && other.roles.iter().all(has)
    }

    /// Refuses a key with prefixes what concerns all names.
    pub fn may_touch_all(&self) -> Result<(), Forbidden> {
        if self.prefixes.is_empty() { Ok(()) } else { Err(Forbidden { needs: Needs::Prefix }) }
    }

    /// The names it may touch, as the rules see them.
    pub fn reach(&self) -> Reach {
        Reach::of(&self.prefixes)
    }

    /// The key as the rules see it.
    pub fn caller(&self) -> Caller {
        Caller { key: self.name.clone(), quota: self.quota.clone().map(Box::new) }
    }
}

/// The other end of a connection: in the extensions of every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its address; `None` on a Unix socket.
    pub address: Option<IpAddr>,
    /// The subject (common name) of its verified client certificate.
    pub certificate: Option<KeyName>,
    /// Whether it came in by `admin_listen`.
    pub admin: bool,
    /// Whether operator routes, `/metrics` and `/ui` are served to it (no `admin_listen`, or it came in there).
    pub operators_welcome: bool,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

/// A key without the right to do this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this key may not do that: it needs {needs}")]
pub struct Forbidden {
    /// What it lacks.
    pub needs: Needs,
}

/// What a key lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// A role.
    Role(Role),
    /// A prefix that covers the name.
    Prefix,
    /// To come in by `admin_listen`.
    AdminListener,
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Needs::Role(role) => return write!(f, "role {}", role_name(*role)),
            Needs::Prefix => "prefix",
            Needs::AdminListener => "admin_listen",
        })
    }
}

/// The word for a role in configurations and answers.
pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Read => "read",
        Role::Lock => "lock",
        Role::Write => "write",
        Role::Operator => "operator",
    }
}

/// The role behind a word.
pub(crate) fn role_named(word: &str) -> Option<Role> {
    [Role::Read, Role::Lock, Role::Write, Role::Operator]
        .into_iter()
        .find(|role| role_name(*role) == word)
}

/// Why nobody stands behind a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// It has no key.
    #[error("no API key: send `Authorization: Bearer KEY`")]
    Missing,
    /// The `Authorization` header is not `Bearer KEY`.
    #[error("the Authorization header is not `Bearer KEY`")]
    Malformed,
    /// No such key, or it has run out. Which of the two is not told.
    #[error("this API key is not known here")]
    Wrong,
}

/// Too much of something: ask again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit {limit} of {max} is reached")]
pub struct Limited {
    /// Its name: `requests_per_second`, `auth_failures`, `waiters`, `sessions`.
    pub limit: &'static str,
    /// Its bound.
    pub max: u64,
    /// When to ask again.
    pub retry_after: Duration,
}

/// Why a request was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotIdentified {
    /// Nobody stands behind it.
    #[error(transparent)]
    Unauthenticated(#[from] Unauthenticated),
    /// Too many wrong keys from this address, or too many requests with this key.
    #[error(transparent)]
    Limited(#[from] Limited),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(roles: &[Role], prefixes: &[&str]) -> Identity {
        Identity {
            name: KeyName::new("k").unwrap(),
            roles: roles.to_vec(),
            prefixes: prefixes.iter().map(|p| Prefix::new(p).unwrap()).collect(),
            ttl_max: None,
            quota: None,
            sha256: None,
            operators_elsewhere: false,
        }
    }

    #[test]
    fn a_role_includes_the_ones_before_it() {
        let lock = key(&[Role::Lock], &[]);
        assert!(lock.may(Role::Read));
        assert!(lock.may(Role::Lock));
        assert_eq!(
            lock.require(Role::Operator),
            Err(Forbidden { needs: Needs::Role(Role::Operator) })
        );
        assert!(key(&[Role::Operator], &[]).may(Role::Write));
        assert!(!key(&[], &[]).may(Role::Read));
    }

    #[test]
    fn an_operator_at_the_public_door_is_sent_to_the_other() {
        let mut ops = key(&[Role::Operator], &[]);
        assert!(ops.may(Role::Operator));
        ops.operators_elsewhere = true;
        assert_eq!(ops.require(Role::Operator), Err(Forbidden { needs: Needs::AdminListener }));
        assert!(ops.may(Role::Lock));
    }

    #[test]
    fn a_key_touches_only_names_under_its_prefixes() {
        let ci = key(&[Role::Lock], &["ci/", "tmp-"]);
        assert!(ci.covers("ci/build"));
        assert!(ci.covers("tmp-1"));
        let other = LockName::new("prod/db").unwrap();
        assert_eq!(ci.may_touch(&other), Err(Forbidden { needs: Needs::Prefix }));
        assert!(key(&[Role::Lock], &[]).covers("anything"));
    }
}
