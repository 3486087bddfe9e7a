//! What the platform does for the core: the only calls upwards.

use crate::PlatformError;
use osier_core::{control::types, sockets::Protect};
use std::{
    fmt,
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
};

/// Implemented in Kotlin or Swift. Both may be called from any thread of this library's, and it waits for them.
#[uniffi::export(with_foreign)]
pub trait Platform: Send + Sync {
    /// Exempts a socket from the VPN, before anything is sent by it: `VpnService.protect(fd)`; on iOS, whose packet
    /// tunnels are exempt, always `true`. The descriptor stays ours. `false`, or an exception: the socket is closed and
    /// not used.
    fn protect(&self, fd: i32) -> Result<bool, PlatformError>;

    /// Takes a line of the log to the platform's own (`android.util.Log`, `os.Logger`). One at a time, in order, on a
    /// thread that does nothing else; lines that come faster than they are taken are dropped and counted.
    fn log(&self, line: LogLine) -> Result<(), PlatformError>;
}

#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct LogLine {
    /// Unix time in milliseconds.
    pub unix_ms: u64,
    pub level: LogLevel,
    /// The module that speaks.
    pub target: String,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum LogLevel {
    Error,
    Warning,
    Info,
    Debug,
    Trace,
}

impl From<types::LogLine> for LogLine {
    fn from(line: types::LogLine) -> Self {
        let level = match line.level.as_str() {
            "ERROR" => LogLevel::Error,
            "WARN" => LogLevel::Warning,
            "INFO" => LogLevel::Info,
            "DEBUG" => LogLevel::Debug,
            _ => LogLevel::Trace,
        };
        Self {
            unix_ms: line.unix_ms,
            level,
            target: line.target,
            text: line.message,
        }
    }
}

/// Passes sockets of the core to the platform.
pub(crate) struct Protector(pub(crate) Arc<dyn Platform>);

impl fmt::Debug for Protector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protector")
    }
}

impl Protect for Protector {
    fn protect(&self, socket: &socket2::Socket) -> Result<(), String> {
        let fd: RawFd = socket.as_raw_fd();
        match self.0.protect(fd) {
            Ok(true) => Ok(()),
            Ok(false) => Err("protect() said no".into()),
            Err(error) => Err(error.to_string()),
        }
    }
}
