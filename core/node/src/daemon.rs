//! Starting, steering and stopping a node.
//!
//! [`Daemon::start`] builds the pieces in order, each of which can fail with an error that says what to do: the
//! state directory (locked), the UDP socket, the TUN device, the node itself, then the tasks around it. One task
//! supervises: it runs the control loop to its end and then closes everything in the reverse order, so that a
//! planned stop leaves no mapping, socket or unsaved state behind.

use crate::{
    alarm::Alarm,
    clock::{self, Clock},
    config::{Config, TunChoice},
    control::{
        self, ServerError,
        server::{self, Context, Server},
        types::{DownReply, Event, EventLine, ReloadReply},
    },
    control_loop::{Ask, ControlLoop, Parts, RegistryLink, RegistryStarter, SettingsSource},
    logging,
    mapping::{Mapper, MappingConfig},
    membership::Membership,
    netwatch::{Exclude, NetWatch},
    packet_threads::{self, Counters, PacketThreads, Shared, Takes},
    random,
    registry::{Client, Registries, Worker, WorkerConfig},
    settings::{self, Settings},
    state::{StateDir, StateError},
    storage::Storage,
    system::{Reload, Stop},
    tun::{self, Device, DeviceConfig, NoTun, TunError, TunQueue},
    udp::{PortChoice, Udp, UdpError},
};
use arc_swap::ArcSwap;
use osier_dataplane::Joins;
use osier_proto::{
    Node, Snapshot,
    node::{self, Engine, NodeError},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinHandle,
};

/// Events that a slow reader may lag behind.
const EVENTS: usize = 256;

