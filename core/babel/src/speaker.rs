//! The speaker: one owner, inputs `handle_*`, outputs `poll_*`.
//!
//! The work is in the files beside this one: `links` keeps interfaces and neighbours, `receive` takes packets
//! apart, `routes` changes entries and reacts to new selections, `requests` asks and answers, `announce` finds what
//! others must hear (unless an interface is `quiet`), `send` makes packets of all that waits, with a `writer`, `acknowledgments` sends them again,
//! `timeouts` does what is due.

mod acknowledgments;
mod announce;
mod authentication;
mod links;
mod quiet;
mod receive;
mod requests;
mod routes;
mod send;
mod timeouts;
mod writer;

use crate::authentication::{Authenticator, Nonces};
use crate::entry::{Entry, Key, NeighbourKey, Selection};
use crate::filter::Filters;
use crate::interface::Interface;
use crate::rng::Rng;
use crate::seqno::Seqno;
use crate::table::Table;
use crate::timer::{Timer, Timers};
use crate::{
    Authentication, Authority, Config, Counters, Duration, Event, Forwarding, Instant, InterfaceConfig,
    InterfaceId,
};
use crate::{
    HeldView, NeighbourView, RouteKey, RouteView, RouterId, Standing, TimerReason, Transmit, Verdict,
};
use std::collections::{BTreeMap, VecDeque};

/// A timer that is overdue by this much means that the clock leapt, or that we were suspended.
const LEAP: Duration = Duration::from_millis(500);

/// A Babel speaker. See the crate documentation for its life cycle.
#[derive(Debug)]
pub struct Speaker {
    config: Config,
    filters: Filters,
    /// Of our own routes.
    seqno: Seqno,
    /// The first seqno above those that we have lent to neighbours, see [`quiet`].
    lent_below: Option<Seqno>,
    /// How far raises of our seqno have used up what is granted, see [`requests`].
    raised_until: Instant,
    penalty: u16,
    /// Everything was retracted; nothing finite may leave any more.
    stopping: bool,
    interfaces: BTreeMap<InterfaceId, Interface>,
    authentication: BTreeMap<InterfaceId, Authenticator>,
    nonces: Nonces,
    table: Table,
    /// Seqno requests in all entries.
    pending_requests: usize,
    timers: Timers,
    rng: Rng,
    /// Where our timestamps start, so that they do not tell how long we have been running.
    clock_offset: u32,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    counters: Counters,
}

impl Speaker {
    /// All zeroes and all ones are no router-ids (RFC 8966 section 4.1.3); the last bit of such a one is turned.
    pub fn new(mut config: Config, _now: Instant) -> Self {
        if config.router_id.0 == [0; 8] || config.router_id.0 == [0xff; 8] {
            config.router_id.0[7] ^= 1;
        }
        Self {
            seqno: Seqno(config.seqno),
            lent_below: None,
            raised_until: Instant::ZERO,
            penalty: 0,
            stopping: false,
            interfaces: BTreeMap::new(),
            authentication: BTreeMap::new(),
            nonces: Nonces::default(),
            table: Table::new(config.seed),
            pending_requests: 0,
            timers: Timers::default(),
            rng: Rng::new(config.seed),
            clock_offset: (Rng::new(!config.seed).next() >> 32) as u32,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            config,
            filters: Filters::default(),
        }
    }

    /// Starts the protocol on an interface: sends a Hello and a wildcard route request soon. An interface of
    /// the same number is removed first.
    pub fn add_interface(&mut self, id: InterfaceId, config: InterfaceConfig, now: Instant) {
        self.start_interface(id, config, now);
    }

    /// Forgets the interface, its neighbours and all routes through them.
    pub fn remove_interface(&mut self, id: InterfaceId, now: Instant) {
        self.stop_interface(id, now);
    }

    /// Requires packets on an interface to be authenticated (RFC 8967), or changes the keys; `None`: no longer.
    /// Do it before [`Self::add_interface`], so that no packet leaves or counts without. It stays in force
    /// when the interface is removed and added again. Changing keys loses nothing while old and new ones have
    /// one in common with each neighbour's.
    pub fn set_authentication(
        &mut self,
        id: InterfaceId,
        authentication: Option<Authentication>,
        _now: Instant,
    ) {
        self.replace_authentication(id, authentication);
    }

    /// Changes the Hello interval; a Hello goes out at once (RFC 8966 section 3.4.1).
    pub fn set_hello_interval(&mut self, id: InterfaceId, interval: Duration, now: Instant) {
        if let Some(interface) = self.interfaces.get_mut(&id) {
            interface.set_hello_interval(interval);
            self.hello_by(id, now);
        }
    }

    /// Changes the nominal receive cost, told to the neighbour in the next IHU (at once when it changed much).
    pub fn set_rx_cost(&mut self, id: InterfaceId, cost: u16, now: Instant) {
        if let Some(interface) = self.interfaces.get_mut(&id) {
            interface.config.rx_cost = cost.clamp(1, crate::INFINITY - 1);
            self.recost_all(id, now);
        }
    }

