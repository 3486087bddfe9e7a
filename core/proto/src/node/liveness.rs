//! Whether a neighbour still answers, and how far away it is.
//!
//! There is no polling: Babel's Hellos (every 4 s, every second where data flows) are what is waited for. When
//! data went out and nothing authentic has come back for a while, or a Hello is a quarter late, a short round
//! of link Echoes decides. Without an answer the link is unusable at once and routes move; the tunnel stays,
//! is redialled, and serves again as soon as anything authentic comes through it. A silent death is noticed
//! within about 2 s where data flows and 6 s elsewhere.

use super::{
    DownReason, Node,
    timers::Timer,
    tunnel::{BUSY_INTERVAL, IDLE_INTERVAL, Phase, Tunnel},
    tunnels::interface,
};
use crate::{Duration, Instant, link::Message, mesh::choice, tunnel::TunnelId};

/// Data without an answer for this long makes us ask.
const UNANSWERED: Duration = Duration::from_millis(500);
/// Echoes of one round, their distance, and when the round is lost (and twice the round-trip time later).
const ECHOES: u32 = 5;
const ECHO_GAP: Duration = Duration::from_millis(200);
const ECHO_ROUND: Duration = Duration::from_millis(1000);
const LONGEST_ROUND: Duration = Duration::from_secs(4);
/// A tunnel that carried no data for this long is idle.
const QUIET: Duration = Duration::from_secs(12);
/// On a dead tunnel: redial after this, echo at growing distances, give up.
const REDIAL_AFTER: Duration = Duration::from_secs(1);
const LONGEST_ECHO_GAP: Duration = Duration::from_secs(15);
const GIVE_UP: Duration = Duration::from_secs(180);
/// Measurements of the round-trip time: soon after link-up, then now and then.
const MEASURE_FIRST: Duration = Duration::from_millis(300);
const MEASURE_BUSY: Duration = Duration::from_secs(10);
const MEASURE_IDLE: Duration = Duration::from_secs(60);
/// Samples that do not count (the session is still warming up), and those taken quickly.
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

