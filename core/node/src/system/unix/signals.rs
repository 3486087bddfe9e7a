//! What a daemon is told by signals.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// From here on none is missed. Needs a tokio runtime.
    pub fn watch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Returns when the process is told to stop. May be cancelled, and asked again for a second time.
    pub async fn requested(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// SIGHUP.
#[derive(Debug)]
pub struct Reload {
    hangup: Signal,
}

impl Reload {
    /// From here on none is missed, and it no longer ends the process. Needs a tokio runtime.
    pub fn watch() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Returns when the daemon is to read its settings again. May be cancelled.
    pub async fn requested(&mut self) {
        self.hangup.recv().await;
    }
}
