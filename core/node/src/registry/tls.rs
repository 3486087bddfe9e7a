//! TLS towards registries: by the system's certificate authorities, or by the fingerprint that the invite gave.

use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, WantsVerifier,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::sync::Arc;

/// Accepts the one certificate with this SHA-256, whatever its name and dates: the invite, which came over a
/// trusted channel, vouches for it.
#[derive(Debug)]
struct Pinned {
    sha256: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if ::ring::digest::digest(&::ring::digest::SHA256, end_entity).as_ref() == self.sha256 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::General(
                "the registry's TLS certificate is not the one that the invite names".into(),
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Which certificates to accept.
pub(super) enum Trust {
    /// There is no TLS: loading the system's authorities would only cost memory.
    NoTls,
    System,
    Pin([u8; 32]),
}

/// How to connect to registries that are trusted in this way.
pub(super) fn client_config(trust: &Trust) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let mut config = match trust {
        Trust::System => trust_the_system(config)?,
        Trust::NoTls => config
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth(),
        Trust::Pin(sha256) => {
            let verifier = Arc::new(Pinned {
                sha256: *sha256,
                provider,
            });
            config
                .dangerous()
                .with_custom_certificate_verifier(verifier)
                .with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(not(target_os = "android"))]
fn trust_the_system(config: ConfigBuilder<ClientConfig, WantsVerifier>) -> Result<ClientConfig, Error> {
    use rustls_platform_verifier::BuilderVerifierExt;
    Ok(config.with_platform_verifier()?.with_no_client_auth())
}

/// Android's own authorities are behind Java; these are Mozilla's.
#[cfg(target_os = "android")]
fn trust_the_system(config: ConfigBuilder<ClientConfig, WantsVerifier>) -> Result<ClientConfig, Error> {
    let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
