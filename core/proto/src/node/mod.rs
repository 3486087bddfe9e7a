//! The overlay node: one owner of all control state. Collaborators (sessions, directory, Babel, accounting)
//! never hold each other; [`Node`] passes results between them.
//!
//! # Life of a tunnel
//!
//! [`handshake`] dials an endpoint of a member or answers somebody's handshake; [`greeting`] exchanges
//! certificates inside the new session (link protocol: Hello, Accept); once both ends have accepted,
//! [`routing`] runs Babel over it, [`gossip`] compares what both know of other members, and [`liveness`]
//! watches whether the peer still answers, [`distance`] how far it is, and [`path_mtu`]
//! which packets pass. [`neighbours`] decides how many tunnels there are and with whom.
//!
//! What goes through others travels in end-to-end [`sessions`], whose messages they carry unopened, in relay frames
//! that the [`relay_keys`] of each tunnel protect.
//!
//! # Driving it
//!
//! Feed inputs (`handle_*`), then drain the outputs (`poll_*`), [`Node::poll_fib_change`] first: a route is
//! installed before it is announced. Sleep until [`Node::poll_timeout`], call [`Node::handle_timeout`].

mod api;
mod distance;
mod doze;
mod evidence;
mod gossip;
mod greeting;
mod handshake;
mod link;
mod liveness;
mod membership;
mod neighbours;
mod path_mtu;
mod probes;
mod record;
mod relay_keys;
mod routing;
mod sessions;
mod stop;
mod timers;
mod tunnel;
mod tunnels;
mod upkeep;
mod views;

pub use api::*;
pub use sessions::SessionView;

use crate::{
    Instant, RouterId, Snapshot,
    accounting::{Carried, Counters},
    certificate::{Certificate, CertificateError},
    identity::{NodeId, SecretKeys, TunnelKey},
    mesh::{
        backoff::Backoff,
        directory::Directory,
        endpoints::OwnEndpoints,
        gossip::{Asked, Waiting},
        random::Random,
    },
    network::Network,
    packet,
    record::Bundle,
    revocation::RevocationList,
    snapshot::Activity,
    tunnel::{MessageKind, SessionFactory, TunnelId, plain::PlainFactory, wireguard::WireGuardFactory},
    wallclock::UnixTime,
};
use core::net::{Ipv6Addr, SocketAddr};
use osier_babel::Speaker;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use timers::{Timer, Timers};
use tunnel::Tunnel;

/// Holds the largest datagram.
const SCRATCH: usize = 65_535;
/// Outputs that nobody drains are dropped and counted beyond these numbers.
const MAX_TRANSMITS: usize = 16_384;
const MAX_EVENTS: usize = 4_096;

/// The overlay node. See the module's documentation.
#[derive(Debug)]
pub struct Node {
    keys: Arc<SecretKeys>,
    id: NodeId,
    router_id: RouterId,
    link_local: Ipv6Addr,
    network: Network,
    certificate: Certificate,
    parameters: MeshParameters,
    factory: Arc<dyn SessionFactory>,
    /// For end-to-end sessions: their handshakes and those of tunnels do not share a limit.
    session_factory: Arc<dyn SessionFactory>,
    random: Random,
    /// Civil time at a point of ours.
    wall_clock: (UnixTime, Instant),

    directory: Directory,
    backoff: Backoff,
    asked: Asked,
    waiting: Waiting,
    revocations: Option<RevocationList>,
    endpoints: OwnEndpoints,
    record: record::OwnRecord,

    tunnels: BTreeMap<TunnelId, Tunnel>,
    by_key: BTreeMap<TunnelKey, TunnelId>,
    by_peer: BTreeMap<NodeId, TunnelId>,
    /// Tunnels that others began and that are not open yet, and whether they may be members; the oldest first.
    newcomers: BTreeMap<TunnelId, bool>,
    next_tunnel: u32,
    sessions: sessions::EndToEndSessions,
    /// A neighbour about to be replaced, and the tunnel that is to take its place.
    replacing: Option<(TunnelId, TunnelId)>,

    babel: Speaker,
    snapshot: Snapshot,
    snapshot_changed: bool,

    probes: probes::Probes,
    stop: stop::Stop,
    upkeep: upkeep::Upkeep,
    sleep: doze::Sleep,
    evidence: evidence::Evidence,
    /// What went over tunnels that are closed.
    carried: Carried,
    counters: Counters,
    timers: Timers,
    scratch: Box<[u8]>,

    transmits: VecDeque<Transmit>,
    packets: VecDeque<Vec<u8>>,
    requests: VecDeque<Request>,
    events: VecDeque<Event>,
}

