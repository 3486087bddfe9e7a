//! The log's way to the platform.
//!
//! A thread of its own follows the core's ring buffer, so that neither a packet nor the control task ever waits for a
//! foreign logger, and so that lines come in order.

use crate::{LogLevel, LogLine, Platform};
use osier_core::logging;
use std::{io, sync::Arc};
use tokio::{
    runtime::Handle,
    sync::{broadcast::error::RecvError, watch},
};

/// Starts it; it ends when the sender of `closed` is dropped.
pub(crate) fn forward(
    platform: Arc<dyn Platform>,
    runtime: Handle,
    mut closed: watch::Receiver<()>,
) -> io::Result<()> {
    let (_, mut lines) = logging::ring().follow(0);
    let run = async move {
        loop {
            let line = tokio::select! {
                biased;
                line = lines.recv() => line,
                _ = closed.changed() => return,
            };
            let line = match line {
                Ok(line) => line.into(),
                Err(RecvError::Lagged(missed)) => LogLine {
                    unix_ms: 0,
                    level: LogLevel::Warning,
                    target: module_path!().into(),
                    text: format!("{missed} lines are missing here"),
                },
                Err(RecvError::Closed) => return,
            };
            // There is nowhere else to say that it failed.
            let _ = platform.log(line);
        }
    };
    let thread = std::thread::Builder::new().name("osier-log".into());
    thread.spawn(move || runtime.block_on(run))?;
    Ok(())
}
