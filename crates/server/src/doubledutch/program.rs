//! `tenure doubledutch`: a server that is told what DoubleDutch was told, and little else.

use std::path::PathBuf;
use std::thread;

use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::command_line::{CommandLine, USAGE};
use crate::config::{Config, ConfigError, Overrides};
use crate::serve::{Exit, serve};

/// The file whose first line is the API key.
const API_KEY_FILE: &str = "/config.txt";
/// A file that says nothing: this server does not read the one that `tenure serve` on the same machine has.
const NO_FILE: &str = "/dev/null";
/// Connections at once. Each waiting client has one of its own, and behind a container's network all of them come from
/// one address.
const CONNECTIONS_MAX: usize = 20_000;

/// What the environment says to this command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `TENURE_DATA`: where the log is.
    pub data: Option<PathBuf>,
    /// `TENURE_CONFIG`: a file for what the line cannot say (log, limits, more keys).
    pub file: Option<PathBuf>,
}

impl Surroundings {
    /// The environment of this process. An empty variable counts as none.
    pub fn of_process() -> Self {
        let path =
            |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Surroundings { data: path("TENURE_DATA"), file: path("TENURE_CONFIG") }
    }
}

/// The configuration of the server that a command line asks for.
pub fn config(line: &CommandLine, around: &Surroundings) -> Result<Config, ConfigError> {
    let mut config = Config::load(&overrides(line, around))?;
    if around.file.is_none() {
        config.connections.total_max = CONNECTIONS_MAX;
        config.connections.per_address_max = CONNECTIONS_MAX;
    }
    Ok(config)
}

fn overrides(line: &CommandLine, around: &Surroundings) -> Overrides {
    let key_file = line.api_key.is_none().then(|| PathBuf::from(API_KEY_FILE));
    Overrides {
        config: Some(around.file.clone().unwrap_or_else(|| PathBuf::from(NO_FILE))),
        listen: Some(vec![format!("0.0.0.0:{}", line.port)]),
        data: around.data.clone(),
        api_key: line.api_key.clone(),
        api_key_file: key_file,
        tls_cert: (!line.plain).then(|| line.certificate.clone()),
        tls_key: (!line.plain).then(|| line.private_key.clone()),
        insecure: Some(line.plain),
        name: Some(line.name.clone()),
        doubledutch: Some(true),
        status_tokens: Some(line.status_tokens),
        weak_keys: true,
        ..Overrides::default()
    }
}

/// Runs the command line after `doubledutch` (or after the program's name, if that is `server`) until the server is
/// told to stop. The number is the exit status: 64 for a wrong line, else as of `tenure serve`.
pub async fn run(arguments: Vec<String>) -> u8 {
    if arguments.first().is_some_and(|first| first == "--help") {
        println!("{USAGE}");
        return Exit::Clean.code();
    }
    let line = match CommandLine::parse(&arguments) {
        Ok(line) => line,
        Err(bad) => return refused(&format!("{bad}\n{USAGE}")),
    };
    let config = match config(&line, &Surroundings::of_process()) {
        Ok(config) => config,
        Err(error) => return refused(&error.to_string()),
    };
    if line.api_key.is_some() {
        eprintln!(
            "tenure doubledutch: a key on the command line is visible in `ps`; {API_KEY_FILE} is not"
        );
    }
    on_threads(line.threads, config).await.code()
}

fn refused(why: &str) -> u8 {
    eprintln!("tenure doubledutch: {why}");
    Exit::Usage.code()
}

/// Serves on a runtime of its own, because how many threads it has is the line's to say.
async fn on_threads(threads: Option<usize>, config: Config) -> Exit {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    let (tell, told) = oneshot::channel();
    let serving = thread::Builder::new().name("doubledutch".to_owned()).spawn(move || {
        let runtime = builder.build()?;
        // Nobody listens any more only if the caller was dropped, and then nobody wants to know.
        let _ = tell.send(runtime.block_on(serve(config)));
        Ok::<(), std::io::Error>(())
    });
    match (serving, told.await) {
        (Ok(_), Ok(exit)) => exit,
        _ => {
            eprintln!("tenure doubledutch: the system has no room for its threads");
            Exit::Unreachable
        }
    }
}

#[cfg(test)]
mod tests {
    use tenure_log::Durability;

    use super::*;
    use crate::config::{ApiKey, Listen};

    #[test]
    fn a_port_alone_serves_https_to_all_addresses_with_the_key_of_the_file() {
        let config = config(&CommandLine::on_port(8000), &Surroundings::default()).unwrap();
        assert_eq!(config.listen, [Listen::Tcp("0.0.0.0:8000".parse().unwrap())]);
        assert_eq!(config.api_key, Some(ApiKey::File(API_KEY_FILE.into())));
        let tls = config.tls.unwrap();
        assert_eq!(tls.cert, PathBuf::from("/certificate.crt"));
        assert_eq!(tls.key, PathBuf::from("/privateKey.key"));
        assert!(!config.insecure && config.weak_keys);
        assert_eq!(config.data, PathBuf::from("./tenure-data"));
        assert_eq!(config.settings.durability, Durability::Disk);
        assert!(config.settings.doubledutch.enabled && config.settings.doubledutch.status_tokens);
        assert!(config.settings.name.starts_with("DoubleDutch/v"));
        assert!(config.connections.per_address_max >= 10_000, "waiters behind one address fit");
    }

    #[test]
    fn h_0_is_plain_http_in_so_many_words() {
        let line = CommandLine {
            plain: true,
            api_key: Some("test".into()),
            status_tokens: false,
            name: "n".into(),
            ..CommandLine::on_port(1)
        };
        let around = Surroundings { data: Some("/data".into()), file: None };
        let config = config(&line, &around).unwrap();
        assert!(config.insecure && config.tls.is_none());
        assert_eq!(config.api_key, Some(ApiKey::Given("test".into())));
        assert_eq!(config.data, PathBuf::from("/data"));
        assert!(!config.settings.doubledutch.status_tokens);
        assert_eq!(config.settings.name, "n");
    }
}
