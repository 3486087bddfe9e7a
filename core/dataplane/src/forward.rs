//! The two directions of the packet path.

use crate::{
    Action, DropReason,
    icmp::{self, Header, TokenBucket},
};
use core::net::{Ipv6Addr, SocketAddr};
use osier_proto::{
    Instant, Snapshot,
    fib::Hop,
    packet::{self, IcmpError},
    snapshot::{Activity, Class, TunnelHandle},
    tunnel::{MessageKind, OVERHEAD, Opened, Sealed, TunnelId},
};

/// Largest datagram, and what output buffers must hold.
const BUFFER: usize = 65_535;
/// One packet causes at most: moved, heard, receiving, sending.
const ACTIVITIES: usize = 4;

/// Per-thread state: scratch for forwarded packets and ICMPv6 errors, their rate limit, drop counters.
#[derive(Debug)]
pub struct Forwarder {
    scratch: Box<[u8]>,
    activities: [Option<Activity>; ACTIVITIES],
    errors: TokenBucket,
    errors_suppressed: u64,
    drops: [u64; DropReason::ALL.len()],
}

/// An [`Action`] by lengths in the output buffer, so that the buffer stays free while it is being decided.
enum Verdict {
    Send(SocketAddr, usize),
    Deliver(usize),
    ControlDatagram,
    ControlPacket(TunnelId, usize),
    Probe(usize),
    Nothing,
}

impl Forwarder {
    pub fn new() -> Self {
        Self {
            scratch: vec![0; BUFFER].into_boxed_slice(),
            activities: [None; ACTIVITIES],
            errors: TokenBucket::new(),
            errors_suppressed: 0,
            drops: [0; DropReason::ALL.len()],
        }
    }

