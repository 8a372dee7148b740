//! What this program knows about one grant of its own, shared by the user's [`Grant`](crate::Grant) and the tasks that
//! keep it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tenure_core::{Lease, LockName, Owner, RequestId, Token};
use tokio::sync::watch;

use crate::clock::Moment;
use crate::error::{Loss, LossReason};
use crate::promise::Promise;
use crate::session::Session;

/// How sure a grant is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It is ours.
    Held {
        /// For at least so long, even if nothing is heard any more.
        for_sure: Duration,
    },
    /// It is ours, but a renewal is overdue.
    Jeopardy {
        /// For at least so long, even if nothing is heard any more.
        for_sure: Duration,
    },
    /// It is not ours, for good.
    Lost(Loss),
}

/// Somebody asks for a grant; nothing is taken by force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recall {
    /// How soon it should be given back, from when this program learned of it.
    pub within: Duration,
    /// Why.
    pub reason: String,
    /// The operator's key, if it was told.
    pub by: Option<String>,
}

/// One grant.
pub(crate) struct Holding {
    /// The lock; of several the first.
    pub(crate) name: LockName,
    pub(crate) token: Token,
    /// All locks of it.
    pub(crate) tokens: BTreeMap<LockName, Token>,
    pub(crate) lease: Lease,
    pub(crate) owner: Owner,
    pub(crate) request: RequestId,
    /// Whether its owner may have it more than once, so that each release must be told apart from its repetition.
    pub(crate) is_reentrant: bool,
    pub(crate) life: Life,
    fate: watch::Sender<Fate>,
}

/// What a grant hangs on.
pub(crate) enum Life {
    Session(Arc<Session>),
    Own { ttl: Duration, promise: watch::Sender<Promise> },
}

/// What has become of a grant.
#[derive(Clone, Debug, Default)]
struct Fate {
    loss: Option<Loss>,
    recall: Option<Recall>,
}

/// The facts of a grant as the server told them.
pub(crate) struct Facts {
    pub(crate) name: LockName,
    pub(crate) tokens: BTreeMap<LockName, Token>,
    pub(crate) lease: Lease,
    pub(crate) owner: Owner,
    pub(crate) request: RequestId,
    pub(crate) is_reentrant: bool,
}

impl Holding {
    /// `facts.name` is one of `facts.tokens`.
    pub(crate) fn new(facts: Facts, life: Life) -> Self {
        let Facts { name, tokens, lease, owner, request, is_reentrant } = facts;
        let token = tokens.get(&name).copied().expect("a grant has a token for its name");
        let (fate, _) = watch::channel(Fate::default());
        Holding { name, token, tokens, lease, owner, request, is_reentrant, life, fate }
    }

    /// How sure it is now. A promise that has passed is a loss from then on, whatever is heard later.
    pub(crate) fn state(&self, now: Moment) -> State {
        if let Some(loss) = &self.fate.borrow().loss {
            return State::Lost(loss.clone());
        }
        let promise = self.promise();
        if promise.is_over(now) {
            return State::Lost(self.lose(LossReason::Unreachable));
        }
        let for_sure = promise.left(now);
        if promise.is_overdue(now) {
            State::Jeopardy { for_sure }
        } else {
            State::Held { for_sure }
        }
    }

    /// The loss, if it is lost by now.
    pub(crate) fn loss(&self, now: Moment) -> Option<Loss> {
        match self.state(now) {
            State::Lost(loss) => Some(loss),
            State::Held { .. } | State::Jeopardy { .. } => None,
        }
    }

    fn promise(&self) -> Promise {
        match &self.life {
            Life::Session(session) => session.promise(),
            Life::Own { promise, .. } => *promise.borrow(),
        }
    }

    /// Notes that it is lost; the first reason stays. Gives the loss that stays.
    pub(crate) fn lose(&self, reason: LossReason) -> Loss {
        let loss = Loss { name: self.name.clone(), token: self.token, reason };
        self.fate.send_if_modified(|fate| {
            let is_first = fate.loss.is_none();
            fate.loss.get_or_insert(loss);
            is_first
        });
        let fate = self.fate.borrow();
        fate.loss.clone().expect("a loss was noted just now")
    }

