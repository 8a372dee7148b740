//! What is wrong with a body that could not be read, and at which field. Runs only after a failure.

use serde::de::IgnoredAny;
use serde_json::error::Category;
use tenure_api::BadReason;

use super::BODY;
use crate::error::Refused;

/// The refusal of a JSON body.
pub(super) fn json(bytes: &[u8], error: &serde_json::Error) -> Refused {
    if let Err(not_utf8) = std::str::from_utf8(bytes) {
        let (field, _) = field_at(bytes, not_utf8.valid_up_to());
        return Refused::field(&field, BadReason::Encoding, "the body is not UTF-8");
    }
    let mut at = offset(bytes, error.line(), error.column());
    if at > 0 && matches!(bytes[at - 1], b'{' | b'[') {
        // The value as a whole is wrong, not the first thing in it.
        at -= 1;
    }
    let (place, depth) = field_at(bytes, at);
    let message = error.to_string();
    if error.classify() != Category::Data {
        return Refused::field(&place, not_data(bytes, &message), message);
    }
    let (named, reason) = of_message(&message);
    let field = match named {
        // Which object lacks or repeats the field is told by where the reader stood.
        Some(name) => within(&place, depth, name),
        None => place,
    };
    Refused::field(&field, reason, message)
}

/// The kind of a mistake that the reader takes for one of the JSON text itself. It is not, where the text is JSON.
fn not_data(bytes: &[u8], message: &str) -> BadReason {
    match serde_json::from_slice::<IgnoredAny>(bytes) {
        Ok(_) if message.starts_with("number out of range") => BadReason::Range,
        Ok(_) => BadReason::Type,
        Err(_) => BadReason::Syntax,
    }
}

/// What serde's own messages say: the field, where they name one, and the kind of mistake.
pub(super) fn of_message(message: &str) -> (Option<&str>, BadReason) {
    let named = |start: &str| message.strip_prefix(start)?.split('`').next();
    let kinds = [
        ("missing field `", BadReason::Missing),
        ("unknown field `", BadReason::Unknown),
        ("duplicate field `", BadReason::Duplicate),
    ];
    for (start, reason) in kinds {
        if let Some(field) = named(start) {
            return (Some(field), reason);
        }
    }
    let reason = match message {
        text if text.starts_with("invalid value: string") => BadReason::Syntax,
        text if text.starts_with("invalid value: the character") => BadReason::Syntax,
        text if text.starts_with("invalid value: another text") => BadReason::Syntax,
        text if text.starts_with("invalid type") => BadReason::Type,
        _ => BadReason::Range,
    };
    (None, reason)
}

/// The field `name` of the list item that the reader stood in, or of the body itself.
fn within(place: &str, depth: usize, name: &str) -> String {
    match place.rfind(']') {
        Some(end) if depth > 0 => format!("{}.{name}", &place[..=end]),
        _ => name.to_owned(),
    }
}

/// The byte that a line and column (both from 1) stand for.
fn offset(bytes: &[u8], line: usize, column: usize) -> usize {
    let mut starts = bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::len);
    let before: usize = starts.by_ref().take(line.saturating_sub(1)).sum();
    (before + column).min(bytes.len())
}

/// The path of the value at a byte of a JSON text, such as `locks[0].name`, and in how many lists it stands.
fn field_at(bytes: &[u8], end: usize) -> (String, usize) {
    let mut scan = Scan { stack: Vec::new() };
    let mut at = 0;
    while at < end {
        match bytes[at] {
            b'"' => {
                let close = closing_quote(bytes, at + 1).min(end);
                scan.text(&bytes[at + 1..close]);
                at = close;
            }
            byte => scan.byte(byte),
        }
        at += 1;
    }
    scan.path()
}

fn closing_quote(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len())
}

/// Where a reader of JSON stands: enough to name the place, not to judge the text.
struct Scan {
    stack: Vec<Level>,
}

enum Level {
    Object { key: String, wants_key: bool },
    List { index: usize },
}

impl Scan {
    fn byte(&mut self, byte: u8) {
        match (byte, self.stack.last_mut()) {
            (b'{', _) => self.stack.push(Level::Object { key: String::new(), wants_key: true }),
            (b'[', _) => self.stack.push(Level::List { index: 0 }),
            (b'}' | b']', _) => drop(self.stack.pop()),
            (b',', Some(Level::List { index })) => *index += 1,
            (b',', Some(Level::Object { wants_key, .. })) => *wants_key = true,
            _ => {}
        }
    }

    fn text(&mut self, text: &[u8]) {
        if let Some(Level::Object { key, wants_key }) = self.stack.last_mut()
            && *wants_key
        {
            *key = String::from_utf8_lossy(text).into_owned();
            *wants_key = false;
        }
    }

    fn path(&self) -> (String, usize) {
        let mut path = String::new();
        let mut lists = 0;
        for level in &self.stack {
            match level {
                Level::List { index } => {
                    path.push_str(&format!("[{index}]"));
                    lists += 1;
                }
                Level::Object { key, .. } => {
                    if !path.is_empty() && !key.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                }
            }
        }
        if path.is_empty() {
            path.push_str(BODY);
        }
        (path, lists)
    }
}
