//! Windows.

pub(super) mod signals;
pub(super) mod socket;
pub(super) mod wake;

pub(crate) mod files;

pub(crate) use osier_control::access;

/// What this machine calls itself.
pub(crate) fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}
