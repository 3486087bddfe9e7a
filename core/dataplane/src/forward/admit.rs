//! Packets of this machine.

use super::{Forwarder, Verdict, goes_hop_by_hop, relay::seal_for_session, seal, session};
use crate::{
    DropReason,
    icmp::{self, Header},
};
use core::net::Ipv6Addr;
use osier_proto::{
    Instant, Snapshot,
    fib::Hop,
    packet::{self, IcmpError},
    snapshot::{Class, SessionHandle, TunnelHandle},
};

impl Forwarder {
    pub(super) fn admit(
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
        let (via, origin) = match snapshot.fib.lookup(header.destination) {
            Some(Hop::Tunnel(id)) => (id, None),
            Some(Hop::Relayed { via, .. }) if goes_hop_by_hop(&header, packet) => (via, None),
            Some(Hop::Relayed { via, origin }) => (via, Some(origin)),
            Some(Hop::Local) => {
                let drop = (DropReason::NoRoute, IcmpError::AddressUnreachable);
                return self.refuse(snapshot, packet, drop, out, now);
            }
            Some(Hop::Unreachable) | None => {
                let drop = (DropReason::NoRoute, IcmpError::NoRoute);
                return self.refuse(snapshot, packet, drop, out, now);
            }
        };
        let tunnel = snapshot.tunnels.get(&via).ok_or(DropReason::NoSession)?;
        let session = origin.and_then(|origin| session(snapshot, &origin));
        let mtu = match (origin, session) {
            (None, _) => tunnel.mtu(),
            (Some(_), None) => tunnel.relay_mtu(),
            (Some(_), Some(session)) => tunnel.relay_mtu().min(session.mtu()),
        };
        if packet.len() > usize::from(mtu) {
            self.report(tunnel.refused(packet, now));
            self.report(session.and_then(|session| session.refused(packet, now)));
            // The packets of a super-packet are read at one time: one error is enough.
            let this = (now, header.destination);
            if core::mem::replace(&mut self.too_big, this) == this {
                return Err(DropReason::TooBig);
            }
            let error = IcmpError::PacketTooBig { mtu: mtu.into() };
            return self.refuse(snapshot, packet, (DropReason::TooBig, error), out, now);
        }
        if origin.is_some() {
            return self.send_to_session(snapshot, (tunnel, session), (&header, packet), out, now);
        }
        snapshot.fib.origin(header.source).count(packet.len());
        let (remote, length, activity) = seal(tunnel, Class::Own, packet, out, now)?;
        self.report(activity);
        Ok(Verdict::Send(remote, length))
    }

    /// A packet of ours for a node that only relays lead to; `tunnel` is the first of them.
    fn send_to_session(
        &mut self,
        snapshot: &Snapshot,
        (tunnel, session): (&TunnelHandle, Option<&SessionHandle>),
        (header, packet): (&Header, &[u8]),
        out: &mut [u8],
        now: Instant,
    ) -> Result<Verdict, DropReason> {
        let Some(session) = session else {
            out[..packet.len()].copy_from_slice(packet);
            return self.wait_for_session(packet.len(), now);
        };
        snapshot.fib.origin(header.source).count(packet.len());
        let (remote, length, activities) = seal_for_session(tunnel, session, packet, out, now)?;
        activities.into_iter().for_each(|a| self.report(a));
        Ok(Verdict::Send(remote, length))
    }

    /// Control gets so many packets that it can begin sessions, and no more than it can bear.
    fn wait_for_session(&mut self, length: usize, now: Instant) -> Result<Verdict, DropReason> {
        if self.waiting.take(now) {
            Ok(Verdict::NeedsSession(length))
        } else {
            Err(DropReason::AwaitingSession)
        }
    }

    /// Sends our own packet, the first `length` octets of the scratch buffer.
    pub(super) fn originate(
        &mut self,
        snapshot: &Snapshot,
        destination: Ipv6Addr,
        length: usize,
        out: &mut [u8],
        now: Instant,
    ) -> Result<Verdict, DropReason> {
        let packet = &self.scratch[..length];
        let header = Header::parse(packet).ok_or(DropReason::Malformed)?;
        match snapshot.fib.lookup(destination) {
            // An error answers a packet that came in the clear.
            Some(Hop::Relayed { via, origin })
                if !goes_hop_by_hop(&header, packet) && !header.is_error(packet) =>
            {
                let tunnel = snapshot.tunnels.get(&via).ok_or(DropReason::NoSession)?;
                let Some(session) = session(snapshot, &origin) else {
                    out[..length].copy_from_slice(packet);
                    return self.wait_for_session(length, now);
                };
                let (remote, length, activities) = seal_for_session(tunnel, session, packet, out, now)?;
                activities.into_iter().for_each(|a| self.report(a));
                Ok(Verdict::Send(remote, length))
            }
            Some(Hop::Tunnel(via) | Hop::Relayed { via, .. }) => {
                let tunnel = snapshot.tunnels.get(&via).ok_or(DropReason::NoSession)?;
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