    /// A packet from the local device (or one that control originates). `out` holds at least 65,535 octets.
    /// ICMPv6 errors towards the local host come back as [`Action::Deliver`]. The hop limit is not decremented:
    /// this node is the origin, or its kernel has already done it.
    pub fn from_tun<'a>(
        &mut self,
        snapshot: &Snapshot,
        packet: &mut [u8],
        out: &'a mut [u8],
        now: Instant,
    ) -> Action<'a> {
        let verdict = self.admit(snapshot, packet, out, now);
        self.finish(verdict, &[], out)
    }

    /// A datagram from the network. ICMPv6 errors towards the sender come back as [`Action::Send`].
    pub fn from_network<'a>(
        &mut self,
        snapshot: &Snapshot,
        source: SocketAddr,
        datagram: &'a mut [u8],
        out: &'a mut [u8],
        now: Instant,
    ) -> Action<'a> {
        let verdict = self.receive(snapshot, source, datagram, out, now);
        self.finish(verdict, datagram, out)
    }

    /// What control should hear of the last packet; drain it after each.
    pub fn poll_activity(&mut self) -> Option<Activity> {
        self.activities.iter_mut().find_map(Option::take)
    }

    /// Packets dropped so far, by reason.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.into_iter().zip(self.drops)
    }

    /// ICMPv6 errors not sent because of their rate limit.
    pub fn errors_suppressed(&self) -> u64 {
        self.errors_suppressed
    }

    fn finish<'a>(
        &mut self,
        verdict: Result<Verdict, DropReason>,
        datagram: &'a [u8],
        out: &'a [u8],
    ) -> Action<'a> {
        match verdict {
            Ok(Verdict::Send(remote, length)) => Action::Send {
                remote,
                datagram: &out[..length],
            },
            Ok(Verdict::Deliver(length)) => Action::Deliver(&out[..length]),
            Ok(Verdict::ControlDatagram) => Action::ControlDatagram(datagram),
            Ok(Verdict::ControlPacket(tunnel, length)) => Action::ControlPacket(tunnel, &out[..length]),
            Ok(Verdict::Probe(length)) => Action::Probe(&out[..length]),
            Ok(Verdict::Nothing) => Action::Nothing,
            Err(reason) => {
                self.count(reason);
                Action::Drop(reason)
            }
        }
    }

    fn admit(
        &mut self,
        snapshot: &Snapshot,
        packet: &[u8],
        out: &mut [u8],
        now: Instant,
    ) -> Result<Verdict, DropReason> {
        let header = Header::parse(packet).ok_or(DropReason::Malformed)?;
        let packet = &packet[..header.length];
        if cannot_be_routed(header.destination) {
            return Err(DropReason::Scope);
        }
        if !snapshot.is_own(header.source) {
            return Err(DropReason::NotOurSource);
        }
        if header.destination == snapshot.address {
            return Ok(loop_back(snapshot, &header, packet, out));
        }
        if header.hop_limit == 0 {
            return Err(DropReason::HopLimit);
        }
        let tunnel = match snapshot.fib.lookup(header.destination) {
            Some(Hop::Tunnel(id)) => snapshot.tunnels.get(&id).ok_or(DropReason::NoSession)?,
            Some(Hop::Local) => {
                let drop = (DropReason::NoRoute, IcmpError::AddressUnreachable);
                return self.refuse(snapshot, packet, drop, out, now);
            }
            Some(Hop::Unreachable) | None => {
                let drop = (DropReason::NoRoute, IcmpError::NoRoute);
                return self.refuse(snapshot, packet, drop, out, now);
            }
        };
        if packet.len() > usize::from(tunnel.mtu()) {
            let drop = (
                DropReason::TooBig,
                IcmpError::PacketTooBig {
                    mtu: u32::from(tunnel.mtu()),
                },
            );
            return self.refuse(snapshot, packet, drop, out, now);
        }
        snapshot.fib.origin(header.source).count(packet.len());
        let (remote, length, activity) = seal(tunnel, Class::Own, packet, out, now)?;
        self.report(activity);
        Ok(Verdict::Send(remote, length))
    }

    fn receive(
        &mut self,
        snapshot: &Snapshot,
        source: SocketAddr,
        datagram: &[u8],
        out: &mut [u8],
        now: Instant,
    ) -> Result<Verdict, DropReason> {
        let MessageKind::Data(receiver) = MessageKind::of(datagram).ok_or(DropReason::Malformed)? else {
            return Ok(Verdict::ControlDatagram);
        };
        let tunnel = snapshot
            .receivers
            .get(&(receiver >> 8))
            .ok_or(DropReason::UnknownReceiver)?;
        let (opened, activities) = tunnel.open(now, source, datagram, out);
        let Opened::Packet(packet) = opened else {
            return Err(DropReason::Rejected);
        };
        let length = packet.len();
        activities.into_iter().for_each(|a| self.report(a));
        if length == 0 {
            tunnel.count_received(Class::Control, 0, now);
            return Ok(Verdict::Nothing);
        }
        let header = Header::parse(&out[..length]).ok_or(DropReason::Malformed)?;
        if header.destination.is_multicast() || header.destination.is_unicast_link_local() {
            if !header.source.is_unicast_link_local() {
                return Err(DropReason::SourceNotPermitted);
            }
            tunnel.count_received(Class::Control, header.length, now);
            return Ok(Verdict::ControlPacket(tunnel.id(), header.length));
        }
        if !tunnel.is_open() {
            return Err(DropReason::Unauthenticated);
        }
        // A source of our own could only be forged: routes to us end here.
        if !tunnel.permits_source(header.source, &snapshot.network) || snapshot.is_own(header.source) {
            return Err(DropReason::SourceNotPermitted);
        }
        self.route(snapshot, tunnel, &header, out, now)
    }

    /// An admitted packet, at the start of `out`, that came through `from`.
    fn route(
        &mut self,
        snapshot: &Snapshot,
        from: &TunnelHandle,
        header: &Header,
        out: &mut [u8],
        now: Instant,
    ) -> Result<Verdict, DropReason> {
        let length = header.length;
        snapshot.fib.origin(header.source).count(length);
        let hop = snapshot.fib.lookup(header.destination);
        let class = if hop == Some(Hop::Local) {
            Class::Own
        } else {
            Class::Transit
        };
        let activity = from.count_received(class, length, now);
        self.report(activity);
        // What refuses a packet reads it from `out` and writes there: the scratch buffer stands between.
        let (reason, error) = match hop {
            Some(Hop::Local) => return self.deliver(snapshot, header, out, now),
            Some(Hop::Unreachable) | None => (DropReason::NoRoute, IcmpError::NoRoute),
            Some(Hop::Tunnel(_)) if header.hop_limit <= 1 => (DropReason::HopLimit, IcmpError::TimeExceeded),
            Some(Hop::Tunnel(id)) => {
                let tunnel = snapshot.tunnels.get(&id).ok_or(DropReason::NoSession)?;
                if length <= usize::from(tunnel.mtu()) {
                    let packet = &mut self.scratch[..length];
                    packet.copy_from_slice(&out[..length]);
                    packet[7] = header.hop_limit - 1;
                    let (remote, length, activity) = seal(tunnel, Class::Transit, packet, out, now)?;
                    self.report(activity);
                    return Ok(Verdict::Send(remote, length));
                }
                (
                    DropReason::TooBig,
                    IcmpError::PacketTooBig {
                        mtu: u32::from(tunnel.mtu()),
                    },
                )
            }
        };
        if !packet::deserves_error(error, &out[..length]) || !self.take_error_token(now) {
            return Err(reason);
        }
        let built = packet::build_error(error, snapshot.address, &out[..length], &mut self.scratch);
        let length = built.ok_or(reason)?;
        self.count(reason);
        self.originate(snapshot, header.source, length, out, now)
    }

    fn deliver(
        &mut self,
        snapshot: &Snapshot,
        header: &Header,
        out: &mut [u8],
        now: Instant,
    ) -> Result<Verdict, DropReason> {
        let length = header.length;
        if header.destination == snapshot.address {
            if header.is_probe_answer(&out[..length]) {
                return Ok(Verdict::Probe(length));
            }
            if snapshot.answers_echo && header.is_echo_request(&out[..length]) {
                let length = icmp::echo_reply(&out[..length], header, &mut self.scratch);
                return self.originate(snapshot, header.source, length, out, now);
            }
        }
        Ok(Verdict::Deliver(length))
    }

    /// Sends our own packet, the first `length` octets of the scratch buffer.
    fn originate(
        &mut self,
        snapshot: &Snapshot,
        destination: Ipv6Addr,
        length: usize,
        out: &mut [u8],
        now: Instant,
    ) -> Result<Verdict, DropReason> {
        let packet = &self.scratch[..length];
        match snapshot.fib.lookup(destination) {
            Some(Hop::Tunnel(id)) => {
                let tunnel = snapshot.tunnels.get(&id).ok_or(DropReason::NoSession)?;
                let (remote, length, activity) = seal(tunnel, Class::Own, packet, out, now)?;
                self.report(activity);
                Ok(Verdict::Send(remote, length))
            }
            Some(Hop::Local) => {
                out[..length].copy_from_slice(packet);
                Ok(Verdict::Deliver(length))
            }
            Some(Hop::Unreachable) | None => Err(DropReason::NoRoute),
        }
    }

    /// Drops a packet of the local host's and tells it why.
    fn refuse(
        &mut self,
        snapshot: &Snapshot,
        packet: &[u8],
        (reason, error): (DropReason, IcmpError),
        out: &mut [u8],
        now: Instant,
    ) -> Result<Verdict, DropReason> {
        if !packet::deserves_error(error, packet) || !self.take_error_token(now) {
            return Err(reason);
        }
        let length = packet::build_error(error, snapshot.address, packet, out).ok_or(reason)?;
        self.count(reason);
        let is_probe = Header::parse(&out[..length]).is_some_and(|h| h.is_probe_answer(&out[..length]));
        Ok(if is_probe {
            Verdict::Probe(length)
        } else {
            Verdict::Deliver(length)
        })
    }

    fn take_error_token(&mut self, now: Instant) -> bool {
        let granted = self.errors.take(now);
        self.errors_suppressed += u64::from(!granted);
        granted
    }

    fn count(&mut self, reason: DropReason) {
        self.drops[reason as usize] += 1;
    }

    fn report(&mut self, activity: Option<Activity>) {
        if let (Some(activity), Some(free)) = (activity, self.activities.iter_mut().find(|a| a.is_none())) {
            *free = Some(activity);
        }
    }
}

