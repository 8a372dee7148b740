//! The session of a connection: what it holds, how long it is promised, and the tasks that keep it alive.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::StreamExt;
use parking_lot::Mutex;
use tenure_api::{LostEvent, RecalledEvent, SessionOpened};
use tenure_core::{RequestId, SessionHandle};
use tokio::sync::watch;

use crate::backend::call::KeepAlive;
use crate::backend::{Failure, SessionEvent};
use crate::clock::{Moment, sleep_until};
use crate::connection::Connection;
use crate::dice;
use crate::error::{Error, LossReason, SessionEnd};
use crate::holding::{Holding, Recall};
use crate::promise::Promise;
use crate::retry;

/// Losses remembered for grants whose answer is still on its way.
const LOST_LATELY_MAX: usize = 256;
/// Longest wait for the answer to one keep-alive.
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(10);

/// One session.
pub(crate) struct Session {
    pub(crate) handle: SessionHandle,
    ttl: Duration,
    next_request: AtomicU64,
    next_grant: AtomicU64,
    inner: Mutex<Inner>,
    /// Changes whenever the promise does or the session ends.
    changed: watch::Sender<()>,
}

struct Inner {
    promise: Promise,
    ended: Option<SessionEnd>,
    grants: HashMap<u64, Weak<Holding>>,
    lost_lately: VecDeque<LostEvent>,
}

impl Session {
    /// A session whose opening was asked for at `sent`.
    pub(crate) fn new(opened: &SessionOpened, sent: Moment) -> Self {
        let inner = Inner {
            promise: Promise::of(sent, Duration::ZERO, opened.valid_for.get()),
            ended: None,
            grants: HashMap::new(),
            lost_lately: VecDeque::new(),
        };
        Session {
            handle: opened.session,
            ttl: opened.ttl.get(),
            next_request: AtomicU64::new(1),
            next_grant: AtomicU64::new(1),
            inner: Mutex::new(inner),
            changed: watch::channel(()).0,
        }
    }

    /// The id of the next request. Rising, so that the server need not remember each of them.
    pub(crate) fn next_request(&self) -> RequestId {
        let number = self.next_request.fetch_add(1, Ordering::Relaxed);
        RequestId::new(format!("seq-{number:010}")).expect("14 letters and digits are a request id")
    }

    /// How long everything it holds is ours.
    pub(crate) fn promise(&self) -> Promise {
        self.inner.lock().promise
    }

    /// Why it is over, if it is.
    pub(crate) fn ended(&self) -> Option<SessionEnd> {
        self.inner.lock().ended.clone()
    }

    /// Takes care of a new grant: `promise` is what its own answer gave.
    pub(crate) fn add(&self, holding: &Arc<Holding>, promise: Promise) {
        let number = self.next_grant.fetch_add(1, Ordering::Relaxed);
        let now = Moment::now();
        self.renew(promise, now);
        let mut inner = self.inner.lock();
        // The loss may have overtaken the answer.
        let lost = inner.lost_lately.iter().find(|lost| holding.has(&lost.name, lost.token));
        if let Some(lost) = lost {
            holding.lose(lost.into());
        }
        if let Some(end) = &inner.ended {
            holding.lose(end.into());
        }
        inner.grants.retain(|_, holding| holding.strong_count() > 0);
        inner.grants.insert(number, Arc::downgrade(holding));
        drop(inner);
        // An answer that took longer than its promise gave nothing.
        holding.state(Moment::now());
        self.changed.send_replace(());
    }

    /// Notes a new promise. If the old one passed before it came, what was held under that is lost all the same.
    fn renew(&self, promise: Promise, now: Moment) {
        self.lapse(now);
        let mut inner = self.inner.lock();
        inner.promise = inner.promise.or(promise);
        drop(inner);
        self.changed.send_replace(());
    }

    /// If the promise has passed, everything held under it is lost.
    fn lapse(&self, now: Moment) {
        if self.promise().is_over(now) {
            self.lose_all(&LossReason::Unreachable);
        }
    }

    fn lose_all(&self, reason: &LossReason) {
        let grants: Vec<_> = self.inner.lock().grants.drain().collect();
        for holding in grants.iter().filter_map(|(_, holding)| holding.upgrade()) {
            holding.lose(reason.clone());
        }
    }

    /// Notes that it is over, and with it all it held. The first reason stays.
    pub(crate) fn end(&self, end: SessionEnd) {
        let end = self.inner.lock().ended.get_or_insert(end).clone();
        self.lose_all(&LossReason::from(&end));
        self.changed.send_replace(());
    }

