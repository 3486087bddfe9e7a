//! Datagrams on their way out, collected so that one system call takes many.
//!
//! A *train* is a row of datagrams in one buffer, each where the one before ends, all to the same remote and of one
//! size (the last may be shorter): what UDP segmentation offload sends at once. Nothing waits for a train to grow:
//! whatever a read has brought is sent before the next wait.

use super::Counters;
use crate::udp::{Udp, is_too_large, refuses_train};
use osier_proto::{Duration, Instant};
use std::{io, net::SocketAddr, ops::Range};

/// Trains that wait; more are sent first.
const TRAINS: usize = 64;
/// What every kernel with segmentation offload takes (UDP_MAX_SEGMENTS was 64 before Linux 6.7).
const MAX_DATAGRAMS: usize = 64;
/// Octets of a train: what fits a UDP datagram over IPv4, which is what the kernel makes of it first.
const MAX_OCTETS: usize = 65_507;
/// Remotes remembered to take no trains.
const REFUSALS: usize = 32;
/// Then they are tried again: paths change.
const FORGET: Duration = Duration::from_secs(60);

/// Control hears at most this often of what is too large.
const TELL_GAP: Duration = Duration::from_millis(100);

/// Which of a thread's buffers a train lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// What the forwarder writes to.
    Out,
    /// What was received: relayed in place.
    Received,
}

#[derive(Clone, Copy, Debug)]
struct Train {
    remote: SocketAddr,
    place: Place,
    start: usize,
    end: usize,
    size: usize,
    /// A shorter one ended it.
    closed: bool,
}

/// What sends datagrams: the node's socket, or a test's stand-in.
pub(super) trait Sender {
    fn sends_trains(&self) -> bool;
    fn send(&self, remote: SocketAddr, datagram: &[u8]) -> io::Result<()>;
    /// All or nothing; see [`Udp::send_train`].
    fn send_train(&self, remote: SocketAddr, contents: &[u8], size: u16) -> io::Result<()>;
}

impl Sender for Udp {
    fn sends_trains(&self) -> bool {
        Udp::sends_trains(self)
    }

    fn send(&self, remote: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        Udp::send(self, remote, datagram)
    }

    fn send_train(&self, remote: SocketAddr, contents: &[u8], size: u16) -> io::Result<()> {
        Udp::send_train(self, remote, contents, size)
    }
}

/// The trains of one thread.
#[derive(Debug)]
pub(super) struct Trains {
    trains: Vec<Train>,
    /// To whom datagrams go one by one, since when. Oldest first.
    refusals: Vec<(SocketAddr, Instant)>,
    /// To whom something was too large, for control, and when it was last told of anybody.
    too_large: Option<SocketAddr>,
    told: Option<Instant>,
}

