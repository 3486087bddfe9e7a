//! Processes that end with the test.

use crate::{Error, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Lines of a process's log shown when the test fails.
const TAIL: usize = 60;

/// A running process whose output goes to a file; killed when dropped. If the test panics meanwhile, the end
/// of its log is printed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with no input and with both outputs appended to `log`.
    pub(crate) fn spawn(name: &str, mut command: Command, log: PathBuf) -> Result<Self> {
        let failed = |e: std::io::Error| Error::new(format!("cannot start {name}: {e}"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(failed)?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().map_err(failed)?)
            .stderr(file);
        let child = command.spawn().map_err(failed)?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id inside the lab.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has written so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn log_path(&self) -> &Path {
        &self.log
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal by its number, e.g. 15 for SIGTERM, 19 for SIGSTOP.
    pub fn signal(&mut self, number: i32) -> Result<()> {
        let signal = Signal::from_named_raw(number);
        let (Some(signal), Some(pid)) = (signal, Pid::from_raw(self.child.id() as i32)) else {
            return Err(Error::new(format!("no such signal: {number}")));
        };
        // A process that we have waited for may have lent its id to another.
        if !self.is_running() {
            return Err(Error::new(format!("{} has already ended", self.name)));
        }
        kill_process(pid, signal).map_err(|e| Error::new(format!("cannot signal {}: {e}", self.name)))
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(15)?;
        self.wait(limit)
    }

    /// Kills it with SIGKILL, as a crash would.
    pub fn kill(&mut self) {
        // Fails only if it has ended already, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for it to end by itself.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let mut status = None;
        let name = self.name.clone();
        crate::wait_until(limit, &format!("{name} ends"), || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        })?;
        status.ok_or_else(|| Error::new(format!("{name} has no exit status")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            // The real standard error: the test harness may no longer collect our output.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), tail(&self.log).as_bytes());
        }
    }
}

/// The end of a log file, with a heading.
pub(crate) fn tail(log: &Path) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(TAIL)..];
    format!("--- last lines of {} ---\n{}\n", log.display(), last.join("\n"))
}
