//! Datagrams from the network.

use super::{Forwarder, Verdict, goes_hop_by_hop, seal};
use crate::{
    DropReason,
    icmp::{self, Header},
};
use core::net::SocketAddr;
use osier_proto::{
    Instant, Snapshot,
    fib::Hop,
    packet::{self, IcmpError},
    snapshot::{Class, TunnelHandle},
    tunnel::{MessageKind, Opened, Screened},
};

impl Forwarder {
    pub(super) fn receive(
        &mut self,
        snapshot: &Snapshot,
        source: SocketAddr,
        datagram: &mut [u8],
        out: &mut [u8],
        now: Instant,
    ) -> Result<Verdict, DropReason> {
        let receiver = match MessageKind::of(datagram).ok_or(DropReason::Malformed)? {
            MessageKind::Data(receiver) => receiver,
            MessageKind::Frame(_) => return self.relay(snapshot, source, datagram, out, now),
            MessageKind::Initiation => return screen(snapshot, source, datagram, out, now),
            MessageKind::Response(receiver) | MessageKind::Cookie(receiver) => {
                return match snapshot.receivers.contains_key(&(receiver >> 8)) {
                    true => Ok(Verdict::ControlDatagram),
                    false => Err(DropReason::UnknownReceiver),
                };
            }
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
            Some(Hop::Local) if !may_come_in_the_clear(snapshot, from, header, &out[..length]) => {
                return Err(DropReason::InTheClear);
            }
            Some(Hop::Local) => return self.deliver(snapshot, header, out, now),
            Some(Hop::Unreachable) | None => (DropReason::NoRoute, IcmpError::NoRoute),
            Some(Hop::Tunnel(_) | Hop::Relayed { .. }) if header.hop_limit <= 1 => {
                (DropReason::HopLimit, IcmpError::TimeExceeded)
            }
            Some(Hop::Tunnel(id) | Hop::Relayed { via: id, .. }) => {
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

    pub(super) fn deliver(
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
}

/// Whether control is bothered with a handshake initiation.
fn screen(
    snapshot: &Snapshot,
    source: SocketAddr,
    initiation: &[u8],
    out: &mut [u8],
    now: Instant,
) -> Result<Verdict, DropReason> {
    let Some(factory) = &snapshot.screen else {
        return Ok(Verdict::ControlDatagram);
    };
    match factory.screen(now, source, initiation, out) {
        Screened::Passed => Ok(Verdict::ControlDatagram),
        Screened::Cookie(cookie) => Ok(Verdict::Send(source, cookie.len())),
        Screened::Forged => Err(DropReason::HandshakeForged),
        Screened::TooMany => Err(DropReason::HandshakeLimit),
    }
}

/// Whether a packet for us may have been readable (and could have been invented) on its way: what comes from the
/// neighbour itself was not, what control exchanges hop by hop is no secret, and some origins we can hold no
/// session with. Anything else belongs into a session.
fn may_come_in_the_clear(snapshot: &Snapshot, from: &TunnelHandle, header: &Header, packet: &[u8]) -> bool {
    from.owns(header.source)
        || goes_hop_by_hop(header, packet)
        || is_ordinary(snapshot, header.source)
        || header
            .error_about(packet)
            .is_some_and(|lost| is_ordinary(snapshot, lost))
}

/// Whether packets to the address are decrypted and encrypted by every relay, for want of a session.
fn is_ordinary(snapshot: &Snapshot, address: core::net::Ipv6Addr) -> bool {
    match snapshot.fib.lookup(address) {
        Some(Hop::Tunnel(id)) => snapshot.tunnels.get(&id).is_some_and(|t| !t.owns(address)),
        _ => false,
    }
}
