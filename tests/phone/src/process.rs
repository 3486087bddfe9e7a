//! What the kernel says of a process.

use anyhow::{Context, Result};
use osier_e2e::mesh::cpu_of;
use serde_json::{Value, json};
use std::{fs, time::Duration};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// Octets.
    pub(crate) rss: u64,
    pub(crate) pss: u64,
    pub(crate) private: u64,
    /// How often its threads waited and were woken.
    pub(crate) wakes: u64,
    pub(crate) cpu: Duration,
}

impl Figures {
    pub(crate) fn of(process: u32) -> Result<Self> {
        let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        let octets = |name: &str| -> Result<u64> {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name));
            let line = line.with_context(|| format!("no {name}"))?;
            let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
            Ok(kib * 1024)
        };
        let mut wakes = 0;
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            let status = fs::read_to_string(thread?.path().join("status"))?;
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            wakes += line.context("no count of switches")?.trim().parse::<u64>()?;
        }
        Ok(Self {
            rss: octets("Rss:")?,
            pss: octets("Pss:")?,
            private: octets("Private_Clean:")? + octets("Private_Dirty:")?,
            wakes,
            cpu: cpu_of(process)?,
        })
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "rss_octets": self.rss, "pss_octets": self.pss, "private_octets": self.private })
    }
}
