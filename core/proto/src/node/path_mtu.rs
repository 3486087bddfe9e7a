//! How large packets may be, for each tunnel and each end-to-end session: asks and answers of [`path_mtu`], carried
//! by the link protocol.
//!
//! Each end asks for its own direction, and only when packets pass that are large enough to matter
//! ([`Activity::Large`](crate::snapshot::Activity::Large)): a mesh that is idle, or exchanges pings, pays nothing. In a tunnel the question goes out in a datagram that must not be fragmented;
//! in a session it travels in a relay frame that relays drop where it would have to be. What relays forward for
//! others they never drop for its size: it is fragmented where it must be, until the ends have found out.
//!
//! [`path_mtu`]: crate::mesh::path_mtu

use super::{Node, timers::Timer};
use crate::{Duration, Instant, RouterId, link::Message, mesh::path_mtu::Reason, packet, tunnel::TunnelId};
use core::net::SocketAddr;

/// How long an answer may take: where the round-trip time is unknown, and beyond it.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const MORE_WAIT: Duration = Duration::from_millis(300);
/// A stream that is stuck repeats itself after longer and longer pauses: what was sent so long ago still matters.
const STUCK: Duration = Duration::from_secs(10);

fn is_recent(large: Option<Instant>, now: Instant) -> bool {
    large.is_some_and(|at| now.saturating_since(at) < STUCK)
}

impl Node {
    /// Both ends have accepted each other.
    pub(super) fn start_path_mtu(&mut self, id: TunnelId, now: Instant) {
        let nonce = self.random.draw();
        if let Some(tunnel) = self.tunnels.get_mut(&id) {
            tunnel.mtu.start(nonce, now);
            self.path_mtu_changed(id);
        }
    }

    pub(super) fn recheck_path_mtu(&mut self, id: TunnelId, reason: Reason, now: Instant) {
        if let Some(tunnel) = self.tunnels.get_mut(&id) {
            if is_recent(tunnel.handle.last_large(), now) {
                tunnel.mtu.large_passes();
            }
            tunnel.mtu.recheck(reason, now);
            self.path_mtu_changed(id);
        }
    }

    pub(super) fn recheck_all_mtus(&mut self, now: Instant) {
        for id in self.tunnels.keys().copied().collect::<Vec<_>>() {
            self.recheck_path_mtu(id, Reason::Changed, now);
        }
    }

    /// A local link takes other packets than before.
    pub fn handle_link_change(&mut self, now: Instant) {
        self.recheck_all_mtus(now);
        self.settle(now);
    }

