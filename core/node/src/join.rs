//! Joining and leaving a network.
//!
//! Joining makes the node's keys, enrols them at a registry with the invite's token, and writes the state
//! directory. The keys are kept from before the first request until the answer is known: when the answer gets
//! lost on the way, running the same join again enrols the same keys, which the registry takes as the same
//! request. A refused join removes what it made.

use crate::{
    clock,
    membership::{Membership, load_keys, save_keys},
    random,
    registry::{Client, Registries, RegistryError},
    sockets::Sockets,
    state::{Item, StateDir, StateError},
};
use osier_proto::{
    certificate::{Certificate, valid_name},
    identity::SecretKeys,
    invite::Invite,
    network::Network,
};
use std::{
    net::Ipv6Addr,
    path::{Path, PathBuf},
    sync::Arc,
};

#[derive(Clone, Debug)]
pub struct JoinOptions {
    /// Made (0700) when missing.
    pub state_dir: PathBuf,
    /// The node's name, a DNS label; the host's name when `None`.
    pub name: Option<String>,
}

/// What a join achieved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    pub name: String,
    pub address: Ipv6Addr,
    pub prefixes: Vec<ipnet::IpNet>,
    pub network: String,
    pub network_prefix: ipnet::IpNet,
    /// Unix seconds.
    pub not_after: u64,
    /// The state directory already belonged to this network; nothing was changed.
    pub already_member: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("{} already belongs to the network {network}: run `osier leave` first, or use another --state-dir", state_dir.display())]
    OtherNetwork { state_dir: PathBuf, network: String },
    #[error("{0:?} cannot be a node's name: use 1 to 63 letters, digits and hyphens")]
    BadName(String),
    /// The registry understood and said no: the invite is used up or expired, or the name is taken.
    #[error("the registry refused: {message}")]
    Refused { code: String, message: String },
    #[error(
        "no registry of the invite can be reached ({0}): check the network and try the same command again"
    )]
    Unreachable(String),
    #[error("the system does not let a connection to the registry past the VPN: {0}")]
    NotProtected(String),
    #[error("the registry's answer is not valid ({0}): it does not speak for the network of this invite")]
    Invalid(String),
    #[error(transparent)]
    State(#[from] StateError),
}

/// Enrols this machine. Safe to run again after any failure.
///
/// # Errors
/// See [`JoinError`]. After [`JoinError::Refused`] nothing is left behind; after the others the new keys may be,
/// as `identity.key.pending`, for the next attempt.
pub async fn join(invite: &Invite, options: &JoinOptions) -> Result<Joined, JoinError> {
    let name = match &options.name {
        Some(name) => name.to_ascii_lowercase(),
        None => default_name(),
    };
    if !valid_name(&name) {
        return Err(JoinError::BadName(name));
    }
    let existed = options.state_dir.exists();
    let dir = StateDir::create(&options.state_dir)?;
    if let Some(joined) = current_membership(&dir, invite)? {
        return Ok(joined);
    }
    let result = enrol(&dir, invite, &name, &Sockets::default()).await;
    if matches!(result, Err(JoinError::Refused { .. })) && !existed {
        let path = dir.path().to_owned();
        drop(dir);
        // Only if it is empty, which is all that is meant.
        let _ = std::fs::remove_dir(path);
    }
    result
}

/// Enrols this machine in a directory that is open and belongs to no network, or no longer. Removes the keys it made
/// when it is refused.
pub(crate) async fn enrol(
    dir: &StateDir,
    invite: &Invite,
    name: &str,
    sockets: &Sockets,
) -> Result<Joined, JoinError> {
    let (keys, fresh) = keys_to_enrol(dir)?;
    let keys = Arc::new(keys);
    let registries = Registries {
        urls: invite.registries.clone(),
        tls_pin: invite.tls_pin,
    };
    let client =
        Client::new(registries, keys.clone(), invite.network(), sockets.clone()).map_err(enrol_error)?;
    let (certificate, network, revocations) = match client.enrol(&invite.root, invite.token, name).await {
        Ok(answer) => answer.value,
        Err(error) => {
            if fresh && matches!(error, RegistryError::Refused { .. }) {
                clean_up(dir);
            }
            return Err(enrol_error(error));
        }
    };
    let registries = serde_json::to_vec(client.registries()).unwrap_or_default();
    dir.write(Item::Network, &network.encode())?;
    dir.write(Item::Registries, &registries)?;
    dir.write(Item::Revocations, &revocations.encode())?;
    save_keys(dir, Item::Identity, &keys)?;
    // The last step: a directory without a certificate belongs to nobody.
    dir.write(Item::Certificate, &certificate.encode())?;
    dir.remove(Item::PendingIdentity.file_name())?;
    Ok(describe(&certificate, network.network(), false))
}

