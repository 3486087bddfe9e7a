//! Keys of a node and the names derived from them.

use crate::{RouterId, codec, network::NetworkId};
use core::{fmt, net::Ipv6Addr, str::FromStr};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use zeroize::Zeroize;

/// A node's name to the protocol: its Ed25519 public key. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 32]);

impl NodeId {
    /// First 8 octets of the key's BLAKE3 hash; never all zeroes or all ones.
    pub fn router_id(&self) -> RouterId {
        let hash = blake3::hash(&self.0);
        let mut id = [0; 8];
        id.copy_from_slice(&hash.as_bytes()[..8]);
        // RFC 8966 section 4.1.3 reserves these two.
        if id == [0; 8] || id == [0xff; 8] {
            id[7] ^= 1;
        }
        RouterId(id)
    }

    /// `fe80::/64` with the router-id as interface identifier: the node's address inside its tunnels.
    pub fn link_local(&self) -> Ipv6Addr {
        link_local(self.router_id())
    }

    /// Whether `signature` is this key's over `context || 0x00 || network id || message`. Strict: no small-order
    /// keys, no second encodings of a signature.
    pub fn verify(&self, context: &str, network: &NetworkId, message: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| {
            key.verify_strict(
                &signed_message(context, network, message),
                &Signature::from_bytes(signature),
            )
            .is_ok()
        })
    }
}

/// The address inside tunnels of the node with this router-id.
pub fn link_local(router_id: RouterId) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets[..2].copy_from_slice(&[0xfe, 0x80]);
    octets[8..].copy_from_slice(&router_id.0);
    Ipv6Addr::from(octets)
}

fn signed_message(context: &str, network: &NetworkId, message: &[u8]) -> Vec<u8> {
    let mut signed = Vec::with_capacity(context.len() + 1 + network.0.len() + message.len());
    signed.extend_from_slice(context.as_bytes());
    signed.push(0);
    signed.extend_from_slice(&network.0);
    signed.extend_from_slice(message);
    signed
}

/// Text that is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key: expected 64 hexadecimal digits or 43 base64url characters")]
pub struct ParseKeyError;

fn parse_key(text: &str) -> Result<[u8; 32], ParseKeyError> {
    let text = text.trim();
    if text.len() != 64 {
        return codec::array_from_base64url(text, "key").map_err(|_| ParseKeyError);
    }
    let mut key = [0; 32];
    for (octet, digits) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16).ok_or(ParseKeyError);
        // Two hexadecimal digits are at most 255.
        *octet = (digit(digits[0])? << 4 | digit(digits[1])?) as u8;
    }
    Ok(key)
}

fn write_hex(octets: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
}

/// An X25519 public key: the node's WireGuard identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TunnelKey(pub [u8; 32]);

macro_rules! key_text {
    ($key:ident) => {
        impl fmt::Display for $key {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl fmt::Debug for $key {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Enough to tell keys apart in a log.
                write_hex(&self.0[..8], f)?;
                f.write_str("…")
            }
        }

        impl FromStr for $key {
            type Err = ParseKeyError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse_key(text).map(Self)
            }
        }

        impl Serialize for $key {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $key {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(D::Error::custom)
            }
        }
    };
}
key_text!(NodeId);
key_text!(TunnelKey);

/// An Ed25519 secret key: a network's root, a registry's issuer, or the signing half of a node. Zeroed on drop,
/// never shown by `Debug`.
pub struct SigningSecret(SigningKey);

