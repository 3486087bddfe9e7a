//! Starting, steering and stopping a node.
//!
//! [`Daemon::start`] builds the pieces in order, each of which can fail with an error that says what to do: the
//! state directory (locked), the UDP socket, the TUN device, the node itself, then the tasks around it. One task
//! supervises: it runs the control loop to its end and then closes everything in the reverse order, so that a
//! planned stop leaves no mapping, socket or unsaved state behind.

mod launch;
mod listening;

pub(crate) use launch::{Front, launch};
pub(crate) use listening::listen;

use crate::{
    config::Config,
    control::{
        ServerError,
        types::{DownReply, EventLine, ReloadReply},
    },
    control_loop::Ask,
    logging,
    settings::Settings,
    state::{StateDir, StateError},
    system::{Reload, Stop},
    tun::TunError,
    udp::UdpError,
};
use osier_proto::node::NodeError;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinHandle,
};

/// Events that a slow reader may lag behind.
pub(crate) const EVENTS: usize = 256;

/// Why a daemon did not start, or why a running one gave up.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Udp(#[from] UdpError),
    #[error(transparent)]
    Tun(#[from] TunError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Control(#[from] ServerError),
    #[error("{0}")]
    Logging(#[from] logging::BadFilter),
    #[error("{what}: {source}")]
    System { what: &'static str, source: io::Error },
    /// The settings that a reload read.
    #[error("{0}")]
    Settings(String),
    #[error("the node is no longer running")]
    NotRunning,
    /// It met with something that it cannot work without.
    #[error("the node had to stop: {0}")]
    Failed(String),
    #[error("the node has crashed; its log says why")]
    Crashed,
}

/// How far a node is towards its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    NotYet,
    /// Everything is closed.
    Done,
    /// Likewise, but nobody asked for it.
    Failed(String),
}

impl Ending {
    pub(crate) fn is_over(&self) -> bool {
        *self != Self::NotYet
    }
}

/// Makes nodes run.
#[derive(Debug)]
pub struct Daemon {}

impl Daemon {
    /// Starts a node on the current tokio runtime and returns when it listens: the state directory is locked,
    /// the TUN device is up, the UDP socket is bound and the control socket answers.
    ///
    /// # Errors
    /// Each says what to do about it; nothing stays behind.
    pub async fn start(config: Config) -> Result<Handle, DaemonError> {
        let dir = Arc::new(StateDir::open(&config.state_dir)?);
        init_log(&config, &Settings::load(dir.path())?)?;
        launch(config, dir, Front::Own).await
    }

    /// Runs a node in the foreground until it is told to stop: by SIGTERM or SIGINT (planned stop; a second one
    /// ends at once) or through the control API. SIGHUP reads the settings again. (Windows: Ctrl-C, Ctrl-Break, closing
    /// the console, shutting down; no SIGHUP.)
    pub async fn run(config: Config) -> Result<(), DaemonError> {
        let failed = |source| DaemonError::System {
            what: "cannot watch for signals",
            source,
        };
        let mut stop = Stop::watch().map_err(failed)?;
        let mut reload = Reload::watch().map_err(failed)?;
        // A slow start (a TUN device that waits for a kernel module) can be broken off as well.
        let mut handle = tokio::select! {
            handle = Self::start(config) => handle?,
            () = stop.requested() => return Ok(()),
        };
        loop {
            tokio::select! {
                result = handle.stopped() => return result,
                () = stop.requested() => break,
                () = reload.requested() => match handle.reload().await {
                    Ok(_) => {}
                    Err(error) => tracing::error!(%error, "the settings were not read again"),
                },
            }
        }
        tokio::select! {
            result = handle.stop() => result.map(|_| ()),
            () = stop.requested() => {
                tracing::warn!("second signal: ending at once");
                Ok(())
            }
        }
    }
}

/// Steers a running node. Dropping it stops the node at once, without a word to its neighbours.
#[derive(Debug)]
pub struct Handle {
    socket: Option<PathBuf>,
    asks: mpsc::Sender<Ask>,
    events: broadcast::Sender<EventLine>,
    ended: watch::Receiver<Ending>,
    supervisor: JoinHandle<()>,
}

impl Handle {
    /// Where the control API listens; `None` when its socket could not be made (a read-only state directory).
    pub fn control_socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// Where its questions go.
    pub(crate) fn asks(&self) -> mpsc::Sender<Ask> {
        self.asks.clone()
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<EventLine> {
        self.events.subscribe()
    }

    /// Planned stop: neighbours are moved away first; returns when everything is closed.
    pub async fn stop(&mut self) -> Result<DownReply, DaemonError> {
        let began = Instant::now();
        // When the node has stopped already, that is what was asked for.
        let _ = self.asks.send(Ask::Stop).await;
        self.stopped().await?;
        Ok(DownReply {
            elapsed_ms: began.elapsed().as_millis() as u64,
        })
    }

    /// Reads `settings.toml` again.
    pub async fn reload(&self) -> Result<ReloadReply, DaemonError> {
        let (reply, answer) = oneshot::channel();
        self.asks
            .send(Ask::Reload(reply))
            .await
            .map_err(|_| DaemonError::NotRunning)?;
        let answer = answer.await.map_err(|_| DaemonError::NotRunning)?;
        answer.map_err(|error| DaemonError::Settings(error.message))
    }

    /// Returns when the node has stopped for whatever reason.
    pub async fn stopped(&mut self) -> Result<(), DaemonError> {
        if !self.supervisor.is_finished() {
            let _ = (&mut self.supervisor).await;
        }
        // Set as the supervisor's last act but one.
        match &*self.ended.borrow() {
            Ending::Done => Ok(()),
            Ending::Failed(reason) => Err(DaemonError::Failed(reason.clone())),
            Ending::NotYet => Err(DaemonError::Crashed),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

/// Applies the log filter of the settings, unless the front end has installed one.
pub(crate) fn init_log(config: &Config, settings: &Settings) -> Result<(), DaemonError> {
    if let (None, Some(filter)) = (&config.log, &settings.log) {
        logging::init(filter)?;
    }
    Ok(())
}
