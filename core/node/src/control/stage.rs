//! What a daemon is at the moment, as all front ends see it, and what a service can be told to do.

use super::types::{
    API_VERSION, Certificate, ErrorReply, Hosting, InviteReply, InviteRequest, JoinLine, Membership, Network,
    Problem, ReloadReply, Service, ServiceState,
};
use crate::{clock, control_loop::Ask};
use osier_proto::{certificate, invite::Invite, network};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Published by the service, or once by a plain node.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) managed: bool,
    pub(crate) state: ServiceState,
    pub(crate) on: bool,
    /// As it was read last; a running node knows better.
    pub(crate) member: Option<Membership>,
    pub(crate) problem: Option<Problem>,
    pub(crate) hosting: Option<Hosting>,
    /// The node that answers, if one runs.
    pub(crate) node: Option<mpsc::Sender<Ask>>,
    pub(crate) started: Instant,
}

/// What a service is told.
#[derive(Debug)]
pub(crate) enum Order {
    Join {
        invite: Invite,
        name: Option<String>,
        /// Takes a few lines and is never waited for: a reader may go away.
        lines: mpsc::Sender<JoinLine>,
    },
    /// Make a network, run its registry, and join it.
    Create {
        network: String,
        name: Option<String>,
        lines: mpsc::Sender<JoinLine>,
    },
    Invite {
        request: InviteRequest,
        reply: oneshot::Sender<Result<InviteReply, ErrorReply>>,
    },
    Leave(oneshot::Sender<Result<Service, ErrorReply>>),
    On(oneshot::Sender<Result<Service, ErrorReply>>),
    Off(oneshot::Sender<Result<Service, ErrorReply>>),
    /// Without a node: only whether the settings make sense.
    Reload(oneshot::Sender<Result<ReloadReply, ErrorReply>>),
    /// The device goes to sleep.
    Sleep(oneshot::Sender<()>),
    /// It has woken up: whatever waits to be tried again is tried now.
    Wake(oneshot::Sender<()>),
    Down,
}

impl Stage {
    /// A node that is its own daemon.
    pub(crate) fn plain(node: mpsc::Sender<Ask>, member: Membership) -> Self {
        Self {
            managed: false,
            state: ServiceState::Running,
            on: true,
            member: Some(member),
            problem: None,
            hosting: None,
            node: Some(node),
            started: Instant::now(),
        }
    }

    /// `GET /v1/service`.
    pub(crate) fn service(&self) -> Service {
        Service {
            version: env!("CARGO_PKG_VERSION").into(),
            api_version: API_VERSION,
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            managed: self.managed,
            state: self.state,
            on: self.on,
            member: self.member.clone().map(|mut member| {
                member.certificate.seconds_left = seconds_left(member.certificate.not_after);
                member
            }),
            problem: self.problem.clone(),
            hosting: self.hosting.clone(),
        }
    }

    /// Why there is no node to ask.
    pub(crate) fn refusal(&self) -> ErrorReply {
        let reply = |code, message: &str, fix: &str| ErrorReply::new(code, message).with_fix(fix);
        match (self.state, &self.problem) {
            (ServiceState::NotJoined | ServiceState::Joining, _) => reply(
                "not-joined",
                "this machine belongs to no network yet",
                "join one with an invite: `osier join -`, or make one: `osier network host`",
            ),
            (ServiceState::Off, _) => reply("off", "the mesh is switched off", "switch it on: `osier on`"),
            (ServiceState::Failed, Some(problem)) => reply(
                "node-failed",
                &format!("the node does not run: {}", problem.text),
                &problem.fix,
            ),
            _ => reply("starting", "the node is not running yet", "try again in a moment"),
        }
    }
}

/// Until then; negative afterwards.
pub(crate) fn seconds_left(not_after: u64) -> i64 {
    (not_after as i64).saturating_sub(clock::unix_time().0 as i64)
}

pub(crate) fn describe_certificate(certificate: &certificate::Certificate) -> Certificate {
    Certificate {
        serial: certificate.serial,
        not_before: certificate.not_before.0,
        not_after: certificate.not_after.0,
        seconds_left: seconds_left(certificate.not_after.0),
    }
}

pub(crate) fn describe_network(network: &network::Network) -> Network {
    Network {
        name: network.name.clone(),
        id: network.id().to_string(),
        prefix: network.prefix,
    }
}

pub(crate) fn describe(certificate: &certificate::Certificate, network: &network::Network) -> Membership {
    Membership {
        name: certificate.name.clone(),
        address: certificate.address(),
        prefixes: certificate.prefixes.clone(),
        network: describe_network(network),
        certificate: describe_certificate(certificate),
    }
}
