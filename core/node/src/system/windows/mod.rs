//! Windows.

pub(super) mod signals;
pub(super) mod socket;
pub(super) mod wake;

pub(crate) mod access;
pub(crate) mod files;

use std::{ffi::OsStr, os::windows::ffi::OsStrExt};

/// What this machine calls itself.
pub(crate) fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

/// Text as the system's calls take it: UTF-16 with a zero at the end.
pub(crate) fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}
