//! Private directories and files, and the lock of a state directory.

use super::access::{Descriptor, Group, check, wide};
use std::{
    fs::{self, File},
    io::{self, Write},
    os::windows::fs::OpenOptionsExt,
    path::Path,
};
use windows_sys::Win32::{
    Foundation::ERROR_SHARING_VIOLATION,
    Storage::FileSystem::{CreateDirectoryW, FILE_SHARE_READ},
};

/// Makes a directory for our own user, the administrators and the system, and what is missing above it, unless it is
/// there.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let descriptor = Descriptor::private(true)?;
    let attributes = descriptor.attributes();
    // SAFETY: the path ends with a zero; the descriptor outlives the call.
    check(unsafe { CreateDirectoryW(wide(path).as_ptr(), &raw const attributes) })
}

/// Opens an empty file for writing; a new one has the rights that its directory gives on.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    File::create(path)
}

/// Rights come from the directory, which [`make_private_dir`] made: there is nothing to take away.
pub(crate) fn tighten(_dir: &Path, _secret: &Path) {}

/// The control API's pipe is not in the directory.
pub(crate) fn admit_group(_dir: &Path, _group: &Group) -> io::Result<()> {
    Ok(())
}

/// A directory that this process alone uses: it holds the file `lock` open, and the system lets nobody else write to
/// it meanwhile. The file holds our pid, for others' error messages, and cannot go stale.
#[derive(Debug)]
pub(crate) struct DirLock {
    file: Option<File>,
}

impl DirLock {
    /// `None` when another process has it.
    pub(crate) fn acquire(path: &Path) -> io::Result<Option<Self>> {
        let opened = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .share_mode(FILE_SHARE_READ)
            .open(path.join("lock"));
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if error.raw_os_error() == Some(ERROR_SHARING_VIOLATION as i32) => return Ok(None),
            Err(error) => return Err(error),
        };
        // For an error message only, so a failure does not matter.
        let _ = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Some(Self { file: Some(file) }))
    }

    /// NTFS keeps names in its journal; there is nothing to ask for.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    /// Gives the directory free; the pid would only mislead.
    pub(crate) fn release(&mut self, path: &Path) {
        drop(self.file.take());
        // Fails when another process has opened it meanwhile, which is right.
        let _ = fs::remove_file(path.join("lock"));
    }
}
