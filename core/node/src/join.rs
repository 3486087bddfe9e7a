//! Joining and leaving a network.
//!
//! Joining makes the node's keys, enrols them at a registry with the invite's token, and writes the state
//! directory. The keys are kept from before the first request until the answer is known: when the answer gets
//! lost on the way, running the same join again enrols the same keys, which the registry takes as the same
//! request. A refused join removes what it made.

use osier_proto::invite::Invite;
use std::{
    net::Ipv6Addr,
    path::{Path, PathBuf},
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
    #[error("the registry's answer is not valid ({0}): it does not speak for the network of this invite")]
    Invalid(String),
    #[error(transparent)]
    State(#[from] crate::state::StateError),
}

/// Enrols this machine. Safe to run again after any failure.
pub async fn join(_invite: &Invite, _options: &JoinOptions) -> Result<Joined, JoinError> {
    todo!()
}

#[derive(Debug, thiserror::Error)]
pub enum LeaveError {
    #[error("{} belongs to no network", .0.display())]
    NotAMember(PathBuf),
    #[error(transparent)]
    State(#[from] crate::state::StateError),
}

/// What was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    pub name: String,
    pub network: String,
}

/// Removes keys, certificate and caches from the state directory. Stop the daemon first: while one runs on the
/// directory, this refuses ([`crate::state::StateError::Locked`]).
pub async fn leave(_state_dir: &Path) -> Result<Left, LeaveError> {
    todo!()
}
