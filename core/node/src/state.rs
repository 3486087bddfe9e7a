//! The state directory: everything a node must remember.
//!
//! | file | content | when damaged |
//! |---|---|---|
//! | `identity.key` | both secret keys, 0600 | refuse to start: it cannot be replaced |
//! | `certificate` | our certificate | moved aside; refuse to start, as `osier join` is needed |
//! | `network` | the network's root and prefix | likewise |
//! | `revocations` | newest revocation list | moved aside, fetched again |
//! | `members` | known members, for a start without the registry | moved aside, fetched again |
//! | `registries` | where the network's registries are | moved aside; `osier join` or `settings.toml` gives them again |
//! | `seqno` | our Babel seqno and record sequence | moved aside; neighbours forget the old one in minutes |
//! | `switch` | whether a service's node is to run | moved aside; on |
//! | `usage` | octets per day | moved aside; the figures of earlier days are lost |
//! | `settings.toml` | what the operator may edit | refuse to start, naming the line |
//! | `lock` | pid of the daemon, for error messages | rewritten |
//! | `control.sock` | control API | replaced |
//!
//! All but the last three begin with a line `osier VERSION NAME LENGTH CHECKSUM`. A file is replaced by writing
//! a temporary one beside it, flushing it to disk, renaming it and flushing the directory, so that a crash
//! leaves the old or the new content, never a mixture. One process at a time uses a directory: it holds an
//! exclusive `flock` on the directory itself, which works on a read-only file system too and cannot go stale. (On
//! Windows it holds the file `lock` open, and the control API is a named pipe, so there is no `control.sock`.)

use crate::system::{
    Group,
    files::{self, DirLock},
};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

/// Version of the files' header.
const VERSION: u32 = 1;
/// No state file is larger; a member's bundle takes about 1 kB.
const MAX_SIZE: u64 = 64 << 20;

/// The files with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// Keys that are being enrolled: the join is not finished.
    PendingIdentity,
    Identity,
    Certificate,
    Network,
    Registries,
    Revocations,
    Members,
    Seqno,
    /// Whether a service's node is to run.
    Switch,
    /// Octets per day.
    Usage,
}

impl Item {
    pub const ALL: [Item; 10] = [
        Item::PendingIdentity,
        Item::Identity,
        Item::Certificate,
        Item::Network,
        Item::Registries,
        Item::Revocations,
        Item::Members,
        Item::Seqno,
        Item::Switch,
        Item::Usage,
    ];

    pub fn file_name(self) -> &'static str {
        match self {
            Item::PendingIdentity => "identity.key.pending",
            Item::Identity => "identity.key",
            Item::Certificate => "certificate",
            Item::Network => "network",
            Item::Registries => "registries",
            Item::Revocations => "revocations",
            Item::Members => "members",
            Item::Seqno => "seqno",
            Item::Switch => "switch",
            Item::Usage => "usage",
        }
    }

    /// Nothing can stand in for it: a damaged one is left where it is.
    fn irreplaceable(self) -> bool {
        matches!(self, Item::Identity)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("another osier daemon{} runs on {}: stop it (`osier down`) or use another --state-dir", pid_text(*pid), dir.display())]
    Locked { dir: PathBuf, pid: Option<u32> },
    #[error("{} holds no Osier node: run `osier join INVITE` first", .0.display())]
    Empty(PathBuf),
    #[error(
        "{} is damaged ({reason}) and cannot be replaced: restore it from a backup, or run `osier leave` and join again",
        path.display()
    )]
    IdentityDamaged { path: PathBuf, reason: &'static str },
    #[error("{} was damaged ({reason}) and is now {}: run `osier join INVITE` again; the keys are kept", path.display(), aside.display())]
    Damaged {
        path: PathBuf,
        aside: PathBuf,
        reason: &'static str,
    },
    #[error("{} was written by a newer Osier (format {version}): update this one", path.display())]
    Newer { path: PathBuf, version: u32 },
    #[error("cannot read {}: {source}{}", path.display(), hint(source))]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}{}", path.display(), hint(source))]
    Write { path: PathBuf, source: io::Error },
    #[error("{}: {reason}", path.display())]
    Settings { path: PathBuf, reason: String },
}

