//! The HTTP server: accepts connections within bounds, and runs [`api`] over them.
//!
//! A client costs one of a bounded number of connection slots, must send its request and take its answer in bounded
//! time, and is held to a rate. Nothing here touches keys; that is [`crate::Registry`].

mod api;
mod connection;
mod feed;
mod limits;
mod metrics;

pub use metrics::MetricsSnapshot;

use crate::{Error, Registry, tls};
use connection::Connections;
use metrics::Metrics;
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

/// How long open requests may go on when the server stops.
const STOP_TIME: Duration = Duration::from_secs(3);
/// How often keys, delegation and revocation list are looked after.
const MAINTENANCE: Duration = Duration::from_secs(60);

/// What a front end may override.
#[derive(Clone, Debug, Default)]
pub struct ServeOptions {
    /// Instead of the settings' `listen`; port 0 takes a free one.
    pub listen: Option<SocketAddr>,
}

/// A running server. Dropping it stops it at once; [`Server::stop`] lets open requests end first.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    tls: bool,
    metrics: Arc<Metrics>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Registry {
    /// Starts to answer on the settings' address. Keys and settings are read already; returns when connections
    /// are accepted.
    pub async fn serve(&self, options: ServeOptions) -> Result<Server, Error> {
        let settings = self.dir().settings();
        let acceptor = tls::server_config(self.dir())?.map(TlsAcceptor::from);
        let listener = listen(options.listen.unwrap_or(settings.listen)).await?;
        let address = listener.local_addr().map_err(|source| Error::Listen {
            address: settings.listen,
            source,
        })?;
        let (stop, stopping) = watch::channel(false);
        let metrics = Arc::new(Metrics::default());
        let (feed, current) = feed::Feed::start(self.clone(), Arc::clone(&metrics), stopping.clone()).await?;
        let router = api::router(self.clone(), current, Arc::clone(&metrics), stopping.clone());
        let accept = Accept {
            listener,
            acceptor: acceptor.map(RwLock::new).map(Arc::new),
            connections: Connections::new(&settings.limits, settings.trust_proxy, Arc::clone(&metrics)),
            router,
            request_time: settings.limits.request_time,
            stopping: stopping.clone(),
        };
        let tls = accept.acceptor.is_some();
        if !tls && !settings.trust_proxy && !address.ip().is_loopback() {
            warn!(
                "the registry speaks plain HTTP: who can read along can take an invite's token before its owner; use TLS"
            );
        }
        info!(event = "ready", %address, tls, network = %self.dir().network().name, "the registry is ready");
        let mut tasks = JoinSet::new();
        tasks.spawn(feed);
        tasks.spawn(maintain(self.clone(), accept.acceptor.clone(), stopping));
        tasks.spawn(accept.run());
        Ok(Server {
            address,
            tls,
            metrics,
            stop,
            tasks,
        })
    }
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it speaks TLS.
    pub fn tls(&self) -> bool {
        self.tls
    }

    pub fn metrics(&self) -> MetricsSnapshot {
        self.metrics.snapshot()
    }

    /// Accepts nothing new, answers those who wait, and returns when all is closed (within 3 s).
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let finished = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(STOP_TIME + Duration::from_secs(1), finished)
            .await
            .is_err()
        {
            self.tasks.shutdown().await;
        }
        info!(event = "stopped", metrics = ?self.metrics.snapshot(), "the registry has stopped");
    }
}

/// `[::]` falls back to `0.0.0.0` on machines without IPv6.
async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    match TcpListener::bind(address).await {
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() && no_ipv6(&error) => {
            let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            TcpListener::bind(address)
                .await
                .map_err(|source| Error::Listen { address, source })
        }
        other => other.map_err(|source| Error::Listen { address, source }),
    }
}

fn no_ipv6(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let codes = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL];
    error
        .raw_os_error()
        .is_some_and(|code| codes.iter().any(|errno| errno.raw_os_error() == code))
}

/// Until the server is to stop, or is gone.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

type SharedAcceptor = Arc<RwLock<TlsAcceptor>>;

struct Accept {
    listener: TcpListener,
    acceptor: Option<SharedAcceptor>,
    connections: Connections,
    router: axum::Router,
    request_time: Duration,
    stopping: watch::Receiver<bool>,
}

impl Accept {
    async fn run(self) {
        let mut open = JoinSet::new();
        let mut stopping = self.stopping.clone();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let Some(slot) = self.connections.admit(peer.ip()) else { continue };
                        let acceptor = self.acceptor.as_ref().map(current_acceptor);
                        let connection = connection::serve(
                            stream, peer, acceptor, self.router.clone(), self.request_time, self.stopping.clone(),
                        );
                        open.spawn(async move {
                            if let Err(error) = connection.await {
                                debug!(%peer, %error, "connection ended");
                            }
                            drop(slot);
                        });
                    }
                    Err(error) => {
                        // Mostly "too many open files": some will close soon.
                        warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                },
                Some(_) = open.join_next() => {}
                () = stopped(&mut stopping) => break,
            }
        }
        drop(self.listener);
        let finished = async { while open.join_next().await.is_some() {} };
        let _ = timeout(STOP_TIME, finished).await;
    }
}

fn current_acceptor(shared: &SharedAcceptor) -> TlsAcceptor {
    shared.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Looks after what ends with time: the delegation, the list's signature, the TLS certificate on disk.
async fn maintain(registry: Registry, acceptor: Option<SharedAcceptor>, mut stopping: watch::Receiver<bool>) {
    let mut interval = tokio::time::interval(MAINTENANCE);
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            () = stopped(&mut stopping) => return,
        }
        if let Err(error) = registry.maintain().await {
            warn!(%error, "maintenance failed; it is tried again every minute");
        }
        let delegation = registry.dir().delegation();
        if delegation.not_after.seconds_since(registry.now()) < 30 * 86_400 {
            warn!(
                not_after = %delegation.not_after,
                "the registry's right to sign ends soon: run `osier network renew-issuer --root-key FILE`"
            );
        }
        let Some(shared) = &acceptor else { continue };
        match tls::server_config(registry.dir()) {
            Ok(Some(config)) => {
                *shared.write().unwrap_or_else(PoisonError::into_inner) = TlsAcceptor::from(config);
            }
            Ok(None) => {
                warn!("the TLS certificate is gone from the directory; going on with the one in memory")
            }
            Err(error) => warn!(%error, "cannot reload the TLS certificate; going on with the one in memory"),
        }
    }
}
