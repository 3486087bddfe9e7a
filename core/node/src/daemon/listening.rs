//! Opening the control API for a daemon.

use super::DaemonError;
use crate::{
    config::Config,
    control::{
        self, ServerError,
        server::{self, Context, Server},
    },
    settings::Settings,
    state::StateDir,
};
use std::io;

/// The control API; a state directory that cannot be written is no reason not to run.
pub(crate) fn listen(
    config: &Config,
    settings: &Settings,
    dir: &StateDir,
    context: Context,
) -> Result<Option<Server>, DaemonError> {
    let path = config
        .control_socket
        .clone()
        .unwrap_or_else(|| control::default_place(dir.path()));
    let group = config
        .control_group
        .as_deref()
        .or(settings.control_group.as_deref());
    let group = group.map(server::find_group).transpose()?;
    if let (Some(group), None) = (&group, &config.control_socket) {
        dir.admit_group(group).map_err(|source| ServerError::Io {
            path: path.clone(),
            source,
        })?;
    }
    match Server::start(path, group.as_ref(), context) {
        Ok(server) => Ok(Some(server)),
        Err(ServerError::Io { path, source })
            if config.control_socket.is_none() && is_unwritable(&source) =>
        {
            let path = path.display();
            tracing::error!(%path, error = %source, "no control socket: choose another place with --control-socket");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn is_unwritable(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(
        error.kind(),
        PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull
    )
}
