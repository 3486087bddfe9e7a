//! What the data plane forwards by: published by control, read by packet threads, never written by them but
//! for counters, endpoints and time stamps, which are atomics or sit behind a lock of a few nanoseconds.
//!
//! A [`TunnelHandle`] lives as long as its tunnel; every [`Snapshot`] refers to the same one. Control sets its
//! state, and reads from it what packet threads saw. They report only what cannot wait for the next timer, as
//! [`Activity`]: an idle tunnel costs no polling, and a busy one does not flood control.

mod session;

pub use session::{PATIENCE, SessionHandle, Sessions};

use crate::{
    Duration, Instant, IpNet, RouterId,
    fib::Fib,
    relay::{self, Header, Refusal, RelayKey, Target},
    sync::lock,
    tunnel::{OVERHEAD, Opened, Sealed, Session, SessionFactory, TunnelId},
};
use core::net::{Ipv6Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// Begins the payload of the ICMPv6 echo requests that control sends; what answers them goes to
/// `Node::handle_probe_packet` instead of the TUN device.
pub const PROBE_MAGIC: [u8; 8] = *b"\xf0osierPr";

/// Smallest MTU of IPv6 (RFC 8200 section 5), and the default of a tunnel.
pub const MIN_MTU: u16 = 1280;
/// Largest packet that a tunnel is ever asked to carry, and the TUN device's MTU: with WireGuard, UDP and IPv6 it
/// makes 1500 octets, Ethernet's MTU.
pub const MAX_MTU: u16 = 1420;

/// Data sent after a pause at least this long is reported as [`Activity::Sending`].
const QUIET: Duration = Duration::from_secs(1);
/// So is data sent when nothing has come back for this long; and never more often than this.
const OVERDUE: Duration = Duration::from_millis(250);

/// What the data plane must tell control besides handing over packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Data went out on a tunnel that had been quiet, or from which nothing has come back for 250 ms: watch
    /// whether something comes back. At most every 250 ms per tunnel.
    Sending(TunnelId),
    /// Data came in on a tunnel that had brought none for a second: from now on say something regularly, so
    /// that the neighbour, which may get no data back, knows that we are there.
    Receiving(TunnelId),
    /// Something authentic came in on a tunnel whose [`TunnelHandle::report_next_receive`] was armed; every
    /// new tunnel's is, so this also says that the handshake is complete.
    Heard(TunnelId),
    /// Data for which the path MTU matters goes out on a tunnel whose [`TunnelHandle::report_next_large`] was armed, or is
    /// too large for it. Stands for [`Activity::Sending`] as well.
    Large(TunnelId),
    /// The same of an end-to-end session.
    SessionLarge(RouterId),
    /// An authenticated datagram came from a new address, which is the endpoint from now on: the peer moved.
    Moved(TunnelId, SocketAddr),
    /// The first authentic message of an end-to-end session came: its keys are confirmed.
    SessionUp(RouterId),
    /// Data goes out on an end-to-end session and nothing has come back for [`SessionHandle::set_patience`].
    /// At most every second per session.
    SessionSilent(RouterId),
}

/// Whose packet is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// From or to this node.
    Own,
    /// Forwarded for others.
    Transit,
    /// Babel, link protocol and other link-local packets.
    Control,
}

#[derive(Debug, Default)]
struct Counter {
    packets: AtomicU64,
    octets: AtomicU64,
}

/// Packets and octets of one [`Class`] in one direction. Octets are those of the IPv6 packets inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub packets: u64,
    pub octets: u64,
}

/// All counters of one direction of a tunnel; they only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficByClass {
    pub own: Traffic,
    pub transit: Traffic,
    pub control: Traffic,
}

impl TrafficByClass {
    pub fn octets(&self) -> u64 {
        self.own.octets + self.transit.octets + self.control.octets
    }
}

impl Counter {
    fn count(&self, octets: usize) {
        self.packets.fetch_add(1, Relaxed);
        self.octets.fetch_add(octets as u64, Relaxed);
    }

    fn read(&self) -> Traffic {
        Traffic {
            packets: self.packets.load(Relaxed),
            octets: self.octets.load(Relaxed),
        }
    }
}

#[derive(Debug, Default)]
struct Direction {
    own: Counter,
    transit: Counter,
    control: Counter,
}

impl Direction {
    fn count(&self, class: Class, octets: usize) {
        let counter = match class {
            Class::Own => &self.own,
            Class::Transit => &self.transit,
            Class::Control => &self.control,
        };
        counter.count(octets);
    }

    fn read(&self) -> TrafficByClass {
        TrafficByClass {
            own: self.own.read(),
            transit: self.transit.read(),
            control: self.control.read(),
        }
    }
}

/// A point in time that may be unset, shared between threads.
#[derive(Debug, Default)]
struct AtomicInstant(AtomicU64);

