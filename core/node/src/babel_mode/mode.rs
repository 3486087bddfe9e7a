//! The loop: one task owns the speaker and everything around it.
//!
//! Each turn has four steps: carry out what the speaker wants (packets, kernel routes), wait for whatever
//! comes first, feed it in, and again. No step waits for a neighbour, so a turn is short.

mod originate;
mod rekey;
mod reload;
mod view;

use super::config::usable_router_id;
use super::control::Server;
use super::interfaces::{self, Link, Watcher};
use super::kernel::{Claim, Installer, KernelTable, TableError, forwarding_is_off};
use super::sockets::{Inbox, Port, Received};
use super::state::{Kept, State};
use super::{Config, Error, Install, LinkKind};
use originate::Follower;
use osier_babel::filter::Rule;
use osier_babel::{
    AcceptAll, Event, Forwarding, Instant, InterfaceConfig, InterfaceId, Limits, MacKey, RouteKey, RouterId,
    RttCost, Speaker,
};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

/// Packets handled before their consequences are carried out; the others wait in the sockets.
const PACKETS_PER_TURN: usize = 64;
/// Kernel routes changed before looking at the sockets again.
const ROUTES_PER_TURN: usize = 128;
/// Between two looks at interfaces that could not be opened, e.g. because their address was still tentative.
const RETRY: Duration = Duration::from_secs(2);
/// Retractions are sent twice, this far apart, because nobody will be here to repeat them.
const SECOND_RETRACTION: Duration = Duration::from_millis(50);

pub(super) async fn run(
    config: Config,
    reloads: mpsc::Receiver<Config>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    config.check()?;
    let _claim = match config.install {
        Install::Table(_) => Some(Claim::on(config.kernel_metric)?),
        Install::None => None,
    };
    let server = Server::listen(&config.control).await?;
    let (connection, handle, _) = rtnetlink::new_connection().map_err(|e| Error::Netlink(e.to_string()))?;
    let netlink = tokio::spawn(connection);
    let kernel = match config.install {
        Install::Table(number) => Some(KernelTable::new(handle.clone(), config.kernel_metric, number)),
        Install::None => None,
    };
    let result = serve(config, handle, kernel, server, reloads, shutdown).await;
    netlink.abort();
    result
}

async fn serve(
    config: Config,
    handle: rtnetlink::Handle,
    kernel: Option<KernelTable>,
    mut server: Server,
    mut reloads: mpsc::Receiver<Config>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut installer = Installer::new(kernel);
    match installer.flush().await.map_err(table_error)? {
        0 => {}
        left => tracing::info!(
            routes = left,
            "removed kernel routes that an earlier run left behind"
        ),
    }
    let forwards = config.install != Install::None;
    for sysctl in forwarding_is_off().into_iter().filter(|_| forwards) {
        tracing::warn!(
            "{sysctl} is 0: neighbours will send packets through this machine and the kernel will drop them; \
             run `sysctl -w {sysctl}=1`"
        );
    }
    let mut watcher = Watcher::new()?;
    let forwarding = installer.forwarding().await.map_err(table_error)?;
    tracing::debug!(?forwarding, "what the kernel can forward by");
    let mut mode = Mode::new(config, handle, installer).await?;
    mode.speaker.set_forwarding(forwarding, mode.clock.now());
    let mut retry = tokio::time::interval(RETRY);
    retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut shutdown = pin!(shutdown);
    loop {
        mode.carry_out().await?;
        let wake = mode.wake();
        tokio::select! {
            () = &mut shutdown => break,
            () = readable(&mode.ports) => mode.receive(),
            went_down = watcher.changed() => {
                mode.follower.stir();
                mode.refresh(&went_down?).await?;
            }
            due = mode.follower.due() => {
                due?;
                mode.originate().await?;
            }
            Some(new) = reloads.recv() => mode.reload(new).await?,
            Some(request) = server.next() => mode.answer(request),
            () = tokio::time::sleep_until(wake) => mode.speaker.handle_timeout(mode.clock.now()),
            _ = retry.tick(), if mode.ports.len() < mode.config.interfaces.len() => {
                mode.refresh(&BTreeSet::new()).await?;
            }
        }
    }
    mode.stop().await
}