    /// Notes that somebody asks for it.
    pub(crate) fn recall(&self, recall: Recall) {
        self.fate.send_if_modified(|fate| {
            let is_first = fate.recall.is_none();
            fate.recall.get_or_insert(recall);
            is_first
        });
    }

    /// Whether this token of this lock is one of its.
    pub(crate) fn has(&self, name: &LockName, token: Token) -> bool {
        self.tokens.get(name) == Some(&token)
    }

    /// Resolves when it is lost. Never, if it is given back before.
    pub(crate) fn lost(&self) -> impl Future<Output = Loss> + Send + 'static {
        let fate = self.fate.subscribe();
        async move { told(fate, |fate| fate.loss.clone()).await }
    }

    /// Resolves after the next renewal.
    pub(crate) async fn renewed(&self) {
        match &self.life {
            Life::Session(session) => session.renewed().await,
            Life::Own { promise, .. } => {
                // An error cannot be: the sender is right here.
                let _changed = promise.subscribe().changed().await;
            }
        }
    }

    /// Resolves when somebody asks for it. Never, if it is given back before.
    pub(crate) fn recalled(&self) -> impl Future<Output = Recall> + Send + 'static {
        let fate = self.fate.subscribe();
        async move { told(fate, |fate| fate.recall.clone()).await }
    }
}

async fn told<T>(mut fate: watch::Receiver<Fate>, pick: impl Fn(&Fate) -> Option<T>) -> T {
    loop {
        if let Some(news) = pick(&fate.borrow_and_update()) {
            return news;
        }
        if fate.changed().await.is_err() {
            // The grant was given back: there is nothing to lose any more.
            return std::future::pending().await;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::error::Force;

    pub(crate) fn holding(promise: Promise) -> Holding {
        let name = LockName::new("a").unwrap();
        let facts = Facts {
            name: name.clone(),
            tokens: BTreeMap::from([(name, Token::new(7))]),
            lease: Lease::from_random([1; 32]),
            owner: Owner::new("o-1").unwrap(),
            request: RequestId::new("request-1").unwrap(),
            is_reentrant: false,
        };
        let ttl = Duration::from_secs(10);
        Holding::new(facts, Life::Own { ttl, promise: watch::channel(promise).0 })
    }

    #[test]
    fn a_grant_goes_from_held_over_jeopardy_to_lost_and_stays_lost() {
        let sent = Moment::now();
        let ten = Duration::from_secs(10);
        let holding = holding(Promise::of(sent, Duration::ZERO, ten));
        assert!(matches!(holding.state(sent + ten / 10), State::Held { .. }));
        assert!(matches!(holding.state(sent + ten.mul_f64(0.8)), State::Jeopardy { .. }));
        let State::Lost(loss) = holding.state(sent + ten) else { panic!("lost") };
        assert_eq!(loss.reason, LossReason::Unreachable);
        let Life::Own { promise, .. } = &holding.life else { panic!("own life") };
        promise.send_replace(Promise::of(sent + ten, Duration::ZERO, ten));
        assert!(holding.loss(sent + ten).is_some(), "a late renewal gives nothing back");
    }

    #[test]
    fn the_first_reason_of_a_loss_stays() {
        let holding = holding(Promise::of(Moment::now(), Duration::ZERO, Duration::from_secs(10)));
        holding.lose(LossReason::Broken(Force::default()));
        assert_eq!(holding.lose(LossReason::Expired).reason, LossReason::Broken(Force::default()));
    }

    #[tokio::test]
    async fn whoever_asks_for_the_loss_before_or_after_it_is_told() {
        let holding = holding(Promise::of(Moment::now(), Duration::ZERO, Duration::from_secs(10)));
        let before = holding.lost();
        holding.lose(LossReason::Expired);
        assert_eq!(before.await.reason, LossReason::Expired);
        assert_eq!(holding.lost().await.reason, LossReason::Expired);
    }
}
