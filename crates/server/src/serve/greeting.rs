//! What a person sees who starts a server.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use tenure_log::Durability;

use super::Service;
use super::secret::Secret;
use crate::config::{Config, DATA, PORT};

/// Prints where it serves, the key if it was made, and how to try it.
pub(super) fn print(config: &Config, service: &Service) {
    let text = text(config, service);
    // A closed standard output is no reason to stop.
    let _ = io::stdout().write_all(text.as_bytes());
    let _ = io::stdout().flush();
}

fn text(config: &Config, service: &Service) -> String {
    let mut text = String::new();
    let scheme = if service.is_encrypted() { "https" } else { "http" };
    let version = env!("CARGO_PKG_VERSION");
    for door in service.doors() {
        let what = if door.admin { "operators at" } else { "serving at" };
        let address = match door.address {
            Some(address) => format!("{scheme}://{address}"),
            None => door.name.clone(),
        };
        text += &format!("tenure {version} {what} {address}\n");
    }
    text += &match config.settings.durability {
        Durability::Disk => format!("data in {}\n", config.data.display()),
        Durability::Memory => "data in memory only: it is gone when this process ends\n".to_owned(),
    };
    if let Some(Secret { text: key, file: Some(file), new }) = service.secret() {
        text += &match new {
            true => format!("API key {key} (made now, kept in {})\n", file.display()),
            false => format!("API key in {}\n", file.display()),
        };
    }
    if !config.settings.doubledutch.enabled {
        let around = surroundings(config, service, scheme);
        text += &format!("try it: {around}tenure lock demo -- echo \"only one of us at a time\"\n");
    }
    text
}

/// What the command line has to be told to find this server and its key, ready to be pasted into a shell.
fn surroundings(config: &Config, service: &Service, scheme: &str) -> String {
    let mut around = String::new();
    let public = service.doors().iter().find_map(|door| door.address.filter(|_| !door.admin));
    if let Some(address) =
        public.map(reached_from_here).filter(|at| is_elsewhere(at) || scheme != "http")
    {
        around += &format!("TENURE_URL={scheme}://{address} ");
    }
    match service.secret() {
        Some(Secret { file: Some(_), .. }) if config.data == Path::new(DATA) => {}
        Some(Secret { file: Some(file), .. }) => {
            around += &format!("TENURE_API_KEY_FILE={} ", file.display());
        }
        _ => around += "TENURE_API_KEY=… ",
    }
    around
}

/// An address that stands for all of this machine's is nowhere to connect to: what stands for the machine itself is.
fn reached_from_here(address: SocketAddr) -> SocketAddr {
    let here = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(here, address.port())
}

/// Whether the command line would not look there by itself.
fn is_elsewhere(address: &SocketAddr) -> bool {
    *address != SocketAddr::from(([127, 0, 0, 1], PORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_tried_can_be_connected_to() {
        for (listens, reached) in [
            ("0.0.0.0:7420", "127.0.0.1:7420"),
            ("[::]:80", "[::1]:80"),
            ("10.0.0.5:7420", "10.0.0.5:7420"),
        ] {
            let reached_from_here = reached_from_here(listens.parse().unwrap());
            assert_eq!(reached_from_here, reached.parse().unwrap(), "{listens}");
        }
    }
}
