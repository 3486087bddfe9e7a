//! Babel over the tunnels: its packets inside IPv6 and UDP, who may announce what, and the forwarding table.

use super::{
    Event, Node, Request,
    membership::is_current,
    stop::PENALTY,
    tunnel::{FIRST_INTERVAL, Rtt, Tunnel, UNMEASURED_COST},
    tunnels::interface,
};
use crate::{
    Duration, Instant, IpNet, RouterId, certificate::Certificate, fib::Hop, mesh::directory::Directory,
    packet::UdpHeader, revocation::RevocationList, snapshot::MIN_MTU, tunnel::TunnelId, wallclock::UnixTime,
};
use core::net::Ipv6Addr;
use osier_babel::filter::{Action, Filters, Rule};
use osier_babel::{
    Authority, Config, CostModel, Destination, Forwarding, InterfaceConfig, Limits, MULTICAST, PORT, Speaker,
    Target, TimerReason, UpdateInfo, Verdict,
};
use std::collections::BTreeMap;

/// Interval of full updates. Changes are told at once and repeated until acknowledged, so these only mend what
/// should not have broken.
const UPDATE_INTERVAL: Duration = Duration::from_secs(180);
/// Bounds of what a peer's Hello may promise.
const HELLO_BOUNDS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));

const LIMITS: Limits = Limits {
    neighbours_per_interface: 1,
    prefixes: 1 << 17,
    prefixes_per_neighbour: 1 << 17,
    pending_requests: 4096,
};

pub(super) fn speaker(router_id: RouterId, seqno: u16, seed: u64, now: Instant) -> Speaker {
    let config = Config {
        router_id,
        seqno,
        seed,
        limits: LIMITS,
        forwarding: Forwarding::default(),
    };
    Speaker::new(config, now)
}

pub(super) fn reason(reason: TimerReason) -> &'static str {
    match reason {
        TimerReason::Flush => "babel-flush",
        TimerReason::Hello => "babel-hello",
        TimerReason::Update => "babel-update",
        TimerReason::NeighbourDeadline => "babel-neighbour",
        TimerReason::RouteExpiry => "babel-route",
        TimerReason::Request => "babel-request",
    }
}

/// Who may say what: decides about every finite Update.
struct Membership<'a> {
    own: RouterId,
    directory: &'a Directory,
    tunnels: &'a BTreeMap<TunnelId, Tunnel>,
    revocations: Option<&'a RevocationList>,
    time: UnixTime,
    grace: u64,
    /// Origins whose certificate we do not have.
    unknown: Vec<(RouterId, TunnelId, IpNet)>,
    refused: BTreeMap<(TunnelId, &'static str), u64>,
}

impl<'a> Membership<'a> {
    /// Takes the node's parts one by one: its speaker is in use while it judges.
    fn new(
        own: RouterId,
        directory: &'a Directory,
        tunnels: &'a BTreeMap<TunnelId, Tunnel>,
        revocations: Option<&'a RevocationList>,
        (time, grace): (UnixTime, u64),
    ) -> Self {
        Self {
            own,
            directory,
            tunnels,
            revocations,
            time,
            grace,
            unknown: Vec::new(),
            refused: BTreeMap::new(),
        }
    }

    fn judge(&mut self, update: &UpdateInfo) -> Result<Verdict, &'static str> {
        let id = TunnelId(update.interface.0);
        // A certificate says which destinations its holder owns; no one owns a source, and the forwarding
        // table knows none.
        if update.source.is_some() {
            return Err("route-source-specific");
        }
        if update.router_id == self.own {
            // Our own route coming back: the speaker knows what to do with it.
            return Ok(Verdict::Accept);
        }
        let tunnel = self.tunnels.get(&id).ok_or("route-without-tunnel")?;
        let neighbour = tunnel.certificate.as_ref().ok_or("route-without-tunnel")?;
        let is_neighbours = neighbour.node.router_id() == update.router_id;
        let origin = if is_neighbours {
            neighbour
        } else {
            match self.directory.by_router_id(&update.router_id) {
                Some(member) => &member.bundle.certificate,
                None => {
                    self.unknown.push((update.router_id, id, update.prefix));
                    return Err("route-unknown-origin");
                }
            }
        };
        self.check_origin(origin, &update.prefix)?;
        if !is_neighbours && !self.may_relay(neighbour) {
            return Err("route-not-a-relay");
        }
        // Data for others goes through it in frames or not at all: else it could ask to read them.
        if !is_neighbours && !tunnel.handle.takes_frames() {
            return Err("route-no-relay-key");
        }
        Ok(if tunnel.closing {
            Verdict::Penalise(PENALTY)
        } else {
            Verdict::Accept
        })
    }

    fn check_origin(&self, origin: &Certificate, prefix: &IpNet) -> Result<(), &'static str> {
        if self.revocations.is_some_and(|list| list.revokes(origin)) {
            return Err("route-revoked-origin");
        }
        if !is_current(origin, self.time, self.grace) {
            return Err("route-expired-origin");
        }
        if !origin.permits(prefix) {
            return Err("route-forged-prefix");
        }
        Ok(())
    }

    fn may_relay(&self, neighbour: &Certificate) -> bool {
        let record = self.directory.get(&neighbour.node).map(|m| &m.bundle.record);
        neighbour.flags.relay && !record.is_some_and(|r| r.leaf)
    }
}

