//! Leaders: whoever holds a lock, with something to say in its note.

use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use tenure_api::LockView;
use tenure_core::{BadText, LockName, Note, Token};
use tokio::sync::mpsc;

use crate::changes::Cursor;
use crate::error::{AcquireError, Error, GrantError, Refusal};
use crate::grant::Grant;
use crate::request::{Request, Wanted};
use crate::tenure::Tenure;
use crate::text::IntoText;
use crate::thread::Running;

/// Leaders read ahead of the user.
const AHEAD_MAX: usize = 16;

/// An election for one name; see [`Tenure::election`].
#[derive(Debug, Clone)]
pub struct Election {
    tenure: Tenure,
    name: Result<LockName, Refusal>,
}

/// Who leads, as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// What it has to say, such as its address.
    pub value: Note,
    /// Its token: higher than that of every leader before.
    pub token: Token,
}

/// We lead, as long as the [`Grant`] in it lasts. Dropping it gives the lead away.
#[derive(Debug)]
#[must_use = "dropping it gives the lead away"]
pub struct Leadership {
    grant: Grant,
}

impl Leadership {
    /// Says something else while leading.
    pub async fn proclaim(&self, value: impl IntoText<Note>) -> Result<(), GrantError> {
        self.grant.set_note(value).await
    }

    /// Gives the lead away and says what became of that.
    pub async fn resign(self) -> Result<(), crate::ReleaseError> {
        self.grant.release().await
    }

    /// The grant itself.
    pub fn into_grant(self) -> Grant {
        self.grant
    }
}

impl Deref for Leadership {
    type Target = Grant;

    fn deref(&self) -> &Grant {
        &self.grant
    }
}

impl Election {
    pub(crate) fn new(tenure: Tenure, name: Result<LockName, BadText>) -> Self {
        Election { tenure, name: name.map_err(|why| Refusal::text("name", &why)) }
    }

    /// Waits until we lead. Dropping the future withdraws.
    pub async fn campaign(&self, value: impl IntoText<Note>) -> Result<Leadership, AcquireError> {
        let name = self.name.clone().map_err(Error::from)?;
        let request = Request::new(&self.tenure, [Wanted::exclusive(name)]).note(value);
        let grant = request.acquire().await?;
        Ok(Leadership { grant })
    }

    /// Who leads now.
    pub async fn leader(&self) -> Result<Option<Leader>, Error> {
        Ok(leader_of(&self.tenure.why(self.name.clone()?).await?))
    }

    /// Who leads now, and each leader after that; `None` while nobody does. A leader that speaks for less time than a
    /// reader takes may be passed over, but never the last one. An error is the last item.
    pub fn leaders(&self) -> Leaders {
        let (sender, leaders) = mpsc::channel(AHEAD_MAX);
        let election = self.clone();
        let reader = self.tenure.shared.start(async move {
            if let Err(error) = election.tell_leaders(&sender).await {
                // If nobody reads any more, nobody needs to know.
                let _unread = sender.send(Err(error)).await;
            }
        });
        Leaders { leaders, _reader: reader }
    }

    async fn tell_leaders(
        &self,
        to: &mpsc::Sender<Result<Option<Leader>, Error>>,
    ) -> Result<(), Error> {
        let name = self.name.clone()?;
        let mut last: Option<Option<Leader>> = None;
        let mut changes = None;
        loop {
            let view = self.tenure.why(name.clone()).await?;
            let leader = leader_of(&view);
            if last.as_ref() != Some(&leader) {
                if to.send(Ok(leader.clone())).await.is_err() {
                    return Ok(());
                }
                last = Some(leader);
            }
            let changes = match &mut changes {
                Some(changes) => changes,
                none => {
                    let from = Cursor::from(view.cursor.clone().unwrap_or_default());
                    let all = self.tenure.changes().prefix(name.as_str()).from(from);
                    none.insert(all.stream().await?)
                }
            };
            match changes.next().await {
                Some(event) => event?,
                None => return Ok(()),
            };
        }
    }
}

fn leader_of(view: &LockView) -> Option<Leader> {
    let holder = &view.holders.first()?.holder;
    let nothing = || Note::new("").expect("the empty text is a note");
    Some(Leader { value: holder.note.clone().unwrap_or_else(nothing), token: holder.token })
}

/// Leaders, one after the other; see [`Election::leaders`].
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is read"]
pub struct Leaders {
    leaders: mpsc::Receiver<Result<Option<Leader>, Error>>,
    _reader: Running<()>,
}

impl Leaders {
    /// The next leader; `None` after an error. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Option<Leader>, Error>> {
        self.leaders.recv().await
    }
}

impl Stream for Leaders {
    type Item = Result<Option<Leader>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.leaders.poll_recv(context)
    }
}
