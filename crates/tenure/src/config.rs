//! Where a client finds its server and its key when nobody says so: the same places for every program that uses this
//! library, the command line `tenure` included.
//!
//! What the caller gives comes first, then the environment (`TENURE_URL`, `TENURE_API_KEY`, `TENURE_API_KEY_FILE`,
//! `TENURE_CA`, `TENURE_CERT`, `TENURE_KEY`), `~/.config/tenure/client.toml`, `/etc/tenure/client.toml`, and last the
//! key that a server on this machine left in its data directory (`TENURE_DATA`, `./tenure-data`). That last key is
//! for servers on this machine only: it is never sent elsewhere.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// The server of a machine that runs one with its defaults.
pub const DEFAULT_URL: &str = "http://127.0.0.1:7420";
/// Where a server keeps its data by default, and in it the key for clients beside it.
pub const DEFAULT_DATA: &str = "./tenure-data";
/// The file in the data directory with the key.
pub const KEY_FILE: &str = "api-key";
/// Longest configuration or key file in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// An API key. Shown to nobody: `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct ApiKey(String);

impl ApiKey {
    /// A key from its text; blanks around it are not part of it. `None` if nothing is left, or if it could not stand
    /// in a header.
    pub fn new(text: impl AsRef<str>) -> Option<Self> {
        let text = text.as_ref().trim();
        let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| ApiKey(text.to_owned()))
    }

    /// The key itself.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// What a client knows about its server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The server, or several with commas between them.
    pub url: Option<String>,
    /// The key.
    pub api_key: Option<ApiKey>,
    /// A file with the certificates that sign the server's; absent: those of the system.
    pub ca: Option<PathBuf>,
    /// A file with this client's certificate.
    pub cert: Option<PathBuf>,
    /// A file with its private key.
    pub key: Option<PathBuf>,
    /// How long an unreachable server is tried.
    pub connect_timeout: Option<Duration>,
}

impl Settings {
    /// These settings, and where one is absent that of `other`.
    pub fn or(self, other: Settings) -> Settings {
        Settings {
            url: self.url.or(other.url),
            api_key: self.api_key.or(other.api_key),
            ca: self.ca.or(other.ca),
            cert: self.cert.or(other.cert),
            key: self.key.or(other.key),
            connect_timeout: self.connect_timeout.or(other.connect_timeout),
        }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that was named or is there cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {why}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, without its contents.
        why: String,
    },
    /// A variable is not what it should be.
    #[error("the variable {variable} {why}")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What is wrong, without its contents.
        why: &'static str,
    },
}

