//! Putting a node together, and taking it apart again.

use super::{DaemonError, EVENTS, Ending, Handle, listening::listen};
use crate::{
    alarm::Alarm,
    clock::{self, Clock},
    config::{Config, TunChoice},
    control::{
        server::{Context, Server},
        stage::{self, Stage},
        types::{Event, EventLine},
    },
    control_loop::{ControlLoop, Parts, RegistryLink, RegistryStarter, SettingsSource},
    mapping::{Mapper, MappingConfig},
    membership::Membership,
    netwatch::{Exclude, NetWatch},
    packet_threads::{self, Counters, PacketThreads, Shared, Takes},
    random,
    registry::{Client, Registries, Worker, WorkerConfig},
    settings::{self, Settings},
    state::StateDir,
    storage::Storage,
    tun::{self, Device, DeviceConfig, NoTun, TunQueue},
    udp::{PortChoice, Udp},
    usage::Meter,
};
use arc_swap::ArcSwap;
use osier_dataplane::Joins;
use osier_proto::{
    Node, Snapshot,
    node::{self, Engine},
};
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc, watch};

/// Who speaks for a node to the front ends.
#[derive(Debug)]
pub(crate) enum Front {
    /// The node itself: its end is the daemon's.
    Own,
    /// A service that outlives it and reads these events.
    Service(broadcast::Sender<EventLine>),
}

/// Starts a node on a state directory that is locked and holds a membership.
pub(crate) async fn launch(config: Config, dir: Arc<StateDir>, front: Front) -> Result<Handle, DaemonError> {
    let settings = Settings::load(dir.path())?;
    let membership = Membership::load(&dir)?;
    let port_choice = match config.port.or(settings.port) {
        Some(port) => PortChoice::Exactly(port),
        None => PortChoice::Default,
    };
    let udp = Udp::bind_with(port_choice, &config.sockets)?;
    let udp = Arc::new(match config.uses_offload(&settings) {
        true => udp,
        false => udp.without_offload(),
    });
    let tun = open_tun(&config, &settings, &membership).await?;
    start_node(Pieces {
        config,
        dir,
        settings,
        membership,
        port_choice,
        udp,
        tun,
        front,
    })
    .await
}

/// What a node is started from.
struct Pieces {
    config: Config,
    dir: Arc<StateDir>,
    settings: Settings,
    membership: Membership,
    port_choice: PortChoice,
    udp: Arc<Udp>,
    tun: Arc<dyn TunQueue>,
    front: Front,
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

async fn start_node(pieces: Pieces) -> Result<Handle, DaemonError> {
    let Pieces {
        config,
        dir,
        settings,
        membership,
        port_choice,
        udp,
        tun,
        front,
    } = pieces;
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
        usage,
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
    let exclude = Exclude {
        interface: tun.index(),
        mesh: network.prefix,
    };
    let watch = NetWatch::start(exclude, config.network.clone(), config.sockets.clone()).await;
    let mapper = config
        .maps_port(&settings)
        .then(|| Mapper::start(MappingConfig::new(udp.port()), watch.addresses()));

    let (reporter, reports) = mpsc::channel(16);
    let restart: RegistryStarter = {
        let (keys, network, config) = (keys, network.clone(), config.clone());
        Box::new(move |settings, number| {
            let chosen = choose_registries(settings, &registries);
            let urls = chosen.urls.clone();
            if urls.is_empty() {
                return (None, urls);
            }
            match Client::new(chosen, keys.clone(), network.id(), config.sockets.clone()) {
                Ok(client) => {
                    let client = Arc::new(client);
                    let worker = WorkerConfig {
                        client,
                        network: network.clone(),
                        revocation_number: number,
                        holds_requests: !config.is_leaf(settings),
                    };
                    (Some(Worker::start(worker, reporter.clone())), urls)
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
    let (end, ended) = watch::channel(Ending::NotYet);
    let address = certificate.address();
    let (events, stops, server) = match front {
        Front::Service(events) => (events, false, None),
        Front::Own => {
            let (events, _) = broadcast::channel(EVENTS);
            let stage = Stage::plain(asks.clone(), stage::describe(&certificate, &network));
            let context = Context {
                stage: watch::channel(stage).1,
                orders: None,
                events: events.clone(),
                ended: ended.clone(),
                dir: Arc::downgrade(&dir),
            };
            (events, true, listen(&config, &settings, &dir, context)?)
        }
    };
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
        usage: Meter::new(usage),
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
        says_stopped: stops,
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

/// Everything that must be closed again. Dropped in this order when the node is stopped at once.
struct Running {
    control: ControlLoop,
    threads: PacketThreads,
    mapper: Option<Mapper>,
    watch: NetWatch,
    server: Option<Server>,
    dir: Arc<StateDir>,
    events: broadcast::Sender<EventLine>,
    says_stopped: bool,
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
            says_stopped,
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
        if says_stopped {
            let _ = events.send(EventLine {
                unix_ms: clock::unix_ms(),
                event: Event::Stopped,
            });
        }
        let _ = end.send(failure.map_or(Ending::Done, Ending::Failed));
        if let Some(server) = server {
            server.finish().await;
        }
        tracing::info!("node stopped");
        drop(dir);
    }
}
