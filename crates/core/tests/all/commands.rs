//! Random commands. Every one is made of a few small numbers, so that what fails can be made smaller, and names things
//! that exist: leases drawn, tickets told, sessions opened.

use std::time::Duration;

use tenure_core::*;

/// The small numbers of one command.
pub(crate) type Dice = [u8; 12];

/// What commands can name so far.
#[derive(Default)]
pub(crate) struct Known {
    leases: Vec<Lease>,
    tickets: Vec<TicketId>,
    sessions: Vec<SessionHandle>,
    asked: Vec<Acquire>,
    drawn: u64,
}

/// Takes one number after the other.
struct Throw<'a> {
    dice: &'a Dice,
    at: usize,
}

impl Throw<'_> {
    fn below(&mut self, sides: usize) -> usize {
        let byte = self.dice[self.at % self.dice.len()];
        // Each number is used again with a turn, so that twelve are enough.
        let turned =
            byte.rotate_left(u32::try_from(self.at / self.dice.len()).expect("few throws"));
        self.at += 1;
        usize::from(turned) % sides
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    /// `None` if nothing is there to choose from.
    fn one<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        let place = self.below(256);
        // The latest are the likeliest to be alive.
        choices.len().checked_sub(1).map(|last| choices[last - place.min(255) % choices.len()])
    }
}

pub(crate) const NAMES: [&str; 3] = ["a", "b", "pool"];
pub(crate) const KEYS: [&str; 2] = ["ci", "local"];

impl Known {
    /// Learns what an answer told.
    pub(crate) fn learn(&mut self, answer: &Answer) {
        match answer {
            Answer::Granted(granted) => self.tickets.push(granted.ticket),
            Answer::Queued(queued) => self.tickets.push(queued.ticket),
            Answer::Opened(opened) => self.sessions.push(opened.session),
            _ => {}
        }
    }

    pub(crate) fn command(&mut self, dice: &Dice) -> Command {
        let mut throw = Throw { dice, at: 0 };
        match throw.below(32) {
            0..=10 => {
                let acquire = self.acquire(&mut throw);
                self.asked.push(acquire.clone());
                Command::Acquire(Box::new(acquire))
            }
            11 | 12 => self.again(&mut throw),
            13 | 14 => Command::Renew(Box::new(self.renew(&mut throw))),
            15..=18 => Command::Release(Box::new(self.release(&mut throw))),
            19 => Command::Cancel(Box::new(self.cancel(&mut throw))),
            20 | 21 => self.detach(&mut throw),
            22 | 23 => Command::Convert(Box::new(self.convert(&mut throw))),
            24 => Command::HandOver(Box::new(self.hand_over(&mut throw))),
            25 => operate(&mut throw),
            26 => Command::Resize(Box::new(Resize {
                caller: caller(&mut throw),
                name: name("pool"),
                permits: throw.of(&[1, 2, 3, 5].map(|n| Permits::new(n).expect("is small"))),
            })),
            27 | 28 => Command::OpenSession(Box::new(self.open(&mut throw))),
            29 => Command::KeepAlive { session: self.session(&mut throw) },
            30 => Command::EndSession(Box::new(self.end(&mut throw))),
            _ => throw.of(&[Command::Resume, Command::Tick]),
        }
    }

    /// A command with numbers that no sane client sends.
    pub(crate) fn nonsense(&mut self, dice: &Dice) -> Command {
        let mut throw = Throw { dice, at: 3 };
        let worst = [Duration::ZERO, Duration::from_micros(1), Duration::MAX, limits::TTL_MAX];
        match throw.below(8) {
            0 => Command::RaiseEpoch { epoch: throw.of(&[0, 1, 127, 128, u64::MAX]) },
            1 => Command::PutKey(Box::new(key_record(&mut throw, &worst))),
            2 => {
                let key = KeyName::new(throw.of(&KEYS)).expect("is a key name");
                Command::RemoveKey { name: key.clone(), by: key }
            }
            3 => Command::Detach(Detach {
                ticket: TicketId(throw.of(&[0, 1, 2, u64::MAX])),
                returning: throw.below(2) == 0,
            }),
            4 => {
                let mut renew = self.renew(&mut throw);
                renew.ttl = Some(throw.of(&worst));
                Command::Renew(Box::new(renew))
            }
            _ => Command::Acquire(Box::new(self.odd_acquire(&mut throw, &worst))),
        }
    }

    fn odd_acquire(&mut self, throw: &mut Throw<'_>, worst: &[Duration]) -> Acquire {
        let mut acquire = self.acquire(throw);
        match throw.below(6) {
            0 => acquire.life = Life::Own(throw.of(worst)),
            1 => acquire.wait = throw.of(worst),
            2 => acquire.lock_delay = throw.of(worst),
            3 => acquire.at_least = throw.of(worst),
            4 => {
                let numbers = 0..throw.of(&[0, 1, 256, 257]);
                let want = |n: u32| Want { name: name(&format!("{n}")), claim: Claim::Shared };
                acquire.wants = numbers.map(want).collect();
            }
            _ => {
                let most = (Permits::new(limits::PERMITS_MAX), Weight::new(limits::PERMITS_MAX));
                let (Some(permits), Some(weight)) = most else {
                    unreachable!("the most are allowed")
                };
                let permits = throw.of(&[permits, Permits::ONE]);
                acquire.wants =
                    vec![Want { name: name("pool"), claim: Claim::Permits { permits, weight } }];
            }
        }
        acquire
    }

