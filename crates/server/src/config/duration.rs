//! Spans of time as people write them: `10`, `0.5`, `10s`, `500ms`, `5m`, `1h`, `1d`.

use std::time::Duration;

/// Longest span: a century, so that sums stay far from any overflow.
const SECONDS_MAX: f64 = 100.0 * 366.0 * 86_400.0;

/// The span; `None` if the text is not one.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_seconds = match unit {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    let seconds = number.parse::<f64>().ok()? * unit_seconds;
    (seconds <= SECONDS_MAX).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units_and_fractions() {
        for (text, milliseconds) in [
            ("10", 10_000),
            ("0.5", 500),
            ("500ms", 500),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in ["", "s", "-1", "1e9", "nan", "inf", "1.2.3", "10 apples", "9999999999d"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
