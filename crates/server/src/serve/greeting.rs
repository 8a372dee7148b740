//! What a person sees who starts a server.

use std::io::{self, Write};

use tenure_log::Durability;

use super::Service;
use crate::config::Config;

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
    let Some(secret) = service.secret() else { return text };
    let Some(file) = &secret.file else { return text };
    if secret.new {
        text += &format!("API key {} (made now, kept in {})\n", secret.text, file.display());
    } else {
        text += &format!("API key in {}\n", file.display());
    }
    text += "try it: tenure lock demo -- echo \"only one of us at a time\"\n";
    text
}
