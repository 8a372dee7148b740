//! Sessions.

use super::acquire::{check_ttl, finished};
use super::*;

impl Naive {
    pub(super) fn open_session(&mut self, open: &OpenSession) -> Said {
        check_ttl(open.ttl)?;
        let key = &open.caller.key;
        let scope = match &open.request {
            RequestName::Client(text) => Some(Scope::Open(key.clone(), text.to_string())),
            RequestName::Unnamed => None,
        };
        let body = format!("{:?}", open.ttl);
        if let Some(seen) = scope.as_ref().and_then(|scope| self.seen(scope)) {
            if seen.body.as_deref() != Some(&body) {
                return Err("request id reused".into());
            }
            return match seen.state {
                State::Opened(id) => Ok(self.told_opened(id)),
                State::Over(ended, ..) => Err(finished(ended, None)),
                State::Lives(_) => Err("request id reused".into()),
            };
        }
        let quota = open.caller.quota.as_ref().and_then(|quota| quota.sessions_max);
        let own = self.sessions.iter().filter(|session| session.key == *key).count();
        if let Some(max) = quota.filter(|max| own >= *max as usize) {
            return Err(format!("limit sessions {max}"));
        }
        self.sessions_made += 1;
        let id = SessionId(self.sessions_made);
        self.sessions.push(Session {
            id,
            handle: SessionHandle { id, secret: open.secret },
            key: key.clone(),
            ttl: open.ttl,
            until: self.now + open.ttl,
            used: BTreeSet::new(),
            lost: vec![],
            opened_by: scope.clone(),
        });
        if let Some(scope) = scope {
            self.remember(scope, Some(body), State::Opened(id));
        }
        Ok(self.told_opened(id))
    }

    fn told_opened(&self, id: SessionId) -> String {
        let session = self.session(id).expect("it is open");
        let left = session.until.since(self.now).as_micros();
        format!("opened {id} {} {left}", session.ttl.as_micros())
    }

    /// Its whole time again, in words.
    pub(super) fn hear_of(&mut self, id: SessionId) -> String {
        let now = self.now;
        let session = self.sessions.iter_mut().find(|session| session.id == id).expect("it lives");
        session.until = session.until.max(now + session.ttl);
        format!("{} {}", session.ttl.as_micros(), session.until.since(now).as_micros())
    }

    pub(super) fn keep_alive(&mut self, handle: &SessionHandle) -> Said {
        self.check_session(handle)?;
        self.hear_of(handle.id);
        let now = self.now;
        let session = self.sessions.iter_mut().find(|s| s.id == handle.id).expect("it lives");
        let told_for = session.ttl * 2;
        session.lost.retain(|(at, ..)| now.since(*at) <= told_for);
        let lost = session.lost.iter().map(|(_, name, token, force)| {
            format!("{name} {token}{}", said::told_force(force.as_ref()))
        });
        let lost: Vec<String> = lost.collect();
        Ok(format!("kept alive {} lost {lost:?}", session.ttl.as_micros()))
    }

    pub(super) fn end_session(&mut self, end: &EndSession) -> Said {
        if let EndedBy::Operator { reach, .. } = &end.by {
            let own = |ticket: &&Ticket| matches!(ticket.life, Lives::Session(id) if id == end.id);
            let ids: Vec<TicketId> = self.tickets.iter().filter(own).map(|t| t.id).collect();
            let own = |session: &Session| session.key == end.caller.key || !ids.is_empty();
            let seen = *reach == Reach::All || self.session(end.id).is_some_and(own);
            if !seen || !self.within(reach, &ids) {
                return Err("out of reach".into());
            }
        }
        let Some(session) = self.session(end.id) else {
            return match self.end_of(end.id) {
                SessionEnd::Unknown => Err("not found session".into()),
                _ => Ok("session ended 0 0".into()),
            };
        };
        let how = match &end.by {
            EndedBy::Itself(secret) if *secret != session.handle.secret => {
                return Err("not found session".into());
            }
            EndedBy::Itself(_) => SessionEnd::Closed,
            EndedBy::Operator { reason, .. } => {
                SessionEnd::Broken(Force { by: end.caller.key.clone(), reason: reason.clone() })
            }
        };
        let (released, cancelled) = self.close(end.id, how);
        Ok(format!("session ended {released} {cancelled}"))
    }

    pub(super) fn close(&mut self, id: SessionId, how: SessionEnd) -> (usize, usize) {
        let ended = match &how {
            SessionEnd::Closed => Ended::Released,
            _ => Ended::SessionEnded,
        };
        if let SessionEnd::Broken(force) = &how {
            self.force = Some(force.clone());
        }
        let counts = self.end_tickets_of(id, ended, &format!("session ended {how:?}"));
        self.force = None;
        let place = self.sessions.iter().position(|session| session.id == id).expect("it lives");
        let session = self.sessions.remove(place);
        if let Some(scope) = session.opened_by {
            self.end_request(&scope, Ended::SessionEnded, None);
        }
        self.ended_sessions.push((id, how));
        counts
    }
}
