//! What nodes and registries say to each other over HTTP: JSON bodies whose signed parts are base64url of the
//! structures' CBOR. Times are Unix seconds.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET /v1/network` | | [`NetworkReply`] |
//! | `POST /v1/enrol` | [`EnrolRequest`] | [`EnrolReply`] |
//! | `POST /v1/renew` | (auth) | [`EnrolReply`] |
//! | `PUT /v1/record` | [`PublishRequest`] (auth) | 204 |
//! | `GET /v1/directory?limit=N` | (auth) | [`DirectoryReply`]: a random sample |
//! | `GET /v1/revocations?after=N&wait=S` | (auth) | [`RevocationReply`]; held up to S seconds (at most 60) until newer |
//! | `GET /v1/health` | | 200 |
//!
//! "(auth)": header `osier-auth`, base64url of [`AuthToken`]. Every error is [`ErrorReply`] with a 4xx/5xx status.

use crate::{
    certificate::{Certificate, CertificateError, valid_name},
    codec::{Reader, Writer, array_from_base64url, check_size, from_base64url, to_base64url},
    error::DecodeError,
    identity::{NodeId, SecretKeys, TunnelKey},
    network::{Network, NetworkError, NetworkId, SignedNetwork},
    record::{Bundle, RecordError},
    revocation::{RevocationError, RevocationList},
    wallclock::UnixTime,
};
use serde::{Deserialize, Serialize};

/// Name of the header that carries an [`AuthToken`].
pub const AUTH_HEADER: &str = "osier-auth";
/// Upper bound of an encoded token.
pub const MAX_AUTH_TOKEN: usize = 256;
/// Longest purpose, in octets.
pub const MAX_PURPOSE: usize = 96;
/// How far the time of a request may be from the registry's, in seconds.
pub const AUTH_SKEW: u64 = 7200;

const AUTH_CONTEXT: &str = "osier registry request v1";
const ENROL_CONTEXT: &str = "osier enrolment v1";

/// Signed proof that a request comes from a member. Operations are idempotent, so a replay gains nothing; the
/// time (two hours of skew are forgiven) bounds its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthToken {
    pub node: NodeId,
    pub unix_time: u64,
    /// Method and path without the query, for example `PUT /v1/record`.
    pub purpose: String,
    /// BLAKE3 of the request's body (of nothing, if it has none).
    pub body_hash: [u8; 32],
    pub signature: [u8; 64],
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("the `osier-auth` header is unreadable: {0}")]
    Decode(#[from] DecodeError),
    #[error("the request was signed for another method, path or body")]
    WrongRequest,
    #[error("the request's time {0} is more than two hours from ours: check the clock of that machine")]
    Skewed(UnixTime),
    #[error("the request is not signed by the node it names")]
    BadSignature,
}

impl AuthToken {
    /// Signs a request. `purpose` is its method and path, e.g. `PUT /v1/record`.
    pub fn sign(keys: &SecretKeys, network: &NetworkId, now: UnixTime, purpose: &str, body: &[u8]) -> Self {
        let mut token = Self {
            node: keys.node_id(),
            unix_time: now.0,
            purpose: purpose.to_owned(),
            body_hash: *blake3::hash(body).as_bytes(),
            signature: [0; 64],
        };
        token.signature = keys.sign(AUTH_CONTEXT, network, &token.signed());
        token
    }

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.node.0)
            .uint(self.unix_time)
            .text(&self.purpose)
            .bytes(&self.body_hash);
    }

    fn signed(&self) -> Vec<u8> {
        let mut w = Writer::new();
        self.write(w.array(4));
        w.into_vec()
    }

    /// The header's value.
    pub fn encode(&self) -> String {
        let mut w = Writer::new();
        self.write(w.array(5));
        w.bytes(&self.signature);
        to_base64url(&w.into_vec())
    }

    pub fn decode(header: &str) -> Result<Self, DecodeError> {
        // Base64 makes four characters of three octets.
        check_size(header.as_bytes(), MAX_AUTH_TOKEN / 3 * 4)?;
        let bytes = from_base64url(header)?;
        let mut r = Reader::new(&bytes);
        r.array_of(5)?;
        let token = Self {
            node: r.node()?,
            unix_time: r.uint()?,
            purpose: r.text()?.to_owned(),
            body_hash: r.octets("body_hash")?,
            signature: r.octets("signature")?,
        };
        r.finish()?;
        if token.purpose.len() > MAX_PURPOSE {
            return Err(DecodeError::Invalid("purpose"));
        }
        Ok(token)
    }

    /// Whether it is `node`'s signature under just this request, made within two hours of `now`. Whether the
    /// node is a member is for the caller to find out.
    pub fn verify(
        &self,
        network: &NetworkId,
        now: UnixTime,
        purpose: &str,
        body: &[u8],
    ) -> Result<(), AuthError> {
        if self.purpose != purpose || self.body_hash != *blake3::hash(body).as_bytes() {
            return Err(AuthError::WrongRequest);
        }
        if self.unix_time.abs_diff(now.0) > AUTH_SKEW {
            return Err(AuthError::Skewed(UnixTime(self.unix_time)));
        }
        if !self
            .node
            .verify(AUTH_CONTEXT, network, &self.signed(), &self.signature)
        {
            return Err(AuthError::BadSignature);
        }
        Ok(())
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolRequest {
    /// base64url, 16 octets.
    pub token: String,
    /// base64url Ed25519 and X25519 public keys.
    pub node: String,
    pub tunnel_key: String,
    /// 1..=63 characters, DNS label.
    pub name: String,
    /// base64url Ed25519 signature over the other fields: proof of possession.
    pub signature: String,
}

/// The parts of an [`EnrolRequest`] whose signature holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Applicant {
    pub token: [u8; 16],
    pub node: NodeId,
    pub tunnel_key: TunnelKey,
    pub name: String,
}