impl Authority for Membership<'_> {
    fn authorise(&mut self, update: &UpdateInfo) -> Verdict {
        self.judge(update).unwrap_or_else(|reason| {
            let tunnel = TunnelId(update.interface.0);
            *self.refused.entry((tunnel, reason)).or_default() += 1;
            Verdict::Refuse
        })
    }
}

/// What the authority saw, once it no longer borrows the node.
struct Findings {
    unknown: Vec<(RouterId, TunnelId, IpNet)>,
    refused: BTreeMap<(TunnelId, &'static str), u64>,
}

impl From<Membership<'_>> for Findings {
    fn from(membership: Membership<'_>) -> Self {
        Self {
            unknown: membership.unknown,
            refused: membership.refused,
        }
    }
}

/// The interval that the Hello in a Babel packet promises (RFC 8966 section 4.6.5).
pub(super) fn promised_interval(payload: &[u8]) -> Option<Duration> {
    let [42, 2, length @ ..] = payload else {
        return None;
    };
    let (length, body) = length.split_first_chunk::<2>()?;
    let mut body = body.get(..usize::from(u16::from_be_bytes(*length)))?;
    loop {
        match body {
            [0, rest @ ..] => body = rest,
            [4, length, tlv @ ..] if *length >= 6 && tlv.len() >= 6 => {
                let centiseconds = u16::from_be_bytes([tlv[4], tlv[5]]);
                return (centiseconds > 0).then(|| {
                    Duration::from_millis(u64::from(centiseconds) * 10).clamp(HELLO_BOUNDS.0, HELLO_BOUNDS.1)
                });
            }
            [_, length, rest @ ..] => body = rest.get(usize::from(*length)..)?,
            _ => return None,
        }
    }
}

impl Node {
    pub(super) fn start_routing(&mut self, id: TunnelId, now: Instant) {
        let config = InterfaceConfig {
            cost_model: CostModel::Etx,
            rx_cost: UNMEASURED_COST,
            hello_interval: FIRST_INTERVAL,
            update_interval: UPDATE_INTERVAL,
            link_local: self.link_local,
            ipv4: None,
            v4_via_v6: false,
            mtu: MIN_MTU,
            split_horizon: true,
            point_to_point: true,
            rtt: None,
        };
        if let Some(tunnel) = self.tunnels.get_mut(&id) {
            tunnel.rtt = Rtt::default();
        }
        self.babel.add_interface(interface(id), config, now);
    }

    pub(super) fn handle_babel_packet(
        &mut self,
        id: TunnelId,
        header: &UdpHeader,
        payload: &[u8],
        now: Instant,
    ) {
        let Some(tunnel) = self.tunnels.get(&id) else {
            return;
        };
        let to_us = header.destination == MULTICAST || header.destination == self.link_local;
        // Before the Hello there is no peer to compare with: the packet is refused below.
        let from_peer = tunnel.peer_link_local().is_none_or(|peer| peer == header.source);
        if !to_us || !from_peer || header.hop_limit != 1 {
            return self.counters.count("babel-wrong-address");
        }
        if !self.take_implied_accept(id, now) {
            if self
                .tunnels
                .get(&id)
                .is_some_and(|t| t.greeting.sent_at.is_none())
            {
                self.say_hello(id, now);
            }
            return self.counters.count("babel-unauthenticated");
        }
        if let Some(interval) = promised_interval(payload) {
            // A Hello: whoever wanted to sleep is awake, and whoever was to be quiet does not know of it.
            self.peer_wakes(id, now);
            self.insist_on_quiet(id, now);
            if let Some(tunnel) = self.tunnels.get_mut(&id) {
                tunnel.liveness.peer_interval = interval;
            }
        }
        let time = (self.unix_now(now), self.grace());
        let revocations = self.revocations.as_ref();
        let mut authority =
            Membership::new(self.router_id, &self.directory, &self.tunnels, revocations, time);
        let (source, destination) = (header.source, header.destination);
        self.babel
            .handle_packet(interface(id), source, destination, payload, &mut authority, now);
        let findings = authority.into();
        self.note(findings, now);
    }

