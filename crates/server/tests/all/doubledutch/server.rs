//! A server started by a command line of DoubleDutch, and a client that speaks just enough HTTP to see every byte.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tenure_server::doubledutch::{CommandLine, Surroundings};
use tenure_server::{Config, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The key of the original's own test.
pub(super) const KEY: &str = "test";

/// A running server.
pub(super) struct Server {
    pub(super) service: Service,
    pub(super) address: SocketAddr,
}

/// An answer, in parts and whole.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Value,
    pub(super) text: String,
}

/// `PORT h 0 a test n TestServer`, with a port that is free.
pub(super) fn plain_line() -> CommandLine {
    let mut line = CommandLine::on_port(0);
    line.plain = true;
    line.api_key = Some(KEY.into());
    line.name = "TestServer".into();
    line
}

pub(super) fn config(line: &CommandLine, data: &Path) -> Config {
    let around = Surroundings { data: Some(data.to_owned()), file: None };
    tenure_server::doubledutch::config(line, &around).unwrap()
}

impl Server {
    pub(super) async fn start(data: &Path) -> Self {
        Server::start_with(&plain_line(), data).await
    }

    pub(super) async fn start_with(line: &CommandLine, data: &Path) -> Self {
        let service = Service::start(config(line, data)).await.unwrap();
        let port = service.addresses()[0].port();
        Server { service, address: ([127, 0, 0, 1], port).into() }
    }

    /// Asks for a lock that is free, or free in time, and gets its session token.
    pub(super) async fn token(&self, rest: &str) -> String {
        let answer = self.getlock(rest).await;
        assert_eq!(answer.body["lockacquired"], true, "{rest}: {}", answer.text);
        answer.body["sessiontoken"].as_str().unwrap().to_owned()
    }

    pub(super) async fn refused(&self, rest: &str) {
        let answer = self.getlock(rest).await;
        assert_eq!(answer.body["lockacquired"], false, "{rest}: {}", answer.text);
    }

    async fn getlock(&self, rest: &str) -> Answer {
        ask(self.address, "GET", &format!("/getlock?auth={KEY}&{rest}")).await
    }

    pub(super) async fn release(&self, name: &str, token: &str) -> Answer {
        let target = format!("/releaselock?auth={KEY}&lockname={name}&token={token}");
        ask(self.address, "DELETE", &target).await
    }

    pub(super) async fn locks(&self) -> Vec<Value> {
        let answer = ask(self.address, "GET", &format!("/status?auth={KEY}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.body["locks"].as_array().unwrap().clone()
    }
}

pub(super) async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

pub(super) async fn ask(address: SocketAddr, method: &str, target: &str) -> Answer {
    ask_raw(address, method.as_bytes(), target.as_bytes()).await
}

pub(super) async fn ask_raw(address: SocketAddr, method: &[u8], target: &[u8]) -> Answer {
    let head =
        [method, b" ", target, b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"].concat();
    exchange(address, &head).await
}

/// Asks with an `Authorization` header.
pub(super) async fn ask_with(address: SocketAddr, method: &str, target: &str, key: &str) -> Answer {
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: a\r\nAuthorization: {key}\r\nConnection: close\r\n\r\n"
    );
    exchange(address, head.as_bytes()).await
}

async fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = connect(address).await;
    stream.write_all(request).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer {
        status: status.unwrap_or_else(|| {
            panic!("no answer to {:?}: {text:?}", request.escape_ascii().to_string())
        }),
        head: format!("{head}\r\n"),
        body: serde_json::from_str(body).unwrap_or(Value::Null),
        text: text.clone(),
    }
}

/// All files under a directory.
pub(super) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files
}
