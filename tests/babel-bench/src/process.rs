//! What a process has used.

use anyhow::{Context, Result};
use std::time::Duration;

/// Processor time of this thread.
pub fn own_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Processor time of all threads of a process, user and system, in nanoseconds' resolution.
pub fn cpu(process: u32) -> Result<Duration> {
    let mut total = 0;
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        let run: u64 = text
            .split_whitespace()
            .next()
            .and_then(|word| word.parse().ok())
            .context("/proc/PID/task/TID/schedstat has no figures")?;
        total += run;
    }
    Ok(Duration::from_nanos(total))
}

/// Octets of memory that are the process's own, with its share of what it shares.
pub fn pss(process: &str) -> Result<u64> {
    field(&format!("/proc/{process}/smaps_rollup"), "Pss:")
}

/// The most octets that were resident at a time.
pub fn peak_rss(process: &str) -> Result<u64> {
    field(&format!("/proc/{process}/status"), "VmHWM:")
}

fn field(path: &str, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let kib: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("no {name} in {path}"))?;
    Ok(kib * 1024)
}
