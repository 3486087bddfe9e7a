//! Who may speak on a link: MAC authentication (RFC 8967) with relaxed packet counters (RFC 9467).
//!
//! # Life of a packet
//!
//! Out: [`Authenticator::seal`] appends our packet counter and index to the body, and for each key a MAC to the
//! trailer. In: [`Authenticator::open`] wants one MAC made with one of our keys. Only then does it remember
//! anything about the sender. It then looks for the packet counter: one with the sender's known index passes
//! once (`window`), separately for unicast and multicast, as those overtake each other. Any other index may be a
//! replay of old times: the packet is dropped and its sender gets a challenge, a `nonce` never used before. The
//! reply, itself authenticated, proves that its index and counter are of today.
//!
//! # Life of a key
//!
//! Each key signs every packet, and a packet needs one key that we know. So keys are rotated by adding the new
//! one everywhere, then removing the old one everywhere: [`crate::Speaker::set_authentication`] replaces keys and
//! mode but keeps what is known about the senders. A network without authentication is brought under it by
//! [`AuthenticationMode::SignOnly`], in which all is done as described and then every packet is let through.

mod key;
mod nonce;
mod packet;
mod window;

pub use key::{KeyError, MacKey};
pub(crate) use nonce::Nonces;

use crate::{Duration, Instant};
use core::net::Ipv6Addr;
use nonce::Nonce;
use std::collections::{BTreeMap, VecDeque};
use window::Window;
use zeroize::Zeroize;

/// More keys than this are not used: each costs room in every packet.
pub const MAX_KEYS: usize = 8;
/// A peer gets no more than one challenge and one reply in this time (RFC 8967 section 4.3.1.1).
const CHALLENGE_GAP: Duration = Duration::from_millis(300);
/// A reply that takes longer fails (section 4.3.1.1).
const CHALLENGE_LIFETIME: Duration = Duration::from_secs(30);
/// Challenges that may be under way to one peer. With one only, a peer further away than [`CHALLENGE_GAP`] would
/// always answer the last but one.
const CHALLENGES_UNDER_WAY: usize = 4;
/// Index and counters are forgotten this long after the last packet that passed (section 4.4).
const LIFETIME: Duration = Duration::from_secs(300);
/// Every so many packets what is forgotten is also removed.
const SWEEP_EVERY: u32 = 64;

/// What packets on a link must be signed with.
#[derive(Clone)]
pub struct Authentication {
    /// All of them sign; one of them is enough to be believed. At most [`MAX_KEYS`] are used. With none at all,
    /// [`AuthenticationMode::Require`] believes nobody.
    pub keys: Vec<MacKey>,
    pub mode: AuthenticationMode,
    /// From a cryptographic random source, fresh at each call: indices and nonces must never repeat while a key
    /// is in use.
    pub entropy: [u8; 32],
}

impl Drop for Authentication {
    fn drop(&mut self) {
        self.entropy.zeroize();
    }
}

impl core::fmt::Debug for Authentication {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Authentication")
            .field("keys", &self.keys)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthenticationMode {
    /// Only authenticated packets count.
    Require,
    /// We sign and answer challenges, but believe everybody (RFC 8967 section 5).
    SignOnly,
}

/// Authentication on one interface.
#[derive(Debug)]
pub(crate) struct Authenticator {
    keys: Vec<MacKey>,
    mode: AuthenticationMode,
    /// Ours.
    index: Nonce,
    /// Of our last packet.
    counter: u32,
    peers: BTreeMap<Ipv6Addr, Peer>,
}

/// Whether a packet counts, and what to do about its sender.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    pub(crate) accepted: bool,
    pub(crate) failure: Option<Failure>,
    /// Challenges in the packet, answered or not.
    pub(crate) challenges: u64,
    /// Challenge the sender with this.
    pub(crate) challenge: Option<Nonce>,
    /// Answer the sender's challenge with this.
    pub(crate) reply: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No MAC, or no packet counter.
    Missing,
    /// No MAC made with one of our keys.
    Mac,
    /// A counter that was used before or is too old.
    Replayed,
    /// Known to nobody so far, and there is no room to remember it.
    Full,
}