impl AtomicInstant {
    /// Zero means unset, so the epoch itself is stored a microsecond late.
    fn set(&self, at: Instant) {
        self.0.store(at.as_micros().max(1), Relaxed);
    }

    fn clear(&self) {
        self.0.store(0, Relaxed);
    }

    fn get(&self) -> Option<Instant> {
        match self.0.load(Relaxed) {
            0 => None,
            micros => Some(Instant::from_micros(micros)),
        }
    }

    /// Whether it is unset or at least `age` ago.
    fn older_than(&self, age: Duration, now: Instant) -> bool {
        self.get().is_none_or(|at| now.saturating_since(at) >= age)
    }
}

/// Packets for which the path MTU matters: larger than what always passes. Where no more does, packets of just that size
/// may be larger ones that their host has cut.
#[derive(Debug, Default)]
struct Large {
    last: AtomicInstant,
    armed: AtomicBool,
}

impl Large {
    /// Whether control waits for a packet as large as this; it is told once.
    fn note(&self, octets: usize, now: Instant) -> bool {
        if octets < usize::from(MIN_MTU) {
            return false;
        }
        self.last.set(now);
        self.armed.load(Relaxed) && self.armed.swap(false, Relaxed)
    }
}

/// A tunnel as the data plane sees it.
#[derive(Debug)]
pub struct TunnelHandle {
    id: TunnelId,
    session: Box<dyn Session>,
    /// Frames of end-to-end sessions to and from the neighbour.
    relay: relay::Hop,
    endpoint: Mutex<Option<SocketAddr>>,
    open: AtomicBool,
    mtu: AtomicU16,
    may_relay: AtomicBool,
    /// The neighbour's own prefixes.
    sources: Mutex<Box<[IpNet]>>,
    sent: Direction,
    received: Direction,
    last_data_sent: AtomicInstant,
    last_data_received: AtomicInstant,
    last_sent: AtomicInstant,
    last_received: AtomicInstant,
    last_report: AtomicInstant,
    report_receive: AtomicBool,
    large: Large,
}

impl TunnelHandle {
    /// A tunnel that lets nothing but link-local packets pass until [`TunnelHandle::set_open`].
    pub fn new(id: TunnelId, session: Box<dyn Session>, endpoint: Option<SocketAddr>) -> Self {
        Self {
            id,
            session,
            relay: relay::Hop::default(),
            endpoint: Mutex::new(endpoint),
            open: AtomicBool::new(false),
            mtu: AtomicU16::new(MIN_MTU),
            may_relay: AtomicBool::new(false),
            sources: Mutex::default(),
            sent: Direction::default(),
            received: Direction::default(),
            last_data_sent: AtomicInstant::default(),
            last_data_received: AtomicInstant::default(),
            last_sent: AtomicInstant::default(),
            last_received: AtomicInstant::default(),
            last_report: AtomicInstant::default(),
            report_receive: AtomicBool::new(true),
            large: Large::default(),
        }
    }

    pub fn id(&self) -> TunnelId {
        self.id
    }

    /// For handshakes, ticks and flushing. To exchange packets use [`TunnelHandle::seal`] and
    /// [`TunnelHandle::opened`], which count.
    pub fn session(&self) -> &dyn Session {
        &*self.session
    }

    pub fn endpoint(&self) -> Option<SocketAddr> {
        *lock(&self.endpoint)
    }

    pub fn set_endpoint(&self, endpoint: Option<SocketAddr>) {
        *lock(&self.endpoint) = endpoint;
    }

    /// Whether both ends accepted each other's certificates; else only link-local packets pass.
    pub fn is_open(&self) -> bool {
        self.open.load(Relaxed)
    }

    pub fn set_open(&self, open: bool) {
        self.open.store(open, Relaxed);
    }

    /// Largest inner packet in octets.
    pub fn mtu(&self) -> u16 {
        self.mtu.load(Relaxed)
    }

    /// As [`TunnelHandle::mtu`], for packets of an end-to-end session in relay frames.
    pub fn relay_mtu(&self) -> u16 {
        self.mtu().saturating_sub(relay::HEADER as u16).max(MIN_MTU)
    }

    /// Whether a datagram of this length goes to the neighbour without being fragmented.
    pub fn fits(&self, datagram: usize) -> bool {
        datagram <= usize::from(self.mtu()) + OVERHEAD
    }

    /// Never below [`MIN_MTU`].
    pub fn set_mtu(&self, mtu: u16) {
        self.mtu.store(mtu.max(MIN_MTU), Relaxed);
    }

    /// What the neighbour may send from: as a relay, anything inside the network; else its own prefixes.
    pub fn set_sources(&self, may_relay: bool, prefixes: &[IpNet]) {
        *lock(&self.sources) = prefixes.into();
        self.may_relay.store(may_relay, Relaxed);
    }

