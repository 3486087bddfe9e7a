//! What the control API says: JSON bodies, shared by the daemon and every front end.
//!
//! Streams (`/v1/events`, `/v1/logs?follow`, `/v1/probe`, `/v1/trace`) are newline-delimited JSON, one value a
//! line. New fields may appear at any time, so readers ignore what they do not know. Keys are 64 hexadecimal
//! digits, durations are milliseconds or seconds as the name says, times are Unix seconds unless named
//! otherwise, counts of data are octets.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::{Ipv6Addr, SocketAddr},
};

mod service;

pub use service::*;

/// Raised by one whenever requests, fields or codes are added. A front end asks for at least the one it was built
/// against; a daemon that tells none is of version 1.
pub const API_VERSION: u32 = 2;

/// What a daemon older than the field is.
fn first_api_version() -> u32 {
    1
}

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// [`API_VERSION`] of the daemon.
    #[serde(default = "first_api_version")]
    pub api_version: u32,
    pub pid: u32,
    pub state: DaemonState,
    pub uptime_seconds: u64,
    /// The node's name in the network.
    pub name: String,
    /// Its Ed25519 public key.
    pub node: String,
    /// Its Babel router-id, 16 hexadecimal digits.
    pub router_id: String,
    pub address: Ipv6Addr,
    pub prefixes: Vec<IpNet>,
    pub network: Network,
    pub certificate: Certificate,
    /// Name of the TUN device; `None` when the node runs without one.
    pub interface: Option<String>,
    /// Name and version of the device's driver, where it is not part of the operating system: on Windows, Wintun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Its MTU in octets; what a tunnel or a session takes may be less (`GET /v1/peers`, `/v1/sessions`).
    #[serde(default)]
    pub mtu: Option<u16>,
    /// What the system does for us with many packets at a time.
    #[serde(default)]
    pub offload: Offload,
    /// The UDP port we listen on.
    pub udp_port: u16,
    /// Where we tell others to reach us, best first.
    pub endpoints: Vec<Endpoint>,
    /// What the NAT in front of us maps to our port, when it lets us ask.
    pub mapped: Option<SocketAddr>,
    pub registry: Registry,
    /// Tunnels that are up.
    pub neighbours: usize,
    /// Members we know of.
    pub members: usize,
    /// Prefixes we can reach.
    pub routes: usize,
    /// End-to-end sessions through relays.
    #[serde(default)]
    pub sessions: usize,
    pub sent_octets: u64,
    pub received_octets: u64,
    /// Counters since start; they only rise. Names are stable.
    pub counters: BTreeMap<String, u64>,
    /// Whether traffic gets through, and how we know.
    #[serde(default)]
    pub connection: Connection,
    /// What the operator should know, gravest first; empty when all is well.
    pub health: Vec<Health>,
}

/// Offloads in use. All are off when the system has none or the operator wants none; `tcp` and `udp` also go off when
/// the kernel refuses what they stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offload {
    /// The TUN device hands over many packets of one flow as one, checksums unfinished.
    pub device: bool,
    /// It takes many TCP segments as one.
    pub tcp: bool,
    /// It takes many UDP datagrams as one.
    pub udp: bool,
    /// The UDP socket sends many datagrams at once. (Single remotes may be exempt: counter `trains-refused`.)
    pub socket: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DaemonState {
    Running,
    /// A planned stop is under way: neighbours are being moved to other routes.
    Stopping,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    pub name: String,
    /// 32 hexadecimal digits.
    pub id: String,
    pub prefix: IpNet,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    pub serial: u64,
    pub not_before: u64,
    pub not_after: u64,
    /// Until `not_after`; negative once it has expired.
    pub seconds_left: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub address: SocketAddr,
    /// `local`, `mapped`, `observed` or `configured`.
    pub kind: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    pub urls: Vec<String>,
    /// `None` until the first attempt has ended.
    pub reachable: Option<bool>,
    pub last_contact: Option<u64>,
    pub last_error: Option<String>,
}

/// One thing that is wrong or soon will be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Health {
    pub severity: Severity,
    pub code: HealthCode,
    pub text: String,
    /// What to do about it.
    pub fix: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The node cannot do its work.
    Error,
    /// It works, but will not for long, or not as well as it could.
    Warning,
    Info,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthCode {
    /// Revoked, or the certificate expired.
    Excluded,
    CertificateExpired,
    CertificateExpiring,
    /// Our clock and the registry's disagree.
    ClockSkew,
    DiskNotWritable,
    NoNeighbours,
    RegistryUnreachable,
    /// The default port was taken; we listen on another.
    UdpPortChanged,
    /// A state file was damaged and has been moved aside.
    StateRecovered,
    /// Running without a TUN device: the node relays, but programs here cannot use the network.
    NoTun,
    /// This machine has no address of its own beyond loopback.
    NoNetwork,
    /// Nobody answers over UDP, though the registry answers over TCP, or the system refuses to send.
    UdpBlocked,
    /// One of a newer daemon.
    #[serde(other)]
    Unknown,
}

