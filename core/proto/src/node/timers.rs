//! When the node wants to be woken, and why: one small table.

use crate::{Instant, RouterId, tunnel::TunnelId};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Look whether more neighbours are wanted.
    Dial,
    /// Sessions renew keys and send keepalives.
    Sessions,
    /// Replace the least useful neighbour.
    Refresh,
    /// Sign a record with what changed.
    Record,
    /// Ask the registry for members.
    Directory,
    Renew,
    /// Look for certificates that ran out.
    Expiry,
    /// Ask neighbours for certificates that routes wait for, and for such routes.
    Certificates,
    /// A leaf looks whether it may doze, or speaks in its sleep.
    Doze,
    /// Next step of a planned stop.
    Stop,
    /// Try the endpoints of the peer.
    Dialling(TunnelId),
    /// Repeat our Hello.
    Hello(TunnelId),
    /// An unauthenticated tunnel has had its time.
    GiveUp(TunnelId),
    Liveness(TunnelId),
    /// Measure the round-trip time.
    Echo(TunnelId),
    /// Tell the neighbour about members.
    Gossip(TunnelId),
    /// Compare directories.
    Digest(TunnelId),
    /// Ask which packets pass.
    PathMtu(TunnelId),
    /// A tunnel that is being replaced closes.
    Close(TunnelId),
    /// Begin the handshake of an end-to-end session again.
    Initiate(RouterId),
    /// Ask which packets get to the other end of a session.
    SessionMtu(RouterId),
}

impl Timer {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Dial => "dial",
            Self::Sessions => "sessions",
            Self::Refresh => "refresh",
            Self::Record => "record",
            Self::Directory => "directory",
            Self::Renew => "renew",
            Self::Expiry => "expiry",
            Self::Certificates => "certificates",
            Self::Doze => "doze",
            Self::Stop => "stop",
            Self::Dialling(_) => "dialling",
            Self::Hello(_) => "hello",
            Self::GiveUp(_) => "give-up",
            Self::Liveness(_) => "liveness",
            Self::Echo(_) => "echo",
            Self::Gossip(_) => "gossip",
            Self::Digest(_) => "digest",
            Self::PathMtu(_) => "path-mtu",
            Self::Close(_) => "close",
            Self::Initiate(_) => "initiate",
            Self::SessionMtu(_) => "session-mtu",
        }
    }

    /// Every timer of a tunnel.
    fn of_tunnel(tunnel: TunnelId) -> [Self; 9] {
        [
            Self::Dialling(tunnel),
            Self::Hello(tunnel),
            Self::GiveUp(tunnel),
            Self::Liveness(tunnel),
            Self::Echo(tunnel),
            Self::Gossip(tunnel),
            Self::Digest(tunnel),
            Self::PathMtu(tunnel),
            Self::Close(tunnel),
        ]
    }
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    at: BTreeMap<Timer, Instant>,
    queue: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.clear(timer);
        self.at.insert(timer, at);
        self.queue.insert((at, timer));
    }

    /// Sets it unless it is set to go off earlier.
    pub(super) fn advance(&mut self, timer: Timer, at: Instant) {
        if self.at.get(&timer).is_none_or(|set| at < *set) {
            self.set(timer, at);
        }
    }

    pub(super) fn clear(&mut self, timer: Timer) {
        if let Some(at) = self.at.remove(&timer) {
            self.queue.remove(&(at, timer));
        }
    }

    pub(super) fn clear_tunnel(&mut self, tunnel: TunnelId) {
        Timer::of_tunnel(tunnel).into_iter().for_each(|t| self.clear(t));
    }

    pub(super) fn clear_all(&mut self) {
        *self = Self::default();
    }

    /// Takes one that is due. What it sets again is in the future, so taking all of them ends.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let (at, timer) = *self.queue.first()?;
        if at > now {
            return None;
        }
        self.clear(timer);
        Some(timer)
    }

    pub(super) fn next(&self) -> Option<(Instant, &'static str)> {
        self.queue.first().map(|(at, timer)| (*at, timer.reason()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    #[test]
    fn timers_go_off_in_order_and_once() {
        let mut timers = Timers::default();
        timers.set(Timer::Refresh, at(30));
        timers.set(Timer::Echo(TunnelId(1)), at(20));
        timers.set(Timer::Dial, at(10));
        timers.set(Timer::Dial, at(25));
        timers.advance(Timer::Refresh, at(40));
        assert_eq!(timers.next(), Some((at(20), "echo")));
        timers.clear_tunnel(TunnelId(1));
        assert_eq!(timers.take_due(at(24)), None);
        assert_eq!(timers.take_due(at(99)), Some(Timer::Dial));
        assert_eq!(timers.take_due(at(99)), Some(Timer::Refresh));
        assert_eq!(timers.take_due(at(99)), None);
        assert_eq!(timers.next(), None);
    }
}