/// What we know of who sends from an address.
#[derive(Debug, Default)]
struct Peer {
    proven: Option<Proven>,
    /// Nonces sent and when, oldest first.
    challenges: VecDeque<(Nonce, Instant)>,
    replied: Option<Instant>,
}

/// Index and counters that a challenge proved (RFC 9467 section 3.3).
#[derive(Debug)]
struct Proven {
    index: Vec<u8>,
    multicast: Window,
    unicast: Window,
    /// When a packet passed last.
    at: Instant,
}

impl Authenticator {
    pub(crate) fn new(config: &Authentication, nonces: &mut Nonces) -> Self {
        let mut new = Self {
            keys: Vec::new(),
            mode: config.mode,
            index: nonces.next(),
            counter: 0,
            peers: BTreeMap::new(),
        };
        new.replace(config);
        new
    }

    /// Other keys and mode; who is known stays known.
    pub(crate) fn replace(&mut self, config: &Authentication) {
        self.keys = config.keys.iter().take(MAX_KEYS).cloned().collect();
        self.mode = config.mode;
    }

    /// Nobody is known any more: the interface went away.
    pub(crate) fn forget_peers(&mut self) {
        self.peers.clear();
    }

    /// Octets that [`Self::seal`] adds to a packet.
    pub(crate) fn overhead(&self) -> usize {
        let macs: usize = self
            .keys
            .iter()
            .map(|key| packet::TLV_HEADER + key.mac_len())
            .sum();
        packet::COUNTER_TLV + macs
    }

    /// Appends our packet counter and the MACs to a packet that has neither (section 4.2).
    pub(crate) fn seal(
        &mut self,
        payload: &mut Vec<u8>,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        nonces: &mut Nonces,
        now: Instant,
    ) {
        match self.counter.checked_add(1) {
            Some(next) => self.counter = next,
            None => {
                self.index = nonces.next();
                self.counter = 0;
            }
        }
        if self.counter.is_multiple_of(SWEEP_EVERY) {
            self.sweep(now);
        }
        packet::append_counter(payload, self.counter, &self.index);
        let pseudo_header = packet::pseudo_header(src, dst);
        let body_end = payload.len();
        for key in &self.keys {
            if let Some(mac) = key.mac([&pseudo_header, &payload[..body_end]]) {
                packet::append_mac(payload, mac.octets());
            }
        }
    }

