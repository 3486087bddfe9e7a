//! Whether a neighbour still answers.
//!
//! A tunnel that carries data is *active*, at both ends, whichever way the data goes: then each end sees to it
//! that something authenticated leaves at least every quarter of a second (data counts; a keepalive fills
//! gaps), so silence means something to both, also to who only receives. After a third of a second of it a
//! round of link Echoes begins; how many are needed follows from the loss that the link has shown, how long they
//! are waited for from its round-trip time ([`Round`]). Unanswered, the link is unusable at once and routes move:
//! about 0.6 s after the last sign of life on a short link that loses nothing.
//!
//! An idle tunnel costs nothing but Babel's Hellos, every 5 s; one that is a quarter late, or another
//! neighbour's word ([`Message::Silent`]), makes us ask. So does the first data on a tunnel that has been silent
//! for a while.
//!
//! A dead tunnel stays, is redialled, and serves again as soon as anything authentic comes through it. One that
//! keeps failing is made dearer for a time that doubles, so that routes do not flap and yet the last link is
//! never refused.

use super::{
    DownReason, Node,
    doze::has_keys,
    timers::Timer,
    tunnel::{FIRST_INTERVAL, IDLE_INTERVAL, Liveness, Phase, Tunnel},
    tunnels::interface,
};
use crate::{
    Duration, Instant, RouterId,
    link::Message,
    mesh::{choice, path_mtu::Reason, patience::Round},
    snapshot::{Class, MIN_MTU, TunnelHandle},
    tunnel::{Sealed, TunnelId},
};
use std::sync::Arc;

/// An end of an active tunnel says something at least this often, for this long after the last data; and expects
/// to hear something for a little less long, because the other end may have missed the last data.
const KEEP: Duration = Duration::from_millis(250);
const SPEAK: Duration = Duration::from_secs(3);
const EXPECT: Duration = Duration::from_secs(2);
/// Silence on an active tunnel that makes us ask; and half the round-trip time more.
const SILENCE: Duration = Duration::from_millis(330);
/// Data that goes out and brings none back for this long, when it did before, may be too large for the way.
const STALL: Duration = Duration::from_secs(1);
const STALL_OVER: Duration = Duration::from_secs(8);
/// A timer this late means that this machine had no time for us: what we have not heard we may have missed.
const HELD_UP: Duration = Duration::from_millis(120);
/// Timers go off together, at whole multiples of this.
const ACTIVE_GRID: Duration = Duration::from_millis(20);
const IDLE_GRID: Duration = Duration::from_millis(250);
/// Hellos are frequent on a tunnel this young.
const YOUNG: Duration = Duration::from_secs(6);
/// One neighbour's word about another makes us ask at most this often.
const RUMOUR_GAP: Duration = Duration::from_secs(5);
/// On a dead tunnel: redial after this, echo at growing distances, give up.
const REDIAL_AFTER: Duration = Duration::from_secs(1);
const LONGEST_ECHO_GAP: Duration = Duration::from_secs(15);
const GIVE_UP: Duration = Duration::from_secs(180);
/// Deaths less than this apart are counted together. From the second on a revived link costs more for a while,
/// both doubling with each.
const FLAP_MEMORY: Duration = Duration::from_secs(120);
const HOLD_DOWN: Duration = Duration::from_secs(4);
const LONGEST_HOLD_DOWN: Duration = Duration::from_secs(64);
const FLAP_COST: u16 = 500;

/// What a link costs more because it fails often.
pub(super) fn flap_cost(liveness: &Liveness, now: Instant) -> u16 {
    match liveness.held_down {
        Some(until) if until > now => FLAP_COST << liveness.flaps.saturating_sub(2).min(4),
        _ => 0,
    }
}

/// The next multiple of `grid`, so that what is due at about the same time is done at one awakening.
fn on_grid(at: Instant, grid: Duration) -> Instant {
    // Both are far below 2^64 microseconds.
    let grid = grid.as_micros() as u64;
    Instant::from_micros(at.as_micros().div_ceil(grid).saturating_mul(grid))
}

fn round(tunnel: &Tunnel, is_urgent: bool) -> Round {
    let (delivery, rtt) = (&tunnel.liveness.delivery, tunnel.rtt.smoothed);
    if is_urgent {
        Round::urgent(delivery, rtt)
    } else {
        Round::calm(delivery, rtt)
    }
}

