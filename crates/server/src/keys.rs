//! API keys: where they come from, and finding the one behind a request.
//!
//! Only hashes are kept. A key has at least 128 random bits, so one round of SHA-256 is enough, and the table is looked
//! up by that hash: a near miss costs the same as a far one.

mod failures;
mod made;
mod rate;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use http::{HeaderMap, header};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tenure_core::{KeyName, KeyRecord, Quota, Role};
use tokio::sync::watch;

use crate::config::KeyConfig;
use crate::identity::{Identity, Limited, NotIdentified, Peer, Unauthenticated};
use crate::metrics::Metrics;

pub(crate) use failures::network;
use failures::{FAILURES_PER_SECOND_MAX, Failures};
pub use made::new_secret;
pub(crate) use made::{read_first_line, read_or_make, weakness};
use rate::Rate;

/// What a client certificate's key is called in the configuration: this and the subject, or the subject alone.
const CERTIFICATE: &str = "cert:";

/// The keys of a server; a cheap handle.
#[derive(Clone)]
pub struct Keys(Arc<Inner>);

struct Inner {
    table: ArcSwap<Table>,
    sources: Mutex<Sources>,
    /// Counts the times the table changed, for those whose answers are still open.
    changed: watch::Sender<u64>,
    failures: Failures,
    metrics: Metrics,
}

/// What the table is made of.
#[derive(Default)]
struct Sources {
    fixed: Vec<KeyConfig>,
    run_time: Vec<KeyRecord>,
}

#[derive(Default)]
struct Table {
    by_hash: HashMap<[u8; 32], Arc<Entry>>,
    by_subject: HashMap<KeyName, Arc<Entry>>,
    rates: HashMap<KeyName, Arc<Rate>>,
}

/// One secret of a key; a key in rotation has two.
struct Entry {
    sha256: [u8; 32],
    /// As seen by the door for operators, if there are two.
    identity: Arc<Identity>,
    /// As seen by the public door.
    public: Arc<Identity>,
    rate: Option<Arc<Rate>>,
    good_until: Option<Instant>,
}

impl Keys {
    /// Keys of the configuration.
    pub fn new(fixed: Vec<KeyConfig>, metrics: Metrics) -> Self {
        let keys = Keys(Arc::new(Inner {
            table: ArcSwap::default(),
            sources: Mutex::new(Sources::default()),
            changed: watch::Sender::new(0),
            failures: Failures::default(),
            metrics,
        }));
        keys.replace_fixed(fixed);
        keys
    }

    /// Takes other keys of the configuration, as after SIGHUP.
    pub fn replace_fixed(&self, fixed: Vec<KeyConfig>) {
        let mut sources = self.0.sources.lock();
        sources.fixed = fixed;
        self.rebuild(&sources);
    }

    /// Takes the keys made at run time as the machine has them now.
    pub fn replace_run_time(&self, run_time: Vec<KeyRecord>) {
        let mut sources = self.0.sources.lock();
        if run_time.is_empty() && sources.run_time.is_empty() {
            return;
        }
        sources.run_time = run_time;
        self.rebuild(&sources);
    }

    /// Whether the configuration has a key of this name, so that none can be made at run time.
    pub fn is_fixed(&self, name: &KeyName) -> bool {
        self.0.sources.lock().fixed.iter().any(|key| key.name == *name)
    }

    /// The keys of the configuration.
    pub fn fixed(&self) -> Vec<KeyConfig> {
        self.0.sources.lock().fixed.clone()
    }

    /// The key behind a request: the `Authorization` header, or else the connection's client certificate.
    pub fn identify(
        &self,
        headers: &HeaderMap,
        peer: &Peer,
    ) -> Result<Arc<Identity>, NotIdentified> {
        match bearer(headers) {
            Ok(Some(secret)) => self.identify_secret(secret, peer),
            Ok(None) => self.identify_subject(peer),
            Err(malformed) => {
                self.0.metrics.auth_failure("malformed");
                Err(malformed.into())
            }
        }
    }

    /// The key with this secret, for the routes that take it elsewhere than in the header.
    pub fn identify_secret(
        &self,
        secret: &[u8],
        peer: &Peer,
    ) -> Result<Arc<Identity>, NotIdentified> {
        let sha256: [u8; 32] = Sha256::digest(secret).into();
        let table = self.0.table.load();
        let now = Instant::now();
        let found = table.by_hash.get(&sha256).filter(|entry| {
            bool::from(entry.sha256.ct_eq(&sha256)) && entry.good_until.is_none_or(|end| now < end)
        });
        match found {
            Some(entry) => self.admit(entry, peer, now),
            None => Err(self.refuse_wrong(peer, now)),
        }
    }

