//! From what the service answers to the one state that screens, notification and tile show.
//!
//! The rule above all others: "Connected" is never said without a round trip that was verified within the last minute.
//! An answer ages here too, so an app that hangs cannot keep the word alive. The desktop app follows the same rules, and
//! both are tested against `desktop/src/model/states.json`.

use crate::{Connection, ConnectionState, Membership, ServiceState, ServiceView, Status};

/// A round trip counts this long.
const VERIFIED_SECONDS: u64 = 60;
const DAY: i64 = 86_400;

/// One line of text each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum StateKind {
    NotJoined,
    Joining,
    Off,
    Stopping,
    Starting,
    Failed,
    Revoked,
    CertificateExpired,
    Offline,
    UdpBlocked,
    Alone,
    Looking,
    CertificateExpires,
    RegistryUnreachable,
    Relayed,
    Connected,
}

/// The faces of an icon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Face {
    Off,
    Connecting,
    Connected,
    Limited,
    Attention,
}

/// The state, and what its text speaks of.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct StateLine {
    pub kind: StateKind,
    pub face: Face,
    /// Position of the switch; `None` when there is nothing to switch.
    pub on: Option<bool>,
    /// Name of the network; empty before a join.
    pub network: String,
    /// Neighbours that answer, and how many are wanted.
    pub neighbours: u64,
    pub wanted: u64,
    /// Whole days that the certificate still lasts.
    pub days_left: i64,
    /// The last verified round trip; `None` where none counts.
    pub verified_seconds: Option<u64>,
    pub verified_with: Option<String>,
}

/// What to show, from `service()`, from `status()` while a node runs, and from how long ago that was answered.
#[uniffi::export]
pub fn state_line(service: ServiceView, status: Option<Status>, age_ms: u64) -> StateLine {
    let network = service
        .member
        .as_ref()
        .map(|member: &Membership| member.network.clone());
    let (kind, face) = match (service.state, &status) {
        (ServiceState::NotJoined, _) => (StateKind::NotJoined, Face::Off),
        (ServiceState::Joining, _) => (StateKind::Joining, Face::Connecting),
        (ServiceState::Off, _) => (StateKind::Off, Face::Off),
        (ServiceState::Stopping, _) => (StateKind::Stopping, Face::Connecting),
        (ServiceState::Failed, _) => (StateKind::Failed, Face::Attention),
        // Between two answers: the service runs a node whose status has not come yet.
        (ServiceState::Starting, _) | (ServiceState::Running, None) => {
            (StateKind::Starting, Face::Connecting)
        }
        (ServiceState::Running, Some(status)) => return of_node(&service, status, age_ms),
    };
    StateLine {
        kind,
        face,
        on: (!matches!(kind, StateKind::NotJoined | StateKind::Joining)).then_some(service.on),
        network: network.unwrap_or_default(),
        neighbours: 0,
        wanted: 0,
        days_left: service
            .member
            .map_or(0, |member| member.certificate_seconds_left.div_euclid(DAY)),
        verified_seconds: None,
        verified_with: None,
    }
}

fn of_node(service: &ServiceView, status: &Status, age_ms: u64) -> StateLine {
    let seconds = age_ms.saturating_add(500) / 1000;
    let left = status
        .certificate_seconds_left
        .saturating_sub(i64::try_from(seconds).unwrap_or(i64::MAX));
    let verified = verified_seconds(&status.connection, seconds);
    let (kind, face) = kind_of(status, left, verified.is_some());
    StateLine {
        kind,
        face,
        on: Some(service.on),
        network: status.network.clone(),
        neighbours: status.connection.neighbours,
        wanted: status.connection.wanted,
        days_left: left.div_euclid(DAY),
        verified_seconds: verified,
        verified_with: status.connection.verified_with.clone(),
    }
}

/// The gravest thing is told.
fn kind_of(status: &Status, left: i64, verified: bool) -> (StateKind, Face) {
    let has = |code: &str| status.health.iter().any(|health| health.code == code);
    let state = status.connection.state;
    if status.stopping {
        return (StateKind::Stopping, Face::Connecting);
    }
    if left <= 0 || has("certificate-expired") {
        return (StateKind::CertificateExpired, Face::Attention);
    }
    if state == ConnectionState::Excluded || has("excluded") {
        return (StateKind::Revoked, Face::Attention);
    }
    let expiring = has("certificate-expiring");
    if !verified {
        return match state {
            ConnectionState::Offline => (StateKind::Offline, Face::Limited),
            ConnectionState::Limited => (StateKind::UdpBlocked, Face::Limited),
            _ if expiring => (StateKind::CertificateExpires, Face::Attention),
            ConnectionState::Alone => (StateKind::Alone, Face::Limited),
            ConnectionState::Starting => (StateKind::Starting, Face::Connecting),
            _ => (StateKind::Looking, Face::Connecting),
        };
    }
    if expiring {
        (StateKind::CertificateExpires, Face::Attention)
    } else if has("registry-unreachable") {
        (StateKind::RegistryUnreachable, Face::Limited)
    } else if state == ConnectionState::Relayed {
        (StateKind::Relayed, Face::Connected)
    } else {
        (StateKind::Connected, Face::Connected)
    }
}

/// Seconds since the last verified round trip; `None` when that is too long ago, or was before everyone was lost.
fn verified_seconds(connection: &Connection, age: u64) -> Option<u64> {
    if !matches!(
        connection.state,
        ConnectionState::Connected | ConnectionState::Relayed
    ) || connection.neighbours == 0
    {
        return None;
    }
    let seconds = connection.verified_seconds?.saturating_add(age);
    (seconds <= VERIFIED_SECONDS).then_some(seconds)
}