/// How long a round of echoes takes.
fn round_time(tunnel: &Tunnel) -> Duration {
    (ECHO_ROUND + tunnel.rtt.smoothed.unwrap_or_default() * 2).min(LONGEST_ROUND)
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
    pub(super) fn start_liveness(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        tunnel.liveness.usable = true;
        tunnel.liveness.dead_since = None;
        tunnel.liveness.unanswered = None;
        tunnel.liveness.probing = None;
        // Often at first, so that losses delay the first routes less.
        tunnel.liveness.interval = BUSY_INTERVAL;
        tunnel.liveness.peer_interval = IDLE_INTERVAL;
        self.timers.set(Timer::Liveness(id), now + IDLE_INTERVAL);
        self.timers.set(Timer::Echo(id), now + Duration::from_millis(1));
    }

    /// Data went out on a quiet tunnel, or without anything coming back.
    pub(super) fn data_sent(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        if !tunnel.is_open() {
            return;
        }
        let heard = tunnel.last_heard();
        let waiting = tunnel.liveness.unanswered.is_some_and(|since| since > heard);
        if !waiting {
            tunnel.liveness.unanswered = Some(now);
        }
        self.set_interval(id, BUSY_INTERVAL, now);
        self.timers.advance(Timer::Liveness(id), now + UNANSWERED);
    }

    fn set_interval(&mut self, id: TunnelId, interval: Duration, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        if tunnel.liveness.interval != interval {
            tunnel.liveness.interval = interval;
            self.babel.set_hello_interval(interface(id), interval, now);
        }
    }

    pub(super) fn check_liveness(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get(&id) else {
            return;
        };
        if !tunnel.is_open() {
            return;
        }
        let busy_at = tunnel.last_data().max(tunnel.opened_at);
        let is_busy = busy_at.is_some_and(|at| now.saturating_since(at) < QUIET);
        self.set_interval(id, if is_busy { BUSY_INTERVAL } else { IDLE_INTERVAL }, now);
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        let heard = tunnel.last_heard();
        let round = round_time(tunnel);
        let liveness = &mut tunnel.liveness;
        if !liveness.usable {
            if liveness.dead_since.is_some_and(|since| heard > since) {
                return self.revive(id, now);
            }
            return self.check_dead(id, now);
        }
        if liveness.unanswered.is_some_and(|since| heard >= since) {
            liveness.unanswered = None;
        }
        if let Some((since, sent)) = liveness.probing {
            if heard > since {
                liveness.probing = None;
            } else if now >= since + round {
                return self.declare_dead(id, now);
            } else {
                return self.probe(id, (since, sent), now);
            }
        }
        let late = heard + liveness.peer_interval * 5 / 4;
        let unanswered = liveness.unanswered.map(|since| since + UNANSWERED);
        let due = unanswered.map_or(late, |at| at.min(late));
        if due <= now {
            return self.probe(id, (now, 0), now);
        }
        // A busy tunnel is looked at again when it may have become quiet.
        let quiet = is_busy.then_some(now + BUSY_INTERVAL * 5);
        let next = quiet.map_or(due, |at| at.min(due));
        self.timers.set(Timer::Liveness(id), next);
    }

    /// One more echo of a round.
    fn probe(&mut self, id: TunnelId, (since, sent): (Instant, u32), now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        let due = since + ECHO_GAP * sent;
        let round = round_time(tunnel);
        if sent < ECHOES && due <= now {
            tunnel.liveness.probing = Some((since, sent + 1));
            self.send_echo(id, now);
            let next = if sent + 1 < ECHOES {
                since + ECHO_GAP * (sent + 1)
            } else {
                since + round
            };
            self.timers
                .set(Timer::Liveness(id), next.max(now + Duration::from_millis(1)));
        } else {
            let next = if sent < ECHOES { due } else { since + round };
            self.timers
                .set(Timer::Liveness(id), next.max(now + Duration::from_millis(1)));
        }
    }

    /// Asks all neighbours at once, after a change of our own network.
    pub(super) fn probe_all(&mut self, now: Instant) {
        for id in self.tunnels.keys().copied().collect::<Vec<_>>() {
            let Some(tunnel) = self.tunnels.get_mut(&id) else {
                continue;
            };
            if tunnel.is_open() && tunnel.liveness.usable && tunnel.liveness.probing.is_none() {
                self.probe(id, (now, 0), now);
            }
        }
    }

    fn declare_dead(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        tunnel.liveness.usable = false;
        tunnel.liveness.probing = None;
        tunnel.liveness.unanswered = None;
        tunnel.liveness.dead_since = Some(now);
        tunnel.liveness.dead_echoes = 0;
        tunnel.handle.report_next_receive();
        self.counters.count("neighbour-silent");
        self.babel.set_link_usable(interface(id), false, now);
        self.timers.set(Timer::Liveness(id), now + REDIAL_AFTER);
        // Others take its place meanwhile.
        self.timers.advance(Timer::Dial, now + Duration::from_millis(1));
    }

    fn check_dead(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        let since = tunnel.liveness.dead_since.unwrap_or(now);
        if now.saturating_since(since) >= GIVE_UP {
            return self.close_tunnel(id, DownReason::Silent, now);
        }
        let gap =
            (Duration::from_secs(1) * 2u32.pow(tunnel.liveness.dead_echoes.min(5))).min(LONGEST_ECHO_GAP);
        tunnel.liveness.dead_echoes += 1;
        let is_dialling = tunnel.dial.is_some();
        let mut endpoints: Vec<_> = tunnel.handle.endpoint().into_iter().collect();
        let peer = tunnel.peer();
        self.timers.set(Timer::Liveness(id), now + gap);
        self.send_echo(id, now);
        if is_dialling {
            return;
        }
        let own = self.endpoints.own(now);
        if let Some(member) = peer.and_then(|node| self.directory.get(&node)) {
            let known = choice::reachable(member, &self.backoff, &own, now);
            endpoints.extend(
                known
                    .into_iter()
                    .filter(|a| Some(*a) != endpoints.first().copied())
                    .collect::<Vec<_>>(),
            );
        }
        self.begin_dial(id, endpoints, now);
    }

    /// Something authentic came through a tunnel.
    pub(super) fn revive(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        if tunnel.phase != Phase::Open {
            return;
        }
        tunnel.liveness.heard = now;
        tunnel.liveness.probing = None;
        tunnel.liveness.unanswered = None;
        tunnel.dial = None;
        self.timers.clear(Timer::Dialling(id));
        if tunnel.liveness.usable {
            return;
        }
        tunnel.liveness.usable = true;
        tunnel.liveness.dead_since = None;
        let next = now + tunnel.liveness.peer_interval;
        self.timers.set(Timer::Liveness(id), next);
        self.babel.set_link_usable(interface(id), true, now);
        // The peer may have started anew meanwhile: hearing from us it says Hello.
        self.send_echo(id, now);
    }

    /// Measures the round-trip time, now and then.
    pub(super) fn measure(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get(&id) else {
            return;
        };
        if !tunnel.is_open() {
            return;
        }
        let pause = if tunnel.rtt.asked < QUICK_SAMPLES {
            MEASURE_FIRST
        } else if tunnel.liveness.interval == BUSY_INTERVAL {
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

    fn send_echo(&mut self, id: TunnelId, now: Instant) {
        let counters = self.link_counters(id);
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        let nonce = echo_nonce(tunnel, now);
        tunnel.rtt.sent(nonce, now);
        let echo = Message::Echo {
            nonce,
            sent_at: now.as_micros(),
            counters,
        };
        self.send_link(id, &echo, now);
    }

    pub(super) fn take_echo_reply(&mut self, id: TunnelId, nonce: u64, now: Instant) {
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
        let Some(sample) = tunnel.rtt.answered(nonce, now) else {
            return self.counters.count("echo-unknown");
        };
        tunnel.rtt.samples = tunnel.rtt.samples.saturating_add(1);
        if tunnel.rtt.samples <= DROPPED_SAMPLES {
            return;
        }
        let smoothed = tunnel.rtt.smoothed.map_or(sample, |old| (old * 3 + sample) / 4);
        tunnel.rtt.smoothed = Some(smoothed);
        let cost = cost_of(smoothed);
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
