//! Keys of relay frames: for each tunnel and direction one, chosen by who receives.
//!
//! The first comes in the Hello and lasts as long as the peer's life. A key that has been in use for two minutes
//! is replaced: the new one is told until the peer says that it has it ([`Message::RelayKeyTaken`]); the old one
//! counts for a little while longer, for frames on their way. An idle tunnel keeps its key.

use super::{Node, tunnel::Tunnel};
use crate::{
    Duration, Instant,
    link::Message,
    mesh::random::Random,
    relay::{HopKey, RelayKey},
    snapshot::TunnelHandle,
    tunnel::TunnelId,
};
use std::sync::Arc;

/// As WireGuard's REKEY-AFTER-TIME.
const LIFE: Duration = Duration::from_secs(120);
/// The key before counts for so long after its successor was taken.
const OVERLAP: Duration = Duration::from_secs(10);

/// By what we know a neighbour's frames.
#[derive(Debug)]
pub(super) struct OwnKey {
    pub(super) key: RelayKey,
    since: Instant,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The only one.
    Alone,
    /// Told, and not known to be in use.
    Told,
    /// In use; the one before ends then.
    Overlapping(Instant),
}

impl OwnKey {
    /// A key for a tunnel without any.
    pub(super) fn new(handle: &TunnelHandle, index: u32, random: &mut Random, now: Instant) -> Self {
        let key = draw(index << 8 | u32::from(random.draw() as u8), random);
        handle.add_relay_key(key.clone());
        handle.keep_only_relay_key(key.receiver);
        Self {
            key,
            since: now,
            state: State::Alone,
        }
    }
}

fn draw(receiver: u32, random: &mut Random) -> RelayKey {
    let mut key = [0; 16];
    for part in key.chunks_exact_mut(8) {
        part.copy_from_slice(&random.draw().to_le_bytes());
    }
    RelayKey {
        receiver,
        key: HopKey(key),
    }
}

/// The same tunnel, the next number: its last bit differs from the one before.
fn successor(receiver: u32) -> u32 {
    receiver & !0xff | u32::from((receiver as u8).wrapping_add(1))
}

impl Node {
    /// The peer has started anew, with counters that we have seen: it gets another key.
    pub(super) fn renew_relay_key(&mut self, id: TunnelId, now: Instant) {
        if let Some(tunnel) = self.tunnels.get_mut(&id) {
            let key = draw(successor(tunnel.relay_key.key.receiver), &mut self.random);
            tunnel.handle.add_relay_key(key.clone());
            tunnel.handle.keep_only_relay_key(key.receiver);
            tunnel.handle.set_peer_relay_key(None);
            tunnel.relay_key = OwnKey {
                key,
                since: now,
                state: State::Alone,
            };
        }
    }

    /// Every second: replaces what has been in use for long enough.
    pub(super) fn rotate_relay_keys(&mut self, now: Instant) {
        let random = &mut self.random;
        let mut told = Vec::new();
        for (id, tunnel) in self
            .tunnels
            .iter_mut()
            .filter(|(_, t)| t.is_usable() && !t.doze.is_quiet())
        {
            let Tunnel {
                handle,
                relay_key: own,
                ..
            } = tunnel;
            match own.state {
                State::Alone if now.saturating_since(own.since) >= LIFE && handle.is_relay_key_used() => {
                    own.key = draw(successor(own.key.receiver), random);
                    own.since = now;
                    own.state = State::Told;
                    handle.add_relay_key(own.key.clone());
                }
                State::Overlapping(until) if until <= now => {
                    handle.keep_only_relay_key(own.key.receiver);
                    own.state = State::Alone;
                }
                State::Alone | State::Told | State::Overlapping(_) => {}
            }
            if own.state == State::Told {
                told.push((*id, Message::RelayKey(own.key.clone())));
            }
        }
        for (id, message) in told {
            self.send_link(id, &message, now);
        }
    }

    /// The peer replaced its key.
    pub(super) fn take_relay_key(&mut self, id: TunnelId, key: RelayKey, now: Instant) {
        let Some(handle) = self.tunnels.get(&id).map(|t| Arc::clone(&t.handle)) else {
            return;
        };
        let receiver = key.receiver;
        handle.set_peer_relay_key(Some(key));
        self.send_link(id, &Message::RelayKeyTaken(receiver), now);
    }

    pub(super) fn relay_key_taken(&mut self, id: TunnelId, receiver: u32, now: Instant) {
        if let Some(own) = self.tunnels.get_mut(&id).map(|t| &mut t.relay_key)
            && own.state == State::Told
            && own.key.receiver == receiver
        {
            own.state = State::Overlapping(now + OVERLAP);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bit_changes_with_each_key() {
        assert_eq!(successor(0x1234_5600), 0x1234_5601);
        assert_eq!(successor(0xffff_ffff), 0xffff_ff00);
    }
}
