//! End-to-end sessions: with each node that we exchange data with through others.
//!
//! The first packet for such a node comes here ([`Node::handle_unsent_packet`]) and begins a handshake, whose
//! messages travel in relay frames as the data will. Packets wait meanwhile, a few; none goes out in the clear.
//! The other end answers whoever holds the key of a member. What travels when there are keys is the data plane's
//! business: it tells us the first authentic message ([`Activity::SessionUp`]), and that data goes unanswered
//! ([`Activity::SessionSilent`]), as when the other end has restarted: then new keys are agreed.
//!
//! A session belongs to an identity, not to a way there. It ends when it has been idle, when others need its
//! place, and when its member is no longer one or has another key or other prefixes.
//!
//! [`Activity::SessionUp`]: crate::snapshot::Activity::SessionUp
//! [`Activity::SessionSilent`]: crate::snapshot::Activity::SessionSilent

use super::{Node, membership::is_current, timers::Timer, tunnels::SESSION_TICK};
use crate::{
    Duration, Instant, IpNet, RouterId,
    certificate::Certificate,
    fib::Hop,
    identity::{NodeId, TunnelKey},
    link::Message,
    mesh::path_mtu::{PathMtu, Reason, SESSION_SIZES},
    packet::{self, IcmpError},
    relay::{self, HEADER, HOP_LIMIT, Target},
    snapshot::{Activity, Class, PATIENCE, SessionHandle, Traffic},
    tunnel::{Cipher, MAX_INDEX, MessageKind, OVERHEAD, Opened, Screened, Sealed, TunnelId},
};
use core::net::{Ipv6Addr, SocketAddr};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Sessions held at most.
const CAPACITY: usize = 1024;
/// A session that nothing passes for this long ends.
const IDLE: Duration = Duration::from_secs(300);
/// One that another began and never used.
const UNCONFIRMED: Duration = Duration::from_secs(10);
/// Pauses after the initiations of one attempt; the last one is how long the last is waited for.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1000),
    Duration::from_millis(2000),
];
/// What waits for one session.
const HELD_PACKETS: usize = 16;
const HELD_OCTETS: usize = 64 << 10;
/// A peer that has nothing to answer is asked more and more rarely.
const LONGEST_PATIENCE: Duration = Duration::from_secs(16);
/// Room for any message of a session that is no data.
const MESSAGE: usize = 256;

/// One session as control sees it.
#[derive(Debug)]
pub(super) struct EndToEnd {
    pub(super) handle: Arc<SessionHandle>,
    index: u32,
    pub(super) node: NodeId,
    key: TunnelKey,
    prefixes: Vec<IpNet>,
    created: Instant,
    /// A handshake of ours that nobody has answered yet: initiations sent.
    attempt: Option<usize>,
    patience: Duration,
    held: VecDeque<Vec<u8>>,
    pub(super) mtu: PathMtu,
    /// When a handshake was last answered.
    pub(super) answered: Instant,
    /// The tunnel that frames went into when somebody last looked.
    via: Option<TunnelId>,
}

impl EndToEnd {
    fn last_used(&self) -> Instant {
        let used = self.handle.last_sent().max(self.handle.last_received());
        used.map_or(self.created, |at| at.max(self.created))
    }

    fn hold(&mut self, packet: &[u8]) -> u64 {
        let mut dropped = 0;
        let octets = |held: &VecDeque<Vec<u8>>| held.iter().map(Vec::len).sum::<usize>();
        while self.held.len() >= HELD_PACKETS
            || !self.held.is_empty() && octets(&self.held) + packet.len() > HELD_OCTETS
        {
            self.held.pop_front();
            dropped += 1;
        }
        self.held.push_back(packet.to_vec());
        dropped
    }
}

/// An end-to-end session for people to look at.
#[derive(Clone, Debug)]
pub struct SessionView {
    pub node: NodeId,
    pub name: String,
    pub address: Ipv6Addr,
    /// The neighbour that frames go through now; `None` without a route.
    pub via: Option<NodeId>,
    /// Whether there are confirmed keys.
    pub up: bool,
    /// Largest packet in octets that it carries now.
    pub mtu: u16,
    pub age: Duration,
    pub idle: Duration,
    pub sent: Traffic,
    pub received: Traffic,
    pub last_handshake: Option<Instant>,
    /// What packets to it are sealed with.
    pub cipher: Cipher,
    /// Packets that wait for the session.
    pub held: usize,
}

