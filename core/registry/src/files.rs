//! Files of the registry directory: written whole or not at all, secret ones readable by their owner alone.

use crate::{DirectoryError, random};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Mode 0600.
    Owner,
    /// Mode 0644.
    Everyone,
}

/// Writes a new file; one that exists is never overwritten.
pub(crate) fn create(path: &Path, contents: &[u8], access: Access) -> Result<(), DirectoryError> {
    let temporary = write_temporary(path, contents, access)?;
    // A link, unlike a rename, fails when the name is taken.
    let linked = fs::hard_link(&temporary, path);
    let removed = fs::remove_file(&temporary);
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(DirectoryError::Exists(path.to_owned()))
        }
        other => other.and(removed).map_err(|error| failure("write", path, error)),
    }?;
    sync_parent(path);
    Ok(())
}

/// Replaces a file, or makes it.
pub(crate) fn replace(path: &Path, contents: &[u8], access: Access) -> Result<(), DirectoryError> {
    let temporary = write_temporary(path, contents, access)?;
    fs::rename(&temporary, path).map_err(|error| {
        let _ = fs::remove_file(&temporary);
        failure("replace", path, error)
    })?;
    sync_parent(path);
    Ok(())
}

fn write_temporary(path: &Path, contents: &[u8], access: Access) -> Result<PathBuf, DirectoryError> {
    let suffix = u64::from_ne_bytes(random()?);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{suffix:016x}"));
    let written = open_new(&temporary, access).and_then(|mut file| {
        file.write_all(contents)?;
        file.sync_all()
    });
    written.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        failure("write", path, error)
    })?;
    Ok(temporary)
}

fn open_new(path: &Path, access: Access) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(match access {
            Access::Owner => 0o600,
            Access::Everyone => 0o644,
        });
    }
    #[cfg(not(unix))]
    let _ = access;
    options.open(path)
}

/// Makes an empty file that only its owner may read, unless there is a file already.
pub(crate) fn touch_private(path: &Path) -> io::Result<()> {
    match open_new(path, Access::Owner) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(drop),
    }
}

/// A directory for its owner alone; one that exists stays as it is.
pub(crate) fn make_directory(path: &Path) -> Result<(), DirectoryError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder
        .create(path)
        .map_err(|error| failure("create", path, error))
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, DirectoryError> {
    fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => DirectoryError::Missing(path.to_owned()),
        _ => failure("read", path, error),
    })
}

/// Reads a file that nobody but its owner may see; refuses one that others can read.
pub(crate) fn read_secret(path: &Path) -> Result<Vec<u8>, DirectoryError> {
    let contents = read(path)?;
    check_private(path)?;
    Ok(contents)
}

#[cfg(unix)]
fn check_private(path: &Path) -> Result<(), DirectoryError> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = fs::metadata(path).map_err(|error| failure("read", path, error))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(DirectoryError::Permissions {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_private(_path: &Path) -> Result<(), DirectoryError> {
    Ok(())
}

/// Makes the new name durable. Not every file system can, and none needs it to be correct.
fn sync_parent(path: &Path) {
    if let Some(Ok(directory)) = path.parent().map(File::open) {
        let _ = directory.sync_all();
    }
}

fn failure(action: &'static str, path: &Path, source: io::Error) -> DirectoryError {
    DirectoryError::File {
        action,
        path: path.to_owned(),
        source,
    }
}
