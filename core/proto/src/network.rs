//! A network: its root key, its prefix, and who may sign for it.

use crate::{
    IpNet,
    codec::{Reader, Writer},
    error::DecodeError,
    identity::{NodeId, SigningSecret},
    signed::Sealed,
    wallclock::{CLOCK_SKEW, UnixTime},
};
use core::fmt;

/// Upper bound of an encoded [`SignedNetwork`].
pub const MAX_SIGNED_NETWORK: usize = 512;
/// Longest network name, in octets.
pub const MAX_NETWORK_NAME: usize = 63;

const DELEGATION_CONTEXT: &str = "osier delegation v1";
const NETWORK_CONTEXT: &str = "osier network v1";
const VERSION: u64 = 1;

/// First 16 octets of the BLAKE3 hash of the root's public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(pub [u8; 16]);

impl NetworkId {
    /// The network whose root key this is.
    pub fn of(root: &NodeId) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&blake3::hash(&root.0).as_bytes()[..16]);
        Self(id)
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What every member knows about its network; signed by the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The root's Ed25519 public key: the one thing a member must be given over a trusted channel.
    pub root: NodeId,
    /// 1..=63 octets.
    pub name: String,
    /// Every node's prefix lies in it; a ULA /48 unless the operator gave one.
    pub prefix: IpNet,
    /// How long members go on accepting expired certificates, in seconds, when no registry can be reached.
    pub grace: u64,
}

impl Network {
    pub fn id(&self) -> NetworkId {
        NetworkId::of(&self.root)
    }
}

/// A [`Network`] with its root's signature: what the registry serves and nodes keep on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNetwork {
    network: Network,
    sealed: Sealed,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    #[error("the network description is unreadable: {0}")]
    Decode(#[from] DecodeError),
    #[error(
        "the network description belongs to another root key than the invite: the registry serves another network"
    )]
    WrongRoot,
    #[error("the network description is not signed by its root key: do not trust this registry")]
    BadSignature,
}

impl SignedNetwork {
    /// `network.root` is set to the signer's key. A name that is too long or empty is refused.
    pub fn sign(mut network: Network, root: &SigningSecret) -> Result<Self, DecodeError> {
        network.root = root.node_id();
        network.prefix = network.prefix.trunc();
        check_name(&network.name)?;
        let mut w = Writer::new();
        w.map(5).uint(0).uint(VERSION);
        w.uint(1).bytes(&network.root.0);
        w.uint(2).text(&network.name);
        w.uint(3).prefix(&network.prefix);
        w.uint(4).uint(network.grace);
        let sealed = Sealed::sign(w.into_vec(), root, NETWORK_CONTEXT, &network.id());
        Ok(Self { network, sealed })
    }