fn locator(certificate: &Certificate) -> Option<u64> {
    relay::locator(certificate.prefixes.first()?)
}

impl Node {
    /// Where a route of `origin` leads: through a session, when it is not the neighbour's own and both ends can
    /// have one.
    pub(super) fn hop(&self, via: TunnelId, neighbour: Option<NodeId>, origin: RouterId) -> Hop {
        let is_neighbours = neighbour.is_some_and(|node| node.router_id() == origin);
        let member = self.directory.by_router_id(&origin);
        let theirs = member.and_then(|m| locator(&m.bundle.certificate));
        if is_neighbours || theirs.is_none() || locator(&self.certificate).is_none() {
            Hop::Tunnel(via)
        } else {
            Hop::Relayed { via, origin }
        }
    }

    /// A packet of this machine for a node with which there is no session yet.
    pub fn handle_unsent_packet(&mut self, packet: &[u8], now: Instant) {
        if self.stop.is_done() {
            return;
        }
        match packet::Ipv6Packet::parse(packet).map(|p| self.snapshot.fib.lookup(p.destination())) {
            Ok(Some(Hop::Relayed { origin, .. })) => self.hold(origin, packet, now),
            // The route has changed since: the packet goes the new way.
            Ok(Some(_)) => self.packets.push_back(packet.to_vec()),
            Ok(None) => self.counters.count("session-no-route"),
            Err(_) => self.counters.count("packet-malformed"),
        }
        self.settle(now);
    }

    /// A handshake message that came in a relay frame, through the neighbour of `tunnel`.
    pub fn handle_relayed_handshake(&mut self, tunnel: TunnelId, message: &[u8], now: Instant) {
        let Some(remote) = self.tunnels.get(&tunnel).and_then(|t| t.handle.endpoint()) else {
            return;
        };
        if self.stop.is_done() || self.upkeep.excluded.is_some() {
            return;
        }
        match MessageKind::of(message) {
            Some(MessageKind::Initiation) => self.answer_initiation(remote, message, now),
            Some(MessageKind::Response(index) | MessageKind::Cookie(index)) => {
                self.take_answer(index >> 8, remote, message, now);
            }
            Some(MessageKind::Data(_) | MessageKind::Frame(_)) | None => {
                self.counters.count("session-malformed");
            }
        }
        self.settle(now);
    }

    fn hold(&mut self, origin: RouterId, packet: &[u8], now: Instant) {
        if self.sessions.get(&origin).is_some_and(|s| s.handle.is_up()) {
            return self.packets.push_back(packet.to_vec());
        }
        if !self.sessions.contains_key(&origin) && !self.open_session_with(origin, now) {
            return self.counters.count("session-refused");
        }
        let Some(session) = self.sessions.get_mut(&origin) else {
            return;
        };
        let dropped = session.hold(packet);
        self.counters.add("session-held-overflow", dropped);
        self.begin_attempt(origin, now);
    }

    /// Makes a session with a member, without keys yet.
    fn open_session_with(&mut self, origin: RouterId, now: Instant) -> bool {
        let (time, grace) = (self.unix_now(now), self.grace());
        let Some(member) = self.directory.by_router_id(&origin) else {
            return false;
        };
        let certificate = &member.bundle.certificate;
        let Some(locator) = locator(certificate) else {
            return false;
        };
        let is_member = is_current(certificate, time, grace) && !self.is_revoked(certificate);
        if !is_member || certificate.node == self.id || self.stop.is_stopping() {
            return false;
        }
        let (node, key) = (certificate.node, certificate.tunnel_key);
        let prefixes = certificate.prefixes.clone();
        self.make_room();
        let sessions = &self.snapshot.sessions;
        // Drawn at random, so that messages for a session of before a restart find none.
        let draws = (0..64).map(|_| (self.random.draw() & u64::from(MAX_INDEX)) as u32);
        let Some(index) = draws.into_iter().find(|index| sessions.at(*index).is_none()) else {
            return false;
        };
        let session = self.session_factory.new_session(key, index, now);
        let handle = Arc::new(SessionHandle::new(origin, locator, &prefixes, session));
        Arc::make_mut(&mut self.snapshot.sessions).add(index, Arc::clone(&handle));
        self.snapshot_changed = true;
        let session = EndToEnd {
            handle,
            index,
            node,
            key,
            prefixes,
            created: now,
            attempt: None,
            patience: PATIENCE,
            held: VecDeque::new(),
            mtu: PathMtu::new(SESSION_SIZES),
            answered: now,
            via: None,
        };
        self.sessions.insert(origin, session);
        self.timers.advance(Timer::Sessions, now + SESSION_TICK);
        true
    }

