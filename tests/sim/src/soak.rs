//! A long random life of a mesh: hosts die, come back, stop, join, links are cut, the network splits and heals.
//! After each blow every pair of live hosts must be reachable again within [`LIMIT`], and nothing may ever loop.

use crate::{HostId, HostOptions, NatOptions, Options, World, random::Random, underlay::LinkOptions};
use core::time::Duration;

/// How long the mesh has to heal after a blow.
pub const LIMIT: Duration = Duration::from_secs(10);
/// After a partition of minutes, the two halves have taken each other for dead and must find together again.
const MERGE_LIMIT: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(250);

/// What a soak run found.
#[derive(Debug, Default)]
pub struct Summary {
    pub blows: u64,
    pub worst: Duration,
    pub total: Duration,
    pub failures: Vec<String>,
}

/// A mesh under random blows.
#[derive(Debug)]
pub struct Soak {
    pub world: World,
    pub summary: Summary,
    random: Random,
    down: Vec<HostId>,
}

impl Soak {
    /// A mesh of so many hosts, a tenth of them behind NATs, a tenth of the links losing 30 %.
    pub fn new(nodes: usize, seed: u64) -> Self {
        let links = LinkOptions {
            lossy_fraction: 0.1,
            lossy_loss: 0.3,
            ..LinkOptions::default()
        };
        let mut world = World::new(Options {
            seed,
            links,
            ..Options::default()
        });
        let mut random = Random::new(seed, "soak");
        for _ in 0..nodes {
            let nat = match random.below(20) {
                0 => NatOptions::Restricted,
                1 => NatOptions::Mapped,
                _ => NatOptions::None,
            };
            world.add_host(HostOptions {
                nat,
                ..HostOptions::default()
            });
        }
        Self {
            world,
            summary: Summary::default(),
            random,
            down: Vec::new(),
        }
    }

    /// Starts everybody and waits until all reach all.
    pub fn begin(&mut self) {
        let hosts: Vec<HostId> = self.world.hosts().map(|h| h.id()).collect();
        self.world.start_all(&hosts, Duration::from_millis(50));
        self.expect("the start", MERGE_LIMIT);
    }

    /// One blow and the healing from it; says what it was.
    pub fn blow(&mut self) -> String {
        let quiet = self.random.up_to(Duration::from_secs(20));
        self.world.run_for(quiet);
        let running = self.world.running();
        let down_too_many = running.len() < self.world.hosts().count() * 3 / 4;
        let what = match self.random.below(8) {
            _ if down_too_many => self.bring_back(),
            0..3 => {
                let victim = self.pick(&running);
                self.world.kill(victim);
                self.down.push(victim);
                format!("death of {victim:?}")
            }
            3 | 4 if !self.down.is_empty() => self.bring_back(),
            3 => {
                let host = self.world.add_host(HostOptions::default());
                self.world.start(host);
                format!("newcomer {host:?}")
            }
            4 => {
                let host = self.pick(&running);
                self.world.kill(host);
                self.world.run_for(Duration::from_millis(200));
                self.world.start(host);
                format!("quick restart of {host:?}")
            }
            5 => {
                let host = self.pick(&running);
                self.world.stop(host);
                self.down.push(host);
                self.world.run_for(Duration::from_secs(3));
                format!("planned stop of {host:?}")
            }
            6 => {
                for _ in 0..running.len() {
                    let (a, b) = (self.pick(&running), self.pick(&running));
                    if a != b {
                        self.world.underlay.cut(a, b);
                    }
                }
                format!("{} links cut", running.len())
            }
            _ => {
                for &host in &running {
                    let group = self.random.below(2) as u32;
                    self.world.underlay.set_group(host, group);
                }
                let apart = Duration::from_secs(20) + self.random.up_to(Duration::from_secs(100));
                self.world.run_for(apart);
                self.world.underlay.heal();
                format!("a partition of {} s healed", apart.as_secs())
            }
        };
        let limit = if what.contains("partition") {
            MERGE_LIMIT
        } else {
            LIMIT
        };
        self.expect(&what, limit);
        self.summary.blows += 1;
        what
    }

    fn bring_back(&mut self) -> String {
        let index = self.random.below(self.down.len() as u64) as usize;
        let host = self.down.swap_remove(index);
        self.world.start(host);
        format!("return of {host:?}")
    }

    fn pick(&mut self, hosts: &[HostId]) -> HostId {
        hosts[self.random.below(hosts.len() as u64) as usize]
    }

    fn expect(&mut self, what: &str, limit: Duration) {
        match self.world.run_until(limit, STEP, |w| w.all_reachable()) {
            Some(took) => {
                self.summary.worst = self.summary.worst.max(took);
                self.summary.total += took;
            }
            None => {
                let running = self.world.running();
                let broken = self.world.unreachable(&running);
                self.summary.failures.push(format!(
                    "{:?}: after {what}: {} pairs unreachable after {limit:?}, e.g. {:?}",
                    self.world.now(),
                    broken.len(),
                    broken.first()
                ));
            }
        }
        self.summary.failures.append(&mut self.world.violations);
    }
}
