//! An invite: one string that lets a new node enrol.

use crate::identity::NodeId;

/// `osier://join/<base64url of CBOR>`; holds a secret token, so it is shown to people but never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Invite {
    /// Base URLs of the registries, tried in order.
    pub registries: Vec<String>,
    pub root: NodeId,
    pub token: [u8; 16],
    /// SHA-256 of the registry's TLS certificate (DER), when it is self-signed.
    pub tls_pin: Option<[u8; 32]>,
}
