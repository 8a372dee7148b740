//! `tenure serve`: the server.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};
use serde_json::{Value, json};
use tenure_server::{ApiKey, Config, Listen, Overrides, TlsFiles};
use tokio::runtime::Builder;

use crate::arguments::Global;
use crate::failure::{Exit, Failure};
use crate::output::{self, Cell, Output, Style};

/// Run a server
///
/// Without a key it makes one in the data directory, readable by its owner only, and clients on this machine find it.
/// SIGTERM drains and ends it, SIGHUP reads certificates, keys and the log level again.
///
/// Exit status: 0 stopped; 64 configuration; 65 data damaged or foreign; 66 data in use; 69 disk does not answer; 71
/// address taken.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  tenure serve\n  tenure serve --listen 0.0.0.0:7420 --tls-cert server.crt --tls-key server.key --data /var/lib/tenure"
)]
pub(crate) struct Arguments {
    /// Where to listen, also several times: HOST:PORT or unix:PATH [default: 127.0.0.1:7420]
    #[arg(
        long,
        value_name = "ADDRESS",
        value_delimiter = ',',
        env = "TENURE_LISTEN",
        hide_env = true
    )]
    listen: Option<Vec<String>>,
    /// Where metrics and operators' routes are, if not with the others
    #[arg(long, value_name = "ADDRESS", env = "TENURE_ADMIN_LISTEN", hide_env = true)]
    admin_listen: Option<String>,
    /// The directory of the log [default: ./tenure-data]
    #[arg(long, value_name = "DIR", env = "TENURE_DATA", hide_env = true)]
    data: Option<PathBuf>,
    /// Whether what was acknowledged outlives the process: disk or memory [default: disk]
    #[arg(long, value_name = "KIND", env = "TENURE_DURABILITY", hide_env = true)]
    durability: Option<String>,
    /// An API key for everything (visible to `ps`: better --api-key-file or TENURE_API_KEY)
    #[arg(long, value_name = "KEY", conflicts_with = "api_key_file")]
    api_key: Option<String>,
    /// The certificate chain, in PEM
    #[arg(long, value_name = "FILE", env = "TENURE_TLS_CERT", hide_env = true)]
    tls_cert: Option<PathBuf>,
    /// Its private key, in PEM
    #[arg(long, value_name = "FILE", env = "TENURE_TLS_KEY", hide_env = true)]
    tls_key: Option<PathBuf>,
    /// Ask for client certificates that this authority signed
    #[arg(long, value_name = "FILE", env = "TENURE_CLIENT_CA", hide_env = true)]
    client_ca: Option<PathBuf>,
    /// Serve plain HTTP beyond loopback
    #[arg(long, env = "TENURE_INSECURE", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    insecure: bool,
    /// The configuration file [default: /etc/tenure/tenure.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "TENURE_CONFIG", hide_env = true)]
    config: Option<PathBuf>,
    /// Check the configuration, print what would be used, and end
    #[arg(long)]
    check: bool,
    /// How long holders may renew after the signal to stop [default: 30s]
    #[arg(long, value_name = "DUR", env = "TENURE_DRAIN", hide_env = true)]
    drain: Option<String>,
}

/// Runs it until it is told to stop.
pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let check = arguments.check;
    if arguments.api_key.is_some() && !global.quiet {
        eprintln!("tenure: --api-key is visible in `ps`: better --api-key-file or TENURE_API_KEY");
    }
    let config = Config::load(&overrides(arguments, global))
        .map_err(|error| Failure::usage(error.to_string()))?;
    if check {
        tenure_server::check(&config)
            .map_err(|error| Failure::new(Exit::Given(error.exit().code()), error.to_string()))?;
        return show(&config, &Output::new(global.json, global.quiet, global.verbose));
    }
    let runtime = Builder::new_multi_thread().enable_all().build();
    let cannot = |error| Failure::new(Exit::Unavailable, format!("cannot start threads: {error}"));
    let exit = runtime.map_err(cannot)?.block_on(tenure_server::serve(config));
    match exit.code() {
        0 => Ok(()),
        code => Err(Failure::silent(Exit::Given(code))),
    }
}

