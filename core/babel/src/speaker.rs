//! The speaker: one owner, inputs `handle_*`, outputs `poll_*`.

use crate::*;
use core::net::Ipv6Addr;

/// A Babel speaker. See the crate documentation for its life cycle.
#[derive(Debug)]
pub struct Speaker {}

impl Speaker {
    pub fn new(_config: Config, _now: Instant) -> Self { todo!() }

    // Interfaces.
    /// Starts the protocol on an interface: sends a Hello and a wildcard route request soon.
    pub fn add_interface(&mut self, _id: InterfaceId, _config: InterfaceConfig, _now: Instant) { todo!() }
    /// Forgets the interface, its neighbours and all routes through them.
    pub fn remove_interface(&mut self, _id: InterfaceId, _now: Instant) { todo!() }
    /// Changes the Hello interval; a Hello goes out at once (RFC 8966 section 3.4.1).
    pub fn set_hello_interval(&mut self, _id: InterfaceId, _interval: Duration, _now: Instant) { todo!() }
    /// Changes the nominal receive cost, told to the neighbour in the next IHU (at once when it changed much).
    pub fn set_rx_cost(&mut self, _id: InterfaceId, _cost: u16, _now: Instant) { todo!() }
    /// The owner's own evidence about the link: while `false` the cost is infinite whatever the Hellos say.
    pub fn set_link_usable(&mut self, _id: InterfaceId, _usable: bool, _now: Instant) { todo!() }
    /// Added to every metric we announce (saturating; 0 normally). A planned stop raises it, so that
    /// neighbours move away while we still forward.
    pub fn set_announce_penalty(&mut self, _penalty: u16, _now: Instant) { todo!() }

    // Own routes.
    pub fn announce(&mut self, _prefix: IpNet, _metric: u16, _now: Instant) { todo!() }
    pub fn withdraw(&mut self, _prefix: IpNet, _now: Instant) { todo!() }
    /// Queues retractions of everything on every interface. Drain `poll_transmit` afterwards, then drop.
    pub fn retract_all(&mut self, _now: Instant) { todo!() }

    // What the owner learns elsewhere.
    /// Asks the interface's neighbours for a prefix (`None`: everything) by a Route Request.
    pub fn request_route(&mut self, _id: InterfaceId, _prefix: Option<IpNet>, _now: Instant) { todo!() }
    /// Puts every stored route to the authority again, e.g. after a revocation.
    pub fn reauthorise(&mut self, _authority: &mut dyn Authority, _now: Instant) { todo!() }

    // Inputs.
    /// Takes one packet's UDP payload. The caller has checked that `src` is link-local, that both ports are
    /// [`PORT`] and that the hop limit was 1; `dst` tells multicast from unicast.
    pub fn handle_packet(&mut self, _id: InterfaceId, _src: Ipv6Addr, _dst: Ipv6Addr, _payload: &[u8],
        _authority: &mut dyn Authority, _now: Instant) { todo!() }
    pub fn handle_timeout(&mut self, _now: Instant) { todo!() }

    // Outputs: drain after every input.
    pub fn poll_transmit(&mut self) -> Option<Transmit> { todo!() }
    pub fn poll_event(&mut self) -> Option<Event> { todo!() }
    pub fn poll_timeout(&self) -> Option<(Instant, TimerReason)> { todo!() }

    // Views, in a fixed order.
    pub fn routes(&self) -> impl Iterator<Item = RouteView> + '_ { core::iter::empty() }
    pub fn neighbours(&self) -> impl Iterator<Item = NeighbourView> + '_ { core::iter::empty() }
    pub fn selected(&self, _prefix: &IpNet) -> Option<RouteView> { todo!() }
    pub fn counters(&self) -> Counters { todo!() }
    pub fn seqno(&self) -> u16 { todo!() }
}
