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

use serde::{Deserialize, Serialize};

/// Signed proof that a request comes from a member. Operations are idempotent, so a replay gains nothing; the
/// time (two hours of skew are forgiven) bounds its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthToken {
    pub node: crate::identity::NodeId,
    pub unix_time: u64,
    /// For example `PUT /v1/record`.
    pub purpose: String,
    pub body_hash: [u8; 32],
    pub signature: [u8; 64],
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

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnrolReply {
    pub certificate: String,
    pub network: String,
    pub revocations: String,
    pub unix_time: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NetworkReply { pub network: String, pub unix_time: u64 }

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishRequest { pub bundle: String }

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DirectoryReply { pub bundles: Vec<String>, pub revocations: String, pub unix_time: u64 }

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevocationReply { pub revocations: String, pub number: u64, pub unix_time: u64 }

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorReply {
    /// Stable, machine-readable: `token-used`, `token-expired`, `token-unknown`, `rate-limited`, `malformed`, `revoked`,
    /// `not-a-member`, `too-large`, `name-taken`, `internal`.
    pub code: String,
    pub message: String,
}
