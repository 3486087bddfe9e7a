//! Records of the control API as Kotlin and Swift get them: what an app's screens show. Texts and states are the same.

use crate::Problem;
use osier_core::control::types as api;

/// Unix seconds, octets and milliseconds are meant where names say so.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ServiceView {
    pub state: ServiceState,
    /// The switch, as it is remembered across restarts.
    pub on: bool,
    /// Known once joined, also while switched off.
    pub member: Option<Membership>,
    /// Why the node does not run though it should, or what could not be remembered.
    pub problem: Option<Problem>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum ServiceState {
    /// It belongs to no network.
    NotJoined,
    Joining,
    /// Joined, and switched off.
    Off,
    Starting,
    /// The node runs; whether it is connected is told by `status()`.
    Running,
    Stopping,
    /// It is tried again by itself; `problem` says why.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Membership {
    pub name: String,
    pub address: String,
    pub network: String,
    /// All of the network's addresses, as ADDRESS/LENGTH.
    pub prefix: String,
    pub certificate_not_after_unix: u64,
    /// Negative once it has expired.
    pub certificate_seconds_left: i64,
}

/// What the platform has to set up for `set_tun()`.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct TunSettings {
    /// Ours: `VpnService.Builder.addAddress(address, address_length)`.
    pub address: String,
    pub address_length: u8,
    /// To be routed to the device: `addRoute(route, route_length)`. Nothing else goes through the mesh.
    pub route: String,
    pub route_length: u8,
    pub mtu: u16,
}

#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Status {
    pub name: String,
    pub address: String,
    pub uptime_seconds: u64,
    pub udp_port: u16,
    /// Where we tell others to reach us, best first.
    pub endpoints: Vec<String>,
    pub registry: Registry,
    /// Tunnels that are up.
    pub neighbours: u64,
    /// Members we know of.
    pub members: u64,
    pub sent_octets: u64,
    pub received_octets: u64,
    pub connection: Connection,
    /// What the user should know, gravest first; empty when all is well.
    pub health: Vec<Health>,
}

#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Registry {
    pub urls: Vec<String>,
    /// `None` until the first attempt has ended.
    pub reachable: Option<bool>,
    pub last_error: Option<String>,
}

/// Whether traffic gets through, and how we know.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Connection {
    pub state: ConnectionState,
    /// How long ago a neighbour last answered us through the mesh; `None`: never since the start.
    pub verified_seconds: Option<u64>,
    pub verified_with: Option<String>,
    /// Neighbours that answer now, and how many the node wants at least.
    pub neighbours: u64,
    pub wanted: u64,
    /// Members reached straight over a tunnel of ours, and those reached through others.
    pub direct: u64,
    pub relayed: u64,
    /// Whether UDP gets through from here, and how that was concluded.
    pub udp_text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum ConnectionState {
    /// Revoked, or the certificate is at its end.
    Excluded,
    /// A neighbour has answered within the last minute.
    Connected,
    /// Likewise, but everything goes through relays.
    Relayed,
    /// Waiting for a network.
    Offline,
    /// UDP seems to be blocked here.
    Limited,
    /// No other member is known.
    Alone,
    Starting,
    /// Nobody has answered within the last minute.
    Looking,
}

#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Health {
    pub severity: Severity,
    /// Stable, machine-readable: those of the control API.
    pub code: String,
    pub text: String,
    pub fix: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Severity {
    Error,
    Warning,
    Info,
}

/// Another member of the network.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Device {
    pub name: String,
    pub address: String,
    pub path: DevicePath,
    /// Name of the neighbour that relays.
    pub via: Option<String>,
    /// Of a direct way.
    pub rtt_ms: Option<f64>,
    pub sent_octets: u64,
    pub received_octets: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum DevicePath {
    Direct,
    Relayed,
    Unreachable,
}

/// Octets of IPv6 packets per day (UTC), oldest first; days without traffic are left out.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Usage {
    /// `YYYY-MM-DD`.
    pub today: String,
    pub days: Vec<UsageDay>,
}

#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct UsageDay {
    pub date: String,
    /// From and to this device.
    pub own_sent_octets: u64,
    pub own_received_octets: u64,
    /// Carried for others.
    pub carried_sent_octets: u64,
    pub carried_received_octets: u64,
}

#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct PingReply {
    /// Who answered: the target, or a node on the way.
    pub from: String,
    pub name: Option<String>,
    pub outcome: PingOutcome,
    pub rtt_ms: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum PingOutcome {
    /// The target answered.
    Echo,
    /// A node on the way knows no way further, or the packet got no further.
    Unreachable,
}

/// The network that the device is in now.
#[derive(Clone, Debug, Default, PartialEq, Eq, uniffi::Record)]
pub struct NetworkInfo {
    /// This device's addresses there (`LinkProperties.getLinkAddresses`); empty without a network. `None`: the core looks
    /// for them.
    pub addresses: Option<Vec<String>>,
}

impl From<api::Service> for ServiceView {
    fn from(service: api::Service) -> Self {
        let state = match service.state {
            api::ServiceState::NotJoined => ServiceState::NotJoined,
            api::ServiceState::Joining => ServiceState::Joining,
            api::ServiceState::Off => ServiceState::Off,
            api::ServiceState::Starting => ServiceState::Starting,
            api::ServiceState::Running => ServiceState::Running,
            api::ServiceState::Stopping => ServiceState::Stopping,
            // There is no newer daemon: it is this library.
            api::ServiceState::Failed | api::ServiceState::Unknown => ServiceState::Failed,
        };
        Self {
            state,
            on: service.on,
            member: service.member.map(Into::into),
            problem: service.problem.map(Into::into),
        }
    }
}