/// As in JSON.
impl std::fmt::Display for HealthCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// One row of `GET /v1/peers`: a member with whom we hold a tunnel or to whom we have a route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    pub name: String,
    pub node: String,
    pub address: Ipv6Addr,
    /// A tunnel to it is up. Traffic may still prefer another way; see `via`.
    pub neighbour: bool,
    /// Traffic to it goes straight over our tunnel with it.
    pub direct: bool,
    /// Name of the neighbour that relays for it, when not direct.
    pub via: Option<String>,
    /// We chose it (`true`) or it chose us; `None` without a tunnel.
    pub outgoing: Option<bool>,
    pub endpoint: Option<SocketAddr>,
    pub rtt_ms: Option<f64>,
    /// Babel cost of the tunnel.
    pub cost: Option<u16>,
    /// Babel metric of the route in use; `None`: unreachable.
    pub metric: Option<u16>,
    /// Largest packet in octets (1280 to 1420) that the tunnel carries whole; `None` without a tunnel.
    #[serde(default)]
    pub mtu: Option<u16>,
    pub sent_octets: u64,
    pub received_octets: u64,
    /// Seconds since the last WireGuard handshake.
    pub last_handshake_seconds: Option<u64>,
    /// What packets to it are sealed with: `chacha20-poly1305` or `aes-256-gcm`; `None` without a tunnel.
    pub cipher: Option<String>,
}

/// One row of `GET /v1/sessions`: an end-to-end session with a member whose traffic others relay, unread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub name: String,
    pub node: String,
    pub address: Ipv6Addr,
    /// Name of the neighbour that it goes through now; `None` without a route.
    pub via: Option<String>,
    /// Keys are agreed.
    pub up: bool,
    /// Largest packet in octets (1280 to 1380) that gets to the other end.
    #[serde(default)]
    pub mtu: Option<u16>,
    pub age_seconds: u64,
    /// Since a packet last went either way.
    pub idle_seconds: u64,
    /// Whole IPv6 packets.
    pub sent_packets: u64,
    pub sent_octets: u64,
    pub received_packets: u64,
    pub received_octets: u64,
    /// Seconds since the last WireGuard handshake.
    pub last_handshake_seconds: Option<u64>,
    /// What packets to it are sealed with: `chacha20-poly1305` or `aes-256-gcm`.
    pub cipher: String,
    /// Packets that wait for the handshake.
    pub waiting_packets: usize,
}

/// One row of `GET /v1/routes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub prefix: IpNet,
    /// Name of the node that announces it, when we know its certificate.
    pub origin: Option<String>,
    pub router_id: String,
    /// Name of the neighbour it goes through; `None`: our own.
    pub via: Option<String>,
    pub metric: u16,
    pub seqno: u16,
    pub feasible: bool,
    pub selected: bool,
    /// Why it is, or is not, in use: a name for scripts (`selected`, `worse-metric`, `unfeasible`, …) …
    #[serde(default)]
    pub state: String,
    /// … and a text for people.
    #[serde(default)]
    pub why: String,
}

/// One row of `GET /v1/members`: everyone whose certificate we hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub name: String,
    pub node: String,
    pub address: Ipv6Addr,
    pub prefixes: Vec<IpNet>,
    /// It is this node.
    pub own: bool,
    /// We have a route to it (or it is us).
    pub reachable: bool,
    pub endpoints: Vec<Endpoint>,
    pub leaf: bool,
    pub relay: bool,
    pub serial: u64,
    pub not_after: u64,
    /// Sequence of its record.
    pub sequence: u64,
}

/// `GET /v1/topology`: the links this node knows: its own tunnels, and behind them whom they lead to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    pub nodes: Vec<TopologyNode>,
    pub links: Vec<TopologyLink>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopologyNode {
    pub name: String,
    pub node: String,
    pub address: Ipv6Addr,
    pub own: bool,
    pub reachable: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopologyLink {
    /// Names.
    pub from: String,
    pub to: String,
    /// `true`: a tunnel of ours; `false`: only known to be somewhere behind `from`.
    pub tunnel: bool,
    /// Babel cost of the tunnel, or metric of the route.
    pub cost: Option<u16>,
}

/// One line of `GET /v1/logs`: the newest lines, oldest first; with `?follow=true` then every further one.
/// `?limit=N` bounds the backlog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Unix time in milliseconds.
    pub unix_ms: u64,
    /// `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`.
    pub level: String,
    /// The module that speaks.
    pub target: String,
    /// The message, then its fields as `key=value`.
    pub message: String,
}

