//! `tenure doubledutch`: a server that is told what DoubleDutch was told, and little else.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};

use super::command_line::{CommandLine, USAGE};
use crate::config::{ApiKey, Config, ConfigError, Overrides};
use crate::serve::{Exit, serve};

/// The file whose first line is the API key.
const API_KEY_FILE: &str = "/config.txt";
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
    let file = || ApiKey::File(PathBuf::from(API_KEY_FILE));
    Overrides {
        // An empty path: this server does not read the file that `tenure serve` on the same machine has.
        config: Some(around.file.clone().unwrap_or_default()),
        listen: Some(vec![format!("0.0.0.0:{}", line.port)]),
        data: around.data.clone(),
        api_key: Some(line.api_key.clone().map_or_else(file, ApiKey::Given)),
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
/// told to stop. The exit status is 64 for a wrong line, else as of `tenure serve`.
///
/// It has a runtime of its own, because how many threads that has is the line's to say.
pub fn run(arguments: Vec<String>) -> ExitCode {
    if arguments.first().is_some_and(|first| first == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
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
    match runtime(line.threads) {
        Ok(runtime) => ExitCode::from(runtime.block_on(serve(config)).code()),
        Err(error) => {
            eprintln!("tenure doubledutch: cannot start threads: {error}");
            ExitCode::from(Exit::Unreachable.code())
        }
    }
}

fn refused(why: &str) -> ExitCode {
    eprintln!("tenure doubledutch: {why}");
    ExitCode::from(Exit::Usage.code())
}

fn runtime(threads: Option<usize>) -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    builder.enable_all().build()
}

#[cfg(test)]
mod tests {
    use tenure_log::Durability;

    use super::*;
    use crate::config::Listen;

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
