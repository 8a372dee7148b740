//! What a command finds in its environment, and what `tenure acquire --export` prints for a shell.

use std::collections::BTreeMap;

use tenure::Grant;
use tenure_api::Grant as AnsweredGrant;
use tenure_core::{Lease, LockName, Owner, SessionHandle, Token};

/// The variable with the lease.
pub(crate) const LEASE: &str = "TENURE_LEASE";
/// The variable with the name of the first lock.
pub(crate) const LOCK: &str = "TENURE_LOCK";
/// The variable with names and tokens.
pub(crate) const TOKENS: &str = "TENURE_TOKENS";

/// Names and values.
pub(crate) type Variables = Vec<(&'static str, String)>;

/// The variables that tell of a grant that this program keeps.
pub(crate) fn of_kept(grant: &Grant) -> Variables {
    let tokens = grant.tokens().iter().map(|(name, token)| (name.clone(), *token)).collect();
    let first = (grant.name().clone(), grant.token());
    variables(&first, tokens, grant.lease(), grant.owner(), grant.session())
}

/// The variables that tell of a grant that the user keeps; `None` if the answer has no lease.
pub(crate) fn of_answered(grant: &AnsweredGrant) -> Option<Variables> {
    let tokens = grant.tokens();
    let first = tokens.first()?.clone();
    Some(variables(&first, tokens, grant.lease?, &grant.owner, None))
}

fn variables(
    (name, token): &(LockName, Token),
    tokens: Vec<(LockName, Token)>,
    lease: Lease,
    owner: &Owner,
    session: Option<SessionHandle>,
) -> Variables {
    let tokens: BTreeMap<_, _> =
        tokens.iter().map(|(name, token)| (name.as_str(), token.get())).collect();
    let tokens = serde_json::to_string(&tokens).expect("names and numbers are JSON");
    let mut variables = vec![
        (LOCK, name.to_string()),
        ("TENURE_TOKEN", token.to_string()),
        (TOKENS, tokens),
        (LEASE, lease.as_str().to_owned()),
        ("TENURE_OWNER", owner.to_string()),
    ];
    variables.extend(session.map(|session| ("TENURE_SESSION", session.to_string())));
    variables
}
