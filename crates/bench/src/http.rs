//! The cheapest HTTP/1.1 client that is still correct against a server of ours: one connection, one request at a
//! time, answers with a length.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{BenchError, Options};

/// Longest answer this tool reads; a page of statistics is far below.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How much of an answer is shown when it was not the expected one.
const SHOWN_BYTES_MAX: usize = 300;

/// The server and what every request to it has in common.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    address: SocketAddr,
    /// The headers of every request, each with its line end.
    headers: String,
}

impl Server {
    /// Finds the server of the options.
    pub(crate) fn find(options: &Options) -> Result<Self, BenchError> {
        let url = &options.url;
        let wrong = |why| BenchError::Url { url: url.clone(), why };
        let host = url
            .strip_prefix("http://")
            .ok_or_else(|| wrong("only http://host:port"))?
            .trim_end_matches('/');
        let with_port = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        let mut addresses =
            with_port.to_socket_addrs().map_err(|_| wrong("the host is not known"))?;
        let address = addresses.next().ok_or_else(|| wrong("the host has no address"))?;
        let mut headers = format!("Host: {host}\r\n");
        if let Some(key) = &options.api_key {
            headers += &format!("Authorization: Bearer {key}\r\n");
        }
        Ok(Self { address, headers })
    }

    /// A GET request, complete.
    pub(crate) fn get(&self, path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\n{}\r\n", self.headers).into_bytes()
    }

    /// A GET request on behalf of a session, complete.
    pub(crate) fn get_for_session(&self, path: &str, handle: &str) -> Vec<u8> {
        let headers = &self.headers;
        format!("GET {path} HTTP/1.1\r\n{headers}Tenure-Session: {handle}\r\n\r\n").into_bytes()
    }

    /// A POST request with a JSON body, complete.
    pub(crate) fn post(&self, path: &str, body: &str) -> Vec<u8> {
        let length = body.len();
        let headers = &self.headers;
        format!(
            "POST {path} HTTP/1.1\r\n{headers}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Result<Connection, BenchError> {
        let doing = || format!("connecting to {}", self.address);
        let stream = TcpStream::connect(self.address).await.map_err(BenchError::io(doing()))?;
        stream.set_nodelay(true).map_err(BenchError::io(doing()))?;
        Ok(Connection { stream, received: Vec::with_capacity(4096) })
    }
}

/// A kept-alive connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// One answer; its body lies in the connection's buffer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Connection {
    /// Sends a request and does not wait for its answer.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<(), BenchError> {
        self.stream.write_all(request).await.map_err(BenchError::io("sending a request"))
    }

    /// Sends a request and reads the answer to it.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<Answer<'_>, BenchError> {
        self.send(request).await?;
        self.received.clear();
        let broken = || BenchError::io("reading an answer");
        loop {
            if let Some(head) = head(&self.received).map_err(broken())? {
                let end = head.body_start + head.body_bytes;
                while self.received.len() < end {
                    self.read_more().await.map_err(broken())?;
                }
                return Ok(Answer {
                    status: head.status,
                    body: &self.received[head.body_start..end],
                });
            }
            self.read_more().await.map_err(broken())?;
        }
    }

    /// Sends a request whose answer does not end, and reads the head of it: 200.
    pub(crate) async fn begin_stream(&mut self, request: &[u8]) -> Result<(), BenchError> {
        self.send(request).await?;
        self.received.clear();
        while find(&self.received, b"\r\n\r\n").is_none() {
            self.read_more().await.map_err(BenchError::io("reading an answer"))?;
        }
        if self.received.starts_with(b"HTTP/1.1 200") {
            return Ok(());
        }
        Err(BenchError::answer("a stream", String::from_utf8_lossy(&self.received)))
    }

    /// As [`ask`](Self::ask), and the answer must have this status.
    pub(crate) async fn expect(
        &mut self,
        request: &[u8],
        status: u16,
    ) -> Result<&[u8], BenchError> {
        let answer = self.ask(request).await?;
        if answer.status == status {
            return Ok(answer.body);
        }
        let line = String::from_utf8_lossy(
            request.split(|byte| *byte == b'\r').next().unwrap_or_default(),
        );
        let shown = &answer.body[..answer.body.len().min(SHOWN_BYTES_MAX)];
        Err(BenchError::answer(
            line,
            format!("{} {}", answer.status, String::from_utf8_lossy(shown)),
        ))
    }

    async fn read_more(&mut self) -> io::Result<()> {
        if self.received.len() > ANSWER_BYTES_MAX {
            return Err(io::Error::other("the answer is too long for this tool"));
        }
        if self.stream.read_buf(&mut self.received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

#[derive(Debug, PartialEq)]
struct Head {
    status: u16,
    body_start: usize,
    body_bytes: usize,
}

/// The head of an answer, once it is there in full.
fn head(received: &[u8]) -> io::Result<Option<Head>> {
    let Some(end) = find(received, b"\r\n\r\n") else { return Ok(None) };
    let lines = std::str::from_utf8(&received[..end]).map_err(io::Error::other)?;
    let not_http = || io::Error::other("not an HTTP/1.1 answer with a length");
    let status = lines.get(9..12).and_then(|digits| digits.parse().ok()).ok_or_else(not_http)?;
    let mut fields = lines.split("\r\n").filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let body_bytes =
        length.and_then(|(_, value)| value.trim().parse().ok()).ok_or_else(not_http)?;
    Ok(Some(Head { status, body_start: end + 4, body_bytes }))
}

/// Where `wanted` begins.
pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// The text value of a JSON field that has no escapes, found by its name.
pub(crate) fn text_field<'a>(body: &'a [u8], name: &str) -> Option<&'a str> {
    let start = field(body, name)? + 1;
    let rest = body.get(start..)?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// The value of a JSON field that is a whole number, found by its name.
pub(crate) fn number_field(body: &[u8], name: &str) -> Option<u64> {
    let rest = &body[field(body, name)?..];
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
}

/// Where the value of a field begins.
fn field(body: &[u8], name: &str) -> Option<usize> {
    let quoted = format!("\"{name}\":");
    let start = find(body, quoted.as_bytes())? + quoted.len();
    Some(start + body[start..].iter().take_while(|byte| **byte == b' ').count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_complete_and_not_before() {
        let whole = b"HTTP/1.1 409 Conflict\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
        assert_eq!(head(&whole[..30]).expect("no fault yet"), None);
        let head = head(whole).expect("an answer");
        assert_eq!(head, Some(Head { status: 409, body_start: 44, body_bytes: 7 }));
    }

    #[test]
    fn an_answer_without_a_length_is_refused_instead_of_waited_for() {
        assert!(head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }

    #[test]
    fn fields_are_found_by_name() {
        let body = br#"{"token":17,"lease": "abc","waiters":0}"#;
        assert_eq!(text_field(body, "lease"), Some("abc"));
        assert_eq!(number_field(body, "token"), Some(17));
        assert_eq!(number_field(body, "waiters"), Some(0));
        assert_eq!(text_field(body, "session"), None);
    }
}
