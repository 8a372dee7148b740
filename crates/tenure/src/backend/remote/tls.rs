//! Whom to trust and who we are.

use std::path::{Path, PathBuf};

use reqwest::{Certificate, ClientBuilder, Identity};

/// Certificates for TLS.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    /// A file with the certificates that sign the server's; absent: those of the system.
    pub(crate) ca: Option<PathBuf>,
    /// Files with this client's certificate and its private key.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
}

impl Credentials {
    pub(super) fn apply(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, String> {
        if let Some(path) = &self.ca {
            let certificates = Certificate::from_pem_bundle(&read(path)?);
            let certificates = certificates.map_err(|error| wrong(path, &error))?;
            if certificates.is_empty() {
                return Err(format!("{} has no certificate", path.display()));
            }
            builder = builder.tls_certs_only(certificates);
        }
        if let Some((certificate, key)) = &self.client {
            let mut both = read(certificate)?;
            both.push(b'\n');
            both.extend(read(key)?);
            let identity = Identity::from_pem(&both).map_err(|error| wrong(certificate, &error))?;
            builder = builder.identity(identity);
        }
        Ok(builder)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn wrong(path: &Path, error: &reqwest::Error) -> String {
    format!("{}: {}", path.display(), super::with_sources(error))
}
