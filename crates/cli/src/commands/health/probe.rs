//! One question to a server on this machine: no key, no trust, no second try. (Everything else goes through the
//! library, which checks certificates and insists; a probe must do neither.)

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature,
    verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Longest time for the answer: a supervisor asks again soon.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Most bytes read of the answer.
const ANSWER_BYTES_MAX: u64 = 4096;

/// Where a server on this machine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Door {
    host: String,
    port: u16,
    encrypted: bool,
}

impl Door {
    /// `None` if the URL is of another machine, or of none.
    pub(super) fn on_this_machine(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let encrypted = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = rest.split(['/', '?']).next()?;
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, rest) = v6.split_once(']')?;
                (host, rest.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let local = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        let port = match port {
            Some(port) => port.parse().ok()?,
            None => {
                if encrypted {
                    443
                } else {
                    80
                }
            }
        };
        local.then(|| Door { host: host.to_owned(), port, encrypted })
    }
}

/// Asks `/readyz` once; what is in the way, in words.
pub(super) async fn ask(door: &Door) -> Result<(), String> {
    let answer = tokio::time::timeout(ANSWER_MAX, connect_and_ask(door)).await;
    let answer = answer.map_err(|_| format!("no answer within {} s", ANSWER_MAX.as_secs()))??;
    ready(&answer)
}

async fn connect_and_ask(door: &Door) -> Result<String, String> {
    let stream = TcpStream::connect((door.host.as_str(), door.port)).await;
    let stream = stream.map_err(|error| error.to_string())?;
    if !door.encrypted {
        return exchange(stream, door).await;
    }
    let name = ServerName::try_from(door.host.clone()).map_err(|error| error.to_string())?;
    let connector = TlsConnector::from(Arc::new(trusting()?));
    let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
    exchange(stream, door).await
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    door: &Door,
) -> Result<String, String> {
    let host = if door.host.contains(':') { format!("[{}]", door.host) } else { door.host.clone() };
    let request =
        format!("GET /readyz HTTP/1.1\r\nHost: {host}:{}\r\nConnection: close\r\n\r\n", door.port);
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    let read = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await;
    // A connection that is cut behind the answer has answered.
    match read {
        Err(error) if answer.is_empty() => Err(error.to_string()),
        _ => Ok(String::from_utf8_lossy(&answer).into_owned()),
    }
}

/// Whether the answer says so.
fn ready(answer: &str) -> Result<(), String> {
    let mut lines = answer.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    if status == "200" {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let problem: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let detail = problem.as_ref().and_then(|problem| problem.get("detail")?.as_str());
    Err(detail.map_or_else(|| format!("it answered {status}"), str::to_owned))
}

fn trusting() -> Result<ClientConfig, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let anyone = Anyone(provider.signature_verification_algorithms);
    let builder = ClientConfig::builder_with_provider(provider as Arc<CryptoProvider>);
    let builder =
        builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(anyone));
    Ok(builder.with_no_client_auth())
}

/// Takes every certificate: nothing secret is said over this connection, and it does not leave the machine.
#[derive(Debug)]
struct Anyone(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(host: &str, port: u16, encrypted: bool) -> Option<Door> {
        Some(Door { host: host.to_owned(), port, encrypted })
    }

    #[test]
    fn only_a_server_of_this_machine_is_probed() {
        let of = Door::on_this_machine;
        assert_eq!(of("https://127.0.0.1:8000"), door("127.0.0.1", 8000, true));
        assert_eq!(of("http://localhost"), door("localhost", 80, false));
        assert_eq!(of("https://[::1]:7420/x"), door("::1", 7420, true));
        assert_eq!(of("https://example.org"), None);
        assert_eq!(of("https://127.0.0.1.example.org"), None);
        assert_eq!(of("http://a,http://b"), None);
        assert_eq!(of("file:data"), None);
    }

    #[test]
    fn an_answer_other_than_200_says_why() {
        assert_eq!(ready("HTTP/1.1 200 OK\r\n\r\nok"), Ok(()));
        let problem = "HTTP/1.1 503 x\r\n\r\n{\"detail\":\"the node drains\"}";
        assert_eq!(ready(problem), Err("the node drains".to_owned()));
        assert_eq!(ready("SSH-2.0"), Err("it answered ".to_owned()));
    }
}