fn pid_text(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

/// What usually helps.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ": free some disk space",
        io::ErrorKind::ReadOnlyFilesystem => ": the file system is read-only",
        io::ErrorKind::PermissionDenied => {
            ": run as the user that owns the directory, or use another --state-dir"
        }
        _ => "",
    }
}

/// What reading a file gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    Missing,
    Intact(Vec<u8>),
    /// It was damaged and has been renamed to this (or could not be).
    MovedAside(PathBuf, &'static str),
}

impl Content {
    pub fn intact(self) -> Option<Vec<u8>> {
        match self {
            Content::Intact(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// An opened, locked state directory. The lock lives as long as the value.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    lock: DirLock,
}

impl StateDir {
    /// Opens and locks an existing directory.
    ///
    /// # Errors
    /// [`StateError::Empty`] when there is none, [`StateError::Locked`] when another process has it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        if !path.is_dir() {
            return Err(StateError::Empty(path.to_owned()));
        }
        let lock = DirLock::acquire(path).map_err(|source| StateError::Read {
            path: path.to_owned(),
            source,
        })?;
        let Some(lock) = lock else {
            let pid = fs::read_to_string(path.join("lock"))
                .ok()
                .and_then(|text| text.trim().parse().ok());
            return Err(StateError::Locked {
                dir: path.to_owned(),
                pid,
            });
        };
        let dir = Self {
            path: path.to_owned(),
            lock,
        };
        files::tighten(&dir.path, &dir.path_of(Item::Identity));
        Ok(dir)
    }

    /// Opens and locks a directory, making it (0700) when there is none.
    pub fn create(path: &Path) -> Result<Self, StateError> {
        files::make_private_dir(path).map_err(|source| StateError::Write {
            path: path.to_owned(),
            source,
        })?;
        Self::open(path)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn path_of(&self, item: Item) -> PathBuf {
        self.path.join(item.file_name())
    }

    /// Reads a file; a damaged one is moved aside, unless it is the identity.
    pub fn read(&self, item: Item) -> Result<Content, StateError> {
        let path = self.path_of(item);
        let bytes = match read_bounded(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content::Missing),
            Err(source) => return Err(StateError::Read { path, source }),
        };
        match parse(item, &bytes) {
            Ok(payload) => Ok(Content::Intact(payload.to_vec())),
            Err(ParseError::Newer(version)) => Err(StateError::Newer { path, version }),
            Err(ParseError::Damaged(reason)) if item.irreplaceable() => {
                Err(StateError::IdentityDamaged { path, reason })
            }
            Err(ParseError::Damaged(reason)) => Ok(Content::MovedAside(self.move_aside(item), reason)),
        }
    }

    /// Renames a file whose content makes no sense, so that it can be looked at and is not read again.
    pub fn move_aside(&self, item: Item) -> PathBuf {
        let path = self.path_of(item);
        let aside = self.path.join(format!("{}.damaged", item.file_name()));
        // On a read-only file system it stays; the next start will find it damaged again.
        if fs::rename(&path, &aside).is_ok() {
            aside
        } else {
            path
        }
    }

    /// Replaces a file, whole or not at all.
    pub fn write(&self, item: Item, payload: &[u8]) -> Result<(), StateError> {
        let checksum = blake3::hash(payload).to_hex();
        let mut bytes = format!(
            "osier {VERSION} {} {} {checksum}\n",
            item.file_name(),
            payload.len()
        )
        .into_bytes();
        bytes.extend_from_slice(payload);
        let result = self.replace(item.file_name(), &bytes);
        // It may hold the secret keys.
        zeroize::Zeroize::zeroize(&mut bytes);
        result
    }

    /// Replaces a file without a header (`settings.toml`).
    pub fn write_plain(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        self.replace(name, bytes)
    }

    /// Whether files can be written now.
    pub fn probe(&self) -> Result<(), StateError> {
        let path = self.path.join(".probe");
        let result = files::create_private(&path).and_then(|mut file| file.write_all(b"probe"));
        let _ = fs::remove_file(&path);
        result.map_err(|source| StateError::Write { path, source })
    }

    pub fn remove(&self, name: &str) -> Result<(), StateError> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(StateError::Write { path, source }),
            Ok(()) => {
                // The removal is done; whether it survives a power cut is all that a failure here changes.
                let _ = self.lock.sync();
                Ok(())
            }
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let path = self.path.join(name);
        let temporary = self.path.join(format!(".{name}.new"));
        let result = (|| {
            let mut file = files::create_private(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            drop(file);
            fs::rename(&temporary, &path)?;
            self.lock.sync()
        })();
        result.map_err(|source: io::Error| {
            let _ = fs::remove_file(&temporary);
            StateError::Write { path, source }
        })
    }

    /// Lets the members of a group reach the control socket inside; the files stay private.
    pub fn admit_group(&self, group: &Group) -> io::Result<()> {
        files::admit_group(&self.path, group)
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        self.lock.release(&self.path);
    }
}

enum ParseError {
    Damaged(&'static str),
    Newer(u32),
}

fn parse(item: Item, bytes: &[u8]) -> Result<&[u8], ParseError> {
    use ParseError::Damaged;
    let end = bytes
        .iter()
        .take(256)
        .position(|b| *b == b'\n')
        .ok_or(Damaged("it has no header"))?;
    let header = std::str::from_utf8(&bytes[..end]).map_err(|_| Damaged("it has no header"))?;
    let mut words = header.split(' ');
    if words.next() != Some("osier") {
        return Err(Damaged("it has no header"));
    }
    let version: u32 = words
        .next()
        .and_then(|w| w.parse().ok())
        .ok_or(Damaged("its header is malformed"))?;
    if version > VERSION {
        return Err(ParseError::Newer(version));
    }
    if words.next() != Some(item.file_name()) {
        return Err(Damaged("it is another file"));
    }
    let length: usize = words
        .next()
        .and_then(|w| w.parse().ok())
        .ok_or(Damaged("its header is malformed"))?;
    let checksum = words.next().ok_or(Damaged("its header is malformed"))?;
    let payload = &bytes[end + 1..];
    if payload.len() != length {
        return Err(Damaged("it is cut short or has something appended"));
    }
    if blake3::hash(payload).to_hex().as_str() != checksum {
        return Err(Damaged("its checksum is wrong"));
    }
    Ok(payload)
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if read as u64 > MAX_SIZE {
        return Err(io::Error::other("it is absurdly large"));
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::TempDir;
    #[cfg(unix)]
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_was_written_is_read_back() {
        let temp = TempDir::new("state-roundtrip");
        let dir = StateDir::create(temp.path()).unwrap();
        assert_eq!(dir.read(Item::Members).unwrap(), Content::Missing);
        dir.write(Item::Members, b"one").unwrap();
        dir.write(Item::Members, b"two").unwrap();
        assert_eq!(dir.read(Item::Members).unwrap(), Content::Intact(b"two".to_vec()));
    }

    #[cfg(unix)]
    #[test]
    fn directory_and_files_are_private() {
        let temp = TempDir::new("state-modes");
        let path = temp.path().join("deep/er");
        let dir = StateDir::create(&path).unwrap();
        dir.write(Item::Identity, b"secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(
            fs::metadata(dir.path_of(Item::Identity))
                .unwrap()
                .permissions()
                .mode()
                & 0o777,
            0o600
        );
    }

    #[cfg(unix)]
    #[test]
    fn wide_permissions_are_tightened_on_open() {
        let temp = TempDir::new("state-tighten");
        let dir = StateDir::create(temp.path()).unwrap();
        dir.write(Item::Identity, b"secret").unwrap();
        let key = dir.path_of(Item::Identity);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o777)).unwrap();
        drop(dir);
        let _dir = StateDir::open(temp.path()).unwrap();
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o077, 0);
        assert_eq!(fs::metadata(temp.path()).unwrap().permissions().mode() & 0o027, 0);
    }

