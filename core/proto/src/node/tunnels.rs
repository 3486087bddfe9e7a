//! Tunnels come and go, and carry control's own packets.

use super::{
    DownReason, Event, Node,
    timers::Timer,
    tunnel::{Phase, Tunnel},
};
use crate::{
    Duration, Instant,
    accounting::carried,
    identity::TunnelKey,
    link::{self, ByeReason, Message},
    packet::{self, UdpHeader},
    snapshot::{Class, TunnelHandle},
    tunnel::{MAX_INDEX, Sealed, TunnelId},
};
use core::net::{Ipv6Addr, SocketAddr};
use osier_babel::InterfaceId;
use std::sync::Arc;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Sessions count whole seconds.
pub(super) const SESSION_TICK: Duration = Duration::from_secs(1);

/// A tunnel's name as a Babel interface.
pub(super) fn interface(tunnel: TunnelId) -> InterfaceId {
    InterfaceId(tunnel.0)
}

impl Node {
    pub(super) fn add_tunnel(
        &mut self,
        key: TunnelKey,
        phase: Phase,
        endpoint: Option<SocketAddr>,
        now: Instant,
    ) -> Option<TunnelId> {
        let index = self.free_index()?;
        let id = TunnelId(self.next_tunnel);
        self.next_tunnel = self.next_tunnel.checked_add(1)?;
        let session = self.factory.new_session(key, index, now);
        let handle = Arc::new(TunnelHandle::new(id, session, endpoint));
        self.snapshot.add_tunnel(index, Arc::clone(&handle));
        self.snapshot_changed = true;
        let tunnel = Tunnel::new(handle, index, key, phase, &mut self.random, now);
        self.tunnels.insert(id, tunnel);
        self.by_key.insert(key, id);
        self.timers.advance(Timer::Sessions, now + SESSION_TICK);
        Some(id)
    }

    /// Drawn at random, so that datagrams for a session of before a restart find none.
    fn free_index(&mut self) -> Option<u32> {
        (0..64)
            .map(|_| (self.random.draw() & u64::from(MAX_INDEX)) as u32)
            .find(|index| !self.snapshot.receivers.contains_key(index))
    }

    /// Forgets a tunnel; the peer is not told.
    pub(super) fn close_tunnel(&mut self, id: TunnelId, reason: DownReason, now: Instant) {
        let Some(tunnel) = self.tunnels.remove(&id) else {
            return;
        };
        self.carried += carried(&tunnel.handle);
        if self.by_key.get(&tunnel.peer_key) == Some(&id) {
            self.by_key.remove(&tunnel.peer_key);
        }
        self.snapshot.remove_tunnel(tunnel.index, id);
        self.snapshot_changed = true;
        self.newcomers.remove(&id);
        self.timers.clear_tunnel(id);
        self.waiting.forget_tunnel(id);
        if self.replacing.is_some_and(|(old, new)| old == id || new == id) {
            self.replacing = None;
        }
        if let Some(certificate) = &tunnel.certificate {
            if self.by_peer.get(&certificate.node) == Some(&id) {
                self.by_peer.remove(&certificate.node);
            }
            if tunnel.is_open() {
                self.babel.remove_interface(interface(id), now);
                let (node, name) = (certificate.node, certificate.name.clone());
                self.push_event(Event::NeighbourDown { node, name, reason });
                self.wake_up(now);
            }
        }
        if !self.stop.is_stopping() {
            self.timers.advance(Timer::Dial, now + Duration::from_millis(10));
        }
    }

    /// Tells the peer why, and closes.
    pub(super) fn dismiss(&mut self, id: TunnelId, bye: ByeReason, reason: DownReason, now: Instant) {
        let has_keys = |t: &Tunnel| t.handle.session().last_handshake(now).is_some();
        if self.tunnels.get(&id).is_some_and(has_keys) {
            self.send_link(id, &Message::Bye(bye), now);
        }
        self.close_tunnel(id, reason, now);
    }

    pub(super) fn send_link(&mut self, id: TunnelId, message: &Message, now: Instant) {
        let Some(tunnel) = self.tunnels.get(&id) else {
            return;
        };
        let destination = tunnel.peer_link_local().unwrap_or(ALL_NODES);
        let header = self.link_header(destination);
        self.send_packet(id, &header, &message.encode(), now);
    }

    /// In a packet of this size, which is not to be fragmented.
    pub(super) fn send_link_sized(&mut self, id: TunnelId, message: &Message, size: u16, now: Instant) {
        let Some(peer) = self.tunnels.get(&id).and_then(Tunnel::peer_link_local) else {
            return;
        };
        if let Some(mut packet) = packet::udp_packet(&self.link_header(peer), &message.encode()) {
            packet.resize(packet.len().max(size.into()), 0);
            self.seal_control(id, &packet, true, now);
        }
    }

    pub(super) fn link_header(&self, destination: Ipv6Addr) -> UdpHeader {
        UdpHeader {
            source: self.link_local,
            destination,
            hop_limit: 1,
            source_port: link::PORT,
            destination_port: link::PORT,
        }
    }

    pub(super) fn send_packet(&mut self, id: TunnelId, header: &UdpHeader, payload: &[u8], now: Instant) {
        match packet::udp_packet(header, payload) {
            Some(packet) => self.seal_control(id, &packet, false, now),
            None => self.counters.count("packet-not-sendable"),
        }
    }

    fn seal_control(&mut self, id: TunnelId, packet: &[u8], whole: bool, now: Instant) {
        let Some(tunnel) = self.tunnels.get(&id) else {
            return;
        };
        let Some(remote) = tunnel.handle.endpoint() else {
            self.counters.count("packet-not-sendable");
            return;
        };
        let handle = Arc::clone(&tunnel.handle);
        let datagram = match handle.seal(now, Class::Control, packet, &mut self.scratch).0 {
            Sealed::Datagram(datagram) | Sealed::Handshake(datagram) => datagram.to_vec(),
            Sealed::Nothing => return,
        };
        self.transmit_as(remote, datagram, whole);
    }

    /// Lets every tunnel and every session renew its keys. Tunnels that have none yet are dialled at our own pace,
    /// and silent ones by the end that began them.
    pub(super) fn tick_sessions(&mut self, now: Instant) {
        let handles: Vec<_> = self
            .tunnels
            .values()
            .filter(|t| t.phase != Phase::Dialling && (t.outgoing || t.liveness.usable))
            .map(|t| Arc::clone(&t.handle))
            .collect();
        for handle in handles {
            if let Some(datagram) = handle.session().tick(now, &mut self.scratch)
                && let Some(remote) = handle.endpoint()
            {
                let datagram = datagram.to_vec();
                self.transmit(remote, datagram);
            }
        }
        self.rotate_relay_keys(now);
        self.tick_end_to_end(now);
        if !self.tunnels.is_empty() || !self.sessions.is_empty() {
            self.timers.set(Timer::Sessions, now + SESSION_TICK);
        }
    }
}
