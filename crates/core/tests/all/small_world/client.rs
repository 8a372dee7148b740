//! A client as the rules promise to serve it: what it sent, what it heard, what it believes by its own clock.

use std::time::Duration;

use tenure_core::*;

use crate::commands::name;

/// Time to live of grants and sessions; waits are as long.
pub(super) const TTL: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// It made a request id and may retry.
    Named,
    /// Its request has no id.
    Unnamed,
    /// Its request is numbered in a session.
    InSession,
}

#[derive(Clone, Hash)]
pub(super) struct Client {
    pub(super) number: u8,
    pub(super) kind: Kind,
    pub(super) names: Vec<LockName>,
    pub(super) session: Option<u64>,
    /// What is on its way to the machine, or will be told to it by who sees the connection break.
    pub(super) flights: Vec<Message>,
    pub(super) sends_left: u8,
    /// The connection its waiting request will be answered on.
    pub(super) open: Option<Open>,
    /// Until when it believes that it holds, and the tokens.
    pub(super) belief: Option<(Time, Vec<Token>)>,
    /// The tokens its request was granted, whether or not it heard of them.
    pub(super) tokens: Vec<Token>,
    pub(super) renews_left: u8,
    pub(super) gave_back: bool,
    pub(super) gave_up: bool,
    pub(super) cancel_answered: bool,
}

/// A message on its way, and when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Message {
    Acquire(Time),
    Release,
    Renew(Time),
    Cancel,
    /// Its connection broke.
    Detach(TicketId),
}

/// An answer that is still open.
#[derive(Clone, Copy, Hash)]
pub(super) struct Open {
    pub(super) ticket: TicketId,
    pub(super) sent: Time,
    pub(super) arrived: Time,
}

impl Client {
    pub(super) fn new(number: u8, kind: Kind, names: &str) -> Self {
        Client {
            number,
            kind,
            names: names.split(' ').map(name).collect(),
            session: None,
            flights: vec![],
            sends_left: if kind == Kind::Unnamed { 1 } else { 2 },
            open: None,
            belief: None,
            tokens: vec![],
            renews_left: 1,
            gave_back: false,
            gave_up: false,
            cancel_answered: false,
        }
    }

    fn lease(&self) -> Lease {
        Lease::from_random([self.number; 32])
    }

    pub(super) fn secret(&self) -> SessionSecret {
        SessionSecret::from_random([self.number + 100; 32])
    }

    fn handle(&self) -> Option<SessionHandle> {
        self.session.map(|id| SessionHandle { id: SessionId(id), secret: self.secret() })
    }

    fn request(&self) -> Option<RequestId> {
        let text = match self.kind {
            Kind::Named => "request-1",
            Kind::InSession => "seq-0001",
            Kind::Unnamed => return None,
        };
        Some(RequestId::new(format!("{text}{}", self.number)).expect("is an id"))
    }

    pub(super) fn may_send(&self) -> bool {
        self.sends_left > 0 && !self.gave_back && !self.gave_up
    }

    pub(super) fn may_give_up(&self) -> bool {
        let asked = self.sends_left < 2 && self.kind != Kind::Unnamed;
        asked && !self.gave_up && !self.gave_back
    }

    pub(super) fn command(&self, message: Message) -> Command {
        let caller = Caller::new(KeyName::new("local").expect("is a key name"));
        let (name, target) = (None, Target::Lease(self.lease().hash()));
        match message {
            Message::Acquire(_) => Command::Acquire(Box::new(self.acquire())),
            Message::Release => {
                let (names, request) = (vec![], None);
                Command::Release(Box::new(Release { caller, name, target, names, request }))
            }
            Message::Renew(_) => match self.handle() {
                Some(session) => Command::KeepAlive { session },
                None => {
                    let (ttl, note) = (None, None);
                    Command::Renew(Box::new(Renew { caller, name, target, ttl, note }))
                }
            },
            Message::Cancel => Command::Cancel(Box::new(Cancel {
                caller,
                names: self.names.clone(),
                session: self.handle(),
                request: self.request().expect("only a named request is given up"),
            })),
            Message::Detach(ticket) => {
                Command::Detach(Detach { ticket, returning: self.kind != Kind::Unnamed })
            }
        }
    }

    fn acquire(&self) -> Acquire {
        let mut acquire = Acquire::exclusive("unused", TTL);
        acquire.wants = self
            .names
            .iter()
            .map(|name| Want { name: name.clone(), claim: Claim::Exclusive })
            .collect();
        acquire.wait = TTL;
        acquire.lease = LeaseRecord::Plain(self.lease());
        if let Some(handle) = self.handle() {
            acquire.life = Life::Session(handle);
        }
        if let Some(request) = self.request() {
            acquire.request = RequestName::Client(request);
        }
        acquire
    }

    /// The server told it of a grant. A promise counts from when the request was sent, and 1 % less than the time it is
    /// for; the time the request waited at the server does not eat it.
    pub(super) fn hears_of_grant(&mut self, granted: &Granted, sent: Time, at_server: Duration) {
        if self.gave_back || self.gave_up {
            return;
        }
        let until = sent + at_server * 99 / 100 + granted.expires_in() * 99 / 100;
        self.believe(until, granted.locks.iter().map(|lock| lock.token).collect());
    }

    pub(super) fn hears_of_renewal(&mut self, left: Duration, sent: Time) {
        if let Some((_, tokens)) = self.belief.clone() {
            self.believe(sent + left * 99 / 100, tokens);
        }
    }

    fn believe(&mut self, until: Time, tokens: Vec<Token>) {
        let before = self.belief.as_ref().map_or(Time::ZERO, |(until, _)| *until);
        self.belief = Some((until.max(before), tokens));
    }

    /// Its request was granted; an id acts once.
    pub(super) fn was_granted(&mut self, granted: &Granted) -> Result<(), String> {
        let tokens: Vec<Token> = granted.locks.iter().map(|lock| lock.token).collect();
        if !self.tokens.is_empty() && self.tokens != tokens {
            return Err(format!("client {} was granted twice: {tokens:?}", self.number));
        }
        if self.cancel_answered {
            return Err(format!("client {} was granted after it had given up", self.number));
        }
        self.tokens = tokens;
        Ok(())
    }
}