impl core::fmt::Debug for Applicant {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Without the token.
        f.debug_struct("Applicant")
            .field("node", &self.node)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrolError {
    #[error("the enrolment request is malformed: {0}")]
    Decode(#[from] DecodeError),
    #[error("`{0}` cannot be a node's name: use 1 to 63 of a-z, 0-9 and `-`, with no `-` first or last")]
    Name(String),
    #[error("the enrolment request is not signed by the key it brings")]
    BadSignature,
}

impl Applicant {
    fn signed(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(4)
            .bytes(&self.token)
            .bytes(&self.node.0)
            .bytes(&self.tunnel_key.0)
            .text(&self.name);
        w.into_vec()
    }
}

impl EnrolRequest {
    /// A request signed with the node's own keys.
    pub fn sign(token: [u8; 16], name: &str, keys: &SecretKeys, network: &NetworkId) -> Self {
        let applicant = Applicant {
            token,
            node: keys.node_id(),
            tunnel_key: keys.tunnel_key(),
            name: name.to_owned(),
        };
        Self {
            token: to_base64url(&token),
            node: to_base64url(&applicant.node.0),
            tunnel_key: to_base64url(&applicant.tunnel_key.0),
            signature: to_base64url(&keys.sign(ENROL_CONTEXT, network, &applicant.signed())),
            name: applicant.name,
        }
    }

    /// The applicant, if the name is allowed and the signature shows possession of the key.
    pub fn verify(&self, network: &NetworkId) -> Result<Applicant, EnrolError> {
        if !valid_name(&self.name) {
            return Err(EnrolError::Name(self.name.chars().take(63).collect()));
        }
        let applicant = Applicant {
            token: array_from_base64url(&self.token, "token")?,
            node: NodeId(array_from_base64url(&self.node, "node")?),
            tunnel_key: TunnelKey(array_from_base64url(&self.tunnel_key, "tunnel_key")?),
            name: self.name.clone(),
        };
        let signature = array_from_base64url(&self.signature, "signature")?;
        if !applicant
            .node
            .verify(ENROL_CONTEXT, network, &applicant.signed(), &signature)
        {
            return Err(EnrolError::BadSignature);
        }
        Ok(applicant)
    }
}

/// A part of the registry's answer does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    #[error("the registry's answer is malformed: {0}")]
    Decode(#[from] DecodeError),
    #[error("the registry's answer: {0}")]
    Certificate(#[from] CertificateError),
    #[error("the registry's answer: {0}")]
    Network(#[from] NetworkError),
    #[error("the registry's answer: {0}")]
    Revocations(#[from] RevocationError),
    #[error("the registry's answer: {0}")]
    Record(#[from] RecordError),
    #[error("the registry sent a certificate for other keys than ours")]
    WrongNode,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnrolReply {
    pub certificate: String,
    pub network: String,
    pub revocations: String,
    pub unix_time: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NetworkReply {
    pub network: String,
    pub unix_time: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishRequest {
    pub bundle: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DirectoryReply {
    pub bundles: Vec<String>,
    pub revocations: String,
    pub unix_time: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevocationReply {
    pub revocations: String,
    pub number: u64,
    pub unix_time: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorReply {
    /// Stable, machine-readable: `token-used`, `token-expired`, `token-unknown`, `rate-limited`, `malformed`, `revoked`,
    /// `unauthenticated` (signature, clock),
    /// `not-a-member`, `too-large`, `name-taken`, `network-full`, `stale-record`, `internal` (try again later).
    pub code: String,
    pub message: String,
}

impl NetworkReply {
    pub fn new(network: &SignedNetwork, now: UnixTime) -> Self {
        Self {
            network: to_base64url(&network.encode()),
            unix_time: now.0,
        }
    }

    /// The description, verified against the root key that the invite gave.
    pub fn verify(&self, root: &NodeId) -> Result<SignedNetwork, ReplyError> {
        let network = SignedNetwork::decode(&from_base64url(&self.network)?)?;
        network.verify(root)?;
        Ok(network)
    }
}

impl EnrolReply {
    pub fn new(
        certificate: &Certificate,
        network: &SignedNetwork,
        revocations: &RevocationList,
        now: UnixTime,
    ) -> Self {
        Self {
            certificate: to_base64url(&certificate.encode()),
            network: to_base64url(&network.encode()),
            revocations: to_base64url(&revocations.encode()),
            unix_time: now.0,
        }
    }

    /// Everything in it, verified against the root key that the node trusts and the node's own keys. `now` is
    /// the node's clock.
    pub fn verify(
        &self,
        root: &NodeId,
        keys: &SecretKeys,
        now: UnixTime,
    ) -> Result<(Certificate, SignedNetwork, RevocationList), ReplyError> {
        let signed = SignedNetwork::decode(&from_base64url(&self.network)?)?;
        let network = signed.verify(root)?;
        let certificate = Certificate::decode(&from_base64url(&self.certificate)?)?;
        certificate.verify(network, now)?;
        if certificate.node != keys.node_id() || certificate.tunnel_key != keys.tunnel_key() {
            return Err(ReplyError::WrongNode);
        }
        let revocations = decode_revocations(&self.revocations, network, now)?;
        Ok((certificate, signed, revocations))
    }
}

impl PublishRequest {
    pub fn new(bundle: &Bundle) -> Self {
        Self {
            bundle: to_base64url(&bundle.encode()),
        }
    }

    /// Decoded, not yet verified.
    pub fn decode(&self) -> Result<Bundle, DecodeError> {
        Bundle::decode(&from_base64url(&self.bundle)?)
    }
}

impl DirectoryReply {
    pub fn new<'a>(
        bundles: impl IntoIterator<Item = &'a Bundle>,
        revocations: &RevocationList,
        now: UnixTime,
    ) -> Self {
        Self {
            bundles: bundles
                .into_iter()
                .map(|bundle| to_base64url(&bundle.encode()))
                .collect(),
            revocations: to_base64url(&revocations.encode()),
            unix_time: now.0,
        }
    }

    /// The bundles that hold (others are left out: one bad record must not hide the rest) and the list.
    pub fn verify(
        &self,
        network: &Network,
        now: UnixTime,
    ) -> Result<(Vec<Bundle>, RevocationList), ReplyError> {
        let revocations = decode_revocations(&self.revocations, network, now)?;
        let bundles = self
            .bundles
            .iter()
            .filter_map(|text| Bundle::decode(&from_base64url(text).ok()?).ok())
            .filter(|bundle| bundle.verify_with_grace(network, now).is_ok())
            .filter(|bundle| !revocations.revokes(&bundle.certificate))
            .collect();
        Ok((bundles, revocations))
    }
}

impl RevocationReply {
    pub fn new(revocations: &RevocationList, now: UnixTime) -> Self {
        let number = revocations.number;
        Self {
            revocations: to_base64url(&revocations.encode()),
            number,
            unix_time: now.0,
        }
    }

    pub fn verify(&self, network: &Network, now: UnixTime) -> Result<RevocationList, ReplyError> {
        decode_revocations(&self.revocations, network, now)
    }
}

fn decode_revocations(text: &str, network: &Network, now: UnixTime) -> Result<RevocationList, ReplyError> {
    let list = RevocationList::decode(&from_base64url(text)?)?;
    list.verify(network, now)?;
    Ok(list)
}

impl ErrorReply {
    pub fn new(code: &str, message: impl core::fmt::Display) -> Self {
        Self {
            code: code.to_owned(),
            message: message.to_string(),
        }
    }
}