/// One line of `GET /v1/events`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventLine {
    /// Unix time in milliseconds.
    pub unix_ms: u64,
    #[serde(flatten)]
    pub event: Event,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The first line: the stream is established. Before a service has joined there is no name and no address.
    Hello {
        name: Option<String>,
        address: Option<Ipv6Addr>,
    },
    /// The service was switched, joined or left a network, or its node started, stopped or failed.
    ServiceChanged {
        service: Box<Service>,
    },
    NeighbourUp {
        node: String,
        name: String,
    },
    NeighbourDown {
        node: String,
        name: String,
        reason: String,
    },
    /// `via` is the neighbour's name; `None` with metric 65535: the route is gone.
    RouteChanged {
        prefix: IpNet,
        via: Option<String>,
        metric: u16,
    },
    Revoked {
        node: String,
    },
    Excluded {
        reason: String,
    },
    HealthChanged {
        health: Vec<Health>,
    },
    /// This reader was too slow and has missed this many events.
    Missed {
        count: u64,
    },
    Stopping,
    Stopped,
    /// One of a newer daemon.
    #[serde(other)]
    Unknown,
}

/// `POST /v1/probe`: ICMPv6 echoes through the mesh, from the node itself; answered by [`ProbeLine`]s.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeRequest {
    /// A member's name, or an address inside the network's prefix.
    pub target: String,
    /// Echoes to send; 0: until the reader goes away.
    #[serde(default = "defaults::count")]
    pub count: u32,
    /// 10 ..= 60,000.
    #[serde(default = "defaults::interval")]
    pub interval_ms: u32,
    /// An echo not answered within this is lost; 10 ..= 60,000.
    #[serde(default = "defaults::timeout")]
    pub timeout_ms: u32,
    /// 1 ..= 255.
    #[serde(default = "defaults::hop_limit")]
    pub hop_limit: u8,
    /// Octets of echo data, at most 1,232.
    #[serde(default = "defaults::payload")]
    pub payload: u16,
}

impl ProbeRequest {
    /// Four echoes, one a second.
    pub fn new(target: impl Into<String>) -> Self {
        Self {
            target: target.into(),
            count: defaults::count(),
            interval_ms: defaults::interval(),
            timeout_ms: defaults::timeout(),
            hop_limit: defaults::hop_limit(),
            payload: defaults::payload(),
        }
    }
}

/// Defaults of [`ProbeRequest`] and [`TraceRequest`].
mod defaults {
    pub(super) fn count() -> u32 {
        4
    }
    pub(super) fn interval() -> u32 {
        1000
    }
    pub(super) fn timeout() -> u32 {
        2000
    }
    pub(super) fn hop_limit() -> u8 {
        64
    }
    pub(super) fn payload() -> u16 {
        56
    }
    pub(super) fn max_hops() -> u8 {
        32
    }
    pub(super) fn tries() -> u8 {
        3
    }
    pub(super) fn trace_timeout() -> u32 {
        1000
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
pub enum ProbeLine {
    Started {
        address: Ipv6Addr,
        name: Option<String>,
    },
    Reply {
        sequence: u32,
        from: Ipv6Addr,
        from_name: Option<String>,
        outcome: Outcome,
        rtt_ms: f64,
    },
    Lost {
        sequence: u32,
    },
    /// The last line, unless the reader goes away first.
    Summary {
        sent: u32,
        received: u32,
        min_ms: Option<f64>,
        mean_ms: Option<f64>,
        max_ms: Option<f64>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The target answered.
    Echo,
    /// A node on the way said that the hop limit ran out.
    TimeExceeded,
    /// A node on the way knows no way further.
    Unreachable,
    TooBig,
}

/// `POST /v1/trace`: the hops to a member, by echoes with rising hop limits; answered by [`TraceLine`]s.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceRequest {
    /// A member's name, or an address inside the network's prefix.
    pub target: String,
    /// 1 ..= 64.
    #[serde(default = "defaults::max_hops")]
    pub max_hops: u8,
    /// Echoes per hop until one is answered; 1 ..= 10.
    #[serde(default = "defaults::tries")]
    pub tries: u8,
    /// 10 ..= 60,000.
    #[serde(default = "defaults::trace_timeout")]
    pub timeout_ms: u32,
}

impl TraceRequest {
    pub fn new(target: impl Into<String>) -> Self {
        Self {
            target: target.into(),
            max_hops: defaults::max_hops(),
            tries: defaults::tries(),
            timeout_ms: defaults::trace_timeout(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
pub enum TraceLine {
    Started {
        address: Ipv6Addr,
        name: Option<String>,
    },
    /// `from` is `None` when nobody answered.
    Hop {
        hop: u8,
        from: Option<Ipv6Addr>,
        name: Option<String>,
        outcome: Option<Outcome>,
        rtt_ms: Option<f64>,
    },
    Done {
        reached: bool,
    },
}

/// `POST /v1/reload`: settings were read again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReply {
    /// Settings that changed and took effect.
    pub applied: Vec<String>,
    /// Settings that changed but need a restart.
    pub needs_restart: Vec<String>,
}

/// `POST /v1/down`: answered when the node has stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownReply {
    /// How long the planned stop took.
    pub elapsed_ms: u64,
}

/// Every answer with a 4xx or 5xx status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// Stable, machine-readable; `docs/control-api.md` lists them.
    pub code: String,
    pub message: String,
    /// What to do about it, where the message does not say so.
    #[serde(default)]
    pub fix: Option<String>,
}

impl ErrorReply {
    /// One whose message says it all.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            fix: None,
        }
    }

    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}
