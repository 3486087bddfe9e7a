//! `osier ping` and `osier trace`: ICMPv6 echoes that go the way of data, and their answers.

use super::{Event, ProbeOutcome};
use crate::{
    Instant,
    packet::{self, Echo, Icmp, IcmpError, IcmpHeader},
    snapshot::PROBE_MAGIC,
};
use core::net::Ipv6Addr;
use std::collections::BTreeMap;

/// Probes in flight remembered; the oldest is forgotten first.
const CAPACITY: usize = 1024;
/// Largest payload: what fits one IPv6 packet of 16 KiB, far more than any tunnel carries.
const MAX_PAYLOAD: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(super) struct Probes {
    next: u32,
    /// By identifier and sequence of the echo, which count up and so are in order of age.
    pending: BTreeMap<u32, (u64, Instant)>,
}

impl Probes {
    /// The packet to send.
    pub(super) fn send(
        &mut self,
        id: u64,
        source: Ipv6Addr,
        target: Ipv6Addr,
        hop_limit: u8,
        payload: usize,
        now: Instant,
    ) -> Vec<u8> {
        self.next = self.next.wrapping_add(1);
        if self.pending.len() >= CAPACITY {
            self.pending.pop_first();
        }
        self.pending.insert(self.next, (id, now));
        let mut body = vec![0; payload.clamp(PROBE_MAGIC.len(), MAX_PAYLOAD)];
        body[..PROBE_MAGIC.len()].copy_from_slice(&PROBE_MAGIC);
        let header = IcmpHeader {
            source,
            destination: target,
            hop_limit,
        };
        let mut packet = vec![0; packet::IPV6_HEADER + packet::ICMPV6_HEADER + body.len()];
        // It fits: the packet was made for it.
        let length = packet::build_echo_request(&header, echo(self.next), &body, &mut packet).unwrap_or(0);
        packet.truncate(length);
        packet
    }

    /// What an answer says; `None` when it answers nothing of ours.
    pub(super) fn answer(&mut self, packet: &[u8], now: Instant) -> Option<Event> {
        let (from, _, message) = packet::parse_icmp(packet).ok()?;
        let (key, outcome) = match message {
            Icmp::EchoReply(echo, _) => (key(echo), ProbeOutcome::Echo),
            Icmp::Error(error, quoted) => {
                let (_, echo) = packet::quoted_echo(quoted)?;
                let outcome = match error {
                    IcmpError::TimeExceeded => ProbeOutcome::TimeExceeded,
                    IcmpError::PacketTooBig { mtu } => ProbeOutcome::TooBig(mtu),
                    other => ProbeOutcome::Unreachable(other.unreachable_code()?),
                };
                (key(echo), outcome)
            }
            Icmp::EchoRequest(..) | Icmp::Other(..) => return None,
        };
        let (id, sent) = self.pending.remove(&key)?;
        Some(Event::ProbeReply {
            id,
            from,
            outcome,
            rtt: now.saturating_since(sent),
        })
    }
}

fn echo(key: u32) -> Echo {
    Echo {
        identifier: (key >> 16) as u16,
        sequence: key as u16,
    }
}

fn key(echo: Echo) -> u32 {
    u32::from(echo.identifier) << 16 | u32::from(echo.sequence)
}