impl From<api::Membership> for Membership {
    fn from(member: api::Membership) -> Self {
        Self {
            name: member.name,
            address: member.address.to_string(),
            network: member.network.name,
            prefix: member.network.prefix.to_string(),
            certificate_not_after_unix: member.certificate.not_after,
            certificate_seconds_left: member.certificate.seconds_left,
        }
    }
}

impl From<&api::Membership> for TunSettings {
    fn from(member: &api::Membership) -> Self {
        Self {
            address: member.address.to_string(),
            address_length: 128,
            route: member.network.prefix.network().to_string(),
            route_length: member.network.prefix.prefix_len(),
            mtu: osier_core::tun::MTU,
        }
    }
}

impl From<api::Status> for Status {
    fn from(status: api::Status) -> Self {
        Self {
            name: status.name,
            address: status.address.to_string(),
            uptime_seconds: status.uptime_seconds,
            udp_port: status.udp_port,
            endpoints: status.endpoints.iter().map(|e| e.address.to_string()).collect(),
            registry: Registry {
                urls: status.registry.urls,
                reachable: status.registry.reachable,
                last_error: status.registry.last_error,
            },
            neighbours: status.neighbours as u64,
            members: status.members as u64,
            sent_octets: status.sent_octets,
            received_octets: status.received_octets,
            connection: status.connection.into(),
            health: status.health.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<api::Connection> for Connection {
    fn from(connection: api::Connection) -> Self {
        let state = match connection.state {
            api::ConnectionState::Excluded => ConnectionState::Excluded,
            api::ConnectionState::Connected => ConnectionState::Connected,
            api::ConnectionState::Relayed => ConnectionState::Relayed,
            api::ConnectionState::Offline => ConnectionState::Offline,
            api::ConnectionState::Limited => ConnectionState::Limited,
            api::ConnectionState::Alone => ConnectionState::Alone,
            api::ConnectionState::Starting => ConnectionState::Starting,
            api::ConnectionState::Looking | api::ConnectionState::Unknown => ConnectionState::Looking,
        };
        Self {
            state,
            verified_seconds: connection.verified_seconds,
            verified_with: connection.verified_with,
            neighbours: connection.neighbours as u64,
            wanted: connection.wanted as u64,
            direct: connection.direct as u64,
            relayed: connection.relayed as u64,
            udp_text: connection.udp.why,
        }
    }
}

impl From<api::Health> for Health {
    fn from(health: api::Health) -> Self {
        let severity = match health.severity {
            api::Severity::Error => Severity::Error,
            api::Severity::Warning => Severity::Warning,
            api::Severity::Info => Severity::Info,
        };
        Self {
            severity,
            code: health.code.to_string(),
            text: health.text,
            fix: health.fix,
        }
    }
}

impl From<api::Usage> for Usage {
    fn from(usage: api::Usage) -> Self {
        let day = |day: api::UsageDay| UsageDay {
            date: day.date,
            own_sent_octets: day.own.sent,
            own_received_octets: day.own.received,
            carried_sent_octets: day.carried.sent,
            carried_received_octets: day.carried.received,
        };
        Self {
            today: usage.today,
            days: usage.days.into_iter().map(day).collect(),
        }
    }
}

impl From<osier_core::service::Pong> for PingReply {
    fn from(pong: osier_core::service::Pong) -> Self {
        Self {
            from: pong.from.to_string(),
            name: pong.name,
            outcome: match pong.outcome {
                api::Outcome::Echo => PingOutcome::Echo,
                api::Outcome::TimeExceeded | api::Outcome::Unreachable | api::Outcome::TooBig => {
                    PingOutcome::Unreachable
                }
            },
            rtt_ms: pong.rtt.as_secs_f64() * 1000.0,
        }
    }
}

/// Everyone but ourselves; reachable ones first, then by name: as the desktop app lists them.
pub(crate) fn devices(members: Vec<api::Member>, peers: &[api::Peer]) -> Vec<Device> {
    let device = |member: api::Member| {
        let peer = peers.iter().find(|peer| peer.node == member.node);
        let path = match peer {
            Some(peer) if peer.direct => DevicePath::Direct,
            Some(peer) if peer.metric.is_some() => DevicePath::Relayed,
            _ if member.reachable => DevicePath::Relayed,
            _ => DevicePath::Unreachable,
        };
        Device {
            name: member.name,
            address: member.address.to_string(),
            path,
            via: peer.and_then(|peer| peer.via.clone()),
            // Of a way in use: one that traffic avoids says nothing about it.
            rtt_ms: peer
                .filter(|_| path == DevicePath::Direct)
                .and_then(|peer| peer.rtt_ms),
            sent_octets: peer.map_or(0, |peer| peer.sent_octets),
            received_octets: peer.map_or(0, |peer| peer.received_octets),
        }
    };
    let others = members.into_iter().filter(|member| !member.own);
    let mut devices: Vec<Device> = others.map(device).collect();
    devices.sort_by(|a, b| {
        let rank = |device: &Device| (device.path == DevicePath::Unreachable, device.name.to_lowercase());
        rank(a).cmp(&rank(b))
    });
    devices
}
