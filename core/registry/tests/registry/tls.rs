//! TLS by the registry itself.

use crate::fixture::{Fixture, amend_settings, options};
use osier_registry::{NetworkDir, Registry, unix_now};
use ring::digest;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring::default_provider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// Accepts just the certificate with this hash, as a node with an invite does.
#[derive(Debug)]
struct Pinned([u8; 32], Arc<CryptoProvider>);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if digest::digest(&digest::SHA256, certificate).as_ref() == self.0 {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General(
            "another certificate than the invite's".into(),
        ))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.1.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.1.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.signature_verification_algorithms.supported_schemes()
    }
}

async fn network_over_tls(address: std::net::SocketAddr, pin: [u8; 32]) -> std::io::Result<String> {
    let provider = Arc::new(default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned(pin, provider)))
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("registry.test").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream
        .write_all(b"GET /v1/network HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn directory() -> (TempDir, std::path::PathBuf) {
    let directory = TempDir::with_prefix("osier-registry-").unwrap();
    let path = directory.path().join("net");
    NetworkDir::create(&path, options("tls"), unix_now()).unwrap();
    (directory, path)
}

#[tokio::test]
async fn a_self_signed_certificate_is_pinned_by_invites() {
    let (directory, path) = directory();
    let pin = NetworkDir::open(&path)
        .unwrap()
        .create_self_signed(&["registry.test".into(), "127.0.0.1".into()])
        .unwrap();
    let mode = fs::metadata(path.join("self-signed.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let f = Fixture::open(directory, &path).await;
    assert!(f.server.tls());
    assert_eq!(f.invite(1).await.tls_pin, Some(pin));
    let answer = network_over_tls(f.server.address(), pin).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let mut wrong = pin;
    wrong[0] ^= 1;
    assert!(network_over_tls(f.server.address(), wrong).await.is_err());
    // It is not replaced by accident: invites that are out there pin it.
    let again = f
        .registry
        .dir()
        .create_self_signed(&["registry.test".into()])
        .unwrap_err();
    assert!(again.to_string().contains("exists"), "{again}");
}

#[tokio::test]
async fn given_certificates_are_used_and_not_pinned() {
    let (directory, path) = directory();
    let pin = NetworkDir::open(&path)
        .unwrap()
        .create_self_signed(&["registry.test".into()])
        .unwrap();
    fs::rename(path.join("self-signed.crt"), path.join("chain.pem")).unwrap();
    fs::rename(path.join("self-signed.key"), path.join("key.pem")).unwrap();
    amend_settings(
        &path,
        "tls = { certificate = \"chain.pem\", key = \"key.pem\" }",
        "",
    );
    let f = Fixture::open(directory, &path).await;
    assert!(f.server.tls());
    assert_eq!(f.invite(1).await.tls_pin, None);
    network_over_tls(f.server.address(), pin).await.unwrap();
}

#[tokio::test]
async fn plain_clients_and_silent_ones_do_not_hang_a_tls_port() {
    let (directory, path) = directory();
    NetworkDir::open(&path)
        .unwrap()
        .create_self_signed(&["registry.test".into()])
        .unwrap();
    amend_settings(&path, "", "request_time = \"1s\"");
    let f = Fixture::open(directory, &path).await;
    for octets in [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".as_slice(),
        b"",
        b"\x16\x03\x01",
    ] {
        let mut stream = TcpStream::connect(f.server.address()).await.unwrap();
        stream.write_all(octets).await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer))
            .await
            .expect("open");
    }
}

#[tokio::test]
async fn tls_files_that_cannot_be_used_are_named() {
    let (_directory, path) = directory();
    NetworkDir::open(&path)
        .unwrap()
        .create_self_signed(&["registry.test".into()])
        .unwrap();
    let start = async || {
        let registry = Registry::open(&path).await.unwrap();
        registry.serve(Default::default()).await.unwrap_err().to_string()
    };
    let key = fs::read(path.join("self-signed.key")).unwrap();
    fs::set_permissions(path.join("self-signed.key"), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(start().await.contains("chmod 600"));
    fs::set_permissions(path.join("self-signed.key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(path.join("self-signed.key"), "nonsense").unwrap();
    assert!(start().await.contains("self-signed.key"));
    fs::remove_file(path.join("self-signed.key")).unwrap();
    assert!(start().await.contains("missing"));
    // Another certificate's key.
    let other = TempDir::with_prefix("osier-registry-").unwrap();
    let other = other.path().join("other");
    let dir = NetworkDir::create(&other, options("other"), unix_now()).unwrap();
    dir.create_self_signed(&["registry.test".into()]).unwrap();
    fs::copy(other.join("self-signed.key"), path.join("self-signed.key")).unwrap();
    assert!(start().await.contains("cannot be used"));
    fs::write(path.join("self-signed.key"), key).unwrap();
    fs::write(path.join("self-signed.crt"), "").unwrap();
    assert!(start().await.contains("no certificate"));
}