    /// The least recently used goes, rather one that was never up.
    fn make_room(&mut self) {
        while self.sessions.len() >= CAPACITY {
            let least = self
                .sessions
                .iter()
                .min_by_key(|(origin, s)| (s.handle.is_up(), s.last_used(), **origin))
                .map(|(origin, _)| *origin);
            let Some(origin) = least else { return };
            self.counters.count("session-evicted");
            self.close_session(&origin);
        }
    }

    fn close_session(&mut self, origin: &RouterId) {
        let Some(session) = self.sessions.remove(origin) else {
            return;
        };
        Arc::make_mut(&mut self.snapshot.sessions).remove(session.index, origin);
        self.snapshot_changed = true;
        self.timers.clear(Timer::Initiate(*origin));
        self.timers.clear(Timer::SessionMtu(*origin));
        self.counters
            .add("session-held-dropped", session.held.len() as u64);
    }

    fn begin_attempt(&mut self, origin: RouterId, now: Instant) {
        if let Some(session) = self.sessions.get_mut(&origin)
            && session.attempt.is_none()
        {
            session.attempt = Some(0);
            self.initiate_session(origin, now);
        }
    }

    /// Sends the attempt's next initiation, or gives up.
    pub(super) fn initiate_session(&mut self, origin: RouterId, now: Instant) {
        let Some(session) = self.sessions.get_mut(&origin) else {
            return;
        };
        let Some(sent) = session.attempt else { return };
        let Some(pause) = PAUSES.get(sent) else {
            return self.give_up_session(origin);
        };
        session.attempt = Some(sent + 1);
        self.timers.set(Timer::Initiate(origin), now + *pause);
        let handle = Arc::clone(&session.handle);
        let mut message = [0; MESSAGE];
        if let Some(initiation) = handle.session().initiate(now, &mut message) {
            let length = initiation.len();
            self.send_in_frame(&handle, &message[..length], now);
        }
    }

    /// Nobody answered. What waited is lost, and the machine is told so.
    fn give_up_session(&mut self, origin: RouterId) {
        let Some(session) = self.sessions.get_mut(&origin) else {
            return;
        };
        session.attempt = None;
        self.counters.count("session-unanswered");
        if session.handle.is_up() {
            return self.be_patient(origin);
        }
        let own = self.certificate.address();
        for held in core::mem::take(&mut session.held) {
            let error = IcmpError::AddressUnreachable;
            let mut out = [0; packet::MIN_MTU];
            if packet::deserves_error(error, &held)
                && let Some(length) = packet::build_error(error, own, &held, &mut out)
            {
                self.packets.push_back(out[..length].to_vec());
            }
            self.counters.count("session-held-dropped");
        }
        self.close_session(&origin);
    }

    fn be_patient(&mut self, origin: RouterId) {
        if let Some(session) = self.sessions.get_mut(&origin) {
            session.patience = (session.patience * 2).min(LONGEST_PATIENCE);
            session.handle.set_patience(session.patience);
        }
    }

    /// Somebody begins a handshake with us.
    fn answer_initiation(&mut self, remote: SocketAddr, message: &[u8], now: Instant) {
        let mut out = [0; MESSAGE];
        match self.session_factory.screen(now, remote, message, &mut out) {
            Screened::Passed => {}
            // A cookie goes to whom we know; who this is, the cookie is to spare us from finding out.
            Screened::Cookie(_) | Screened::TooMany => {
                return self.counters.count("session-handshake-limit");
            }
            Screened::Forged => return self.counters.count("session-handshake-rejected"),
        }
        let Some(key) = self.session_factory.identify_initiation(message) else {
            return self.counters.count("session-handshake-rejected");
        };
        let Some(member) = self.directory.by_tunnel_key(&key) else {
            return self.counters.count("session-stranger");
        };
        let origin = member.bundle.certificate.node.router_id();
        let is_new = !self.sessions.contains_key(&origin);
        if is_new && !self.open_session_with(origin, now) {
            return self.counters.count("session-refused");
        }
        let Some(session) = self.sessions.get(&origin) else {
            return;
        };
        let handle = Arc::clone(&session.handle);
        match handle.session().open(now, remote, message, &mut out) {
            Opened::Reply(reply) => {
                let length = reply.len();
                self.send_in_frame(&handle, &out[..length], now);
            }
            Opened::Packet(_) | Opened::Nothing => {}
            Opened::Rejected => {
                self.counters.count("session-handshake-rejected");
                if is_new {
                    self.close_session(&origin);
                }
            }
        }
    }

