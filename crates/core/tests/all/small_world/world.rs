//! One state, what can happen in it, and what must hold.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use tenure_core::*;

use super::client::{Message, Open, TTL};
use super::{Client, Kind};

/// Copies of messages the network makes.
const REPEATS_MAX: u8 = 1;
/// How often time passes.
const LATER_MAX: u8 = 3;

#[derive(Clone)]
pub(super) struct World {
    machine: Machine,
    now: Time,
    clients: Vec<Client>,
    repeats_left: u8,
    later_left: u8,
    restarts_left: u8,
    highest: Token,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Acquire,
    Renew,
    GiveBack,
    GiveUp,
}

/// How far a message gets at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It is delayed.
    Delayed,
    /// It arrives, and so does the answer.
    Heard,
    /// It arrives, and the answer is lost.
    Unheard,
}

/// What can happen next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Move {
    /// A client says something for the first time or again; mostly it arrives at once.
    Say { client: usize, what: Word, way: Way },
    /// A message arrives: is it delivered again later, does what is answered arrive?
    Deliver { client: usize, message: Message, repeated: bool, heard: bool },
    /// The connection of a waiting request breaks.
    Break(usize),
    /// Half a lifetime passes; the machine is told when it is next asked.
    Later,
    /// It is as late as the next thing is due, and the machine is told.
    Due { heard: bool },
    /// The server is another one: no answer is open any more.
    Restart,
}

/// Two worlds are the same if their machines keep the same and everybody else knows the same.
impl Hash for World {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.machine.snapshot().hash(hasher);
        (self.now, &self.clients, self.highest).hash(hasher);
        (self.repeats_left, self.later_left, self.restarts_left).hash(hasher);
    }
}

impl World {
    pub(super) fn new(clients: &[(Kind, &str)], restarts: u8) -> Self {
        let mut machine = Machine::new();
        let mut made = Vec::new();
        for (number, (kind, names)) in (0..).zip(clients) {
            let mut client = Client::new(number, *kind, names);
            if *kind == Kind::InSession {
                client.session = Some(open_session(&mut machine, &client).0);
            }
            made.push(client);
        }
        World {
            machine,
            now: Time::ZERO,
            clients: made,
            repeats_left: REPEATS_MAX,
            later_left: LATER_MAX,
            restarts_left: restarts,
            highest: Token::default(),
        }
    }

