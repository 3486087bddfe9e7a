//! One light member: a WireGuard session with one node, the greeting of the link protocol, and as much Babel as it
//! takes to be routed to. It learns no routes and no other members, so a thousand of them cost little.
//!
//! Sans-IO, as the node itself: feed [`Peer::handle`] and [`Peer::handle_timeout`], then drain
//! [`Peer::poll_transmit`].

use crate::members::Member;
use osier_babel::wire::{self, Builder, Centis, Tlv, Update};
use osier_proto::{
    Duration, Instant,
    identity::{NodeId, TunnelKey},
    link::{self, ByeReason, LinkCounters, Message},
    packet::{self, UdpHeader},
    tunnel::{MessageKind, Opened, Sealed, Session, SessionFactory, wireguard::WireGuardFactory},
};
use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// As a node's own: pause after the first initiation without an answer; each later one half as long again.
const ROUND: Duration = Duration::from_millis(400);
const LONGEST_ROUND: Duration = Duration::from_secs(16);
const HELLO: Duration = Duration::from_millis(250);
/// As a node's own: a greeting that takes longer has failed.
const GREETING: Duration = Duration::from_secs(10);
/// As a node's own: something is said this often while data passes, and for a while after.
const KEEPALIVE: Duration = Duration::from_millis(200);
const ACTIVE: Duration = Duration::from_secs(3);
const TICK: Duration = Duration::from_secs(1);
/// Longest that Babel's format can say, less a little: nothing of ours is repeated within a measurement.
const RARELY: Duration = Duration::from_secs(600);
const BABEL_COST: u16 = 96;

/// Whom all peers talk to.
#[derive(Clone, Debug)]
pub struct Hub {
    pub node: NodeId,
    pub key: TunnelKey,
    pub remote: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Idle,
    Dialling,
    Greeting,
    Open,
}

#[derive(Debug)]
pub struct Peer {
    member: Member,
    hub: Hub,
    session: Box<dyn Session>,
    stage: Stage,
    round: u32,
    nonce: u64,
    we_accepted: bool,
    they_accepted: bool,
    seqno: u16,
    /// Next initiation or Hello.
    retry_at: Option<Instant>,
    greeting_since: Instant,
    tick_at: Instant,
    last_data: Option<Instant>,
    last_sent: Instant,
    transmits: VecDeque<Vec<u8>>,
    /// When the tunnel opened last.
    pub opened_at: Option<Instant>,
    /// Cookies that the node demanded.
    pub cookies: u64,
    /// Why the node sent us away last.
    pub bye: Option<ByeReason>,
}

impl Peer {
    pub fn new(member: Member, hub: Hub, now: Instant) -> Self {
        let factory = WireGuardFactory::new(member.keys.tunnel_secret());
        let session = factory.new_session(hub.key, 1, now);
        Self {
            member,
            hub,
            session,
            stage: Stage::Idle,
            round: 0,
            nonce: 0,
            we_accepted: false,
            they_accepted: false,
            seqno: 1,
            retry_at: None,
            greeting_since: now,
            tick_at: now + TICK,
            last_data: None,
            last_sent: now,
            transmits: VecDeque::new(),
            opened_at: None,
            cookies: 0,
            bye: None,
        }
    }

    pub fn address(&self) -> Ipv6Addr {
        self.member.address()
    }

    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Begins anew, as after a loss of everything.
    pub fn dial(&mut self, now: Instant) {
        self.stage = Stage::Dialling;
        self.round = 0;
        self.nonce += 1;
        self.we_accepted = false;
        self.they_accepted = false;
        self.opened_at = None;
        self.initiate(now);
    }

    fn initiate(&mut self, now: Instant) {
        let mut out = [0; 256];
        if let Some(initiation) = self.session.initiate(now, &mut out) {
            self.transmits.push_back(initiation.to_vec());
        }
        let pause = (0..self.round.min(10)).fold(ROUND, |pause, _| pause * 3 / 2);
        self.retry_at = Some(now + pause.min(LONGEST_ROUND));
        self.round += 1;
    }