    #[test]
    fn second_opener_is_told_who_has_the_directory() {
        let temp = TempDir::new("state-lock");
        let first = StateDir::create(temp.path()).unwrap();
        let error = StateDir::open(temp.path()).unwrap_err();
        assert!(matches!(error, StateError::Locked { pid: Some(pid), .. } if pid == std::process::id()));
        assert!(error.to_string().contains("osier down"), "{error}");
        drop(first);
        StateDir::open(temp.path()).unwrap();
    }

    #[test]
    fn missing_directory_says_join() {
        let temp = TempDir::new("state-missing");
        let error = StateDir::open(&temp.path().join("nothing")).unwrap_err();
        assert!(error.to_string().contains("osier join"), "{error}");
    }

    #[test]
    fn every_damage_is_found_and_the_file_is_moved_aside() {
        let temp = TempDir::new("state-damage");
        let dir = StateDir::create(temp.path()).unwrap();
        dir.write(Item::Members, b"some members").unwrap();
        let path = dir.path_of(Item::Members);
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let mut appended = good.clone();
        appended.push(0);
        let other = String::from_utf8(good.clone())
            .unwrap()
            .replace("members ", "seqno ")
            .into_bytes();
        for bad in [
            flipped,
            appended,
            good[..good.len() - 1].to_vec(),
            Vec::new(),
            vec![b'x'; 1000],
            other,
        ] {
            fs::write(&path, &bad).unwrap();
            assert!(
                matches!(dir.read(Item::Members).unwrap(), Content::MovedAside(..)),
                "{bad:?}"
            );
            assert!(!path.exists());
            assert_eq!(fs::read(dir.path().join("members.damaged")).unwrap(), bad);
        }
    }

