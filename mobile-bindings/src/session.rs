//! The one object that an app holds.

use crate::{
    Check, Device, Event, Membership, NetworkInfo, PingReply, Platform, ServiceView, SessionError, Status,
    Topology, TunSettings, Usage, events::Events, logs, platform::Protector, types,
};
use osier_core::{
    Config, Service, TunChoice,
    control::types::JoinRequest,
    logging,
    netwatch::{Source, Told},
    service::Embedded,
    sockets::Sockets,
    tun::{Framing, TunSlot},
};
use std::{
    fmt,
    net::IpAddr,
    os::fd::{FromRawFd, OwnedFd},
    sync::Arc,
    time::Duration,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
};

/// Threads that carry tasks. Packets have one of their own.
const WORKERS: usize = 1;
/// Threads that wait for the disk and for names.
const BLOCKING: usize = 2;

#[derive(Clone, Debug, uniffi::Record)]
pub struct SessionConfig {
    /// Private to the app, and on storage that is there before the device is unlocked if the VPN is to start at boot. It
    /// holds the keys: keep it out of backups.
    pub state_dir: String,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or MODULE=LEVEL,… (`info` when `None`). It is the
    /// process's: the newest session's counts.
    #[uniffi(default = None)]
    pub log: Option<String>,
    /// Carry only this device's own traffic, which is what a battery wants.
    #[uniffi(default = true)]
    pub leaf: bool,
}

/// A node and the service around it, in this process. One per state directory.
///
/// Methods may be called from any thread. Those that are `async` do not block it; the others return at once.
#[derive(uniffi::Object)]
pub struct Session {
    /// Ours alone; `None` while it is being dropped.
    runtime: Option<Runtime>,
    service: Arc<Embedded>,
    slot: Arc<TunSlot>,
    network: watch::Sender<Told>,
    events: Events,
    /// Ends the thread that takes lines of the log away.
    _open: watch::Sender<()>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

#[uniffi::export]
impl Session {
    /// Starts the service, and the node if the device has joined a network and is switched on. It needs no device yet:
    /// see [`Self::set_tun`].
    #[uniffi::constructor]
    pub fn new(config: SessionConfig, platform: Arc<dyn Platform>) -> Result<Arc<Self>, SessionError> {
        let filter = config.log.as_deref().unwrap_or("info");
        logging::init_ring(filter).map_err(|e| SessionError::argument(e.to_string(), "use `info`"))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(BLOCKING)
            .thread_name("osier")
            .enable_all()
            .build()
            .map_err(|e| SessionError::internal(&e))?;
        let slot = Arc::new(TunSlot::new(Framing::NATIVE).map_err(|e| SessionError::internal(&e))?);
        let (network, told) = watch::channel(Told::default());
        let (open, closed) = watch::channel(());
        logs::forward(platform.clone(), runtime.handle().clone(), closed)
            .map_err(|e| SessionError::internal(&e))?;

        let mut core = Config::new(&config.state_dir);
        core.tun = TunChoice::Given(slot.clone());
        core.log = Some(filter.to_owned());
        core.leaf = Some(config.leaf);
        core.packet_threads = Some(1);
        core.sockets = Sockets::protected_by(Arc::new(Protector(platform)));
        core.network = Source::Told(told);
        let (service, events) = runtime.block_on(async {
            let service = Service::start(core)
                .await
                .map_err(|e| SessionError::storage(&e))?;
            let now = service.service().await;
            let events = Events::of(&service, now, slot.state());
            Ok::<_, SessionError>((Arc::new(service), events))
        })?;
        Ok(Arc::new(Self {
            runtime: Some(runtime),
            service,
            slot,
            network,
            events,
            _open: open,
        }))
    }

    /// The next event: at first what the service is. Waits until there is one; `None` when the session has stopped. Call
    /// it in one loop, which lives as long as the session and shares what it got.
    pub async fn next_event(&self) -> Result<Option<Event>, SessionError> {
        self.events.next().await
    }

    /// What the service is now.
    pub async fn service(&self) -> Result<ServiceView, SessionError> {
        self.ask(|service| async move { Ok(service.service().await.into()) })
            .await
    }

    /// Joins the network of an `osier://` invite and starts the node. The invite is a secret until it is used. Without a
    /// name, the device's host name is taken, which on phones is seldom a good one.
    pub async fn join(&self, invite: String, name: Option<String>) -> Result<Membership, SessionError> {
        self.ask(|service| async move {
            let (member, _) = service.join(JoinRequest { invite, name }).await?;
            Ok(member.into())
        })
        .await
    }

    /// Leaves the network and forgets its keys; a new invite is needed to come back.
    pub async fn leave(&self) -> Result<ServiceView, SessionError> {
        self.ask(|service| async move { Ok(service.leave().await?.into()) })
            .await
    }

    /// The switch, which is remembered.
    pub async fn switch_on(&self, on: bool) -> Result<ServiceView, SessionError> {
        self.ask(move |service| async move { Ok(service.switch(on).await?.into()) })
            .await
    }

    /// How the node is doing. Asks a neighbour when the last answer is old, so it may take half a second; meant for a
    /// screen that somebody looks at.
    pub async fn status(&self) -> Result<Status, SessionError> {
        self.ask(|service| async move { Ok(service.status().await?.into()) })
            .await
    }

