//! What the commands of a network's operator share: opening the registry's directory, and its errors.

use crate::{
    exit::{Exit, Failure, Outcome},
    paths::{RegistryDirArgs, hand_over},
};
use osier_registry::{DatabaseError, DirectoryError, Error, Refusal, Registry};
use std::{future::Future, path::PathBuf};

/// Does `work` with the registry of the directory, and leaves no file behind that its service cannot read.
pub(crate) async fn with_registry<T, F>(
    args: &RegistryDirArgs,
    work: impl FnOnce(Registry) -> F,
) -> Outcome<T>
where
    F: Future<Output = Result<T, Error>>,
{
    let path: PathBuf = args.dir()?;
    let result = match Registry::open(&path).await {
        Ok(registry) => work(registry).await,
        Err(error) => Err(error),
    };
    hand_over(&path);
    result.map_err(|e| explain(&e))
}

/// The messages of the registry say what to do; this adds the codes.
pub(crate) fn explain(error: &Error) -> Failure {
    let exit = match error {
        Error::Directory(error) => return explain_directory(error),
        Error::Database(error) => match error {
            DatabaseError::Url(_) => Exit::Usage,
            DatabaseError::ReadOnly(_) => Exit::Permission,
            DatabaseError::Unreachable(_) | DatabaseError::Locked(_) => Exit::Unreachable,
            _ => Exit::Failure,
        },
        Error::Refused(Refusal::NameTaken(_)) => Exit::Conflict,
        Error::Refused(_) => Exit::Refused,
        Error::Invalid(_) | Error::NoSuchNode(_) | Error::AmbiguousNode(_) | Error::NoSuchInvite(_) => {
            Exit::Usage
        }
        Error::Listen { source, .. } => match source.kind() {
            std::io::ErrorKind::AddrInUse => Exit::Conflict,
            std::io::ErrorKind::PermissionDenied => Exit::Permission,
            _ => Exit::Failure,
        },
        _ => Exit::Failure,
    };
    Failure::plain(exit, error.to_string())
}

pub(crate) fn explain_directory(error: &DirectoryError) -> Failure {
    let exit = match error {
        DirectoryError::Exists(_) => Exit::Conflict,
        DirectoryError::NoNetwork(_)
        | DirectoryError::Prefix(_)
        | DirectoryError::Name(_)
        | DirectoryError::Lifetime => Exit::Usage,
        DirectoryError::Permissions { .. } => Exit::Permission,
        DirectoryError::File { source, .. } => {
            return Failure {
                message: error.to_string(),
                ..Failure::io("", source)
            };
        }
        _ => Exit::Failure,
    };
    Failure::plain(exit, error.to_string())
}