/// Also finds out at the start whether we may change routes at all.
fn table_error(error: TableError) -> Error {
    match error {
        TableError::Refused(rustix::io::Errno::PERM) => Error::Permission {
            what: "change kernel routes",
        },
        other => Error::Netlink(other.to_string()),
    }
}

/// Maps the monotonic clock onto the speaker's time line.
#[derive(Clone, Copy, Debug)]
struct Clock {
    epoch: tokio::time::Instant,
}

impl Clock {
    fn now(&self) -> Instant {
        self.ago(Duration::ZERO)
    }

    /// When it was that long ago.
    fn ago(&self, age: Duration) -> Instant {
        let past = self.epoch.elapsed().saturating_sub(age);
        Instant::from_micros(u64::try_from(past.as_micros()).unwrap_or(u64::MAX))
    }

    /// When the speaker's `at` is. The far future when it is too far to say.
    fn real(&self, at: Instant) -> tokio::time::Instant {
        let offset = at.saturating_since(Instant::ZERO);
        self.epoch
            .checked_add(offset)
            .unwrap_or_else(|| tokio::time::Instant::now() + FAR)
    }
}

/// Longer than anyone waits for a timer; we look again then.
const FAR: Duration = Duration::from_secs(3600);

/// Packets that did not pass, over all sockets.
#[derive(Debug, Default)]
struct Drops {
    foreign: u64,
    unsent: u64,
}