    pub(super) fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        for (place, client) in self.clients.iter().enumerate() {
            self.moves_of(place, client, &mut moves);
        }
        if self.later_left > 0 {
            moves.push(Move::Later);
            let waits = self.clients.iter().any(|client| client.open.is_some());
            moves.push(Move::Due { heard: true });
            if waits {
                moves.push(Move::Due { heard: false });
            }
        }
        if self.restarts_left > 0 {
            moves.push(Move::Restart);
        }
        moves
    }

    fn moves_of(&self, place: usize, client: &Client, moves: &mut Vec<Move>) {
        let believes = client.believes_at(self.now);
        let words = [
            (Word::Acquire, client.may_send()),
            (Word::Renew, believes && client.renews_left > 0),
            (Word::GiveBack, believes),
            (Word::GiveUp, client.may_give_up()),
        ];
        for (what, _) in words.into_iter().filter(|(_, may)| *may) {
            for way in [Way::Heard, Way::Unheard, Way::Delayed] {
                moves.push(Move::Say { client: place, what, way });
            }
        }
        if client.open.is_some() {
            moves.push(Move::Break(place));
        }
        for message in &client.flights {
            let detach = matches!(message, Message::Detach(_));
            let deliver = |repeated, heard| Move::Deliver {
                client: place,
                message: *message,
                repeated,
                heard,
            };
            moves.push(deliver(false, true));
            if !detach {
                moves.push(deliver(false, false));
            }
            let acts_once = client.kind != Kind::Unnamed || !matches!(message, Message::Acquire(_));
            if !detach && acts_once && self.repeats_left > 0 {
                moves.push(deliver(true, true));
            }
        }
    }

    /// The state after a move, and what is wrong with it.
    pub(super) fn after(&self, step: Move) -> (World, Result<(), String>) {
        let mut world = self.clone();
        let found = world.carry_out(step).and_then(|()| world.check());
        (world, found)
    }

    fn carry_out(&mut self, step: Move) -> Result<(), String> {
        let now = self.now;
        match step {
            Move::Say { client, what, way } => {
                let message = self.clients[client].say(what, now);
                if way != Way::Delayed {
                    return self.deliver(client, message, false, way == Way::Heard);
                }
            }
            Move::Break(place) => {
                let client = &mut self.clients[place];
                let open = client.open.take().expect("only an open answer breaks");
                client.flights.push(Message::Detach(open.ticket));
            }
            Move::Later => {
                self.later_left -= 1;
                self.now = now + TTL / 2;
            }
            Move::Due { heard } => {
                self.later_left -= 1;
                let due = self.machine.next_deadline().unwrap_or(now);
                self.now = now.max(due);
                return self.apply(Command::Tick, None, heard);
            }
            Move::Restart => {
                self.restarts_left -= 1;
                let snapshot = self.machine.snapshot();
                self.machine =
                    Machine::restore(&snapshot).expect("a machine reads its own snapshot");
                for client in &mut self.clients {
                    client.open = None;
                    client.flights.retain(|message| !matches!(message, Message::Detach(_)));
                }
                return self.apply(Command::Resume, None, true);
            }
            Move::Deliver { client, message, repeated, heard } => {
                return self.deliver(client, message, repeated, heard);
            }
        }
        Ok(())
    }

    fn deliver(
        &mut self,
        place: usize,
        message: Message,
        repeated: bool,
        heard: bool,
    ) -> Result<(), String> {
        let client = &mut self.clients[place];
        if repeated {
            self.repeats_left -= 1;
        } else {
            let at = client.flights.iter().position(|flight| *flight == message);
            client.flights.remove(at.expect("only what is on its way arrives"));
        }
        if matches!(message, Message::Acquire(_)) {
            // The newer connection gets the answer, and the breaking of the older one is nobody's business any more.
            client.open = None;
            client.flights.retain(|message| !matches!(message, Message::Detach(_)));
        }
        let command = client.command(message);
        self.apply(command, Some((place, message)), heard)
    }

    fn apply(
        &mut self,
        command: Command,
        by: Option<(usize, Message)>,
        heard: bool,
    ) -> Result<(), String> {
        let applied = self.machine.apply(&Batch::at(self.now, vec![command]));
        // What was due ended before the command was carried out.
        for (ticket, settled) in &applied.settled {
            self.hear_outcome(*ticket, settled, heard)?;
        }
        if let Some((place, message)) = by {
            self.hear_answer(place, message, &applied.answers[0], heard)?;
        }
        self.check_tokens(&applied.changes)
    }

    fn hear_answer(
        &mut self,
        place: usize,
        message: Message,
        answer: &Answer,
        heard: bool,
    ) -> Result<(), String> {
        let now = self.now;
        let client = &mut self.clients[place];
        match (message, answer) {
            (Message::Acquire(sent), Answer::Granted(granted)) => {
                client.was_granted(granted)?;
                if heard {
                    client.hears_of_grant(granted, sent, Duration::ZERO);
                }
            }
            (Message::Acquire(sent), Answer::Queued(queued)) => {
                let open = Open { ticket: queued.ticket, sent, arrived: now };
                client.open = Some(open);
                if !heard {
                    client.open = None;
                    client.flights.push(Message::Detach(queued.ticket));
                }
            }
            (Message::Renew(sent), Answer::Renewed(renewed)) if heard => {
                client.hears_of_renewal(renewed.expires_in, sent);
            }
            (Message::Renew(sent), Answer::KeptAlive(kept)) if heard => {
                client.hears_of_renewal(kept.ttl, sent);
            }
            (Message::Cancel, Answer::Released(_)) => client.cancel_answered = true,
            _ => {}
        }
        Ok(())
    }

    fn hear_outcome(
        &mut self,
        ticket: TicketId,
        settled: &Settled,
        heard: bool,
    ) -> Result<(), String> {
        let now = self.now;
        let Settled::Granted(granted) = settled else {
            for client in self.clients.iter_mut() {
                client.open = client.open.filter(|open| open.ticket != ticket);
            }
            return Ok(());
        };
        let lease = granted.lease.expect("leases are plain here");
        let number = lease_of(lease, self.clients.len());
        let client = &mut self.clients[number];
        client.was_granted(granted)?;
        if let Some(open) = client.open.take_if(|open| open.ticket == ticket)
            && heard
        {
            client.hears_of_grant(granted, open.sent, now.since(open.arrived));
        }
        Ok(())
    }

    fn check_tokens(&mut self, changes: &[Change]) -> Result<(), String> {
        for change in changes {
            let Change::Lock(LockChange { action: Action::Granted, token: Some(token), .. }) =
                change
            else {
                continue;
            };
            if *token <= self.highest {
                return Err(format!("token {token} after {}", self.highest));
            }
            self.highest = *token;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let machine = &self.machine;
        for client in &self.clients {
            let holds = |tokens: &[Token]| {
                let pairs = client.names.iter().zip(tokens);
                tokens.len() == client.names.len()
                    && pairs.into_iter().all(|(name, token)| machine.check(name, *token).0)
            };
            if let Some((_, tokens)) =
                client.belief.as_ref().filter(|_| client.believes_at(self.now))
                && !holds(tokens)
            {
                return Err(format!(
                    "client {} believes that it holds, and does not",
                    client.number
                ));
            }
            if client.cancel_answered && holds(&client.tokens) {
                return Err(format!("client {} gave up, and holds", client.number));
            }
        }
        let names = self.clients.iter().flat_map(|client| &client.names);
        for lock in names.map(|name| machine.lock(name)) {
            if lock.holders.len() > 1 {
                return Err(format!("{} has two holders", lock.name));
            }
            let alone = self.clients.iter().all(|client| client.names.len() == 1);
            if alone && lock.holders.is_empty() && lock.queue_length > 0 {
                return Err(format!("{} is free, and somebody waits", lock.name));
            }
        }
        Ok(())
    }

    /// Long after the last word of anybody, nothing is held, waited for or counted.
    pub(super) fn free_in_the_end(&self) -> Result<(), String> {
        let mut machine = self.machine.clone();
        machine.apply(&Batch::at(self.now + Duration::from_secs(60), vec![]));
        machine.apply(&Batch::at(self.now + Duration::from_secs(120), vec![]));
        machine.apply(&Batch::at(self.now + Duration::from_secs(180), vec![]));
        let (stats, usage) =
            (machine.stats(), machine.usage(&KeyName::new("local").expect("is a key name")));
        let free = stats.held + stats.waited + stats.waiters + stats.sessions + stats.grants == 0;
        if free && usage == Usage::default() && machine.next_deadline().is_none() {
            return Ok(());
        }
        Err(format!("something is left in the end: {stats:?} {usage:?}"))
    }
}