    fn identify_subject(&self, peer: &Peer) -> Result<Arc<Identity>, NotIdentified> {
        let Some(subject) = &peer.certificate else {
            self.0.metrics.auth_failure("missing");
            return Err(Unauthenticated::Missing.into());
        };
        let table = self.0.table.load();
        match table.by_subject.get(subject) {
            Some(entry) => self.admit(entry, peer, Instant::now()),
            None => Err(self.refuse_wrong(peer, Instant::now())),
        }
    }

    fn admit(
        &self,
        entry: &Entry,
        peer: &Peer,
        now: Instant,
    ) -> Result<Arc<Identity>, NotIdentified> {
        if let Some(rate) = &entry.rate
            && let Err(retry_after) = rate.take(now)
        {
            self.0.metrics.limit_hit("requests_per_second");
            let max = u64::from(rate.per_second());
            return Err(Limited { limit: "requests_per_second", max, retry_after }.into());
        }
        Ok(if peer.operators_welcome { &entry.identity } else { &entry.public }.clone())
    }

    /// A wrong key is told so, unless its address has tried too many: then it waits. A right key is never refused for
    /// its neighbours' sake, or a stranger behind the same gateway could keep holders from renewing; what the bound
    /// saves is work and log lines, since a key of 128 bits is not found by trying.
    fn refuse_wrong(&self, peer: &Peer, now: Instant) -> NotIdentified {
        self.0.metrics.auth_failure("wrong");
        match self.0.failures.note(peer.address, now) {
            None => Unauthenticated::Wrong.into(),
            Some(retry_after) => {
                self.0.metrics.limit_hit("auth_failures");
                let max = u64::from(FAILURES_PER_SECOND_MAX);
                Limited { limit: "auth_failures", max, retry_after }.into()
            }
        }
    }

    fn rebuild(&self, sources: &Sources) {
        let old = self.0.table.load_full();
        let new = Table::of(sources, old.rates.clone(), Instant::now());
        let is_same = new.opens_as(&old);
        self.0.table.store(Arc::new(new));
        // The table is made anew every second; whoever waits is woken only if it is another one.
        if !is_same {
            self.0.changed.send_modify(|times| *times += 1);
        }
    }