impl Trains {
    pub(super) fn new() -> Self {
        Self {
            trains: Vec::with_capacity(TRAINS),
            refusals: Vec::with_capacity(REFUSALS),
            too_large: None,
            told: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.trains.is_empty()
    }

    /// Adds the datagram at `span` of a buffer. `true` when it is time to send: a train has as much as the system
    /// takes.
    pub(super) fn push(&mut self, remote: SocketAddr, place: Place, span: Range<usize>) -> bool {
        let length = span.len();
        if let Some(train) = self.trains.last_mut()
            && train.remote == remote
            && train.place == place
            && train.end == span.start
            && !train.closed
            && length <= train.size
            && span.end - train.start <= MAX_OCTETS.min(MAX_DATAGRAMS * train.size)
        {
            train.end = span.end;
            train.closed = length < train.size;
            let octets = train.end - train.start;
            return octets + train.size > MAX_OCTETS || octets >= MAX_DATAGRAMS * train.size;
        }
        self.trains.push(Train {
            remote,
            place,
            start: span.start,
            end: span.end,
            size: length,
            closed: length == 0,
        });
        self.trains.len() == TRAINS
    }

    /// Sends everything, in order. What cannot be sent is counted and lost, as on any full or broken network.
    pub(super) fn flush(
        &mut self,
        sender: &impl Sender,
        out: &[u8],
        received: &[u8],
        counters: &Counters,
        now: Instant,
    ) {
        for at in 0..self.trains.len() {
            let train = self.trains[at];
            let buffer = match train.place {
                Place::Out => out,
                Place::Received => received,
            };
            // Pushed with places of these very buffers.
            let contents = buffer.get(train.start..train.end).unwrap_or_default();
            let single = contents.len() <= train.size;
            if !single && sender.sends_trains() && !self.has_refused(train.remote, now) {
                // At most MAX_OCTETS, as there are several.
                match sender.send_train(train.remote, contents, train.size as u16) {
                    Ok(()) => continue,
                    Err(error) if refuses_train(&error) => self.note_refusal(train.remote, now, counters),
                    Err(_) => {
                        counters.count_send_errors(contents.len().div_ceil(train.size) as u64);
                        continue;
                    }
                }
            }
            for datagram in contents.chunks(train.size.max(1)) {
                if let Err(error) = sender.send(train.remote, datagram) {
                    counters.count_send_errors(1);
                    if is_too_large(&error) {
                        self.too_large = Some(train.remote);
                    }
                }
            }
        }
        self.trains.clear();
    }

    /// Somebody to whom something was too large lately; not too often, as it may be so for each datagram.
    pub(super) fn take_too_large(&mut self, now: Instant) -> Option<SocketAddr> {
        let remote = self.too_large.take()?;
        if self.told.is_some_and(|at| now.saturating_since(at) < TELL_GAP) {
            return None;
        }
        self.told = Some(now);
        Some(remote)
    }

    fn has_refused(&self, remote: SocketAddr, now: Instant) -> bool {
        self.refusals
            .iter()
            .any(|(refuser, since)| *refuser == remote && now.saturating_since(*since) < FORGET)
    }

    fn note_refusal(&mut self, remote: SocketAddr, now: Instant, counters: &Counters) {
        self.refusals.retain(|(refuser, _)| *refuser != remote);
        if self.refusals.len() == REFUSALS {
            self.refusals.remove(0);
        }
        self.refusals.push((remote, now));
        // Some kernels say the same of a device that cannot segment: control finds out.
        self.too_large = Some(remote);
        counters.count_refused_train();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[derive(Debug, PartialEq)]
    enum Sent {
        Train(SocketAddr, Vec<u8>, u16),
        Single(SocketAddr, Vec<u8>),
    }

    /// Takes trains to all but some remotes, which answer with an error of the system's.
    struct Fake {
        trains: bool,
        refused: Vec<SocketAddr>,
        error: i32,
        sent: RefCell<Vec<Sent>>,
    }

    impl Fake {
        fn new() -> Self {
            Self {
                trains: true,
                refused: Vec::new(),
                error: 0,
                sent: RefCell::default(),
            }
        }
    }

    impl Sender for Fake {
        fn sends_trains(&self) -> bool {
            self.trains
        }

        fn send(&self, remote: SocketAddr, datagram: &[u8]) -> io::Result<()> {
            self.sent.borrow_mut().push(Sent::Single(remote, datagram.into()));
            Ok(())
        }

        fn send_train(&self, remote: SocketAddr, contents: &[u8], size: u16) -> io::Result<()> {
            if self.refused.contains(&remote) {
                return Err(io::Error::from_raw_os_error(self.error));
            }
            self.sent
                .borrow_mut()
                .push(Sent::Train(remote, contents.into(), size));
            Ok(())
        }
    }

    fn remote(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    /// Datagrams of these lengths to these ports, one after the other.
    fn push(trains: &mut Trains, datagrams: &[(u16, usize)]) -> Vec<u8> {
        let mut end = 0;
        for (port, length) in datagrams {
            trains.push(remote(*port), Place::Out, end..end + length);
            end += length;
        }
        (0..end).map(|i| i as u8).collect()
    }

    fn flush(trains: &mut Trains, fake: &Fake, buffer: &[u8], seconds: u64) -> (Vec<Sent>, Counters) {
        let counters = Counters::default();
        trains.flush(fake, buffer, &[], &counters, at(seconds));
        assert!(trains.is_empty());
        (fake.sent.take(), counters)
    }

    fn value(counters: &Counters, name: &str) -> u64 {
        counters.list().find(|(n, _)| n == name).unwrap().1
    }

    #[test]
    fn equal_neighbours_to_one_remote_go_together() {
        let mut trains = Trains::new();
        let lengths = [
            (1, 10),
            (1, 10),
            (1, 4),
            (1, 10),
            (2, 10),
            (2, 10),
            (1, 20),
            (1, 21),
        ];
        let buffer = push(&mut trains, &lengths);
        let (sent, _) = flush(&mut trains, &Fake::new(), &buffer, 0);
        let expected = vec![
            Sent::Train(remote(1), buffer[..24].into(), 10),
            Sent::Single(remote(1), buffer[24..34].into()),
            Sent::Train(remote(2), buffer[34..54].into(), 10),
            Sent::Single(remote(1), buffer[54..74].into()),
            Sent::Single(remote(1), buffer[74..95].into()),
        ];
        assert_eq!(sent, expected);
    }

    #[test]
    fn trains_are_as_long_as_the_system_takes() {
        let mut trains = Trains::new();
        for (size, most) in [(1452, 45), (1312, 49), (100, 64)] {
            for number in 0..most {
                let full = trains.push(remote(1), Place::Out, number * size..(number + 1) * size);
                assert_eq!(full, number + 1 == most, "{number} of {size}");
            }
            let buffer = vec![0; most * size];
            let (sent, _) = flush(&mut trains, &Fake::new(), &buffer, 0);
            assert_eq!(sent, [Sent::Train(remote(1), buffer, size as u16)]);
        }
    }

    #[test]
    fn gaps_and_other_buffers_end_a_train() {
        let mut trains = Trains::new();
        trains.push(remote(1), Place::Out, 0..10);
        trains.push(remote(1), Place::Out, 11..21);
        trains.push(remote(1), Place::Received, 21..31);
        trains.push(remote(1), Place::Received, 31..41);
        let fake = Fake::new();
        trains.flush(&fake, &[1; 50], &[2; 50], &Counters::default(), at(0));
        let expected = vec![
            Sent::Single(remote(1), vec![1; 10]),
            Sent::Single(remote(1), vec![1; 10]),
            Sent::Train(remote(1), vec![2; 20], 10),
        ];
        assert_eq!(fake.sent.take(), expected);
    }

    /// Also what the kernel says of a path that segments do not fit.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn remote_that_takes_no_trains_gets_single_datagrams_for_a_while_and_others_keep_theirs() {
        for error in [libc::EIO, libc::EINVAL, libc::EMSGSIZE] {
            let mut trains = Trains::new();
            let mut fake = Fake::new();
            fake.refused = vec![remote(1)];
            fake.error = error;
            let datagrams = [(1, 10), (1, 10), (2, 10), (2, 10)];
            let buffer = push(&mut trains, &datagrams);
            let (sent, counters) = flush(&mut trains, &fake, &buffer, 100);
            let expected = vec![
                Sent::Single(remote(1), buffer[..10].into()),
                Sent::Single(remote(1), buffer[10..20].into()),
                Sent::Train(remote(2), buffer[20..].into(), 10),
            ];
            assert_eq!(sent, expected);
            assert_eq!(value(&counters, "trains-refused"), 1);
            assert_eq!(value(&counters, "send-errors"), 0);
            assert_eq!(trains.take_too_large(at(100)), Some(remote(1)), "control is told");
            assert_eq!(trains.take_too_large(at(101)), None);
            // It is not asked again too soon, even when it would take them.
            fake.refused.clear();
            push(&mut trains, &datagrams[..2]);
            let (sent, counters) = flush(&mut trains, &fake, &buffer, 159);
            assert_eq!(sent.len(), 2);
            assert_eq!(value(&counters, "trains-refused"), 0);
            push(&mut trains, &datagrams[..2]);
            let (sent, _) = flush(&mut trains, &fake, &buffer, 160);
            assert_eq!(sent, [Sent::Train(remote(1), buffer[..20].into(), 10)]);
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn train_that_a_full_socket_does_not_take_is_lost_and_counted() {
        let mut trains = Trains::new();
        let mut fake = Fake::new();
        fake.refused = vec![remote(1)];
        fake.error = libc::EAGAIN;
        let buffer = push(&mut trains, &[(1, 10), (1, 10), (1, 3)]);
        let (sent, counters) = flush(&mut trains, &fake, &buffer, 0);
        assert_eq!(sent, []);
        assert_eq!(value(&counters, "send-errors"), 3);
    }

    #[cfg(unix)]
    #[test]
    fn datagram_that_the_system_finds_too_large_is_told() {
        struct Narrow;
        impl Sender for Narrow {
            fn sends_trains(&self) -> bool {
                false
            }

            fn send(&self, _: SocketAddr, datagram: &[u8]) -> io::Result<()> {
                match datagram.len() {
                    0..=10 => Ok(()),
                    _ => Err(io::Error::from_raw_os_error(libc::EMSGSIZE)),
                }
            }

            fn send_train(&self, _: SocketAddr, _: &[u8], _: u16) -> io::Result<()> {
                Ok(())
            }
        }
        let mut trains = Trains::new();
        let told = Some(remote(1));
        for (length, second, told) in [(10, 1, None), (11, 1, told), (11, 1, None), (11, 2, told)] {
            trains.push(remote(1), Place::Out, 0..length);
            trains.flush(&Narrow, &[0; 20], &[], &Counters::default(), at(second));
            assert_eq!(trains.take_too_large(at(second)), told);
        }
    }

    #[test]
    fn system_without_segmentation_gets_single_datagrams() {
        let mut trains = Trains::new();
        let mut fake = Fake::new();
        fake.trains = false;
        let buffer = push(&mut trains, &[(1, 10), (1, 10)]);
        let (sent, _) = flush(&mut trains, &fake, &buffer, 0);
        assert_eq!(sent.len(), 2);
        assert!(matches!(sent[0], Sent::Single(..)));
    }

    #[test]
    fn refusals_are_bounded() {
        let mut trains = Trains::new();
        for port in 0..100 {
            trains.note_refusal(remote(port), at(0), &Counters::default());
        }
        assert_eq!(trains.refusals.len(), REFUSALS);
        assert!(trains.has_refused(remote(99), at(1)) && !trains.has_refused(remote(0), at(1)));
    }
}