    #[test]
    fn damaged_identity_is_refused_and_left_in_place() {
        let temp = TempDir::new("state-identity");
        let dir = StateDir::create(temp.path()).unwrap();
        fs::write(dir.path_of(Item::Identity), b"garbage").unwrap();
        assert!(matches!(
            dir.read(Item::Identity),
            Err(StateError::IdentityDamaged { .. })
        ));
        assert_eq!(fs::read(dir.path_of(Item::Identity)).unwrap(), b"garbage");
    }

    #[test]
    fn newer_format_is_refused_not_destroyed() {
        let temp = TempDir::new("state-newer");
        let dir = StateDir::create(temp.path()).unwrap();
        fs::write(dir.path_of(Item::Seqno), b"osier 2 seqno whatever\n").unwrap();
        assert!(matches!(
            dir.read(Item::Seqno),
            Err(StateError::Newer { version: 2, .. })
        ));
        assert!(dir.path_of(Item::Seqno).exists());
    }

    #[test]
    fn probe_finds_out_whether_files_can_be_written_and_leaves_none() {
        let temp = TempDir::new("state-probe");
        let dir = StateDir::create(temp.path()).unwrap();
        dir.probe().unwrap();
        assert!(!temp.path().join(".probe").exists());
        fs::create_dir(temp.path().join(".probe")).unwrap();
        assert!(matches!(dir.probe(), Err(StateError::Write { .. })));
    }

    #[test]
    fn failed_write_keeps_the_old_content_and_leaves_no_litter() {
        let temp = TempDir::new("state-fail");
        let dir = StateDir::create(temp.path()).unwrap();
        dir.write(Item::Seqno, b"old").unwrap();
        // A directory where the temporary file should go makes the write fail for root too.
        fs::create_dir(temp.path().join(".seqno.new")).unwrap();
        assert!(matches!(
            dir.write(Item::Seqno, b"new"),
            Err(StateError::Write { .. })
        ));
        assert_eq!(dir.read(Item::Seqno).unwrap(), Content::Intact(b"old".to_vec()));
    }
}
