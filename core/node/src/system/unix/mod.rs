//! Unix: Linux and Android with what only they have, the portable way elsewhere.

pub(super) mod access;
pub(super) mod signals;
pub(super) mod socket;
pub(super) mod wake;

pub(crate) mod files;

/// What this machine calls itself.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