/// Data came and went until a moment ago, and now only goes: perhaps what comes and goes is small, and what would
/// be answered is large and does not arrive.
fn has_stalled(handle: &TunnelHandle, now: Instant) -> bool {
    let (Some(received), Some(sent)) = (handle.last_data_received(), handle.last_data_sent()) else {
        return false;
    };
    let quiet = now.saturating_since(received);
    (STALL..STALL_OVER).contains(&quiet) && sent > received + KEEP && handle.mtu() > MIN_MTU
}

fn silence(tunnel: &Tunnel) -> Duration {
    SILENCE + tunnel.rtt.smoothed.unwrap_or_default() / 2
}

impl Node {
    pub(super) fn start_liveness(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        let liveness = &mut tunnel.liveness;
        liveness.usable = true;
        liveness.dead_since = None;
        liveness.probing = None;
        liveness.active = None;
        liveness.interval = FIRST_INTERVAL;
        liveness.peer_interval = IDLE_INTERVAL;
        liveness.delivery.restart();
        self.look_at(id, now + IDLE_INTERVAL);
        self.timers.set(Timer::Echo(id), now + Duration::from_millis(1));
    }

    pub(super) fn look_at(&mut self, id: TunnelId, at: Instant) {
        if let Some(tunnel) = self.tunnels.get_mut(&id) {
            tunnel.liveness.check_at = at;
            self.timers.set(Timer::Liveness(id), at);
        }
    }

    /// Data went out, or came in, on a tunnel that had been quiet that way.
    pub(super) fn data_passes(&mut self, id: TunnelId, now: Instant) {
        let slept = self.tunnels.get(&id).is_some_and(|t| t.doze.is_quiet());
        self.wake_up(now);
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        if !tunnel.is_open() || !tunnel.liveness.usable || tunnel.liveness.active.is_some() {
            return;
        }
        tunnel.liveness.active = Some(now);
        let is_silent = now.saturating_since(tunnel.last_heard()) > silence(tunnel);
        if slept {
            self.await_radio(id, now);
        } else if is_silent && !matches!(tunnel.liveness.probing, Some((.., true))) {
            // It may have died since: better to know before more data is lost.
            return self.probe(id, (now, 0, true), now);
        }
        let at = on_grid(now + KEEP / 2, ACTIVE_GRID);
        let Some(tunnel) = self.tunnels.get(&id) else {
            return;
        };
        if tunnel.liveness.probing.is_none() && at < tunnel.liveness.check_at {
            self.look_at(id, at);
        }
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
        let Some(tunnel) = self.tunnels.get_mut(&id).filter(|t| t.is_open()) else {
            return;
        };
        let heard = tunnel.last_heard();
        let opened_at = tunnel.opened_at;
        let liveness = &mut tunnel.liveness;
        if !liveness.usable {
            if liveness.dead_since.is_some_and(|since| heard > since) {
                return self.revive(id, now);
            }
            return self.check_dead(id, now);
        }
        let late = now.saturating_since(liveness.check_at);
        if late > HELD_UP {
            liveness.excused = now;
            if let Some((since, ..)) = &mut liveness.probing {
                *since += late;
            }
        }
        if liveness.held_down.is_some_and(|until| until <= now) {
            liveness.held_down = None;
            self.tell_cost(id, now);
        }
        let is_young = opened_at.is_some_and(|at| now.saturating_since(at) < YOUNG);
        self.set_interval(id, if is_young { FIRST_INTERVAL } else { IDLE_INTERVAL }, now);
        self.keep_up(id, heard, now);
    }

