//! The form of a line.

use std::fmt::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes `{"ts":…,"level":…,"event":…,…}` or `16:40:02.114 WARN  slow_wait  lock=deploy …`.
pub(super) struct Line {
    pub(super) json: bool,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let name = fields.take("event").unwrap_or_else(|| Value::from(event.metadata().target()));
        let now = SystemTime::now();
        let level = *event.metadata().level();
        if self.json {
            writeln!(writer, "{}", json(now, level, name, &fields))
        } else {
            writeln!(writer, "{}", text(now, level, &name, &fields))
        }
    }
}

fn json(now: SystemTime, level: Level, name: Value, fields: &Fields) -> String {
    let level = level.as_str().to_lowercase();
    // In this order, so that people can read it too; a map would sort the names.
    let mut line =
        format!("{{\"ts\":\"{}\",\"level\":\"{level}\",\"event\":{name}", timestamp(now));
    for (field, value) in &fields.0 {
        // Writing to a String cannot fail.
        let _ = write!(line, ",{}:{value}", Value::from(field.as_str()));
    }
    line.push('}');
    line
}

fn text(now: SystemTime, level: Level, name: &Value, fields: &Fields) -> String {
    let stamp = timestamp(now);
    let time = stamp.get(11..23).unwrap_or(&stamp);
    let mut line = format!("{time} {level:<5} {}", bare(name));
    for (field, value) in &fields.0 {
        // Writing to a String cannot fail.
        let _ = write!(line, "  {field}={}", bare(value));
    }
    line
}

/// A text without quotation marks where it needs none.
fn bare(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() && text.chars().all(is_plain) => text.clone(),
        other => other.to_string(),
    }
}

fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || "_-./:@%+,".contains(c)
}

/// The fields of an event in the order they were named.
#[derive(Default)]
struct Fields(Vec<(String, Value)>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.push((field.name().to_owned(), value));
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(field, _)| field == name)?;
        Some(self.0.remove(at).1)
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::from((value * 1e6).round() / 1e6));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::from(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::from(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Value::from(format!("{value:?}")));
    }
}

/// `2026-11-20T16:40:02.114Z`.
fn timestamp(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let millis = since.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Year, month and day of a day since 1970 (Hinnant, "chrono-compatible low-level date algorithms": the year begins in
/// March, so that the leap day comes last).
fn date(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(59), (1970, 3, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(20_777), (2026, 11, 20));
    }

    #[test]
    fn both_forms_name_the_event_first() {
        let now = UNIX_EPOCH + Duration::from_millis(20_777 * 86_400_000 + 60_002_114);
        let fields = Fields(vec![
            ("lock".to_owned(), Value::from("deploy")),
            ("note".to_owned(), Value::from("a b\n")),
        ]);
        assert_eq!(
            text(now, Level::WARN, &Value::from("slow_wait"), &fields),
            "16:40:02.114 WARN  slow_wait  lock=deploy  note=\"a b\\n\""
        );
        let json = json(now, Level::WARN, Value::from("slow_wait"), &fields);
        assert!(
            json.starts_with("{\"ts\":\"2026-11-20T16:40:02.114Z\",\"level\":\"warn\",\"event\":")
        );
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["event"], &json["note"]), (&"slow_wait".into(), &"a b\n".into()));
        assert_eq!(json["lock"], "deploy");
    }
}