fn overrides(arguments: Arguments, global: &Global) -> Overrides {
    // What stands in an argument beats the environment as a whole: a key there must not meet a file here.
    let by_flag = arguments.api_key.is_some() || global.api_key_file.is_some();
    let variable =
        |name: &str| std::env::var_os(name).filter(|value| !by_flag && !value.is_empty());
    let from_environment = variable("TENURE_API_KEY").and_then(|value| value.into_string().ok());
    let file_from_environment =
        variable("TENURE_API_KEY_FILE").filter(|_| from_environment.is_none()).map(PathBuf::from);
    let given = arguments.api_key.or(from_environment);
    let file = global.api_key_file.clone().or(file_from_environment);
    Overrides {
        config: arguments.config,
        listen: arguments.listen,
        admin_listen: arguments.admin_listen,
        data: arguments.data,
        durability: arguments.durability,
        api_key: given.map(ApiKey::Given).or(file.map(ApiKey::File)),
        tls_cert: arguments.tls_cert,
        tls_key: arguments.tls_key,
        client_ca: arguments.client_ca,
        insecure: arguments.insecure.then_some(true),
        drain: arguments.drain,
        credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
        ..Overrides::default()
    }
}

/// What would be used, in the words of the configuration file, without a key in it.
fn show(config: &Config, out: &Output) -> Result<(), Failure> {
    let settings = used(config);
    if out.json {
        let object: serde_json::Map<_, _> =
            settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        return out.json(&object);
    }
    for (name, value) in settings {
        out.cells(&[
            Cell::new(format!("{name:<32}"), Style::Faint),
            "=".into(),
            value.to_string().into(),
        ])?;
    }
    Ok(())
}

fn used(config: &Config) -> Vec<(&'static str, Value)> {
    let Config { connections, settings, log, tls, .. } = config;
    let listen: Vec<_> = config.listen.iter().map(address).collect();
    let keys: Vec<_> = config.keys.iter().map(|key| key.name.to_string()).collect();
    let api_key = match &config.api_key {
        Some(ApiKey::Given(_)) => json!("given"),
        Some(ApiKey::File(path)) => json!(path),
        None if keys.is_empty() => json!("made in the data directory"),
        None => Value::Null,
    };
    let tls = |file: fn(&TlsFiles) -> Option<&PathBuf>| json!(tls.as_ref().and_then(file));
    vec![
        ("file", json!(config.file)),
        ("server.listen", json!(listen)),
        ("server.admin_listen", json!(config.admin_listen.as_ref().map(address))),
        ("server.insecure", json!(config.insecure)),
        ("server.name", json!(settings.name)),
        ("server.hold", seconds(settings.hold)),
        ("server.header_timeout", seconds(connections.header_timeout)),
        ("server.idle_timeout", seconds(connections.idle_timeout)),
        ("server.drain", seconds(settings.drain)),
        ("server.cors_origins", json!(settings.cors_origins)),
        ("tls.cert", tls(|files| Some(&files.cert))),
        ("tls.key", tls(|files| Some(&files.key))),
        ("tls.client_ca", tls(|files| files.client_ca.as_ref())),
        ("backend.data", json!(config.data)),
        ("backend.durability", json!(settings.durability.as_str())),
        ("limits.connections", json!(connections.total_max)),
        ("limits.connections_per_address", json!(connections.per_address_max)),
        ("limits.waiters", json!(settings.waiters_max)),
        ("limits.sessions", json!(settings.sessions_max)),
        ("limits.changes_kept", seconds(config.changes_kept)),
        ("keys", json!(keys)),
        ("api-key", api_key),
        ("doubledutch.enabled", json!(settings.doubledutch.enabled)),
        ("doubledutch.status_tokens", json!(settings.doubledutch.status_tokens)),
        ("log.level", json!(log.level)),
        ("log.format", json!(format!("{:?}", log.format).to_lowercase())),
        ("log.slow", seconds(settings.slow)),
        ("log.access", json!(settings.access_log)),
    ]
}

fn seconds(span: Duration) -> Value {
    json!(output::span(span))
}

fn address(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(address) => address.to_string(),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    }
}
