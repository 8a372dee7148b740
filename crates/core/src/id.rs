//! Numbers and secrets with types of their own, so that no two can be swapped.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::limits;

const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A fencing token: rises with every grant, for ever. The guarded resource refuses a lower one than it has seen
/// (Kleppmann, "How to do distributed locking", 2016).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Token(u64);

impl Token {
    /// The token with this number.
    pub const fn new(number: u64) -> Self {
        Token(number)
    }

    /// Its number, below 2⁵³.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Orders the changes of the machine: + 1 with each.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// One request inside the machine, from its arrival to the end of its grant. Numbers rise in arrival order.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct TicketId(pub u64);

/// The capacity of a lock, 1 to 2³¹.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Permits(NonZeroU32);

impl Permits {
    /// One: a plain exclusive lock.
    pub const ONE: Permits = Permits(NonZeroU32::MIN);

    /// `None` outside 1 to 2³¹.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).filter(|n| n.get() <= limits::PERMITS_MAX).map(Permits)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// How many permits one request takes, 1 to the permits it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Weight(NonZeroU32);

impl Weight {
    /// One permit.
    pub const ONE: Weight = Weight(NonZeroU32::MIN);

    /// `None` outside 1 to 2³¹.
    pub fn new(number: u32) -> Option<Self> {
        Permits::new(number).map(|p| Weight(p.0))
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// The secret that proves ownership of a grant: 32 letters and digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease([u8; 32]);

impl Lease {
    /// Makes a lease of 32 random bytes, one letter of each (modulo 62: about 190 bits stay).
    pub fn from_random(dice: [u8; 32]) -> Self {
        Lease(dice.map(|b| LETTERS[usize::from(b) % LETTERS.len()]))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a lease is ASCII")
    }

    /// SHA-256 of the text.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }
}

impl FromStr for Lease {
    type Err = NotALease;

    fn from_str(text: &str) -> Result<Self, NotALease> {
        let bytes: [u8; 32] = text.as_bytes().try_into().map_err(|_| NotALease)?;
        if bytes.iter().all(u8::is_ascii_alphanumeric) { Ok(Lease(bytes)) } else { Err(NotALease) }
    }
}

impl fmt::Debug for Lease {
    // A lease never reaches a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lease(…)")
    }
}

/// The text is not 32 letters and digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a lease has 32 letters and digits")]
pub struct NotALease;

/// What the record keeps of a lease.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LeaseRecord {
    /// The lease itself, so that a repeated request gets the same answer.
    Plain(Lease),
    /// SHA-256 of the lease: enough to release, useless to a reader of the log.
    Hashed([u8; 32]),
}

impl LeaseRecord {
    /// What leases are compared by: the hash of the lease.
    pub fn hash(&self) -> [u8; 32] {
        match self {
            LeaseRecord::Plain(lease) => lease.hash(),
            LeaseRecord::Hashed(hash) => *hash,
        }
    }

    /// The lease, unless only its hash is kept.
    pub fn plain(&self) -> Option<Lease> {
        match self {
            LeaseRecord::Plain(lease) => Some(*lease),
            LeaseRecord::Hashed(_) => None,
        }
    }
}

impl fmt::Debug for LeaseRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeaseRecord(…)")
    }
}

/// The public id of a session, shown as `s-` and letters. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut letters = Vec::new();
        let mut rest = self.0;
        loop {
            letters.push(LETTERS[usize::try_from(rest % 62).expect("below 62")]);
            rest /= 62;
            if rest == 0 {
                break;
            }
        }
        letters.reverse();
        write!(f, "s-{}", std::str::from_utf8(&letters).expect("letters are ASCII"))
    }
}

/// The text is not a session id or handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session is `s-…`, its handle `s-….secret`")]
pub struct NotASession;

impl FromStr for SessionId {
    type Err = NotASession;

    fn from_str(text: &str) -> Result<Self, NotASession> {
        let letters = text.strip_prefix("s-").filter(|l| !l.is_empty()).ok_or(NotASession)?;
        let mut number = 0u64;
        for byte in letters.bytes() {
            let digit = LETTERS.iter().position(|l| *l == byte).ok_or(NotASession)?;
            number = number
                .checked_mul(62)
                .and_then(|n| n.checked_add(digit as u64))
                .ok_or(NotASession)?;
        }
        // One session has one spelling: `s-01` is not `s-1`.
        let id = SessionId(number);
        if id.to_string() == text { Ok(id) } else { Err(NotASession) }
    }
}

/// The secret half of a session's handle.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct SessionSecret(Lease);

impl SessionSecret {
    /// Makes a secret of 32 random bytes.
    pub fn from_random(dice: [u8; 32]) -> Self {
        SessionSecret(Lease::from_random(dice))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for SessionSecret {
    // Takes as long for a near miss as for a far one.
    fn eq(&self, other: &Self) -> bool {
        self.0.0.iter().zip(other.0.0).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
    }
}

impl Eq for SessionSecret {}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret(…)")
    }
}

/// `<id>.<secret>`: whoever has it acts for the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionHandle {
    /// The public half.
    pub id: SessionId,
    /// The secret half.
    pub secret: SessionSecret,
}

impl fmt::Display for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.id, self.secret.as_str())
    }
}

impl FromStr for SessionHandle {
    type Err = NotASession;

    fn from_str(text: &str) -> Result<Self, NotASession> {
        let (id, secret) = text.split_once('.').ok_or(NotASession)?;
        let secret = SessionSecret(secret.parse().map_err(|_| NotASession)?);
        Ok(SessionHandle { id: id.parse()?, secret })
    }
}

/// A request id in its scope, as 16 bytes of SHA-256: the record never keeps the id itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestKey([u8; 16]);

impl RequestKey {
    /// Hashes the parts, each with its length, so that no two lists of parts meet.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        RequestKey(digest[..16].try_into().expect("16 of 32 bytes"))
    }

    /// The first eight bytes as a number.
    pub fn short(&self) -> u64 {
        u64::from_le_bytes(self.0[..8].try_into().expect("8 of 16 bytes"))
    }

    /// 22 letters that stand for it.
    pub fn letters(&self) -> String {
        let mut rest = u128::from_le_bytes(self.0);
        let mut letters = [b'0'; 22];
        for letter in &mut letters {
            *letter = LETTERS[usize::try_from(rest % 62).expect("below 62")];
            rest /= 62;
        }
        String::from_utf8(letters.to_vec()).expect("letters are ASCII")
    }
}

impl fmt::Debug for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestKey(…)")
    }
}
