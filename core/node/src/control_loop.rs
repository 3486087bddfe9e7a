//! The control task: the one owner of the [`Node`].
//!
//! Each turn takes one input (a message of the packet threads, a timer, a question of the control API, news of
//! the registry, the network or the router), gives it to the node, and then carries out whatever the node wants:
//! the forwarding table first, so that a route is used before it is announced. Nothing here waits for anything
//! but the next input: disk, registry and router are tasks of their own.

mod asks;
mod connection;
mod lifecycle;
mod views;
mod wakeups;

pub(crate) use asks::{Ask, ProbeAnswer, Target};

use crate::{
    alarm::Alarm,
    clock::{self, Clock},
    connection as seen,
    control::types::{ConnectionState, Event, EventLine, Health},
    health::{self, Conditions},
    membership::{Sequences, encode_bundles},
    packet_threads::{Batch, FromPath, Shared},
    registry::{Job, RegistryError, Report, Worker},
    settings::Settings,
    state::Item,
    storage::Storage,
    udp::DEFAULT_PORT,
    usage::Meter,
};
use osier_proto::{
    Instant, Node, Snapshot,
    certificate::Certificate,
    identity::NodeId,
    network::Network,
    node::{self, Command, Request},
    wallclock::UnixTime,
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    time::Instant as Moment,
};

/// Messages of the packet threads handled in one turn.
const BURST: usize = 64;
/// Changes of the member set are collected for this long before the cache is written; it is written no more often than
/// every [`CACHE_REST`]. The first save comes soon, so that a node that crashes early still knows whom it met.
const CACHE_DELAY: Duration = Duration::from_millis(200);
const CACHE_REST: Duration = Duration::from_secs(2);
/// Clock and health are looked at this often.
const HOUSEKEEPING: Duration = Duration::from_secs(60);
/// Probes that wait for an answer.
const PROBES: usize = 4096;

/// What the loop is built from.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) alarm: Alarm,
    pub(crate) node: Node,
    pub(crate) network: Network,
    pub(crate) certificate: Certificate,
    pub(crate) shared: Shared,
    pub(crate) from_path: mpsc::Receiver<FromPath>,
    pub(crate) asks: mpsc::Receiver<Ask>,
    pub(crate) addresses: watch::Receiver<Vec<IpAddr>>,
    pub(crate) links: watch::Receiver<Vec<crate::netwatch::Link>>,
    pub(crate) mapped: Option<watch::Receiver<Option<SocketAddr>>>,
    pub(crate) registry: RegistryLink,
    pub(crate) storage: Storage,
    pub(crate) events: broadcast::Sender<EventLine>,
    pub(crate) settings: SettingsSource,
    pub(crate) sequences: Sequences,
    pub(crate) usage: Meter,
    pub(crate) recovered: Vec<Item>,
    pub(crate) port_was_asked_for: bool,
    pub(crate) runs_without_tun: bool,
}

/// The registry worker and what it takes to replace it.
pub(crate) struct RegistryLink {
    pub(crate) worker: Option<Worker>,
    pub(crate) reports: mpsc::Receiver<Report>,
    pub(crate) restart: RegistryStarter,
    pub(crate) urls: Vec<String>,
}

impl std::fmt::Debug for RegistryLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryLink")
            .field("urls", &self.urls)
            .finish_non_exhaustive()
    }
}

/// Makes a worker for new settings, of which the newest revocation list has this number.
pub(crate) type RegistryStarter = Box<dyn Fn(&Settings, u64) -> (Option<Worker>, Vec<String>) + Send>;

/// Where settings are read again from, and what the front end put on top.
#[derive(Debug)]
pub(crate) struct SettingsSource {
    pub(crate) dir: PathBuf,
    pub(crate) current: Settings,
    pub(crate) config: crate::Config,
}

