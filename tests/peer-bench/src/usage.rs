//! What processes and the machine have used, from /proc.

use anyhow::{Context, Result};
use std::fs;

/// The kernel counts processor time in ticks of 10 ms (USER_HZ, the same on every Linux).
const TICK: f64 = 0.01;

/// Processor seconds, user and system, of these processes together so far.
pub fn processor(processes: &[u32]) -> Result<f64> {
    let each = processes.iter().map(|id| {
        let used = osier_e2e::mesh::cpu_of(*id);
        used.map(|d| d.as_secs_f64()).context("a process of it has ended")
    });
    each.sum()
}

/// The same to the nanosecond, for little use: of threads that live.
pub fn processor_of_threads(processes: &[u32]) -> Result<f64> {
    let mut nanoseconds = 0;
    for id in processes {
        for thread in fs::read_dir(format!("/proc/{id}/task")).context("a process of it has ended")? {
            // A thread may end meanwhile.
            let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            nanoseconds += run_time(&text).unwrap_or(0);
        }
    }
    Ok(nanoseconds as f64 / 1e9)
}

/// Processor seconds that the whole machine has spent on anything so far, interrupts included.
pub fn machine() -> Result<f64> {
    busy(&fs::read_to_string("/proc/stat")?).context("/proc/stat has no line for the processor")
}

/// Proportional set size of these processes together, in octets: shared pages count in parts.
pub fn memory(processes: &[u32]) -> Result<u64> {
    let each = processes.iter().map(|id| {
        let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).context("smaps_rollup")?;
        pss(&text).context("no Pss in smaps_rollup")
    });
    each.sum()
}

/// user, nice, system, idle, iowait, irq, softirq, …: all but idle, iowait and what other guests took.
fn busy(stat: &str) -> Option<f64> {
    let line = stat.lines().find_map(|l| l.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|w| w.parse().ok()).collect();
    let used = [0, 1, 2, 5, 6].map(|i| ticks.get(i).copied());
    let sum = used.into_iter().sum::<Option<u64>>()?;
    Some(sum as f64 * TICK)
}

/// Time on a processor, time spent waiting for one, and number of turns.
fn run_time(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

fn pss(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|l| l.strip_prefix("Pss:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_stolen_time_are_not_use() {
        let stat = "cpu  100 10 200 9999 777 5 50 4444 0 0\ncpu0 1 2 3\n";
        assert_eq!(busy(stat), Some(3.65));
        assert_eq!(busy("cpu  1 2"), None);
    }

    #[test]
    fn pss_is_in_octets() {
        let text = "5581 [rollup]\nRss:   900 kB\nPss:                 123 kB\nPss_Dirty:  7 kB\n";
        assert_eq!(pss(text), Some(123 * 1024));
        assert_eq!(pss("Rss: 1 kB"), None);
    }

    #[test]
    fn this_process_and_machine_have_used_something() -> Result<()> {
        let own = [std::process::id()];
        assert!(memory(&own)? > 100_000);
        assert!(machine()? >= processor(&own)?);
        assert!(processor_of_threads(&own)? > 0.0);
        Ok(())
    }
}
