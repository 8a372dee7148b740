//! Everything that people see goes through here: aligned, coloured on a terminal only, and never with a character in
//! it that could act on the terminal.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use serde::Serialize;

use crate::failure::Failure;

/// How text is set off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Not at all.
    Plain,
    /// What the line is about.
    Strong,
    /// What matters less.
    Faint,
    /// It is well.
    Good,
    /// Somebody may have to look at it.
    Alert,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Style::Plain => "",
            Style::Strong => "\x1b[1m",
            Style::Faint => "\x1b[2m",
            Style::Good => "\x1b[32m",
            Style::Alert => "\x1b[33m",
        }
    }
}

/// A piece of text and how it is set off. What others wrote is made harmless on the way in.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Text of a style.
    pub(crate) fn new(text: impl AsRef<str>, style: Style) -> Self {
        Cell { text: clean(text.as_ref()), style }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell::new(text, Style::Plain)
    }
}

/// Standard output, for people or as JSON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// Machines read it.
    pub(crate) json: bool,
    /// Nothing that was not asked for.
    pub(crate) quiet: bool,
    /// More of what happens.
    pub(crate) verbose: bool,
    colour: bool,
}

impl Output {
    /// Colour is for terminals whose owner has nothing against it (no-color.org).
    pub(crate) fn new(json: bool, quiet: bool, verbose: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Output { json, quiet, verbose, colour: io::stdout().is_terminal() && !refused }
    }

    /// One line of text, as it is given: the caller has cleaned what others wrote.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let written = writeln!(out, "{text}").and_then(|()| out.flush());
        written.map_err(Failure::output)
    }

    /// One line of cells with a blank between them.
    pub(crate) fn cells(&self, cells: &[Cell]) -> Result<(), Failure> {
        let shown: Vec<_> = cells.iter().map(|cell| self.paint(cell, 0)).collect();
        self.line(&shown.join(" "))
    }

    /// A value as one line of JSON.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).expect("answers are JSON");
        self.line(&text)
    }

    /// Rows under a heading, aligned; nothing at all without rows.
    pub(crate) fn table(&self, heading: &[&str], rows: &[Vec<Cell>]) -> Result<(), Failure> {
        if rows.is_empty() {
            return Ok(());
        }
        let widths = widths(heading, rows);
        let heading: Vec<_> = heading.iter().map(|name| Cell::new(name, Style::Faint)).collect();
        for row in std::iter::once(&heading).chain(rows) {
            let last = row.len().saturating_sub(1);
            let padded = row.iter().zip(&widths).enumerate();
            // The last column is not padded: no line ends in blanks.
            let shown: Vec<_> = padded
                .map(|(at, (cell, width))| self.paint(cell, if at == last { 0 } else { *width }))
                .collect();
            self.line(shown.join("  ").trim_end())?;
        }
        Ok(())
    }

    fn paint(&self, cell: &Cell, width: usize) -> String {
        let padding = " ".repeat(width.saturating_sub(cell.text.chars().count()));
        if !self.colour || cell.style == Style::Plain || cell.text.is_empty() {
            return format!("{}{padding}", cell.text);
        }
        format!("{}{}\x1b[0m{padding}", cell.style.code(), cell.text)
    }
}

fn widths(heading: &[&str], rows: &[Vec<Cell>]) -> Vec<usize> {
    let width = |at: usize, name: &str| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        let widest = cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0);
        widest.max(name.chars().count())
    };
    heading.iter().enumerate().map(|(at, name)| width(at, name)).collect()
}

/// Says something on standard error: one line that begins with the program's name.
pub(crate) fn say(text: &str) {
    // Nobody is left to be told when standard error itself fails.
    let _ = writeln!(io::stderr().lock(), "tenure: {text}");
}

/// The text with everything that could act on a terminal, or forge what stands on it, made visible instead.
pub(crate) fn clean(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if acts_on_terminals(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

fn acts_on_terminals(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// A span as people say it, in two units at most: `350ms`, `12.4s`, `2m10s`, `3h05m`, `2d4h`.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 if span.is_zero() => "0s".to_owned(),
        0 => format!("{}ms", span.as_millis().max(1)),
        1..60 => {
            let tenths = span.subsec_millis() / 100;
            if tenths == 0 { format!("{seconds}s") } else { format!("{seconds}.{tenths}s") }
        }
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// `1st`, `2nd`, `3rd`, `4th`.
pub(crate) fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// A number of things: `1 waiter`, `2 waiters`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// The text as one word of a POSIX shell.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@,+=".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_acts_on_a_terminal_gets_through() {
        assert_eq!(clean("a\x1b[2Jb\u{202e}c\rd\u{9b}"), r"a\u{1b}[2Jb\u{202e}c\u{d}d\u{9b}");
        assert_eq!(clean("ann@ci-3 – größe"), "ann@ci-3 – größe");
    }

    #[test]
    fn spans_are_said_in_two_units() {
        let said = |millis| span(Duration::from_millis(millis));
        assert_eq!(said(0), "0s");
        assert_eq!(said(350), "350ms");
        assert_eq!(said(12_400), "12.4s");
        assert_eq!(said(130_000), "2m10s");
        assert_eq!(said(3 * 3_600_000 + 5 * 60_000), "3h05m");
        assert_eq!(said(52 * 3_600_000), "2d4h");
    }

    #[test]
    fn places_have_their_endings() {
        let said: Vec<_> = [1, 2, 3, 4, 11, 12, 13, 21, 112].into_iter().map(ordinal).collect();
        assert_eq!(said, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th"]);
    }

    #[test]
    fn a_shell_reads_a_word_back_as_it_was() {
        assert_eq!(shell_word("deploy/eu-1"), "deploy/eu-1");
        assert_eq!(shell_word("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec![Cell::from("größe"), "1".into()], vec!["a".into(), "2".into()]];
        assert_eq!(widths(&["N", "TOKEN"], &rows), [5, 5]);
    }
}