/// What the directory already is a member of, if that is what the invite is for and still valid.
pub(crate) fn current_membership(dir: &StateDir, invite: &Invite) -> Result<Option<Joined>, JoinError> {
    let membership = match Membership::load(dir) {
        Ok(membership) => membership,
        // A join that was cut short, or one that must be repeated because something was damaged.
        Err(StateError::Empty(_) | StateError::Damaged { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Membership {
        certificate, network, ..
    } = &membership;
    if network.root != invite.root {
        return Err(JoinError::OtherNetwork {
            state_dir: dir.path().to_owned(),
            network: network.name.clone(),
        });
    }
    let revoked = membership
        .revocations
        .as_ref()
        .is_some_and(|list| list.revokes(certificate));
    let valid = !revoked && certificate.verify(network, clock::unix_time()).is_ok();
    Ok(valid.then(|| describe(certificate, network, true)))
}

fn describe(certificate: &Certificate, network: &Network, already_member: bool) -> Joined {
    Joined {
        name: certificate.name.clone(),
        address: certificate.address(),
        prefixes: certificate.prefixes.clone(),
        network: network.name.clone(),
        network_prefix: network.prefix,
        not_after: certificate.not_after.0,
        already_member,
    }
}

/// The keys of this directory, or new ones; and whether they are new. New ones are on disk before they are used,
/// so that a lost answer can be asked for again.
fn keys_to_enrol(dir: &StateDir) -> Result<(SecretKeys, bool), JoinError> {
    for item in [Item::Identity, Item::PendingIdentity] {
        if let Some(keys) = load_keys(dir, item)? {
            return Ok((keys, item == Item::PendingIdentity));
        }
    }
    let entropy = random::bytes().map_err(|e| JoinError::Invalid(e.to_string()))?;
    let keys = SecretKeys::from_entropy(entropy);
    save_keys(dir, Item::PendingIdentity, &keys)?;
    Ok((keys, true))
}

/// Removes what a refused join made.
fn clean_up(dir: &StateDir) {
    if let Err(error) = dir.remove(Item::PendingIdentity.file_name()) {
        tracing::warn!(%error, "the keys of the refused join stay behind");
    }
}

fn enrol_error(error: RegistryError) -> JoinError {
    match error {
        RegistryError::Refused { code, message } => JoinError::Refused { code, message },
        RegistryError::Unreachable(reason) => JoinError::Unreachable(reason),
        RegistryError::NotProtected(reason) => JoinError::NotProtected(reason),
        RegistryError::Invalid(reason) => JoinError::Invalid(reason),
        RegistryError::NoneConfigured => JoinError::Unreachable("the invite names none".into()),
    }
}

/// The host's name, made into a DNS label.
pub(crate) fn default_name() -> String {
    name_from_host(&crate::system::host_name())
}

fn name_from_host(host: &str) -> String {
    let label = host.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let label: String = label
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(63)
        .collect();
    let label = label.trim_matches('-');
    if label.is_empty() {
        "node".to_owned()
    } else {
        label.to_owned()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LeaveError {
    #[error("{} belongs to no network", .0.display())]
    NotAMember(PathBuf),
    #[error(transparent)]
    State(#[from] StateError),
}

/// What was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    pub name: String,
    pub network: String,
}

/// Removes keys, certificate and caches from the state directory. Stop the daemon first: while one runs on the
/// directory, this refuses ([`crate::state::StateError::Locked`]).
pub async fn leave(state_dir: &Path) -> Result<Left, LeaveError> {
    let dir = match StateDir::open(state_dir) {
        Ok(dir) => dir,
        Err(StateError::Empty(path)) => return Err(LeaveError::NotAMember(path)),
        Err(error) => return Err(error.into()),
    };
    let left = match Membership::load(&dir) {
        Ok(m) => Left {
            name: m.certificate.name.clone(),
            network: m.network.name,
        },
        Err(StateError::Empty(path)) => return Err(LeaveError::NotAMember(path)),
        // Leaving is the way out of a damaged directory, too.
        Err(_) => Left {
            name: "unknown".into(),
            network: "unknown".into(),
        },
    };
    forget(&dir)?;
    crate::control::remove_left_over(&dir)?;
    Ok(left)
}

/// Removes everything that belongs to the membership.
pub(crate) fn forget(dir: &StateDir) -> Result<(), StateError> {
    for item in Item::ALL {
        dir.remove(&format!("{}.damaged", item.file_name()))?;
        dir.remove(item.file_name())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_become_labels() {
        for (host, name) in [
            ("Laptop.example.org", "laptop"),
            ("my_host", "my-host"),
            ("-x-", "x"),
            ("", "node"),
            ("日本", "node"),
        ] {
            assert_eq!(name_from_host(host), name);
            assert!(valid_name(name));
        }
    }
}
