//! HTTPS: whom the client trusts, and who it is.

use std::path::PathBuf;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use tempfile::TempDir;
use tenure::{Attempt, Connect, ConnectError, LossReason, Tenure, Whose};

use crate::world::{KEY, Server, soon};

/// Files of an authority, and of what it signed, in the server's directory.
struct Files {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
    client_cert: PathBuf,
    client_key: PathBuf,
}

impl Files {
    fn write(dir: &TempDir) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = |name: &str, text: String| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let signed = |params: CertificateParams| {
            let key = KeyPair::generate().unwrap();
            (params.signed_by(&key, &ca).unwrap().pem(), key.serialize_pem())
        };
        let server = signed(CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap());
        let mut client = CertificateParams::new(Vec::new()).unwrap();
        client.distinguished_name.push(DnType::CommonName, "ci");
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let client = signed(client);
        Files {
            ca: file("ca.pem", ca.pem()),
            cert: file("cert.pem", server.0),
            key: file("key.pem", server.1),
            client_cert: file("client.pem", client.0),
            client_key: file("client-key.pem", client.1),
        }
    }
}

fn start() -> (Server, Files) {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::write(&dir);
    let keys = "[[keys]]\nname = \"ci\"\nroles = [\"lock\"]\n";
    let server = Server::start_in(dir, keys, |overrides| {
        overrides.tls_cert = Some(files.cert.clone());
        overrides.tls_key = Some(files.key.clone());
        overrides.client_ca = Some(files.ca.clone());
    });
    (server, files)
}

fn connect(server: &Server) -> Connect {
    Tenure::at(&server.url().replace("http:", "https:")).retry(Duration::from_millis(300))
}

#[tokio::test]
async fn a_server_of_a_trusted_authority_is_used_encrypted() {
    let (server, files) = start();
    let tenure = connect(&server).api_key(KEY).ca(&files.ca).connect().await.unwrap();
    // More than one connection carries at once, waiting ones among them.
    let holder = tenure.lock("a").acquire().await.unwrap();
    let waiting: Vec<_> = (0..150)
        .map(|_| {
            let tenure = tenure.clone();
            tokio::spawn(async move { tenure.lock("a").shared().acquire().await })
        })
        .collect();
    let lost = holder.lost();
    tenure.admin().break_grant("a", Whose::Token(holder.token()), "a test").await.unwrap();
    assert!(matches!(soon(lost).await.reason, LossReason::Broken { .. }));
    for waiter in waiting {
        soon(waiter).await.unwrap().unwrap().release().await.unwrap();
    }
    tenure.close().await.unwrap();
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_not_used() {
    let (server, _files) = start();
    let refused = soon(connect(&server).api_key(KEY).connect()).await.unwrap_err();
    let ConnectError::Refused(error) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains("certificate"), "{error}");
    let absent = server.path().join("no-such-file");
    let refused = connect(&server).api_key(KEY).ca(absent).connect().await.unwrap_err();
    assert!(matches!(refused, ConnectError::Tls(_)), "{refused:?}");
}

#[tokio::test]
async fn a_client_certificate_is_a_key() {
    let (server, files) = start();
    let connect = connect(&server).ca(&files.ca);
    let tenure =
        connect.client_cert(&files.client_cert, &files.client_key).connect().await.unwrap();
    let info = tenure.admin().info().await.unwrap();
    assert_eq!(info.key.name.as_str(), "ci");
    assert!(matches!(tenure.lock("a").try_acquire().await.unwrap(), Attempt::Granted(_)));
}