    fn draw(&mut self) -> Lease {
        self.drawn += 1;
        let mut dice = [0; 32];
        dice[..8].copy_from_slice(&self.drawn.to_le_bytes());
        let lease = Lease::from_random(dice);
        self.leases.push(lease);
        lease
    }

    fn lease(&self, throw: &mut Throw<'_>) -> [u8; 32] {
        throw.one(&self.leases).map_or([7; 32], |lease| lease.hash())
    }

    fn session(&self, throw: &mut Throw<'_>) -> SessionHandle {
        let nobody =
            SessionHandle { id: SessionId(999), secret: SessionSecret::from_random([9; 32]) };
        throw.one(&self.sessions).unwrap_or(nobody)
    }

    fn life(&self, throw: &mut Throw<'_>) -> Life {
        match self.sessions.is_empty() || throw.below(2) == 0 {
            true => Life::Own(span(throw, &[2, 5, 10, 100])),
            false => Life::Session(self.session(throw)),
        }
    }

    fn acquire(&mut self, throw: &mut Throw<'_>) -> Acquire {
        let mut acquire = Acquire::exclusive("unused", Duration::from_secs(1));
        acquire.wants = wants(throw);
        acquire.caller = caller(throw);
        acquire.life = self.life(throw);
        acquire.wait = span(throw, &[0, 1, 3, 10, 50]);
        acquire.owner = throw.of(&[None, None, Some("x"), Some("y")]).map(owner);
        acquire.reentrant = throw.below(3) == 0;
        acquire.lock_delay = span(throw, &[0, 0, 0, 2]);
        acquire.at_least = span(throw, &[0, 0, 0, 4]);
        acquire.request = request(throw);
        acquire.lease = LeaseRecord::Plain(self.draw());
        if throw.below(8) == 0 {
            let quota = Quota { held_max: Some(2), waiting_max: Some(1), sessions_max: Some(1) };
            acquire.caller.quota = Some(Box::new(quota));
        }
        acquire
    }

    /// A retry of an earlier request, with the lease that a retry draws anew.
    fn again(&mut self, throw: &mut Throw<'_>) -> Command {
        let places: Vec<usize> = (0..self.asked.len()).collect();
        let Some(place) = throw.one(&places) else { return Command::Tick };
        let mut again = self.asked[place].clone();
        again.lease = LeaseRecord::Plain(self.draw());
        Command::Acquire(Box::new(again))
    }

    fn renew(&mut self, throw: &mut Throw<'_>) -> Renew {
        Renew {
            caller: caller(throw),
            name: throw.of(&[None, None, None, Some("a")]).map(name),
            target: self.target(throw),
            ttl: throw.of(&[None, Some(1), Some(20)]).map(Duration::from_secs),
            note: None,
        }
    }

    fn target(&self, throw: &mut Throw<'_>) -> Target {
        match throw.below(6) {
            0 => Target::Session(self.session(throw)),
            _ => Target::Lease(self.lease(throw)),
        }
    }

    fn release(&mut self, throw: &mut Throw<'_>) -> Release {
        Release {
            caller: caller(throw),
            target: self.target(throw),
            name: throw.of(&[None, None, None, Some("a")]).map(name),
            names: throw
                .of(&[vec![], vec![], vec!["a"], vec!["b", "a"]])
                .into_iter()
                .map(name)
                .collect(),
            request: throw.of(&[None, Some("release-1"), Some("release-2")]).map(id),
        }
    }

    fn cancel(&mut self, throw: &mut Throw<'_>) -> Cancel {
        let RequestName::Client(request) = request(throw) else {
            return Cancel { request: id("request-0"), ..self.cancel_of(throw) };
        };
        Cancel { request, ..self.cancel_of(throw) }
    }

    fn cancel_of(&self, throw: &mut Throw<'_>) -> Cancel {
        Cancel {
            caller: caller(throw),
            names: throw
                .of(&[vec!["a"], vec!["b"], vec!["pool"], vec!["b", "a"], vec![]])
                .into_iter()
                .map(name)
                .collect(),
            session: throw.of(&[true, false]).then(|| self.session(throw)),
            request: id("request-0"),
        }
    }

    fn detach(&mut self, throw: &mut Throw<'_>) -> Command {
        let ticket = throw.one(&self.tickets).unwrap_or(TicketId(77));
        Command::Detach(Detach { ticket, returning: throw.below(2) == 0 })
    }

    fn convert(&mut self, throw: &mut Throw<'_>) -> Convert {
        Convert {
            caller: caller(throw),
            name: throw.of(&["a", "b", "a", "pool"].map(name)),
            lease: self.lease(throw),
            to: throw.of(&[Claim::Exclusive, Claim::Exclusive, Claim::Shared]),
            wait: span(throw, &[10, 2, 0]),
        }
    }