/// Why a node cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    #[error("the certificate is for other keys than ours: run `osier join` with a new invite")]
    KeyMismatch,
    #[error("{0}; if it cannot be renewed, run `osier join` with a new invite")]
    Certificate(#[from] CertificateError),
}

impl Node {
    /// Checks our own certificate against the network and the keys, and starts dialling known members.
    ///
    /// # Errors
    /// The certificate is not ours or not the network's. An expired or revoked one is no error here: it may be
    /// renewed; [`Health::excluded`] tells.
    pub fn new(config: Config, seed: [u8; 32], now: Instant) -> Result<Self, NodeError> {
        let Config {
            keys,
            certificate,
            network,
            ..
        } = &config;
        let id = keys.node_id();
        if certificate.node != id || certificate.tunnel_key != keys.tunnel_key() {
            return Err(NodeError::KeyMismatch);
        }
        match certificate.verify_with_grace(network, config.wall_clock) {
            Ok(()) | Err(CertificateError::Expired(_) | CertificateError::NotYetValid(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let mut random = Random::new(seed);
        let factory = || -> Arc<dyn SessionFactory> {
            match config.engine {
                Engine::WireGuard { aes } => {
                    let factory = WireGuardFactory::new(keys.tunnel_secret());
                    Arc::new(if aes { factory } else { factory.without_aes() })
                }
                Engine::Plain => Arc::new(PlainFactory::new(keys.tunnel_key())),
            }
        };
        let (factory, session_factory) = (factory(), factory());
        let mut snapshot = Snapshot::new(
            certificate.address(),
            certificate.prefixes.clone(),
            network.prefix,
        );
        snapshot.answers_echo = config.engine == Engine::Plain;
        snapshot.screen = Some(Arc::clone(&factory));
        let babel = routing::speaker(id.router_id(), config.seqno, random.draw(), now);
        let mut node = Self {
            id,
            router_id: id.router_id(),
            link_local: id.link_local(),
            factory,
            session_factory,
            wall_clock: (config.wall_clock, now),
            directory: Directory::default(),
            backoff: Backoff::default(),
            asked: Asked::default(),
            waiting: Waiting::default(),
            revocations: None,
            endpoints: OwnEndpoints::new(config.mesh.configured.clone()),
            record: record::OwnRecord::new(config.record_sequence),
            tunnels: BTreeMap::new(),
            by_key: BTreeMap::new(),
            by_peer: BTreeMap::new(),
            newcomers: BTreeMap::new(),
            next_tunnel: 1,
            sessions: BTreeMap::new(),
            replacing: None,
            babel,
            snapshot,
            snapshot_changed: true,
            probes: probes::Probes::default(),
            stop: stop::Stop::default(),
            upkeep: upkeep::Upkeep::default(),
            sleep: doze::Sleep::new(now),
            evidence: evidence::Evidence::new(now),
            carried: Carried::default(),
            counters: Counters::default(),
            timers: Timers::default(),
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            transmits: VecDeque::new(),
            packets: VecDeque::new(),
            requests: VecDeque::new(),
            events: VecDeque::new(),
            random,
            keys: config.keys,
            network: config.network,
            certificate: config.certificate,
            parameters: config.mesh,
        };
        node.start(config.revocations, config.bundles, now);
        Ok(node)
    }

    fn start(&mut self, revocations: Option<RevocationList>, bundles: Vec<Bundle>, now: Instant) {
        if let Some(list) = revocations {
            self.merge_revocations(list, None, now);
        }
        for bundle in bundles {
            self.learn(bundle, None, now);
        }
        for prefix in self.certificate.prefixes.clone() {
            self.babel.announce(prefix, 0, now);
        }
        self.choose_announcements(now);
        self.start_upkeep(now);
        self.consider_dozing(now);
        self.timers.set(Timer::Dial, now);
        let refresh = self.random.around(self.parameters.refresh);
        self.timers.set(Timer::Refresh, now + refresh);
        self.settle(now);
        // What was restored needs no saving.
        self.requests
            .retain(|r| !matches!(r, Request::SaveCache | Request::SaveRevocations));
    }

    /// A datagram that the data plane did not consume: handshakes and cookies. Initiations have passed
    /// [`Snapshot::screen`], which bounds how many there are; one that has not is answered all the same.
    pub fn handle_datagram(&mut self, remote: SocketAddr, datagram: &[u8], now: Instant) {
        if self.stop.is_done() {
            return;
        }
        self.notice_sleep(now);
        match MessageKind::of(datagram) {
            Some(MessageKind::Initiation) => self.accept_initiation(remote, datagram, now),
            Some(MessageKind::Response(index) | MessageKind::Cookie(index)) => {
                self.accept_response(remote, index >> 8, datagram, now);
            }
            Some(MessageKind::Data(_) | MessageKind::Frame(_)) => {
                self.counters.count("datagram-unknown-receiver")
            }
            None => self.counters.count("datagram-malformed"),
        }
        self.settle(now);
    }

    /// A decrypted packet that is not plain data: link-local or multicast destination.
    pub fn handle_tunnel_packet(&mut self, tunnel: TunnelId, packet: &[u8], now: Instant) {
        if self.stop.is_done() || !self.tunnels.contains_key(&tunnel) {
            return;
        }
        match packet::parse_udp(packet) {
            Ok((header, payload)) if header.source_port == header.destination_port => {
                match header.destination_port {
                    crate::link::PORT => self.handle_link_packet(tunnel, header.source, payload, now),
                    osier_babel::PORT => self.handle_babel_packet(tunnel, &header, payload, now),
                    _ => self.counters.count("packet-unknown-port"),
                }
            }
            Ok(_) => self.counters.count("packet-unknown-port"),
            Err(_) => self.counters.count("packet-malformed"),
        }
        self.settle(now);
        self.answer_in_sleep(tunnel, now);
    }

    /// An ICMPv6 packet to our own address that answers one of our probes.
    pub fn handle_probe_packet(&mut self, packet: &[u8], now: Instant) {
        match self.probes.answer(packet, now) {
            Some(event) => self.push_event(event),
            None => self.counters.count("probe-unknown"),
        }
    }

    /// What a packet thread saw.
    pub fn handle_activity(&mut self, activity: Activity, now: Instant) {
        self.notice_sleep(now);
        match activity {
            Activity::Sending(tunnel) | Activity::Receiving(tunnel) => self.data_passes(tunnel, now),
            Activity::Large(tunnel) => self.large_passes(tunnel, now),
            Activity::SessionLarge(origin) => self.large_passes_in_session(origin, now),
            Activity::Heard(tunnel) => self.heard(tunnel, now),
            Activity::Moved(tunnel, address) => self.moved(tunnel, address, now),
            Activity::SessionUp(origin) => self.session_up(origin, now),
            Activity::SessionSilent(origin) => self.session_silent(origin, now),
        }
        self.settle(now);
    }

    pub fn handle_command(&mut self, command: Command, now: Instant) {
        self.notice_sleep(now);
        match command {
            Command::Probe {
                id,
                target,
                hop_limit,
                payload,
            } => {
                let source = self.certificate.address();
                let packet = self.probes.send(id, source, target, hop_limit, payload, now);
                self.packets.push_back(packet);
            }
            Command::Verify => self.ask_neighbours(now),
            Command::AddBundles(bundles) => {
                for bundle in bundles {
                    self.learn(bundle, None, now);
                }
            }
            Command::SetRevocations(list) => self.merge_revocations(list, None, now),
            Command::SetCertificate(certificate) => self.set_certificate(certificate, now),
            Command::SetWallClock(time) => self.set_wall_clock(time, now),
            Command::SetMesh(parameters) => self.set_mesh(parameters, now),
            Command::Stop => self.begin_stop(now),
        }
        self.settle(now);
    }

    fn set_mesh(&mut self, parameters: MeshParameters, now: Instant) {
        self.endpoints.configured.clone_from(&parameters.configured);
        self.wake_up(now);
        self.parameters = parameters;
        self.choose_announcements(now);
        self.consider_dozing(now);
        self.record_changed(now);
        self.timers.set(Timer::Dial, now);
        self.timers
            .set(Timer::Refresh, now + self.random.around(self.parameters.refresh));
    }

    /// The registry answered or could not be reached (`Err`, for status).
    pub fn handle_registry(&mut self, reachable: Result<(), String>, now: Instant) {
        self.registry_answered(reachable, now);
        self.settle(now);
    }

    /// Our own addresses with the UDP port we listen on, after each change.
    /// None at all, or nothing but loopback where there was more before, means to a leaf that there is no network:
    /// until it hears of one it sends nothing and wants no timer.
    pub fn handle_network_change(&mut self, local: Vec<SocketAddr>, now: Instant) {
        self.notice_sleep(now);
        self.network_changed(local, now);
        self.settle(now);
    }

    /// The network may be another one although our addresses are the same: the shell was told so, or the machine is
    /// awake again.
    pub fn handle_network_reset(&mut self, now: Instant) {
        self.notice_sleep(now);
        if !self.sleep.is_offline() {
            self.evidence.network_changed(now);
            self.look_anew(now);
        }
        self.settle(now);
    }

    /// What a NAT mapped for us.
    pub fn handle_mapping(&mut self, mapped: Option<SocketAddr>, now: Instant) {
        if self.endpoints.mapped != mapped {
            self.endpoints.mapped = mapped;
            self.record_changed(now);
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.sleep.is_offline() && !self.stop.is_stopping() {
            return;
        }
        self.notice_sleep(now);
        if self.babel.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.babel.handle_timeout(now);
        }
        while let Some(timer) = self.timers.take_due(now) {
            self.fire(timer, now);
        }
        self.settle(now);
    }

    fn fire(&mut self, timer: Timer, now: Instant) {
        match timer {
            Timer::Dial => self.seek_neighbours(now),
            Timer::Sessions => self.tick_sessions(now),
            Timer::Refresh => self.refresh(now),
            Timer::Record => self.sign_record(now),
            Timer::Directory => self.fetch_directory(now),
            Timer::Renew => self.renew(now),
            Timer::Expiry => self.check_expiry(now),
            Timer::Certificates => self.request_missing(now),
            Timer::Doze => self.step_doze(now),
            Timer::Stop => self.step_stop(now),
            Timer::Dialling(tunnel) => self.step_dial(tunnel, now),
            Timer::Hello(tunnel) => self.say_hello(tunnel, now),
            Timer::GiveUp(tunnel) => self.give_up(tunnel, now),
            Timer::Liveness(tunnel) => self.check_liveness(tunnel, now),
            Timer::Echo(tunnel) => self.measure(tunnel, now),
            Timer::Gossip(tunnel) => self.gossip(tunnel, now),
            Timer::Digest(tunnel) => self.compare_directories(tunnel, now),
            Timer::PathMtu(tunnel) => self.step_path_mtu(tunnel, now),
            Timer::Close(tunnel) => self.finish_replacing(tunnel, now),
            Timer::Initiate(origin) => self.initiate_session(origin, now),
            Timer::SessionMtu(origin) => self.step_session_mtu(origin, now),
        }
    }

    /// Passes on what Babel wants done; the last step of every input.
    fn settle(&mut self, now: Instant) {
        self.drain_babel(now);
        if let Some(at) = self.waiting.next()
            && !self.stop.is_stopping()
        {
            self.timers.advance(Timer::Certificates, at.max(now));
        }
    }

    /// Everything the packet threads need, when it changed.
    pub fn poll_fib_change(&mut self) -> Option<Arc<Snapshot>> {
        if !core::mem::take(&mut self.snapshot_changed) {
            return None;
        }
        Some(Arc::new(self.snapshot.clone()))
    }

    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// A packet that originates here and goes by the FIB (probes).
    pub fn poll_packet(&mut self) -> Option<Vec<u8>> {
        self.packets.pop_front()
    }

    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Node::handle_timeout`] next, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        if self.sleep.is_offline() && !self.stop.is_stopping() {
            return None;
        }
        let waits_until = self.waits_until();
        let babel = if self.stop.is_done() {
            None
        } else if waits_until.is_some() {
            self.babel.poll_packet_timeout()
        } else {
            self.babel.poll_timeout()
        };
        let babel = babel.map(|(at, reason)| (at, routing::reason(reason)));
        let timers = match waits_until {
            Some(beat) => Some((beat, Timer::Doze.reason())),
            None => self.timers.next(),
        };
        [timers, babel].into_iter().flatten().min()
    }

    fn transmit(&mut self, remote: SocketAddr, datagram: Vec<u8>) {
        self.transmit_as(remote, datagram, false);
    }

    fn transmit_as(&mut self, remote: SocketAddr, datagram: Vec<u8>, whole: bool) {
        if self.sleep.is_offline() {
            return self.counters.count("transmit-offline");
        }
        if self.transmits.len() < MAX_TRANSMITS {
            self.transmits.push_back(Transmit {
                remote,
                datagram,
                whole,
            });
        } else {
            self.counters.count("transmit-overflow");
        }
    }

    fn push_event(&mut self, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
            self.counters.count("event-overflow");
        }
        self.events.push_back(event);
    }

    /// Asks the shell for something, once if it is still to be taken.
    fn request(&mut self, request: Request) {
        match request {
            Request::Publish(_) => self.requests.retain(|r| !matches!(r, Request::Publish(_))),
            Request::SaveSeqno(_) => self.requests.retain(|r| !matches!(r, Request::SaveSeqno(_))),
            _ if self.requests.contains(&request) => return,
            _ => {}
        }
        self.requests.push_back(request);
    }

    fn unix_now(&self, now: Instant) -> UnixTime {
        let (time, at) = self.wall_clock;
        time.saturating_add(now.saturating_since(at).as_secs())
    }
}
