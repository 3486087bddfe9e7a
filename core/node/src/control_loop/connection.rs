//! Whether traffic gets through: the facts behind [`crate::connection`], and asking neighbours when they are old.

use super::ControlLoop;
use crate::{
    clock,
    connection::{self, Facts},
    control::types::{Connection, Evidence},
};
use osier_proto::{
    Instant,
    node::{self, Command, Proof},
};
use std::time::Duration;
use tokio::sync::oneshot;

/// An answer younger than this needs no new one.
const YOUNG: Duration = Duration::from_secs(20);
/// Askers that wait for one; more get what is known.
const ASKERS: usize = 256;

impl ControlLoop {
    pub(super) fn connection(&self, now: Instant) -> Connection {
        let peers = self.parts.node.peers(now);
        let reachable = || peers.iter().filter(|p| p.metric.is_some());
        let relayed = reachable().filter(|p| p.relayed_via.is_some()).count();
        connection::assess(&Facts {
            direct: reachable().count() - relayed,
            relayed,
            ..self.facts(self.parts.node.status(now), now)
        })
    }

    /// All but who is reached how, which takes a look at every member.
    pub(super) fn facts(&self, status: node::Status, now: Instant) -> Facts {
        let age = |at: Instant| now.saturating_since(at).as_secs();
        let unix_now = clock::unix_time().0;
        let registry = self.registry.last_contact;
        Facts {
            now: unix_now,
            uptime: age(self.started),
            excluded: status.health.excluded.is_some(),
            verified: status.verified.map(|v| {
                let evidence = match v.proof {
                    Proof::Echo => Evidence::Echo,
                    Proof::Handshake => Evidence::Handshake,
                };
                (age(v.at), v.name, evidence)
            }),
            usable: status.usable_neighbours,
            wanted: status.wanted,
            others: status.members.saturating_sub(1),
            local_addresses: self
                .parts
                .addresses
                .borrow()
                .iter()
                .filter(|address| !address.is_loopback())
                .count(),
            heard: status.udp.heard.map(age),
            silent: age(status.udp.silent_since),
            unanswered: status.udp.unanswered,
            registry: registry
                .filter(|_| self.registry.reachable == Some(true))
                .map(|at| unix_now.saturating_sub(at)),
            refused: self.send_refused.clone(),
            ..Facts::default()
        }
    }

    /// Answers at once when a neighbour has answered a moment ago or there is none to ask, else when one does. Who has
    /// waited long enough goes away.
    pub(super) fn verify(&mut self, reply: oneshot::Sender<()>, now: Instant) {
        let status = self.parts.node.status(now);
        self.verifying.retain(|waiting| !waiting.is_closed());
        if self.is_verified(now) || status.usable_neighbours == 0 || self.verifying.len() >= ASKERS {
            let _ = reply.send(());
            return;
        }
        self.verifying.push(reply);
        self.parts.node.handle_command(Command::Verify, now);
    }

    /// Tells those who wait for it.
    pub(super) fn tell_verified(&mut self) {
        if !self.verifying.is_empty() && self.is_verified(self.now()) {
            for reply in self.verifying.drain(..) {
                let _ = reply.send(());
            }
        }
    }

    fn is_verified(&self, now: Instant) -> bool {
        let verified = self.parts.node.verified_at();
        verified.is_some_and(|at| now.saturating_since(at) < YOUNG)
    }
}
