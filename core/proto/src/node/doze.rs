//! How a leaf sleeps, so that the radio of the machine it runs on can.
//!
//! A leaf through which nothing has passed for half a minute asks its neighbours to be quiet ([`Message::Doze`]); each
//! agrees ([`Message::DozeTaken`]). From then on neither end says anything unasked over that tunnel: Babel is silent
//! and forgets nothing ([`Speaker::set_quiet`]), nobody gossips, measures or spreads rumours. When all have agreed the
//! leaf *dozes*: only every [`BEAT`] it sends each neighbour an empty message, or a handshake where the keys have run
//! out, all in one burst, and each answers with an empty message. Seqnos that others want of it its neighbours make up
//! from those that it has lent them ([`Speaker::lend_seqnos`]). The beat keeps NATs open and proves to both ends
//! that the other is there. Whatever else the leaf wants to do, and can wait, is done at the next beat.
//!
//! Data wakes it, whichever way it goes, and so do a neighbour that comes or goes or does not answer a beat, and
//! another network: it speaks Babel again, which tells its neighbours that it is awake, and they tell it what has
//! changed. Until then it forwards by the routes it had: nobody routes through a leaf, so no loop can come of it.
//!
//! When the machine itself was asleep, or was without a network, everything known of neighbours is stale: none is
//! believed to be there before it has answered a new handshake, and those begin at once ([`Node::notice_sleep`]).
//!
//! [`Speaker::set_quiet`]: osier_babel::Speaker::set_quiet
//! [`Speaker::lend_seqnos`]: osier_babel::Speaker::lend_seqnos

use super::{
    DownReason, Node,
    timers::Timer,
    tunnel::{IDLE_INTERVAL, Phase, Tunnel},
    tunnels::interface,
};
use crate::{Duration, Instant, link::Message, tunnel::TunnelId};
use core::net::{IpAddr, SocketAddr};

/// How often a dozing leaf speaks: NATs keep UDP mappings for two minutes or more (RFC 4787, REQ-5).
const BEAT: Duration = Duration::from_secs(110);
/// What a neighbour's beat may be.
const BEATS: (u16, u16) = (10, 600);
/// Data keeps a leaf awake for this long, and so does a tunnel that has just opened.
const AWAKE: Duration = Duration::from_secs(30);
/// Between looks whether it may doze, and between requests to be quiet; so many are made in a row.
const LOOK: Duration = Duration::from_secs(5);
const ASK: Duration = Duration::from_secs(1);
const ASKS: u32 = 5;
/// With a neighbour that does not know how to be quiet the leaf stays awake, and asks again after this.
const ASK_AGAIN: Duration = Duration::from_secs(600);
/// A beat without an answer is followed by a handshake after the first time; after the second the neighbour is dead.
const HURRY: Duration = Duration::from_secs(1);
const GONE: Duration = Duration::from_secs(4);
/// Keys older than this would not last: they are renewed with the beat.
const OLD_KEYS: Duration = Duration::from_secs(170);
/// Awake, it asks for what it has missed after this.
const NEWS: Duration = Duration::from_millis(500);
/// One answer serves what comes within this time.
const ANSWERED: Duration = Duration::from_secs(5);
/// A radio that sleeps takes up to this long to hand over what came for it.
const RADIO: Duration = Duration::from_secs(2);
/// A timer that is this late went off in a machine that was asleep: by now others take it for dead.
const SLEPT: Duration = Duration::from_secs(150);
/// After that, new neighbours are looked for if the old ones do not answer in this time.
const REJOIN: Duration = Duration::from_secs(1);

/// Of the node.
#[derive(Debug, Default)]
pub(super) struct Sleep {
    /// The next beat; `None` while awake.
    beat: Option<Instant>,
    /// When the beat began that some neighbours have not answered yet.
    began: Option<Instant>,
    /// When something last happened that keeps us awake.
    stirred: Option<Instant>,
    /// The last input: the machine did not sleep before it.
    seen: Instant,
    /// The old neighbours have until then to come back before others are dialled.
    rejoining: Instant,
    /// There is no network: nothing is sent, and nothing is due.
    offline: bool,
}