    pub fn encode(&self) -> Vec<u8> {
        self.sealed.encode()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let sealed = Sealed::decode(bytes, MAX_SIGNED_NETWORK)?;
        let (mut version, mut root, mut name, mut prefix, mut grace) = (None, None, None, None, None);
        let mut r = Reader::new(sealed.content());
        r.fields(|key, r| {
            match key {
                0 => version = Some(check_version(r.uint()?)?),
                1 => root = Some(r.node()?),
                2 => name = Some(r.text()?),
                3 => prefix = Some(r.prefix()?),
                4 => grace = Some(r.uint()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        r.finish()?;
        version.ok_or(DecodeError::Missing("version"))?;
        let name = name.ok_or(DecodeError::Missing("name"))?;
        check_name(name)?;
        let network = Network {
            root: root.ok_or(DecodeError::Missing("root"))?,
            name: name.to_owned(),
            prefix: prefix.ok_or(DecodeError::Missing("prefix"))?,
            grace: grace.ok_or(DecodeError::Missing("grace"))?,
        };
        Ok(Self { network, sealed })
    }

    /// The description, if the root that the caller trusts (from the invite or the disk) has signed it.
    pub fn verify(&self, root: &NodeId) -> Result<&Network, NetworkError> {
        if self.network.root != *root {
            return Err(NetworkError::WrongRoot);
        }
        if !self.sealed.verify(root, NETWORK_CONTEXT, &NetworkId::of(root)) {
            return Err(NetworkError::BadSignature);
        }
        Ok(&self.network)
    }

    /// Without looking at the signature: for what was verified before.
    pub fn network(&self) -> &Network {
        &self.network
    }
}

/// Whether a network can be called so.
pub fn valid_name(name: &str) -> bool {
    (1..=MAX_NETWORK_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
}

fn check_name(name: &str) -> Result<(), DecodeError> {
    let fits = valid_name(name);
    if fits {
        Ok(())
    } else {
        Err(DecodeError::Invalid("name"))
    }
}

pub(crate) fn check_version(version: u64) -> Result<(), DecodeError> {
    if version == VERSION {
        Ok(())
    } else {
        Err(DecodeError::UnknownVersion(version))
    }
}

/// The root's statement that `issuer` may sign certificates and revocations until `not_after`, so that the
/// root key itself can be kept offline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    pub issuer: NodeId,
    pub not_before: UnixTime,
    pub not_after: UnixTime,
    pub signature: [u8; 64],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DelegationError {
    #[error("the issuer's delegation is not signed by the network's root")]
    BadSignature,
    #[error("the issuer's delegation begins at {0}: check this machine's clock")]
    NotYetValid(UnixTime),
    #[error(
        "the issuer's delegation ended at {0}: the registry's operator must renew it with the root key, or this machine's clock is wrong"
    )]
    Expired(UnixTime),
}

impl Delegation {
    pub fn sign(issuer: NodeId, not_before: UnixTime, not_after: UnixTime, root: &SigningSecret) -> Self {
        let mut delegation = Self {
            issuer,
            not_before,
            not_after,
            signature: [0; 64],
        };
        let network = NetworkId::of(&root.node_id());
        delegation.signature = root.sign(DELEGATION_CONTEXT, &network, &delegation.signed());
        delegation
    }

    fn signed(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(3)
            .bytes(&self.issuer.0)
            .uint(self.not_before.0)
            .uint(self.not_after.0);
        w.into_vec()
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        self.write(&mut w);
        w.into_vec()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let delegation = Self::read(&mut r)?;
        r.finish()?;
        Ok(delegation)
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        w.array(4)
            .bytes(&self.issuer.0)
            .uint(self.not_before.0)
            .uint(self.not_after.0)
            .bytes(&self.signature);
    }

    /// A delegation, or `null`.
    pub(crate) fn write_option(delegation: Option<&Self>, w: &mut Writer) {
        match delegation {
            Some(delegation) => delegation.write(w),
            None => drop(w.null()),
        }
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.array_of(4)?;
        Ok(Self {
            issuer: r.node()?,
            not_before: UnixTime(r.uint()?),
            not_after: UnixTime(r.uint()?),
            signature: r.octets("signature")?,
        })
    }

    pub(crate) fn read_option(r: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        if r.take_null() {
            Ok(None)
        } else {
            Self::read(r).map(Some)
        }
    }

    /// Signature and validity, an hour of clock skew forgiven.
    pub fn verify(&self, network: &Network, now: UnixTime) -> Result<(), DelegationError> {
        self.verify_with_grace(network, now, 0)
    }

    pub(crate) fn verify_with_grace(
        &self,
        network: &Network,
        now: UnixTime,
        grace: u64,
    ) -> Result<(), DelegationError> {
        if now.saturating_add(CLOCK_SKEW) < self.not_before {
            return Err(DelegationError::NotYetValid(self.not_before));
        }
        if now > self.not_after.saturating_add(CLOCK_SKEW).saturating_add(grace) {
            return Err(DelegationError::Expired(self.not_after));
        }
        if !network
            .root
            .verify(DELEGATION_CONTEXT, &network.id(), &self.signed(), &self.signature)
        {
            return Err(DelegationError::BadSignature);
        }
        Ok(())
    }
}

/// Who signed: the root itself, or the issuer it delegated to.
pub(crate) fn signer(
    network: &Network,
    delegation: Option<&Delegation>,
    now: UnixTime,
    grace: u64,
) -> Result<NodeId, DelegationError> {
    match delegation {
        None => Ok(network.root),
        Some(delegation) => {
            delegation.verify_with_grace(network, now, grace)?;
            Ok(delegation.issuer)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn root() -> SigningSecret {
        SigningSecret::from_bytes(&[7; 32])
    }

    fn network() -> Network {
        Network {
            root: root().node_id(),
            name: "basket".into(),
            prefix: "fd12:3456:789a::/48".parse().unwrap(),
            grace: 86_400,
        }
    }

    #[test]
    fn a_signed_network_survives_encoding() {
        let signed = SignedNetwork::sign(network(), &root()).unwrap();
        let again = SignedNetwork::decode(&signed.encode()).unwrap();
        assert_eq!(again, signed);
        assert_eq!(again.verify(&root().node_id()), Ok(&network()));
    }

    #[test]
    fn every_bit_flip_in_a_signed_network_is_refused() {
        let encoded = SignedNetwork::sign(network(), &root()).unwrap().encode();
        for bit in 0..encoded.len() * 8 {
            let mut forged = encoded.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let accepted =
                SignedNetwork::decode(&forged).is_ok_and(|signed| signed.verify(&root().node_id()).is_ok());
            assert!(!accepted, "bit {bit}");
        }
    }

    #[test]
    fn a_network_of_another_root_is_refused() {
        let other = SigningSecret::from_bytes(&[8; 32]);
        let signed = SignedNetwork::sign(network(), &other).unwrap();
        assert_eq!(signed.verify(&root().node_id()), Err(NetworkError::WrongRoot));
    }

    #[test]
    fn a_delegation_holds_for_its_time_and_an_hour_around_it() {
        let issuer = SigningSecret::from_bytes(&[9; 32]).node_id();
        let delegation = Delegation::sign(issuer, UnixTime(100_000), UnixTime(200_000), &root());
        assert_eq!(Delegation::decode(&delegation.encode()), Ok(delegation.clone()));
        let at = |now| delegation.verify(&network(), UnixTime(now));
        assert_eq!(
            at(100_000 - 3601),
            Err(DelegationError::NotYetValid(UnixTime(100_000)))
        );
        assert_eq!(at(100_000 - 3600), Ok(()));
        assert_eq!(at(200_000 + 3600), Ok(()));
        assert_eq!(
            at(200_000 + 3601),
            Err(DelegationError::Expired(UnixTime(200_000)))
        );
        let mut forged = delegation.clone();
        forged.not_after = UnixTime(300_000);
        assert_eq!(
            forged.verify(&network(), UnixTime(150_000)),
            Err(DelegationError::BadSignature)
        );
    }
}
