//! What people and the shell can see.

use super::{Node, Peer, Route, Status, tunnel::Tunnel};
use crate::{
    Instant, IpNet,
    accounting::{Carried, carried},
    certificate::Certificate,
    record::Bundle,
    revocation::RevocationList,
    tunnel::TunnelId,
};
use std::collections::BTreeMap;

impl Node {
    /// Every member we know, ourselves included, and those that our clock says are no members now: for the
    /// disk cache.
    pub fn bundles(&self) -> Vec<Bundle> {
        let members = self.directory.iter().map(|m| &m.bundle);
        let dormant = self.upkeep.dormant.iter();
        let dormant = dormant.filter(|(node, _)| self.directory.get(node).is_none());
        members.chain(dormant.map(|(_, b)| b)).cloned().collect()
    }

    /// The newest revocation list: for the disk.
    pub fn revocations(&self) -> Option<&RevocationList> {
        self.revocations.as_ref()
    }

    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Sequence of our newest record: for the disk.
    pub fn record_sequence(&self) -> u64 {
        self.record.sequence
    }

    /// Our Babel seqno: for the disk.
    pub fn seqno(&self) -> u16 {
        self.babel.seqno()
    }

    /// The name of a known member.
    pub fn name_of(&self, node: &crate::identity::NodeId) -> Option<&str> {
        if *node == self.id {
            return Some(&self.certificate.name);
        }
        self.directory
            .get(node)
            .map(|m| m.bundle.certificate.name.as_str())
    }

    /// Packets and octets that came from each prefix, our own included.
    pub fn origins(&self) -> Vec<(IpNet, u64, u64)> {
        crate::accounting::origins(&self.snapshot.fib)
    }

    /// Octets over all tunnels since the start, closed ones included: they only rise.
    pub fn traffic(&self) -> Carried {
        let mut sum = self.carried;
        for tunnel in self.tunnels.values() {
            sum += carried(&tunnel.handle);
        }
        sum
    }

    pub fn status(&self, now: Instant) -> Status {
        let babel = self.babel.counters();
        let mut counters: BTreeMap<&'static str, u64> = self.counters.iter().collect();
        counters.insert("handshake-cookies-sent", self.factory.cookies());
        counters.insert("babel-malformed-packets", babel.malformed_packets);
        counters.insert("babel-ignored-tlvs", babel.ignored_tlvs);
        counters.insert("babel-refused-updates", babel.refused_updates);
        counters.insert("babel-unfeasible-updates", babel.unfeasible_updates);
        counters.insert("babel-limit-drops", babel.limit_drops);
        counters.insert("babel-seqno-raises-refused", babel.seqno_raises_refused);
        counters.insert("babel-router-id-conflicts", babel.router_id_conflicts);
        counters.insert("babel-route-changes", babel.route_changes);
        counters.retain(|_, count| *count > 0);
        Status {
            node: self.id,
            name: self.certificate.name.clone(),
            address: self.certificate.address(),
            prefixes: self.certificate.prefixes.clone(),
            certificate_not_after: self.certificate.not_after,
            neighbours: self.tunnels.values().filter(|t| t.is_open()).count(),
            usable_neighbours: self.tunnels.values().filter(|t| t.is_usable()).count(),
            members: self.directory.len(),
            routes: self.babel.routes().filter(|r| r.selected).count(),
            sessions: self.sessions.len(),
            endpoints: self
                .record
                .bundle()
                .map(|b| b.record.endpoints.clone())
                .unwrap_or_default(),
            record_sequence: self.record.sequence,
            revocation_number: self.revocations.as_ref().map_or(0, |list| list.number),
            counters: counters.into_iter().collect(),
            health: self.health(now),
            stopping: self.stop.is_stopping(),
            wanted: self.parameters.outgoing.min(self.others()),
            verified: self.verified(),
            udp: self.udp_evidence(),
        }
    }

    /// Known members besides ourselves.
    fn others(&self) -> usize {
        let is_other = |m: &&crate::mesh::directory::Member| m.bundle.record.node != self.id;
        self.directory.iter().filter(is_other).count()
    }

    /// Neighbours, and members that we have a route to; in order of their keys.
    pub fn peers(&self, now: Instant) -> Vec<Peer> {
        let mut peers: BTreeMap<_, Peer> = BTreeMap::new();
        for tunnel in self.tunnels.values().filter(|t| t.is_open()) {
            if let Some(certificate) = &tunnel.certificate {
                peers.insert(certificate.node, self.neighbour(tunnel, certificate, now));
            }
        }
        for member in self.directory.iter() {
            let certificate = &member.bundle.certificate;
            let own = certificate.prefixes.first();
            if certificate.node == self.id || peers.contains_key(&certificate.node) {
                continue;
            }
            if let Some(route) = own.and_then(|prefix| self.babel.selected(prefix)) {
                let tunnel = self.tunnels.get(&TunnelId(route.interface.0));
                let peer = Peer {
                    relayed_via: tunnel.and_then(Tunnel::peer),
                    metric: Some(route.metric),
                    ..blank(certificate)
                };
                peers.insert(certificate.node, peer);
            }
        }
        peers.into_values().collect()
    }

    fn neighbour(&self, tunnel: &Tunnel, certificate: &Certificate, now: Instant) -> Peer {
        let id = tunnel.id();
        let own: Option<&IpNet> = certificate.prefixes.first();
        let route = own.and_then(|prefix| self.babel.selected(prefix));
        let relay = route.filter(|r| r.interface.0 != id.0);
        let link = self.babel.neighbours().find(|n| n.interface.0 == id.0);
        Peer {
            endpoint: tunnel.handle.endpoint(),
            relayed_via: relay.and_then(|r| self.tunnels.get(&TunnelId(r.interface.0))?.peer()),
            neighbour: true,
            outgoing: tunnel.outgoing,
            usable: tunnel.is_usable(),
            rtt: tunnel.rtt.smoothed,
            cost: link.map(|n| n.cost),
            metric: route.map(|r| r.metric),
            mtu: Some(tunnel.handle.mtu()),
            sent_octets: tunnel.handle.sent().octets(),
            received_octets: tunnel.handle.received().octets(),
            refused_routes: tunnel.refused_routes,
            last_handshake: tunnel.handle.session().last_handshake(now),
            cipher: Some(tunnel.handle.session().cipher(now)),
            ..blank(certificate)
        }
    }

    pub fn routes(&self) -> Vec<Route> {
        self.babel
            .routes()
            .map(|route| {
                let id = TunnelId(route.interface.0);
                Route {
                    prefix: route.prefix,
                    origin: self
                        .directory
                        .by_router_id(&route.router_id)
                        .map(|m| m.bundle.record.node),
                    router_id: route.router_id,
                    via: self.tunnels.get(&id).and_then(Tunnel::peer),
                    tunnel: Some(id),
                    metric: route.metric,
                    seqno: route.seqno,
                    feasible: route.feasible,
                    selected: route.selected,
                    standing: route.standing,
                }
            })
            .collect()
    }
}

fn blank(certificate: &Certificate) -> Peer {
    Peer {
        node: certificate.node,
        name: certificate.name.clone(),
        address: certificate.address(),
        endpoint: None,
        relayed_via: None,
        neighbour: false,
        outgoing: false,
        usable: false,
        rtt: None,
        cost: None,
        metric: None,
        mtu: None,
        sent_octets: 0,
        received_octets: 0,
        refused_routes: 0,
        last_handshake: None,
        cipher: None,
    }
}
