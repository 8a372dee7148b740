//! A machine and the names a script gives to what it answers.

use std::collections::BTreeMap;
use std::time::Duration;

use tenure_core::*;

use super::words::{Read, Words};

pub(super) struct World {
    machine: Machine,
    now: Time,
    /// Whether the machine goes through a snapshot after every batch.
    restart: bool,
    dice: u64,
    leases: BTreeMap<String, Lease>,
    tickets: BTreeMap<String, TicketId>,
    labels: BTreeMap<TicketId, String>,
    requests: BTreeMap<String, RequestId>,
    sessions: BTreeMap<String, SessionHandle>,
    session_labels: BTreeMap<SessionId, String>,
}

impl World {
    pub(super) fn new(restart: bool) -> Self {
        World {
            machine: Machine::new(),
            now: Time::ZERO,
            restart,
            dice: 0,
            leases: BTreeMap::new(),
            tickets: BTreeMap::new(),
            labels: BTreeMap::new(),
            requests: BTreeMap::new(),
            sessions: BTreeMap::new(),
            session_labels: BTreeMap::new(),
        }
    }

    /// Carries out one line; commands with ` ; ` between them are one batch.
    pub(super) fn run(&mut self, line: &str) -> Read<Vec<String>> {
        let mut words = Words::of(line);
        match words.word("a command")?.as_str() {
            "at" => {
                self.now = Time::ZERO + words.seconds("a time")?;
                words.end()?;
                Ok(self.apply(vec![(format!("at {}", line[3..].trim()), Command::Tick)]))
            }
            "show" => self.show(words),
            "repeat" => self.repeat(words, line),
            _ => {
                let commands: Read<Vec<_>> =
                    line.split(" ; ").map(|part| self.command(part)).collect();
                Ok(self.apply(commands?))
            }
        }
    }

    /// `repeat N LINE`, with `%` in the line for the number; shows how often which answer came, and what the last was.
    fn repeat(&mut self, mut words: Words, line: &str) -> Read<Vec<String>> {
        let times = words.number("how often")?;
        let (_, rest) = line.split_once(&times.to_string()).ok_or("a line is missing")?;
        let mut last = vec![];
        for number in 1..=times {
            last = self.run(rest.trim().replace('%', &number.to_string()).as_str())?;
        }
        Ok(last)
    }

    fn apply(&mut self, commands: Vec<(String, Command)>) -> Vec<String> {
        let (labels, commands): (Vec<String>, Vec<Command>) = commands.into_iter().unzip();
        let batch = Batch { now: self.now, wall: WallTime(0), commands };
        let applied = self.machine.apply(&batch);
        let mut lines = Vec::new();
        for (label, answer) in labels.iter().zip(&applied.answers) {
            self.note(label, answer);
            lines.push(format!("{label} {}", self.told_answer(answer)));
        }
        for change in &applied.changes {
            lines.push(format!("  ~ {}", self.told_change(change)));
        }
        for (ticket, settled) in &applied.settled {
            let label = self.label(*ticket);
            let told = match settled {
                Settled::Granted(granted) => {
                    self.note(&label, &Answer::Granted(granted.clone()));
                    self.told_granted(granted)
                }
                Settled::Refused(refusal) => self.told_refusal(refusal),
            };
            lines.push(format!("  {label} {told}"));
        }
        if self.restart {
            self.go_through_a_snapshot();
        }
        lines
    }

    fn go_through_a_snapshot(&mut self) {
        let bytes = self.machine.snapshot();
        let restored = Machine::restore(&bytes).expect("a machine reads its own snapshot");
        assert_eq!(restored.snapshot(), bytes, "a snapshot of a restored machine is the same");
        self.machine = restored;
    }

    /// Remembers what an answer tells, for later lines to name.
    fn note(&mut self, label: &str, answer: &Answer) {
        match answer {
            Answer::Granted(granted) => {
                let label = label.trim_end_matches('^').to_owned();
                if let Some(lease) = granted.lease {
                    self.leases.insert(label.clone(), lease);
                }
                self.requests.insert(label.clone(), granted.request.clone());
                self.tickets.insert(label.clone(), granted.ticket);
                self.labels.entry(granted.ticket).or_insert(label);
            }
            Answer::Queued(queued) => {
                self.requests.insert(label.to_owned(), queued.request.clone());
                self.tickets.insert(label.to_owned(), queued.ticket);
                self.labels.entry(queued.ticket).or_insert_with(|| label.to_owned());
            }
            Answer::Opened(opened) => {
                self.sessions.insert(label.to_owned(), opened.session);
                self.session_labels.entry(opened.session.id).or_insert_with(|| label.to_owned());
            }
            _ => {}
        }
    }