    /// Judges a packet (section 4.3). `None`: it is no Babel packet at all. Of at most `capacity` senders
    /// anything is remembered.
    pub(crate) fn open(
        &mut self,
        payload: &[u8],
        src: Ipv6Addr,
        dst: Ipv6Addr,
        nonces: &mut Nonces,
        capacity: usize,
        now: Instant,
    ) -> Option<Opened> {
        let packet = packet::Packet::split(payload)?;
        let mut opened = Opened::default();
        opened.failure = self
            .judge(&packet, src, dst, nonces, capacity, now, &mut opened)
            .err();
        opened.accepted |= self.mode == AuthenticationMode::SignOnly;
        Some(opened)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one packet")]
    fn judge(
        &mut self,
        packet: &packet::Packet<'_>,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        nonces: &mut Nonces,
        capacity: usize,
        now: Instant,
        opened: &mut Opened,
    ) -> Result<(), Failure> {
        let pseudo_header = packet::pseudo_header(src, dst);
        let mut macs = packet.macs().peekable();
        macs.peek().ok_or(Failure::Missing)?;
        // One MAC is computed for each key, however many the packet brings.
        let passes = |key: &MacKey| {
            let mac = key.mac([&pseudo_header, packet.covered]);
            mac.is_some_and(|mac| macs.clone().any(|received| mac.matches(received)))
        };
        if !self.keys.iter().any(passes) {
            return Err(Failure::Mac);
        }

        let found = packet.preparse();
        let unicast = !dst.is_multicast();
        opened.challenges = found.requests;
        self.make_room(src, capacity, now)?;
        let peer = self.peers.entry(src).or_default();
        if let Some(nonce) = found.request.filter(|_| unicast)
            && peer.may_reply(now)
        {
            peer.replied = Some(now);
            opened.reply = Some(nonce.to_vec());
        }
        let (counter, index) = found.counter.ok_or(Failure::Missing)?;
        if found.replies().any(|nonce| peer.is_challenged_with(nonce, now)) {
            peer.prove(counter, index, now);
            opened.accepted = true;
            return Ok(());
        }
        match peer.proven.as_mut().filter(|proven| proven.is_known(index, now)) {
            Some(proven) => {
                // The choice of window rests on the destination address, which the MAC covers (RFC 9467 3.1.1).
                let window = if unicast {
                    &mut proven.unicast
                } else {
                    &mut proven.multicast
                };
                if !window.accept(counter) {
                    return Err(Failure::Replayed);
                }
                proven.at = now;
                opened.accepted = true;
            }
            None => opened.challenge = peer.challenge(nonces, now),
        }
        Ok(())
    }

    fn make_room(&mut self, src: Ipv6Addr, capacity: usize, now: Instant) -> Result<(), Failure> {
        if self.peers.contains_key(&src) || self.peers.len() < capacity {
            return Ok(());
        }
        self.sweep(now);
        if self.peers.len() < capacity {
            Ok(())
        } else {
            Err(Failure::Full)
        }
    }

    fn sweep(&mut self, now: Instant) {
        self.peers.retain(|_, peer| peer.matters(now));
    }
}

impl Peer {
    fn may_reply(&self, now: Instant) -> bool {
        self.replied.is_none_or(|at| at + CHALLENGE_GAP <= now)
    }

    /// The nonce of a challenge to send now, unless the last one is too recent.
    fn challenge(&mut self, nonces: &mut Nonces, now: Instant) -> Option<Nonce> {
        if self
            .challenges
            .back()
            .is_some_and(|(_, at)| now < *at + CHALLENGE_GAP)
        {
            return None;
        }
        if self.challenges.len() >= CHALLENGES_UNDER_WAY {
            self.challenges.pop_front();
        }
        let nonce = nonces.next();
        self.challenges.push_back((nonce, now));
        Some(nonce)
    }

    fn is_challenged_with(&self, reply: &[u8], now: Instant) -> bool {
        let mut valid = self
            .challenges
            .iter()
            .filter(|(_, at)| now < *at + CHALLENGE_LIFETIME);
        valid.any(|(nonce, _)| nonce == reply)
    }

    /// A challenge succeeded.
    fn prove(&mut self, counter: u32, index: &[u8], now: Instant) {
        self.challenges.clear();
        // Within an index counters only rise: what was seen stays seen, or somebody who provokes a challenge
        // could replay the last packets.
        if let Some(proven) = self.proven.as_mut().filter(|proven| proven.is_known(index, now)) {
            proven.multicast.accept(counter);
            proven.unicast.accept(counter);
            proven.at = now;
            return;
        }
        self.proven = Some(Proven {
            index: index.to_vec(),
            multicast: Window::starting_at(counter),
            unicast: Window::starting_at(counter),
            at: now,
        });
    }

    /// Whether anything about it is still needed.
    fn matters(&self, now: Instant) -> bool {
        self.proven.as_ref().is_some_and(|proven| !proven.is_over(now))
            || self
                .challenges
                .back()
                .is_some_and(|(_, at)| now < *at + CHALLENGE_LIFETIME)
            || !self.may_reply(now)
    }
}

impl Proven {
    fn is_known(&self, index: &[u8], now: Instant) -> bool {
        self.index == index && !self.is_over(now)
    }

    fn is_over(&self, now: Instant) -> bool {
        self.at + LIFETIME <= now
    }
}

#[cfg(test)]
mod tests;
