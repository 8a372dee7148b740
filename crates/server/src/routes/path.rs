//! Which route a path means. Split before decoding: a raw slash belongs to a lock's name, and the last raw segment,
//! if it is a verb, is the verb.

use http::Method;

/// What is done to one lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockVerb {
    Acquire,
    Renew,
    Release,
    Convert,
    Check,
    HandOver,
    Recall,
    Break,
    Resize,
}

/// What is done to the locks or leases of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ManyVerb {
    Acquire,
    Renew,
    Release,
}

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Info,
    Stats,
    Changes,
    Drain,
    Locks,
    LockView,
    Lock(LockVerb),
    Many(ManyVerb),
    Sessions,
    Session,
    KeepAlive,
    SessionEvents,
    EndSession,
    Keys,
    Key,
    RotateKey,
    Cluster,
    Members,
    Member,
    Transfer,
    Backup,
    Health,
    Ready,
    OpenApi,
}

impl Route {
    /// The route of a path and what stands in it for a name, still encoded; empty where the route has none.
    pub(super) fn find(path: &str) -> Option<(Route, &str)> {
        let Some(rest) = path.strip_prefix("/v1") else {
            let route = match path {
                "/healthz" => Route::Health,
                "/readyz" => Route::Ready,
                "/openapi.json" => Route::OpenApi,
                _ => return None,
            };
            return Some((route, ""));
        };
        if let Some(lock) = rest.strip_prefix("/locks/") {
            return Some(lock_route(lock));
        }
        let whole = match rest {
            "" | "/" => Route::Info,
            "/acquire" => Route::Many(ManyVerb::Acquire),
            "/release" => Route::Many(ManyVerb::Release),
            "/renew" => Route::Many(ManyVerb::Renew),
            "/locks" => Route::Locks,
            "/sessions" => Route::Sessions,
            "/changes" => Route::Changes,
            "/stats" => Route::Stats,
            "/keys" => Route::Keys,
            "/drain" => Route::Drain,
            "/cluster" => Route::Cluster,
            "/cluster/members" => Route::Members,
            "/cluster/transfer" => Route::Transfer,
            "/cluster/backup" => Route::Backup,
            _ => return named_route(rest),
        };
        Some((whole, ""))
    }

    /// The route for documents and counters.
    pub(super) fn template(self) -> &'static str {
        match self {
            Route::Info => "/v1",
            Route::Stats => "/v1/stats",
            Route::Changes => "/v1/changes",
            Route::Drain => "/v1/drain",
            Route::Locks => "/v1/locks",
            Route::LockView => "/v1/locks/{name}",
            Route::Lock(LockVerb::Acquire) => "/v1/locks/{name}/acquire",
            Route::Lock(LockVerb::Renew) => "/v1/locks/{name}/renew",
            Route::Lock(LockVerb::Release) => "/v1/locks/{name}/release",
            Route::Lock(LockVerb::Convert) => "/v1/locks/{name}/convert",
            Route::Lock(LockVerb::Check) => "/v1/locks/{name}/check",
            Route::Lock(LockVerb::HandOver) => "/v1/locks/{name}/hand_over",
            Route::Lock(LockVerb::Recall) => "/v1/locks/{name}/recall",
            Route::Lock(LockVerb::Break) => "/v1/locks/{name}/break",
            Route::Lock(LockVerb::Resize) => "/v1/locks/{name}/resize",
            Route::Many(ManyVerb::Acquire) => "/v1/acquire",
            Route::Many(ManyVerb::Renew) => "/v1/renew",
            Route::Many(ManyVerb::Release) => "/v1/release",
            Route::Sessions => "/v1/sessions",
            Route::Session => "/v1/sessions/{id}",
            Route::KeepAlive => "/v1/sessions/{id}/keepalive",
            Route::SessionEvents => "/v1/sessions/{id}/events",
            Route::EndSession => "/v1/sessions/{id}/end",
            Route::Keys => "/v1/keys",
            Route::Key => "/v1/keys/{name}",
            Route::RotateKey => "/v1/keys/{name}/rotate",
            Route::Cluster => "/v1/cluster",
            Route::Members => "/v1/cluster/members",
            Route::Member => "/v1/cluster/members/{id}",
            Route::Transfer => "/v1/cluster/transfer",
            Route::Backup => "/v1/cluster/backup",
            Route::Health => "/healthz",
            Route::Ready => "/readyz",
            Route::OpenApi => "/openapi.json",
        }
    }

    /// The methods of the route, as the header `Allow` lists them.
    pub(super) fn allow(self) -> &'static str {
        match self {
            Route::Lock(_)
            | Route::Many(_)
            | Route::KeepAlive
            | Route::EndSession
            | Route::RotateKey
            | Route::Members
            | Route::Transfer
            | Route::Drain => "POST, OPTIONS",
            Route::Sessions | Route::Keys => "GET, HEAD, POST, OPTIONS",
            Route::Key | Route::Member => "DELETE, OPTIONS",
            _ => "GET, HEAD, OPTIONS",
        }
    }

    /// Whether the route has this method.
    pub(super) fn has(self, method: &Method) -> bool {
        self.allow().split(", ").any(|allowed| allowed == method.as_str())
    }

    /// Whether its refusals say `acquired: false`.
    pub(super) fn is_acquire(self) -> bool {
        matches!(self, Route::Lock(LockVerb::Acquire) | Route::Many(ManyVerb::Acquire))
    }
}