    /// An answer (or a cookie) to a handshake of ours.
    fn take_answer(&mut self, index: u32, remote: SocketAddr, message: &[u8], now: Instant) {
        let Some(handle) = self.snapshot.sessions.at(index).cloned() else {
            return self.counters.count("session-unknown");
        };
        let mut out = [0; MESSAGE];
        match handle.session().open(now, remote, message, &mut out) {
            Opened::Reply(reply) => {
                let length = reply.len();
                self.send_in_frame(&handle, &out[..length], now);
            }
            // A cookie: the next initiation carries it.
            Opened::Packet(_) | Opened::Nothing => return,
            Opened::Rejected => return self.counters.count("session-handshake-rejected"),
        }
        let was_up = handle.is_up();
        // Not when keys are merely renewed.
        let was_silent = was_up
            && self
                .sessions
                .get(&handle.origin())
                .is_some_and(|s| s.attempt.is_some());
        handle.set_up(true);
        handle.answered();
        self.session_up(handle.origin(), now);
        if was_up {
            // It was there all the time and had nothing to say, unless it talks soon.
            self.be_patient(handle.origin());
        }
        if was_silent {
            // Or only small packets pass.
            self.recheck_session_mtu(handle.origin(), Reason::Hint, now);
        }
    }

    /// There are keys: what waited goes out.
    pub(super) fn session_up(&mut self, origin: RouterId, now: Instant) {
        let Some(session) = self.sessions.get_mut(&origin) else {
            return;
        };
        session.attempt = None;
        let held = core::mem::take(&mut session.held);
        let handle = Arc::clone(&session.handle);
        self.timers.clear(Timer::Initiate(origin));
        self.start_session_mtu(origin, now);
        self.packets.extend(held);
        // Packets that the engine itself kept, from when its keys had just run out.
        while let Some(message) = handle.session().flush(now, &mut self.scratch) {
            let message = message.to_vec();
            self.send_in_frame(&handle, &message, now);
        }
    }

    /// Data goes out and nothing comes back.
    pub(super) fn session_silent(&mut self, origin: RouterId, now: Instant) {
        self.begin_attempt(origin, now);
    }

    /// Sends a message of the link protocol in a session, in a packet of this size if one is given.
    pub(super) fn send_in_session(
        &mut self,
        origin: RouterId,
        message: &Message,
        size: Option<u16>,
        now: Instant,
    ) {
        let Some(session) = self.sessions.get(&origin).filter(|s| s.handle.is_up()) else {
            return;
        };
        let (handle, peer) = (Arc::clone(&session.handle), session.node.link_local());
        let Some(mut packet) = packet::udp_packet(&self.link_header(peer), &message.encode()) else {
            return;
        };
        packet.resize(packet.len().max(size.unwrap_or_default().into()), 0);
        let mut out = vec![0; (packet.len() + OVERHEAD).max(MESSAGE)];
        let (sealed, silent) = handle.seal(now, &packet, &mut out);
        let length = match sealed {
            Sealed::Datagram(message) | Sealed::Handshake(message) => message.len(),
            Sealed::Nothing => return,
        };
        self.frame(&handle, &out[..length], size.is_some(), now);
        if silent.is_some() {
            self.session_silent(origin, now);
        }
    }

    /// Sends a message of a session by our own table.
    fn send_in_frame(&mut self, handle: &SessionHandle, message: &[u8], now: Instant) {
        self.frame(handle, message, false, now);
    }

    fn frame(&mut self, handle: &SessionHandle, message: &[u8], whole: bool, now: Instant) {
        let hop = self.snapshot.fib.lookup(relay::address(handle.locator()));
        let Some(tunnel) = hop.and_then(Hop::tunnel).and_then(|id| self.tunnels.get(&id)) else {
            return self.counters.count("session-no-route");
        };
        let tunnel = Arc::clone(&tunnel.handle);
        let Some(remote) = tunnel.endpoint() else { return };
        let mut frame = vec![0; HEADER + message.len()];
        frame[HEADER..].copy_from_slice(message);
        if whole && !tunnel.fits(frame.len()) {
            return;
        }
        let target = Target {
            hop_limit: HOP_LIMIT,
            locator: handle.locator(),
            whole,
        };
        let (true, activity) = tunnel.seal_frame(now, Class::Own, &mut frame, target) else {
            return self.counters.count("session-no-relay-key");
        };
        self.transmit_as(remote, frame, whole);
        if let Some(Activity::Sending(id)) = activity {
            self.data_passes(id, now);
        }
    }

