//! Where the service listens.

use osier_control::default_place;
use std::{
    env,
    path::{Path, PathBuf},
};

/// As `osier` itself reads it.
const VARIABLE: &str = "OSIER_CONTROL_SOCKET";

/// What the environment says, or the place of the system's service.
pub(crate) fn control_socket() -> PathBuf {
    match env::var_os(VARIABLE) {
        Some(place) if !place.is_empty() => place.into(),
        _ => default_place(&state_directory()),
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
