//! A session engine without cryptography, for simulations: the messages, sizes, indices, replay window, key
//! confirmation and timers of WireGuard, deterministic, and without any protection against anyone.
//!
//! A handshake names both keys in the clear; the tag of a data message is a checksum over the session's two
//! indices and the counter, so that messages for another session are refused as they would be in earnest.
//! There are no cookies.

use super::{
    Cipher, INITIATION_LENGTH, MAX_INDEX, MessageKind, OVERHEAD, Opened, RESPONSE_LENGTH, Screened, Sealed,
    Session, SessionFactory,
};
use crate::{Duration, Instant, identity::TunnelKey, sync::lock};
use core::net::SocketAddr;
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
};

// WireGuard paper, section 6.1.
const REKEY_AFTER: Duration = Duration::from_secs(120);
const REJECT_AFTER: Duration = Duration::from_secs(180);
const REKEY_ATTEMPT: Duration = Duration::from_secs(90);
const REKEY_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(10);

const TICK: Duration = Duration::from_secs(1);
/// Packets kept while there are no keys.
const QUEUE: usize = 16;

/// Makes plain sessions for one key.
#[derive(Debug)]
pub struct PlainFactory {
    key: TunnelKey,
}

impl PlainFactory {
    pub fn new(key: TunnelKey) -> Self {
        Self { key }
    }
}

impl SessionFactory for PlainFactory {
    fn new_session(&self, peer: TunnelKey, index: u32, now: Instant) -> Box<dyn Session> {
        Box::new(PlainSession {
            state: Mutex::new(State {
                own: self.key,
                peer,
                next_index: (index & MAX_INDEX) << 8,
                current: None,
                previous: None,
                unconfirmed: None,
                handshake: None,
                newest_initiation: 0,
                queue: VecDeque::new(),
                last_sent: now,
                last_data_sent: None,
                last_received: now,
                last_data_received: None,
            }),
        })
    }

    fn screen<'a>(
        &self,
        _now: Instant,
        _source: SocketAddr,
        initiation: &[u8],
        _out: &'a mut [u8],
    ) -> Screened<'a> {
        match self.identify_initiation(initiation) {
            Some(_) => Screened::Passed,
            None => Screened::Forged,
        }
    }

    fn cookies(&self) -> u64 {
        0
    }

    fn identify_initiation(&self, initiation: &[u8]) -> Option<TunnelKey> {
        let message = InitiationMessage::parse(initiation)?;
        (message.responder == self.key).then_some(message.initiator)
    }
}

#[derive(Debug)]
struct PlainSession {
    state: Mutex<State>,
}

/// What two ends agreed on in one handshake.
#[derive(Debug)]
struct Keys {
    local: u32,
    remote: u32,
    initiator: bool,
    established: Instant,
    sent: u64,
    window: Window,
}

impl Keys {
    fn new(local: u32, remote: u32, initiator: bool, now: Instant) -> Self {
        Self {
            local,
            remote,
            initiator,
            established: now,
            sent: 0,
            window: Window::default(),
        }
    }

    fn expired(&self, now: Instant) -> bool {
        now.saturating_since(self.established) > REJECT_AFTER
    }
}

#[derive(Debug)]
struct Handshake {
    local: u32,
    started: Instant,
    sent: Instant,
}

#[derive(Debug)]
struct State {
    own: TunnelKey,
    peer: TunnelKey,
    next_index: u32,
    current: Option<Keys>,
    previous: Option<Keys>,
    /// Made by the peer's initiation; not used to send before the peer has used it.
    unconfirmed: Option<Keys>,
    handshake: Option<Handshake>,
    /// Time stamp of the newest initiation of the peer: older ones are replays.
    newest_initiation: u64,
    queue: VecDeque<Vec<u8>>,
    last_sent: Instant,
    last_data_sent: Option<Instant>,
    last_received: Instant,
    last_data_received: Option<Instant>,
}

impl PlainSession {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Session for PlainSession {
    fn peer(&self) -> TunnelKey {
        self.lock().peer
    }

