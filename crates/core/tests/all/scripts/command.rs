//! What a line of a script asks of the machine.

use std::time::Duration;

use tenure_core::*;

use super::words::{Read, Words};
use super::world::World;

impl World {
    /// The command of a line, and whose answer it is.
    pub(super) fn command(&mut self, line: &str) -> Read<(String, Command)> {
        let mut words = Words::of(line);
        let verb = words.word("a command")?;
        let read = match verb.as_str() {
            "acquire" => self.acquire(&mut words),
            "renew" => self.renew(&mut words),
            "release" => self.release(&mut words),
            "cancel" => self.cancel(&mut words),
            "detach" => self.detach(&mut words),
            "convert" => self.convert(&mut words),
            "hand_over" => self.hand_over(&mut words),
            "recall" | "break" | "resize" => operate(&verb, &mut words),
            "open" | "keep_alive" | "end" => self.session_command(&verb, &mut words),
            "resume" => Ok(("resume".into(), Command::Resume)),
            "tick" => Ok(("tick".into(), Command::Tick)),
            "epoch" => {
                Ok(("epoch".into(), Command::RaiseEpoch { epoch: words.number("an epoch")? }))
            }
            _ => Err(format!("`{verb}` is no command")),
        }?;
        words.end()?;
        Ok(read)
    }

    fn acquire(&mut self, words: &mut Words) -> Read<(String, Command)> {
        let label = words.word("who acquires")?;
        words.expect("on")?;
        let wants = wants(words)?;
        let mut acquire = Acquire::exclusive("unused", Duration::from_secs(1));
        acquire.wants = wants;
        acquire.lease = LeaseRecord::Plain(self.draw_lease(&label));
        while let Some(word) = words.next() {
            match word.as_str() {
                "ttl" => acquire.life = Life::Own(words.seconds("ttl")?),
                "in" => acquire.life = Life::Session(self.session(&words.word("a session")?)?),
                "wait" => acquire.wait = words.seconds("wait")?,
                "owner" => acquire.owner = Some(text(Owner::new, words.word("owner")?)?),
                "reentrant" => acquire.reentrant = true,
                "lock_delay" => acquire.lock_delay = words.seconds("lock_delay")?,
                "at_least" => acquire.at_least = words.seconds("at_least")?,
                "note" => acquire.note = Some(text(Note::new, words.word("note")?)?),
                "id" => acquire.request = self.request_name(words)?,
                "key" => acquire.caller.key = text(KeyName::new, words.word("key")?)?,
                "hashed" => acquire.lease = LeaseRecord::Hashed(acquire.lease.hash()),
                _ => quota(&mut acquire.caller, &word, words)?,
            }
        }
        Ok((label, Command::Acquire(Box::new(acquire))))
    }

    fn request_name(&mut self, words: &mut Words) -> Read<RequestName> {
        Ok(RequestName::Client(self.request(words)?))
    }

    /// An id as it stands, or `of LABEL`: the one the machine told that request.
    fn request(&mut self, words: &mut Words) -> Read<RequestId> {
        if words.skip("of") {
            let label = words.word("whose id")?;
            return self.told_request(&label);
        }
        text(RequestId::new, words.word("an id")?)
    }

    fn renew(&mut self, words: &mut Words) -> Read<(String, Command)> {
        let (label, target) = self.target(words)?;
        let mut renew = Renew { caller: caller(), name: None, target, ttl: None, note: None };
        while let Some(word) = words.next() {
            match word.as_str() {
                "ttl" => renew.ttl = Some(words.seconds("ttl")?),
                "note" => renew.note = Some(text(Note::new, words.word("note")?)?),
                "named" => renew.name = Some(text(LockName::new, words.word("name")?)?),
                _ => return Err(format!("`{word}` is no option of renew")),
            }
        }
        Ok((label, Command::Renew(Box::new(renew))))
    }

    /// `session S` or the lease of a label.
    fn target(&mut self, words: &mut Words) -> Read<(String, Target)> {
        if words.skip("session") {
            let label = words.word("a session")?;
            let handle = self.session(&label)?;
            return Ok((label, Target::Session(handle)));
        }
        let label = words.word("whose lease")?;
        let hash = self.lease(&label)?.hash();
        Ok((label, Target::Lease(hash)))
    }

    fn release(&mut self, words: &mut Words) -> Read<(String, Command)> {
        let (label, target) = self.target(words)?;
        let mut release =
            Release { caller: caller(), name: None, target, names: vec![], request: None };
        while let Some(word) = words.next() {
            match word.as_str() {
                "only" => release.names = names(words)?,
                "named" => release.name = Some(text(LockName::new, words.word("name")?)?),
                "id" => release.request = Some(self.request(words)?),
                _ => return Err(format!("`{word}` is no option of release")),
            }
        }
        Ok((label, Command::Release(Box::new(release))))
    }

