//! How long traffic is out when what carries it fails without a word.

use super::Subject;
use crate::{
    figures::{PATH_CUT, RELAY_DEATH, Sample},
    install::Programs,
    system::System,
    topology::{Topology, all_pairs},
};
use anyhow::{Context, Result};
use osier_e2e::prober::Prober;
use osier_lab::{Lab, wait_until};
use std::time::Duration;

/// 20 pings a second from the first node to the second.
const PING: Duration = Duration::from_millis(50);
const WAY: (usize, usize) = (0, 1);
/// Pings run this long before anything fails.
const WARM_UP: Duration = Duration::from_secs(4);
const START: Duration = Duration::from_secs(60);
/// It is over when pings have been answered for this long.
const HEALED: Duration = Duration::from_secs(3);
/// Traffic is looked at for this long. A relay that carries the pings and their answers, 104 octets each without
/// what encryption adds, sends more than [`PINGS`] octets meanwhile.
const WATCH: Duration = Duration::from_secs(1);
const PINGS: u64 = 2 * 20 * 100;

/// Two nodes that cannot reach each other directly, two relays; the one in use dies.
pub fn relay_death(system: &dyn System, programs: &Programs, patience: Duration) -> Result<Vec<Sample>> {
    let lab = Lab::new("death")?;
    let relays = [2, 3];
    let mut links = all_pairs(4);
    links.retain(|link| *link != WAY);
    let topology = Topology::star(&lab, 4, links, relays.to_vec())?;
    let _apart = topology.cut(WAY.0, WAY.1)?;
    let network = system.configure(programs, &topology)?;
    let subject = Pinging::start(Subject::start(&topology, network)?)?;
    let mut busiest = None;
    wait_until(START, "a relay carries the pings", || {
        let sent = relays.map(|relay| (sends(&topology, relay).unwrap_or(0), relay));
        busiest = sent.into_iter().max().filter(|(octets, _)| *octets > PINGS);
        busiest.is_some()
    })?;
    let (_, relay) = busiest.context("no relay is in use")?;
    let from = subject.prober.now();
    topology.internet()?.swallow(&topology.hosts[relay])?;
    Ok(vec![(&RELAY_DEATH, subject.gap(from, patience)?)])
}

/// Two nodes that reach each other directly, and one that could relay; the direct path goes.
pub fn path_cut(system: &dyn System, programs: &Programs, patience: Duration) -> Result<Vec<Sample>> {
    let lab = Lab::new("cut")?;
    let topology = Topology::star(&lab, 3, all_pairs(3), vec![2])?;
    let network = system.configure(programs, &topology)?;
    let subject = Pinging::start(Subject::start(&topology, network)?)?;
    // Some begin with the relay, or probe much at first.
    wait_until(START, "the relay is not in use", || {
        sends(&topology, 2).is_ok_and(|octets| octets < PINGS)
    })?;
    let from = subject.prober.now();
    let _cut = topology.cut(WAY.0, WAY.1)?;
    Ok(vec![(&PATH_CUT, subject.gap(from, patience)?)])
}

/// Octets that a host sends during [`WATCH`].
fn sends(topology: &Topology<'_>, host: usize) -> Result<u64> {
    let so_far = || anyhow::Ok(topology.hosts[host].octets()?.1);
    let before = so_far()?;
    std::thread::sleep(WATCH);
    Ok(so_far()? - before)
}

/// A network whose first node pings the second.
struct Pinging<'a> {
    _subject: Subject<'a>,
    prober: Prober,
}

impl<'a> Pinging<'a> {
    fn start(subject: Subject<'a>) -> Result<Self> {
        let prober = subject.prober()?;
        prober.watch(vec![WAY], PING)?;
        let steady = || answering(&prober, WARM_UP);
        wait_until(START, "pings are answered steadily", steady)?;
        Ok(Self {
            _subject: subject,
            prober,
        })
    }

    /// The gap that began after `from`, in seconds; infinite when it does not end within `patience`.
    fn gap(&self, from: Duration, patience: Duration) -> Result<f64> {
        // Long enough for the failure to show.
        let least = from + Duration::from_secs(2);
        let over = || self.prober.now() > least && answering(&self.prober, HEALED);
        let healed = wait_until(patience, "pings are answered again", over).is_ok();
        // The newest pings may still be on their way.
        let until = self.prober.now() - Duration::from_millis(500);
        let outage = self.prober.report()?.outage(WAY, from, until);
        match outage.duration {
            Some(duration) if healed => Ok(duration.as_secs_f64()),
            _ => Ok(f64::INFINITY),
        }
    }
}

fn answering(prober: &Prober, length: Duration) -> bool {
    let now = prober.now();
    let report = prober.report().context("no report");
    report.is_ok_and(|r| r.answering_since(WAY).is_some_and(|since| now >= since + length))
}
