//! Bad days on purpose, for the tests of programs that use this library: losses, delays, outages and answers that
//! never come, on a log in memory.
//!
//! ```
//! use std::time::Duration;
//! use tenure::testing;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (tenure, script) = testing::connect().await?;
//! let grant = tenure.lock("report").acquire().await?;
//! let work = std::future::pending::<()>();
//! script.lose("report").await?;
//! let loss = grant.protect(work).await.unwrap_err();
//! assert_eq!(loss.name.as_str(), "report");
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::admin::Whose;
use crate::backend::Failure;
use crate::backend::call::Asks;
use crate::connect::Connect;
use crate::error::{ConnectError, Error};
use crate::tenure::Tenure;

/// A new log in memory, and the script of what goes wrong with it.
pub async fn connect() -> Result<(Tenure, Script), ConnectError> {
    with(Tenure::at("memory:")).await
}

/// A connection with settings of your own, and the script of what goes wrong with it.
pub async fn with(connect: Connect) -> Result<(Tenure, Script), ConnectError> {
    let tenure = connect.connect().await?;
    let script = Script { tenure: tenure.clone() };
    Ok((tenure, script))
}

/// What goes wrong, told while the program under test runs. Faults that are counted meet the next calls that are no
/// keep-alives.
#[derive(Debug, Clone)]
pub struct Script {
    tenure: Tenure,
}

impl Script {
    /// Takes a lock from whoever holds it, as an operator would.
    pub async fn lose(&self, name: &str) -> Result<(), Error> {
        self.tenure.admin().break_grant(name, Whose::Anyone, "a test took it").await.map(|_| ())
    }

    /// Asks whoever holds a lock to give it back.
    pub async fn recall(&self, name: &str, within: Duration, why: &str) -> Result<(), Error> {
        self.tenure.admin().recall(name, within, why, None).await.map(|_| ())
    }

    /// The next calls take so much longer.
    pub fn delay_next(&self, calls: usize, by: Duration) {
        self.faults().plan.lock().delayed = (calls, by);
    }

    /// The next calls do not happen: nobody is there.
    pub fn fail_next(&self, calls: usize) {
        self.faults().plan.lock().unavailable = calls;
    }

    /// The next calls happen, and their answers are lost.
    pub fn lose_next_answers(&self, calls: usize) {
        self.faults().plan.lock().unanswered = calls;
    }

    /// From here on nothing is renewed and nothing answers until [`Script::reach`]: the network is cut.
    pub fn cut(&self) {
        self.faults().cut.send_replace(true);
    }

    /// The network is whole again.
    pub fn reach(&self) {
        self.faults().cut.send_replace(false);
    }

    /// From here on keep-alives get no answer until [`Script::reach`]; other calls do.
    pub fn stop_keep_alives(&self) {
        self.faults().silent.send_replace(true);
    }

    fn faults(&self) -> &Arc<Faults> {
        &self.tenure.shared.connection.faults
    }
}

/// What goes wrong with a connection.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    plan: Mutex<Plan>,
    cut: watch::Sender<bool>,
    silent: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Plan {
    delayed: (usize, Duration),
    unavailable: usize,
    unanswered: usize,
}

impl Plan {
    fn take(count: &mut usize) -> bool {
        let is_due = *count > 0;
        *count -= usize::from(is_due);
        is_due
    }
}

impl Faults {
    /// What meets a call on its way out.
    pub(crate) async fn before<C: Asks>(&self) -> Result<(), Failure> {
        if C::IS_PULSE && *self.silent.borrow() {
            // Whoever waits for the answer stops waiting by itself.
            return std::future::pending().await;
        }
        if *self.cut.borrow() {
            return Err(Failure::Unavailable {
                retry_after: Duration::ZERO,
                why: "the script cut the network".into(),
            });
        }
        if C::IS_PULSE {
            return Ok(());
        }
        let (is_unavailable, delay) = {
            let mut plan = self.plan.lock();
            let span = plan.delayed.1;
            let delay = Plan::take(&mut plan.delayed.0).then_some(span);
            (Plan::take(&mut plan.unavailable), delay)
        };
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        if is_unavailable {
            return Err(Failure::Unavailable {
                retry_after: Duration::ZERO,
                why: "the script says that nobody is there".into(),
            });
        }
        Ok(())
    }

    /// What meets an answer on its way back.
    pub(crate) fn after<C: Asks>(&self) -> Result<(), Failure> {
        if *self.cut.borrow() {
            return Err(Failure::Unknown("the script cut the network".into()));
        }
        if !C::IS_PULSE && Plan::take(&mut self.plan.lock().unanswered) {
            return Err(Failure::Unknown("the script lost the answer".into()));
        }
        Ok(())
    }
}