    /// The owner's own evidence about the link: while `false` the cost is infinite whatever the Hellos say.
    /// Routes move at once; Hellos go on, so that the link can be found working again.
    pub fn set_link_usable(&mut self, id: InterfaceId, usable: bool, now: Instant) {
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        if interface.usable == usable {
            return;
        }
        interface.usable = usable;
        if usable {
            interface.greetings = 0;
            self.hello_by(id, now);
        }
        self.recost_all(id, now);
    }

    /// Silences an interface by agreement with its neighbours, or lets it speak again: nothing leaves unasked and
    /// nothing expires meanwhile; see the `quiet` module. For links to nodes that carry nothing for others.
    pub fn set_quiet(&mut self, id: InterfaceId, quiet: bool, now: Instant) {
        if quiet {
            self.silence(id, now);
        } else {
            self.speak_again(id, now);
        }
    }

    /// Before neighbours are asked to be quiet: they may answer for us whoever wants a newer seqno of ours, see the
    /// `quiet` module.
    pub fn lend_seqnos(&mut self) {
        self.lend();
    }

    /// The neighbour on an interface that is quiet has lent us its seqnos: who wants a newer one does not wake it.
    pub fn borrow_seqnos(&mut self, id: InterfaceId, origin: RouterId) {
        self.borrow_from(id, origin);
    }

    /// Added to every metric we announce (saturating; 0 normally). A planned stop raises it, so that
    /// neighbours move away while we still forward.
    pub fn set_announce_penalty(&mut self, penalty: u16, now: Instant) {
        if core::mem::replace(&mut self.penalty, penalty) != penalty {
            self.announce_all(now);
        }
    }

    /// Originates a prefix, or changes the metric of one we originate. It takes precedence over what others
    /// announce. Nothing happens when prefix and source are of different families.
    pub fn announce(&mut self, route: impl Into<RouteKey>, metric: u16, now: Instant) {
        let Some(key) = Key::new(route) else {
            return;
        };
        if let Some(entry) = self.table.get_or_new(key) {
            entry.own = Some(metric);
        }
        self.reselect(key, now);
        self.trigger(key, now);
    }

    /// Stops originating a prefix: it is retracted, unless somebody else's route replaces ours.
    pub fn withdraw(&mut self, route: impl Into<RouteKey>, now: Instant) {
        let Some(key) = Key::new(route) else {
            return;
        };
        if self
            .table
            .get_mut(&key)
            .is_some_and(|entry| entry.own.take().is_some())
        {
            self.reselect(key, now);
        }
    }

    /// Queues retractions of everything on every interface. Drain `poll_transmit` afterwards, then drop.
    pub fn retract_all(&mut self, now: Instant) {
        self.stopping = true;
        self.send_wildcard_retractions(now);
    }

    /// Asks the interface's neighbours for a prefix (`None`: everything) by a Route Request.
    pub fn request_route(&mut self, id: InterfaceId, route: Option<impl Into<RouteKey>>, now: Instant) {
        let wanted = match route.map(Key::new) {
            None => None,
            Some(Some(key)) => Some(key),
            Some(None) => return,
        };
        let at = self.urgent(now);
        self.enqueue(id, None, at, |queue| {
            queue.route_requests.insert(wanted);
        });
    }

    /// The owner found out what it can forward by: routes are selected anew where that matters.
    pub fn set_forwarding(&mut self, forwarding: Forwarding, now: Instant) {
        self.config.forwarding = forwarding;
        for key in self.table.keys() {
            let mut changed = false;
            for route in self
                .table
                .get_mut(&key)
                .into_iter()
                .flat_map(|entry| entry.routes.values_mut())
            {
                let installable = key.is_installable(route.next_hop, forwarding);
                changed |= core::mem::replace(&mut route.installable, installable) != installable;
            }
            if changed {
                self.reselect(key, now);
            }
        }
    }

    /// Puts every stored route to the authority again, e.g. after a revocation.
    pub fn reauthorise(&mut self, authority: &mut dyn Authority, now: Instant) {
        for key in self.table.keys() {
            self.reauthorise_entry(key, authority, now);
        }
    }

    /// Puts new import and export rules in force: stored routes are judged anew by them and by the authority,
    /// and what that changes is announced.
    pub fn set_filters(&mut self, filters: Filters, authority: &mut dyn Authority, now: Instant) {
        if self.filters == filters {
            return;
        }
        self.filters = filters;
        self.reauthorise(authority, now);
        for key in self.table.keys() {
            self.trigger(key, now);
        }
    }

    /// Changes the interval of full updates; the next one goes out within the new interval.
    pub fn set_update_interval(&mut self, id: InterfaceId, interval: Duration, now: Instant) {
        if let Some(interface) = self.interfaces.get_mut(&id) {
            interface.set_update_interval(interval);
            // The first update tells the neighbours the new interval, so it may not come later than promised.
            self.timers
                .set_by(Timer::Update(id), now + self.rng.shortened(interval));
        }
    }

