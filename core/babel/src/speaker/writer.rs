//! Packets, filled one after the other.

use crate::Duration;
use crate::output::Output;
use crate::wire::{self, Builder, Centis};
use core::net::Ipv6Addr;

/// Room that a packet should still have for an update when its acknowledgment is asked for.
const ROOM: usize = 96;

/// Fills packets one after the other.
pub(super) struct Writer {
    limit: usize,
    source: Ipv6Addr,
    builder: Builder,
    /// The acknowledgment that the present packet asks for.
    opaque: Option<u16>,
    done: Vec<Vec<u8>>,
}

impl Writer {
    pub(super) fn new(limit: usize, source: Ipv6Addr) -> Self {
        Self {
            limit,
            source,
            builder: Builder::new(limit, source),
            opaque: None,
            done: Vec::new(),
        }
    }

    pub(super) fn put(&mut self, write: impl Fn(&mut Builder) -> bool) {
        if !write(&mut self.builder) {
            self.next_packet();
            // A packet has room for at least 214 octets beside eight MACs, more than any single TLV with what it
            // needs.
            let _fits = write(&mut self.builder);
        }
    }

    /// Writes an update into a packet that asks for an acknowledgment within `ask`, and returns its number.
    pub(super) fn update(
        &mut self,
        update: &wire::Update,
        ask: Option<Duration>,
        output: &mut Output,
    ) -> Option<u16> {
        let Some(within) = ask else {
            self.put(|builder| builder.update(update));
            return None;
        };
        if self.opaque.is_none() || !self.builder.update(update) {
            if self.opaque.is_some() || self.room() < ROOM {
                self.next_packet();
            }
            let opaque = output.opaque();
            self.put(|builder| builder.ack_request(opaque, Centis::promising(within)));
            self.opaque = Some(opaque);
            self.put(|builder| builder.update(update));
        }
        self.opaque
    }

    /// What the present packet has room for, in octets.
    pub(super) fn room(&self) -> usize {
        self.builder.room()
    }

    fn next_packet(&mut self) {
        let full = core::mem::replace(&mut self.builder, Builder::new(self.limit, self.source));
        self.opaque = None;
        if !full.is_empty() {
            self.done.push(full.finish());
        }
    }

    pub(super) fn finish(mut self) -> Vec<Vec<u8>> {
        self.next_packet();
        self.done
    }
}