    /// Whether a packet with this source may come from the neighbour. Until
    /// [`TunnelHandle::set_sources`] nothing may.
    pub fn permits_source(&self, source: Ipv6Addr, network: &IpNet) -> bool {
        if self.may_relay.load(Relaxed) {
            covers(network, source)
        } else {
            self.owns(source)
        }
    }

    /// Whether the address is the neighbour's own.
    pub fn owns(&self, address: Ipv6Addr) -> bool {
        lock(&self.sources).iter().any(|p| covers(p, address))
    }

    /// Arms [`Activity::Heard`] for the next authenticated data message, e.g. after the tunnel was found dead.
    pub fn report_next_receive(&self) {
        self.report_receive.store(true, Relaxed);
    }

    /// Arms [`Activity::Large`] for the next packet of [`MIN_MTU`] octets or more.
    pub fn report_next_large(&self) {
        self.large.armed.store(true, Relaxed);
    }

    /// When one was last sent, or too large.
    pub fn last_large(&self) -> Option<Instant> {
        self.large.last.get()
    }

    /// A packet was too large: whether control should hear of it.
    pub fn refused(&self, packet: &[u8], now: Instant) -> Option<Activity> {
        self.large
            .note(packet.len(), now)
            .then_some(Activity::Large(self.id))
    }

    /// Seals a packet and counts it. With [`Class::Own`] and [`Class::Transit`], says whether control should
    /// hear of it.
    pub fn seal<'a>(
        &self,
        now: Instant,
        class: Class,
        packet: &[u8],
        out: &'a mut [u8],
    ) -> (Sealed<'a>, Option<Activity>) {
        let sealed = self.session.seal(now, packet, out);
        if !matches!(sealed, Sealed::Datagram(_)) {
            return (sealed, None);
        }
        self.sent.count(class, packet.len());
        self.last_sent.set(now);
        let activity = match class {
            Class::Control => None,
            Class::Own | Class::Transit if self.large.note(packet.len(), now) => {
                Some(Activity::Large(self.id))
            }
            Class::Own | Class::Transit => self.data_sent(now),
        };
        (sealed, activity)
    }

    /// The key by which we are to know the neighbour's frames from now on; the one before it counts as well until
    /// [`TunnelHandle::keep_only_relay_key`].
    pub fn add_relay_key(&self, key: RelayKey) {
        self.relay.add_incoming(key);
    }

    pub fn keep_only_relay_key(&self, receiver: u32) {
        self.relay.keep_only_incoming(receiver);
    }

    /// Whether frames have come with the newest key of ours.
    pub fn is_relay_key_used(&self) -> bool {
        self.relay.is_used()
    }

    /// The key by which the neighbour knows our frames. The same key again changes nothing.
    pub fn set_peer_relay_key(&self, key: Option<RelayKey>) {
        self.relay.set_outgoing(key);
    }

    /// Whether the neighbour takes relay frames.
    pub fn takes_frames(&self) -> bool {
        self.relay.has_outgoing()
    }

    /// Writes the header of a relay frame around the message that is in it, and counts it as data. `false` when
    /// the neighbour takes no frames.
    pub fn seal_frame(
        &self,
        now: Instant,
        class: Class,
        frame: &mut [u8],
        target: Target,
    ) -> (bool, Option<Activity>) {
        if !self.relay.sign(frame, target) {
            return (false, None);
        }
        let octets = carried_in(frame);
        self.sent.count(class, octets);
        self.last_sent.set(now);
        // What is relayed for others goes on whatever its size.
        if class == Class::Own && self.large.note(octets, now) {
            return (true, Some(Activity::Large(self.id)));
        }
        (true, self.data_sent(now))
    }

    /// Checks a relay frame, notes the time and where it came from, and returns what control should hear. The
    /// frame is counted by [`TunnelHandle::count_frame`], once its class is known.
    pub fn open_frame(
        &self,
        now: Instant,
        source: SocketAddr,
        header: &Header,
        frame: &[u8],
    ) -> Result<[Option<Activity>; 2], Refusal> {
        self.relay.check(header, frame)?;
        Ok(self.authentic(now, source))
    }

    /// As [`TunnelHandle::count_received`], for a relay frame.
    pub fn count_frame(&self, class: Class, frame: &[u8], now: Instant) -> Option<Activity> {
        self.count_received(class, carried_in(frame), now)
    }

    fn data_sent(&self, now: Instant) -> Option<Activity> {
        let quiet = self.last_data_sent.older_than(QUIET, now);
        self.last_data_sent.set(now);
        let report = (quiet || self.last_received.older_than(OVERDUE, now))
            && self.last_report.older_than(OVERDUE, now);
        report.then(|| {
            self.last_report.set(now);
            Activity::Sending(self.id)
        })
    }

    /// Opens a data message, notes the time and where it came from, and returns what control should hear.
    /// The packet itself is counted by [`TunnelHandle::count_received`], once its class is known.
    pub fn open<'a>(
        &self,
        now: Instant,
        source: SocketAddr,
        datagram: &[u8],
        out: &'a mut [u8],
    ) -> (Opened<'a>, [Option<Activity>; 2]) {
        let opened = self.session.open(now, source, datagram, out);
        if !matches!(opened, Opened::Packet(_)) {
            return (opened, [None, None]);
        }
        (opened, self.authentic(now, source))
    }

    /// Something authentic came from there.
    fn authentic(&self, now: Instant, source: SocketAddr) -> [Option<Activity>; 2] {
        self.last_received.set(now);
        let heard = self.report_receive.load(Relaxed) && self.report_receive.swap(false, Relaxed);
        let mut endpoint = lock(&self.endpoint);
        let moved = *endpoint != Some(source);
        if moved {
            *endpoint = Some(source);
        }
        drop(endpoint);
        [
            moved.then_some(Activity::Moved(self.id, source)),
            heard.then_some(Activity::Heard(self.id)),
        ]
    }

    /// Counts a received packet; keepalives are control packets of no octets. With [`Class::Own`] and
    /// [`Class::Transit`], says whether control should hear of it.
    pub fn count_received(&self, class: Class, octets: usize, now: Instant) -> Option<Activity> {
        self.received.count(class, octets);
        if class == Class::Control {
            return None;
        }
        let quiet = self.last_data_received.older_than(QUIET, now);
        self.last_data_received.set(now);
        quiet.then_some(Activity::Receiving(self.id))
    }

    pub fn sent(&self) -> TrafficByClass {
        self.sent.read()
    }

    pub fn received(&self) -> TrafficByClass {
        self.received.read()
    }

    /// When data (own or transit, not control) was last sealed.
    pub fn last_data_sent(&self) -> Option<Instant> {
        self.last_data_sent.get()
    }

    pub fn last_data_received(&self) -> Option<Instant> {
        self.last_data_received.get()
    }

    /// When anything was last sealed, keepalives and control packets included.
    pub fn last_sent(&self) -> Option<Instant> {
        self.last_sent.get()
    }

    /// When a data message, keepalives and control packets included, was last authenticated.
    pub fn last_received(&self) -> Option<Instant> {
        self.last_received.get()
    }
}