    fn open<'a>(&self, now: Instant, _source: SocketAddr, datagram: &[u8], out: &'a mut [u8]) -> Opened<'a> {
        if out.len() < datagram.len().max(INITIATION_LENGTH) {
            return Opened::Rejected;
        }
        let mut state = self.lock();
        let opened = match MessageKind::of(datagram) {
            Some(MessageKind::Initiation) => state.accept_initiation(now, datagram, out),
            Some(MessageKind::Response(_)) => state.accept_response(now, datagram, out),
            Some(MessageKind::Data(_)) => state.open_data(now, datagram, out),
            Some(MessageKind::Cookie(_) | MessageKind::Frame(_)) | None => None,
        };
        opened.unwrap_or(Opened::Rejected)
    }

    fn flush<'a>(&self, now: Instant, out: &'a mut [u8]) -> Option<&'a [u8]> {
        let mut state = self.lock();
        state.current.as_ref()?;
        let packet = state.queue.pop_front()?;
        state.seal_data(now, &packet, out)
    }

    fn seal<'a>(&self, now: Instant, packet: &[u8], out: &'a mut [u8]) -> Sealed<'a> {
        if out.len() < (packet.len() + OVERHEAD).max(INITIATION_LENGTH) {
            return Sealed::Nothing;
        }
        let mut state = self.lock();
        if state.current.as_ref().is_some_and(|k| !k.expired(now)) {
            return state
                .seal_data(now, packet, out)
                .map_or(Sealed::Nothing, Sealed::Datagram);
        }
        if state.queue.len() < QUEUE {
            state.queue.push_back(packet.to_vec());
        }
        if state.handshake.is_some() {
            return Sealed::Nothing;
        }
        state
            .begin_handshake(now, out)
            .map_or(Sealed::Nothing, Sealed::Handshake)
    }

    fn initiate<'a>(&self, now: Instant, out: &'a mut [u8]) -> Option<&'a [u8]> {
        self.lock().begin_handshake(now, out)
    }

    fn tick<'a>(&self, now: Instant, out: &'a mut [u8]) -> Option<&'a [u8]> {
        let mut state = self.lock();
        let state = &mut *state;
        for keys in [&mut state.current, &mut state.previous, &mut state.unconfirmed] {
            if keys.as_ref().is_some_and(|k| k.expired(now)) {
                *keys = None;
            }
        }
        if let Some(handshake) = &state.handshake {
            if now.saturating_since(handshake.started) >= REKEY_ATTEMPT {
                state.handshake = None;
                state.queue.clear();
                return None;
            }
            if now.saturating_since(handshake.sent) < REKEY_TIMEOUT {
                return None;
            }
            return state.begin_handshake(now, out);
        }
        if state.wants_handshake(now) {
            return state.begin_handshake(now, out);
        }
        let unanswered = state.last_data_received.is_some_and(|at| at > state.last_sent);
        if unanswered && now.saturating_since(state.last_sent) >= KEEPALIVE && state.current.is_some() {
            return state.seal_data(now, &[], out);
        }
        None
    }

    fn next_tick(&self, now: Instant) -> Option<Instant> {
        Some(now + TICK)
    }

    fn last_handshake(&self, _now: Instant) -> Option<Instant> {
        self.lock().current.as_ref().map(|k| k.established)
    }

    fn cipher(&self, _now: Instant) -> Cipher {
        Cipher::None
    }
}

impl State {
    /// The initiator renews keys that are in use; either end tries afresh when nothing comes back.
    fn wants_handshake(&self, now: Instant) -> bool {
        let Some(keys) = &self.current else { return false };
        let age = now.saturating_since(keys.established);
        let old = keys.initiator
            && (self.last_data_sent > Some(keys.established) && age >= REKEY_AFTER
                || self.last_data_received > Some(keys.established)
                    && age >= REJECT_AFTER - KEEPALIVE - REKEY_TIMEOUT);
        let silent = self.last_data_sent.is_some_and(|at| at > self.last_received)
            && now.saturating_since(self.last_received) >= KEEPALIVE + REKEY_TIMEOUT;
        old || silent
    }