    /// Resolves once the key behind an open answer is no longer good: removed, rotated out, run out, or it may less.
    pub(crate) async fn revoked(&self, identity: &Identity) {
        let mut changed = self.0.changed.subscribe();
        while let Some(good_until) = self.standing(identity) {
            let ran_out = async {
                match good_until {
                    Some(end) => tokio::time::sleep_until(end.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // The sender lives as long as these keys.
                _ = changed.changed() => {}
                () = ran_out => {}
            }
        }
    }

    /// Until when a key is good that was found earlier; `None` if it is not any more, `Some(None)` without an end.
    fn standing(&self, identity: &Identity) -> Option<Option<Instant>> {
        let table = self.0.table.load();
        let entry = match &identity.sha256 {
            Some(sha256) => table.by_hash.get(sha256),
            None => table.by_subject.values().find(|entry| entry.identity.name == identity.name),
        };
        let entry = entry.filter(|entry| {
            entry.identity.name == identity.name
                && entry.identity.includes(identity)
                && entry.good_until.is_none_or(|end| Instant::now() < end)
        })?;
        Some(entry.good_until)
    }
}

impl Table {
    /// The table of all keys. Rates go on where they were; a name in both sources is the configuration's.
    fn of(sources: &Sources, rates: HashMap<KeyName, Arc<Rate>>, now: Instant) -> Self {
        let mut table = Table { rates, ..Table::default() };
        for key in &sources.run_time {
            if sources.fixed.iter().any(|fixed| fixed.name == key.name) {
                continue;
            }
            table.add_run_time(key, now);
        }
        for key in &sources.fixed {
            table.add_fixed(key, now);
        }
        let names: HashSet<KeyName> = table.names().cloned().collect();
        table.rates.retain(|name, _| names.contains(name));
        table
    }

    /// Whether it lets in the same keys for the same things as another table, whenever they run out.
    fn opens_as(&self, other: &Table) -> bool {
        let same = |entry: &Arc<Entry>, other: Option<&Arc<Entry>>| {
            other.is_some_and(|other| {
                entry.identity == other.identity
                    && entry.good_until.is_some() == other.good_until.is_some()
            })
        };
        self.by_hash.len() == other.by_hash.len()
            && self.by_subject.len() == other.by_subject.len()
            && self.by_hash.iter().all(|(hash, entry)| same(entry, other.by_hash.get(hash)))
            && self.by_subject.iter().all(|(name, entry)| same(entry, other.by_subject.get(name)))
    }

    fn names(&self) -> impl Iterator<Item = &KeyName> {
        let entries = self.by_hash.values().chain(self.by_subject.values());
        entries.map(|entry| &entry.identity.name)
    }

    fn add_fixed(&mut self, key: &KeyConfig, now: Instant) {
        let identity = Identity {
            name: key.name.clone(),
            roles: key.roles.clone(),
            prefixes: key.prefixes.clone(),
            ttl_max: key.ttl_max,
            quota: key.quota.clone(),
            sha256: key.sha256,
            operators_elsewhere: false,
        };
        let rate = self.rate(&key.name, key.requests_per_second, now);
        match key.sha256 {
            Some(sha256) => self.insert(sha256, identity, rate, None),
            None => {
                let subject = key.name.as_str();
                let subject = subject.strip_prefix(CERTIFICATE).unwrap_or(subject);
                let Ok(subject) = KeyName::new(subject) else { return };
                self.by_subject
                    .insert(subject, Arc::new(Entry::new([0; 32], identity, rate, None)));
            }
        }
    }

    fn add_run_time(&mut self, key: &KeyRecord, now: Instant) {
        let identity = Identity {
            name: key.name.clone(),
            roles: key.roles.clone(),
            prefixes: key.prefixes.clone(),
            ttl_max: key.ttl_max,
            quota: Some(key.quota.clone()).filter(|quota| *quota != Quota::default()),
            sha256: Some(key.sha256),
            operators_elsewhere: false,
        };
        let rate = self.rate(&key.name, key.requests_per_second, now);
        let end = key.expires_in.map(|left| now + left);
        if let Some(old) = &key.old {
            let old_end = now + old.good_for;
            let until = end.map_or(old_end, |end| end.min(old_end));
            let identity = Identity { sha256: Some(old.sha256), ..identity.clone() };
            self.insert(old.sha256, identity, rate.clone(), Some(until));
        }
        self.insert(key.sha256, identity, rate, end);
    }

    fn insert(
        &mut self,
        sha256: [u8; 32],
        identity: Identity,
        rate: Option<Arc<Rate>>,
        good_until: Option<Instant>,
    ) {
        self.by_hash.insert(sha256, Arc::new(Entry::new(sha256, identity, rate, good_until)));
    }

    fn rate(&mut self, name: &KeyName, per_second: Option<u32>, now: Instant) -> Option<Arc<Rate>> {
        let per_second = per_second?;
        let known = self.rates.get(name).filter(|rate| rate.per_second() == per_second).cloned();
        let rate = known.unwrap_or_else(|| Arc::new(Rate::new(per_second, now)));
        self.rates.insert(name.clone(), rate.clone());
        Some(rate)
    }
}

impl Entry {
    fn new(
        sha256: [u8; 32],
        identity: Identity,
        rate: Option<Arc<Rate>>,
        good_until: Option<Instant>,
    ) -> Self {
        let public = Identity { operators_elsewhere: true, ..identity.clone() };
        let (identity, public) = (Arc::new(identity), Arc::new(public));
        Entry { sha256, identity, public, rate, good_until }
    }
}

/// Whether a key's name can stand in a path as one segment: removing and rotating need that.
pub(crate) fn is_in_a_path(name: &KeyName) -> bool {
    let name = name.as_str();
    !name.contains('/') && !matches!(name, "." | "..")
}

/// A key that may do everything, from its secret.
pub(crate) fn full_key(name: &KeyName, secret: &str) -> KeyConfig {
    KeyConfig {
        name: name.clone(),
        sha256: Some(Sha256::digest(secret.as_bytes()).into()),
        roles: vec![Role::Read, Role::Lock, Role::Write, Role::Operator],
        prefixes: Vec::new(),
        ttl_max: None,
        quota: None,
        requests_per_second: None,
    }
}

/// The secret of `Authorization: Bearer SECRET`; `None` without the header. Two headers are refused: a proxy in
/// between may have looked at the other one.
fn bearer(headers: &HeaderMap) -> Result<Option<&[u8]>, Unauthenticated> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Unauthenticated::Malformed);
    }
    let value = value.as_bytes();
    let (scheme, rest) = value.split_at_checked(7).ok_or(Unauthenticated::Malformed)?;
    let secret = rest.trim_ascii();
    if !scheme.eq_ignore_ascii_case(b"bearer ") || secret.is_empty() {
        return Err(Unauthenticated::Malformed);
    }
    Ok(Some(secret))
}

#[cfg(test)]
mod tests;
