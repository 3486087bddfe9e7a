//! Starting, steering and stopping a node.

use crate::{
    config::Config,
    control::types::{DownReply, ReloadReply},
};
use std::path::{Path, PathBuf};

/// Why a daemon did not start, or why a running one gave up.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error(transparent)]
    State(#[from] crate::state::StateError),
}

/// A node as an embedder sees it.
#[derive(Debug)]
pub struct Daemon {}

impl Daemon {
    /// Starts a node on the current tokio runtime and returns when it listens: the state directory is locked,
    /// the TUN device is up, the UDP socket is bound and the control socket answers.
    pub async fn start(_config: Config) -> Result<Handle, DaemonError> {
        todo!()
    }

    /// Runs a node in the foreground until it is told to stop: by SIGTERM or SIGINT (planned stop; a second one
    /// ends at once) or through the control API. SIGHUP reads the settings again.
    pub async fn run(_config: Config) -> Result<(), DaemonError> {
        todo!()
    }
}

/// Steers a running node. Dropping it stops the node at once, without a word to its neighbours.
#[derive(Debug)]
pub struct Handle {
    socket: PathBuf,
}

impl Handle {
    /// Where the control API listens.
    pub fn control_socket(&self) -> &Path {
        &self.socket
    }

    /// Planned stop: neighbours are moved away first; returns when everything is closed.
    pub async fn stop(self) -> Result<DownReply, DaemonError> {
        todo!()
    }

    /// Reads `settings.toml` again.
    pub async fn reload(&self) -> Result<ReloadReply, DaemonError> {
        todo!()
    }

    /// Returns when the node has stopped for whatever reason.
    pub async fn stopped(&mut self) -> Result<(), DaemonError> {
        todo!()
    }
}
