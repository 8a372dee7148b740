//! Reading the URL of a backend.

use std::path::PathBuf;

use tenure_core::Prefix;

/// Most servers in one URL.
const SERVERS_MAX: usize = 32;

/// Where locks live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Which backend.
    pub(crate) place: Place,
    /// Put before every name.
    pub(crate) prefix: Prefix,
}

/// A backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A log in this process that ends with it.
    Memory,
    /// A log in this directory.
    Directory(PathBuf),
    /// Servers, each `http(s)://host[:port][/path]` without a slash at its end.
    Servers(Vec<String>),
}

/// The text is not a URL of a backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{url}` is not a URL of Tenure: {why}")]
pub struct BadUrl {
    url: String,
    why: String,
}

/// Reads a URL: `memory:`, `file:PATH`, `http://…`, `https://…`; several servers with commas between them; each with
/// `?prefix=…`, which must be the same in all of them.
pub(crate) fn parse(url: &str) -> Result<Target, BadUrl> {
    let bad = |why: &str| BadUrl { url: redacted(url), why: why.into() };
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(bad("it begins with memory:, file:, http: or https:"));
    };
    match scheme {
        "memory" => {
            let (path, prefix) = split_query(rest).map_err(|why| bad(&why))?;
            if !path.is_empty() {
                return Err(bad("nothing follows memory: but ?prefix="));
            }
            Ok(Target { place: Place::Memory, prefix })
        }
        "file" => {
            let (path, prefix) = split_query(rest).map_err(|why| bad(&why))?;
            // `file:///var/lib/x` and `file:/var/lib/x` are the same place.
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(bad("the directory is missing"));
            }
            Ok(Target { place: Place::Directory(PathBuf::from(path)), prefix })
        }
        "http" | "https" => servers(url).map_err(|why| bad(&why)),
        _ => Err(bad("it begins with memory:, file:, http: or https:")),
    }
}

fn servers(url: &str) -> Result<Target, String> {
    let mut places = Vec::new();
    let mut prefix: Option<Prefix> = None;
    for one in url.split(',') {
        let (base, its_prefix) = split_query(one.trim())?;
        check_base(base)?;
        if !its_prefix.as_str().is_empty() {
            if prefix.as_ref().is_some_and(|p| *p != its_prefix) {
                return Err("all servers must have the same prefix".into());
            }
            prefix = Some(its_prefix);
        }
        places.push(base.trim_end_matches('/').to_owned());
    }
    if places.len() > SERVERS_MAX {
        return Err(format!("at most {SERVERS_MAX} servers"));
    }
    let prefix = prefix.unwrap_or_else(no_prefix);
    Ok(Target { place: Place::Servers(places), prefix })
}

fn check_base(base: &str) -> Result<(), String> {
    let rest = base.strip_prefix("http://").or_else(|| base.strip_prefix("https://"));
    let Some(rest) = rest else {
        return Err("every server begins with http:// or https://".into());
    };
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.is_empty() || authority.starts_with(':') {
        return Err("the host is missing".into());
    }
    if authority.contains('@') {
        return Err(
            "a key does not stand in the URL, where it would be logged: use TENURE_API_KEY".into(),
        );
    }
    if base.contains(char::is_whitespace) || base.contains('#') {
        return Err("it has a blank or a #".into());
    }
    Ok(())
}

fn split_query(text: &str) -> Result<(&str, Prefix), String> {
    let Some((path, query)) = text.split_once('?') else { return Ok((text, no_prefix())) };
    let mut prefix = None;
    for part in query.split('&').filter(|p| !p.is_empty()) {
        let Some(value) = part.strip_prefix("prefix=") else {
            return Err("the only parameter is prefix".into());
        };
        if prefix.is_some() {
            return Err("prefix stands there twice".into());
        }
        let decoded = decode(value).ok_or("the prefix is wrongly percent-encoded")?;
        prefix = Some(Prefix::new(decoded).map_err(|why| format!("the prefix {why}"))?);
    }
    Ok((path, prefix.unwrap_or_else(no_prefix)))
}

/// No prefix: names stay as they are.
pub(crate) fn no_prefix() -> Prefix {
    Prefix::new("").expect("the empty text is a prefix")
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let digits = std::str::from_utf8(after.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).ok()
}

/// One segment of a path: everything but letters, digits and `-._~` is percent-encoded, slashes too.
#[cfg(feature = "remote")]
pub(crate) fn encode(text: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes everything");
        }
    }
    encoded
}

/// The URL for a message: what stands before an `@` may be a password.
fn redacted(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(start), Some(at)) if at > start => format!("{}…{}", &url[..start + 3], &url[at..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Place {
        parse(url).unwrap().place
    }

    #[test]
    fn each_scheme_is_a_place() {
        assert_eq!(place("memory:"), Place::Memory);
        assert_eq!(place("file:/var/lib/x"), Place::Directory("/var/lib/x".into()));
        assert_eq!(place("file:///var/lib/x"), Place::Directory("/var/lib/x".into()));
        assert_eq!(place("file:./here"), Place::Directory("./here".into()));
        assert_eq!(place("http://a:1/"), Place::Servers(vec!["http://a:1".into()]));
        let two = vec!["https://a:1".to_owned(), "https://b:1/under".to_owned()];
        assert_eq!(place("https://a:1,https://b:1/under"), Place::Servers(two));
    }

    #[test]
    fn a_prefix_is_decoded_and_must_be_one() {
        let prefix = |url: &str| parse(url).map(|t| t.prefix.as_str().to_owned());
        assert_eq!(prefix("memory:?prefix=staging/").unwrap(), "staging/");
        assert_eq!(prefix("http://a,http://b?prefix=%C3%A4%2F").unwrap(), "ä/");
        assert_eq!(prefix("http://a?prefix=x/,http://b?prefix=x/").unwrap(), "x/");
        for wrong in [
            "http://a?prefix=x,http://b?prefix=y",
            "memory:?prefix=a&prefix=b",
            "memory:?perfix=a",
            "memory:?prefix=%zz",
            "memory:?prefix=%C3",
            "memory:?prefix=%00",
        ] {
            assert!(prefix(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_repeating_a_password() {
        for wrong in
            ["", "here", "ftp://a", "http://", "http://:7", "file:", "memory:x", "http://a,b"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        let said = parse("http://me:secret@host").unwrap_err().to_string();
        assert!(!said.contains("secret"), "{said}");
    }

    #[cfg(feature = "remote")]
    #[test]
    fn a_name_is_one_segment_of_a_path() {
        assert_eq!(encode("billing/42"), "billing%2F42");
        assert_eq!(encode("ä ?#%"), "%C3%A4%20%3F%23%25");
        assert_eq!(decode(&encode("a/ö/%")).unwrap(), "a/ö/%");
    }
}