impl Default for Forwarder {
    fn default() -> Self {
        Self::new()
    }
}

/// Where to send it, its length, and what control should hear.
fn seal(
    tunnel: &TunnelHandle,
    class: Class,
    packet: &[u8],
    out: &mut [u8],
    now: Instant,
) -> Result<(SocketAddr, usize, Option<Activity>), DropReason> {
    let remote = tunnel.endpoint().ok_or(DropReason::NoSession)?;
    if packet.len() + OVERHEAD > out.len() {
        return Err(DropReason::TooBig);
    }
    match tunnel.seal(now, class, packet, out) {
        (Sealed::Datagram(datagram) | Sealed::Handshake(datagram), activity) => {
            Ok((remote, datagram.len(), activity))
        }
        (Sealed::Nothing, _) => Err(DropReason::NoSession),
    }
}

/// A packet to ourselves: back to the device, or, when it is a probe, answered.
fn loop_back(snapshot: &Snapshot, header: &Header, packet: &[u8], out: &mut [u8]) -> Verdict {
    if header.is_probe_request(packet) {
        return Verdict::Probe(icmp::echo_reply(packet, header, out));
    }
    if snapshot.answers_echo && header.is_echo_request(packet) {
        return Verdict::Deliver(icmp::echo_reply(packet, header, out));
    }
    out[..packet.len()].copy_from_slice(packet);
    Verdict::Deliver(packet.len())
}

fn cannot_be_routed(destination: Ipv6Addr) -> bool {
    destination.is_multicast()
        || destination.is_unicast_link_local()
        || destination.is_unspecified()
        || destination.is_loopback()
}
