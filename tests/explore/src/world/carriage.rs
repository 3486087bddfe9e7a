//! Packets under way: lost, delayed, doubled, repeated and falsified, and delivered at last.

use super::{Packet, Refusals, Step, World};
use crate::case::{Fault, Kind};
use crate::names::{NAMES, address};
use crate::said::{Said, each_update, halve_metric, raise_seqno};
use core::cmp::Reverse;
use core::net::Ipv6Addr;
use osier_babel::{Counters, Destination, Instant, InterfaceId, MULTICAST, Speaker, Transmit};
use std::rc::Rc;

/// Packets of a link that may be replayed.
const MEMORY: usize = 32;

impl World {
    pub(super) fn send(&mut self, from: usize, transmit: Transmit, said: Said) {
        self.packets_sent += 1;
        let link = transmit.interface.0 as usize;
        let dst = match transmit.destination {
            Destination::Multicast => MULTICAST,
            Destination::Unicast(address) => address,
        };
        for octets in transmit.payload.chunks(8) {
            let mut word = [0; 8];
            word[..octets.len()].copy_from_slice(octets);
            self.trace = (self.trace ^ u64::from_le_bytes(word))
                .wrapping_mul(0x0000_0100_0000_01b3)
                .rotate_left(23);
        }
        self.trace ^= self.now;
        self.throw(link, from, dst, Rc::new((transmit.payload, said)));
    }

    /// Puts a packet on a link, to be lost, delayed and doubled.
    pub fn throw(&mut self, link: usize, from: usize, dst: Ipv6Addr, payload: Rc<(Vec<u8>, Said)>) {
        let life = self.observer.life(from);
        let here = &mut self.links[link];
        let Some(sender) = here.slot(from) else { return };
        let (members, weather, session) = (here.spec.members.len(), here.weather, here.known_session[sender]);
        for receiver in 0..members {
            let here = &mut self.links[link];
            let to = here.spec.members[receiver];
            if receiver == sender || !(dst.is_multicast() || dst == address(to)) {
                continue;
            }
            let chance = &mut here.chance[sender];
            let lost = chance.percent(weather.loss);
            let copies = 1 + u64::from(chance.percent(weather.copies));
            let apart = (self.partition >> from ^ self.partition >> to) & 1 == 1;
            if lost || apart || here.blocked[sender * members + receiver] {
                continue;
            }
            for _ in 0..copies {
                let jitter = self.links[link].chance[sender].below(weather.jitter_us + 1);
                let packet = Packet {
                    again: false,
                    link,
                    from,
                    to,
                    dst,
                    life,
                    session,
                    payload: Rc::clone(&payload),
                };
                self.carry(self.now + weather.delay_us + jitter, packet);
            }
        }
    }

    fn carry(&mut self, at: u64, packet: Packet) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.packets.push(None);
            self.packets.len() - 1
        });
        self.packets[slot] = Some(packet);
        self.carried += 1;
        self.wire.push(Reverse((at, self.carried, slot)));
    }

    pub(super) fn deliver(&mut self, packet: Packet) -> Step {
        self.events += 1;
        let Packet { link, from, to, .. } = packet;
        let here = &self.links[link];
        let Some(slot) = here.slot(to).filter(|slot| here.attached[*slot]) else {
            return Ok(());
        };
        let stale =
            here.spec.tunnel && (packet.session != here.session || here.known_session[slot] != here.session);
        if stale || self.nodes[to].speaker.is_none() || self.nodes[to].asleep.is_some() {
            return Ok(());
        }
        let (now, local, refused) = (self.instant(to), self.local(to), self.nodes[to].refused);
        let tampered = self.tamper(&packet);
        let (payload, said) = tampered.as_ref().unwrap_or(&packet.payload);
        self.tell(|| format!("link {link}: {from} -> {to} {} {said:?}", packet.dst));
        let name = to * NAMES + self.nodes[to].name;
        let asked = said.requests.iter().filter(|router| **router == name).count();
        let (again, life) = (packet.again, packet.life);
        let mac = self.links[link].spec.mac;
        let mut heard = true;
        if let Some(speaker) = &mut self.nodes[to].speaker {
            let (id, src) = (InterfaceId(link as u32), address(from));
            let before = speaker.counters();
            speaker.handle_packet(id, src, packet.dst, payload, &mut Refusals(refused), now);
            // Only the speaker can tell which packets it believes: one of a restarted neighbour waits for a
            // challenge.
            heard = !mac || believed(speaker, before, (id, src), now);
        }
        if again && heard {
            let detail = format!("node {to} believed a packet of node {from} twice: {said:?}");
            return Err(self.violation(Kind::Replay, detail));
        }
        if heard {
            self.observer
                .delivered(link, (to, from), life, said, local, refused);
        }
        let asked = if heard { asked } else { 0 };
        if mac && heard && tampered.is_none() {
            let memory = &mut self.links[link].heard;
            memory.truncate(MEMORY - 1);
            memory.push_front(packet);
        }
        self.drain(to, asked)
    }

    /// Faults of the wire.
    fn tamper(&self, packet: &Packet) -> Option<(Vec<u8>, Said)> {
        let change: fn(&mut [u8]) = match self.fault? {
            Fault::HalveMetrics { link } if link == packet.link => halve_metric,
            Fault::RaiseSeqnos { link } if link == packet.link => raise_seqno,
            Fault::DeafToRequests { node } if node == packet.to && !packet.payload.1.requests.is_empty() => {
                return Some((vec![42, 2, 0, 0], Said::default()));
            }
            _ => return None,
        };
        let mut payload = packet.payload.0.clone();
        each_update(&mut payload, change);
        let said = Said::read(&payload, address(packet.from))?;
        Some((payload, said))
    }

    /// Somebody on the link repeats what it has heard.
    pub fn replay(&mut self, link: usize) {
        for packet in core::mem::take(&mut self.links[link].heard) {
            self.carry(
                self.now + 1_000,
                Packet {
                    again: true,
                    ..packet
                },
            );
        }
    }
}

/// Whether the speaker acted on the packet that it was just given.
fn believed(speaker: &Speaker, before: Counters, from: (InterfaceId, Ipv6Addr), now: Instant) -> bool {
    let refused = |counters: Counters| counters.mac_failed + counters.mac_missing + counters.mac_replayed;
    let mut neighbours = speaker.neighbours();
    refused(speaker.counters()) == refused(before)
        && speaker.counters().challenges_sent == before.challenges_sent
        && neighbours.any(|n| (n.interface, n.address) == from && n.last_heard == Some(now))
}
