//! What the control API asks of the control task.

use super::ControlLoop;
use crate::{
    clock,
    control::types::{
        ErrorReply, Member, Membership, Outcome, Peer, ReloadReply, Route, Session, Status, Topology, Usage,
    },
    logging,
    settings::Settings,
};
use osier_proto::{Instant, node::Command};
use std::{net::Ipv6Addr, time::Duration};
use tokio::sync::oneshot;

use super::PROBES;

/// A question or an order with where the answer goes. An asker that has gone away is no error.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Answered when a neighbour has answered of late.
    Verify(oneshot::Sender<()>),
    Status(oneshot::Sender<Status>),
    /// Octets of so many days.
    Usage(usize, oneshot::Sender<Usage>),
    Membership(oneshot::Sender<Membership>),
    Peers(oneshot::Sender<Vec<Peer>>),
    Sessions(oneshot::Sender<Vec<Session>>),
    Routes(oneshot::Sender<Vec<Route>>),
    Members(oneshot::Sender<Vec<Member>>),
    Topology(oneshot::Sender<Topology>),
    /// A member's name, or an address in the network.
    Resolve(String, oneshot::Sender<Result<Target, ErrorReply>>),
    /// Answered when the echo is; never when it is lost.
    Probe {
        target: Ipv6Addr,
        hop_limit: u8,
        payload: usize,
        answer: oneshot::Sender<ProbeAnswer>,
    },
    Reload(oneshot::Sender<Result<ReloadReply, ErrorReply>>),
    /// The device goes to sleep; answered when everything is saved or on its way to the disk.
    Sleep(oneshot::Sender<()>),
    /// It has woken up.
    Wake(oneshot::Sender<()>),
    Stop,
}

#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: Ipv6Addr,
    pub(crate) name: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct ProbeAnswer {
    pub(crate) from: Ipv6Addr,
    pub(crate) from_name: Option<String>,
    pub(crate) outcome: Outcome,
    pub(crate) rtt: Duration,
}

impl ControlLoop {
    pub(super) fn answer(&mut self, ask: Ask, now: Instant) {
        match ask {
            Ask::Verify(reply) => self.verify(reply, now),
            Ask::Status(reply) => drop(reply.send(self.status(now))),
            Ask::Usage(days, reply) => {
                self.count_usage();
                let usage = self.parts.usage.ledger().view(clock::unix_time(), days);
                let _ = reply.send(usage);
            }
            Ask::Membership(reply) => drop(reply.send(self.membership())),
            Ask::Peers(reply) => drop(reply.send(self.peers(now))),
            Ask::Sessions(reply) => drop(reply.send(self.sessions(now))),
            Ask::Routes(reply) => drop(reply.send(self.routes())),
            Ask::Members(reply) => drop(reply.send(self.members(now))),
            Ask::Topology(reply) => drop(reply.send(self.topology(now))),
            Ask::Resolve(target, reply) => drop(reply.send(self.resolve(&target))),
            Ask::Probe {
                target,
                hop_limit,
                payload,
                answer,
            } => {
                if self.probes.len() >= PROBES {
                    self.probes.retain(|_, waiting| !waiting.is_closed());
                }
                // Dropping the sender of a probe too many tells its asker that it is lost.
                if self.probes.len() < PROBES {
                    let id = self.next_probe;
                    self.next_probe += 1;
                    self.probes.insert(id, answer);
                    self.parts.node.handle_command(
                        Command::Probe {
                            id,
                            target,
                            hop_limit,
                            payload,
                        },
                        now,
                    );
                }
            }
            Ask::Reload(reply) => drop(reply.send(self.reload(now))),
            Ask::Sleep(reply) => {
                self.sleep();
                let _ = reply.send(());
            }
            Ask::Wake(reply) => {
                self.wake(now);
                let _ = reply.send(());
            }
            Ask::Stop => self.begin_stop(now),
        }
    }

    fn reload(&mut self, now: Instant) -> Result<ReloadReply, ErrorReply> {
        let bad = |error: &dyn std::fmt::Display| ErrorReply::new("bad-settings", error.to_string());
        let source = &mut self.parts.settings;
        let new = Settings::load(&source.dir).map_err(|e| bad(&e))?;
        if let Some(filter) = &new.log {
            logging::parse(filter).map_err(|e| bad(&e))?;
        }
        let (applied, needs_restart) = source.current.differences(&new);
        let changed = |name: &str| applied.iter().any(|a| a == name);
        if changed("log") && source.config.log.is_none() {
            // Parsed above.
            let _ = logging::init(new.log.as_deref().unwrap_or("info"));
        }
        // A leaf's does not hold a request open.
        let registry = ["registries", "registry_tls_pin", "leaf"]
            .into_iter()
            .any(changed);
        let mesh = source.config.mesh(&new);
        source.current = new;
        // Asleep, it is started with what holds then.
        if registry && !self.asleep {
            self.restart_registry();
        }
        self.parts.node.handle_command(Command::SetMesh(mesh), now);
        tracing::info!(?applied, ?needs_restart, "settings read again");
        Ok(ReloadReply {
            applied,
            needs_restart,
        })
    }
}
