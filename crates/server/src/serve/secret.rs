//! Which keys the server starts with.

use std::io;
use std::path::PathBuf;

use tenure_core::KeyName;

use super::StartError;
use crate::config::{ApiKey, Config, ConfigError, KeyConfig};
use crate::keys::{full_key, read_first_line, read_or_make, weakness};

/// The name of a key that was given or made without one.
const NAME: &str = "api-key";

/// A key in clear.
pub(crate) struct Secret {
    /// The key.
    pub(crate) text: String,
    /// Where it was made, if that was just now or earlier in the data directory.
    pub(crate) file: Option<PathBuf>,
    /// Whether it was made just now.
    pub(crate) new: bool,
}

/// The keys of the configuration, and the one in clear among them. If there is none at all, one is made in the data
/// directory, unless `others` (made at run time) are there and that file is gone: its owner took it away.
pub(super) fn keys(
    config: &Config,
    others: bool,
) -> Result<(Vec<KeyConfig>, Option<Secret>), StartError> {
    let mut keys = config.keys.clone();
    let secret = match &config.api_key {
        Some(given) => Some(given_key(given, config.weak_keys)?),
        None if !keys.is_empty() => None,
        None if others && !config.data.join(NAME).exists() => None,
        None => {
            let made = read_or_make(&config.data).map_err(StartError::Key)?;
            Some(Secret { text: made.secret, file: Some(made.path), new: made.new })
        }
    };
    if let Some(secret) = &secret {
        let name = KeyName::new(NAME).expect("it is a key's name");
        keys.retain(|key| key.name != name);
        keys.push(full_key(&name, &secret.text));
    }
    Ok((keys, secret))
}

fn given_key(given: &ApiKey, weak_is_fine: bool) -> Result<Secret, StartError> {
    let text = match given {
        ApiKey::Given(text) => text.clone(),
        ApiKey::File(path) => read_first_line(path).map_err(|error| {
            StartError::Key(io::Error::new(error.kind(), format!("{}: {error}", path.display())))
        })?,
    };
    if let Some(why) = weakness(&text) {
        if !weak_is_fine || text.is_empty() {
            let why = format!("this key {why}; `openssl rand -hex 24` prints a good one");
            return Err(ConfigError::Value { what: "api-key".to_owned(), why }.into());
        }
        tracing::warn!(event = "weak_key", why);
    }
    Ok(Secret { text, file: None, new: false })
}
