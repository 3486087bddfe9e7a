//! What survives a restart: our router-id and seqno, in one small file that is replaced in one step.
//!
//! A restarted router must not come with an older seqno than before, or neighbours that remember its routes
//! find the new ones unfeasible for minutes (RFC 8966 section 3.7.3).

use osier_babel::RouterId;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const FILE_NAME: &str = "babel.json";
/// Of the file's format. Files of later versions are left alone.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    #[serde(default)]
    router_id: String,
    #[serde(default)]
    seqno: u16,
}

/// What was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) router_id: RouterId,
    pub(super) seqno: u16,
}

/// A directory of which we use one file.
#[derive(Clone, Debug)]
pub(super) struct State {
    directory: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is of version {0}, which this program does not know: use a newer one, or remove the file")]
    Newer(u32),
    #[error("it is damaged ({0}): remove it, then the next start counts from the clock")]
    Damaged(String),
}

impl State {
    /// Makes the directory when it is missing.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(FILE_NAME)
    }

    /// What the last run left; `None` at the first.
    pub(super) fn load(&self) -> Result<Option<Kept>, StateError> {
        let text = match fs::read(self.path()) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let content: Content =
            serde_json::from_slice(&text).map_err(|error| StateError::Damaged(error.to_string()))?;
        if content.version != VERSION {
            return Err(StateError::Newer(content.version));
        }
        let router_id = super::parse_router_id(&content.router_id)
            .map_err(|error| StateError::Damaged(error.to_string()))?;
        Ok(Some(Kept {
            router_id,
            seqno: content.seqno,
        }))
    }

    /// Returns when it is on the disk. At any moment, a crash leaves either the old content or the new.
    pub(super) fn store(&self, kept: Kept) -> io::Result<()> {
        let content = Content {
            version: VERSION,
            router_id: kept.router_id.to_string(),
            seqno: kept.seqno,
        };
        let new = self.directory.join(format!("{FILE_NAME}.new"));
        let mut file = File::create(&new)?;
        serde_json::to_writer(&mut file, &content)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&new, self.path())?;
        File::open(&self.directory)?.sync_all()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    const KEPT: Kept = Kept {
        router_id: RouterId([1, 2, 3, 4, 5, 6, 7, 8]),
        seqno: 65_535,
    };

    #[test]
    fn what_is_stored_is_found_again_in_a_directory_made_for_it() {
        let temp = TempDir::new("babel-state");
        let state = State::open(&temp.path().join("a/b")).unwrap();
        assert_eq!(state.load().unwrap(), None);
        state.store(KEPT).unwrap();
        state.store(Kept { seqno: 0, ..KEPT }).unwrap();
        assert_eq!(state.load().unwrap(), Some(Kept { seqno: 0, ..KEPT }));
    }

    #[test]
    fn a_half_written_successor_does_no_harm() {
        let temp = TempDir::new("babel-half");
        let state = State::open(temp.path()).unwrap();
        state.store(KEPT).unwrap();
        fs::write(temp.path().join("babel.json.new"), "{\"ver").unwrap();
        assert_eq!(state.load().unwrap(), Some(KEPT));
        state.store(KEPT).unwrap();
        assert_eq!(state.load().unwrap(), Some(KEPT));
    }

    #[test]
    fn damage_and_later_versions_are_told_apart_and_left_alone() {
        let temp = TempDir::new("babel-damage");
        let state = State::open(temp.path()).unwrap();
        for (text, reason) in [
            ("", "damaged"),
            ("{}", "damaged"),
            ("{\"version\":1,\"router_id\":\"xyz\",\"seqno\":1}", "damaged"),
            (
                "{\"version\":1,\"router_id\":\"0102030405060708\",\"seqno\":70000}",
                "damaged",
            ),
            ("{\"version\":2,\"routers\":[]}", "version 2"),
        ] {
            fs::write(state.path(), text).unwrap();
            let error = state.load().unwrap_err().to_string();
            assert!(
                error.contains(reason) && error.contains("remove"),
                "{text}: {error}"
            );
            assert_eq!(fs::read_to_string(state.path()).unwrap(), text);
        }
    }
}