    /// Others may announce what they can reach; a leaf only itself.
    pub(super) fn choose_announcements(&mut self, now: Instant) {
        let own = Rule {
            router_id: Some(self.router_id),
            ..Rule::new(Action::Accept { add: 0 })
        };
        let export = if self.parameters.leaf {
            vec![own, Rule::new(Action::Deny)]
        } else {
            Vec::new()
        };
        let filters = Filters {
            import: Vec::new(),
            export,
        };
        let time = (self.unix_now(now), self.grace());
        let revocations = self.revocations.as_ref();
        let mut authority =
            Membership::new(self.router_id, &self.directory, &self.tunnels, revocations, time);
        self.babel.set_filters(filters, &mut authority, now);
        let findings = authority.into();
        self.note(findings, now);
    }

    /// Looks at all routes again: somebody is no member any more, or a link is to be avoided.
    pub(super) fn reauthorise(&mut self, now: Instant) {
        let time = (self.unix_now(now), self.grace());
        let revocations = self.revocations.as_ref();
        let mut authority =
            Membership::new(self.router_id, &self.directory, &self.tunnels, revocations, time);
        self.babel.reauthorise(&mut authority, now);
        let findings = authority.into();
        self.note(findings, now);
    }

    fn note(&mut self, findings: Findings, now: Instant) {
        for ((id, reason), count) in findings.refused {
            self.counters.add(reason, count);
            if let Some(tunnel) = self.tunnels.get_mut(&id) {
                tunnel.refused_routes += count;
            }
        }
        for (router_id, id, prefix) in findings.unknown {
            if !self.waiting.add(router_id, id, prefix, now) {
                self.counters.count("waiting-overflow");
            }
        }
    }

    /// Sends what Babel wants sent and installs what it selected.
    pub(super) fn drain_babel(&mut self, now: Instant) {
        while let Some(event) = self.babel.poll_event() {
            match event {
                osier_babel::Event::RouteChanged {
                    prefix,
                    source: None,
                    target,
                } => self.install(prefix, target),
                // Refused on arrival (`Membership::judge`), so there is nothing to do for one.
                osier_babel::Event::RouteChanged { source: Some(_), .. } => {}
                osier_babel::Event::SeqnoChanged(seqno) => self.request(Request::SaveSeqno(seqno)),
                osier_babel::Event::NeighbourUp { .. } | osier_babel::Event::NeighbourDown { .. } => {}
            }
        }
        while let Some(transmit) = self.babel.poll_transmit() {
            let destination: Ipv6Addr = match transmit.destination {
                Destination::Multicast => MULTICAST,
                Destination::Unicast(address) => address,
            };
            let header = UdpHeader {
                source: self.link_local,
                destination,
                hop_limit: 1,
                source_port: PORT,
                destination_port: PORT,
            };
            self.send_packet(TunnelId(transmit.interface.0), &header, &transmit.payload, now);
        }
    }

    fn install(&mut self, prefix: IpNet, target: Target) {
        if self.certificate.prefixes.contains(&prefix) || !matches!(prefix, IpNet::V6(_)) {
            return;
        }
        self.snapshot_changed = true;
        let (via, metric) = match target {
            Target::Via {
                interface,
                metric,
                router_id,
                ..
            } => {
                let id = TunnelId(interface.0);
                let neighbour = self.tunnels.get(&id).and_then(Tunnel::peer);
                let hop = self.hop(id, neighbour, router_id);
                self.snapshot.fib.insert(prefix, hop);
                (neighbour, metric)
            }
            Target::Unreachable => {
                self.snapshot.fib.insert(prefix, Hop::Unreachable);
                (None, osier_babel::INFINITY)
            }
            Target::Gone => {
                self.snapshot.fib.remove(&prefix);
                (None, osier_babel::INFINITY)
            }
        };
        self.push_event(Event::RouteChanged { prefix, via, metric });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_interval_of_a_hello() {
        let hello = [42, 2, 0, 12, 0, 9, 1, 0, 4, 6, 0, 0, 0, 7, 1, 144];
        assert_eq!(promised_interval(&hello), Some(Duration::from_secs(4)));
        for length in 0..hello.len() {
            assert_eq!(promised_interval(&hello[..length]), None);
        }
        let unscheduled = [42, 2, 0, 8, 4, 6, 0, 0, 0, 7, 0, 0];
        assert_eq!(promised_interval(&unscheduled), None);
    }
}
