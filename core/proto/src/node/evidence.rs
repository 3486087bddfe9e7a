//! What is known for certain of the way to others: who answered last, and how long nobody has.
//!
//! Nothing here decides anything in the mesh: it is for people, who want to know whether they are connected and, if
//! not, whether it is UDP that does not get through.

use super::{Node, Proof, UdpEvidence, Verified, tunnel::Tunnel};
use crate::{Duration, Instant, identity::NodeId, tunnel::TunnelId};
use core::cmp::Reverse;
use std::collections::BTreeSet;

/// Echoes that a dead tunnel has sent in vain when it counts as unanswered.
const IN_VAIN: u32 = 3;
/// Members remembered as unanswered: more say no more.
const MAX_UNANSWERED: usize = 64;
/// Neighbours asked at a time.
const ASKED: usize = 3;
/// The answers to earlier echoes may be on their way.
const ASK_GAP: Duration = Duration::from_secs(1);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Evidence {
    verified: Option<(Instant, NodeId, Proof)>,
    /// When something authentic came last that the data plane keeps no time of.
    heard: Option<Instant>,
    /// Since when our addresses are what they are.
    network_since: Instant,
    /// Members that were dialled in vain since the network changed or something was heard.
    unanswered: BTreeSet<NodeId>,
    asked: Option<Instant>,
}

impl Evidence {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            verified: None,
            heard: None,
            network_since: now,
            unanswered: BTreeSet::new(),
            asked: None,
        }
    }

    /// A question of ours was answered by who holds the neighbour's key.
    pub(super) fn verify(&mut self, node: NodeId, proof: Proof, now: Instant) {
        self.verified = Some((now, node, proof));
        self.hear(now);
    }

    /// Something authentic came.
    pub(super) fn hear(&mut self, now: Instant) {
        self.heard = Some(now);
        self.unanswered.clear();
    }

    /// A member did not answer at any of its endpoints.
    pub(super) fn dialled_in_vain(&mut self, node: NodeId) {
        if self.unanswered.len() < MAX_UNANSWERED {
            self.unanswered.insert(node);
        }
    }

    pub(super) fn network_changed(&mut self, now: Instant) {
        self.network_since = now;
        self.unanswered.clear();
    }
}

impl Node {
    /// Asks the nearest neighbours whether they are there; what they answer shows in [`super::Status::verified`].
    pub(super) fn ask_neighbours(&mut self, now: Instant) {
        let is_soon = |at: Instant| now.saturating_since(at) < ASK_GAP;
        if self.evidence.asked.is_some_and(is_soon) {
            return;
        }
        self.evidence.asked = Some(now);
        let distance = |t: &Tunnel| t.rtt.smoothed.unwrap_or(Duration::MAX);
        let mut usable: Vec<(Duration, Reverse<TunnelId>)> = self
            .tunnels
            .iter()
            .filter(|(_, t)| t.is_usable() && !t.doze.peer_dozes())
            .map(|(id, t)| (distance(t), Reverse(*id)))
            .collect();
        usable.sort_unstable();
        for (_, Reverse(id)) in usable.into_iter().take(ASKED) {
            self.send_echo(id, now);
        }
    }

    /// When a neighbour last answered a question of ours.
    pub fn verified_at(&self) -> Option<Instant> {
        self.evidence.verified.as_ref().map(|(at, ..)| *at)
    }

    pub(super) fn verified(&self) -> Option<Verified> {
        let (at, node, proof) = self.evidence.verified?;
        Some(Verified {
            at,
            name: self
                .name_of(&node)
                .map_or_else(|| node.to_string(), str::to_owned),
            proof,
        })
    }

    pub(super) fn udp_evidence(&self) -> UdpEvidence {
        let evidence = &self.evidence;
        let received = self.tunnels.values().filter_map(|t| t.handle.last_received());
        let heard = received.max().max(evidence.heard);
        let heard = heard.filter(|at| *at >= evidence.network_since);
        let in_vain = |t: &&Tunnel| t.is_open() && !t.liveness.usable && t.liveness.dead_echoes >= IN_VAIN;
        let dead = self.tunnels.values().filter(in_vain).filter_map(Tunnel::peer);
        let unanswered: BTreeSet<NodeId> = dead.chain(evidence.unanswered.iter().copied()).collect();
        UdpEvidence {
            heard,
            silent_since: heard.unwrap_or(evidence.network_since),
            unanswered: unanswered.len(),
        }
    }
}