/// Why a daemon did not start, or why a running one gave up.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Udp(#[from] UdpError),
    #[error(transparent)]
    Tun(#[from] TunError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Control(#[from] ServerError),
    #[error("{0}")]
    Logging(#[from] logging::BadFilter),
    #[error("{what}: {source}")]
    System { what: &'static str, source: io::Error },
    /// The settings that a reload read.
    #[error("{0}")]
    Settings(String),
    #[error("the node is no longer running")]
    NotRunning,
    /// It met with something that it cannot work without.
    #[error("the node had to stop: {0}")]
    Failed(String),
    #[error("the node has crashed; its log says why")]
    Crashed,
}

/// How far a node is towards its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    NotYet,
    /// Everything is closed.
    Done,
    /// Likewise, but nobody asked for it.
    Failed(String),
}

impl Ending {
    pub(crate) fn is_over(&self) -> bool {
        *self != Self::NotYet
    }
}

/// Makes nodes run.
#[derive(Debug)]
pub struct Daemon {}

impl Daemon {
    /// Starts a node on the current tokio runtime and returns when it listens: the state directory is locked,
    /// the TUN device is up, the UDP socket is bound and the control socket answers.
    ///
    /// # Errors
    /// Each says what to do about it; nothing stays behind.
    pub async fn start(config: Config) -> Result<Handle, DaemonError> {
        let dir = Arc::new(StateDir::open(&config.state_dir)?);
        let settings = Settings::load(dir.path())?;
        if let (None, Some(filter)) = (&config.log, &settings.log) {
            logging::init(filter)?;
        }
        let membership = Membership::load(&dir)?;
        let port_choice = match config.port.or(settings.port) {
            Some(port) => PortChoice::Exactly(port),
            None => PortChoice::Default,
        };
        let udp = Udp::bind(port_choice)?;
        let udp = Arc::new(match config.uses_offload(&settings) {
            true => udp,
            false => udp.without_offload(),
        });
        let tun = open_tun(&config, &settings, &membership).await?;
        start_node(config, dir, settings, membership, port_choice, udp, tun).await
    }

    /// Runs a node in the foreground until it is told to stop: by SIGTERM or SIGINT (planned stop; a second one
    /// ends at once) or through the control API. SIGHUP reads the settings again. (Windows: Ctrl-C, Ctrl-Break, closing
    /// the console, shutting down; no SIGHUP.)
    pub async fn run(config: Config) -> Result<(), DaemonError> {
        let failed = |source| DaemonError::System {
            what: "cannot watch for signals",
            source,
        };
        let mut stop = Stop::watch().map_err(failed)?;
        let mut reload = Reload::watch().map_err(failed)?;
        // A slow start (a TUN device that waits for a kernel module) can be broken off as well.
        let mut handle = tokio::select! {
            handle = Self::start(config) => handle?,
            () = stop.requested() => return Ok(()),
        };
        loop {
            tokio::select! {
                result = handle.stopped() => return result,
                () = stop.requested() => break,
                () = reload.requested() => match handle.reload().await {
                    Ok(_) => {}
                    Err(error) => tracing::error!(%error, "the settings were not read again"),
                },
            }
        }
        tokio::select! {
            result = handle.stop() => result.map(|_| ()),
            () = stop.requested() => {
                tracing::warn!("second signal: ending at once");
                Ok(())
            }
        }
    }
}

/// Steers a running node. Dropping it stops the node at once, without a word to its neighbours.
#[derive(Debug)]
pub struct Handle {
    socket: Option<PathBuf>,
    asks: mpsc::Sender<Ask>,
    events: broadcast::Sender<EventLine>,
    ended: watch::Receiver<Ending>,
    supervisor: JoinHandle<()>,
}

impl Handle {
    /// Where the control API listens; `None` when its socket could not be made (a read-only state directory).
    pub fn control_socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<EventLine> {
        self.events.subscribe()
    }

    /// Planned stop: neighbours are moved away first; returns when everything is closed.
    pub async fn stop(&mut self) -> Result<DownReply, DaemonError> {
        let began = Instant::now();
        // When the node has stopped already, that is what was asked for.
        let _ = self.asks.send(Ask::Stop).await;
        self.stopped().await?;
        Ok(DownReply {
            elapsed_ms: began.elapsed().as_millis() as u64,
        })
    }

    /// Reads `settings.toml` again.
    pub async fn reload(&self) -> Result<ReloadReply, DaemonError> {
        let (reply, answer) = oneshot::channel();
        self.asks
            .send(Ask::Reload(reply))
            .await
            .map_err(|_| DaemonError::NotRunning)?;
        let answer = answer.await.map_err(|_| DaemonError::NotRunning)?;
        answer.map_err(|error| DaemonError::Settings(error.message))
    }

    /// Returns when the node has stopped for whatever reason.
    pub async fn stopped(&mut self) -> Result<(), DaemonError> {
        if !self.supervisor.is_finished() {
            let _ = (&mut self.supervisor).await;
        }
        // Set as the supervisor's last act but one.
        match &*self.ended.borrow() {
            Ending::Done => Ok(()),
            Ending::Failed(reason) => Err(DaemonError::Failed(reason.clone())),
            Ending::NotYet => Err(DaemonError::Crashed),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

async fn open_tun(
    config: &Config,
    settings: &Settings,
    membership: &Membership,
) -> Result<Arc<dyn TunQueue>, DaemonError> {
    let name = match (&config.tun, &settings.tun) {
        (TunChoice::Given(queue), _) => return Ok(queue.clone()),
        (TunChoice::None, _) | (TunChoice::Settings, Some(settings::Tun::Wanted(false))) => {
            let failed = |source| DaemonError::System {
                what: "cannot make an event descriptor",
                source,
            };
            return Ok(Arc::new(NoTun::new().map_err(failed)?));
        }
        (TunChoice::Named(name), _) | (TunChoice::Settings, Some(settings::Tun::Named(name))) => name.clone(),
        (TunChoice::Settings, _) => tun::DEFAULT_NAME.to_owned(),
    };
    let address = membership.certificate.address();
    let device = Device::open(&DeviceConfig {
        name,
        address,
        network: membership.network.prefix,
        offload: config.uses_offload(settings),
    })
    .await?;
    Ok(Arc::new(device))
}

async fn start_node(
    config: Config,
    dir: Arc<StateDir>,
    settings: Settings,
    membership: Membership,
    port_choice: PortChoice,
    udp: Arc<Udp>,
    tun: Arc<dyn TunQueue>,
) -> Result<Handle, DaemonError> {
    let system = |what| move |source| DaemonError::System { what, source };
    let runs_without_tun = tun.name().is_none() && !matches!(config.tun, TunChoice::Given(_));
    let Membership {
        keys,
        certificate,
        network,
        registries,
        revocations,
        bundles,
        sequences,
        recovered,
    } = membership;
    let clock = Arc::new(Clock::new());
    let number = revocations.as_ref().map_or(0, |list| list.number);
    let seed = random::bytes().map_err(system("no randomness"))?;
    let node = Node::new(
        node::Config {
            keys: keys.clone(),
            certificate: certificate.clone(),
            network: network.clone(),
            revocations,
            bundles,
            mesh: config.mesh(&settings),
            engine: Engine::WireGuard {
                aes: config.uses_aes(&settings),
            },
            seqno: sequences.seqno.wrapping_add(1),
            wall_clock: clock::unix_time(),
            record_sequence: sequences.record,
        },
        seed,
        clock.now(),
    )?;

    let packet_threads = config.packet_threads(&settings);
    let (to_control, from_path) = mpsc::channel(packet_threads::CHANNEL);
    let snapshot = Snapshot::new(
        certificate.address(),
        certificate.prefixes.clone(),
        network.prefix,
    );
    let shared = Shared {
        clock,
        udp: udp.clone(),
        takes: Arc::new(Takes::new(
            tun.super_packets()
                .map_or_else(Joins::default, |device| device.takes()),
        )),
        tun: tun.clone(),
        snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
        counters: Arc::new(Counters::default()),
        control: to_control,
    };
    let watch = NetWatch::start(Exclude {
        interface: tun.index(),
        mesh: network.prefix,
    })
    .await;
    let mapper = config
        .port_mapping
        .or(settings.port_mapping)
        .unwrap_or(true)
        .then(|| Mapper::start(MappingConfig::new(udp.port()), watch.addresses()));

    let (reporter, reports) = mpsc::channel(16);
    let restart: RegistryStarter = {
        let (keys, network) = (keys, network.clone());
        Box::new(move |settings, number| {
            let chosen = choose_registries(settings, &registries);
            let urls = chosen.urls.clone();
            if urls.is_empty() {
                return (None, urls);
            }
            match Client::new(chosen, keys.clone(), network.id()) {
                Ok(client) => {
                    let client = Arc::new(client);
                    let config = WorkerConfig {
                        client,
                        network: network.clone(),
                        revocation_number: number,
                    };
                    (Some(Worker::start(config, reporter.clone())), urls)
                }
                Err(error) => {
                    tracing::error!(%error, "running without the registry");
                    (None, urls)
                }
            }
        })
    };
    let (worker, urls) = restart(&settings, number);

    let (asks, questions) = mpsc::channel(64);
    let (events, _) = broadcast::channel(EVENTS);
    let (end, ended) = watch::channel(Ending::NotYet);
    let name = certificate.name.clone();
    let address = certificate.address();
    let context = Context {
        asks: asks.clone(),
        events: events.clone(),
        ended: ended.clone(),
        name,
        address,
    };
    let server = listen(&config, &settings, &dir, context)?;
    let socket = server.as_ref().map(|s| s.path().to_owned());

    let mut control = ControlLoop::new(Parts {
        alarm: Alarm::new().map_err(system("cannot make a timer"))?,
        node,
        network,
        certificate,
        shared: shared.clone(),
        from_path,
        asks: questions,
        addresses: watch.addresses(),
        links: watch.links(),
        mapped: mapper.as_ref().map(Mapper::mapped),
        registry: RegistryLink {
            worker,
            reports,
            restart,
            urls,
        },
        storage: Storage::start(dir.clone()),
        events: events.clone(),
        settings: SettingsSource {
            dir: dir.path().to_owned(),
            current: settings,
            config,
        },
        sequences,
        recovered,
        port_was_asked_for: port_choice != PortChoice::Default,
        runs_without_tun,
    });
    control.begin();
    let threads =
        PacketThreads::start(&shared, packet_threads).map_err(system("cannot start the packet threads"))?;
    tracing::info!(%address, port = udp.port(), interface = tun.name(), "node started");

    let running = Running {
        control,
        threads,
        mapper,
        watch,
        server,
        dir,
        events: events.clone(),
        end,
    };
    Ok(Handle {
        socket,
        asks,
        events,
        ended,
        supervisor: tokio::spawn(running.supervise()),
    })
}

/// Settings win over what the invite said; the invite's pin belongs to the invite's registries.
fn choose_registries(settings: &Settings, invited: &Registries) -> Registries {
    match &settings.registries {
        Some(urls) => Registries {
            urls: urls.clone(),
            tls_pin: settings.tls_pin(),
        },
        None => Registries {
            urls: invited.urls.clone(),
            tls_pin: settings.tls_pin().or(invited.tls_pin),
        },
    }
}

/// The control API; a state directory that cannot be written is no reason not to run.
fn listen(
    config: &Config,
    settings: &Settings,
    dir: &StateDir,
    context: Context,
) -> Result<Option<Server>, DaemonError> {
    let path = config
        .control_socket
        .clone()
        .unwrap_or_else(|| control::default_place(dir.path()));
    let group = config
        .control_group
        .as_deref()
        .or(settings.control_group.as_deref());
    let group = group.map(server::find_group).transpose()?;
    if let (Some(group), None) = (&group, &config.control_socket) {
        dir.admit_group(group).map_err(|source| ServerError::Io {
            path: path.clone(),
            source,
        })?;
    }
    match Server::start(path, group.as_ref(), context) {
        Ok(server) => Ok(Some(server)),
        Err(ServerError::Io { path, source })
            if config.control_socket.is_none() && is_unwritable(&source) =>
        {
            let path = path.display();
            tracing::error!(%path, error = %source, "no control socket: choose another place with --control-socket");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn is_unwritable(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(
        error.kind(),
        PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull
    )
}

/// Everything that must be closed again. Dropped in this order when the node is stopped at once.
struct Running {
    control: ControlLoop,
    threads: PacketThreads,
    mapper: Option<Mapper>,
    watch: NetWatch,
    server: Option<Server>,
    dir: Arc<StateDir>,
    events: broadcast::Sender<EventLine>,
    end: watch::Sender<Ending>,
}

impl Running {
    async fn supervise(self) {
        let Self {
            control,
            threads,
            mapper,
            watch,
            server,
            dir,
            events,
            end,
        } = self;
        let (storage, failure) = control.run().await;
        if let Some(mapper) = mapper {
            mapper.stop().await;
        }
        drop(watch);
        // Two threads that look at their descriptors once more: no wait worth a task.
        drop(threads);
        storage.finish().await;
        let _ = events.send(EventLine {
            unix_ms: clock::unix_ms(),
            event: Event::Stopped,
        });
        let _ = end.send(failure.map_or(Ending::Done, Ending::Failed));
        if let Some(server) = server {
            server.finish().await;
        }
        tracing::info!("node stopped");
        drop(dir);
    }
}