/// Waits until a socket has something.
async fn readable(ports: &BTreeMap<InterfaceId, (Link, Port)>) {
    // Each socket is asked, so that each wakes us.
    std::future::poll_fn(|context| {
        let ready = ports
            .values()
            .filter(|(_, port)| port.poll_readable(context).is_ready())
            .count();
        if ready > 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

struct Mode {
    config: Config,
    router_id: RouterId,
    clock: Clock,
    speaker: Speaker,
    handle: rtnetlink::Handle,
    installer: Installer<KernelTable>,
    /// Interfaces on which we speak; the others are down or missing.
    ports: BTreeMap<InterfaceId, (Link, Port)>,
    /// The one whose turn it is to be read first.
    next_port: InterfaceId,
    inbox: Inbox,
    drops: Drops,
    keys: Vec<MacKey>,
    /// What we originate, with its metric.
    announced: BTreeMap<RouteKey, u16>,
    follower: Follower,
    /// By the present numbers of the interfaces.
    install_rules: Vec<Rule>,
    /// Selected, but kept from the kernel by those.
    not_installed: BTreeSet<RouteKey>,
    state: Option<State>,
}

impl Mode {
    async fn new(
        mut config: Config,
        handle: rtnetlink::Handle,
        installer: Installer<KernelTable>,
    ) -> Result<Self, Error> {
        let clock = Clock {
            epoch: tokio::time::Instant::now(),
        };
        let names: BTreeSet<String> = config.interfaces.iter().map(|i| i.name.clone()).collect();
        let links = interfaces::look(&handle, &names).await?;
        for missing in names
            .iter()
            .filter(|name| !links.values().any(|link| &&link.name == name))
        {
            tracing::warn!(interface = %missing, "this interface does not exist (yet)");
        }
        let keys = config.mac.load()?;
        let state = config.state.as_deref().map(open_state).transpose()?;
        let kept = state.as_ref().map(load_state).transpose()?.flatten();
        let router_id = config
            .router_id
            .or(kept.map(|kept| kept.router_id))
            .or_else(|| stable_router_id(&config, &links))
            .or_else(|| state.as_ref().map(|_| random_router_id()))
            .ok_or(Error::NoRouterId)?;
        config.router_id = Some(router_id);
        // Of another router-id the neighbours remember nothing.
        let seqno = match kept.filter(|kept| kept.router_id == router_id) {
            Some(kept) => kept.seqno.wrapping_add(1),
            None => first_seqno(),
        };
        if let Some(state) = &state {
            // Before any packet can tell it.
            state
                .store(Kept { router_id, seqno })
                .map_err(|error| state_error(state.path(), &error))?;
        }
        let speaker = Speaker::new(
            osier_babel::Config {
                router_id,
                seqno,
                seed: std::hash::RandomState::new().build_hasher().finish(),
                limits: Limits::default(),
                forwarding: Forwarding::default(),
            },
            clock.now(),
        );
        tracing::info!(%router_id, "speaking Babel");
        let mut mode = Self {
            config,
            router_id,
            clock,
            speaker,
            handle,
            installer,
            ports: BTreeMap::new(),
            next_port: InterfaceId(0),
            inbox: Inbox::new(),
            drops: Drops::default(),
            keys,
            announced: BTreeMap::new(),
            follower: Follower::default(),
            install_rules: Vec::new(),
            not_installed: BTreeSet::new(),
            state,
        };
        mode.follow_routes().await?;
        // What is wrong from the start is an error and not a warning: somebody is watching.
        mode.follow(links, &BTreeSet::new(), true)?;
        Ok(mode)
    }

    /// When the loop must turn again without being told to.
    fn wake(&self) -> tokio::time::Instant {
        if !self.installer.is_idle() {
            return tokio::time::Instant::now();
        }
        let far = tokio::time::Instant::now() + FAR;
        self.speaker
            .poll_timeout()
            .map_or(far, |(at, _)| self.clock.real(at))
    }

    /// Installs the speaker's routes and sends its packets; a seqno is on the disk before it is on the wire.
    async fn carry_out(&mut self) -> Result<(), Error> {
        while let Some(event) = self.speaker.poll_event() {
            match event {
                Event::RouteChanged {
                    prefix,
                    source,
                    target,
                } => {
                    let key = RouteKey { prefix, source };
                    tracing::debug!(route = %key, ?target, "route changed");
                    // Only rules ask who it comes from.
                    let route = match self.install_rules.is_empty() {
                        true => None,
                        false => self.speaker.selected(key),
                    };
                    self.install(key, route, &target);
                }
                Event::NeighbourUp { interface, address } => {
                    tracing::info!(%address, dev = self.name(interface), "neighbour up");
                }
                Event::NeighbourDown { interface, address } => {
                    tracing::info!(%address, dev = self.name(interface), "neighbour down");
                }
                Event::SeqnoChanged(seqno) => {
                    tracing::debug!(seqno, "own seqno changed");
                    self.keep_seqno(seqno);
                }
            }
        }
        self.transmit();
        self.installer.apply(ROUTES_PER_TURN).await
    }

    /// Without a state directory the next start counts from the clock, see [`first_seqno`].
    fn keep_seqno(&self, seqno: u16) {
        let router_id = self.router_id;
        if let Some(state) = &self.state
            && let Err(error) = state.store(Kept { router_id, seqno })
        {
            tracing::error!(
                "cannot write {}: {error}; after a crash neighbours may not believe us for three minutes",
                state.path().display()
            );
        }
    }

    fn transmit(&mut self) -> Vec<osier_babel::Transmit> {
        let mut sent = Vec::new();
        while let Some(transmit) = self.speaker.poll_transmit() {
            self.send(&transmit);
            sent.push(transmit);
        }
        sent
    }

    /// Gives the speaker what waits in the sockets, one packet of each in turn, so that no link starves another.
    fn receive(&mut self) {
        let mut failed = Vec::new();
        let mut left = PACKETS_PER_TURN;
        let mut emptied = false;
        while !emptied && failed.is_empty() {
            emptied = true;
            let (before, after) = (..self.next_port, self.next_port..);
            for (&id, (_, port)) in self.ports.range(after).chain(self.ports.range(before)) {
                if left == 0 {
                    self.next_port = id;
                    return;
                }
                match port.receive(&mut self.inbox) {
                    Received::Packet(packet) => self.speaker.handle_packet(
                        id,
                        packet.source,
                        packet.destination,
                        packet.payload,
                        &mut AcceptAll,
                        self.clock.ago(packet.age),
                    ),
                    Received::Foreign => self.drops.foreign += 1,
                    Received::Nothing => continue,
                    Received::Failed(error) => failed.push((id, error)),
                }
                left -= 1;
                emptied = false;
            }
        }
        for (id, error) in failed {
            // It is opened anew when interfaces are looked at next.
            tracing::warn!(interface = self.name(id), "cannot receive, closing: {error}");
            self.close(id);
        }
    }

    fn send(&mut self, transmit: &osier_babel::Transmit) {
        let Some((link, port)) = self.ports.get(&transmit.interface) else {
            return;
        };
        if let Err(error) = port.send(transmit.destination, &transmit.payload) {
            self.drops.unsent += 1;
            tracing::debug!(interface = %link.name, "packet not sent: {error}");
        }
    }

    /// Looks at the interfaces and follows them.
    async fn refresh(&mut self, went_down: &BTreeSet<u32>) -> Result<(), Error> {
        let names = self.config.interfaces.iter().map(|i| i.name.clone()).collect();
        let links = interfaces::look(&self.handle, &names).await?;
        self.follow(links, went_down, false)
    }

    fn follow(
        &mut self,
        links: BTreeMap<u32, Link>,
        went_down: &BTreeSet<u32>,
        strict: bool,
    ) -> Result<(), Error> {
        let lost: Vec<InterfaceId> = self
            .ports
            .iter()
            .filter(|(id, (link, _))| went_down.contains(&id.0) || links.get(&id.0) != Some(link))
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            tracing::info!(interface = self.name(id), "interface went down or changed");
            self.close(id);
        }
        for link in links.into_values().filter(|link| link.up) {
            if self.ports.contains_key(&InterfaceId(link.index)) {
                continue;
            }
            match self.open(&link) {
                Ok(()) => {}
                Err(error) if strict => return Err(error),
                Err(error) => tracing::warn!(interface = %link.name, "cannot use the interface: {error}"),
            }
        }
        self.apply_filters();
        Ok(())
    }

    /// Starts speaking on an interface; without a link-local address there is nothing to do yet.
    fn open(&mut self, link: &Link) -> Result<(), Error> {
        let Some(link_local) = link.link_local else {
            return Ok(());
        };
        let Some(options) = self.config.interfaces.iter().find(|i| i.name == link.name) else {
            return Ok(());
        };
        let (rx_cost, kind) = (options.rx_cost, options.kind);
        let (hello_interval, update_interval) = self.config.intervals(options);
        let split_horizon = options.split_horizon.unwrap_or(kind.split_horizon());
        let rtt = RttCost {
            // Without a cost it is only shown.
            cost: if options.rtt { RttCost::default().cost } else { 0 },
            ..RttCost::default()
        };
        let port = Port::open(link.index, &link.name, link_local)?;
        let id = port.id();
        tracing::info!(interface = %link.name, %link_local, rx_cost, "speaking on interface");
        self.ports.insert(id, (link.clone(), port));
        let config = InterfaceConfig {
            cost_model: kind.cost_model(),
            rx_cost,
            hello_interval,
            update_interval,
            link_local,
            ipv4: link.ipv4,
            v4_via_v6: true,
            mtu: u16::try_from(link.mtu).unwrap_or(u16::MAX),
            split_horizon,
            point_to_point: kind == LinkKind::Tunnel,
            rtt: Some(rtt),
        };
        self.authenticate(id)?;
        self.speaker.add_interface(id, config, self.clock.now());
        Ok(())
    }

    fn name(&self, id: InterfaceId) -> String {
        self.ports
            .get(&id)
            .map_or_else(|| id.0.to_string(), |(link, _)| link.name.clone())
    }

    /// Tells the neighbours that we are going, and leaves the kernel as we found it.
    async fn stop(mut self) -> Result<(), Error> {
        tracing::info!("retracting and removing kernel routes");
        self.speaker.retract_all(self.clock.now());
        let retractions = self.transmit();
        let flushed = self.installer.flush().await;
        tokio::time::sleep(SECOND_RETRACTION).await;
        for retraction in retractions {
            self.send(&retraction);
        }
        flushed.map(drop).map_err(table_error)
    }
}

/// From the MAC address of the first interface that has one, as RFC 4291 appendix A makes an identifier of it:
/// the same after each start, as the neighbours' feasibility distances want it.
fn stable_router_id(config: &Config, links: &BTreeMap<u32, Link>) -> Option<RouterId> {
    let mac_of = |name: &String| {
        links
            .values()
            .find(|link| &link.name == name)
            .and_then(|link| link.mac)
    };
    let [a, b, c, d, e, f] = config.interfaces.iter().find_map(|i| mac_of(&i.name))?;
    Some(RouterId([a ^ 2, b, c, 0xff, 0xfe, d, e, f])).filter(|id| usable_router_id(*id))
}

/// For routers without any MAC address; kept in the state directory.
fn random_router_id() -> RouterId {
    let random = std::hash::RandomState::new().build_hasher().finish();
    // Neither all 0 nor all 1.
    RouterId((random & !1 | 1 << 63).to_be_bytes())
}

fn open_state(directory: &std::path::Path) -> Result<State, Error> {
    State::open(directory).map_err(|error| state_error(directory.to_owned(), &error))
}

fn load_state(state: &State) -> Result<Option<Kept>, Error> {
    state.load().map_err(|error| state_error(state.path(), &error))
}

fn state_error(path: PathBuf, error: &dyn std::error::Error) -> Error {
    Error::State {
        path,
        reason: error.to_string(),
    }
}

/// Seconds of the real-time clock, modulo 2^16.
///
/// A restart must not come with an older seqno than the run before, or neighbours that remember our routes
/// find the new ones unfeasible for minutes (RFC 8966 section 3.7.3). Own seqnos rise only on request and
/// seldom, so the clock, at one step a second, is always ahead of them, without any file to keep; and
/// neighbours forget long before half the number space (9 hours) has passed.
fn first_seqno() -> u16 {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    (seconds & 0xffff) as u16
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::InterfaceOptions;
    use super::*;

    fn link(index: u32, name: &str, mac: Option<[u8; 6]>) -> (u32, Link) {
        let link = Link {
            index,
            name: name.into(),
            up: true,
            mtu: 1500,
            mac,
            link_local: None,
            ipv4: None,
        };
        (index, link)
    }

    #[test]
    fn the_router_id_comes_from_the_first_interface_with_a_mac_address() {
        let config = Config::new(
            ["tun0", "eth1", "eth0"].map(InterfaceOptions::new).into(),
            "/run/x",
        );
        let links = BTreeMap::from([
            link(1, "tun0", None),
            link(2, "eth0", Some([2, 0, 0, 0, 0, 1])),
            link(3, "eth1", Some([2, 0, 0, 0, 0, 2])),
        ]);
        assert_eq!(
            stable_router_id(&config, &links).unwrap().to_string(),
            "000000fffe000002"
        );
        assert_eq!(
            stable_router_id(&config, &BTreeMap::from([link(1, "tun0", None)])),
            None
        );
    }

    #[tokio::test]
    async fn the_clock_maps_both_ways() {
        let clock = Clock {
            epoch: tokio::time::Instant::now(),
        };
        let now = clock.now();
        assert!(clock.real(now) <= tokio::time::Instant::now());
        assert_eq!(
            clock.real(Instant::from_micros(5)),
            clock.epoch + Duration::from_micros(5)
        );
    }
}
