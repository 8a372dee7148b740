//! The door of the log backend.

use std::fmt;
use std::sync::Arc;

use tenure_core::{Command, Machine, Revision, SessionId};
use tokio::sync::watch;

use crate::error::{OpenError, SubmitError};
use crate::feed::{Cursor, Subscription};
use crate::meters::Meters;
use crate::node::Node;
use crate::options::Options;
use crate::outcome::Reply;
use crate::status::Status;

/// A running node; a cheap handle. The node ends with [`Log::stop`], or when the last handle is dropped.
#[derive(Clone)]
pub struct Log {
    node: Arc<Node>,
}

impl Log {
    /// Opens the log, replays it and is ready, unless the disk does not answer: then it opens and [`Log::status`]
    /// tells. Needs a tokio runtime with time; the log itself runs on threads of its own.
    pub async fn open(options: Options) -> Result<Log, OpenError> {
        Ok(Log { node: Arc::new(Node::start(options).await?) })
    }

    /// Carries out a command: answers when it is durable and applied. Dropping the future does not take it back.
    pub async fn submit(&self, command: Command) -> Result<Reply, SubmitError> {
        let alarm = &self.node.alarm;
        if let Some(reason) = alarm.health.troubles().refuses(&command) {
            return Err(SubmitError::Unavailable(reason));
        }
        alarm.desk.ask(command)?.await.unwrap_or(Err(SubmitError::Unknown))
    }

    /// Carries out commands in one entry of the log, in order: nothing comes between them.
    pub async fn submit_all(&self, commands: Vec<Command>) -> Result<Vec<Reply>, SubmitError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let alarm = &self.node.alarm;
        let troubles = alarm.health.troubles();
        if let Some(reason) = commands.iter().find_map(|command| troubles.refuses(command)) {
            return Err(SubmitError::Unavailable(reason));
        }
        alarm.desk.ask_all(commands)?.await.unwrap_or(Err(SubmitError::Unknown))
    }

    /// Carries out a command when there is time and tells nobody. Never blocks. Lost if the node stops first.
    pub fn submit_later(&self, command: Command) {
        self.node.alarm.desk.ask_later(command);
    }

    /// Reads the machine. What was acknowledged before this call is seen: an answer is given only after its command
    /// took effect, and a node that is the whole cluster cannot have been deposed. Goes on while the disk is full or
    /// stalled. Others wait while `view` runs.
    pub async fn read<T>(&self, view: impl FnOnce(&Machine) -> T) -> Result<T, SubmitError> {
        match self.node.alarm.health.troubles().hides() {
            Some(reason) => Err(SubmitError::Unavailable(reason)),
            None => Ok(view(&self.node.shared.state.read().machine)),
        }
    }

    /// The changes after a place; `None`: from now.
    pub fn changes(&self, after: Option<Cursor>) -> Subscription {
        self.node.shared.feed.subscribe(after)
    }

    /// What befalls one session after a place: grants it loses, recalls, its end. Costs nothing while nothing does,
    /// so there may be as many of these as there are sessions.
    pub fn session_changes(&self, id: SessionId, after: Cursor) -> Subscription {
        self.node.shared.feed.subscribe_session(id, after)
    }

    /// The place after the last change.
    pub fn cursor(&self) -> Cursor {
        self.node.shared.feed.end()
    }

    /// The place after a change, such as that of a view: who lists and then reads on from here misses nothing.
    pub fn cursor_at(&self, revision: Revision) -> Cursor {
        self.node.shared.feed.place(revision)
    }

    /// How the node is.
    pub fn status(&self) -> Status {
        self.node.alarm.health.status()
    }

    /// How the node is, told on every change of readiness.
    pub fn watch_status(&self) -> watch::Receiver<Status> {
        self.node.alarm.health.watch()
    }

    /// Measurements since the start.
    pub fn meters(&self) -> &Meters {
        &self.node.alarm.meters
    }

    /// Refuses new commands, answers those that were asked, notes the time and closes the files. Returns within
    /// seconds whatever the disk does. A second call does nothing.
    pub async fn stop(&self) {
        self.node.stop().await;
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("status", &self.status()).finish()
    }
}
