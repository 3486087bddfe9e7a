//! Whole networks of daemons, with what each of them should count.

use crate::{Daemon, Kind, Router, SOON, Settings, wire};
use osier_lab::{Error, Lab, Result, Wire, wait_until};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What every daemon here gives a wire.
const COST: u16 = 96;

/// Two routers by their places in the network, the smaller first.
type Edge = (usize, usize);

/// Routers `a`, `b`, `c` … with a daemon each, and silent wires between them.
#[derive(Debug)]
pub struct Network {
    pub routers: Vec<Router>,
    pub kinds: Vec<Kind>,
    /// `None`: ended.
    pub daemons: Vec<Option<Daemon>>,
    wires: BTreeMap<Edge, Wire>,
    broken: BTreeSet<Edge>,
    settings: Settings,
}

impl Network {
    /// Starts a daemon of each kind, all at once.
    pub fn start(lab: &Lab, kinds: &[Kind], edges: &[Edge], settings: &Settings) -> Result<Self> {
        let routers: Vec<Router> = (0..kinds.len() as u8)
            .map(|number| Router::new(lab, &char::from(b'a' + number).to_string(), number + 1))
            .collect::<Result<_>>()?;
        let mut wires = BTreeMap::new();
        for &(a, b) in edges {
            wires.insert((a.min(b), a.max(b)), wire(lab, &routers[a], &routers[b])?);
        }
        let mut network = Self {
            routers,
            kinds: kinds.to_vec(),
            daemons: kinds.iter().map(|_| None).collect(),
            wires,
            broken: BTreeSet::new(),
            settings: settings.clone(),
        };
        (0..kinds.len()).try_for_each(|number| network.begin(number))?;
        Ok(network)
    }

    /// Starts the daemon of a router (again).
    pub fn begin(&mut self, number: usize) -> Result<()> {
        let neighbours: Vec<&Router> = self
            .wires
            .keys()
            .filter_map(|&(a, b)| match number {
                n if n == a => Some(b),
                n if n == b => Some(a),
                _ => None,
            })
            .map(|other| &self.routers[other])
            .collect();
        let daemon = Daemon::start_with(
            self.kinds[number],
            &self.routers[number],
            &neighbours,
            &self.settings,
        )?;
        self.daemons[number] = Some(daemon);
        Ok(())
    }

    /// Lets nothing through, and nobody is told.
    pub fn cut(&mut self, a: usize, b: usize) -> Result<()> {
        self.broken.insert((a, b));
        self.wire(a, b)?.cut()
    }

    pub fn mend(&mut self, a: usize, b: usize) -> Result<()> {
        self.broken.remove(&(a, b));
        self.wire(a, b)?.mend()
    }

    /// One end's interface goes down; the other end hears nothing of it.
    pub fn interface_down(&mut self, at: usize, to: usize) -> Result<()> {
        self.broken.insert((at.min(to), at.max(to)));
        self.set_interface(at, to, "down")
    }

    pub fn interface_up(&mut self, at: usize, to: usize) -> Result<()> {
        self.broken.remove(&(at.min(to), at.max(to)));
        self.set_interface(at, to, "up")?;
        // A global address of the interface went with it.
        let interface = crate::interface_to(&self.routers[to]);
        wait_until(SOON, "the interface has its link-local address", || {
            self.routers[at].netns.link_local(&interface).is_ok()
        })
        .map(drop)
    }

    /// SIGKILL: nothing is retracted.
    pub fn kill(&mut self, number: usize) {
        if let Some(mut daemon) = self.daemons[number].take() {
            daemon.kill();
        }
    }

    /// SIGTERM: everything is retracted.
    pub fn stop(&mut self, number: usize) -> Result<()> {
        self.daemons[number]
            .take()
            .map_or(Ok(()), |mut daemon| daemon.terminate())
    }

    /// Waits until every daemon has a route to every other in both families over the fewest wires, with the sum of
    /// their costs as metric, none to those that cannot be reached, and pings along these routes are answered.
    pub fn settles(&self, when: &str) -> Result<()> {
        for from in self.running() {
            let distances = self.distances(from);
            for to in (0..self.routers.len()).filter(|&to| to != from) {
                match distances[to].filter(|_| self.daemons[to].is_some()) {
                    Some(wires) => self.counts(from, to, wires * COST, when)?,
                    None => wait_until(SOON, &self.title(from, to, "has no route", when), || {
                        !self.routers[from].forwards_to(&self.routers[to])
                    })
                    .map(drop)?,
                }
            }
        }
        for from in self.running() {
            let distances = self.distances(from);
            for to in self.running().filter(|&to| to > from) {
                if distances[to].is_some() {
                    wait_until(SOON, &self.title(from, to, "reaches", when), || {
                        self.routers[from].reaches(&self.routers[to])
                    })?;
                }
            }
        }
        Ok(())
    }

    fn counts(&self, from: usize, to: usize, metric: u16, when: &str) -> Result<()> {
        let (router, other) = (&self.routers[from], &self.routers[to]);
        let prefixes = [self.kinds[to].own_v4(other), self.kinds[to].own_v6(other)];
        for prefix in prefixes {
            let mut last = None;
            wait_until(
                SOON,
                &self.title(from, to, &format!("counts {metric} for {prefix}"), when),
                || {
                    last = self.daemons[from]
                        .as_ref()
                        .and_then(|daemon| daemon.metric(router, &prefix));
                    last == Some(metric)
                },
            )
            .map_err(|e| Error::new(format!("{e}, but {last:?}\n{}", router.kernel_routes())))?;
        }
        Ok(())
    }

    fn title(&self, from: usize, to: usize, what: &str, when: &str) -> String {
        let name = |n: usize| format!("{} ({})", self.routers[n].name(), self.kinds[n]);
        format!("{when}: {} {what} towards {}", name(from), name(to))
    }

    fn running(&self) -> impl Iterator<Item = usize> {
        (0..self.routers.len()).filter(|&number| self.daemons[number].is_some())
    }

    /// Wires to each router over those that work and daemons that run.
    fn distances(&self, from: usize) -> Vec<Option<u16>> {
        let mut distances = vec![None; self.routers.len()];
        distances[from] = Some(0);
        let mut queue = VecDeque::from([(from, 0)]);
        while let Some((here, distance)) = queue.pop_front() {
            for &(a, b) in self.wires.keys().filter(|edge| !self.broken.contains(edge)) {
                let next = match here {
                    n if n == a => b,
                    n if n == b => a,
                    _ => continue,
                };
                if distances[next].is_none() && self.daemons[next].is_some() {
                    distances[next] = Some(distance + 1);
                    queue.push_back((next, distance + 1));
                }
            }
        }
        distances
    }

    fn set_interface(&self, at: usize, to: usize, state: &str) -> Result<()> {
        let interface = crate::interface_to(&self.routers[to]);
        let router = &self.routers[at];
        router
            .netns
            .run(&format!("ip link set dev {interface} {state}"))
            .map(drop)
    }

    fn wire(&self, a: usize, b: usize) -> Result<&Wire> {
        self.wires
            .get(&(a, b))
            .ok_or_else(|| Error::new(format!("no wire {a} to {b}")))
    }
}
