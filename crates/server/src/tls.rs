//! Certificates: read, checked, read again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tenure_core::KeyName;
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::TlsFiles;

/// The certificates in use.
pub(crate) struct Tls {
    files: TlsFiles,
    current: ArcSwap<Loaded>,
    stamps: Mutex<Stamps>,
}

struct Loaded {
    config: Arc<ServerConfig>,
    /// Seconds since 1970.
    expires_at: i64,
}

/// When each file was last changed, as far as can be told.
type Stamps = [Option<SystemTime>; 3];

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read as PEM.
    #[error("cannot read {}: {error}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        error: pem::Error,
    },
    /// A file has no certificate in it.
    #[error("{} has no certificate in it", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The certificate and key do not go together, or are of a kind that is not supported.
    #[error("the certificate in {} and the key in {} cannot be used: {error}", cert.display(), key.display())]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        error: rustls::Error,
    },
    /// The authority of client certificates cannot be used.
    #[error("the authority in {} cannot be used: {error}", path.display())]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// Why.
        error: VerifierBuilderError,
    },
}

impl Tls {
    /// Reads the files.
    pub(crate) fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let stamps = Mutex::new(stamps(&files));
        let current = ArcSwap::from_pointee(load(&files)?);
        Ok(Tls { files, current, stamps })
    }

    /// Reads the files again. If they are not good, the old certificates stay.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        *self.stamps.lock() = stamps(&self.files);
        self.current.store(Arc::new(load(&self.files)?));
        Ok(())
    }

    /// Whether a file changed since it was last read.
    pub(crate) fn has_changed(&self) -> bool {
        *self.stamps.lock() != stamps(&self.files)
    }

    /// For the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load().config.clone())
    }

    /// Seconds until the certificate runs out; negative afterwards.
    pub(crate) fn expires_in(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.current.load().expires_at - i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
    }
}

fn stamps(files: &TlsFiles) -> Stamps {
    let stamp = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
    [stamp(&files.cert), stamp(&files.key), files.client_ca.as_deref().and_then(stamp)]
}

/// The one provider of cryptography in this program, named explicitly: two in one program would make rustls panic.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn load(files: &TlsFiles) -> Result<Loaded, TlsError> {
    let chain = certificates(&files.cert)?;
    let expires_at = expiry(&chain[0]).unwrap_or(i64::MAX);
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| TlsError::Pem { path: files.key.clone(), error })?;
    let unusable =
        |error| TlsError::Unusable { cert: files.cert.clone(), key: files.key.clone(), error };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(client_verifier(path)?),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Loaded { config: Arc::new(config), expires_at })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |error| TlsError::Pem { path: path.to_owned(), error };
    let chain = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    if chain.is_empty() { Err(TlsError::Empty { path: path.to_owned() }) } else { Ok(chain) }
}

/// Asks for a client certificate; a client without one may still have a key.
fn client_verifier(
    path: &Path,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates(path)?);
    if added == 0 {
        return Err(TlsError::Empty { path: path.to_owned() });
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| TlsError::ClientCa { path: path.to_owned(), error })
}

/// Seconds since 1970 at which a certificate runs out.
fn expiry(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

/// The common name of a client certificate that the handshake has verified. With two of them there is no telling
/// which one the authority meant: none.
pub(crate) fn subject(certificate: &CertificateDer<'_>) -> Option<KeyName> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let mut names = parsed.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?;
    if names.next().is_some() { None } else { KeyName::new(name).ok() }
}
