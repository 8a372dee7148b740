//! Encrypted doors.

use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use reqwest::{Certificate, Client, Identity, StatusCode};
use tenure_server::{Service, TlsFiles};

use super::{PATIENCE, closed_after, eventually};
use crate::fixture::{KEY, Server, config};

/// An authority, and what it signed.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate and key for this machine, in PEM.
    fn server(&self) -> (String, String) {
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        self.signed(params)
    }

    /// A certificate and key of a client, in PEM.
    fn client(&self, subject: &str) -> (String, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, subject);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.signed(params)
    }

    fn signed(&self, params: CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        (cert.pem(), key.serialize_pem())
    }

    fn trusting(&self) -> reqwest::ClientBuilder {
        let root = Certificate::from_pem(self.0.pem().as_bytes()).unwrap();
        Client::builder().no_proxy().tls_certs_only([root])
    }
}

fn write(dir: &Path, pair: &(String, String)) {
    std::fs::write(dir.join("cert.pem"), &pair.0).unwrap();
    std::fs::write(dir.join("key.pem"), &pair.1).unwrap();
}

fn files(dir: &Path) -> TlsFiles {
    TlsFiles { cert: dir.join("cert.pem"), key: dir.join("key.pem"), client_ca: None }
}

async fn encrypted(authority: &Authority) -> Server {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &authority.server());
    let files = files(dir.path());
    Server::start_in(dir, |config| config.tls = Some(files)).await
}

/// Whether a new connection is trusted and answered.
async fn greets(server: &Server, authority: &Authority) -> bool {
    let client = authority.trusting().build().unwrap();
    let request = client.get(format!("{}/v1", server.url)).bearer_auth(KEY);
    request.send().await.is_ok_and(|answer| answer.status() == StatusCode::OK)
}

#[tokio::test]
async fn https_is_spoken_and_http_2_is_agreed_on() {
    let authority = Authority::new("one");
    let server = encrypted(&authority).await;
    let client = authority.trusting().build().unwrap();
    let response = client.get(format!("{}/readyz", server.url)).send().await.unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, reqwest::Version::HTTP_2));
    let old = authority.trusting().http1_only().tls_version_max(reqwest::tls::Version::TLS_1_2);
    let response = old.build().unwrap().get(format!("{}/readyz", server.url)).send().await.unwrap();
    assert_eq!(response.version(), reqwest::Version::HTTP_11);
    assert!(!greets(&server, &Authority::new("stranger")).await);
    let metrics = client.get(format!("{}/metrics", server.url)).bearer_auth(KEY);
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    let left = metrics.lines().find_map(|line| line.strip_prefix("tenure_tls_expiry_seconds "));
    assert!(left.unwrap().parse::<f64>().unwrap() > 86_400.0);
}

#[tokio::test]
async fn certificates_are_read_again_when_they_change_and_bad_ones_are_refused() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let server = encrypted(&old).await;
    assert!(greets(&server, &old).await);
    std::fs::write(server.dir.path().join("cert.pem"), "nonsense").unwrap();
    server.service.reload(None);
    assert!(greets(&server, &old).await, "a bad file is refused and the old one stays");
    write(server.dir.path(), &new.server());
    // Nobody says so: the server looks at its files by itself.
    eventually("the new certificate is in use", || greets(&server, &new)).await;
    assert!(!greets(&server, &old).await);
}

#[tokio::test]
async fn a_certificate_and_a_key_that_do_not_go_together_do_not_start_a_server() {
    let authority = Authority::new("one");
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &(authority.server().0, authority.server().1));
    let mut config = config(&dir, "");
    config.tls = Some(files(dir.path()));
    let error = Service::start(config).await.err().expect("it is refused");
    assert_eq!(error.exit().code(), 64);
    assert!(error.to_string().contains("cert.pem"), "{error}");
}

#[tokio::test]
async fn a_client_certificate_is_the_key_of_its_subject() {
    let (authority, stranger) = (Authority::new("clients"), Authority::new("stranger"));
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &authority.server());
    std::fs::write(dir.path().join("ca.pem"), authority.0.pem()).unwrap();
    let ca = dir.path().join("ca.pem");
    let tls = TlsFiles { client_ca: Some(ca), ..files(dir.path()) };
    let keys = config(&dir, "[[keys]]\nname = \"cert:agent-7\"\nroles = [\"read\"]\n").keys;
    let server = Server::start_in(dir, |config| {
        config.tls = Some(tls);
        config.keys = keys;
    })
    .await;
    let with = |(cert, key): (String, String)| {
        let identity = Identity::from_pem((cert + &key).as_bytes()).unwrap();
        let client = authority.trusting().identity(identity).build().unwrap();
        client.get(format!("{}/v1", server.url)).send()
    };
    let known = with(authority.client("agent-7")).await.unwrap();
    assert_eq!(known.status(), StatusCode::OK);
    let body: serde_json::Value = known.json().await.unwrap();
    assert_eq!(body["key"]["name"], "cert:agent-7");
    let unknown = with(authority.client("agent-8")).await.unwrap();
    assert_eq!(unknown.status(), StatusCode::UNAUTHORIZED);
    assert!(with(stranger.client("agent-7")).await.is_err(), "another authority's word is nothing");
    assert!(greets(&server, &authority).await, "a key does without a certificate");
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_cut_off_and_hurts_nobody() {
    let authority = Authority::new("one");
    let server = encrypted(&authority).await;
    let mut half_open = Vec::new();
    for _ in 0..50 {
        half_open.push(server.connect().await);
    }
    assert!(greets(&server, &authority).await);
    let closed = closed_after(&mut half_open[0]).await;
    assert!(closed > Duration::from_secs(2) && closed < PATIENCE, "after {closed:?}");
}
