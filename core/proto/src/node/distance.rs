//! How far away a neighbour is, how much its link loses, and what the link costs for it.

use super::{
    Node,
    liveness::flap_cost,
    timers::Timer,
    tunnel::{Tunnel, UNMEASURED_COST},
    tunnels::interface,
};
use crate::{
    Duration, Instant,
    link::{LinkCounters, Message},
    tunnel::TunnelId,
};

/// Measurements of the round-trip time: soon after link-up, then now and then.
const MEASURE_FIRST: Duration = Duration::from_millis(300);
const MEASURE_BUSY: Duration = Duration::from_secs(20);
const MEASURE_IDLE: Duration = Duration::from_secs(120);
/// Samples that do not count when there are others (the session is still warming up), and those taken quickly.
const DROPPED_SAMPLES: u32 = 1;
const QUICK_SAMPLES: u32 = 3;

/// Cost of a perfect link without delay, and the limit.
const BASE_COST: u32 = 96;
const MAX_COST: u32 = 5_000;

/// 96, and 10 for each millisecond above 2; at most 5,000.
pub(super) fn cost_of(rtt: Duration) -> u16 {
    let excess = u32::try_from(rtt.saturating_sub(Duration::from_millis(2)).as_micros()).unwrap_or(u32::MAX);
    // At most 5,000 fits.
    (BASE_COST + excess.min(1_000_000) / 100).min(MAX_COST) as u16
}

/// Whether the change is worth telling.
fn is_much(old: u16, new: u16) -> bool {
    u32::from(old.abs_diff(new)) > (u32::from(old) / 5).max(24)
}

/// Echoes on their way, by nonce: the time is not taken from the peer, which could make itself near.
fn echo_nonce(tunnel: &Tunnel, at: Instant) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&tunnel.greeting.nonce.to_be_bytes());
    hasher.update(&at.as_micros().to_be_bytes());
    let mut nonce = [0; 8];
    nonce.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_be_bytes(nonce)
}

impl Node {
    /// Measures the round-trip time, now and then.
    pub(super) fn measure(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get(&id) else {
            return;
        };
        if !tunnel.is_open() || tunnel.doze.is_quiet() {
            return;
        }
        let pause = if tunnel.rtt.asked < QUICK_SAMPLES {
            MEASURE_FIRST
        } else if tunnel.liveness.active.is_some() {
            MEASURE_BUSY
        } else {
            MEASURE_IDLE
        };
        let is_usable = tunnel.liveness.usable;
        let pause = self.random.around(pause);
        self.timers.set(Timer::Echo(id), now + pause);
        if is_usable {
            self.send_echo(id, now);
        }
    }

    pub(super) fn send_echo(&mut self, id: TunnelId, now: Instant) {
        let counters = self.link_counters(id);
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        let nonce = echo_nonce(tunnel, now);
        tunnel.rtt.sent(nonce, counters.sent, now);
        let echo = Message::Echo {
            nonce,
            sent_at: now.as_micros(),
            counters,
        };
        self.send_link(id, &echo, now);
    }

    pub(super) fn take_echo_reply(&mut self, id: TunnelId, nonce: u64, peers: LinkCounters, now: Instant) {
        let received = self.link_counters(id).received;
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        if tunnel.liveness.probing.is_some() || !tunnel.liveness.usable {
            // It came through the session: proof enough even where the data plane keeps no time.
            self.revive(id, now);
            self.timers
                .advance(Timer::Liveness(id), now + Duration::from_millis(1));
        }
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        let Some((sample, sent)) = tunnel.rtt.answered(nonce, now) else {
            return self.counters.count("echo-unknown");
        };
        // What was on its way with the echo had arrived with it, or never will: both counts are of the same
        // packets.
        let ours = LinkCounters { sent, received };
        tunnel.liveness.delivery.measure(ours, peers);
        tunnel.rtt.samples = tunnel.rtt.samples.saturating_add(1);
        if let Some(peer) = tunnel.peer() {
            self.evidence.verify(peer, super::Proof::Echo, now);
        }
        let earlier = tunnel.rtt.smoothed;
        let counts = tunnel.rtt.samples > DROPPED_SAMPLES;
        let begins = tunnel.rtt.samples == DROPPED_SAMPLES + 1;
        tunnel.rtt.smoothed = match earlier {
            Some(old) if counts && !begins => Some((old * 3 + sample) / 4),
            // One that does not count serves until the next: it is too long rather than too short.
            _ => Some(sample),
        };
        if !counts {
            self.timers
                .advance(Timer::Echo(id), now + Duration::from_millis(1));
        }
        self.tell_cost(id, now);
    }

    /// What Babel is to think of the link: how far it is, and more for a while if it fails often.
    pub(super) fn tell_cost(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        let distance = tunnel.rtt.smoothed.map_or(UNMEASURED_COST, cost_of);
        let cost = distance.saturating_add(flap_cost(&tunnel.liveness, now));
        if !tunnel.closing && is_much(tunnel.rtt.cost, cost) {
            tunnel.rtt.cost = cost;
            self.babel.set_rx_cost(interface(id), cost, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_grows_with_distance_up_to_a_limit() {
        let cost = |millis| cost_of(Duration::from_millis(millis));
        assert_eq!(
            [cost(0), cost(2), cost(3), cost(20), cost(490)],
            [96, 96, 106, 276, 4976]
        );
        assert_eq!(cost(100_000), 5_000);
    }

    #[test]
    fn small_changes_of_cost_are_not_told() {
        assert!(!is_much(96, 115) && is_much(96, 130));
        assert!(!is_much(1000, 1190) && is_much(1000, 1210));
        assert!(is_much(500, 300));
    }
}