impl Sleep {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            seen: now,
            ..Self::default()
        }
    }

    pub(super) fn is_offline(&self) -> bool {
        self.offline
    }

    pub(super) fn rejoining(&self) -> Instant {
        self.rejoining
    }
}

/// Of one tunnel.
#[derive(Debug, Default)]
pub(super) struct Doze {
    /// Requests to be quiet that we have made, and when the last.
    asks: u32,
    asked: Option<Instant>,
    /// The neighbour has agreed.
    agreed: bool,
    /// The neighbour is a leaf, dozes, and speaks this often.
    peer: Option<Duration>,
    /// When it was last answered by a handshake.
    pub(super) answered: Option<Instant>,
}

impl Doze {
    /// Whether both ends have agreed to be quiet, whoever asked for it.
    pub(super) fn is_quiet(&self) -> bool {
        self.agreed || self.peer.is_some()
    }

    pub(super) fn peer_dozes(&self) -> bool {
        self.peer.is_some()
    }
}

/// Whether the addresses say that there is no network. Those who have never had any but loopback live on it.
fn is_offline(local: &[SocketAddr], before: &[SocketAddr], was_offline: bool) -> bool {
    let leads_out = |a: &SocketAddr| match a.ip() {
        IpAddr::V4(v4) => !v4.is_loopback(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    };
    !local.iter().any(leads_out) && (local.is_empty() || was_offline || before.iter().any(leads_out))
}

/// Whether there are keys that will last for a while.
pub(super) fn has_keys(tunnel: &Tunnel, now: Instant) -> bool {
    let agreed = tunnel.handle.session().last_handshake(now);
    agreed.is_some_and(|at| now.saturating_since(at) < OLD_KEYS)
}

// The leaf's side.
impl Node {
    /// Until when everything but packets that are ready can wait.
    pub(super) fn waits_until(&self) -> Option<Instant> {
        let at_rest = self.sleep.began.is_none() && !self.stop.is_stopping();
        let all_quiet = || self.tunnels.values().all(|t| t.is_open() && t.doze.agreed);
        self.sleep.beat.filter(|_| at_rest && all_quiet())
    }

    /// A leaf looks from now on whether it may doze; others do not.
    pub(super) fn consider_dozing(&mut self, now: Instant) {
        if self.parameters.leaf {
            self.timers.set(Timer::Doze, now + LOOK);
        } else {
            self.timers.clear(Timer::Doze);
        }
    }

    pub(super) fn step_doze(&mut self, now: Instant) {
        if !self.parameters.leaf || self.stop.is_stopping() {
            return;
        }
        match (self.sleep.beat, self.sleep.began) {
            (Some(_), Some(began)) => self.hurry(began, now),
            (Some(at), None) if at <= now => self.beat(now),
            (Some(at), None) => self.timers.set(Timer::Doze, at),
            (None, _) if self.is_idle(now) && !self.shed_surplus(now) => self.ask_for_quiet(now),
            (None, _) => self.timers.set(Timer::Doze, now + LOOK),
        }
    }

    /// Closes a tunnel that is one too many.
    fn shed_surplus(&mut self, now: Instant) -> bool {
        let outgoing = self.tunnels.values().filter(|t| t.outgoing).count();
        let surplus = self
            .least_useful(now)
            .filter(|_| outgoing > self.parameters.outgoing);
        if let Some(id) = surplus {
            self.begin_replacing(id, now);
            self.timers.set(Timer::Doze, now + LOOK);
        }
        surplus.is_some()
    }

    /// Whether there are neighbours and nothing to do.
    fn is_idle(&self, now: Instant) -> bool {
        let is_past = |at: Option<Instant>| at.is_none_or(|at| now.saturating_since(at) >= AWAKE);
        let is_settled = |t: &Tunnel| t.is_usable() && is_past(t.opened_at) && is_past(t.last_data());
        !self.tunnels.is_empty()
            && is_past(self.sleep.stirred)
            && self.waiting.next().is_none()
            && self.replacing.is_none()
            && self.tunnels.values().all(is_settled)
    }

    fn ask_for_quiet(&mut self, now: Instant) {
        let (mut asked, mut refused) = (false, false);
        for id in self.tunnels.keys().copied().collect::<Vec<_>>() {
            let Some(doze) = self.tunnels.get_mut(&id).map(|t| &mut t.doze) else {
                continue;
            };
            if doze.agreed {
                continue;
            }
            if doze.asks >= ASKS {
                doze.asks = 0;
                refused = true;
                continue;
            }
            asked = true;
            self.ask_to_be_quiet(id, now);
        }
        match (asked, refused) {
            (_, true) => {
                self.wake_up(now);
                self.timers.set(Timer::Doze, now + ASK_AGAIN);
            }
            (true, false) => self.timers.set(Timer::Doze, now + ASK),
            (false, false) => self.fall_asleep(now),
        }
    }

    fn ask_to_be_quiet(&mut self, id: TunnelId, now: Instant) {
        if let Some(tunnel) = self.tunnels.get_mut(&id) {
            tunnel.doze.asks += 1;
            tunnel.doze.asked = Some(now);
            self.babel.lend_seqnos();
            // 110 fits.
            let interval = BEAT.as_secs() as u16;
            self.send_link(id, &Message::Doze { interval }, now);
        }
    }

    /// A neighbour is quiet from now on.
    pub(super) fn take_doze_taken(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        if !self.parameters.leaf || tunnel.doze.asked.is_none() {
            return self.counters.count("doze-unasked");
        }
        tunnel.doze.asks = 0;
        tunnel.doze.agreed = true;
        self.babel.set_quiet(interface(id), true, now);
        // Else it would wonder, as WireGuard does, why its last message has brought nothing back.
        self.keep_alive(id, now);
        if self.sleep.beat.is_none() && self.tunnels.values().all(|t| t.doze.agreed) {
            self.fall_asleep(now);
        }
    }

    fn fall_asleep(&mut self, now: Instant) {
        self.counters.count("doze");
        self.sleep.beat = Some(now + BEAT);
        self.sleep.began = None;
        self.timers.set(Timer::Doze, now + BEAT);
        self.timers.clear(Timer::Refresh);
        for id in self.tunnels.keys() {
            for timer in [Timer::Liveness(*id), Timer::Echo(*id), Timer::Digest(*id)] {
                self.timers.clear(timer);
            }
        }
    }

    /// A neighbour that has agreed speaks all the same: it did not get what we said last.
    pub(super) fn insist_on_quiet(&mut self, id: TunnelId, now: Instant) {
        let is_due =
            |t: &&Tunnel| t.doze.agreed && t.doze.asked.is_none_or(|at| now.saturating_since(at) >= ASK);
        if self.tunnels.get(&id).filter(is_due).is_some() {
            self.ask_to_be_quiet(id, now);
        }
    }

    fn beat(&mut self, now: Instant) {
        self.sleep.beat = Some(now + BEAT);
        self.sleep.began = Some(now);
        self.timers.set(Timer::Doze, now + HURRY);
        for id in self.tunnels.keys().copied().collect::<Vec<_>>() {
            let Some(tunnel) = self.tunnels.get(&id) else {
                continue;
            };
            tunnel.handle.report_next_receive();
            if has_keys(tunnel, now) {
                self.keep_alive(id, now);
            } else {
                self.redial(id, false, now);
            }
        }
    }

    /// Something authentic came: if that was the last answer to a beat, all rest again.
    pub(super) fn beat_answered(&mut self) {
        if let (Some(began), Some(next)) = (self.sleep.began, self.sleep.beat)
            && self.tunnels.values().all(|t| t.last_heard() >= began)
        {
            self.sleep.began = None;
            self.timers.set(Timer::Doze, next);
        }
    }

    /// What comes in our sleep gets an answer, if only an empty one: WireGuard takes silence after data for a reason to
    /// begin a handshake, 15 s later.
    pub(super) fn answer_in_sleep(&mut self, id: TunnelId, now: Instant) {
        let owes_answer = |t: &Tunnel| t.doze.agreed && t.handle.last_sent().is_none_or(|at| at < now);
        if self.waits_until().is_some()
            && self.babel.poll_packet_timeout().is_none()
            && self.tunnels.get(&id).is_some_and(owes_answer)
        {
            self.keep_alive(id, now);
        }
    }

    /// Not all have answered.
    fn hurry(&mut self, began: Instant, now: Instant) {
        let silent = self.tunnels.iter().filter(|(_, t)| t.last_heard() < began);
        let silent: Vec<TunnelId> = silent.map(|(id, _)| *id).collect();
        if now.saturating_since(began) < GONE {
            self.timers.set(Timer::Doze, began + GONE);
            silent.into_iter().for_each(|id| self.redial(id, true, now));
            return;
        }
        self.wake_up(now);
        silent.into_iter().for_each(|id| self.declare_dead(id, now));
    }

    /// Something happens: the leaf and its neighbours speak as usual, at once.
    pub(super) fn wake_up(&mut self, now: Instant) {
        if !self.parameters.leaf {
            return;
        }
        self.sleep.stirred = Some(now);
        let slept = self.sleep.beat.take().is_some();
        self.sleep.began = None;
        for id in self.tunnels.keys().copied().collect::<Vec<_>>() {
            if let Some(tunnel) = self.tunnels.get_mut(&id)
                && core::mem::take(&mut tunnel.doze.agreed)
            {
                tunnel.doze.asks = 0;
                self.resume_link(id, now);
            }
        }
        if slept {
            self.timers.set(Timer::Doze, now + LOOK);
            let refresh = self.random.around(self.parameters.refresh);
            self.timers.set(Timer::Refresh, now + refresh);
        }
    }

    fn resume_link(&mut self, id: TunnelId, now: Instant) {
        self.babel.set_quiet(interface(id), false, now);
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        tunnel.liveness.excused = tunnel.liveness.excused.max(now);
        tunnel.liveness.peer_interval = IDLE_INTERVAL;
        let has_news = !tunnel.outbox.is_empty();
        self.look_at(id, now + IDLE_INTERVAL);
        self.timers.set(Timer::Echo(id), now + Duration::from_millis(1));
        if self.parameters.leaf {
            // The answer is a newer revocation list, if there is one.
            self.timers.set(Timer::Digest(id), now + NEWS);
        } else {
            self.schedule_digest(id, now);
        }
        if has_news {
            self.timers
                .advance(Timer::Gossip(id), now + crate::mesh::gossip::GATHER);
        }
    }
}

// The neighbour's side.
impl Node {
    /// A leaf wants to sleep.
    pub(super) fn take_doze(&mut self, id: TunnelId, interval: u16, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else {
            return;
        };
        if !tunnel.leaf || !tunnel.is_usable() {
            return self.counters.count("doze-refused");
        }
        let interval = Duration::from_secs(interval.clamp(BEATS.0, BEATS.1).into());
        tunnel.doze.peer = Some(interval);
        tunnel.liveness.peer_interval = interval;
        tunnel.liveness.probing = None;
        tunnel.handle.report_next_receive();
        let peer = tunnel.peer();
        for timer in [Timer::Echo(id), Timer::Digest(id), Timer::Gossip(id)] {
            self.timers.clear(timer);
        }
        self.babel.set_quiet(interface(id), true, now);
        if let Some(peer) = peer {
            self.babel.borrow_seqnos(interface(id), peer.router_id());
        }
        self.send_link(id, &Message::DozeTaken, now);
        self.look_at(id, now + interval);
    }

    /// Answers the beat of a leaf.
    pub(super) fn answer_beat(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get(&id).filter(|t| t.doze.peer.is_some()) else {
            return;
        };
        tunnel.handle.report_next_receive();
        let spoke = tunnel.handle.last_sent().max(tunnel.doze.answered);
        if spoke.is_none_or(|at| now.saturating_since(at) >= ANSWERED) {
            self.keep_alive(id, now);
        }
    }

    /// Data goes to a leaf that sleeps: silence means nothing until its radio is awake.
    pub(super) fn await_radio(&mut self, id: TunnelId, now: Instant) {
        if let Some(tunnel) = self.tunnels.get_mut(&id) {
            tunnel.liveness.excused = tunnel.liveness.excused.max(now + RADIO);
        }
    }

    /// A leaf speaks Babel again.
    pub(super) fn peer_wakes(&mut self, id: TunnelId, now: Instant) {
        if let Some(tunnel) = self.tunnels.get_mut(&id)
            && tunnel.doze.peer.take().is_some()
        {
            self.resume_link(id, now);
        }
    }
}

// When the machine slept, or had no network.
impl Node {
    /// To be called with every input: if a timer should have gone off minutes ago, and nothing has come since, nothing
    /// is believed any more. That a timer is overdue says little by itself: an input may set one for a time that is
    /// past, and a leaf puts its timers off.
    pub(super) fn notice_sleep(&mut self, now: Instant) {
        let seen = core::mem::replace(&mut self.sleep.seen, now);
        if seen + SLEPT >= now {
            return;
        }
        let due = self.poll_timeout().map(|(due, _)| due.max(seen));
        if !self.stop.is_stopping() && due.is_some_and(|due| due + SLEPT < now) {
            self.counters.count("slept");
            self.rejoin(now);
        }
    }

    /// Whether there is a network, as our addresses tell: a leaf without one does nothing at all.
    pub(super) fn notice_network(&mut self, local: &[SocketAddr], now: Instant) {
        let was = self.sleep.offline;
        self.sleep.offline = self.parameters.leaf && is_offline(local, &self.endpoints.local, was);
        match (was, self.sleep.offline) {
            (false, true) => {
                self.forget_answers(now);
                self.transmits.clear();
            }
            (true, false) => self.rejoin(now),
            _ => {}
        }
    }

    /// Begins new handshakes with all neighbours.
    fn rejoin(&mut self, now: Instant) {
        self.endpoints.forget_observations();
        self.backoff.clear();
        self.forget_answers(now);
        let ours = self.tunnels.iter().filter(|(_, t)| t.outgoing);
        for id in ours.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.redial(id, true, now);
        }
        self.sleep.rejoining = now + REJOIN;
        self.timers.set(Timer::Dial, now + REJOIN);
        self.consider_dozing(now);
    }

    /// No neighbour is there until it has answered; nobody is to blame.
    fn forget_answers(&mut self, now: Instant) {
        self.sleep.beat = None;
        self.sleep.began = None;
        self.sleep.stirred = Some(now);
        for id in self.tunnels.keys().copied().collect::<Vec<_>>() {
            let Some(tunnel) = self.tunnels.get_mut(&id) else {
                continue;
            };
            if tunnel.phase != Phase::Open {
                self.close_tunnel(id, DownReason::Silent, now);
                continue;
            }
            tunnel.doze = Doze::default();
            tunnel.dial = None;
            let liveness = &mut tunnel.liveness;
            liveness.usable = false;
            liveness.active = None;
            liveness.probing = None;
            liveness.dead_since = Some(now);
            liveness.dead_echoes = 0;
            tunnel.handle.report_next_receive();
            self.timers.clear(Timer::Dialling(id));
            self.babel.set_link_usable(interface(id), false, now);
            self.babel.set_quiet(interface(id), false, now);
            self.look_at(id, now + REJOIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_offline;
    use core::net::SocketAddr;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter()
            .map(|a| a.parse().unwrap_or_else(|_| unreachable!("an address")))
            .collect()
    }

    #[test]
    fn a_machine_whose_last_address_goes_is_offline_and_one_that_lives_on_loopback_is_not() {
        let (lo, wifi) = (
            addresses(&["127.0.0.1:1", "[::1]:1"]),
            addresses(&["127.0.0.1:1", "192.0.2.1:1"]),
        );
        let local_only = addresses(&["[fe80::1]:1"]);
        assert!(is_offline(&[], &[], false) && is_offline(&[], &wifi, false));
        assert!(
            is_offline(&lo, &wifi, false)
                && is_offline(&lo, &lo, true)
                && is_offline(&local_only, &wifi, false)
        );
        assert!(!is_offline(&lo, &[], false) && !is_offline(&lo, &lo, false));
        assert!(!is_offline(&wifi, &lo, true) && !is_offline(&wifi, &wifi, false));
    }
}