    fn cancel(&mut self, words: &mut Words) -> Read<(String, Command)> {
        let request = self.request(words)?;
        let mut cancel = Cancel { caller: caller(), names: vec![], session: None, request };
        while let Some(word) = words.next() {
            match word.as_str() {
                "on" => cancel.names = names(words)?,
                "in" => cancel.session = Some(self.session(&words.word("a session")?)?),
                "key" => cancel.caller.key = text(KeyName::new, words.word("key")?)?,
                _ => return Err(format!("`{word}` is no option of cancel")),
            }
        }
        let label = match cancel.request.as_str().starts_with("srv-") {
            true => "cancel".to_owned(),
            false => cancel.request.to_string(),
        };
        Ok((label, Command::Cancel(Box::new(cancel))))
    }

    fn detach(&mut self, words: &mut Words) -> Read<(String, Command)> {
        let label = words.word("who is detached")?;
        let ticket = self.ticket(&label)?;
        let returning = words.skip("returning");
        Ok((label, Command::Detach(Detach { ticket, returning })))
    }

    fn convert(&mut self, words: &mut Words) -> Read<(String, Command)> {
        let label = words.word("who converts")?;
        words.expect("on")?;
        let name = text(LockName::new, words.word("a lock")?)?;
        words.expect("to")?;
        let to = match words.word("a mode")?.as_str() {
            "shared" => Claim::Shared,
            "exclusive" => Claim::Exclusive,
            mode => return Err(format!("`{mode}` is no mode")),
        };
        let wait = if words.skip("wait") { words.seconds("wait")? } else { Duration::ZERO };
        let lease = self.lease(&label)?.hash();
        let convert = Convert { caller: caller(), name, lease, to, wait };
        Ok((format!("{label}^"), Command::Convert(Box::new(convert))))
    }

    fn hand_over(&mut self, words: &mut Words) -> Read<(String, Command)> {
        let from = words.word("whose grant")?;
        words.expect("to")?;
        let to = words.word("who gets it")?;
        let mut hand_over = HandOver {
            caller: caller(),
            name: None,
            lease: self.lease(&from)?.hash(),
            life: None,
            new_lease: LeaseRecord::Plain(self.draw_lease(&to)),
            request: RequestName::Unnamed,
        };
        while let Some(word) = words.next() {
            match word.as_str() {
                "in" => {
                    hand_over.life = Some(Life::Session(self.session(&words.word("session")?)?))
                }
                "ttl" => hand_over.life = Some(Life::Own(words.seconds("ttl")?)),
                "id" => hand_over.request = self.request_name(words)?,
                "named" => hand_over.name = Some(text(LockName::new, words.word("name")?)?),
                "key" => hand_over.caller.key = text(KeyName::new, words.word("key")?)?,
                _ => return Err(format!("`{word}` is no option of hand_over")),
            }
        }
        Ok((to, Command::HandOver(Box::new(hand_over))))
    }

    fn session_command(&mut self, verb: &str, words: &mut Words) -> Read<(String, Command)> {
        let label = words.word("a session")?;
        if verb == "open" {
            return self.open(label, words);
        }
        let handle = self.session(&label)?;
        if verb == "keep_alive" {
            return Ok((label, Command::KeepAlive { session: handle }));
        }
        let mut end =
            EndSession { caller: caller(), id: handle.id, by: EndedBy::Itself(handle.secret) };
        if words.skip("by_force") {
            end.caller.key = text(KeyName::new, "ops".into())?;
            let reason = text(Reason::new, words.word("a reason")?)?;
            end.by = EndedBy::Operator { reason, reach: reach(words)? };
        }
        if words.skip("with_wrong_secret") {
            end.by = EndedBy::Itself(SessionSecret::from_random([255; 32]));
        }
        Ok((label, Command::EndSession(Box::new(end))))
    }

    fn open(&mut self, label: String, words: &mut Words) -> Read<(String, Command)> {
        words.expect("ttl")?;
        let mut open = OpenSession {
            caller: caller(),
            ttl: words.seconds("ttl")?,
            note: None,
            request: RequestName::Unnamed,
            secret: SessionSecret::from_random(self.dice()),
        };
        while let Some(word) = words.next() {
            match word.as_str() {
                "id" => open.request = self.request_name(words)?,
                "note" => open.note = Some(text(Note::new, words.word("note")?)?),
                "key" => open.caller.key = text(KeyName::new, words.word("key")?)?,
                _ => quota(&mut open.caller, &word, words)?,
            }
        }
        Ok((label, Command::OpenSession(Box::new(open))))
    }
}