    fn learn_lost(&self, lost: LostEvent) {
        let mut inner = self.inner.lock();
        if inner.lost_lately.contains(&lost) {
            return;
        }
        for holding in inner.grants.values().filter_map(Weak::upgrade) {
            if holding.has(&lost.name, lost.token) {
                holding.lose((&lost).into());
            }
        }
        inner.lost_lately.push_back(lost);
        if inner.lost_lately.len() > LOST_LATELY_MAX {
            inner.lost_lately.pop_front();
        }
    }

    fn learn_recalled(&self, recalled: &RecalledEvent) {
        let grants: Vec<_> = self.inner.lock().grants.values().filter_map(Weak::upgrade).collect();
        for holding in grants.iter().filter(|h| h.has(&recalled.name, recalled.token)) {
            let by = recalled.by.as_ref().map(|by| by.to_string());
            let (within, reason) = (recalled.within.get(), recalled.reason.to_string());
            holding.recall(Recall { within, reason, by });
        }
    }

    fn learn(&self, event: SessionEvent) {
        match event {
            SessionEvent::Lost(lost) => self.learn_lost(lost),
            SessionEvent::Recalled(recalled) => self.learn_recalled(&recalled),
            SessionEvent::Ended(end) => self.end(end),
        }
    }

    /// Resolves when the session is over.
    pub(crate) async fn over(&self) -> SessionEnd {
        let mut changed = self.changed.subscribe();
        loop {
            if let Some(end) = self.ended() {
                return end;
            }
            changed.changed().await.expect("the sender is this session's own");
        }
    }

    /// Resolves after the next renewal, or with the session.
    pub(crate) async fn renewed(&self) {
        let old = self.promise();
        let mut changed = self.changed.subscribe();
        while self.promise() == old && self.ended().is_none() {
            changed.changed().await.expect("the sender is this session's own");
        }
    }
}

/// Keeps a session: renews it, notices when its promise passes, listens to what happens to it. Ends with the session.
pub(crate) async fn keep(connection: Arc<Connection>, session: Arc<Session>) {
    tokio::select! {
        _over = session.over() => {}
        () = renew_for_ever(&connection, &session) => {}
        () = watch_promise(&session) => {}
        () = listen_for_ever(&connection, &session) => {}
    }
}

async fn renew_for_ever(connection: &Connection, session: &Session) {
    let mut due = Moment::now() + session.ttl / 3;
    let mut failures = 0;
    loop {
        sleep_until(due).await;
        let sent = Moment::now();
        let failed = match keep_alive_once(connection, session).await {
            Ok(()) => {
                failures = 0;
                due = sent + session.ttl / 3;
                continue;
            }
            Err(failed) => failed,
        };
        if let Some(end) = failed.session_end() {
            session.end(end);
            return;
        }
        // Whatever the reason, the old promise stands: only a keep-alive that succeeds makes a new one.
        tracing::debug!(event = "keep_alive_failed", ?failed);
        failures += 1;
        due = next_try(session.ttl, failures, failed.retry_after());
    }
}

/// One keep-alive, with all that its answer tells.
async fn keep_alive_once(connection: &Connection, session: &Session) -> Result<(), Failure> {
    let sent = Moment::now();
    let answer_max = (session.ttl / 3).min(KEEP_ALIVE_MAX);
    let call = connection.call(KeepAlive(session.handle));
    let late = |_| Failure::Unknown("no answer to the keep-alive in time".into());
    let kept = tokio::time::timeout(answer_max, call).await.map_err(late)??;
    let promise = Promise::of(sent, Duration::ZERO, kept.valid_for.get());
    session.renew(promise, Moment::now());
    kept.lost.into_iter().for_each(|lost| session.learn_lost(lost));
    kept.recalled.iter().for_each(|recalled| session.learn_recalled(recalled));
    Ok(())
}

/// A keep-alive at the caller's wish.
pub(crate) async fn keep_alive_now(
    connection: &Connection,
    session: &Session,
) -> Result<(), Error> {
    keep_alive_once(connection, session).await.map_err(|failure| {
        if let Some(end) = failure.session_end() {
            session.end(end);
        }
        failure.into()
    })
}

/// A failed keep-alive or renewal is tried again well before the promise passes, whatever the server says.
pub(crate) fn next_try(ttl: Duration, failures: u32, retry_after: Duration) -> Moment {
    Moment::now() + retry::pause(failures, retry_after, dice::die()).min(ttl / 6)
}

