//! A line of a script as words. What stands in quotes is one word.

use std::collections::VecDeque;
use std::time::Duration;

pub(super) struct Words(VecDeque<String>);

pub(super) type Read<T> = Result<T, String>;

impl Words {
    pub(super) fn of(line: &str) -> Self {
        let mut words = VecDeque::new();
        for (index, part) in line.split('"').enumerate() {
            if index % 2 == 1 {
                words.push_back(part.to_owned());
            } else {
                words.extend(part.split_whitespace().map(str::to_owned));
            }
        }
        Words(words)
    }

    pub(super) fn next(&mut self) -> Option<String> {
        self.0.pop_front()
    }

    pub(super) fn word(&mut self, what: &str) -> Read<String> {
        self.next().ok_or_else(|| format!("{what} is missing"))
    }

    /// The next word if it is this one.
    pub(super) fn skip(&mut self, word: &str) -> bool {
        let found = self.0.front().is_some_and(|next| next == word);
        if found {
            self.0.pop_front();
        }
        found
    }

    pub(super) fn expect(&mut self, word: &str) -> Read<()> {
        if self.skip(word) { Ok(()) } else { Err(format!("`{word}` expected at {:?}", self.0)) }
    }

    pub(super) fn number(&mut self, what: &str) -> Read<u64> {
        let word = self.word(what)?;
        word.parse().map_err(|_| format!("{what}: `{word}` is no number"))
    }

    /// Seconds with a fraction.
    pub(super) fn seconds(&mut self, what: &str) -> Read<Duration> {
        let word = self.word(what)?;
        let seconds: f64 = word.parse().map_err(|_| format!("{what}: `{word}` are no seconds"))?;
        Ok(Duration::from_micros((seconds * 1e6).round() as u64))
    }

    pub(super) fn end(mut self) -> Read<()> {
        match self.next() {
            None => Ok(()),
            Some(word) => Err(format!("`{word}` is not understood")),
        }
    }
}
