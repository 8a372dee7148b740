//! A key in clear: made at the first start, read from a file, judged before it is used.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tenure_core::Lease;

/// The file in the data directory with the key that was made there.
const FILE_NAME: &str = "api-key";
/// Longest file that is read for a key.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Shortest key that is taken.
const KEY_BYTES_MIN: usize = 16;
/// Keys that stand in examples of DoubleDutch and others.
const SAMPLES: [&str; 4] =
    ["change this api key", "change_this_api_key", "change-this-api-key", "myRandomApiKeyString"];

/// The key of a data directory.
pub(crate) struct Made {
    /// The secret.
    pub(crate) secret: String,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Whether it was made just now.
    pub(crate) new: bool,
}

/// A fresh secret: `tenure-` (so that scanners for leaked secrets can know it) and about 190 random bits.
pub fn new_secret() -> Result<String, getrandom::Error> {
    let mut dice = [0; 32];
    getrandom::fill(&mut dice)?;
    Ok(format!("tenure-{}", Lease::from_random(dice).as_str()))
}

/// The key of a data directory, made there if there is none. Only one process may use the directory meanwhile.
pub(crate) fn read_or_make(data: &Path) -> io::Result<Made> {
    let path = data.join(FILE_NAME);
    match read_first_line(&path) {
        Ok(secret) if !secret.is_empty() => return Ok(Made { secret, path, new: false }),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // An empty file is what a crash between making and writing left.
        Ok(_) | Err(_) => {}
    }
    fs::create_dir_all(data)?;
    let secret = new_secret().map_err(|error| io::Error::other(error.to_string()))?;
    let fresh = data.join("api-key.new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    fs::rename(&fresh, &path)?;
    File::open(data)?.sync_all()?;
    Ok(Made { secret, path, new: true })
}

/// The first line of a file without the white space around it.
pub(crate) fn read_first_line(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Why a key is too weak to protect anything, for the person who chose it.
pub(crate) fn weakness(secret: &str) -> Option<String> {
    if SAMPLES.contains(&secret) {
        return Some("is the sample from the documentation, which everybody knows".to_owned());
    }
    if secret.len() < KEY_BYTES_MIN {
        let bytes = secret.len();
        return Some(format!("has {bytes} characters, at least {KEY_BYTES_MIN} are needed"));
    }
    if secret.bytes().any(|byte| !(0x21..0x7f).contains(&byte)) {
        return Some("has a blank or a character that does not fit into an HTTP header".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let first = read_or_make(dir.path()).unwrap();
        assert!(first.new && weakness(&first.secret).is_none());
        assert_eq!(fs::metadata(&first.path).unwrap().permissions().mode() & 0o777, 0o600);
        let second = read_or_make(dir.path()).unwrap();
        assert!(!second.new);
        assert_eq!(second.secret, first.secret);
    }

    #[test]
    fn a_key_file_that_a_crash_left_empty_is_filled() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE_NAME), "").unwrap();
        assert!(read_or_make(dir.path()).unwrap().new);
    }

    #[test]
    fn short_and_sample_keys_are_weak() {
        assert!(weakness("secret").is_some());
        assert!(weakness("change this api key").is_some());
        assert!(weakness("sixteen characters long").is_some());
        assert!(weakness("0123456789abcdef").is_none());
    }
}
