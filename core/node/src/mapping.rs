//! Port mapping: asks the router in front of us (UPnP IGD) to pass our UDP port through.
//!
//! One task of its own, so that a slow or broken router never holds anything up. It looks for a router when
//! our private IPv4 addresses change, keeps one mapping alive with a lease (so that a crash leaves nothing
//! behind for long), and removes it when the node stops.

use crate::{netwatch::private_v4, random};
use igd_next::{
    AddPortError, PortMappingProtocol, SearchOptions,
    aio::{Gateway, tokio::Tokio},
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

/// What the router shows as the mapping's purpose.
const DESCRIPTION: &str = "Osier";
/// A router on the local link answers at once or not at all.
const SEARCH: Duration = Duration::from_secs(3);
/// For each request to a router.
const ANSWER: Duration = Duration::from_secs(5);
/// Stopping does not wait longer for the router.
const REMOVAL: Duration = Duration::from_secs(2);
/// Searching again after a failure: soon at first, as the search and its answer are datagrams, which get lost.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LAST_RETRY: Duration = Duration::from_secs(30 * 60);

#[derive(Clone, Copy, Debug)]
pub struct MappingConfig {
    /// Our UDP port.
    pub port: u16,
    /// Asked of the router; renewed at half of it. At least 2 s.
    pub lease: Duration,
}

impl MappingConfig {
    pub fn new(port: u16) -> Self {
        Self {
            port,
            lease: Duration::from_secs(20 * 60),
        }
    }
}

/// The running task.
#[derive(Debug)]
pub struct Mapper {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    mapped: watch::Receiver<Option<SocketAddr>>,
}

impl Mapper {
    /// Starts to look for a router whenever `addresses` changes.
    pub fn start(config: MappingConfig, addresses: watch::Receiver<Vec<IpAddr>>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (report, mapped) = watch::channel(None);
        let task = tokio::spawn(run(config, addresses, report, stopped));
        Self {
            stop: Some(stop),
            task,
            mapped,
        }
    }

    /// Where we can be reached from outside, as long as the mapping holds.
    pub fn mapped(&self) -> watch::Receiver<Option<SocketAddr>> {
        self.mapped.clone()
    }

    /// Removes the mapping; returns when that is done or has taken too long.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = timeout(REMOVAL, &mut self.task).await;
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A mapping that holds.
struct Mapping {
    gateway: Gateway<Tokio>,
    local: Ipv4Addr,
    external: SocketAddrV4,
}

async fn run(
    config: MappingConfig,
    mut addresses: watch::Receiver<Vec<IpAddr>>,
    report: watch::Sender<Option<SocketAddr>>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut mapping: Option<Mapping> = None;
    let mut failures = 0;
    loop {
        let private = private_v4(&addresses.borrow_and_update());
        // A change of addresses must not wait for a router that is no longer there; a stop neither.
        let interrupted = tokio::select! {
            () = refresh(&config, &mut mapping, &private) => None,
            _ = addresses.changed() => Some(false),
            _ = &mut stopped => Some(true),
        };
        match interrupted {
            Some(true) => break,
            Some(false) => continue,
            None => {}
        }
        tell(&report, mapping.as_ref());
        let pause = match (&mapping, private.is_empty()) {
            (Some(_), _) => {
                failures = 0;
                config.lease / 2
            }
            // Nothing to map: only a change of addresses can alter that.
            (None, true) => Duration::from_secs(u64::from(u32::MAX)),
            (None, false) => {
                failures += 1;
                random::back_off(failures, FIRST_RETRY, LAST_RETRY)
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = addresses.changed() => {
                failures = 0;
                if changed.is_err() {
                    break;
                }
            }
            _ = &mut stopped => break,
        }
    }
    if let Some(mapping) = &mapping {
        remove(mapping).await;
    }
}

fn tell(report: &watch::Sender<Option<SocketAddr>>, mapping: Option<&Mapping>) {
    let external = mapping.map(|m| SocketAddr::V4(m.external));
    report.send_if_modified(|before| {
        let changed = *before != external;
        match external {
            Some(external) if changed => tracing::info!(%external, "the router maps our port"),
            None if changed => tracing::info!("the router no longer maps our port"),
            _ => {}
        }
        *before = external;
        changed
    });
}

/// Renews the mapping we have, or looks for a router that gives us one. May be cancelled: a mapping that holds
/// stays in `mapping`, so that it can still be removed.
async fn refresh(config: &MappingConfig, mapping: &mut Option<Mapping>, private: &[Ipv4Addr]) {
    if let Some(held) = mapping {
        if private.contains(&held.local)
            && let Ok(external) = map(config, &held.gateway, held.local, held.external.port()).await
        {
            held.external = external;
            return;
        }
        remove(held).await;
        *mapping = None;
    }
    for local in private {
        match find(config, *local).await {
            Ok(found) => {
                *mapping = Some(found);
                return;
            }
            Err(reason) => tracing::debug!(%local, reason, "no port mapping"),
        }
    }
}

async fn find(config: &MappingConfig, local: Ipv4Addr) -> Result<Mapping, String> {
    let mut options = SearchOptions::default();
    options.bind_addr = SocketAddr::new(local.into(), 0);
    options.timeout = Some(SEARCH);
    options.single_search_timeout = Some(SEARCH);
    let gateway = igd_next::aio::tokio::search_gateway(options)
        .await
        .map_err(|e| e.to_string())?;
    let external = map(config, &gateway, local, config.port).await?;
    Ok(Mapping {
        gateway,
        local,
        external,
    })
}

/// Asks for `wanted` as the outer port, then for any.
async fn map(
    config: &MappingConfig,
    gateway: &Gateway<Tokio>,
    local: Ipv4Addr,
    wanted: u16,
) -> Result<SocketAddrV4, String> {
    let inner = SocketAddr::new(local.into(), config.port);
    let lease = u32::try_from(config.lease.as_secs()).unwrap_or(u32::MAX);
    let add = |port, lease| gateway.add_port(PortMappingProtocol::UDP, port, inner, lease, DESCRIPTION);
    let work = async {
        let port = match add(wanted, lease).await {
            Ok(()) => wanted,
            // Some routers know no leases.
            Err(AddPortError::OnlyPermanentLeasesSupported) => {
                add(wanted, 0).await.map_err(|e| e.to_string())?;
                wanted
            }
            Err(AddPortError::PortInUse) => gateway
                .add_any_port(PortMappingProtocol::UDP, inner, lease, DESCRIPTION)
                .await
                .map_err(|e| e.to_string())?,
            Err(error) => return Err(error.to_string()),
        };
        match gateway.get_external_ip().await {
            Ok(IpAddr::V4(ip)) if !ip.is_unspecified() => Ok(SocketAddrV4::new(ip, port)),
            Ok(ip) => Err(format!("the router's outer address is {ip}")),
            Err(error) => Err(error.to_string()),
        }
    };
    timeout(ANSWER, work)
        .await
        .map_err(|_| "the router does not answer".to_owned())?
}

async fn remove(mapping: &Mapping) {
    let removal = mapping
        .gateway
        .remove_port(PortMappingProtocol::UDP, mapping.external.port());
    match timeout(REMOVAL, removal).await {
        Ok(Ok(())) => tracing::debug!(external = %mapping.external, "port mapping removed"),
        Ok(Err(error)) => tracing::debug!(%error, "the port mapping was not removed"),
        Err(_) => tracing::debug!("the router did not answer the removal of the port mapping"),
    }
}
