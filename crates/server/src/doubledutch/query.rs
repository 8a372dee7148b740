//! The query of a URL: split, decoded and judged parameter by parameter, so that errors come in DoubleDutch's order.

use http::Uri;

/// What a log shows instead of a path with a secret in it.
const HIDDEN: &str = "/***";

/// The parameters of one request.
pub(super) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub(super) fn of(uri: &'a Uri) -> Self {
        Query(uri.query().unwrap_or_default())
    }

    /// The value of the parameter called `name`; `None` if there is none. Parameters that nobody asks for are
    /// ignored, as they always were.
    pub(super) fn one(&self, name: &'static str) -> Result<Option<String>, BadParameter> {
        let mut values = pairs(self.0).filter(|(n, _)| decode(n).as_deref() == Some(name));
        let Some((_, value)) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(BadParameter { name, why: "supplied twice" });
        }
        decode(value.unwrap_or_default())
            .map(Some)
            .ok_or(BadParameter { name, why: "not percent-encoded UTF-8" })
    }
}

/// A parameter that says nothing certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {why}")]
pub(super) struct BadParameter {
    name: &'static str,
    why: &'static str,
}

/// The part of a URL that a log may show: its path, without the query, where DoubleDutch's clients put the API key
/// (`auth`) and the session token (`token`). A client that escaped its `?` has them in the path, which is hidden then.
pub(crate) fn redact(uri: &Uri) -> &str {
    if has_secret(uri.path()) { HIDDEN } else { uri.path() }
}

// Whether an escaped `auth=` or `token=` is somewhere in the text.
fn has_secret(text: &str) -> bool {
    let text = decode_lossy(text).to_ascii_lowercase();
    text.contains("auth=") || text.contains("token=")
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| match pair.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (pair, None),
    })
}

/// `%41` is `A` and `+` a space; `None` if a `%` is not followed by two digits or the result is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

fn decode_lossy(text: &str) -> String {
    decode(text).unwrap_or_else(|| text.replace("%3d", "=").replace("%3D", "="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(query: &str, name: &'static str) -> Result<Option<String>, String> {
        Query(query).one(name).map_err(|e| e.to_string())
    }

    #[test]
    fn a_value_is_decoded_as_a_form_is() {
        assert_eq!(one("lockname=a", "lockname"), Ok(Some("a".into())));
        assert_eq!(one("x=1&lockname=a%2Fb+c&&y", "lockname"), Ok(Some("a/b c".into())));
        assert_eq!(one("lock%6eame=%C3%A9", "lockname"), Ok(Some("é".into())));
        assert_eq!(one("lockname", "lockname"), Ok(Some(String::new())));
        assert_eq!(one("lockname=a=b", "lockname"), Ok(Some("a=b".into())));
        assert_eq!(one("Lockname=a", "lockname"), Ok(None));
        assert_eq!(one("", "lockname"), Ok(None));
    }

    #[test]
    fn what_says_nothing_certain_is_refused() {
        let twice = Err("token is supplied twice".to_owned());
        assert_eq!(one("token=a&token=a", "token"), twice);
        assert_eq!(one("token&%74oken=", "token"), twice);
        let encoding = Err("token is not percent-encoded UTF-8".to_owned());
        for bad in ["token=%", "token=%4", "token=%zz", "token=%FF", "token=%C3", "token=%+1"] {
            assert_eq!(one(bad, "token"), encoding, "{bad}");
        }
    }

    #[test]
    fn a_log_never_shows_a_key_or_a_token() {
        for (url, shown) in [
            ("/getlock?auth=CANARY&lockname=a", "/getlock"),
            ("/releaselock?lockname=a&token=CANARY", "/releaselock"),
            ("/status%3Fauth=CANARY", "/***"),
            ("/status%3FAuth%3DCANARY", "/***"),
            ("/releaselock%3ftoken%3dCANARY", "/***"),
            ("/status%zz%3Fauth%3DCANARY", "/***"),
            ("/v1/locks/a?after=b", "/v1/locks/a"),
            ("*", "*"),
        ] {
            assert_eq!(redact(&url.parse().unwrap()), shown, "{url}");
        }
    }
}