    fn hand_over(&mut self, throw: &mut Throw<'_>) -> HandOver {
        HandOver {
            caller: caller(throw),
            name: throw.of(&[None, None, None, Some("a")]).map(name),
            lease: self.lease(throw),
            life: match throw.below(2) {
                0 => None,
                _ => Some(self.life(throw)),
            },
            request: request(throw),
            new_lease: LeaseRecord::Plain(self.draw()),
        }
    }

    fn open(&mut self, throw: &mut Throw<'_>) -> OpenSession {
        self.drawn += 1;
        let mut dice = [1; 32];
        dice[..8].copy_from_slice(&self.drawn.to_le_bytes());
        OpenSession {
            caller: caller(throw),
            ttl: span(throw, &[3, 10, 100]),
            note: None,
            request: request(throw),
            secret: SessionSecret::from_random(dice),
        }
    }

    fn end(&mut self, throw: &mut Throw<'_>) -> EndSession {
        let handle = self.session(throw);
        let by = match throw.below(3) {
            0 => EndedBy::Operator {
                reason: Reason::new("gone").expect("is a reason"),
                reach: reach(throw),
            },
            1 => EndedBy::Itself(SessionSecret::from_random([3; 32])),
            _ => EndedBy::Itself(handle.secret),
        };
        EndSession { caller: caller(throw), id: handle.id, by }
    }
}

fn key_record(throw: &mut Throw<'_>, worst: &[Duration]) -> KeyRecord {
    let name = KeyName::new(throw.of(&KEYS)).expect("is a key name");
    KeyRecord {
        by: name.clone(),
        name,
        sha256: [0; 32],
        old: throw
            .of(&[true, false])
            .then(|| OldSecret { sha256: [1; 32], good_for: throw.of(worst) }),
        roles: vec![Role::Lock],
        prefixes: vec![],
        ttl_max: None,
        quota: Quota::default(),
        requests_per_second: None,
        expires_in: throw.of(&[true, false]).then(|| throw.of(worst)),
    }
}

fn operate(throw: &mut Throw<'_>) -> Command {
    let (caller, name) = (caller(throw), throw.of(&NAMES.map(name)));
    let reason = Reason::new("why not").expect("is a reason");
    let token = throw.of(&[None, None, Some(1), Some(2)]).map(Token::new);
    match throw.below(3) {
        0 => {
            let within = Duration::from_secs(5);
            Command::Recall(Box::new(Recalling { caller, name, within, reason, token }))
        }
        _ => {
            let reach = reach(throw);
            Command::Break(Box::new(Break { caller, reach, name, reason, token }))
        }
    }
}

/// Mostly all names.
fn reach(throw: &mut Throw<'_>) -> Reach {
    let prefixes = throw.of(&[vec![], vec![], vec!["a"], vec!["b", "po"]]);
    Reach::of(&prefixes.into_iter().map(|p| Prefix::new(p).expect("is one")).collect::<Vec<_>>())
}

/// Mostly fitting kinds: a and b are plain, pool is a semaphore of three.
fn wants(throw: &mut Throw<'_>) -> Vec<Want> {
    let names = throw.of(&[
        vec![0],
        vec![0],
        vec![1],
        vec![2],
        vec![2],
        vec![0, 1],
        vec![1, 2],
        vec![1, 0, 2],
    ]);
    let odd = throw.below(24) == 0;
    let mut want = |place: &usize| {
        let is_pool = (*place == 2) != odd;
        let size = throw.of(&[3, 3, 3, 2, 1]);
        let claim = match is_pool {
            true => permits(size, throw.of(&[1, 1, 2])),
            false => throw.of(&[Claim::Exclusive, Claim::Shared]),
        };
        Want { name: name(NAMES[*place]), claim }
    };
    names.iter().map(&mut want).collect()
}

fn permits(size: u32, weight: u32) -> Claim {
    let (Some(permits), Some(weight)) = (Permits::new(size), Weight::new(weight)) else {
        unreachable!("both are small")
    };
    Claim::permits(permits, weight).unwrap_or(Claim::Exclusive)
}

fn request(throw: &mut Throw<'_>) -> RequestName {
    let text = throw.of(&[
        "",
        "seq-0001",
        "request-9",
        "request-0",
        "request-1",
        "seq-0001",
        "seq-0002",
        "seq-0004",
    ]);
    if text.is_empty() { RequestName::Unnamed } else { RequestName::Client(id(text)) }
}

fn span(throw: &mut Throw<'_>, seconds: &[u64]) -> Duration {
    Duration::from_secs(throw.of(seconds))
}

fn caller(throw: &mut Throw<'_>) -> Caller {
    let key = throw.of(&["local", "local", "local", "ci"]);
    Caller::new(KeyName::new(key).expect("is a key name"))
}

pub(crate) fn name(text: &str) -> LockName {
    LockName::new(text).expect("is a name")
}

fn owner(text: &str) -> Owner {
    Owner::new(text).expect("is an owner")
}

fn id(text: &str) -> RequestId {
    RequestId::new(text).expect("is an id")
}
