//! What makes a node a member, as it is kept in the state directory: keys, certificate, network, and the caches
//! that let it start without a registry.

use crate::{
    registry::Registries,
    state::{Content, Item, StateDir, StateError},
    usage::Ledger,
};
use osier_proto::{
    certificate::Certificate,
    identity::SecretKeys,
    network::{Network, SignedNetwork},
    record::Bundle,
    revocation::RevocationList,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use zeroize::Zeroize;

/// Everything a node starts from.
#[derive(Debug)]
pub struct Membership {
    pub keys: Arc<SecretKeys>,
    pub certificate: Certificate,
    pub network: Network,
    pub registries: Registries,
    pub revocations: Option<RevocationList>,
    pub bundles: Vec<Bundle>,
    pub sequences: Sequences,
    pub usage: Ledger,
    /// Caches that were damaged; each has been moved aside.
    pub recovered: Vec<Item>,
}

/// Numbers that must not fall back over a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequences {
    /// Last Babel seqno used.
    pub seqno: u16,
    /// Last record sequence published.
    pub record: u64,
}

impl Membership {
    /// Reads the directory.
    ///
    /// # Errors
    /// [`StateError::Empty`] before `osier join`; damage to what cannot be fetched again.
    pub fn load(dir: &StateDir) -> Result<Self, StateError> {
        let (keys, certificate, network) = load_essentials(dir)?;
        let keys = Arc::new(keys);
        let mut recovered = Vec::new();
        let registries = cached(dir, Item::Registries, &mut recovered, |b| {
            serde_json::from_slice(b).ok()
        })?;
        let revocations = cached(dir, Item::Revocations, &mut recovered, |b| {
            RevocationList::decode(b).ok()
        })?;
        let bundles = cached(dir, Item::Members, &mut recovered, decode_bundles)?;
        let sequences = cached(dir, Item::Seqno, &mut recovered, |b| {
            serde_json::from_slice(b).ok()
        })?;
        let usage = cached(dir, Item::Usage, &mut recovered, Ledger::decode)?;
        Ok(Self {
            keys,
            certificate,
            network,
            registries: registries.unwrap_or_default(),
            revocations,
            bundles: bundles.unwrap_or_default(),
            sequences: sequences.unwrap_or_default(),
            usage: usage.unwrap_or_default(),
            recovered,
        })
    }
}

/// What cannot be fetched again.
pub(crate) fn load_essentials(dir: &StateDir) -> Result<(SecretKeys, Certificate, Network), StateError> {
    let keys = load_keys(dir, Item::Identity)?.ok_or_else(|| StateError::Empty(dir.path().to_owned()))?;
    let certificate = required(dir, Item::Certificate, |bytes| Certificate::decode(bytes).ok())?;
    let network = required(dir, Item::Network, |bytes| {
        let signed = SignedNetwork::decode(bytes).ok()?;
        Some(signed.network().clone())
    })?;
    Ok((keys, certificate, network))
}

/// Secret keys from one of the two key files.
pub(crate) fn load_keys(dir: &StateDir, item: Item) -> Result<Option<SecretKeys>, StateError> {
    let Some(mut bytes) = dir.read(item)?.intact() else {
        return Ok(None);
    };
    let entropy = <[u8; 64]>::try_from(&bytes[..]);
    bytes.zeroize();
    match entropy {
        Ok(entropy) => Ok(Some(SecretKeys::from_entropy(entropy))),
        Err(_) => Err(StateError::IdentityDamaged {
            path: dir.path_of(item),
            reason: "it holds no keys",
        }),
    }
}

/// Days that are kept while no node runs; none when they cannot be read.
pub(crate) fn load_usage(dir: &StateDir) -> Result<Ledger, StateError> {
    let usage = cached(dir, Item::Usage, &mut Vec::new(), Ledger::decode)?;
    Ok(usage.unwrap_or_default())
}

pub(crate) fn save_keys(dir: &StateDir, item: Item, keys: &SecretKeys) -> Result<(), StateError> {
    let mut bytes = keys.to_bytes();
    let result = dir.write(item, &bytes);
    bytes.zeroize();
    result
}

fn required<T>(dir: &StateDir, item: Item, decode: fn(&[u8]) -> Option<T>) -> Result<T, StateError> {
    let path = dir.path_of(item);
    match dir.read(item)? {
        Content::Missing => Err(StateError::Empty(dir.path().to_owned())),
        Content::MovedAside(aside, reason) => Err(StateError::Damaged { path, aside, reason }),
        Content::Intact(bytes) => decode(&bytes).ok_or_else(|| {
            let aside = dir.move_aside(item);
            StateError::Damaged {
                path,
                aside,
                reason: "it cannot be decoded",
            }
        }),
    }
}

fn cached<T>(
    dir: &StateDir,
    item: Item,
    recovered: &mut Vec<Item>,
    decode: impl Fn(&[u8]) -> Option<T>,
) -> Result<Option<T>, StateError> {
    let value = match dir.read(item)? {
        Content::Missing => return Ok(None),
        Content::MovedAside(..) => None,
        Content::Intact(bytes) => {
            let value = decode(&bytes);
            if value.is_none() {
                dir.move_aside(item);
            }
            value
        }
    };
    if value.is_none() {
        tracing::warn!(file = item.file_name(), "a damaged state file was moved aside");
        recovered.push(item);
    }
    Ok(value)
}

/// Bundles one after the other, each after its length in four octets.
pub(crate) fn encode_bundles(bundles: &[Bundle]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for bundle in bundles {
        let encoded = bundle.encode();
        // A bundle is far below 4 GiB (record::MAX_BUNDLE).
        bytes.extend_from_slice(&(encoded.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&encoded);
    }
    bytes
}

/// Leaves out what this version does not understand; `None` when the frame itself is broken.
fn decode_bundles(mut bytes: &[u8]) -> Option<Vec<Bundle>> {
    let mut bundles = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let (encoded, rest) = rest.split_at_checked(length)?;
        bundles.extend(Bundle::decode(encoded).ok());
        bytes = rest;
    }
    Some(bundles)
}