/// The surroundings that settings are found in, as an argument so that tests have their own.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Environment variables by name.
    pub variables: Vec<(String, String)>,
    /// Configuration files, first one first.
    pub files: Vec<PathBuf>,
    /// The data directory of a server beside the client.
    pub data: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let variables: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("TENURE_"))
            .collect();
        let config_home = std::env::var_os("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
        let mut files: Vec<PathBuf> = Vec::new();
        files.extend(config_home.map(|home| home.join("tenure/client.toml")));
        files.push(PathBuf::from("/etc/tenure/client.toml"));
        let data = variables.iter().find(|(name, _)| name == "TENURE_DATA");
        let data = data.map_or(DEFAULT_DATA, |(_, value)| value).into();
        Surroundings { variables, files, data }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// The settings of the caller, completed from the surroundings in the order of the module's description.
pub fn discover(given: Settings, around: &Surroundings) -> Result<Settings, ConfigError> {
    let mut found = given.or(from_variables(around)?);
    for path in &around.files {
        if let Some(text) = read_if_there(path)? {
            found = found.or(from_file(path, &text)?);
        }
    }
    let url = found.url.get_or_insert_with(|| DEFAULT_URL.to_owned());
    if found.api_key.is_none() && is_local(url) {
        found.api_key = local_key(&around.data)?;
    }
    Ok(found)
}

/// The settings of this process, completed as [`discover`] does.
pub fn of_process(given: Settings) -> Result<Settings, ConfigError> {
    discover(given, &Surroundings::of_process())
}

/// Reads a file with a key: its first line.
pub fn read_key_file(path: &Path) -> Result<ApiKey, ConfigError> {
    key_of(path, &read(path)?)
}

/// Who this process is, for people who wait for it: `user@host:pid program`, without its arguments.
pub fn default_note() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let user = user.unwrap_or_else(|_| rustix::process::getuid().as_raw().to_string());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let program = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let note = format!("{user}@{host}:{} {program}", std::process::id());
    note.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientFile {
    url: Option<String>,
    api_key: Option<String>,
    api_key_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    connect_timeout: Option<tenure_api::Seconds>,
}

fn from_file(path: &Path, text: &str) -> Result<Settings, ConfigError> {
    // The message of the parser repeats the line, which may be the key: only what and where is kept.
    let parsed: Result<ClientFile, toml::de::Error> = toml::from_str(text);
    let file = parsed.map_err(|error| wrong(path, error.message()))?;
    let api_key = match (file.api_key, file.api_key_file) {
        (Some(_), Some(_)) => {
            return Err(wrong(path, "api_key and api_key_file exclude each other"));
        }
        (Some(key), None) => Some(key_of(path, &key)?),
        (None, Some(key_file)) => Some(read_key_file(&beside(path, key_file))?),
        (None, None) => None,
    };
    Ok(Settings {
        url: file.url,
        api_key,
        ca: file.ca.map(|ca| beside(path, ca)),
        cert: file.cert.map(|cert| beside(path, cert)),
        key: file.key.map(|key| beside(path, key)),
        connect_timeout: file.connect_timeout.map(Duration::from),
    })
}

/// A relative path in a file is meant from where the file is.
fn beside(file: &Path, path: PathBuf) -> PathBuf {
    file.parent().map(|directory| directory.join(&path)).unwrap_or(path)
}

fn from_variables(around: &Surroundings) -> Result<Settings, ConfigError> {
    let path = |name| around.variable(name).map(PathBuf::from);
    let api_key = match (around.variable("TENURE_API_KEY"), path("TENURE_API_KEY_FILE")) {
        (Some(key), _) => Some(ApiKey::new(key).ok_or(ConfigError::Variable {
            variable: "TENURE_API_KEY",
            why: "is not a key: it has blanks or characters beyond ASCII",
        })?),
        (None, Some(file)) => Some(read_key_file(&file)?),
        (None, None) => None,
    };
    let connect_timeout = match around.variable("TENURE_CONNECT_TIMEOUT") {
        Some(text) => {
            let why = "is not a duration like 10, 0.5, 500ms, 1m";
            let wrong = |_| ConfigError::Variable { variable: "TENURE_CONNECT_TIMEOUT", why };
            Some(text.parse::<tenure_api::Seconds>().map_err(wrong)?.get())
        }
        None => None,
    };
    Ok(Settings {
        url: around.variable("TENURE_URL").map(str::to_owned),
        api_key,
        ca: path("TENURE_CA"),
        cert: path("TENURE_CERT"),
        key: path("TENURE_KEY"),
        connect_timeout,
    })
}

/// Whether every server of the URL is on this machine.
fn is_local(url: &str) -> bool {
    url.split(',').all(|one| {
        let rest = one.trim().split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let host = match authority.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or_default(),
            None => authority.split(':').next().unwrap_or_default(),
        };
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

fn local_key(data: &Path) -> Result<Option<ApiKey>, ConfigError> {
    let path = data.join(KEY_FILE);
    match read(&path) {
        Ok(text) => key_of(&path, &text).map(Some),
        // Nobody named this file: that it is absent or another user's is no error.
        Err(ConfigError::Unreadable { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

fn key_of(path: &Path, text: &str) -> Result<ApiKey, ConfigError> {
    let line = text.lines().next().unwrap_or_default();
    ApiKey::new(line).ok_or_else(|| wrong(path, "its first line is not a key"))
}

fn wrong(path: &Path, why: &str) -> ConfigError {
    ConfigError::Wrong { path: path.to_owned(), why: why.to_owned() }
}

fn read_if_there(path: &Path) -> Result<Option<String>, ConfigError> {
    match read(path) {
        Ok(text) => Ok(Some(text)),
        Err(ConfigError::Unreadable { error, .. }) if is_absent(&error) => Ok(None),
        Err(other) => Err(other),
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    use std::io::Read;
    let unreadable = |error| ConfigError::Unreadable { path: path.to_owned(), error };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong(path, "is too large to be a configuration or key"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            Home(tempfile::tempdir().unwrap())
        }

        fn file(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        }

        fn around(&self, variables: &[(&str, &str)]) -> Surroundings {
            let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            Surroundings {
                variables: variables.iter().map(pair).collect(),
                files: vec![self.0.path().join("client.toml"), self.0.path().join("etc.toml")],
                data: self.0.path().into(),
            }
        }
    }

    fn key(settings: &Settings) -> &str {
        settings.api_key.as_ref().map_or("", ApiKey::secret)
    }

    #[test]
    fn what_is_given_beats_the_environment_beats_files_beats_the_data_directory() {
        let home = Home::new();
        home.file("api-key", "from-data\n");
        let nothing = discover(Settings::default(), &home.around(&[])).unwrap();
        assert_eq!((nothing.url.as_deref(), key(&nothing)), (Some(DEFAULT_URL), "from-data"));
        home.file(
            "etc.toml",
            "url = \"https://etc\"\napi_key = \"from-etc\"\nconnect_timeout = \"3s\"",
        );
        let etc = discover(Settings::default(), &home.around(&[])).unwrap();
        assert_eq!((etc.url.as_deref(), key(&etc)), (Some("https://etc"), "from-etc"));
        home.file("client.toml", "api_key_file = \"mine\"");
        home.file("mine", "from-home");
        let own = discover(Settings::default(), &home.around(&[])).unwrap();
        assert_eq!((own.url.as_deref(), key(&own)), (Some("https://etc"), "from-home"));
        assert_eq!(own.connect_timeout, Some(Duration::from_secs(3)));
        let around = home.around(&[("TENURE_API_KEY", "from-env"), ("TENURE_URL", "http://env")]);
        assert_eq!(key(&discover(Settings::default(), &around).unwrap()), "from-env");
        let given = Settings { api_key: ApiKey::new("given"), ..Settings::default() };
        let all = discover(given, &around).unwrap();
        assert_eq!((all.url.as_deref(), key(&all)), (Some("http://env"), "given"));
    }

    #[test]
    fn the_key_beside_a_server_is_never_sent_elsewhere() {
        let home = Home::new();
        home.file("api-key", "local\n");
        let at = |url: &str| {
            let given = Settings { url: Some(url.into()), ..Settings::default() };
            discover(given, &home.around(&[])).unwrap().api_key.is_some()
        };
        assert!(at("http://127.0.0.1:1") && at("http://localhost") && at("https://[::1]:7"));
        assert!(!at("http://example.org"));
        assert!(!at("http://127.0.0.1:1,http://example.org"));
        assert!(!at("http://127.0.0.1.example.org"));
    }

    #[test]
    fn a_wrong_file_is_named_and_its_key_is_not_repeated() {
        let home = Home::new();
        home.file("client.toml", "api_key = \"hush\" extra");
        let said = discover(Settings::default(), &home.around(&[])).unwrap_err().to_string();
        assert!(said.contains("client.toml") && !said.contains("hush"), "{said}");
        home.file("client.toml", "keys = 1");
        let said = discover(Settings::default(), &home.around(&[])).unwrap_err().to_string();
        assert!(said.contains("keys"), "{said}");
        let around = home.around(&[("TENURE_API_KEY_FILE", "/nowhere/at/all")]);
        assert!(from_variables(&around).is_err());
    }

    #[test]
    fn a_key_is_never_shown() {
        let key = ApiKey::new("  hush ").unwrap();
        assert_eq!((key.secret(), format!("{key:?}").contains("hush")), ("hush", false));
        assert_eq!(ApiKey::new("two words"), None);
        assert_eq!(ApiKey::new("\n"), None);
    }

    #[test]
    fn the_default_note_names_this_process() {
        let note = default_note();
        assert!(note.contains('@') && note.contains(&std::process::id().to_string()), "{note}");
    }
}
