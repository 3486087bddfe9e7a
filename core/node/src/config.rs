//! How a daemon is configured: [`Config`] from whoever starts it, on top of `settings.toml` in the state
//! directory.

use crate::{
    netwatch::Source, packet_threads::usual_threads, settings::Settings, sockets::Sockets, tun::TunQueue,
};
use osier_proto::node::MeshParameters;
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

/// What a front end decides. Everything that is `None` comes from `settings.toml`, then from the defaults.
#[derive(Clone, Debug)]
pub struct Config {
    pub state_dir: PathBuf,
    pub tun: TunChoice,
    /// UDP port to listen on. A port asked for must be free; the default one gives way to another.
    pub port: Option<u16>,
    /// Control socket; `control.sock` in the state directory when `None`.
    pub control_socket: Option<PathBuf>,
    /// Group that may use the control socket besides the daemon's user.
    pub control_group: Option<String>,
    /// Whether to ask routers for a port mapping. Never done where sockets are protected: those by which it is asked
    /// for are not ours.
    pub port_mapping: Option<bool>,
    /// Where others can reach this node, besides what it finds itself.
    pub endpoints: Option<Vec<SocketAddr>>,
    /// Tunnels to choose and keep, 1 ..= 1000.
    pub outgoing: Option<usize>,
    /// Tunnels that others chose to accept, 0 ..= 3000; three times `outgoing` by default.
    pub incoming: Option<usize>,
    /// Carry only our own traffic.
    pub leaf: Option<bool>,
    /// Use the system's offloads where it has them (on by default).
    pub offload: Option<bool>,
    /// Seal with AES-256-GCM where both ends have instructions for it (on by default).
    pub aes: Option<bool>,
    /// Threads that may handle packets ([`usual_threads`] by default).
    pub packet_threads: Option<usize>,
    /// The log filter that the front end has installed: `log` in `settings.toml` then changes nothing.
    pub log: Option<String>,
    /// What makes the sockets towards the outside; an embedder may have to see each of them first.
    pub sockets: Sockets,
    /// How to learn that the network has changed.
    pub network: Source,
}

impl Config {
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            tun: TunChoice::Settings,
            port: None,
            control_socket: None,
            control_group: None,
            port_mapping: None,
            endpoints: None,
            outgoing: None,
            incoming: None,
            leaf: None,
            offload: None,
            aes: None,
            packet_threads: None,
            log: None,
            sockets: Sockets::default(),
            network: Source::default(),
        }
    }
}

impl Config {
    /// Whether to use offloads.
    pub(crate) fn uses_offload(&self, settings: &Settings) -> bool {
        self.offload.or(settings.offload).unwrap_or(true)
    }

    /// Whether to ask routers for a port mapping.
    pub(crate) fn maps_port(&self, settings: &Settings) -> bool {
        !self.sockets.are_protected() && self.port_mapping.or(settings.port_mapping).unwrap_or(true)
    }

    /// Whether AES-256-GCM may be used besides WireGuard's own cipher.
    pub(crate) fn uses_aes(&self, settings: &Settings) -> bool {
        self.aes.or(settings.aes).unwrap_or(true)
    }

    pub(crate) fn packet_threads(&self, settings: &Settings) -> usize {
        let asked_for = self.packet_threads.or(settings.packet_threads);
        asked_for.unwrap_or_else(usual_threads)
    }

    pub(crate) fn is_leaf(&self, settings: &Settings) -> bool {
        self.leaf.or(settings.leaf).unwrap_or(false)
    }

    /// How neighbours are chosen, with `settings` where nothing else is said.
    pub(crate) fn mesh(&self, settings: &Settings) -> MeshParameters {
        let is_leaf = self.is_leaf(settings);
        let defaults = if is_leaf {
            MeshParameters::leaf()
        } else {
            MeshParameters::default()
        };
        let outgoing = self.outgoing.or(settings.outgoing).unwrap_or(defaults.outgoing);
        MeshParameters {
            outgoing,
            incoming: self.incoming.or(settings.incoming).unwrap_or(3 * outgoing),
            refresh: settings
                .refresh_seconds
                .map_or(defaults.refresh, Duration::from_secs),
            leaf: is_leaf,
            configured: self
                .endpoints
                .clone()
                .unwrap_or_else(|| settings.endpoints.clone()),
        }
    }
}

/// Which TUN device the packets of this machine come from.
#[derive(Clone, Debug)]
pub enum TunChoice {
    /// As `settings.toml` says; a device `osier0` (or the next free number) by default.
    Settings,
    /// A device of this name.
    Named(String),
    /// None: relay for others, answer probes, but carry no traffic of this machine.
    None,
    /// Brought by the embedder (a phone's VPN service, a test), with address and routes already set.
    Given(Arc<dyn TunQueue>),
}
