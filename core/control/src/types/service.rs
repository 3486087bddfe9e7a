//! What a front end needs beside the node itself: the service around it, whether traffic gets through, usage and
//! diagnostics.

use super::{Certificate, Network};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::Ipv6Addr;

/// `GET /v1/service`: answered in every state, also while there is no node. `POST /v1/on`, `off` and `leave` answer
/// with it too, once they have taken effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Version of the daemon.
    pub version: String,
    /// [`super::API_VERSION`] of the daemon.
    pub api_version: u32,
    pub pid: u32,
    pub uptime_seconds: u64,
    /// Started with `osier up --service`: it outlives membership and switch, and takes `join`, `leave`, `on` and
    /// `off`. A plain `osier up` is always `running`, and refuses these with `not-a-service`.
    pub managed: bool,
    pub state: ServiceState,
    /// The switch, as it is remembered across restarts.
    pub on: bool,
    /// Known once joined, also while switched off.
    pub member: Option<Membership>,
    /// Why the node does not run though it should, or what could not be remembered.
    pub problem: Option<Problem>,
    /// The network that was made on this machine, whose registry the service runs.
    #[serde(default)]
    pub hosting: Option<Hosting>,
}

/// A network of this machine's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hosting {
    /// Its name.
    pub network: String,
    /// Whether its registry runs; when it does not, newcomers and renewals wait.
    pub serving: bool,
}

/// `POST /v1/network`: makes a network whose registry this service runs, and joins it. Answered by [`JoinLine`]s.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkRequest {
    /// The network's name, for people.
    pub network: String,
    /// The node's name, as for [`JoinRequest`].
    #[serde(default)]
    pub name: Option<String>,
}

/// `POST /v1/invite`: an invite to the network that this service hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InviteRequest {
    /// How many nodes may join with it, 1 ..= 1000.
    #[serde(default = "one")]
    pub uses: u64,
    /// How long it is good for, 60 ..= 31,536,000 s.
    #[serde(default = "a_day")]
    pub lifetime_seconds: u64,
}

fn one() -> u64 {
    1
}

fn a_day() -> u64 {
    86_400
}

impl Default for InviteRequest {
    fn default() -> Self {
        Self {
            uses: one(),
            lifetime_seconds: a_day(),
        }
    }
}

/// The invite is a secret until it is used: it is never logged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteReply {
    /// `osier://join/…`
    pub invite: String,
    /// Unix seconds.
    pub expires: u64,
    /// Where whoever joins looks for the registry.
    pub registries: Vec<String>,
}

impl std::fmt::Debug for InviteReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InviteReply")
            .field("expires", &self.expires)
            .field("registries", &self.registries)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceState {
    /// It belongs to no network: `POST /v1/join` changes that.
    NotJoined,
    /// A join is under way.
    Joining,
    /// Joined, and switched off.
    Off,
    Starting,
    /// The node runs; whether it is connected is told by `GET /v1/status`.
    Running,
    Stopping,
    /// Joined and on, but the node could not start or had to stop: see `problem`. It is tried again by itself, and
    /// at once after `POST /v1/on`.
    Failed,
    /// One of a newer daemon.
    #[serde(other)]
    Unknown,
}

/// Who this machine is in which network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    pub name: String,
    pub address: Ipv6Addr,
    pub prefixes: Vec<IpNet>,
    pub network: Network,
    pub certificate: Certificate,
}

/// What went wrong, with a way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Stable, machine-readable.
    pub code: String,
    pub text: String,
    pub fix: String,
}

/// `POST /v1/join`: answered by [`JoinLine`]s. The invite is a secret until it is used: it is never logged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// `osier://join/…`; white space in it does not matter.
    pub invite: String,
    /// The node's name, 1 to 63 letters, digits and hyphens; the host's name when there is none.
    #[serde(default)]
    pub name: Option<String>,
}

impl std::fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinRequest")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
pub enum JoinLine {
    /// The invite is well-formed; these registries are asked in turn.
    Asking { registries: Vec<String> },
    /// The registry has signed, and everything is saved.
    Joined {
        member: Box<Membership>,
        /// It was a member already; nothing was changed.
        already_member: bool,
    },
    /// The last line when all went well: the node runs (or `service.problem` says why it does not).
    Done { service: Box<Service> },
    /// The last line otherwise. Codes: see `docs/control-api.md`.
    Failed {
        code: String,
        message: String,
        fix: Option<String>,
    },
    /// One of a newer daemon.
    #[serde(other)]
    Unknown,
}

/// Whether traffic gets through, and how we know: part of [`super::Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    pub state: ConnectionState,
    /// When a neighbour last answered us through the mesh (Unix seconds); `None`: never since the start.
    pub verified_at: Option<u64>,
    /// How long ago that was.
    pub verified_seconds: Option<u64>,
    /// Who answered.
    pub verified_with: Option<String>,
    pub evidence: Option<Evidence>,
    /// Neighbours that answer now …
    pub neighbours: usize,
    /// … and how many the node wants at least: fewer than its setting when there are not so many other members.
    pub wanted: usize,
    /// Members reached straight over a tunnel of ours, and those reached through others.
    pub direct: usize,
    pub relayed: usize,
    /// At most one member is reached directly, and all others through relays.
    pub through_relays: bool,
    pub udp: UdpView,
    /// Own addresses others might reach us at, loopback excluded; 0: waiting for a network.
    pub local_addresses: usize,
}

/// In this order; the first that applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionState {
    /// Revoked, or the certificate is at its end.
    Excluded,
    /// A neighbour has answered within the last minute.
    Connected,
    /// Likewise, but everything goes through relays.
    Relayed,
    /// No usable local address: waiting for a network.
    Offline,
    /// UDP seems to be blocked here.
    Limited,
    /// No other member is known.
    Alone,
    /// Nobody has answered yet, and it has only just started.
    #[default]
    Starting,
    /// Nobody has answered within the last minute.
    Looking,
    /// One of a newer daemon.
    #[serde(other)]
    Unknown,
}

/// What a round trip was verified by; both prove the other end's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// An echo inside a tunnel came back.
    Echo,
    /// A handshake of ours was answered.
    Handshake,
}

/// Whether UDP gets through from here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UdpView {
    pub state: UdpState,
    /// How that was concluded.
    pub why: String,
    /// Members that were tried without an answer since the network last changed.
    pub unanswered: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UdpState {
    /// Too little was tried to say.
    #[default]
    Unknown,
    Works,
    SeemsBlocked,
}

/// `GET /v1/usage?days=N`: octets of IPv6 packets per day (UTC), oldest first. Days without traffic are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// `YYYY-MM-DD`.
    pub today: String,
    pub days: Vec<UsageDay>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageDay {
    /// `YYYY-MM-DD`, UTC.
    pub date: String,
    /// From and to this machine.
    pub own: Octets,
    /// Carried for others: what comes in goes out again.
    pub carried: Octets,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Octets {
    pub sent: u64,
    pub received: u64,
}

/// `GET /v1/diagnostics`: answered in every state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostics {
    /// In the order in which things depend on each other: the first error is the one to look at.
    pub checks: Vec<Check>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Stable, machine-readable.
    pub name: String,
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do; `None` when all is well.
    pub fix: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Ok,
    Warning,
    Error,
}