    /// Says and asks what is due on a tunnel that works as far as we know.
    fn keep_up(&mut self, id: TunnelId, heard: Instant, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        let silence = silence(tunnel);
        let quiet_for = tunnel.last_data().map(|at| now.saturating_since(at));
        let opened_at = tunnel.opened_at.unwrap_or(now);
        let sent = tunnel.handle.last_sent().unwrap_or(Instant::ZERO);
        let liveness = &mut tunnel.liveness;
        if quiet_for.is_none_or(|quiet| quiet >= SPEAK) {
            liveness.active = None;
        }
        let is_active = liveness.active.is_some();
        let has_stalled = is_active && has_stalled(&tunnel.handle, now);
        let mut say_at = is_active.then_some(sent + KEEP);
        if say_at.is_some_and(|at| at <= now) {
            say_at = Some(now + KEEP);
            self.keep_alive(id, now);
        }
        if has_stalled {
            self.recheck_path_mtu(id, Reason::Hint, now);
        }
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        let liveness = &mut tunnel.liveness;
        match liveness.probing {
            Some((since, ..)) if heard > since => liveness.probing = None,
            Some(round) => return self.probe(id, round, now),
            None => {}
        }
        let mut ask_at = heard.max(liveness.excused) + liveness.peer_interval * 5 / 4;
        if let Some(since) = liveness.active
            && quiet_for.is_some_and(|quiet| quiet < EXPECT)
        {
            ask_at = ask_at.min(heard.max(since).max(liveness.excused) + silence);
        }
        if ask_at <= now {
            return self.probe(id, (now, 0, is_active), now);
        }
        let mut next = say_at.map_or(ask_at, |at| at.min(ask_at));
        for more in [Some(opened_at + YOUNG), liveness.held_down] {
            next = more.filter(|at| *at > now).map_or(next, |at| at.min(next));
        }
        self.look_at(id, on_grid(next, if is_active { ACTIVE_GRID } else { IDLE_GRID }));
    }

    /// An empty message: the smallest that proves that we are there.
    pub(super) fn keep_alive(&mut self, id: TunnelId, now: Instant) {
        let Some(handle) = self.tunnels.get(&id).map(|t| Arc::clone(&t.handle)) else {
            return;
        };
        let Some(remote) = handle.endpoint() else { return };
        if let (Sealed::Datagram(datagram) | Sealed::Handshake(datagram), _) =
            handle.seal(now, Class::Control, &[], &mut self.scratch)
        {
            let datagram = datagram.to_vec();
            self.transmit(remote, datagram);
        }
    }

    /// The next echo of a round that began at `since`, or its end.
    fn probe(&mut self, id: TunnelId, (since, sent, is_urgent): (Instant, u32, bool), now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        let round = round(tunnel, is_urgent);
        let due = since + round.next(sent);
        if due > now {
            tunnel.liveness.probing = Some((since, sent, is_urgent));
            return self.look_at(id, due);
        }
        if sent >= round.echoes {
            return self.declare_dead(id, now);
        }
        tunnel.liveness.probing = Some((since, sent + 1, is_urgent));
        self.send_echo(id, now);
        // After a late one the others keep their distance.
        let gap = round.next(sent + 1) - round.next(sent);
        let next = (since + round.next(sent + 1)).max(now + gap / 2);
        self.look_at(id, next);
    }

    /// Asks all neighbours at once, after a change of our own network.
    pub(super) fn probe_all(&mut self, now: Instant) {
        let is_leaf = self.parameters.leaf;
        for id in self.tunnels.keys().copied().collect::<Vec<_>>() {
            let Some(tunnel) = self.tunnels.get_mut(&id) else {
                continue;
            };
            if is_leaf && !has_keys(tunnel, now) && tunnel.outgoing && tunnel.is_open() {
                // It has slept: an echo would have to wait for a handshake, whose repetition is slow.
                self.redial(id, true, now);
            } else if tunnel.is_open() && tunnel.liveness.usable && tunnel.liveness.probing.is_none() {
                self.probe(id, (now, 0, false), now);
            }
        }
    }

    /// Somebody says that a neighbour of ours is silent: both notice sooner if we ask at once.
    pub(super) fn heed_rumour(&mut self, from: TunnelId, router_id: &RouterId, now: Instant) {
        let about = self
            .directory
            .by_router_id(router_id)
            .and_then(|member| self.by_peer.get(&member.bundle.record.node).copied());
        let Some((id, tunnel)) = about.and_then(|id| Some((id, self.tunnels.get_mut(&id)?))) else {
            return;
        };
        let is_fresh = now.saturating_since(tunnel.last_heard()) < KEEP;
        let liveness = &mut tunnel.liveness;
        let is_due = liveness
            .rumour
            .is_none_or(|at| now.saturating_since(at) >= RUMOUR_GAP);
        let is_asked = matches!(liveness.probing, Some((.., true)));
        let sleeps = tunnel.doze.is_quiet();
        if id == from || is_fresh || is_asked || !is_due || sleeps || !tunnel.is_usable() {
            return;
        }
        tunnel.liveness.rumour = Some(now);
        self.probe(id, (now, 0, true), now);
    }

