//! The node's state as the control API shows it.

use super::ControlLoop;
use crate::{
    control::{
        stage,
        types::{
            API_VERSION, DaemonState, Endpoint, ErrorReply, Member, Membership, Offload, Outcome, Peer,
            Registry, Route, Session, Status, Topology, TopologyLink, TopologyNode,
        },
    },
    health,
};
use osier_proto::{
    Instant, IpNet,
    identity::NodeId,
    node::{DownReason, ProbeOutcome},
    record::{self, EndpointKind},
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use super::asks::Target;

impl ControlLoop {
    fn offload(&self) -> Offload {
        let shared = &self.parts.shared;
        let takes = shared.takes.joins();
        Offload {
            device: shared.tun.super_packets().is_some(),
            tcp: takes.tcp,
            udp: takes.udp,
            socket: shared.udp.sends_trains(),
        }
    }

    pub(super) fn status(&self, now: Instant) -> Status {
        let own = self.parts.node.status(now);
        let traffic = self.parts.node.peers(now);
        let mut counters: BTreeMap<String, u64> = own
            .counters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect();
        counters.extend(self.parts.shared.counters.list());
        counters.insert("control-wakeups".to_owned(), self.wakeups.count());
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            api_version: API_VERSION,
            pid: std::process::id(),
            state: if self.stop.is_some() {
                DaemonState::Stopping
            } else {
                DaemonState::Running
            },
            uptime_seconds: now.saturating_since(self.started).as_secs(),
            name: own.name.clone(),
            node: own.node.to_string(),
            router_id: own.node.router_id().to_string(),
            address: own.address,
            prefixes: own.prefixes.clone(),
            network: stage::describe_network(&self.parts.network),
            certificate: stage::describe_certificate(&self.parts.certificate),
            interface: self.parts.shared.tun.name().map(str::to_owned),
            driver: self.parts.shared.tun.driver().map(str::to_owned),
            mtu: self.parts.shared.tun.name().map(|_| crate::tun::MTU),
            offload: self.offload(),
            udp_port: self.parts.shared.udp.port(),
            endpoints: own.endpoints.iter().map(endpoint).collect(),
            mapped: self.parts.mapped.as_ref().and_then(|m| *m.borrow()),
            registry: Registry {
                urls: self.parts.registry.urls.clone(),
                reachable: self.registry.reachable,
                last_contact: self.registry.last_contact,
                last_error: self.registry.error.clone(),
            },
            neighbours: own.neighbours,
            members: own.members,
            routes: own.routes,
            sessions: own.sessions,
            sent_octets: traffic.iter().map(|p| p.sent_octets).sum(),
            received_octets: traffic.iter().map(|p| p.received_octets).sum(),
            counters,
            connection: self.connection(now),
            health: health::assess(&self.conditions()),
        }
    }

    pub(super) fn membership(&self) -> Membership {
        stage::describe(&self.parts.certificate, &self.parts.network)
    }

    pub(super) fn peers(&self, now: Instant) -> Vec<Peer> {
        let peers = self.parts.node.peers(now);
        let names: BTreeMap<NodeId, String> = peers.iter().map(|p| (p.node, p.name.clone())).collect();
        let name = |node: &NodeId| names.get(node).cloned().unwrap_or_else(|| node.to_string());
        peers
            .iter()
            .map(|p| Peer {
                name: p.name.clone(),
                node: p.node.to_string(),
                address: p.address,
                neighbour: p.neighbour,
                direct: p.metric.is_some() && p.relayed_via.is_none(),
                via: p.relayed_via.as_ref().map(name),
                outgoing: p.neighbour.then_some(p.outgoing),
                endpoint: p.endpoint,
                rtt_ms: p.rtt.map(|rtt| rtt.as_secs_f64() * 1000.0),
                cost: p.cost,
                metric: p.metric,
                mtu: p.mtu,
                sent_octets: p.sent_octets,
                received_octets: p.received_octets,
                last_handshake_seconds: p.last_handshake.map(|at| now.saturating_since(at).as_secs()),
                cipher: p.cipher.map(|cipher| cipher.name().to_owned()),
            })
            .collect()
    }

    pub(super) fn sessions(&self, now: Instant) -> Vec<Session> {
        let names = self.member_names();
        let name = |node: &NodeId| names.get(node).cloned().unwrap_or_else(|| node.to_string());
        let sessions = self.parts.node.sessions(now);
        let mut rows: Vec<_> = sessions
            .iter()
            .map(|s| Session {
                name: s.name.clone(),
                node: s.node.to_string(),
                address: s.address,
                via: s.via.as_ref().map(name),
                up: s.up,
                mtu: s.up.then_some(s.mtu),
                age_seconds: s.age.as_secs(),
                idle_seconds: s.idle.as_secs(),
                sent_packets: s.sent.packets,
                sent_octets: s.sent.octets,
                received_packets: s.received.packets,
                received_octets: s.received.octets,
                last_handshake_seconds: s.last_handshake.map(|at| now.saturating_since(at).as_secs()),
                cipher: s.cipher.name().to_owned(),
                waiting_packets: s.held,
            })
            .collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows
    }

    pub(super) fn routes(&self) -> Vec<Route> {
        let names = self.member_names();
        let name = |node: &NodeId| names.get(node).cloned().unwrap_or_else(|| node.to_string());
        self.parts
            .node
            .routes()
            .iter()
            .map(|r| Route {
                prefix: r.prefix,
                origin: r.origin.as_ref().map(name),
                router_id: r.router_id.to_string(),
                via: r.via.as_ref().map(name),
                metric: r.metric,
                seqno: r.seqno,
                feasible: r.feasible,
                selected: r.selected,
                state: r.standing.code().to_owned(),
                why: r.standing.to_string(),
            })
            .collect()
    }

    pub(super) fn members(&self, now: Instant) -> Vec<Member> {
        let own = self.parts.certificate.node;
        let reachable = self.reachable(now);
        let mut members: Vec<Member> = self
            .parts
            .node
            .bundles()
            .iter()
            .map(|bundle| {
                let (certificate, record) = (&bundle.certificate, &bundle.record);
                Member {
                    name: certificate.name.clone(),
                    node: certificate.node.to_string(),
                    address: certificate.address(),
                    prefixes: certificate.prefixes.clone(),
                    own: certificate.node == own,
                    reachable: certificate.node == own || reachable.contains_key(&certificate.node),
                    endpoints: record.endpoints.iter().map(endpoint).collect(),
                    leaf: record.leaf,
                    relay: record.relay,
                    serial: certificate.serial,
                    not_after: certificate.not_after.0,
                    sequence: record.sequence,
                }
            })
            .collect();
        if !members.iter().any(|m| m.own) {
            let status = self.parts.node.status(now);
            let certificate = &self.parts.certificate;
            members.push(Member {
                name: status.name,
                node: status.node.to_string(),
                address: status.address,
                prefixes: status.prefixes,
                own: true,
                reachable: true,
                endpoints: status.endpoints.iter().map(endpoint).collect(),
                leaf: self.parts.settings.config.mesh(&self.parts.settings.current).leaf,
                relay: certificate.flags.relay,
                serial: certificate.serial,
                not_after: certificate.not_after.0,
                sequence: status.record_sequence,
            });
        }
        members.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.node.cmp(&b.node)));
        members
    }

    /// Our tunnels, and behind each the members that traffic reaches through it.
    pub(super) fn topology(&self, now: Instant) -> Topology {
        let own = &self.parts.certificate;
        let members = self.members(now);
        let nodes = members
            .into_iter()
            .map(|m| TopologyNode {
                name: m.name,
                node: m.node,
                address: m.address,
                own: m.own,
                reachable: m.reachable,
            })
            .collect();
        let mut links = Vec::new();
        for peer in self.peers(now) {
            if peer.neighbour {
                links.push(TopologyLink {
                    from: own.name.clone(),
                    to: peer.name.clone(),
                    tunnel: true,
                    cost: peer.cost,
                });
            }
            if let Some(via) = peer.via {
                links.push(TopologyLink {
                    from: via,
                    to: peer.name,
                    tunnel: false,
                    cost: peer.metric,
                });
            }
        }
        Topology { nodes, links }
    }

    /// A member's name or an address inside the network.
    pub(super) fn resolve(&self, target: &str) -> Result<Target, ErrorReply> {
        let unknown = |message: String| ErrorReply::new("unknown-target", message);
        if let Ok(address) = target.parse::<IpAddr>() {
            return match address {
                IpAddr::V6(v6) if self.parts.network.prefix.contains(&address) => Ok(Target {
                    address: v6,
                    name: self.name_of_address(v6),
                }),
                _ => Err(unknown(format!(
                    "{address} is not in the network's prefix {}",
                    self.parts.network.prefix
                ))),
            };
        }
        let wanted = target.to_ascii_lowercase();
        let certificate = &self.parts.certificate;
        if certificate.name == wanted {
            return Ok(Target {
                address: certificate.address(),
                name: Some(wanted),
            });
        }
        let bundles = self.parts.node.bundles();
        let mut found = bundles.iter().filter(|b| b.certificate.name == wanted);
        match (found.next(), found.next()) {
            (Some(bundle), None) => Ok(Target {
                address: bundle.certificate.address(),
                name: Some(wanted),
            }),
            (Some(_), Some(_)) => Err(unknown(format!(
                "several members are called {wanted:?}: use the address (`osier peers`)"
            ))),
            _ => Err(unknown(format!(
                "no member is called {target:?}: `osier peers` lists those that are known"
            ))),
        }
    }

    pub(super) fn name_of_address(&self, address: Ipv6Addr) -> Option<String> {
        let covers = |prefixes: &[IpNet]| prefixes.iter().any(|p| p.contains(&IpAddr::V6(address)));
        if covers(&self.parts.certificate.prefixes) {
            return Some(self.parts.certificate.name.clone());
        }
        let bundles = self.parts.node.bundles();
        let found = bundles.into_iter().find(|b| covers(&b.certificate.prefixes));
        found.map(|bundle| bundle.certificate.name.clone())
    }

    fn member_names(&self) -> BTreeMap<NodeId, String> {
        let own = &self.parts.certificate;
        let bundles = self.parts.node.bundles();
        let others = bundles
            .iter()
            .map(|b| (b.certificate.node, b.certificate.name.clone()));
        others.chain([(own.node, own.name.clone())]).collect()
    }

    /// Members to which we have a route, with its metric.
    fn reachable(&self, now: Instant) -> BTreeMap<NodeId, u16> {
        self.parts
            .node
            .peers(now)
            .iter()
            .filter_map(|p| Some((p.node, p.metric?)))
            .collect()
    }
}

fn endpoint(endpoint: &record::Endpoint) -> Endpoint {
    let kind = match endpoint.kind {
        EndpointKind::Local => "local",
        EndpointKind::Mapped => "mapped",
        EndpointKind::Observed => "observed",
        EndpointKind::Configured => "configured",
    };
    Endpoint {
        address: endpoint.address,
        kind: kind.into(),
    }
}

pub(super) fn outcome(outcome: ProbeOutcome) -> Outcome {
    match outcome {
        ProbeOutcome::Echo => Outcome::Echo,
        ProbeOutcome::TimeExceeded => Outcome::TimeExceeded,
        ProbeOutcome::Unreachable(_) => Outcome::Unreachable,
        ProbeOutcome::TooBig(_) => Outcome::TooBig,
    }
}

pub(super) fn down_reason(reason: DownReason) -> &'static str {
    match reason {
        DownReason::Closed => "closed",
        DownReason::Silent => "silent",
        DownReason::Replaced => "replaced",
        DownReason::Revoked => "revoked",
        DownReason::Expired => "expired",
        DownReason::Refused => "refused",
        DownReason::Limit => "limit",
        DownReason::Restarted => "restarted",
    }
}
