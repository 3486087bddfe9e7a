//! Where state lives when no option says so.

use crate::exit::{Exit, Failure, Outcome};
use osier_core::{state::Item, system::is_privileged};
use std::path::{Path, PathBuf};

/// Options of every command about the node on this device.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StateArgs {
    /// Directory with the node's keys, certificate and control socket [default: /var/lib/osier as root, else
    /// osier in the user's XDG state directory]
    #[arg(
        long,
        value_name = "DIR",
        env = "OSIER_STATE_DIR",
        hide_env_values = true,
        help_heading = "Node"
    )]
    state_dir: Option<PathBuf>,
}

impl StateArgs {
    pub(crate) fn dir(&self) -> Outcome<PathBuf> {
        match &self.state_dir {
            Some(dir) => absolute(dir),
            None => default_dir("osier"),
        }
    }
}

/// Options of every command that speaks to the running node.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ControlArgs {
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// Path of the daemon's control socket [default: control.sock in the state directory]
    #[arg(
        long = "control-socket",
        value_name = "PATH",
        env = "OSIER_CONTROL_SOCKET",
        hide_env_values = true,
        help_heading = "Node"
    )]
    pub(crate) socket: Option<PathBuf>,
}

impl ControlArgs {
    /// Like [`StateArgs::dir`], but who has no node of their own means the system's.
    pub(crate) fn state_dir(&self) -> Outcome<PathBuf> {
        let own = self.state.dir()?;
        match system_dir("osier") {
            Some(system) if self.state.state_dir.is_none() && !is_member(&own) && is_used(&system) => {
                Ok(system)
            }
            _ => Ok(own),
        }
    }
}

/// Options of every command about a network or its registry.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RegistryDirArgs {
    /// Directory with the network's keys and database [default: /var/lib/osier-registry as root, else
    /// osier-registry in the user's XDG state directory]
    #[arg(long, value_name = "DIR", env = "OSIER_REGISTRY_DIR", hide_env_values = true)]
    dir: Option<PathBuf>,
}

impl RegistryDirArgs {
    pub(crate) fn dir(&self) -> Outcome<PathBuf> {
        registry_dir(self.dir.as_deref())
    }
}

pub(crate) fn registry_dir(given: Option<&Path>) -> Outcome<PathBuf> {
    match given {
        Some(dir) => absolute(dir),
        None => default_dir("osier-registry"),
    }
}

/// Where the system's own services keep their state.
fn system_dir(name: &str) -> Option<PathBuf> {
    match cfg!(windows) {
        true => std::env::var_os("ProgramData").map(|data| Path::new(&data).join(name)),
        false => Some(Path::new("/var/lib").join(name)),
    }
}

fn default_dir(name: &str) -> Outcome<PathBuf> {
    if let (true, Some(system)) = (is_privileged(), system_dir(name)) {
        return Ok(system);
    }
    let base = directories::BaseDirs::new();
    // Only XDG has a directory for state.
    base.map(|b| b.state_dir().unwrap_or(b.data_local_dir()).join(name))
        .ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                "there is no home directory to keep state in",
                "set HOME, or name a directory by option",
            )
        })
}

/// So that messages name the same place whatever directory they are read in.
fn absolute(path: &Path) -> Outcome<PathBuf> {
    std::path::absolute(path).map_err(|e| Failure::io(format!("bad directory `{}`", path.display()), &e))
}

/// Whether a node lives in `state_dir`, as far as can be seen from outside.
pub(crate) fn is_member(state_dir: &Path) -> bool {
    // A directory that we may not look into is not the same as an empty one.
    state_dir
        .join(Item::Identity.file_name())
        .try_exists()
        .unwrap_or(true)
}

/// Whether a node lives in `state_dir`, or a service listens there that has not joined yet.
fn is_used(state_dir: &Path) -> bool {
    is_member(state_dir)
        || osier_core::control::default_place(state_dir)
            .try_exists()
            .unwrap_or(true)
}

/// Rights come from the directory there.
#[cfg(windows)]
pub(crate) fn hand_over(_dir: &Path) {}

/// Gives what root wrote into a service user's directory to that user, or the service could not read it.
#[cfg(unix)]
pub(crate) fn hand_over(dir: &Path) {
    use std::os::unix::fs::MetadataExt;
    let Ok(owner) = std::fs::metadata(dir) else { return };
    if !is_privileged() || owner.uid() == 0 {
        return;
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.metadata().is_ok_and(|m| m.uid() == 0) {
            let path = entry.path();
            if let Err(error) = std::os::unix::fs::lchown(&path, Some(owner.uid()), Some(owner.gid())) {
                crate::output::say(&format!("warning: {} stays root's: {error}\n", path.display()));
            }
        }
    }
}
