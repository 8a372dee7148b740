//! Why no answer came, as people say it: the HTTP client tells every layer it went through.

/// How its story begins; the URL that was asked follows.
const BEGINS: &str = "error sending request for url (";
/// Layers that say no more than the one below them.
const LAYERS: [&str; 6] = [
    "client error (Connect): ",
    "client error (SendRequest): ",
    "tcp connect error: ",
    "dns error: ",
    "error resolving DNS: ",
    "failed to lookup address information: ",
];
/// How it calls an answer that is not HTTP: a server that speaks TLS refuses plain text in TLS.
const NOT_HTTP: &str = "invalid HTTP ";

/// `cannot reach http://127.0.0.1:7420: Connection refused`. What is told in other words stays as it is.
pub(crate) fn plainly(why: &str) -> String {
    let told = why.strip_prefix(BEGINS).and_then(|rest| rest.split_once("): "));
    let Some((url, mut reason)) = told else { return why.to_owned() };
    while let Some(below) = LAYERS.iter().find_map(|layer| reason.strip_prefix(layer)) {
        reason = below;
    }
    let reason = reason.split_once(" (os error ").map_or(reason, |(reason, _)| reason);
    let origin = origin(url);
    match origin.strip_prefix("http://") {
        Some(rest) if reason.starts_with(NOT_HTTP) => {
            format!("cannot reach {origin}: the answer is not HTTP; try https://{rest}")
        }
        _ => format!("cannot reach {origin}: {reason}"),
    }
}

/// The URL without its path.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find('/').map_or(url.len(), |at| host + at);
    &url[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreachable_server_is_named_with_one_reason() {
        let refused = "error sending request for url (http://127.0.0.1:1/v1): client error (Connect): \
                       tcp connect error: Connection refused (os error 111)";
        assert_eq!(plainly(refused), "cannot reach http://127.0.0.1:1: Connection refused");
        let doubted = "error sending request for url (https://a.b/v1): client error (Connect): \
                       invalid peer certificate: UnknownIssuer";
        let said = "cannot reach https://a.b: invalid peer certificate: UnknownIssuer";
        assert_eq!(plainly(doubted), said);
    }

    #[test]
    fn an_answer_that_is_not_http_asks_for_https() {
        let tls = "error sending request for url (http://a:7420/v1): client error (SendRequest): \
                   invalid HTTP version parsed";
        let said = "cannot reach http://a:7420: the answer is not HTTP; try https://a:7420";
        assert_eq!(plainly(tls), said);
    }

    #[test]
    fn other_words_stay() {
        assert_eq!(plainly("the disk is full"), "the disk is full");
    }
}
