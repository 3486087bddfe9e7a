//! Where state lives when no option says so.

use crate::exit::{Exit, Failure, Outcome};
use osier_core::state::Item;
use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

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
        let system = Path::new("/var/lib/osier");
        match self.state.state_dir.is_none() && !is_member(&own) && is_member(system) {
            true => Ok(system.to_owned()),
            false => Ok(own),
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

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn default_dir(name: &str) -> Outcome<PathBuf> {
    if is_root() {
        return Ok(Path::new("/var/lib").join(name));
    }
    let base = directories::BaseDirs::new();
    base.and_then(|b| b.state_dir().map(|d| d.join(name)))
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

/// Gives what root wrote into a service user's directory to that user, or the service could not read it.
pub(crate) fn hand_over(dir: &Path) {
    let Ok(owner) = std::fs::metadata(dir) else { return };
    if !is_root() || owner.uid() == 0 {
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