    /// The system would not send a datagram of the data plane's, or a train of them, to this address, perhaps because
    /// of its size.
    pub fn handle_too_large(&mut self, remote: SocketAddr, now: Instant) {
        let meant = self
            .tunnels
            .iter()
            .filter(|(_, t)| t.handle.endpoint() == Some(remote));
        for id in meant.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.recheck_path_mtu(id, Reason::Hint, now);
        }
        self.settle(now);
    }

    /// Data passes for which the MTU matters.
    pub(super) fn large_passes(&mut self, id: TunnelId, now: Instant) {
        self.data_passes(id, now);
        if let Some(tunnel) = self.tunnels.get_mut(&id) {
            tunnel.mtu.large_passes();
            self.step_path_mtu(id, now);
        }
    }

    pub(super) fn large_passes_in_session(&mut self, origin: RouterId, now: Instant) {
        if let Some(session) = self.sessions.get_mut(&origin) {
            session.mtu.large_passes();
            self.step_session_mtu(origin, now);
        }
    }

    /// Asks what is to be asked now. A tunnel that does not answer at all is asked again when it does, and one that
    /// carries nothing large when it does that.
    pub(super) fn step_path_mtu(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id).filter(|t| t.is_open()) else {
            return;
        };
        if !tunnel.liveness.usable {
            return;
        }
        if tunnel.mtu.is_unused() {
            return tunnel.handle.report_next_large();
        }
        let wait = tunnel.rtt.smoothed.map_or(FIRST_WAIT, |rtt| rtt * 2 + MORE_WAIT);
        let heard = tunnel.last_heard();
        let sizes = tunnel.mtu.step(wait, heard, now);
        let nonce = tunnel.mtu.nonce();
        self.path_mtu_changed(id);
        for size in sizes {
            self.send_link_sized(id, &Message::MtuProbe { nonce, size }, size, now);
        }
    }

    pub(super) fn take_mtu_ack(&mut self, id: TunnelId, nonce: u64, size: u16, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        if tunnel.mtu.acked(nonce, size, now) {
            self.path_mtu_changed(id);
        } else {
            self.counters.count("mtu-ack-unknown");
        }
    }

    /// Tells the data plane, and sets the timer.
    fn path_mtu_changed(&mut self, id: TunnelId) {
        if let Some(tunnel) = self.tunnels.get(&id) {
            tunnel.handle.set_mtu(tunnel.mtu.mtu());
            if let Some(due) = tunnel.mtu.due() {
                self.timers.set(Timer::PathMtu(id), due);
            }
        }
    }

    /// A session has keys.
    pub(super) fn start_session_mtu(&mut self, origin: RouterId, now: Instant) {
        let nonce = self.random.draw();
        let Some(session) = self.sessions.get_mut(&origin) else {
            return;
        };
        session.answered = now;
        if session.mtu.is_started() {
            // What was due while there were no keys.
            return self.session_mtu_changed(origin);
        }
        session.mtu.start(nonce, now);
        self.session_mtu_changed(origin);
    }

    pub(super) fn recheck_session_mtu(&mut self, origin: RouterId, reason: Reason, now: Instant) {
        if let Some(session) = self.sessions.get_mut(&origin) {
            if is_recent(session.handle.last_large(), now) {
                session.mtu.large_passes();
            }
            session.mtu.recheck(reason, now);
            self.session_mtu_changed(origin);
        }
    }

    pub(super) fn step_session_mtu(&mut self, origin: RouterId, now: Instant) {
        let Some(session) = self.sessions.get_mut(&origin).filter(|s| s.handle.is_up()) else {
            return;
        };
        if session.mtu.is_unused() {
            return session.handle.report_next_large();
        }
        let heard = session
            .answered
            .max(session.handle.last_received().unwrap_or(Instant::ZERO));
        let sizes = session.mtu.step(FIRST_WAIT, heard, now);
        let nonce = session.mtu.nonce();
        self.session_mtu_changed(origin);
        for size in sizes {
            self.send_in_session(origin, &Message::MtuProbe { nonce, size }, Some(size), now);
        }
    }

    fn session_mtu_changed(&mut self, origin: RouterId) {
        if let Some(session) = self.sessions.get(&origin) {
            session.handle.set_mtu(session.mtu.mtu());
            if let Some(due) = session.mtu.due() {
                self.timers.set(Timer::SessionMtu(origin), due);
            }
        }
    }

    /// A packet between link-local addresses that came in an end-to-end session: control's own.
    pub fn handle_session_packet(&mut self, origin: RouterId, packet: &[u8], now: Instant) {
        if self.stop.is_done() {
            return;
        }
        self.take_session_packet(origin, packet, now);
        self.settle(now);
    }

    fn take_session_packet(&mut self, origin: RouterId, packet: &[u8], now: Instant) {
        let Some(session) = self.sessions.get_mut(&origin) else {
            return;
        };
        let peer = session.node.link_local();
        let message = match packet::parse_udp(packet) {
            Ok((header, payload))
                if header.source == peer && header.destination_port == crate::link::PORT =>
            {
                Message::decode(payload)
            }
            Ok(_) => return self.counters.count("session-wrong-source"),
            Err(_) => return self.counters.count("packet-malformed"),
        };
        match message {
            Ok(Message::MtuProbe { nonce, size }) => {
                self.send_in_session(origin, &Message::MtuAck { nonce, size }, None, now);
            }
            Ok(Message::MtuAck { nonce, size }) => {
                if session.mtu.acked(nonce, size, now) {
                    self.session_mtu_changed(origin);
                } else {
                    self.counters.count("mtu-ack-unknown");
                }
            }
            Ok(_) => self.counters.count("session-unknown-message"),
            Err(_) => self.counters.count("link-malformed"),
        }
    }
}
