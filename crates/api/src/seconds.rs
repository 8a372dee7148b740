//! Spans of time as the interface writes them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};
use serde::{Serialize, Serializer};

/// A span of time: read as a number of seconds (`30`, `0.5`) or as text (`"30"`, `"30s"`, `"500ms"`, `"5m"`, `"1h"`,
/// `"1d"`), written as a number of seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seconds(pub Duration);

/// The text is not a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSeconds {
    /// Not of the form number and unit.
    #[error(
        "a duration is a number of seconds or a number with ms, s, m, h or d, like 30, 0.5, 500ms, 5m"
    )]
    Syntax,
    /// More than can be counted.
    #[error("the duration is too long to be counted")]
    TooLong,
}

const EXPECTED: &str = "a duration in seconds, or text like 30s, 500ms, 5m, 1h, 1d";

impl Seconds {
    /// No time.
    pub const ZERO: Seconds = Seconds(Duration::ZERO);

    /// So many whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Seconds(Duration::from_secs(seconds))
    }

    /// The span.
    pub const fn get(self) -> Duration {
        self.0
    }

    fn number(self) -> Number {
        let (seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        if nanos == 0 {
            return Number::Whole(seconds);
        }
        // One division is rounded once, so that 29.7 is written as 29.7; a sum of two parts would not be.
        match (seconds.checked_mul(1_000_000), nanos % 1000) {
            (Some(micros), 0) => Number::Fraction((micros + u64::from(nanos / 1000)) as f64 / 1e6),
            _ => Number::Fraction(self.0.as_secs_f64()),
        }
    }
}

/// How a span is written.
enum Number {
    Whole(u64),
    Fraction(f64),
}

impl From<Duration> for Seconds {
    fn from(span: Duration) -> Self {
        Seconds(span)
    }
}

impl From<Seconds> for Duration {
    fn from(seconds: Seconds) -> Self {
        seconds.0
    }
}

impl fmt::Display for Seconds {
    /// Seconds with as many decimals as it has, such as `30` and `0.25`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number() {
            Number::Whole(seconds) => write!(f, "{seconds}"),
            Number::Fraction(seconds) => write!(f, "{seconds}"),
        }
    }
}

impl FromStr for Seconds {
    type Err = NotSeconds;

    fn from_str(text: &str) -> Result<Self, NotSeconds> {
        let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(unit_at);
        let seconds_in_unit = match unit {
            "ms" => 0.001,
            "" | "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return Err(NotSeconds::Syntax),
        };
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let plain = match number.split_once('.') {
            Some((whole, fraction)) => digits(whole) && digits(fraction),
            None => digits(number),
        };
        if !plain {
            return Err(NotSeconds::Syntax);
        }
        let number: f64 = number.parse().map_err(|_| NotSeconds::Syntax)?;
        let span = Duration::try_from_secs_f64(number * seconds_in_unit);
        span.map(Seconds).map_err(|_| NotSeconds::TooLong)
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.number() {
            Number::Whole(seconds) => serializer.serialize_u64(seconds),
            Number::Fraction(seconds) => serializer.serialize_f64(seconds),
        }
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecondsVisitor)
    }
}

struct SecondsVisitor;

impl Visitor<'_> for SecondsVisitor {
    type Value = Seconds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Seconds, E> {
        Ok(Seconds::from_secs(seconds))
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Seconds, E> {
        let whole = u64::try_from(seconds);
        whole
            .map(Seconds::from_secs)
            .map_err(|_| E::invalid_value(Unexpected::Signed(seconds), &EXPECTED))
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Seconds, E> {
        let span = Duration::try_from_secs_f64(seconds);
        span.map(Seconds).map_err(|_| E::invalid_value(Unexpected::Float(seconds), &EXPECTED))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Seconds, E> {
        text.parse().map_err(|why| match why {
            NotSeconds::Syntax => E::invalid_value(Unexpected::Str(text), &EXPECTED),
            NotSeconds::TooLong => E::invalid_length(text.len(), &"a duration that can be counted"),
        })
    }
}

impl utoipa::PartialSchema for Seconds {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
        let number = ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0));
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)?$"));
        let either = OneOfBuilder::new().item(number).item(text).description(Some(
            "Seconds as a number, or text with a unit: 30, 0.5, \"30s\", \"500ms\", \"5m\", \"1h\", \"1d\". Answers \
             are always numbers.",
        ));
        utoipa::openapi::schema::Schema::from(either).into()
    }
}

impl utoipa::ToSchema for Seconds {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Seconds")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<Duration> {
        serde_json::from_str::<Seconds>(json).ok().map(Seconds::get)
    }

    #[test]
    fn numbers_and_text_with_units_are_durations() {
        let cases = [
            ("30", 30_000),
            ("0.5", 500),
            ("1e1", 10_000),
            ("\"30\"", 30_000),
            ("\"30s\"", 30_000),
            ("\"500ms\"", 500),
            ("\"0.5\"", 500),
            ("\"1.5m\"", 90_000),
            ("\"1h\"", 3_600_000),
            ("\"1d\"", 86_400_000),
            ("0", 0),
        ];
        for (json, millis) in cases {
            assert_eq!(read(json), Some(Duration::from_millis(millis)), "{json}");
        }
    }

    #[test]
    fn what_is_no_plain_duration_is_refused() {
        let cases = [
            "-1",
            "-0.5",
            "1e300",
            "NaN",
            "\"NaN\"",
            "\"inf\"",
            "\"-1s\"",
            "\"+1s\"",
            "\"0x10\"",
            "\"\"",
            "\"s\"",
            "\"1e3\"",
            "\"1 s\"",
            "\" 1\"",
            "\"1w\"",
            "\".5\"",
            "\"5.\"",
            "\"1.2.3\"",
            "\"1S\"",
            "\"1µs\"",
            "true",
            "[]",
            "{}",
            "null",
            "\"9999999999999999999999999d\"",
            "\"١\"",
        ];
        for json in cases {
            assert_eq!(read(json), None, "{json}");
        }
    }

    #[test]
    fn a_duration_is_written_as_a_number_of_seconds() {
        let json = |micros| serde_json::to_string(&Seconds(Duration::from_micros(micros))).unwrap();
        let cases = [
            (30_000_000, "30"),
            (29_700_000, "29.7"),
            (1, "1e-6"),
            (29_846_444, "29.846444"),
            (0, "0"),
        ];
        for (micros, text) in cases {
            assert_eq!(json(micros), text);
        }
    }
}
