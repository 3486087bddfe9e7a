//! What can go wrong, and what to do about it.

use osier_proto::{
    error::DecodeError,
    network::{DelegationError, NetworkError, NetworkId},
    revocation::RevocationError,
    wallclock::UnixTime,
};
use std::{io, net::SocketAddr, path::PathBuf};

/// The registry directory cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error(
        "there is no network in {0}: create one with `osier network create`, or name its directory with --dir"
    )]
    NoNetwork(PathBuf),
    #[error("{0} exists and is not overwritten: choose another directory, or move the old network away")]
    Exists(PathBuf),
    #[error("{0} is missing: restore it from the backup of the registry directory")]
    Missing(PathBuf),
    #[error(
        "{} may be read by others (mode {mode:04o}): run `chmod 600 {}`, and consider the key known if the machine has other users",
        path.display(), path.display()
    )]
    Permissions { path: PathBuf, mode: u32 },
    #[error("{} is damaged ({reason}): restore it from the backup of the registry directory", path.display())]
    Corrupt { path: PathBuf, reason: String },
    #[error("{0} was written by a newer Osier: update Osier on this machine")]
    Newer(PathBuf),
    #[error("{} belongs to another network than {}", path.display(), directory.display())]
    OtherNetwork { path: PathBuf, directory: PathBuf },
    #[error("{}: {reason}", path.display())]
    Settings { path: PathBuf, reason: String },
    #[error("`{0}` cannot hold a network: use an IPv6 prefix of 8 to 60 bits, such as fd12:3456:789a::/48")]
    Prefix(String),
    #[error("`{0}` cannot name a network: use 1 to 63 octets without control characters")]
    Name(String),
    #[error("a certificate's lifetime is 10 minutes to 1 year")]
    Lifetime,
    #[error(
        "the registry's right to sign ended at {0}: bring the root key and run `osier network renew-issuer --root-key FILE`"
    )]
    IssuerExpired(UnixTime),
    #[error("the registry's right to sign: {0}")]
    Delegation(DelegationError),
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    #[error("cannot make a TLS certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
    #[error("{}: {reason}", path.display())]
    Tls { path: PathBuf, reason: String },
}

impl DirectoryError {
    pub(crate) fn undecodable(path: PathBuf, error: DecodeError) -> Self {
        match error {
            DecodeError::UnknownVersion(_) | DecodeError::UnknownCriticalField(_) => Self::Newer(path),
            error => Self::Corrupt {
                path,
                reason: error.to_string(),
            },
        }
    }

    pub(crate) fn unverified(path: PathBuf, error: NetworkError) -> Self {
        match error {
            NetworkError::Decode(error) => Self::undecodable(path, error),
            error => Self::Corrupt {
                path,
                reason: error.to_string(),
            },
        }
    }
}

/// The database cannot be used. Its URL is shown without the password.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("`{0}` is not a database URL: use sqlite:FILE or postgres://USER@HOST/DATABASE")]
    Url(String),
    #[error("cannot open the database {database}: {reason}")]
    Open { database: String, reason: String },
    #[error("the database {0} does not answer; the registry goes on when it does")]
    Unreachable(String),
    #[error("the database {0} is locked by another process for too long; try again")]
    Locked(String),
    #[error("the database {0} can only be read: make its directory and file writable for this user")]
    ReadOnly(String),
    #[error("there is no space left for the database {0}: free some")]
    Full(String),
    #[error("the database {database} is damaged ({reason}): restore it from a backup")]
    Corrupt { database: String, reason: String },
    #[error("the database {database} has schema {found}, this Osier knows up to {known}: update Osier")]
    Newer {
        database: String,
        found: i64,
        known: i64,
    },
    #[error("the database {database} belongs to network {found}, the directory to {expected}")]
    OtherNetwork {
        database: String,
        found: String,
        expected: NetworkId,
    },
    #[error("the database {database}: {source}")]
    Other { database: String, source: sqlx::Error },
}

/// Why the registry does not grant what was asked. [`Refusal::code`] is what goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no such invite: it was withdrawn or is of another network")]
    TokenUnknown,
    #[error("the invite has been used already: ask for a new one")]
    TokenUsed,
    #[error("the invite ended at {0}: ask for a new one")]
    TokenExpired(UnixTime),
    #[error("the name `{0}` is taken: choose another")]
    NameTaken(String),
    #[error("the node is revoked")]
    Revoked,
    #[error("the node is not a member of this network: join with an invite")]
    NotAMember,
    #[error("the node's certificate ended at {0}, too long ago to be renewed: join again with an invite")]
    ExpiredTooLong(UnixTime),
    #[error("the network has no prefix left")]
    NetworkFull,
    #[error("a newer record of this node is known")]
    StaleRecord,
    #[error("{0}")]
    Malformed(String),
    #[error("{0}")]
    Unauthenticated(String),
}

impl Refusal {
    /// Stable and machine-readable: see [`osier_proto::registry_api::ErrorReply`].
    pub fn code(&self) -> &'static str {
        match self {
            Self::TokenUnknown => "token-unknown",
            Self::TokenUsed => "token-used",
            Self::TokenExpired(_) => "token-expired",
            Self::NameTaken(_) => "name-taken",
            Self::Revoked => "revoked",
            Self::NotAMember | Self::ExpiredTooLong(_) => "not-a-member",
            Self::NetworkFull => "network-full",
            Self::StaleRecord => "stale-record",
            Self::Malformed(_) => "malformed",
            Self::Unauthenticated(_) => "unauthenticated",
        }
    }
}

/// Any failure of the registry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{0}")]
    Invalid(String),
    #[error("no node is called `{0}`, and no node's key begins so: see `osier nodes`")]
    NoSuchNode(String),
    #[error("several nodes' keys begin with `{0}`: give more of it")]
    AmbiguousNode(String),
    #[error("there is no invite `{0}`: see `osier invite list`")]
    NoSuchInvite(String),
    #[error("4096 nodes are on the revocation list; they leave it when their certificates have expired")]
    TooManyRevoked,
    #[error("the stored revocation list: {0}")]
    Revocations(#[from] RevocationError),
    #[error("cannot listen on {address}: {source}{}", listen_hint(source))]
    Listen { address: SocketAddr, source: io::Error },
}

fn listen_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; is a registry running already? Stop it, or set another `listen` in registry.toml"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need root: set another `listen` in registry.toml"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this machine has no such address: set another `listen` in registry.toml"
        }
        _ => "",
    }
}