    /// Tells the other neighbours of a death, unless it is we who are cut off.
    fn spread_rumour(&mut self, id: TunnelId, since: Instant, now: Instant) {
        let Some(peer) = self.tunnels.get(&id).and_then(Tunnel::peer) else {
            return;
        };
        let is_connected = self.tunnels.values().any(|t| t.last_heard() > since);
        let died_too = |t: &&Tunnel| {
            let at = t.liveness.dead_since.filter(|_| !t.liveness.usable);
            at.is_some_and(|at| now.saturating_since(at) < RUMOUR_GAP)
        };
        if !is_connected && self.tunnels.values().filter(died_too).count() > 2 {
            return;
        }
        let others: Vec<_> = self
            .tunnels
            .iter()
            .filter(|(_, t)| t.is_usable() && !t.doze.peer_dozes())
            .map(|(id, _)| *id)
            .collect();
        for other in others {
            self.send_link(other, &Message::Silent(peer.router_id()), now);
        }
    }

    pub(super) fn declare_dead(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        let heard = tunnel.last_heard();
        let liveness = &mut tunnel.liveness;
        liveness.usable = false;
        liveness.active = None;
        liveness.probing = None;
        let is_again = liveness
            .dead_since
            .is_some_and(|before| now.saturating_since(before) < FLAP_MEMORY);
        liveness.flaps = if is_again { liveness.flaps + 1 } else { 1 };
        liveness.dead_since = Some(now);
        liveness.dead_echoes = 0;
        tunnel.handle.report_next_receive();
        self.counters.count("neighbour-silent");
        self.babel.set_link_usable(interface(id), false, now);
        self.look_at(id, now + REDIAL_AFTER);
        self.spread_rumour(id, heard, now);
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
        // Who began the tunnel begins it again. If that was the other end and it has restarted, it has other
        // neighbours by now.
        let is_ours_to_dial = tunnel.outgoing && tunnel.dial.is_none();
        self.look_at(id, now + gap);
        self.send_echo(id, now);
        if is_ours_to_dial {
            self.redial(id, true, now);
        }
    }

    /// Begins a handshake on an open tunnel: where the peer was last, and if need be wherever it may be.
    pub(super) fn redial(&mut self, id: TunnelId, everywhere: bool, now: Instant) {
        let Some(tunnel) = self.tunnels.get(&id) else {
            return;
        };
        let current = tunnel.handle.endpoint();
        let mut endpoints: Vec<_> = current.into_iter().collect();
        let member = tunnel.peer().and_then(|node| self.directory.get(&node));
        if let Some(member) = member.filter(|_| everywhere) {
            let known = choice::reachable(member, &self.backoff, &self.endpoints.own(now), now);
            endpoints.extend(known.into_iter().filter(|a| Some(*a) != current));
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
        tunnel.dial = None;
        self.timers.clear(Timer::Dialling(id));
        let liveness = &mut tunnel.liveness;
        liveness.heard = now;
        liveness.probing = None;
        self.beat_answered();
        let Some(liveness) = self.tunnels.get_mut(&id).map(|t| &mut t.liveness) else {
            return;
        };
        if liveness.usable {
            return;
        }
        liveness.usable = true;
        liveness.delivery.restart();
        if let Some(again) = liveness.flaps.checked_sub(2) {
            let hold = (HOLD_DOWN * 2u32.pow(again.min(8))).min(LONGEST_HOLD_DOWN);
            liveness.held_down = Some(now + hold);
            self.counters.count("neighbour-flaps");
        }
        let peer_interval = liveness.peer_interval;
        self.tell_cost(id, now);
        self.look_at(id, now + peer_interval);
        self.babel.set_link_usable(interface(id), true, now);
        // The peer may have started anew meanwhile: hearing from us it says Hello.
        self.send_echo(id, now);
        self.recheck_path_mtu(id, Reason::Settling, now);
    }
}
