//! What a daemon is told by the console or the system.

use std::io;
use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown,
};

/// Ctrl-C, Ctrl-Break, the end of the console, the end of the system.
#[derive(Debug)]
pub struct Stop {
    interrupt: CtrlC,
    terminate: CtrlBreak,
    close: CtrlClose,
    shutdown: CtrlShutdown,
}

impl Stop {
    /// From here on none is missed. Needs a tokio runtime.
    pub fn watch() -> io::Result<Self> {
        Ok(Self {
            interrupt: ctrl_c()?,
            terminate: ctrl_break()?,
            close: ctrl_close()?,
            shutdown: ctrl_shutdown()?,
        })
    }

    /// Returns when the process is told to stop. May be cancelled, and asked again for a second time.
    pub async fn requested(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.close.recv() => {}
            _ = self.shutdown.recv() => {}
        }
    }
}

/// There is no such signal: `osier reload` goes through the control API.
#[derive(Debug)]
pub struct Reload {}

impl Reload {
    pub fn watch() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Never returns.
    pub async fn requested(&mut self) {
        std::future::pending().await
    }
}
