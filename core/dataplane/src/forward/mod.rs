//! The two directions of the packet path.
//!
//! [`admit`] takes a packet of this machine to a tunnel or an end-to-end session, [`receive`] a datagram from the
//! network to the device, to control or onwards, and [`relay`] a relay frame to its end or the next hop.

mod admit;
mod receive;
mod relay;

use crate::{
    Action, DropReason,
    icmp::{Header, TokenBucket},
};
use core::{
    net::{Ipv6Addr, SocketAddr},
    ops::Range,
};
use osier_proto::{
    Instant, RouterId, Snapshot,
    snapshot::{Activity, Class, SessionHandle, TunnelHandle},
    tunnel::{OVERHEAD, Sealed, TunnelId},
};

/// Largest datagram, and what output buffers must hold.
const BUFFER: usize = 65_535;
/// One packet causes at most: moved, heard, receiving, session up; and sending and session silent for what
/// answers it.
const ACTIVITIES: usize = 6;

/// Per-thread state: scratch for forwarded packets and ICMPv6 errors, their rate limit, drop counters.
#[derive(Debug)]
pub struct Forwarder {
    scratch: Box<[u8]>,
    activities: [Option<Activity>; ACTIVITIES],
    errors: TokenBucket,
    /// When and to whom a packet was last too big.
    too_big: (Instant, Ipv6Addr),
    errors_suppressed: u64,
    /// How many packets without a session control is given.
    waiting: TokenBucket,
    drops: [u64; DropReason::ALL.len()],
}

/// An [`Action`] by lengths in the output buffer, so that the buffer stays free while it is being decided.
enum Verdict {
    Send(SocketAddr, usize),
    SendInPlace(SocketAddr, Range<usize>),
    Deliver(usize),
    NeedsSession(usize),
    ControlDatagram,
    ControlPacket(TunnelId, usize),
    /// A span of the datagram.
    Handshake(TunnelId, Range<usize>),
    Probe(usize),
    SessionPacket(RouterId, usize),
    Nothing,
}

impl Forwarder {
    pub fn new() -> Self {
        Self {
            scratch: vec![0; BUFFER].into_boxed_slice(),
            activities: [None; ACTIVITIES],
            errors: TokenBucket::new(),
            too_big: (Instant::ZERO, Ipv6Addr::UNSPECIFIED),
            errors_suppressed: 0,
            waiting: TokenBucket::new(),
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

    /// A datagram from the network. ICMPv6 errors towards the sender come back as [`Action::Send`]. A relay
    /// frame for somebody else is changed in place and stays where it is ([`Action::SendInPlace`]).
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
            Ok(Verdict::SendInPlace(remote, span)) => Action::SendInPlace { remote, span },
            Ok(Verdict::Deliver(length)) => Action::Deliver(&out[..length]),
            Ok(Verdict::NeedsSession(length)) => Action::NeedsSession(&out[..length]),
            Ok(Verdict::ControlDatagram) => Action::ControlDatagram(datagram),
            Ok(Verdict::ControlPacket(tunnel, length)) => Action::ControlPacket(tunnel, &out[..length]),
            Ok(Verdict::Handshake(tunnel, span)) => Action::RelayedHandshake(tunnel, &datagram[span]),
            Ok(Verdict::SessionPacket(origin, length)) => Action::SessionPacket(origin, &out[..length]),
            Ok(Verdict::Probe(length)) => Action::Probe(&out[..length]),
            Ok(Verdict::Nothing) => Action::Nothing,
            Err(reason) => {
                self.count(reason);
                Action::Drop(reason)
            }
        }
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

/// Seals a packet for the neighbour: where to send it, its length, and what control should hear.
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

/// The session with an origin, once it has keys.
fn session<'s>(snapshot: &'s Snapshot, origin: &RouterId) -> Option<&'s SessionHandle> {
    let session = snapshot.sessions.with(origin)?;
    session.is_up().then_some(session)
}

/// Whether the packet is control's own or answers it: those show the way, so each hop handles them.
fn goes_hop_by_hop(header: &Header, packet: &[u8]) -> bool {
    header.is_probe_request(packet) || header.is_probe_answer(packet)
}