    /// Takes one packet's UDP payload. The caller has checked that `src` is link-local, that both ports are
    /// [`crate::PORT`] and that the hop limit was 1; `dst` tells multicast from unicast.
    pub fn handle_packet(
        &mut self,
        id: InterfaceId,
        src: core::net::Ipv6Addr,
        dst: core::net::Ipv6Addr,
        payload: &[u8],
        authority: &mut dyn Authority,
        now: Instant,
    ) {
        self.receive(id, src, dst, payload, authority, now);
    }

    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        // After a leap of the clock losses come first, whatever was due before them: nothing may leave any more
        // that rests on a route or neighbour that is overdue.
        if self.next_timeout().is_some_and(|(due, _)| due + LEAP < now) {
            self.lose_overdue(now);
        }
        while self.do_next(now) {}
    }

    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] is next needed, and what for.
    pub fn poll_timeout(&self) -> Option<(Instant, TimerReason)> {
        self.next_timeout()
    }

    /// When the next packet is to leave: what cannot wait when everything else can.
    pub fn poll_packet_timeout(&self) -> Option<(Instant, TimerReason)> {
        self.timers.first_packet().map(|(at, timer)| (at, timer.reason()))
    }

    /// Every route in the table, by prefix.
    pub fn routes(&self) -> impl Iterator<Item = RouteView> + '_ {
        self.table.iter().flat_map(|(key, entry)| {
            entry
                .routes
                .keys()
                .filter_map(|neighbour| self.route_view(key, entry, *neighbour))
        })
    }

    /// Every prefix that is held unreachable, in order.
    pub fn held(&self) -> impl Iterator<Item = HeldView> + '_ {
        self.table
            .iter()
            .filter_map(|(key, entry)| match &entry.selected {
                Selection::Held {
                    since,
                    until,
                    awaiting,
                } => Some(HeldView {
                    prefix: key.prefix,
                    source: key.source,
                    since: *since,
                    until: *until,
                    awaiting: awaiting.len(),
                }),
                _ => None,
            })
    }

    /// Every neighbour, by interface and address.
    pub fn neighbours(&self) -> impl Iterator<Item = NeighbourView> + '_ {
        self.interfaces.iter().flat_map(|(id, interface)| {
            interface
                .neighbours
                .iter()
                .map(|(address, neighbour)| NeighbourView {
                    interface: *id,
                    address: *address,
                    cost: neighbour.cost,
                    rx_cost: neighbour.rx_cost,
                    tx_cost: neighbour.tx_cost,
                    hello_history: neighbour.multicast.bits() | neighbour.unicast.bits(),
                    last_heard: neighbour.last_heard,
                    rtt: neighbour.rtt.estimate(),
                })
        })
    }

    /// The route in use for exactly this prefix and source; `None` also for prefixes of our own.
    pub fn selected(&self, route: impl Into<RouteKey>) -> Option<RouteView> {
        let key = Key::new(route)?;
        let entry = self.table.get(&key)?;
        let (neighbour, _) = entry.selected_route()?;
        self.route_view(&key, entry, neighbour)
    }

    fn route_view(&self, key: &Key, entry: &Entry, neighbour: NeighbourKey) -> Option<RouteView> {
        let route = entry.routes.get(&neighbour)?;
        let link_down = self
            .neighbour(neighbour.0, neighbour.1)
            .is_none_or(|n| n.cost == crate::INFINITY);
        let standing = entry.standing(neighbour, link_down);
        Some(RouteView {
            prefix: key.prefix,
            source: key.source,
            interface: neighbour.0,
            neighbour: neighbour.1,
            next_hop: route.next_hop,
            router_id: route.router_id,
            seqno: route.seqno.0,
            reference_metric: route.worse.map_or(route.reference, |(_, metric)| metric),
            metric: route.metric,
            feasible: entry.is_feasible(route),
            selected: standing == Standing::Selected,
            standing,
        })
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Of our own routes.
    pub fn seqno(&self) -> u16 {
        self.seqno.0
    }

    /// An instant as a timestamp of ours: microseconds modulo 2^32 (RFC 9616 section 3.1).
    fn timestamp(&self, at: Instant) -> u32 {
        ((at.as_micros() & 0xffff_ffff) as u32).wrapping_add(self.clock_offset)
    }

    /// A time within the jitter of what cannot wait.
    fn urgent(&mut self, now: Instant) -> Instant {
        now + self.rng.between(crate::output::URGENT.0, crate::output::URGENT.1)
    }

    /// Adds to the queue for a destination on an interface (`None`: all neighbours), which leaves by `at`.
    fn enqueue(
        &mut self,
        id: InterfaceId,
        destination: Option<core::net::Ipv6Addr>,
        at: Instant,
        add: impl FnOnce(&mut crate::output::Queue),
    ) {
        if let Some(interface) = self.interfaces.get_mut(&id) {
            let queue = interface.output.queue(destination);
            add(queue);
            queue.due_by(at);
            self.timers.set_by(Timer::Flush(id), at);
        }
    }
}

/// The metric that a verdict adds; `None`: refused.
fn penalty_of(verdict: Verdict) -> Option<u16> {
    match verdict {
        Verdict::Accept => Some(0),
        Verdict::Penalise(penalty) => Some(penalty),
        Verdict::Refuse => None,
    }
}
