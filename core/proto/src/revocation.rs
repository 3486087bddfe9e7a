//! The signed, numbered list of nodes that no longer belong.

use crate::{
    certificate::Certificate,
    codec::{Reader, Writer},
    error::DecodeError,
    identity::{NodeId, SigningSecret},
    network::{Delegation, DelegationError, Network, NetworkId, check_version},
    signed::{Issued, IssuedError},
    wallclock::UnixTime,
};
use core::ops::Deref;

/// Most entries in a list. A certificate that has expired needs no entry, so the list stays short.
pub const MAX_REVOKED: usize = 4096;
/// Upper bound of an encoded list: [`MAX_REVOKED`] entries of at most 44 octets.
pub const MAX_REVOCATION_LIST: usize = 192 * 1024;

const CONTEXT: &str = "osier revocations v1";
const VERSION: u64 = 1;

/// What a list says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// A higher number replaces a lower one.
    pub number: u64,
    /// Sorted. (node, certificates with a serial up to and including this are void; u64::MAX: the node for good)
    pub revoked: Vec<(NodeId, u64)>,
}

/// A list as it was signed; read its [`Fields`] directly (`list.number`). They cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    fields: Fields,
    network: NetworkId,
    issued: Issued,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    #[error("the revocation list is unreadable: {0}")]
    Decode(#[from] DecodeError),
    #[error("the revocation list belongs to network {0}, which is not ours")]
    WrongNetwork(NetworkId),
    #[error("the revocation list is not signed by the network's root or its issuer")]
    BadSignature,
    #[error("the revocation list's issuer is not entitled: {0}")]
    Delegation(#[from] DelegationError),
}

impl Deref for RevocationList {
    type Target = Fields;

    fn deref(&self) -> &Fields {
        &self.fields
    }
}

impl RevocationList {
    /// Sorts the entries; of two for one node the wider stays.
    ///
    /// # Errors
    /// More than [`MAX_REVOKED`] entries.
    pub fn sign(
        number: u64,
        mut revoked: Vec<(NodeId, u64)>,
        issuer: &SigningSecret,
        delegation: Option<Delegation>,
        network: &NetworkId,
    ) -> Result<Self, DecodeError> {
        revoked.sort_unstable_by_key(|&(node, serial)| (node, core::cmp::Reverse(serial)));
        revoked.dedup_by_key(|&mut (node, _)| node);
        if revoked.len() > MAX_REVOKED {
            return Err(DecodeError::Invalid("revoked"));
        }
        let mut w = Writer::new();
        w.map(4).uint(0).uint(VERSION);
        w.uint(1).bytes(&network.0);
        w.uint(2).uint(number);
        w.uint(3).array(revoked.len());
        for (node, serial) in &revoked {
            w.array(2).bytes(&node.0).uint(*serial);
        }
        Ok(Self {
            fields: Fields { number, revoked },
            network: *network,
            issued: Issued::sign(w.into_vec(), issuer, delegation, CONTEXT, network),
        })
    }

    pub fn encode(&self) -> Vec<u8> {
        self.issued.encode()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let issued = Issued::decode(bytes, MAX_REVOCATION_LIST)?;
        let (mut version, mut network, mut number, mut revoked) = (None, None, None, None);
        let mut r = Reader::new(issued.content());
        r.fields(|key, r| {
            match key {
                0 => version = Some(check_version(r.uint()?)?),
                1 => network = Some(NetworkId(r.octets("network")?)),
                2 => number = Some(r.uint()?),
                3 => {
                    revoked = Some(r.list("revoked", MAX_REVOKED, |r| {
                        r.array_of(2)?;
                        Ok((r.node()?, r.uint()?))
                    })?);
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        r.finish()?;
        version.ok_or(DecodeError::Missing("version"))?;
        let revoked = revoked.ok_or(DecodeError::Missing("revoked"))?;
        if !revoked.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err(DecodeError::Invalid("revoked"));
        }
        let fields = Fields {
            number: number.ok_or(DecodeError::Missing("number"))?,
            revoked,
        };
        let network = network.ok_or(DecodeError::Missing("network"))?;
        Ok(Self {
            fields,
            network,
            issued,
        })
    }

    /// Signature chain and network. A list does not expire, and neither does what an issuer revoked when its
    /// delegation ends: an old list is better than none, so the network's grace applies.
    pub fn verify(&self, network: &Network, now: UnixTime) -> Result<(), RevocationError> {
        if self.network != network.id() {
            return Err(RevocationError::WrongNetwork(self.network));
        }
        self.issued
            .verify(CONTEXT, network, now, network.grace)
            .map_err(|error| match error {
                IssuedError::BadSignature => RevocationError::BadSignature,
                IssuedError::Delegation(error) => error.into(),
            })
    }

    /// Whether the certificate is void.
    pub fn revokes(&self, certificate: &Certificate) -> bool {
        self.revoked
            .binary_search_by_key(&certificate.node, |&(node, _)| node)
            .is_ok_and(|index| certificate.serial <= self.revoked[index].1)
    }
}
