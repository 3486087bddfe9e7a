//! Where the service listens.

use osier_control::default_place;
use std::{
    env,
    path::{Path, PathBuf},
};

/// As `osier` itself reads it.
const VARIABLE: &str = "OSIER_CONTROL_SOCKET";
/// Of the packaged service: a place that its group may enter, which the state directory is not.
const PACKAGED: &str = "/run/osier/control.sock";

/// What the environment says, or the place of the system's service.
pub(crate) fn control_socket() -> PathBuf {
    match env::var_os(VARIABLE) {
        Some(place) if !place.is_empty() => place.into(),
        _ => of_the_system(Path::new(PACKAGED), &default_place(&state_directory())),
    }
}

/// The packaged place, also while nobody listens there, unless there is a socket in the state directory alone.
fn of_the_system(packaged: &Path, in_state_directory: &Path) -> PathBuf {
    let elsewhere = cfg!(windows) || (!packaged.exists() && in_state_directory.exists());
    match elsewhere {
        true => in_state_directory.to_owned(),
        false => packaged.to_owned(),
    }
}

#[cfg(not(windows))]
fn state_directory() -> PathBuf {
    Path::new("/var/lib/osier").to_owned()
}

#[cfg(windows)]
fn state_directory() -> PathBuf {
    let data = env::var_os("ProgramData").unwrap_or_else(|| r"C:\ProgramData".into());
    Path::new(&data).join("osier")
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_packaged_place_is_waited_for_and_another_is_used_when_it_is_there_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (packaged, other) = (folder.path().join("run"), folder.path().join("state"));
        assert_eq!(of_the_system(&packaged, &other), packaged);
        std::fs::write(&other, "").unwrap();
        assert_eq!(of_the_system(&packaged, &other), other);
        std::fs::write(&packaged, "").unwrap();
        assert_eq!(of_the_system(&packaged, &other), packaged);
    }
}
