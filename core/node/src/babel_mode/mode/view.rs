//! What a running speaker shows.

use super::{Install, Mode};
use crate::babel_mode::control::Request;
use crate::babel_mode::kernel::Action;
use crate::babel_mode::report::{HeldReport, InterfaceReport, NeighbourReport, Report, RouteReport};
use osier_babel::RouteKey;
use std::collections::BTreeMap;
use std::time::Duration;

impl Mode {
    pub(super) fn answer(&self, request: Request) {
        // Whoever asked may have left meanwhile.
        let _ = request.send(self.report());
    }

    fn report(&self) -> Report {
        let interfaces = self.config.interfaces.iter().map(|options| {
            let link = self
                .ports
                .values()
                .map(|(link, _)| link)
                .find(|link| link.name == options.name);
            let (hello, update) = self.config.intervals(options);
            InterfaceReport {
                dev: options.name.clone(),
                active: link.is_some(),
                link_local: link.and_then(|l| l.link_local),
                ipv4: link.and_then(|l| l.ipv4),
                rx_cost: options.rx_cost,
                kind: options.kind,
                hello_ms: milliseconds(hello),
                update_ms: milliseconds(update),
            }
        });
        let routes = self.speaker.routes().map(|route| {
            let action = Action::Forward {
                interface: route.interface,
                next_hop: route.next_hop,
            };
            let key = RouteKey {
                prefix: route.prefix,
                source: route.source,
            };
            let installed = route.selected && self.installer.installed(&key) == Some(action);
            let (state, why) = match self.config.install {
                Install::Table(_) if self.not_installed.contains(&key) && route.selected => (
                    "selected",
                    "the best, and kept from the kernel by an install rule".to_owned(),
                ),
                Install::Table(_) if route.selected && !installed => (
                    "not-installed",
                    "the best, but the kernel has not taken it: see the log".to_owned(),
                ),
                Install::None if route.selected => ("selected", "the best; nothing is installed".to_owned()),
                _ => (route.standing.code(), route.standing.to_string()),
            };
            RouteReport {
                prefix: route.prefix,
                src: route.source,
                via: route.next_hop,
                dev: self.name(route.interface),
                neighbour: route.neighbour,
                metric: route.metric,
                refmetric: route.reference_metric,
                router_id: route.router_id.to_string(),
                seqno: route.seqno,
                installed,
                feasible: route.feasible,
                selected: route.selected,
                state: state.to_owned(),
                why,
            }
        });
        let neighbours = self.speaker.neighbours().map(|neighbour| NeighbourReport {
            addr: neighbour.address,
            dev: self.name(neighbour.interface),
            cost: neighbour.cost,
            rx_cost: neighbour.rx_cost,
            tx_cost: neighbour.tx_cost,
            rtt_ms: neighbour.rtt.map(|rtt| rtt.as_secs_f64() * 1000.0),
        });
        let now = self.clock.now();
        let held = self.speaker.held().map(|held| HeldReport {
            prefix: held.prefix,
            src: held.source,
            seconds_left: held.until.saturating_since(now).as_secs_f64(),
            awaiting: held.awaiting,
        });
        Report {
            router_id: self.router_id.to_string(),
            seqno: self.speaker.seqno(),
            announced: self.announced.keys().map(|key| key.prefix).collect(),
            interfaces: interfaces.collect(),
            routes: routes.collect(),
            held: held.collect(),
            neighbours: neighbours.collect(),
            counters: self.counters(),
        }
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        let own = [
            ("foreign_packets", self.drops.foreign),
            ("unsent_packets", self.drops.unsent),
            ("kernel_errors", self.installer.errors()),
        ];
        let all = self.speaker.counters().list().chain(own);
        all.map(|(name, count)| (name.to_owned(), count)).collect()
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
