//! Private directories and files, and the lock of a state directory.

use super::access::Group;
use rustix::{
    fs::{FlockOperation, Mode, OFlags},
    io::Errno,
};
use std::{
    fs::{self, File},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    },
    path::Path,
};

/// Makes a directory (0700) and what is missing above it, unless it is there.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens an empty file for writing; a new one is its owner's alone (0600).
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// Takes away what others should never have had: any right on the secret file, writing in the directory.
pub(crate) fn tighten(dir: &Path, secret: &Path) {
    let clear = |path: &Path, bits: u32| {
        let Ok(meta) = fs::metadata(path) else { return };
        let mode = meta.permissions().mode();
        if mode & bits != 0 && fs::set_permissions(path, fs::Permissions::from_mode(mode & !bits)).is_ok() {
            tracing::warn!(path = %path.display(), "permissions were too wide and have been tightened");
        }
    };
    clear(dir, 0o027);
    clear(secret, 0o077);
}

/// Lets the members of a group reach the control socket inside (the files stay 0600).
pub(crate) fn admit_group(dir: &Path, group: &Group) -> io::Result<()> {
    std::os::unix::fs::chown(dir, None, Some(group.0))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o710))
}

/// A directory that this process alone uses: an exclusive `flock` on the directory itself, which works on a
/// read-only file system too and cannot go stale. The file `lock` in it holds our pid, for others' error messages.
#[derive(Debug)]
pub(crate) struct DirLock {
    dir: OwnedFd,
}

impl DirLock {
    /// `None` when another process has it.
    pub(crate) fn acquire(path: &Path) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(path, flags, Mode::empty())?;
        match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // For an error message only, so a failure does not matter.
        let _ = fs::write(path.join("lock"), format!("{}\n", std::process::id()));
        Ok(Some(Self { dir }))
    }

    /// Makes names that were added, changed or removed in the directory durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.dir)?)
    }

    /// Gives the directory free; the pid would only mislead.
    pub(crate) fn release(&mut self, path: &Path) {
        // Closing the descriptor, right after this, releases the lock.
        let _ = fs::remove_file(path.join("lock"));
    }
}