    /// Every second: keys are renewed, keepalives sent, and sessions that nobody uses end.
    pub(super) fn tick_end_to_end(&mut self, now: Instant) {
        let mut over = Vec::new();
        for (origin, session) in &mut self.sessions {
            let handle = &session.handle;
            let age = now.saturating_since(session.created);
            let is_idle = now.saturating_since(session.last_used()) >= IDLE;
            let is_unused = !handle.is_up() && session.attempt.is_none() && age >= UNCONFIRMED;
            // Keys that ran out leave a session that was up behind; the next packet renews it.
            let was_used = handle.last_received().is_some();
            if is_idle || is_unused && !was_used {
                over.push(*origin);
            } else if handle.is_up() && handle.session().last_handshake(now).is_none() {
                handle.set_up(false);
            }
            let talks = handle
                .last_received()
                .is_some_and(|at| now.saturating_since(at) < SESSION_TICK);
            if talks && session.patience > PATIENCE {
                session.patience = PATIENCE;
                handle.set_patience(PATIENCE);
            }
        }
        for origin in over {
            self.close_session(&origin);
        }
        self.follow_sessions(now);
        // While we initiate at our own pace the engine's slower one would only interfere.
        let handles: Vec<_> = self
            .sessions
            .values()
            .filter(|s| s.attempt.is_none())
            .map(|s| Arc::clone(&s.handle))
            .collect();
        let mut message = [0; MESSAGE];
        for handle in handles {
            if let Some(due) = handle.session().tick(now, &mut message) {
                let length = due.len();
                self.send_in_frame(&handle, &message[..length], now);
            }
        }
    }

    /// Where frames take another way than before, other packets may pass.
    fn follow_sessions(&mut self, now: Instant) {
        let mut changed = Vec::new();
        for (origin, session) in &mut self.sessions {
            let address = relay::address(session.handle.locator());
            let via = self.snapshot.fib.lookup(address).and_then(Hop::tunnel);
            if via.is_some() && via != session.via {
                if session.via.is_some() {
                    changed.push(*origin);
                }
                session.via = via;
            }
        }
        for origin in changed {
            self.recheck_session_mtu(origin, Reason::Settling, now);
        }
    }

    /// Of the session, and of the first hop.
    fn session_mtu(&self, handle: &SessionHandle) -> u16 {
        let hop = self.snapshot.fib.lookup(relay::address(handle.locator()));
        let tunnel = hop.and_then(Hop::tunnel).and_then(|id| self.tunnels.get(&id));
        tunnel.map_or(handle.mtu(), |t| handle.mtu().min(t.handle.relay_mtu()))
    }

    /// Ends the sessions whose certificates are void, or not those that they were made for.
    pub(super) fn check_sessions(&mut self) {
        let void: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, session)| {
                !self.directory.get(&session.node).is_some_and(|member| {
                    let certificate = &member.bundle.certificate;
                    certificate.tunnel_key == session.key && certificate.prefixes == session.prefixes
                })
            })
            .map(|(origin, _)| *origin)
            .collect();
        for origin in void {
            self.close_session(&origin);
        }
    }

    pub(super) fn close_sessions(&mut self) {
        for origin in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.close_session(&origin);
        }
    }

    /// End-to-end sessions, in order of router-id.
    pub fn sessions(&self, now: Instant) -> Vec<SessionView> {
        let view = |session: &EndToEnd| {
            let handle = &session.handle;
            let address = relay::address(handle.locator());
            let hop = self.snapshot.fib.lookup(address);
            let via = hop
                .and_then(Hop::tunnel)
                .and_then(|id| self.tunnels.get(&id)?.peer());
            SessionView {
                node: session.node,
                name: self.name_of(&session.node).unwrap_or_default().to_owned(),
                address,
                via,
                up: handle.is_up(),
                mtu: self.session_mtu(handle),
                age: now.saturating_since(session.created),
                idle: now.saturating_since(session.last_used()),
                sent: handle.sent(),
                received: handle.received(),
                last_handshake: handle.session().last_handshake(now),
                cipher: handle.session().cipher(now),
                held: session.held.len(),
            }
        };
        self.sessions.values().map(view).collect()
    }
}

/// All sessions, by the origin of their routes.
pub(super) type EndToEndSessions = BTreeMap<RouterId, EndToEnd>;
