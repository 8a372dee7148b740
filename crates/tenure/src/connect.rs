//! Opening a backend.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tenure_core::Note;

use crate::Tenure;
use crate::backend::call::GetInfo;
use crate::backend::{Backend, Namespace};
use crate::config::{self, ApiKey, Settings};
use crate::connection::{Connection, Manners};
use crate::error::{ConnectError, Error, Refusal};
use crate::tenure::Shared;
use crate::text::IntoText;
use crate::thread::OwnThread;
use crate::url::{self, Place, Target};

/// How long sessions of this library live without a keep-alive, unless asked for otherwise.
pub const SESSION_TTL_DEFAULT: Duration = Duration::from_secs(15);
/// How long a backend that cannot be reached is tried, unless asked for otherwise.
pub const PATIENCE_DEFAULT: Duration = Duration::from_secs(10);

/// A connection to be made; see [`Tenure::at`].
#[must_use = "nothing happens before `connect`"]
#[derive(Debug, Clone)]
pub struct Connect {
    url: String,
    given: Settings,
    session_ttl: Duration,
    note: Option<Result<Note, Refusal>>,
    retry: Option<Duration>,
    wrong_key: bool,
}

impl Connect {
    pub(crate) fn new(url: &str) -> Self {
        Connect {
            url: url.to_owned(),
            given: Settings::default(),
            session_ttl: SESSION_TTL_DEFAULT,
            note: None,
            retry: None,
            wrong_key: false,
        }
    }

    /// The API key. Absent: the environment, configuration files, or the key beside a server on this machine (see
    /// [`config`]).
    pub fn api_key(mut self, key: impl AsRef<str>) -> Self {
        self.given.api_key = ApiKey::new(key);
        self.wrong_key = self.given.api_key.is_none();
        self
    }

    /// A PEM file with the certificates that sign the server's. Absent: those of the system.
    pub fn ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.given.ca = Some(file.into());
        self
    }

    /// PEM files with this client's certificate and its private key.
    pub fn client_cert(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.given.cert = Some(cert.into());
        self.given.key = Some(key.into());
        self
    }

    /// How long the session lives without a keep-alive, 100 ms to 366 days; 15 s if not said. A keep-alive is sent
    /// every third of it. When this program dies, what it held is free after so long.
    pub fn session_ttl(mut self, ttl: Duration) -> Self {
        self.session_ttl = ttl;
        self
    }

    /// Who this program is, for people who wait for it. Absent: [`config::default_note`].
    pub fn note(mut self, note: impl IntoText<Note>) -> Self {
        self.note = Some(note.into_text().map_err(|why| Refusal::text("note", &why)));
        self
    }

    /// How long a call goes on when the backend cannot be reached or does not serve; 10 s if not said. Who stands in
    /// a queue already goes on until its wait has passed.
    pub fn retry(mut self, at_most: Duration) -> Self {
        self.retry = Some(at_most);
        self
    }

    /// How long making one connection may take; 10 s if not said.
    pub fn connect_timeout(mut self, at_most: Duration) -> Self {
        self.given.connect_timeout = Some(at_most);
        self
    }

    /// Opens the backend and sees that it answers. The session begins with the first lock.
    pub async fn connect(self) -> Result<Tenure, ConnectError> {
        if self.wrong_key {
            let detail = "is not a key: it is empty or has blanks or characters beyond ASCII";
            return Err(Error::Refused(Refusal::field("api_key", detail)).into());
        }
        let note = match self.note.clone() {
            Some(note) => Some(note.map_err(Error::Refused)?),
            None => Note::new(config::default_note()).ok(),
        };
        let target = url::parse(&self.url)?;
        let (thread, stop, over) =
            OwnThread::start().map_err(|error| ConnectError::System(error.to_string()))?;
        let connected = thread.run(self.start(target, note));
        let connection = connected.await.unwrap_or_else(|| Err(closed()))?;
        Ok(Tenure { shared: Arc::new(Shared::new(connection, thread, stop, over)) })
    }

    /// Runs on the library's own thread.
    async fn start(
        self,
        target: Target,
        note: Option<Note>,
    ) -> Result<Arc<Connection>, ConnectError> {
        let (backend, patience) = self.open(target.place).await?;
        let patience = self.retry.unwrap_or(patience);
        let manners = Manners { session_ttl: self.session_ttl, note, patience };
        let connection = Connection::start(backend, Namespace::new(target.prefix), manners);
        connection.insist(GetInfo).await?;
        Ok(connection)
    }

    #[cfg(feature = "log")]
    async fn open_log(directory: Option<PathBuf>) -> Result<Backend, ConnectError> {
        use crate::backend::log::LogBackend;
        Ok(Backend::Log(LogBackend::open(directory).await?))
    }

    #[cfg(not(feature = "log"))]
    async fn open_log(_directory: Option<PathBuf>) -> Result<Backend, ConnectError> {
        Err(ConnectError::NotBuiltIn("log"))
    }

    async fn open(&self, place: Place) -> Result<(Backend, Duration), ConnectError> {
        match place {
            Place::Memory => Ok((Self::open_log(None).await?, PATIENCE_DEFAULT)),
            Place::Directory(path) => Ok((Self::open_log(Some(path)).await?, PATIENCE_DEFAULT)),
            Place::Servers(servers) => self.open_remote(servers),
        }
    }

    #[cfg(feature = "remote")]
    fn open_remote(&self, servers: Vec<String>) -> Result<(Backend, Duration), ConnectError> {
        use crate::backend::remote::{Credentials, Remote};
        let given = Settings { url: Some(servers.join(",")), ..self.given.clone() };
        let settings = config::of_process(given)?;
        let client = match (settings.cert, settings.key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                let why = "a client certificate needs its private key, and the other way round";
                return Err(ConnectError::Tls(why.into()));
            }
        };
        let credentials = Credentials { ca: settings.ca, client };
        let patience = settings.connect_timeout.unwrap_or(PATIENCE_DEFAULT);
        // Making a connection must not outlast the patience with it.
        let connect_max = self.retry.map_or(patience, |retry| patience.min(retry));
        let remote = Remote::new(servers, settings.api_key, &credentials, connect_max);
        Ok((Backend::Remote(remote.map_err(ConnectError::Tls)?), patience))
    }

    #[cfg(not(feature = "remote"))]
    fn open_remote(&self, _servers: Vec<String>) -> Result<(Backend, Duration), ConnectError> {
        Err(ConnectError::NotBuiltIn("remote"))
    }
}

fn closed() -> ConnectError {
    ConnectError::System("the library's thread ended".into())
}