fn lock_route(lock: &str) -> (Route, &str) {
    let Some((name, last)) = lock.rsplit_once('/') else { return (Route::LockView, lock) };
    let verb = match last {
        "acquire" => LockVerb::Acquire,
        "renew" => LockVerb::Renew,
        "release" => LockVerb::Release,
        "convert" => LockVerb::Convert,
        "check" => LockVerb::Check,
        "hand_over" => LockVerb::HandOver,
        "recall" => LockVerb::Recall,
        "break" => LockVerb::Break,
        "resize" => LockVerb::Resize,
        _ => return (Route::LockView, lock),
    };
    (Route::Lock(verb), name)
}

fn named_route(rest: &str) -> Option<(Route, &str)> {
    let mut segments = rest.split('/').skip(1);
    let (subject, name) = (segments.next()?, segments.next()?);
    let verb = segments.next();
    if segments.next().is_some() {
        return None;
    }
    let route = match (subject, verb) {
        ("sessions", None) => Route::Session,
        ("sessions", Some("keepalive")) => Route::KeepAlive,
        ("sessions", Some("events")) => Route::SessionEvents,
        ("sessions", Some("end")) => Route::EndSession,
        ("keys", None) => Route::Key,
        ("keys", Some("rotate")) => Route::RotateKey,
        ("cluster", Some(id)) if name == "members" => return Some((Route::Member, id)),
        _ => return None,
    };
    Some((route, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_slash_belongs_to_the_name_and_the_last_verb_is_the_verb() {
        let lock = |path| Route::find(path).map(|(route, name)| (route.template(), name));
        let cases = [
            ("/v1/locks/a", "/v1/locks/{name}", "a"),
            ("/v1/locks/a/b/acquire", "/v1/locks/{name}/acquire", "a/b"),
            ("/v1/locks/a%2Facquire", "/v1/locks/{name}", "a%2Facquire"),
            ("/v1/locks/a/acquire/acquire", "/v1/locks/{name}/acquire", "a/acquire"),
            ("/v1/locks/acquire", "/v1/locks/{name}", "acquire"),
            ("/v1/locks//acquire", "/v1/locks/{name}/acquire", ""),
            ("/v1/locks/", "/v1/locks/{name}", ""),
            ("/v1/sessions/s-1/end", "/v1/sessions/{id}/end", "s-1"),
            ("/v1/keys/ci/rotate", "/v1/keys/{name}/rotate", "ci"),
            ("/v1/cluster/members/3", "/v1/cluster/members/{id}", "3"),
            ("/v1/", "/v1", ""),
        ];
        for (path, template, name) in cases {
            assert_eq!(lock(path), Some((template, name)), "{path}");
        }
    }

    #[test]
    fn other_paths_are_no_routes() {
        for path in [
            "/",
            "/v2",
            "/v1x",
            "/v1/lock",
            "/v1/sessions/a/b",
            "/v1/keys/a/rotate/x",
            "/v1/cluster/x/y",
        ] {
            assert_eq!(Route::find(path), None, "{path}");
        }
    }
}
