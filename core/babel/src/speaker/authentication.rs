//! Packets in and out through authentication, on interfaces that have it.

use super::Speaker;
use crate::authentication::{Authentication, Authenticator, Failure};
use crate::wire::Builder;
use crate::{Destination, Instant, InterfaceId, MULTICAST, Transmit};
use core::net::Ipv6Addr;
use std::collections::btree_map;

impl Speaker {
    pub(super) fn replace_authentication(&mut self, id: InterfaceId, authentication: Option<Authentication>) {
        let Some(config) = authentication else {
            self.authentication.remove(&id);
            return;
        };
        self.nonces.stir(&config.entropy);
        match self.authentication.entry(id) {
            btree_map::Entry::Occupied(mut known) => known.get_mut().replace(&config),
            btree_map::Entry::Vacant(entry) => {
                entry.insert(Authenticator::new(&config, &mut self.nonces));
            }
        }
    }

    /// Octets that must stay free in each packet on an interface.
    pub(super) fn authentication_overhead(&self, id: InterfaceId) -> usize {
        self.authentication.get(&id).map_or(0, Authenticator::overhead)
    }

    /// Signs a packet if need be and lets it go. It leaves [`Self::authentication_overhead`] free.
    pub(super) fn transmit(
        &mut self,
        id: InterfaceId,
        destination: Option<Ipv6Addr>,
        mut payload: Vec<u8>,
        now: Instant,
    ) {
        let Some(interface) = self.interfaces.get(&id) else {
            return;
        };
        if let Some(authenticator) = self.authentication.get_mut(&id) {
            let (src, dst) = (interface.config.link_local, destination.unwrap_or(MULTICAST));
            authenticator.seal(&mut payload, src, dst, &mut self.nonces, now);
        }
        self.counters.packets_sent += 1;
        self.counters.octets_sent += payload.len() as u64;
        self.transmits.push_back(Transmit {
            interface: id,
            destination: destination.map_or(Destination::Multicast, Destination::Unicast),
            payload,
        });
    }

    /// Whether a received packet counts. Its sender may get a challenge or an answer to its own, at once: all
    /// else that we send it is in vain until it believes us (RFC 8967 section 4.3.1.2).
    pub(super) fn is_authentic(
        &mut self,
        id: InterfaceId,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        payload: &[u8],
        now: Instant,
    ) -> bool {
        let capacity = self.config.limits.neighbours_per_interface;
        let Some(authenticator) = self.authentication.get_mut(&id) else {
            return true;
        };
        let Some(opened) = authenticator.open(payload, src, dst, &mut self.nonces, capacity, now) else {
            self.counters.malformed_packets += 1;
            return false;
        };
        let counter = match opened.failure {
            None => None,
            Some(Failure::Missing) => Some(&mut self.counters.mac_missing),
            Some(Failure::Mac) => Some(&mut self.counters.mac_failed),
            Some(Failure::Replayed) => Some(&mut self.counters.mac_replayed),
            Some(Failure::Full) => Some(&mut self.counters.limit_drops),
        };
        if let Some(counter) = counter {
            *counter += 1;
        }
        self.counters.challenges_received += opened.challenges;
        if opened.challenge.is_some() || opened.reply.is_some() {
            let answered = opened.reply.is_some();
            self.send_proof(id, src, opened.challenge, opened.reply, now);
            // From now on it can hear us, and what we said before was lost on it.
            if answered && !self.neighbour(id, src).is_some_and(|neighbour| neighbour.is_up()) {
                let at = self.urgent(now);
                self.hello_by(id, at);
            }
        }
        opened.accepted
    }

    fn send_proof(
        &mut self,
        id: InterfaceId,
        to: Ipv6Addr,
        challenge: Option<[u8; 16]>,
        reply: Option<Vec<u8>>,
        now: Instant,
    ) {
        let Some(interface) = self.interfaces.get(&id) else {
            return;
        };
        let limit = interface
            .packet_limit()
            .saturating_sub(self.authentication_overhead(id));
        let mut builder = Builder::new(limit, interface.config.link_local);
        // Even eight keys in the smallest packet leave room for both.
        let _fits = reply.is_none_or(|nonce| builder.challenge_reply(&nonce));
        if challenge.is_some_and(|nonce| builder.challenge_request(&nonce)) {
            self.counters.challenges_sent += 1;
        }
        self.transmit(id, Some(to), builder.finish(), now);
    }
}