impl Client {
    /// Puts a message on its way.
    fn say(&mut self, what: Word, now: Time) -> Message {
        let message = match what {
            Word::Acquire => {
                self.sends_left -= 1;
                Message::Acquire(now)
            }
            Word::Renew => {
                self.renews_left -= 1;
                Message::Renew(now)
            }
            Word::GiveBack => {
                (self.gave_back, self.belief) = (true, None);
                Message::Release
            }
            Word::GiveUp => {
                (self.gave_up, self.belief) = (true, None);
                Message::Cancel
            }
        };
        self.flights.push(message);
        message
    }

    pub(super) fn believes_at(&self, now: Time) -> bool {
        self.belief.as_ref().is_some_and(|(until, _)| *until > now)
    }
}

fn lease_of(lease: Lease, clients: usize) -> usize {
    let numbers = 0..u8::try_from(clients).expect("a small world");
    let made = numbers.into_iter().find(|number| Lease::from_random([*number; 32]) == lease);
    usize::from(made.expect("a client made the lease"))
}

fn open_session(machine: &mut Machine, client: &Client) -> SessionId {
    let open = OpenSession {
        caller: Caller::new(KeyName::new("local").expect("is a key name")),
        ttl: TTL,
        note: None,
        request: RequestName::Unnamed,
        secret: client.secret(),
    };
    let applied = machine.apply(&Batch::at(Time::ZERO, vec![Command::OpenSession(Box::new(open))]));
    let Answer::Opened(opened) = &applied.answers[0] else { panic!("a session is opened") };
    opened.session.id
}
