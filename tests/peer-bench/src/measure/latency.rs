//! Round trips with nothing else going on.

use super::{Subject, median, milliseconds};
use anyhow::Result;
use osier_lab::wait_until;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_millis(5);

/// Median in microseconds.
pub fn rtt(subject: &Subject<'_>, length: Duration) -> Result<f64> {
    let prober = subject.prober()?;
    let way = (0, subject.sites.len() - 1);
    prober.watch(vec![way], INTERVAL)?;
    let until = prober.now() + length;
    wait_until(length * 2 + Duration::from_secs(1), "time to ping", || {
        prober.now() >= until
    })?;
    let rtts = prober.report()?.rtts(way, Duration::ZERO);
    Ok(1e3 * median(&milliseconds(&rtts))?)
}