#[derive(Debug)]
pub(crate) struct ControlLoop {
    parts: Parts,
    /// For packets that control itself originates.
    batch: Batch,
    started: Instant,
    probes: BTreeMap<u64, oneshot::Sender<ProbeAnswer>>,
    next_probe: u64,
    /// Names of nodes as events told them.
    names: BTreeMap<NodeId, String>,
    cache_due: Option<Moment>,
    /// Not before this is it written again.
    cache_rests_until: Moment,
    /// `None` while the device sleeps.
    housekeeping_due: Option<Instant>,
    wakeups: wakeups::Wakeups,
    stop: Option<Moment>,
    stopped: bool,
    /// Why it stopped, when nobody asked for it.
    failure: Option<String>,
    /// Civil time minus the monotonic clock, in seconds, as the node was told.
    clock_offset: i64,
    registry: RegistryView,
    /// What the node was last told of this machine's addresses.
    told: Vec<SocketAddr>,
    /// The device sleeps: nothing is done that can wait.
    asleep: bool,
    tun_lost: Option<String>,
    /// Why the system would not send control's last datagram, when it does so on purpose.
    send_refused: Option<String>,
    /// Who waits for a neighbour's answer.
    verifying: Vec<oneshot::Sender<()>>,
    last_health: Vec<Health>,
}

/// What the worker's reports add up to.
#[derive(Clone, Debug, Default)]
struct RegistryView {
    reachable: Option<bool>,
    last_contact: Option<u64>,
    error: Option<String>,
    skew: Option<i64>,
}

/// What woke the loop.
enum Wake {
    Path(FromPath),
    Ask(Ask),
    Report(Report),
    Addresses,
    /// An interface takes larger or smaller packets.
    Links,
    Mapped,
    Timer,
    Cache,
    Disk,
    StopLimit,
    /// All inputs are closed: the daemon is being torn down.
    Orphaned,
}

impl ControlLoop {
    pub(crate) fn new(parts: Parts) -> Self {
        let started = parts.shared.clock.now();
        let clock_offset = offset(&parts.shared.clock);
        Self {
            batch: Batch::new(&parts.shared),
            parts,
            started,
            probes: BTreeMap::new(),
            next_probe: 1,
            names: BTreeMap::new(),
            cache_due: None,
            cache_rests_until: Moment::now(),
            housekeeping_due: Some(started + HOUSEKEEPING),
            wakeups: wakeups::Wakeups::default(),
            stop: None,
            stopped: false,
            failure: None,
            clock_offset,
            registry: RegistryView::default(),
            told: Vec::new(),
            asleep: false,
            tun_lost: None,
            send_refused: None,
            verifying: Vec::new(),
            last_health: Vec::new(),
        }
    }

    /// Gives the node its first view of the world and publishes its first table.
    pub(crate) fn begin(&mut self) {
        self.tell_addresses();
        self.drain();
    }

    /// Runs until a planned stop is complete, or until it cannot go on; returns what is left to close, and why
    /// it ended if nobody asked for it.
    pub(crate) async fn run(mut self) -> (Storage, Option<String>) {
        let mut trouble = self.parts.storage.trouble();
        while !self.stopped {
            let wake = self.next(&mut trouble).await;
            self.handle(wake);
            // A burst shares one turn of the loop, never more than this, so that questions get their answers; and
            // one table, which is long where there are many tunnels.
            for _ in 0..BURST {
                let Ok(message) = self.parts.from_path.try_recv() else {
                    break;
                };
                let now = self.now();
                self.handle_path(message, now);
            }
            self.drain();
        }
        self.save_cache();
        self.save_sequences();
        self.save_usage();
        (self.parts.storage, self.failure)
    }

