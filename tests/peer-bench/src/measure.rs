//! One file per measure; each measures one system once.

mod cipher;
mod cold;
mod idle;
mod latency;
mod outage;
mod stream;
mod udp;

pub use cipher::cipher;
pub use cold::{Crowd, cold};
pub use idle::idle;
pub use latency::rtt;
pub use outage::{path_cut, relay_death};
pub use stream::{direct, relayed};
pub use udp::udp;

use crate::{
    system::{Network, ends, sites},
    topology::Topology,
    traffic::Site,
};
use anyhow::{Context, Result};
use osier_e2e::prober::Prober;
use osier_lab::wait_until;
use std::time::Duration;

/// A network that runs, and its first and last node.
pub struct Subject<'a> {
    pub network: Box<dyn Network + 'a>,
    pub sites: Vec<Site>,
}

impl<'a> Subject<'a> {
    /// Starts the network.
    pub fn start(topology: &Topology<'_>, mut network: Box<dyn Network + 'a>) -> Result<Self> {
        network.up()?;
        let sites = sites(topology, &*network);
        Ok(Self { network, sites })
    }

    /// Waits until the first and the last node have answered each other.
    pub fn ready(&self, limit: Duration) -> Result<()> {
        let prober = self.prober()?;
        let last = self.sites.len() - 1;
        let ways = [(0, last), (last, 0)];
        prober.watch(ways.to_vec(), Duration::from_millis(100))?;
        wait_until(limit, "the first and the last node reach each other", || {
            prober.report().is_ok_and(|report| {
                let mut answers = ways.iter().map(|way| report.first_answer(*way, Duration::ZERO));
                answers.all(|answer| answer.is_some())
            })
        })?;
        Ok(())
    }

    pub fn prober(&self) -> Result<Prober> {
        Prober::start(ends(&self.sites))
    }

    pub fn first(&self) -> &Site {
        &self.sites[0]
    }

    pub fn last(&self) -> &Site {
        &self.sites[self.sites.len() - 1]
    }

    /// Processes of the first and the last node.
    fn at_ends(&self) -> Vec<u32> {
        let last = self.sites.len() - 1;
        [self.network.processes(0), self.network.processes(last)].concat()
    }
}

/// Round trips in milliseconds, the shortest first.
fn milliseconds(rtts: &[Duration]) -> Vec<f64> {
    rtts.iter().map(|d| d.as_secs_f64() * 1e3).collect()
}

fn median(sorted: &[f64]) -> Result<f64> {
    crate::figures::percentile(sorted, 0.5).context("no ping was answered")
}