    /// The next thing to send to the node.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    pub fn poll_timeout(&self) -> Instant {
        let keepalive = self.is_active_until().map(|_| self.last_sent + KEEPALIVE);
        let retry = self.retry_at.into_iter().chain(keepalive);
        retry.fold(self.tick_at, Instant::min)
    }

    fn is_active_until(&self) -> Option<Instant> {
        self.last_data.filter(|_| self.is_open()).map(|at| at + ACTIVE)
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| at <= now) {
            match self.stage {
                Stage::Dialling => self.initiate(now),
                Stage::Greeting if self.greeting_since + GREETING <= now => self.dial(now),
                Stage::Greeting => self.say_hello(now),
                Stage::Idle | Stage::Open => self.retry_at = None,
            }
        }
        if self.last_data.is_some_and(|at| at + ACTIVE <= now) {
            self.last_data = None;
        }
        if self.is_active_until().is_some() && self.last_sent + KEEPALIVE <= now {
            self.seal_and_send(&[], now);
        }
        if self.tick_at <= now {
            self.tick_at = now + TICK;
            let mut out = [0; 256];
            // While we dial, its slower pace would only interfere.
            if self.stage != Stage::Dialling
                && let Some(message) = self.session.tick(now, &mut out)
            {
                self.transmits.push_back(message.to_vec());
            }
        }
    }

    /// Takes a datagram of the node's. `Some`: the length of a packet of data, which is at the start of `out`.
    pub fn handle(&mut self, datagram: &[u8], out: &mut [u8], now: Instant) -> Option<usize> {
        let is_cookie = matches!(MessageKind::of(datagram), Some(MessageKind::Cookie(_)));
        match self.session.open(now, self.hub.remote, datagram, out) {
            Opened::Packet([]) | Opened::Rejected => {}
            Opened::Nothing => self.cookies += u64::from(is_cookie),
            Opened::Reply(reply) => {
                let completes = matches!(MessageKind::of(datagram), Some(MessageKind::Response(_)));
                self.transmits.push_back(reply.to_vec());
                self.last_sent = now;
                let mut more = vec![0; 65_535];
                while let Some(message) = self.session.flush(now, &mut more) {
                    self.transmits.push_back(message.to_vec());
                }
                if completes && self.stage == Stage::Dialling {
                    self.stage = Stage::Greeting;
                    self.greeting_since = now;
                    self.say_hello(now);
                }
            }
            Opened::Packet(opened) => {
                let length = opened.len();
                let is_link_local = opened.get(8..10).is_some_and(|source| source == [0xfe, 0x80]);
                if !is_link_local {
                    self.last_data = Some(now);
                    return Some(length);
                }
                let opened = opened.to_vec();
                if let Ok((header, payload)) = packet::parse_udp(&opened) {
                    match header.destination_port {
                        link::PORT => self.handle_link(payload, now),
                        osier_babel::PORT => self.handle_babel(header.source, payload, now),
                        _ => {}
                    }
                }
            }
        }
        None
    }

    fn handle_link(&mut self, payload: &[u8], now: Instant) {
        match Message::decode(payload) {
            Ok(Message::Hello { nonce, .. }) => {
                self.send_link(&Message::Accept { nonce }, now);
                self.we_accepted = true;
                if !self.they_accepted {
                    self.say_hello(now);
                }
                self.open_when_agreed(now);
            }
            Ok(Message::Accept { nonce }) if nonce == self.nonce => {
                self.they_accepted = true;
                self.open_when_agreed(now);
            }
            Ok(Message::Echo { nonce, sent_at, .. }) => {
                let counters = LinkCounters::default();
                let reply = Message::EchoReply {
                    nonce,
                    sent_at,
                    counters,
                };
                self.send_link(&reply, now);
            }
            Ok(Message::RelayKey(key)) => self.send_link(&Message::RelayKeyTaken(key.receiver), now),
            Ok(Message::Bye(reason)) => {
                self.bye = Some(reason);
                self.stage = Stage::Idle;
                self.retry_at = None;
            }
            _ => {}
        }
    }

    fn say_hello(&mut self, now: Instant) {
        let hello = Message::Hello {
            version: link::VERSION,
            certificate: self.member.certificate.encode(),
            capabilities: 0,
            nonce: self.nonce,
            relay: None,
        };
        self.send_link(&hello, now);
        self.retry_at = Some(now + HELLO);
    }

    fn open_when_agreed(&mut self, now: Instant) {
        if !self.we_accepted || !self.they_accepted || self.stage == Stage::Open {
            return;
        }
        self.stage = Stage::Open;
        self.retry_at = None;
        self.opened_at = Some(now);
        for message in Message::bundles([&self.member.bundle]) {
            self.send_link(&message, now);
        }
        self.announce(now);
    }

    /// Hello, IHU and the one route.
    fn announce(&mut self, now: Instant) {
        let interval = Centis::promising(RARELY);
        let mut builder = self.builder();
        builder.hello(false, self.seqno, interval);
        builder.ihu(Some(IpAddr::V6(self.hub.node.link_local())), BABEL_COST, interval);
        self.add_update(&mut builder);
        self.send_babel(builder, now);
    }

    fn add_update(&self, builder: &mut Builder) {
        let node = self.member.keys.node_id();
        builder.update(&Update {
            prefix: self.member.certificate.prefixes.first().copied(),
            source: None,
            interval: Centis::promising(RARELY),
            seqno: self.seqno,
            metric: 0,
            router_id: Some(node.router_id()),
            next_hop: Some(IpAddr::V6(node.link_local())),
        });
    }

    fn handle_babel(&mut self, source: Ipv6Addr, payload: &[u8], now: Instant) {
        let Ok(tlvs) = wire::parse(payload, source) else {
            return;
        };
        let mut builder = self.builder();
        for tlv in tlvs.flatten() {
            match tlv {
                Tlv::AckRequest { opaque, .. } => {
                    builder.ack(opaque);
                }
                Tlv::RouteRequest { .. } => self.add_update(&mut builder),
                Tlv::SeqnoRequest(request) if request.router_id == self.member.keys.node_id().router_id() => {
                    self.seqno = request.seqno;
                    self.add_update(&mut builder);
                }
                _ => {}
            }
        }
        if !builder.is_empty() {
            self.send_babel(builder, now);
        }
    }

    fn builder(&self) -> Builder {
        Builder::new(1200, self.member.keys.node_id().link_local())
    }

    fn send_babel(&mut self, builder: Builder, now: Instant) {
        self.send_udp(osier_babel::MULTICAST, osier_babel::PORT, &builder.finish(), now);
    }

    fn send_link(&mut self, message: &Message, now: Instant) {
        self.send_udp(ALL_NODES, link::PORT, &message.encode(), now);
    }

    fn send_udp(&mut self, destination: Ipv6Addr, port: u16, payload: &[u8], now: Instant) {
        let header = UdpHeader {
            source: self.member.keys.node_id().link_local(),
            destination,
            hop_limit: 1,
            source_port: port,
            destination_port: port,
        };
        if let Some(packet) = packet::udp_packet(&header, payload) {
            self.seal_and_send(&packet, now);
        }
    }

    fn seal_and_send(&mut self, packet: &[u8], now: Instant) {
        let mut out = [0; 1500];
        if let Some(datagram) = self.seal(packet, &mut out, now) {
            let datagram = datagram.to_vec();
            self.transmits.push_back(datagram);
        }
    }

    /// Encrypts a packet for the node; the datagram.
    pub fn seal<'a>(&mut self, packet: &[u8], out: &'a mut [u8], now: Instant) -> Option<&'a [u8]> {
        self.last_sent = now;
        if !packet.is_empty() && self.stage == Stage::Open && !is_link_local(packet) {
            self.last_data = Some(now);
        }
        match self.session.seal(now, packet, out) {
            Sealed::Datagram(datagram) => Some(datagram),
            Sealed::Handshake(_) | Sealed::Nothing => None,
        }
    }
}

fn is_link_local(packet: &[u8]) -> bool {
    packet.get(8..10).is_some_and(|source| source == [0xfe, 0x80])
}