    async fn next(&mut self, trouble: &mut watch::Receiver<Option<String>>) -> Wake {
        let timer = self.parts.node.poll_timeout().map(|(at, _)| at);
        let first = timer.into_iter().chain(self.housekeeping_by()).min();
        self.parts.alarm.set(first, self.parts.shared.clock.now());
        let parts = &mut self.parts;
        let mapped = async {
            match &mut parts.mapped {
                Some(mapped) => mapped.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            message = parts.from_path.recv() => message.map_or(Wake::Orphaned, Wake::Path),
            () = parts.alarm.rings() => Wake::Timer,
            ask = parts.asks.recv() => ask.map_or(Wake::Orphaned, Wake::Ask),
            Some(report) = parts.registry.reports.recv() => Wake::Report(report),
            Ok(()) = parts.addresses.changed() => Wake::Addresses,
            Ok(()) = parts.links.changed() => Wake::Links,
            true = mapped => Wake::Mapped,
            () = sleep_until(self.cache_due) => Wake::Cache,
            () = sleep_until(self.stop) => Wake::StopLimit,
            Ok(()) = trouble.changed() => Wake::Disk,
        }
    }

    fn handle(&mut self, wake: Wake) {
        let now = self.now();
        if !matches!(wake, Wake::Ask(_)) {
            self.wakeups.stir(now);
        }
        match wake {
            Wake::Path(message) => self.handle_path(message, now),
            Wake::Timer => self.parts.node.handle_timeout(now),
            Wake::Ask(ask) => self.answer(ask, now),
            Wake::Report(report) => self.handle_report(report, now),
            Wake::Addresses => self.change_network(now),
            Wake::Links => self.parts.node.handle_link_change(now),
            Wake::Mapped => {
                let mapped = self.parts.mapped.as_mut().and_then(|m| *m.borrow_and_update());
                self.parts.node.handle_mapping(mapped, now);
            }
            Wake::Cache => self.save_cache(),
            Wake::Disk => self.check_health(),
            Wake::StopLimit => {
                tracing::warn!("the planned stop takes too long and is cut short");
                self.stopped = true;
            }
            Wake::Orphaned => self.stopped = true,
        }
        if self.housekeeping_due.is_some_and(|due| due <= now) {
            self.keep_house(now);
        }
        self.drain();
    }

    fn handle_path(&mut self, message: FromPath, now: Instant) {
        let node = &mut self.parts.node;
        match message {
            FromPath::Datagram(remote, datagram) => node.handle_datagram(remote, &datagram, now),
            FromPath::TunnelPacket(tunnel, packet) => node.handle_tunnel_packet(tunnel, &packet, now),
            FromPath::RelayedHandshake(tunnel, message) => {
                node.handle_relayed_handshake(tunnel, &message, now);
            }
            FromPath::Unsent(packet) => node.handle_unsent_packet(&packet, now),
            FromPath::SessionPacket(origin, packet) => node.handle_session_packet(origin, &packet, now),
            FromPath::TooLarge(remote) => node.handle_too_large(remote, now),
            FromPath::Probe(packet) => node.handle_probe_packet(&packet, now),
            FromPath::Activity(activity) => node.handle_activity(activity, now),
            FromPath::TunLost(reason) => {
                tracing::error!(reason, "the TUN device is gone; relaying goes on");
                self.tun_lost = Some(reason);
                self.check_health();
            }
            FromPath::UdpLost(reason) => {
                tracing::error!(reason, "the UDP socket is gone: stopping");
                self.failure = Some(format!("the UDP socket is gone: {reason}"));
                self.stopped = true;
            }
        }
    }

    fn handle_report(&mut self, report: Report, now: Instant) {
        let node = &mut self.parts.node;
        match report {
            Report::Reachable { skew } => {
                self.registry.reachable = Some(true);
                self.registry.last_contact = Some(clock::unix_time().0);
                self.registry.error = None;
                self.registry.skew = skew.or(self.registry.skew);
                node.handle_registry(Ok(()), now);
            }
            Report::Failed(error) => {
                // One that refuses is there.
                let reachable = matches!(error, RegistryError::Refused { .. });
                if self.registry.error.is_none() {
                    tracing::warn!(%error, "registry");
                }
                self.registry.reachable = Some(reachable);
                self.registry.error = Some(error.to_string());
                node.handle_registry(Err(error.to_string()), now);
            }
            Report::Renewed(renewed) => {
                let (certificate, signed, revocations) = *renewed;
                tracing::info!(not_after = %certificate.not_after, "certificate renewed");
                self.parts.storage.write(Item::Certificate, certificate.encode());
                self.parts.storage.write(Item::Network, signed.encode());
                self.parts.certificate = certificate.clone();
                node.handle_command(Command::SetRevocations(revocations), now);
                node.handle_command(Command::SetCertificate(certificate), now);
            }
            Report::Directory(bundles, revocations) => {
                node.handle_command(Command::SetRevocations(*revocations), now);
                node.handle_command(Command::AddBundles(bundles), now);
            }
            Report::Revocations(revocations) => {
                let number = revocations.number;
                node.handle_command(Command::SetRevocations(*revocations), now);
                self.submit(Job::RevocationsAt(number));
            }
        }
        self.check_health();
    }

    /// Carries out everything that the node wants.
    fn drain(&mut self) {
        while let Some(snapshot) = self.parts.node.poll_fib_change() {
            self.publish(snapshot);
        }
        while let Some(transmit) = self.parts.node.poll_transmit() {
            let udp = &self.parts.shared.udp;
            let sent = if transmit.whole {
                udp.try_send_whole(transmit.remote, &transmit.datagram)
            } else {
                udp.try_send(transmit.remote, &transmit.datagram)
            };
            // A full socket is a full network: what matters is sent again.
            let refused = |e: &std::io::Error| e.kind() == std::io::ErrorKind::PermissionDenied;
            self.send_refused = sent
                .as_ref()
                .err()
                .filter(|e| refused(e))
                .map(ToString::to_string);
            if let Err(error) = sent {
                tracing::trace!(remote = %transmit.remote, %error, "not sent");
                self.parts.shared.counters.count_send_errors(1);
            }
        }
        while let Some(mut packet) = self.parts.node.poll_packet() {
            let snapshot = self.parts.shared.snapshot.load();
            let now = self.parts.shared.clock.now();
            self.parts
                .shared
                .send_packet(&mut self.batch, &snapshot, &mut packet, now);
        }
        while let Some(request) = self.parts.node.poll_request() {
            self.carry_out(request);
        }
        while let Some(event) = self.parts.node.poll_event() {
            self.report_event(event);
        }
        self.tell_verified();
    }

    fn publish(&self, mut snapshot: Arc<Snapshot>) {
        if self.parts.runs_without_tun {
            Arc::make_mut(&mut snapshot).answers_echo = true;
        }
        self.parts.shared.snapshot.store(snapshot);
    }

    fn carry_out(&mut self, request: Request) {
        match request {
            Request::Renew => self.submit(Job::Renew),
            Request::Publish(bundle) => {
                self.parts.sequences.record = bundle.record.sequence;
                self.save_sequences();
                self.submit(Job::Publish(Box::new(bundle)));
            }
            Request::FetchDirectory => self.submit(Job::FetchDirectory),
            Request::FetchRevocations => self.submit(Job::FetchRevocations),
            Request::SaveCache => {
                let soonest = (Moment::now() + CACHE_DELAY).max(self.cache_rests_until);
                self.cache_due = self.cache_due.or(Some(soonest));
            }
            Request::SaveSeqno(seqno) => {
                self.parts.sequences.seqno = seqno;
                self.save_sequences();
            }
            Request::SaveRevocations => {
                if let Some(list) = self.parts.node.revocations() {
                    let number = list.number;
                    self.parts.storage.write(Item::Revocations, list.encode());
                    self.submit(Job::RevocationsAt(number));
                }
            }
        }
    }

    fn submit(&self, job: Job) {
        if let Some(worker) = &self.parts.registry.worker {
            worker.submit(job);
        }
    }

    fn save_cache(&mut self) {
        self.cache_due = None;
        self.cache_rests_until = Moment::now() + CACHE_REST;
        self.parts
            .storage
            .write(Item::Members, encode_bundles(&self.parts.node.bundles()));
    }

    fn count_usage(&mut self) {
        let total = self.parts.node.traffic();
        self.parts.usage.count(total, clock::unix_time());
    }

    fn save_usage(&mut self) {
        self.count_usage();
        if let Some(content) = self.parts.usage.take_changes() {
            self.parts.storage.write(Item::Usage, content);
        }
    }

    fn save_sequences(&self) {
        // Two numbers always make JSON.
        let content = serde_json::to_vec(&self.parts.sequences).unwrap_or_default();
        self.parts.storage.write(Item::Seqno, content);
    }

    fn tell_addresses(&mut self) {
        let now = self.now();
        let port = self.parts.shared.udp.port();
        let ipv6 = self.parts.shared.udp.has_ipv6();
        let addresses = self.parts.addresses.borrow_and_update().clone();
        let local = addresses.into_iter().filter(|a| ipv6 || a.is_ipv4());
        self.told = local.map(|address| SocketAddr::new(address, port)).collect();
        self.parts.node.handle_network_change(self.told.clone(), now);
    }

    fn report_event(&mut self, event: node::Event) {
        let event = match event {
            node::Event::NeighbourUp { node, name } => {
                tracing::info!(name, "neighbour up");
                self.names.insert(node, name.clone());
                Event::NeighbourUp {
                    node: node.to_string(),
                    name,
                }
            }
            node::Event::NeighbourDown { node, name, reason } => {
                let reason = views::down_reason(reason);
                tracing::info!(name, reason, "neighbour down");
                Event::NeighbourDown {
                    node: node.to_string(),
                    name,
                    reason: reason.to_owned(),
                }
            }
            node::Event::RouteChanged { prefix, via, metric } => {
                let via = via.map(|node| self.name(&node));
                tracing::debug!(%prefix, via, metric, "route");
                Event::RouteChanged { prefix, via, metric }
            }
            node::Event::ProbeReply {
                id,
                from,
                outcome,
                rtt,
            } => {
                if let Some(waiting) = self.probes.remove(&id) {
                    let from_name = self.name_of_address(from);
                    // Nobody waits any more: the answer came too late.
                    let _ = waiting.send(ProbeAnswer {
                        from,
                        from_name,
                        outcome: views::outcome(outcome),
                        rtt,
                    });
                }
                return;
            }
            node::Event::Revoked(node) => {
                tracing::warn!(%node, "a member was revoked");
                Event::Revoked {
                    node: node.to_string(),
                }
            }
            node::Event::Excluded(reason) => {
                tracing::error!(reason, "this node is no member any more");
                Event::Excluded { reason }
            }
            node::Event::Stopped => {
                self.stopped = true;
                return;
            }
        };
        let matters = !matches!(event, Event::RouteChanged { .. });
        self.emit(event);
        if matters {
            self.check_health();
        }
    }

    fn emit(&self, event: Event) {
        // Without readers there is nobody to tell.
        let _ = self.parts.events.send(EventLine {
            unix_ms: clock::unix_ms(),
            event,
        });
    }

    fn name(&self, node: &NodeId) -> String {
        self.names.get(node).cloned().unwrap_or_else(|| node.to_string())
    }

    /// Tells readers of the event stream when health has changed.
    fn check_health(&mut self) {
        let health = health::assess(&self.conditions());
        if health != self.last_health {
            self.last_health.clone_from(&health);
            self.emit(Event::HealthChanged { health });
        }
    }

    fn conditions(&self) -> Conditions {
        let now = self.now();
        let status = self.parts.node.status(now);
        let port = self.parts.shared.udp.port();
        let connection = seen::assess(&self.facts(status.clone(), now));
        Conditions {
            no_network: connection.state == ConnectionState::Offline,
            udp_blocked: (connection.state == ConnectionState::Limited).then_some(connection.udp.why),
            now: clock::unix_time().0,
            uptime: now.saturating_since(self.started).as_secs(),
            not_before: self.parts.certificate.not_before.0,
            not_after: status.certificate_not_after.0,
            in_grace: status.health.in_grace,
            excluded: status.health.excluded,
            registry_error: self.registry.error.clone(),
            skew: self.registry.skew,
            clock_suspect: status.health.clock_suspect,
            disk: self.parts.storage.trouble().borrow().clone(),
            usable_neighbours: status.usable_neighbours,
            others: status.members.saturating_sub(1),
            changed_port: (!self.parts.port_was_asked_for && port != DEFAULT_PORT).then_some(port),
            recovered: self.parts.recovered.iter().map(|item| item.file_name()).collect(),
            tun_lost: self.tun_lost.clone(),
            no_tun: self.parts.runs_without_tun,
        }
    }

    fn now(&self) -> Instant {
        self.parts.shared.clock.now()
    }
}

/// Civil time minus the node's clock, in seconds: constant as long as nobody sets the system's clock.
fn offset(clock: &Clock) -> i64 {
    let UnixTime(civil) = clock::unix_time();
    civil as i64 - (clock.now().as_micros() / 1_000_000) as i64
}

async fn sleep_until(at: Option<Moment>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
