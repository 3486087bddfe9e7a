//! What a packet thread does between a read and the next wait: decides on each packet, collects what goes out, and
//! writes it in as few system calls as the system allows.

use super::{
    Shared,
    delivery::Delivery,
    order::Ticket,
    trains::{Place, Trains},
};
use osier_dataplane::{Action, Forwarder};
use osier_proto::{Instant, Snapshot};
use std::{net::SocketAddr, ops::Range};

/// Largest packet or datagram; what the forwarder wants to have to write to.
const LARGEST: usize = 65_535;
/// Collected octets beyond which everything is written: as much as one super-packet or train can have, and little
/// enough to stay in the processor's cache.
const ENOUGH: usize = 65_536;

/// One direction of the packet path: its forwarder, the buffer that it writes to, and what lies in there.
#[derive(Debug)]
pub(crate) struct Batch {
    forwarder: Forwarder,
    out: Vec<u8>,
    used: usize,
    trains: Trains,
    delivery: Delivery,
}

/// What one read is handled with.
#[derive(Clone, Copy)]
pub(crate) struct Round<'r> {
    pub(crate) shared: &'r Shared,
    pub(crate) snapshot: &'r Snapshot,
    pub(crate) now: Instant,
    /// Nothing is written before it is this read's turn.
    pub(super) ticket: Option<&'r Ticket<'r>>,
}

impl<'r> Round<'r> {
    /// For packets that are in no order.
    pub(crate) fn unordered(shared: &'r Shared, snapshot: &'r Snapshot, now: Instant) -> Self {
        Self {
            shared,
            snapshot,
            now,
            ticket: None,
        }
    }
}

/// What is left to do when the forwarder's borrow of the buffers has ended.
enum Left {
    Send(SocketAddr, Place, Range<usize>),
    Deliver(Range<usize>),
    Nothing,
}

/// Where a buffer lies, to find out which one a slice belongs to.
struct Lies(Range<usize>);

impl Lies {
    fn of(buffer: &[u8]) -> Self {
        let start = buffer.as_ptr().addr();
        Self(start..start + buffer.len())
    }

    fn place(&self, part: &[u8]) -> Option<Range<usize>> {
        let start = part.as_ptr().addr();
        let inside = self.0.contains(&start) && start + part.len() <= self.0.end;
        inside.then(|| start - self.0.start..start - self.0.start + part.len())
    }
}

impl Batch {
    pub(crate) fn new(shared: &Shared) -> Self {
        Self {
            forwarder: Forwarder::new(),
            out: vec![0; ENOUGH + LARGEST],
            used: 0,
            trains: Trains::new(),
            delivery: Delivery::new(shared),
        }
    }

    /// A packet of this machine.
    pub(super) fn outgoing(&mut self, round: &Round<'_>, packet: &mut [u8]) {
        let lies = Lies::of(&self.out);
        let out = &mut self.out[self.used..];
        let action = self.forwarder.from_tun(round.snapshot, packet, out, round.now);
        let left = begin(round.shared, None, action, &lies);
        self.finish(round, left, &[]);
    }

    /// The datagram at `place` of what was received.
    pub(super) fn incoming(
        &mut self,
        round: &Round<'_>,
        source: SocketAddr,
        received: &mut [u8],
        place: Range<usize>,
    ) {
        let lies = Lies::of(&self.out);
        let out = &mut self.out[self.used..];
        let start = place.start;
        let datagram = &mut received[place];
        let action = self
            .forwarder
            .from_network(round.snapshot, source, datagram, out, round.now);
        let left = match action {
            Action::SendInPlace { remote, span } => {
                Left::Send(remote, Place::Received, start + span.start..start + span.end)
            }
            action => begin(round.shared, Some(source), action, &lies),
        };
        self.finish(round, left, received);
    }

    fn finish(&mut self, round: &Round<'_>, left: Left, received: &[u8]) {
        while let Some(activity) = self.forwarder.poll_activity() {
            round.shared.tell(super::FromPath::Activity(activity));
        }
        let full = match left {
            Left::Send(remote, place, span) => {
                if place == Place::Out {
                    self.used = span.end;
                }
                self.trains.push(remote, place, span)
            }
            Left::Deliver(span) => {
                self.used = span.end;
                self.delivery.push(&self.out, span)
            }
            Left::Nothing => false,
        };
        if full || self.used > ENOUGH {
            self.flush(round, received);
        }
    }

    /// The device's queues that have been written to since the last time, as bits.
    #[cfg(unix)]
    pub(super) fn take_written(&mut self) -> u32 {
        self.delivery.take_written()
    }

    /// Writes everything that has been collected. `received`: where datagrams relayed in place lie.
    pub(crate) fn flush(&mut self, round: &Round<'_>, received: &[u8]) {
        if let Some(ticket) = round.ticket {
            ticket.wait();
        }
        let (shared, now) = (round.shared, round.now);
        if !self.trains.is_empty() {
            self.trains
                .flush(&*shared.udp, &self.out, received, &shared.counters, now);
            if let Some(remote) = self.trains.take_too_large(now) {
                shared.tell(super::FromPath::TooLarge(remote));
            }
        }
        if !self.delivery.is_empty() {
            self.delivery.flush(&mut self.out, shared);
        }
        self.used = 0;
    }
}

/// Does at once what needs no collecting.
fn begin(shared: &Shared, source: Option<SocketAddr>, action: Action<'_>, out: &Lies) -> Left {
    use super::FromPath;
    match action {
        Action::Send { remote, datagram } => match out.place(datagram) {
            Some(span) => return Left::Send(remote, Place::Out, span),
            // The forwarder has no other buffer to answer from.
            None => shared.counters.count_send_errors(1),
        },
        // Only what was received is sent in place, and its caller knows where that is.
        Action::SendInPlace { .. } => {}
        Action::NeedsSession(packet) => shared.tell(FromPath::Unsent(packet.to_vec())),
        Action::RelayedHandshake(tunnel, message) => {
            shared.tell(FromPath::RelayedHandshake(tunnel, message.to_vec()));
        }
        Action::Deliver(packet) => match out.place(packet) {
            Some(span) => return Left::Deliver(span),
            None => shared.counters.count_deliver_errors(1),
        },
        Action::ControlDatagram(datagram) => {
            if let Some(source) = source {
                shared.tell(FromPath::Datagram(source, datagram.to_vec()));
            }
        }
        Action::ControlPacket(tunnel, packet) => shared.tell(FromPath::TunnelPacket(tunnel, packet.to_vec())),
        Action::SessionPacket(origin, packet) => {
            shared.tell(FromPath::SessionPacket(origin, packet.to_vec()))
        }
        Action::Probe(packet) => shared.tell(FromPath::Probe(packet.to_vec())),
        Action::Drop(reason) => shared.counters.count_drop(reason),
        Action::Nothing => {}
    }
    Left::Nothing
}
