//! The mark by which grants of these routes are known among all grants.

use tenure_core::{GrantView, Owner, RequestKey};

const PREFIX: &str = "doubledutch-";

/// The owner of the grant behind a session token with this hash. Nobody can name an owner that fits a token not yet
/// drawn, so a grant made elsewhere never passes for one of ours; and the owner, which everyone may see, says nothing
/// about the token.
pub(super) fn of_token(hash: &[u8; 32]) -> Owner {
    let letters = RequestKey::of(&[PREFIX.as_bytes(), hash]).letters();
    Owner::new(format!("{PREFIX}{letters}")).expect("34 letters are an owner")
}

/// Whether a grant was made by `/getlock`.
pub(super) fn is_ours(grant: &GrantView) -> bool {
    match &grant.lease {
        Some(token) => grant.owner == of_token(&token.hash()),
        // Only the hash of the token is kept, so nothing of it can be shown either: the prefix will do.
        None => grant.owner.as_str().starts_with(PREFIX),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tenure_core::{KeyName, Lease, LockName, Token};

    use super::*;

    fn grant(owner: Owner, lease: Option<Lease>) -> GrantView {
        GrantView {
            name: LockName::new("a").unwrap(),
            token: Token::new(1),
            key: KeyName::new("k").unwrap(),
            owner,
            lease,
            expires_in: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_grant_made_elsewhere_never_passes_for_ours() {
        let (token, other) = (Lease::from_random([1; 32]), Lease::from_random([2; 32]));
        assert!(is_ours(&grant(of_token(&token.hash()), Some(token))));
        assert!(!is_ours(&grant(of_token(&token.hash()), Some(other))));
        assert!(!is_ours(&grant(Owner::new("o-1").unwrap(), Some(token))));
        assert!(is_ours(&grant(of_token(&token.hash()), None)));
        assert!(!is_ours(&grant(Owner::new("o-1").unwrap(), None)));
    }
}