/// One consistent view.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub fib: Fib,
    pub tunnels: BTreeMap<TunnelId, Arc<TunnelHandle>>,
    /// Session index (upper 24 bits of WireGuard's receiver index) to tunnel.
    pub receivers: BTreeMap<u32, Arc<TunnelHandle>>,
    pub sessions: Arc<Sessions>,
    /// Our own address, source of ICMPv6 errors.
    pub address: Ipv6Addr,
    /// Our own prefixes: packets from the TUN device must have a source in them, packets from the network
    /// must not.
    pub own: Vec<IpNet>,
    /// The network's prefix.
    pub network: IpNet,
    /// There is no TUN device and no kernel behind it: answer ICMPv6 echo requests to our address ourselves.
    pub answers_echo: bool,
    /// Has the first look at handshake initiations, so that a flood of them never reaches control. Without it
    /// all pass.
    pub screen: Option<Arc<dyn SessionFactory>>,
}

impl Snapshot {
    /// A node without tunnels that knows its own prefixes.
    pub fn new(address: Ipv6Addr, own: Vec<IpNet>, network: IpNet) -> Self {
        let mut fib = Fib::default();
        for prefix in &own {
            fib.insert(*prefix, crate::fib::Hop::Local);
        }
        Self {
            fib,
            tunnels: BTreeMap::new(),
            receivers: BTreeMap::new(),
            sessions: Arc::default(),
            address,
            own,
            network,
            answers_echo: false,
            screen: None,
        }
    }

    /// Adds a tunnel under the index its session was made with.
    pub fn add_tunnel(&mut self, index: u32, tunnel: Arc<TunnelHandle>) {
        self.receivers.insert(index, Arc::clone(&tunnel));
        self.tunnels.insert(tunnel.id(), tunnel);
    }

    pub fn remove_tunnel(&mut self, index: u32, tunnel: TunnelId) {
        self.receivers.remove(&index);
        self.tunnels.remove(&tunnel);
    }

    pub fn is_own(&self, address: Ipv6Addr) -> bool {
        self.own.iter().any(|p| covers(p, address))
    }
}

/// Octets of the IPv6 packet in the session's message in a frame.
fn carried_in(frame: &[u8]) -> usize {
    frame.len().saturating_sub(relay::HEADER + OVERHEAD)
}

fn covers(prefix: &IpNet, address: Ipv6Addr) -> bool {
    matches!(prefix, IpNet::V6(net) if net.contains(&address))
}
