//! The state directory.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("another osier daemon{} runs on {}: stop it (`osier down`) or use another --state-dir", pid.map(|p| format!(" (pid {p})")).unwrap_or_default(), dir.display())]
    Locked { dir: PathBuf, pid: Option<u32> },
    #[error("{} holds no Osier node: run `osier join INVITE` first", .0.display())]
    Empty(PathBuf),
}