async fn watch_promise(session: &Session) {
    let mut changed = session.changed.subscribe();
    loop {
        let until = session.promise().until;
        sleep_until(until).await;
        session.lapse(Moment::now());
        if session.promise().is_over(Moment::now()) && changed.changed().await.is_err() {
            return;
        }
        changed.mark_unchanged();
    }
}

async fn listen_for_ever(connection: &Connection, session: &Session) {
    let mut failures = 0;
    loop {
        let mut events = connection.session_events(session.handle);
        while let Some(event) = events.next().await {
            failures = 0;
            session.learn(event);
        }
        failures += 1;
        tokio::time::sleep(retry::pause(failures, Duration::ZERO, dice::die())).await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tenure_api::Seconds;
    use tenure_core::{Lease, LockName, Owner, SessionId, SessionSecret, Token};

    use super::*;
    use crate::holding::{Facts, Life, State};

    const TEN: Duration = Duration::from_secs(10);

    /// A session of ten seconds that was opened so long ago, and a grant of it.
    fn opened(ago: Duration) -> (Arc<Session>, Arc<Holding>) {
        let secret = SessionSecret::from_random([1; 32]);
        let opened = SessionOpened {
            id: SessionId(1),
            session: SessionHandle { id: SessionId(1), secret },
            ttl: Seconds(TEN),
            valid_for: Seconds(TEN),
            expires_in: Seconds(TEN),
        };
        let sent = Moment::now().minus(ago);
        let session = Arc::new(Session::new(&opened, sent));
        let name = LockName::new("a").unwrap();
        let facts = Facts {
            name: name.clone(),
            tokens: BTreeMap::from([(name, Token::new(7))]),
            lease: Lease::from_random([1; 32]),
            owner: Owner::new("o-1").unwrap(),
            request: RequestId::new("request-1").unwrap(),
            is_reentrant: false,
        };
        let holding = Arc::new(Holding::new(facts, Life::Session(session.clone())));
        session.inner.lock().grants.insert(1, Arc::downgrade(&holding));
        (session, holding)
    }

    fn fresh() -> Promise {
        Promise::of(Moment::now(), Duration::ZERO, TEN)
    }

    #[test]
    fn a_keep_alive_in_time_keeps_what_is_held() {
        let (session, holding) = opened(TEN / 2);
        session.renew(fresh(), Moment::now());
        assert!(matches!(holding.state(Moment::now()), State::Held { .. }));
    }

    #[test]
    fn a_keep_alive_that_is_answered_after_a_long_pause_gives_nothing_back() {
        let (session, holding) = opened(TEN * 2);
        session.renew(fresh(), Moment::now());
        let State::Lost(loss) = holding.state(Moment::now()) else {
            panic!("the pause was too long")
        };
        assert_eq!(loss.reason, LossReason::Unreachable);
    }

    #[test]
    fn a_failed_keep_alive_is_tried_again_in_time_whatever_the_server_says() {
        let next = next_try(TEN, 20, TEN * 3);
        assert!(next <= Moment::now() + TEN / 6);
    }

    #[test]
    fn a_grant_whose_answer_the_end_of_its_session_overtook_is_lost() {
        let (session, holding) = opened(Duration::ZERO);
        session.end(SessionEnd::Closed);
        let facts = Facts {
            name: holding.name.clone(),
            tokens: holding.tokens.clone(),
            lease: holding.lease,
            owner: holding.owner.clone(),
            request: holding.request.clone(),
            is_reentrant: false,
        };
        let late = Arc::new(Holding::new(facts, Life::Session(session.clone())));
        session.add(&late, fresh());
        let loss = late.loss(Moment::now()).expect("its session is over");
        assert_eq!(loss.reason, LossReason::SessionEnded);
    }

    #[test]
    fn a_loss_that_overtakes_its_grant_is_not_forgotten() {
        let (session, old) = opened(Duration::ZERO);
        let lost = LostEvent {
            name: old.name.clone(),
            token: Token::new(8),
            reason: tenure_api::LostName::Broken,
            by: None,
            why: None,
        };
        session.learn_lost(lost);
        let facts = Facts {
            name: old.name.clone(),
            tokens: BTreeMap::from([(old.name.clone(), Token::new(8))]),
            lease: Lease::from_random([2; 32]),
            owner: old.owner.clone(),
            request: old.request.clone(),
            is_reentrant: false,
        };
        let new = Arc::new(Holding::new(facts, Life::Session(session.clone())));
        session.add(&new, fresh());
        assert!(new.loss(Moment::now()).is_some());
        assert!(old.loss(Moment::now()).is_none());
    }
}
