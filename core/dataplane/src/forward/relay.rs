//! Relay frames: for others they are passed on unopened, for us the session's message is taken out.

use super::{Forwarder, Verdict};
use crate::{DropReason, icmp::Header};
use core::net::SocketAddr;
use osier_proto::{
    Instant, Snapshot,
    fib::Hop,
    relay::{self, HEADER, HOP_LIMIT, Refusal, Target},
    snapshot::{Activity, Class, SessionHandle, TunnelHandle},
    tunnel::{MessageKind, OVERHEAD, Opened, Sealed},
};

impl Forwarder {
    pub(super) fn relay(
        &mut self,
        snapshot: &Snapshot,
        source: SocketAddr,
        frame: &mut [u8],
        out: &mut [u8],
        now: Instant,
    ) -> Result<Verdict, DropReason> {
        let header = relay::Header::parse(frame).ok_or(DropReason::Malformed)?;
        let from = snapshot
            .receivers
            .get(&(header.receiver >> 8))
            .ok_or(DropReason::UnknownReceiver)?;
        if !from.is_open() {
            return Err(DropReason::Unauthenticated);
        }
        let activities = from
            .open_frame(now, source, &header, frame)
            .map_err(|refusal| match refusal {
                Refusal::Forged => DropReason::FrameForged,
                Refusal::Replayed => DropReason::FrameReplayed,
            })?;
        activities.into_iter().for_each(|a| self.report(a));
        let hop = snapshot.fib.lookup(relay::address(header.target.locator));
        let class = if hop == Some(Hop::Local) {
            Class::Own
        } else {
            Class::Transit
        };
        let activity = from.count_frame(class, frame, now);
        self.report(activity);
        let next = match hop {
            Some(Hop::Local) => return self.take_out(snapshot, from, source, frame, out, now),
            Some(Hop::Tunnel(id) | Hop::Relayed { via: id, .. }) => id,
            Some(Hop::Unreachable) | None => return Err(DropReason::NoRoute),
        };
        if header.target.hop_limit <= 1 {
            return Err(DropReason::HopLimit);
        }
        let next = snapshot.tunnels.get(&next).ok_or(DropReason::NoSession)?;
        let remote = next.endpoint().ok_or(DropReason::NoSession)?;
        // What asks for its size goes no further than it fits; anything else is fragmented where it must be, rather than
        // lost without a word to an origin that we do not know.
        if header.target.whole && !next.fits(frame.len()) {
            return Err(DropReason::TooBig);
        }
        let target = Target {
            hop_limit: header.target.hop_limit - 1,
            ..header.target
        };
        let (true, activity) = next.seal_frame(now, Class::Transit, frame, target) else {
            return Err(DropReason::NoRelayKey);
        };
        self.report(activity);
        Ok(Verdict::SendInPlace(remote, 0..frame.len()))
    }

    /// The message in a frame that ends here.
    fn take_out(
        &mut self,
        snapshot: &Snapshot,
        from: &TunnelHandle,
        source: SocketAddr,
        frame: &[u8],
        out: &mut [u8],
        now: Instant,
    ) -> Result<Verdict, DropReason> {
        let message = &frame[HEADER..];
        let index = match MessageKind::of(message).ok_or(DropReason::Malformed)? {
            MessageKind::Data(receiver) => receiver >> 8,
            MessageKind::Initiation | MessageKind::Response(_) | MessageKind::Cookie(_) => {
                return Ok(Verdict::Handshake(from.id(), HEADER..frame.len()));
            }
            MessageKind::Frame(_) => return Err(DropReason::Malformed),
        };
        let session = snapshot.sessions.at(index).ok_or(DropReason::UnknownSession)?;
        let (opened, activity) = session.open(now, source, message, out);
        let Opened::Packet(packet) = opened else {
            return Err(DropReason::SessionRejected);
        };
        let length = packet.len();
        self.report(activity);
        if length == 0 {
            return Ok(Verdict::Nothing);
        }
        let header = Header::parse(&out[..length]).ok_or(DropReason::Malformed)?;
        if header.destination.is_unicast_link_local() && header.source.is_unicast_link_local() {
            return Ok(Verdict::SessionPacket(session.origin(), header.length));
        }
        if !session.permits_source(header.source) || snapshot.is_own(header.source) {
            return Err(DropReason::SourceNotPermitted);
        }
        if snapshot.fib.lookup(header.destination) != Some(Hop::Local) {
            return Err(DropReason::NoRoute);
        }
        snapshot.fib.origin(header.source).count(header.length);
        self.deliver(snapshot, &header, out, now)
    }
}

/// Seals a packet of ours for the other end of a session and puts it into a frame for the first relay: where to
/// send it, its length, and what control should hear.
pub(super) fn seal_for_session(
    tunnel: &TunnelHandle,
    session: &SessionHandle,
    packet: &[u8],
    out: &mut [u8],
    now: Instant,
) -> Result<(SocketAddr, usize, [Option<Activity>; 2]), DropReason> {
    let remote = tunnel.endpoint().ok_or(DropReason::NoSession)?;
    if HEADER + OVERHEAD + packet.len() > out.len() {
        return Err(DropReason::TooBig);
    }
    let (sealed, silent) = session.seal(now, packet, &mut out[HEADER..]);
    let length = match sealed {
        Sealed::Datagram(message) | Sealed::Handshake(message) => HEADER + message.len(),
        Sealed::Nothing => return Err(DropReason::AwaitingSession),
    };
    let target = Target {
        hop_limit: HOP_LIMIT,
        locator: session.locator(),
        whole: false,
    };
    let (true, activity) = tunnel.seal_frame(now, Class::Own, &mut out[..length], target) else {
        return Err(DropReason::NoRelayKey);
    };
    Ok((remote, length, [silent, activity]))
}
