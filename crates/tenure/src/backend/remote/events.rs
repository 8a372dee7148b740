//! Reading event streams (`text/event-stream`).

use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use reqwest::Response;
use tenure_api::{ChangeEvent, EndedEvent, LostEvent, RecalledEvent};
use tenure_core::SessionHandle;

use super::{Remote, with_sources};
use crate::backend::{Failure, SessionEvent, Told};

/// A stream with no word for so long is dead: the server writes a comment every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(40);
/// Longest event; more is a stream that is not ours.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One event as it stands in the stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    id: Option<String>,
    name: String,
    data: String,
}

/// Takes events out of bytes as they come.
#[derive(Debug, Default)]
struct Parser {
    pending: Vec<u8>,
}

impl Parser {
    /// The bytes of the connection, in any pieces.
    fn feed(&mut self, bytes: &[u8]) {
        // A carriage return stands only before a newline here, whatever wrote the stream.
        self.pending.extend(bytes.iter().filter(|b| **b != b'\r'));
    }

    /// The next whole event, if there is one. Comments are none.
    fn next(&mut self) -> Option<Event> {
        loop {
            let end = self.pending.windows(2).position(|two| two == b"\n\n")?;
            let block: Vec<u8> = self.pending.drain(..end + 2).collect();
            let event = parse(&String::from_utf8_lossy(&block));
            if !event.data.is_empty() {
                return Some(event);
            }
        }
    }

    fn is_too_long(&self) -> bool {
        self.pending.len() > EVENT_BYTES_MAX
    }
}

fn parse(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => event.id = Some(value.to_owned()),
            "event" => event.name = value.to_owned(),
            "data" if event.data.is_empty() => event.data = value.to_owned(),
            "data" => {
                event.data.push('\n');
                event.data.push_str(value);
            }
            _ => {}
        }
    }
    event
}

/// An open stream.
struct Reading {
    response: Response,
    parser: Parser,
}

impl Reading {
    async fn open(
        remote: &Remote,
        path: String,
        session: Option<SessionHandle>,
    ) -> Result<Self, Failure> {
        let response = remote.open_stream(path, session).await?;
        Ok(Reading { response, parser: Parser::default() })
    }

    /// The next event; `None` when the connection is over.
    async fn next(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            if let Some(event) = self.parser.next() {
                return Ok(Some(event));
            }
            let chunk = tokio::time::timeout(SILENCE_MAX, self.response.chunk()).await;
            match chunk {
                Ok(Ok(Some(bytes))) => self.parser.feed(&bytes),
                Ok(Ok(None)) => return Ok(None),
                Ok(Err(error)) => return Err(Failure::Unknown(with_sources(&error))),
                Err(_) => return Err(Failure::Unknown("the stream fell silent".into())),
            }
            if self.parser.is_too_long() {
                return Err(Failure::NotUnderstood("an event is too long".into()));
            }
        }
    }
}

/// The events of a session until the stream ends. Why it ended does not matter: keep-alives tell it all again.
pub(super) fn session(
    remote: Remote,
    path: String,
    session: SessionHandle,
) -> BoxStream<'static, SessionEvent> {
    let open = async move { Reading::open(&remote, path, Some(session)).await };
    let events =
        stream::once(open).filter_map(|opened| async { opened.ok() }).flat_map(|reading| {
            stream::unfold(reading, |mut reading| async {
                let event = reading.next().await.ok()??;
                Some((session_event(&event), reading))
            })
        });
    events.filter_map(|event| async { event }).boxed()
}

fn session_event(event: &Event) -> Option<SessionEvent> {
    match event.name.as_str() {
        "lost" => serde_json::from_str::<LostEvent>(&event.data).ok().map(SessionEvent::Lost),
        "recalled" => {
            serde_json::from_str::<RecalledEvent>(&event.data).ok().map(SessionEvent::Recalled)
        }
        "ended" => {
            let ended = serde_json::from_str::<EndedEvent>(&event.data).ok()?;
            Some(SessionEvent::Ended(ended.into()))
        }
        _ => None,
    }
}

/// Changes until the stream ends.
pub(super) fn changes(remote: Remote, path: String) -> BoxStream<'static, Result<Told, Failure>> {
    let open = async move { Reading::open(&remote, path, None).await };
    stream::once(open)
        .flat_map(|opened| match opened {
            Err(failure) => stream::once(async { Err(failure) }).boxed(),
            Ok(reading) => stream::unfold(Some(reading), next_told).boxed(),
        })
        .filter_map(|told| async { told.transpose() })
        .boxed()
}

type ToldOrNot = Result<Option<Told>, Failure>;

async fn next_told(reading: Option<Reading>) -> Option<(ToldOrNot, Option<Reading>)> {
    let mut reading = reading?;
    match reading.next().await {
        Ok(Some(event)) if event.name == "end" => None,
        Ok(Some(event)) => Some((told(event), Some(reading))),
        Ok(None) => None,
        Err(failure) => Some((Err(failure), None)),
    }
}

fn told(event: Event) -> ToldOrNot {
    let Some(cursor) = event.id else { return Ok(None) };
    match event.name.as_str() {
        // A kind of change that a later server knows is passed over.
        "change" => Ok(serde_json::from_str::<ChangeEvent>(&event.data)
            .ok()
            .map(|change| Told::Change(cursor, change))),
        "resync" => Ok(Some(Told::Resync(cursor))),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\n\nid: 1-2\nevent: change\ndata: {\"a\":1}\n\n: keep-alive\n\n\
                          event: end\r\ndata: x\r\ndata: y\r\n\r\n";

    #[test]
    fn events_are_read_from_bytes_in_any_pieces() {
        for piece in 1..STREAM.len() {
            let mut parser = Parser::default();
            let mut seen = Vec::new();
            for bytes in STREAM.as_bytes().chunks(piece) {
                parser.feed(bytes);
                seen.extend(std::iter::from_fn(|| parser.next()));
            }
            let change =
                Event { id: Some("1-2".into()), name: "change".into(), data: "{\"a\":1}".into() };
            let end = Event { id: None, name: "end".into(), data: "x\ny".into() };
            assert_eq!(seen, [change, end], "pieces of {piece}");
        }
    }

    #[test]
    fn an_unknown_kind_of_change_is_passed_over() {
        let event = Event {
            id: Some("1-1".into()),
            name: "change".into(),
            data: r#"{"kind":"new"}"#.into(),
        };
        assert!(told(event).unwrap().is_none());
    }
}