    pub(super) fn dice(&mut self) -> [u8; 32] {
        self.dice += 1;
        let mut dice = [0; 32];
        dice[..8].copy_from_slice(&self.dice.to_le_bytes().map(|byte| byte % 62));
        dice[8] = u8::try_from(self.dice / 62 % 62).expect("below 62");
        dice
    }

    /// A fresh lease, as a caller draws one for every request; a label that has a ticket keeps the lease of that.
    pub(super) fn draw_lease(&mut self, label: &str) -> Lease {
        let lease = Lease::from_random(self.dice());
        if !self.tickets.contains_key(label) {
            self.leases.insert(label.to_owned(), lease);
        }
        lease
    }

    pub(super) fn lease(&self, label: &str) -> Read<Lease> {
        self.leases.get(label).copied().ok_or_else(|| format!("{label} has no lease"))
    }

    pub(super) fn ticket(&self, label: &str) -> Read<TicketId> {
        self.tickets.get(label).copied().ok_or_else(|| format!("{label} has no ticket"))
    }

    pub(super) fn told_request(&self, label: &str) -> Read<RequestId> {
        self.requests.get(label).cloned().ok_or_else(|| format!("{label} was told no id"))
    }

    pub(super) fn session(&self, label: &str) -> Read<SessionHandle> {
        self.sessions.get(label).copied().ok_or_else(|| format!("{label} is no session"))
    }

    pub(super) fn label(&self, ticket: TicketId) -> String {
        self.labels.get(&ticket).cloned().unwrap_or_else(|| format!("ticket {}", ticket.0))
    }

    /// An owner by the script's name where the machine made one up.
    pub(super) fn owner(&self, owner: &Owner) -> String {
        let made = owner.as_str().strip_prefix("o-").and_then(|number| number.parse().ok());
        if let Some(label) = made.and_then(|number| self.labels.get(&TicketId(number))) {
            return label.clone();
        }
        let session = owner.as_str().parse().ok().and_then(|id| self.session_labels.get(&id));
        session.cloned().unwrap_or_else(|| owner.to_string())
    }

    pub(super) fn session_label(&self, id: SessionId) -> String {
        self.session_labels.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    fn show(&mut self, mut words: Words) -> Read<Vec<String>> {
        let what = words.word("what to show")?;
        let lines = match what.as_str() {
            "lock" => {
                let name = LockName::new(words.word("a lock")?).map_err(|why| why.to_string())?;
                self.told_lock(&self.machine.lock(&name))
            }
            "history" => {
                let name = LockName::new(words.word("a lock")?).map_err(|why| why.to_string())?;
                self.told_history(&self.machine.lock(&name))
            }
            "session" => {
                let id = self.session(&words.word("a session")?)?.id;
                vec![self.told_session(self.machine.session(id).as_ref())]
            }
            "usage" => {
                let key = KeyName::new(words.word("a key")?).map_err(|why| why.to_string())?;
                let usage = self.machine.usage(&key);
                vec![format!(
                    "{key}: {} held, {} waiting, {} sessions",
                    usage.held, usage.waiting, usage.sessions
                )]
            }
            "stats" => vec![told_stats(&self.machine.stats())],
            "deadline" => vec![match self.machine.next_deadline() {
                Some(at) => format!("next deadline at {}", seconds(at.since(Time::ZERO))),
                None => "no deadline".into(),
            }],
            "check" => {
                let name = LockName::new(words.word("a lock")?).map_err(|why| why.to_string())?;
                let token = Token::new(words.number("a token")?);
                let (current, latest) = self.machine.check(&name, token);
                let latest = latest.map_or("none".into(), |token| format!("#{token}"));
                vec![format!("{name} #{token} is current: {current}, latest {latest}")]
            }
            _ => return Err(format!("`{what}` cannot be shown")),
        };
        words.end()?;
        Ok(lines)
    }
}

fn told_stats(stats: &Stats) -> String {
    format!(
        "locks: {} held, {} waited, {} idle; {} waiters, {} sessions, {} grants; oldest wait {}, oldest hold {}",
        stats.held,
        stats.waited,
        stats.idle,
        stats.waiters,
        stats.sessions,
        stats.grants,
        seconds(stats.oldest_wait),
        seconds(stats.oldest_hold)
    )
}

/// `1.5s`, without zeros at the end.
pub(super) fn seconds(span: Duration) -> String {
    format!("{}s", span.as_secs_f64())
}