    /// The other members of the network, reachable ones first.
    pub async fn devices(&self) -> Result<Vec<Device>, SessionError> {
        self.ask(|service| async move {
            let (members, peers) = (service.members().await?, service.peers().await?);
            Ok(types::devices(members, &peers))
        })
        .await
    }

    /// Octets per day, of so many days up to today: 1 to 400.
    pub async fn usage(&self, days: u32) -> Result<Usage, SessionError> {
        self.ask(move |service| async move { Ok(service.usage(days as usize).await?.into()) })
            .await
    }

    /// The links that this device knows, for a picture and a table.
    pub async fn topology(&self) -> Result<Topology, SessionError> {
        self.ask(|service| async move { Ok(service.topology().await?.into()) })
            .await
    }

    /// What is in order and what is not, in the order in which things depend on each other: the first error is the one
    /// to look at.
    pub async fn checks(&self) -> Result<Vec<Check>, SessionError> {
        self.ask(|service| async move {
            let checks = service.diagnostics().await.checks;
            Ok(checks.into_iter().map(Into::into).collect())
        })
        .await
    }

    /// One text for whoever helps: state, routes, checks and log lines. It holds no keys and no invites, but names and
    /// addresses: the user decides whom to give it to.
    pub async fn support_bundle(&self) -> Result<String, SessionError> {
        self.ask(|service| async move { Ok(service.support_bundle().await) })
            .await
    }

    /// One echo to a device by its name or address; `None` when no answer came within the limit (10 to 60,000 ms).
    pub async fn ping(&self, target: String, limit_ms: u32) -> Result<Option<PingReply>, SessionError> {
        if !(10..=60_000).contains(&limit_ms) {
            return Err(SessionError::argument(
                format!("{limit_ms} ms cannot be the limit of a ping"),
                "choose one between 10 and 60000 ms",
            ));
        }
        let limit = Duration::from_millis(limit_ms.into());
        self.ask(move |service| async move { Ok(service.ping(&target, limit).await?.map(Into::into)) })
            .await
    }

    /// What the device has to be set up with; `None` before a join, and before the service has been `Running` once.
    pub async fn tun_settings(&self) -> Result<Option<TunSettings>, SessionError> {
        self.ask(|service| async move { Ok(service.service().await.member.as_ref().map(Into::into)) })
            .await
    }

    /// Hands over the device: what `VpnService.Builder.establish()!!.detachFd()` gave, or a packet tunnel's descriptor.
    /// It is the session's from now on, and closed by it, also when it is refused. A new one takes the place of the one
    /// before; tunnels and sessions go on.
    pub fn set_tun(&self, fd: i32, mtu: u16) -> Result<(), SessionError> {
        if fd < 0 {
            return Err(SessionError::argument(
                format!("{fd} is no descriptor"),
                "ask for the VPN permission first: establish() gave nothing",
            ));
        }
        // SAFETY: the caller gives up a descriptor that is its own, as documented.
        let device = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(self.slot.fill(device, mtu)?)
    }

    /// Closes the device. The node goes on without.
    pub fn clear_tun(&self) {
        self.slot.empty();
    }

    /// The device is in another network, or has lost its own. Call it on every change of the default network beneath
    /// the VPN, and once at the start; nothing is looked for in between.
    pub fn network_changed(&self, network: NetworkInfo) -> Result<(), SessionError> {
        let parse = |address: &String| {
            // `fe80::1%wlan0` has a zone; it is filtered out anyway.
            let bare = address.split('%').next().unwrap_or_default();
            bare.parse::<IpAddr>().map_err(|_| {
                SessionError::argument(
                    format!("{address:?} is no address"),
                    "give plain addresses, such as those of LinkAddress.getAddress().getHostAddress()",
                )
            })
        };
        let addresses = match &network.addresses {
            Some(addresses) => Some(addresses.iter().map(parse).collect::<Result<_, _>>()?),
            None => None,
        };
        self.network.send_replace(Told { addresses });
        Ok(())
    }

    /// The device goes to sleep and may end the process: what is worth it is saved, and the registry is left alone. Traffic
    /// still passes.
    pub async fn sleep(&self) -> Result<(), SessionError> {
        self.ask(|service| async move {
            service.sleep().await;
            Ok(())
        })
        .await
    }

    /// The device is awake again, perhaps elsewhere: neighbours are asked at once, and what failed is tried again.
    pub async fn wake(&self) -> Result<(), SessionError> {
        self.ask(|service| async move {
            service.wake().await;
            Ok(())
        })
        .await
    }

    /// Stops for good: neighbours are told first, and everything is closed when this returns. Takes up to 8 s where they
    /// do not answer.
    pub async fn stop(&self) -> Result<(), SessionError> {
        let slot = self.slot.clone();
        self.ask(|service| async move {
            service.stop().await;
            slot.empty();
            Ok(())
        })
        .await
    }
}

impl Session {
    /// Carries a question out on our own runtime, whoever's executor waits for the answer.
    async fn ask<T, F>(&self, question: impl FnOnce(Arc<Embedded>) -> F) -> Result<T, SessionError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, SessionError>> + Send + 'static,
    {
        let Some(runtime) = &self.runtime else {
            return Err(SessionError::internal(&"the session is being dropped"));
        };
        let answer = runtime.spawn(question(self.service.clone())).await;
        answer.map_err(|e| SessionError::internal(&e))?
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Wherever this runs, waiting is not allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
