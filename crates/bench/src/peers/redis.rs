//! Redis with every write synced, asked as its manual says: `SET name secret NX PX ttl`, and a script that deletes the
//! name only if the secret is still ours.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::BenchError;
use crate::contender::{Client, Contender};
use crate::process::Process;

const RELEASE: &str = "if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end";
const TTL_MILLIS: &str = "3600000";

/// A running Redis.
#[derive(Debug)]
pub(crate) struct Redis {
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
}

impl Contender for Redis {
    type Client = RedisClient;

    async fn client(&self, lock: &str) -> Result<RedisClient, BenchError> {
        let connecting = || BenchError::io("redis: connecting");
        let stream = TcpStream::connect(self.address).await.map_err(connecting())?;
        stream.set_nodelay(true).map_err(connecting())?;
        let mut client =
            RedisClient { stream, received: Vec::new(), acquire: Vec::new(), release: Vec::new() };
        client.ask(&command(&["SCRIPT", "LOAD", RELEASE])).await?;
        let hash = String::from_utf8_lossy(&client.received);
        let hash = hash.lines().nth(1).unwrap_or_default().to_owned();
        // The secret has the length of a real one; one connection needs no second.
        let secret = format!("{lock:-<32}");
        client.acquire = command(&["SET", lock, &secret, "NX", "PX", TTL_MILLIS]);
        client.release = command(&["EVALSHA", &hash, "1", lock, &secret]);
        Ok(client)
    }

    fn process(&self) -> Option<Process> {
        Some(self.process)
    }
}

/// One connection and the two commands it repeats.
#[derive(Debug)]
pub(crate) struct RedisClient {
    stream: TcpStream,
    received: Vec<u8>,
    acquire: Vec<u8>,
    release: Vec<u8>,
}

impl Client for RedisClient {
    async fn acquire(&mut self) -> Result<(), BenchError> {
        let acquire = std::mem::take(&mut self.acquire);
        let done = self.expect("redis: SET", &acquire, b"+OK\r\n").await;
        self.acquire = acquire;
        done
    }

    /// Redis has no queue: its users ask again and again, which says nothing about a hand-over.
    async fn acquire_in_turn(&mut self) -> Result<(), BenchError> {
        Err(BenchError::answer("redis: waiting", "it has no queue"))
    }

    async fn release(&mut self) -> Result<(), BenchError> {
        let release = std::mem::take(&mut self.release);
        let done = self.expect("redis: EVALSHA", &release, b":1\r\n").await;
        self.release = release;
        done
    }
}

impl RedisClient {
    async fn expect(
        &mut self,
        doing: &str,
        command: &[u8],
        answer: &[u8],
    ) -> Result<(), BenchError> {
        self.ask(command).await?;
        if self.received == answer {
            return Ok(());
        }
        Err(BenchError::answer(doing, String::from_utf8_lossy(&self.received)))
    }

    /// Sends a command and reads its answer: one line, or a length and one more line.
    async fn ask(&mut self, command: &[u8]) -> Result<(), BenchError> {
        let failed = || BenchError::io("redis: asking");
        self.stream.write_all(command).await.map_err(failed())?;
        self.received.clear();
        loop {
            let read = self.stream.read_buf(&mut self.received).await.map_err(failed())?;
            let lines =
                if self.received.starts_with(b"$") && self.received != b"$-1\r\n" { 2 } else { 1 };
            let complete = self.received.windows(2).filter(|pair| pair == b"\r\n").count() == lines;
            if complete {
                return Ok(());
            }
            if read == 0 {
                return Err(BenchError::answer("redis: asking", "the connection ended"));
            }
        }
    }
}

fn command(words: &[&str]) -> Vec<u8> {
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command += &format!("${}\r\n{word}\r\n", word.len());
    }
    command.into_bytes()
}