/// What an operator does to a lock.
fn operate(verb: &str, words: &mut Words) -> Read<(String, Command)> {
    let name = text(LockName::new, words.word("a lock")?)?;
    let label = name.to_string();
    let mut caller = caller();
    caller.key = text(KeyName::new, "ops".into())?;
    if verb == "resize" {
        words.expect("to")?;
        let permits = permits(words)?;
        return Ok((label, Command::Resize(Box::new(Resize { caller, name, permits }))));
    }
    let (mut within, mut reason, mut token) = (Duration::ZERO, Reason::new("because"), None);
    let reach = reach(words)?;
    while let Some(word) = words.next() {
        match word.as_str() {
            "within" => within = words.seconds("within")?,
            "reason" => reason = Reason::new(words.word("a reason")?),
            "token" => token = Some(Token::new(words.number("a token")?)),
            _ => return Err(format!("`{word}` is no option of {verb}")),
        }
    }
    let reason = reason.map_err(|why| why.to_string())?;
    let command = match verb {
        "recall" => Command::Recall(Box::new(Recalling { caller, name, within, reason, token })),
        _ => Command::Break(Box::new(Break { caller, reach, name, reason, token })),
    };
    Ok((label, command))
}

/// `reach ci/, tmp/`; nothing: every name.
fn reach(words: &mut Words) -> Read<Reach> {
    let mut prefixes = Vec::new();
    let mut more = words.skip("reach");
    while more {
        let prefix;
        (prefix, more) = without_comma(words.word("a prefix")?);
        prefixes.push(text(Prefix::new, prefix)?);
    }
    Ok(Reach::of(&prefixes))
}

/// `a shared, b permits 3 weight 2, c`.
fn wants(words: &mut Words) -> Read<Vec<Want>> {
    let mut wants = Vec::new();
    loop {
        let (name, mut more) = without_comma(words.word("a lock")?);
        let mut claim = Claim::Exclusive;
        if !more {
            (claim, more) = claim_of(words)?;
        }
        wants.push(Want { name: text(LockName::new, name)?, claim });
        if !more {
            return Ok(wants);
        }
    }
}

/// How a lock is wanted, and whether a comma follows.
fn claim_of(words: &mut Words) -> Read<(Claim, bool)> {
    for (word, claim) in [("shared", Claim::Shared), ("exclusive", Claim::Exclusive)] {
        if words.skip(word) {
            return Ok((claim, false));
        }
        if words.skip(&format!("{word},")) {
            return Ok((claim, true));
        }
    }
    if !words.skip("permits") {
        return Ok((Claim::Exclusive, false));
    }
    let (number, mut more) = without_comma(words.word("permits")?);
    let mut weight = "1".to_owned();
    if !more && words.skip("weight") {
        (weight, more) = without_comma(words.word("weight")?);
    }
    let number: u32 = number.parse().map_err(|_| format!("`{number}` are no permits"))?;
    let weight: u32 = weight.parse().map_err(|_| format!("`{weight}` is no weight"))?;
    let (Some(permits), Some(weight)) = (Permits::new(number), Weight::new(weight)) else {
        return Err("permits and weight are at least 1".into());
    };
    let unchecked = Claim::Permits { permits, weight };
    Ok((Claim::permits(permits, weight).unwrap_or(unchecked), more))
}

fn names(words: &mut Words) -> Read<Vec<LockName>> {
    let mut names = Vec::new();
    loop {
        let (name, more) = without_comma(words.word("a lock")?);
        names.push(text(LockName::new, name)?);
        if !more {
            return Ok(names);
        }
    }
}

fn without_comma(word: String) -> (String, bool) {
    match word.strip_suffix(',') {
        Some(name) => (name.to_owned(), true),
        None => (word, false),
    }
}

fn permits(words: &mut Words) -> Read<Permits> {
    let number = u32::try_from(words.number("permits")?).map_err(|_| "too many permits")?;
    Permits::new(number).ok_or_else(|| "permits are 1 to 2^31".into())
}

fn quota(caller: &mut Caller, word: &str, words: &mut Words) -> Read<()> {
    let quota = caller.quota.get_or_insert_default();
    let max = match word {
        "held_max" => &mut quota.held_max,
        "waiting_max" => &mut quota.waiting_max,
        "sessions_max" => &mut quota.sessions_max,
        _ => return Err(format!("`{word}` is no option")),
    };
    *max = Some(u32::try_from(words.number(word)?).map_err(|_| "too many")?);
    Ok(())
}

fn caller() -> Caller {
    Caller::new(KeyName::new("local").expect("is a key name"))
}

fn text<T>(make: impl Fn(String) -> Result<T, BadText>, word: String) -> Read<T> {
    make(word).map_err(|why| why.to_string())
}
