//! The registry's TLS certificate: given as PEM files, or made here and pinned by invites.

use crate::{
    DirectoryError, NetworkDir,
    files::{self, Access},
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

const CERTIFICATE: &str = "self-signed.crt";
const KEY: &str = "self-signed.key";

/// Files to use, and whether invites pin the certificate. `None`: plain HTTP.
fn files_in_use(dir: &NetworkDir) -> Option<(PathBuf, PathBuf, bool)> {
    if let Some(tls) = &dir.settings().tls {
        return Some((
            dir.path().join(&tls.certificate),
            dir.path().join(&tls.key),
            tls.pin,
        ));
    }
    let certificate = dir.path().join(CERTIFICATE);
    certificate
        .exists()
        .then(|| (certificate, dir.path().join(KEY), true))
}

/// What invites carry: SHA-256 of the certificate's DER, if it must be pinned.
pub(crate) fn pin(dir: &NetworkDir) -> Result<Option<[u8; 32]>, DirectoryError> {
    match files_in_use(dir) {
        Some((certificate, _, true)) => {
            let chain = read_chain(&certificate)?;
            Ok(chain.first().map(|first| fingerprint(first)))
        }
        _ => Ok(None),
    }
}

/// The listener's configuration, if TLS is wanted.
pub(crate) fn server_config(dir: &NetworkDir) -> Result<Option<Arc<ServerConfig>>, DirectoryError> {
    let Some((certificate, key_file, _)) = files_in_use(dir) else {
        return Ok(None);
    };
    let chain = read_chain(&certificate)?;
    let failure = |path: &Path, reason: String| DirectoryError::Tls {
        path: path.to_owned(),
        reason,
    };
    let key = PrivateKeyDer::from_pem_slice(&files::read_secret(&key_file)?)
        .map_err(|error| failure(&key_file, format!("no private key in PEM form ({error})")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| {
            failure(
                &certificate,
                format!("certificate and key cannot be used: {error}"),
            )
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(Arc::new(config)))
}

pub(crate) fn create_self_signed(directory: &Path, names: &[String]) -> Result<[u8; 32], DirectoryError> {
    let certified = rcgen::generate_simple_self_signed(names)?;
    // The certificate first: without its key the start fails with a clear error, never in plain text.
    files::create(
        &directory.join(CERTIFICATE),
        certified.cert.pem().as_bytes(),
        Access::Everyone,
    )?;
    files::create(
        &directory.join(KEY),
        certified.signing_key.serialize_pem().as_bytes(),
        Access::Owner,
    )?;
    Ok(fingerprint(certified.cert.der()))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, DirectoryError> {
    let pem = files::read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(DirectoryError::Tls {
            path: path.to_owned(),
            reason: "no certificate in PEM form".into(),
        }),
    }
}

fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
    let mut hash = [0; 32];
    // SHA-256 is 32 octets.
    hash.copy_from_slice(digest.as_ref());
    hash
}
