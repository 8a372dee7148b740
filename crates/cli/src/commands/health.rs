//! `tenure health`: whether a server serves, for the health checks of containers and supervisors.

mod probe;

use clap::Args;
use tenure::Error;
use tenure::config::DEFAULT_URL;
use tenure_server::doubledutch::CommandLine;

use crate::arguments::Global;
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::output::{Output, clean};
use crate::reaching;
use probe::Door;

/// Ask whether the server is ready (exit 0) or not (exit 1)
///
/// A server on this machine is asked without a key, and its certificate is not checked: a self-signed one, or one for
/// another name, is no sign of ill health. A server elsewhere is asked as by every other command. In a container whose
/// first process is `server PORT …`, that server is asked.
#[derive(Args, Debug)]
pub(crate) struct Arguments {}

/// Asks.
pub(crate) fn run(_: Arguments, global: &Global) -> Result<(), Failure> {
    let connection = Connection::new(global)?;
    let url = connection.settings().url.clone().unwrap_or_else(|| DEFAULT_URL.to_owned());
    let url = if url == DEFAULT_URL { first_process().unwrap_or(url) } else { url };
    connection.run(async |connection| {
        let answer = match Door::on_this_machine(&url) {
            Some(door) => probe::ask(&door).await,
            None => {
                match connection.connect().await?.admin().ready().await {
                    // A question changes nothing: what matters is that no answer came.
                    Err(Error::Unknown { why, .. } | Error::Unavailable { why, .. }) => {
                        Err(reaching::plainly(&why))
                    }
                    answer => answer.map_err(|error| error.to_string()),
                }
            }
        };
        tell(&url, answer, connection.out())
    })
}

fn tell(url: &str, answer: Result<(), String>, out: &Output) -> Result<(), Failure> {
    if out.json {
        out.json(&serde_json::json!({ "ready": answer.is_ok(), "url": url, "reason": answer.as_ref().err() }))?;
        return answer.map_err(|_| Failure::silent(Exit::No));
    }
    match answer {
        Ok(()) if out.quiet => Ok(()),
        Ok(()) => out.line(&format!("{} is ready", clean(url))),
        Err(_) if out.quiet => Err(Failure::silent(Exit::No)),
        Err(why) => Err(Failure::new(Exit::No, format!("{url} is not ready: {why}"))),
    }
}

/// The address of a server that is the first process, as in its container image.
fn first_process() -> Option<String> {
    let line = std::fs::read("/proc/1/cmdline").ok()?;
    let line = String::from_utf8(line).ok()?;
    let words: Vec<String> = line.split_terminator('\0').map(str::to_owned).collect();
    address_of(&words)
}

fn address_of(words: &[String]) -> Option<String> {
    let (program, words) = words.split_first()?;
    let words = match (program.rsplit('/').next()?, words.split_first()) {
        ("server", _) => words,
        (_, Some((first, rest))) if first == "doubledutch" => rest,
        _ => return None,
    };
    let line = CommandLine::parse(words).ok()?;
    let scheme = if line.plain { "http" } else { "https" };
    Some(format!("{scheme}://127.0.0.1:{}", line.port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(line: &str) -> Option<String> {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        address_of(&words)
    }

    #[test]
    fn the_server_of_the_image_is_found_by_its_command_line() {
        assert_eq!(address("/server 8000").as_deref(), Some("https://127.0.0.1:8000"));
        assert_eq!(address("/tenure doubledutch 80 h 0").as_deref(), Some("http://127.0.0.1:80"));
        assert_eq!(address("/sbin/init splash"), None);
        assert_eq!(address("/server"), None);
    }
}
