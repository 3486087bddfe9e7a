//! Interfaces and neighbours: coming, going, and what the link to each costs.

use super::Speaker;
use crate::cost;
use crate::entry::Key;
use crate::interface::Interface;
use crate::neighbour::Neighbour;
use crate::seqno::Seqno;
use crate::timer::Timer;
use crate::{Event, INFINITY, Instant, InterfaceConfig, InterfaceId};
use core::net::Ipv6Addr;

impl Speaker {
    pub(super) fn start_interface(&mut self, id: InterfaceId, config: InterfaceConfig, now: Instant) {
        if self.interfaces.contains_key(&id) {
            self.stop_interface(id, now);
        }
        // A random start lets neighbours that remember an earlier life notice the restart.
        let seqno = Seqno((self.rng.next() & 0xffff) as u16);
        let interface = Interface::new(config, seqno);
        let update = now + self.rng.shortened(interface.config.update_interval);
        self.interfaces.insert(id, interface);
        self.timers.set(Timer::Update(id), Some(update));
        self.hello_by(id, now);
        self.enqueue(id, None, now, |queue| {
            queue.route_requests.insert(None);
        });
    }

    pub(super) fn stop_interface(&mut self, id: InterfaceId, now: Instant) {
        let Some(interface) = self.interfaces.get(&id) else {
            return;
        };
        let addresses: Vec<Ipv6Addr> = interface.neighbours.keys().copied().collect();
        for address in addresses {
            self.drop_neighbour(id, address, now);
        }
        self.interfaces.remove(&id);
        if let Some(authenticator) = self.authentication.get_mut(&id) {
            authenticator.forget_peers();
        }
        for timer in [
            Timer::Hello(id),
            Timer::Update(id),
            Timer::Flush(id),
            Timer::Resend(id),
        ] {
            self.timers.set(timer, None);
        }
        for (_, entry) in self.table.iter_mut() {
            entry.set_told(id, None);
        }
        // Who cannot reach us any more needs no telling.
        self.release_held(id, now);
    }

    /// A Hello leaves by `at`.
    pub(super) fn hello_by(&mut self, id: InterfaceId, at: Instant) {
        if self.is_quiet(id) {
            return;
        }
        self.enqueue(id, None, at, |queue| queue.hello = true);
    }

    /// Makes sure that the neighbour is known. `false`: there are too many.
    pub(super) fn meet_neighbour(&mut self, id: InterfaceId, address: Ipv6Addr, now: Instant) -> bool {
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return false;
        };
        if !interface.neighbours.contains_key(&address) {
            if interface.neighbours.len() >= self.config.limits.neighbours_per_interface {
                self.counters.limit_drops += 1;
                return false;
            }
            interface
                .neighbours
                .insert(address, Neighbour::new((id, address), now));
            self.arm_neighbour(id, address);
        }
        true
    }

    pub(super) fn drop_neighbour(&mut self, id: InterfaceId, address: Ipv6Addr, now: Instant) {
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        let Some(neighbour) = interface.neighbours.remove(&address) else {
            return;
        };
        interface.output.forget(address);
        self.timers.set(Timer::Neighbour(id, address), None);
        if neighbour.is_up() {
            self.events.push_back(Event::NeighbourDown {
                interface: id,
                address,
            });
        }
        for key in self.table.keys_of(&neighbour.routes) {
            if let Some(entry) = self.table.get_mut(&key) {
                entry.routes.remove(&(id, address));
                self.reselect(key, now);
            }
        }
    }

    pub(super) fn arm_neighbour(&mut self, id: InterfaceId, address: Ipv6Addr) {
        let neighbour = self.neighbour(id, address).filter(|_| !self.is_quiet(id));
        let deadline = neighbour.and_then(|neighbour| neighbour.deadline());
        self.timers.set(Timer::Neighbour(id, address), deadline);
    }

    pub(super) fn neighbour(&self, id: InterfaceId, address: Ipv6Addr) -> Option<&Neighbour> {
        self.interfaces.get(&id)?.neighbours.get(&address)
    }

    pub(super) fn neighbour_mut(&mut self, id: InterfaceId, address: Ipv6Addr) -> Option<&mut Neighbour> {
        self.interfaces.get_mut(&id)?.neighbours.get_mut(&address)
    }

    pub(super) fn recost_all(&mut self, id: InterfaceId, now: Instant) {
        let Some(interface) = self.interfaces.get(&id) else {
            return;
        };
        let addresses: Vec<Ipv6Addr> = interface.neighbours.keys().copied().collect();
        for address in addresses {
            self.recost(id, address, now);
        }
    }

    /// Computes the link's cost anew and lets a change act on the routes over it.
    pub(super) fn recost(&mut self, id: InterfaceId, address: Ipv6Addr, now: Instant) {
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        let Interface {
            config,
            usable,
            neighbours,
            ..
        } = interface;
        let Some(neighbour) = neighbours.get_mut(&address) else {
            return;
        };
        neighbour.rx_cost = cost::rx_cost(config, neighbour, *usable);
        let cost = cost::link_cost(
            config,
            neighbour.tx_cost,
            neighbour.rx_cost,
            neighbour.rtt.penalty(),
        );
        let was = core::mem::replace(&mut neighbour.cost, cost);
        let tell = !neighbour.heard_no_hello() && worth_telling(neighbour.rx_cost_told, neighbour.rx_cost);
        let routes: Vec<Key> = if cost == was {
            Vec::new()
        } else {
            self.table.keys_of(&neighbour.routes)
        };
        if tell {
            self.ihu_soon(id, address, now);
        }
        if was == INFINITY && cost != INFINITY {
            self.events.push_back(Event::NeighbourUp {
                interface: id,
                address,
            });
        } else if was != INFINITY && cost == INFINITY {
            self.events.push_back(Event::NeighbourDown {
                interface: id,
                address,
            });
        }
        for key in routes {
            let route = self
                .table
                .get_mut(&key)
                .and_then(|entry| entry.routes.get_mut(&(id, address)));
            if route.is_some_and(|route| route.set_cost(cost)) {
                self.reselect(key, now);
            }
        }
        if was == INFINITY && cost != INFINITY {
            self.welcome(id, address, now);
        }
    }

    pub(super) fn ihu_soon(&mut self, id: InterfaceId, address: Ipv6Addr, now: Instant) {
        if self.is_quiet(id) {
            return;
        }
        let at = self.urgent(now);
        self.enqueue(id, None, at, |queue| {
            queue.ihus.insert(address);
        });
    }

    /// A neighbour that can be used from now on gets our table and is asked for its own.
    fn welcome(&mut self, id: InterfaceId, address: Ipv6Addr, now: Instant) {
        if let Some(interface) = self.interfaces.get_mut(&id).filter(|i| i.quiet) {
            interface.owed.dump = true;
            return;
        }
        let at = self.urgent(now);
        self.enqueue(id, Some(address), at, |queue| {
            queue.route_requests.insert(None);
        });
        self.dump_to(id, address, now);
    }
}

/// Whether a receive cost differs enough from the one last told to be told at once.
fn worth_telling(told: Option<u16>, cost: u16) -> bool {
    match told {
        None => true,
        Some(told) if told == cost => false,
        Some(INFINITY) => true,
        Some(told) => cost == INFINITY || u32::from(told.abs_diff(cost)) * 4 >= u32::from(told),
    }
}
