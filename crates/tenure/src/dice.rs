//! Randomness, from the operating system: leases, request ids, owners, jitter.

#[cfg(feature = "log")]
use tenure_core::{Lease, LeaseRecord, SessionSecret};
use tenure_core::{Owner, RequestId, RequestKey};

fn bytes<const N: usize>() -> [u8; N] {
    let mut dice = [0; N];
    getrandom::fill(&mut dice).expect("the operating system gives random bytes");
    dice
}

/// A new lease.
#[cfg(feature = "log")]
pub(crate) fn lease() -> LeaseRecord {
    LeaseRecord::Plain(Lease::from_random(bytes()))
}

/// The secret half of a new session's handle.
#[cfg(feature = "log")]
pub(crate) fn session_secret() -> SessionSecret {
    SessionSecret::from_random(bytes())
}

/// An id for a request outside any session.
pub(crate) fn request_id() -> RequestId {
    RequestId::new(format!("r-{}", letters())).expect("24 letters are a request id")
}

/// An owner nobody else has, after the caller's label if there is one.
pub(crate) fn owner(label: &str) -> Owner {
    let unique = &letters()[..12];
    Owner::new(format!("{label}-{unique}")).expect("a checked label and 12 letters are an owner")
}

/// A number from 0 to 255.
pub(crate) fn die() -> u8 {
    bytes::<1>()[0]
}

fn letters() -> String {
    RequestKey::of(&[&bytes::<32>()]).letters()
}