impl SigningSecret {
    /// From 32 octets of randomness that the caller draws, or that [`Self::to_bytes`] gave.
    pub fn from_bytes(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, for the key file.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public key.
    pub fn node_id(&self) -> NodeId {
        NodeId(self.0.verifying_key().to_bytes())
    }

    /// Ed25519 over `context || 0x00 || network id || message`.
    pub fn sign(&self, context: &str, network: &NetworkId, message: &[u8]) -> [u8; 64] {
        self.0.sign(&signed_message(context, network, message)).to_bytes()
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningSecret({:?})", self.node_id())
    }
}

/// Both secret keys of a node; zeroed on drop, never shown by `Debug`.
pub struct SecretKeys {
    signing: SigningSecret,
    tunnel: x25519_dalek::StaticSecret,
}

impl SecretKeys {
    /// From 64 octets of randomness that the caller draws, or that [`Self::to_bytes`] gave.
    pub fn from_entropy(mut entropy: [u8; 64]) -> Self {
        let (mut seed, mut scalar) = ([0; 32], [0; 32]);
        seed.copy_from_slice(&entropy[..32]);
        scalar.copy_from_slice(&entropy[32..]);
        let keys = Self {
            signing: SigningSecret::from_bytes(&seed),
            tunnel: x25519_dalek::StaticSecret::from(scalar),
        };
        seed.zeroize();
        scalar.zeroize();
        entropy.zeroize();
        keys
    }

    /// Ed25519 seed, then X25519 secret: for the key file.
    pub fn to_bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(self.signing.0.as_bytes());
        bytes[32..].copy_from_slice(self.tunnel.as_bytes());
        bytes
    }

    pub fn node_id(&self) -> NodeId {
        self.signing.node_id()
    }

    pub fn tunnel_key(&self) -> TunnelKey {
        TunnelKey(x25519_dalek::PublicKey::from(&self.tunnel).to_bytes())
    }

    /// The X25519 secret, for the session engine only.
    pub fn tunnel_secret(&self) -> &[u8; 32] {
        self.tunnel.as_bytes()
    }

    /// The Ed25519 half.
    pub fn signing(&self) -> &SigningSecret {
        &self.signing
    }

    /// Ed25519 over `context || 0x00 || network id || message`.
    pub fn sign(&self, context: &str, network: &NetworkId, message: &[u8]) -> [u8; 64] {
        self.signing.sign(context, network, message)
    }
}

impl fmt::Debug for SecretKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKeys({:?})", self.node_id())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn keys() -> SecretKeys {
        SecretKeys::from_entropy(core::array::from_fn(|i| i as u8))
    }

    #[test]
    fn secret_keys_survive_their_file() {
        let again = SecretKeys::from_entropy(keys().to_bytes());
        assert_eq!(again.node_id(), keys().node_id());
        assert_eq!(again.tunnel_key(), keys().tunnel_key());
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?} {:?}", keys(), keys().signing());
        assert!(!shown.contains("000102"), "{shown}");
        assert!(!shown.contains("[0, 1, 2"), "{shown}");
    }

    #[test]
    fn a_signature_holds_for_its_context_network_and_message_only() {
        let (network, other) = (NetworkId([1; 16]), NetworkId([2; 16]));
        let signature = keys().sign("context", &network, b"message");
        let node = keys().node_id();
        assert!(node.verify("context", &network, b"message", &signature));
        assert!(!node.verify("context2", &network, b"message", &signature));
        assert!(!node.verify("context", &other, b"message", &signature));
        assert!(!node.verify("context", &network, b"messagf", &signature));
        assert!(!NodeId([0; 32]).verify("context", &network, b"message", &signature));
    }

    #[test]
    fn a_small_order_key_verifies_nothing() {
        // The identity point: with lax verification R = identity, s = 0 would verify every message.
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(!NodeId(identity).verify("c", &NetworkId([0; 16]), b"m", &signature));
    }

    #[test]
    fn keys_are_read_back_from_either_text_form() {
        let node = keys().node_id();
        assert_eq!(node.to_string().parse::<NodeId>(), Ok(node));
        assert_eq!(codec::to_base64url(&node.0).parse::<NodeId>(), Ok(node));
        assert_eq!("zz".parse::<NodeId>(), Err(ParseKeyError));
        assert_eq!("é".repeat(32).parse::<NodeId>(), Err(ParseKeyError));
    }

    #[test]
    fn the_link_local_address_ends_in_the_router_id() {
        let node = keys().node_id();
        assert_eq!(node.link_local().octets()[8..], node.router_id().0);
        assert!(node.link_local().is_unicast_link_local());
    }
}