    fn begin_handshake<'a>(&mut self, now: Instant, out: &'a mut [u8]) -> Option<&'a [u8]> {
        let local = self.take_index();
        let out = out.get_mut(..INITIATION_LENGTH)?;
        let message = InitiationMessage {
            sender: local,
            initiator: self.own,
            responder: self.peer,
            stamp: now.as_micros(),
        };
        message.write(out);
        let started = self.handshake.as_ref().map_or(now, |h| h.started);
        self.handshake = Some(Handshake {
            local,
            started,
            sent: now,
        });
        self.last_sent = now;
        Some(out)
    }

    fn accept_initiation<'a>(
        &mut self,
        now: Instant,
        datagram: &[u8],
        out: &'a mut [u8],
    ) -> Option<Opened<'a>> {
        let message = InitiationMessage::parse(datagram)?;
        let fresh = message.stamp > self.newest_initiation || self.newest_initiation == 0;
        if message.initiator != self.peer || message.responder != self.own || !fresh {
            return None;
        }
        self.newest_initiation = message.stamp;
        let local = self.take_index();
        let reply = out.get_mut(..RESPONSE_LENGTH)?;
        reply.fill(0);
        reply[0] = 2;
        reply[4..8].copy_from_slice(&local.to_le_bytes());
        reply[8..12].copy_from_slice(&message.sender.to_le_bytes());
        reply[12..44].copy_from_slice(&self.own.0);
        self.unconfirmed = Some(Keys::new(local, message.sender, false, now));
        self.last_received = now;
        self.last_sent = now;
        Some(Opened::Reply(reply))
    }

    fn accept_response<'a>(
        &mut self,
        now: Instant,
        datagram: &[u8],
        out: &'a mut [u8],
    ) -> Option<Opened<'a>> {
        let (sender, receiver) = (read_u32(datagram, 4)?, read_u32(datagram, 8)?);
        if self.handshake.as_ref()?.local != receiver || datagram.get(12..44)? != self.peer.0 {
            return None;
        }
        self.handshake = None;
        self.previous = self.current.replace(Keys::new(receiver, sender, true, now));
        self.last_received = now;
        self.seal_data(now, &[], out).map(Opened::Reply)
    }

    fn open_data<'a>(&mut self, now: Instant, datagram: &[u8], out: &'a mut [u8]) -> Option<Opened<'a>> {
        let (receiver, counter) = (read_u32(datagram, 4)?, read_u64(datagram, 8)?);
        let keys = [&mut self.current, &mut self.previous, &mut self.unconfirmed]
            .into_iter()
            .flatten()
            .find(|k| k.local == receiver && !k.expired(now))?;
        let (packet, tag) = datagram[16..].split_last_chunk::<16>()?;
        if *tag != checksum(keys.remote, keys.local, counter) || !keys.window.accept(counter) {
            return None;
        }
        if self.unconfirmed.as_ref().is_some_and(|k| k.local == receiver) {
            self.previous = self.current.take();
            self.current = self.unconfirmed.take();
        }
        self.last_received = now;
        if !packet.is_empty() {
            self.last_data_received = Some(now);
        }
        let out = &mut out[..packet.len()];
        out.copy_from_slice(packet);
        Some(Opened::Packet(out))
    }

    fn seal_data<'a>(&mut self, now: Instant, packet: &[u8], out: &'a mut [u8]) -> Option<&'a [u8]> {
        let keys = self.current.as_mut()?;
        let out = out.get_mut(..packet.len() + OVERHEAD)?;
        out[..4].copy_from_slice(&4u32.to_le_bytes());
        out[4..8].copy_from_slice(&keys.remote.to_le_bytes());
        out[8..16].copy_from_slice(&keys.sent.to_le_bytes());
        let (body, tag) = out[16..].split_at_mut(packet.len());
        body.copy_from_slice(packet);
        tag.copy_from_slice(&checksum(keys.local, keys.remote, keys.sent));
        keys.sent += 1;
        self.last_sent = now;
        if !packet.is_empty() {
            self.last_data_sent = Some(now);
        }
        Some(out)
    }

    /// The upper 24 bits stay, the lower 8 count handshakes, as in boringtun.
    fn take_index(&mut self) -> u32 {
        let low = (self.next_index as u8).wrapping_add(1);
        self.next_index = self.next_index & !0xff | u32::from(low);
        self.next_index
    }
}

struct InitiationMessage {
    sender: u32,
    initiator: TunnelKey,
    responder: TunnelKey,
    /// Microseconds on the sender's time line.
    stamp: u64,
}

impl InitiationMessage {
    fn parse(datagram: &[u8]) -> Option<Self> {
        if MessageKind::of(datagram) != Some(MessageKind::Initiation) {
            return None;
        }
        Some(Self {
            sender: read_u32(datagram, 4)?,
            initiator: TunnelKey(datagram.get(8..40)?.try_into().ok()?),
            responder: TunnelKey(datagram.get(40..72)?.try_into().ok()?),
            stamp: read_u64(datagram, 72)?,
        })
    }

    fn write(&self, out: &mut [u8]) {
        out.fill(0);
        out[0] = 1;
        out[4..8].copy_from_slice(&self.sender.to_le_bytes());
        out[8..40].copy_from_slice(&self.initiator.0);
        out[40..72].copy_from_slice(&self.responder.0);
        out[72..80].copy_from_slice(&self.stamp.to_le_bytes());
    }
}

/// Counters seen: the newest and the 128 before it.
#[derive(Debug, Default)]
struct Window {
    next: u64,
    seen: u128,
}

impl Window {
    fn accept(&mut self, counter: u64) -> bool {
        if counter >= self.next {
            let shift = counter - self.next + 1;
            self.seen = u32::try_from(shift)
                .ok()
                .and_then(|s| self.seen.checked_shl(s))
                .unwrap_or(0)
                | 1;
            self.next = counter.saturating_add(1);
            return true;
        }
        let age = self.next - 1 - counter;
        if age >= 128 || self.seen >> age & 1 == 1 {
            return false;
        }
        self.seen |= 1 << age;
        true
    }
}

fn checksum(sender: u32, receiver: u32, counter: u64) -> [u8; 16] {
    let sum = (u64::from(sender) << 32 | u64::from(receiver)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ counter.wrapping_mul(0xff51_afd7_ed55_8ccd);
    u128::from(sum).to_le_bytes()
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}
