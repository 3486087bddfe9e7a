//! The data plane's threads: TUN to UDP and UDP to TUN.
//!
//! Each runs a [`osier_dataplane::Forwarder`] over the snapshot that control published last, from reading packets to
//! sending them, with no queue in between. [`crew`] says who does it, one thread or several at once, and [`order`] sees
//! to it that several let packets out as they came. What is not data goes to control over a bounded channel; when that is full,
//! it is dropped and counted, as a network would. An idle thread sleeps without a timeout until there is something to
//! read or a [`Wake`] tells it to stop.
//!
//! A device with offload gives and takes super-packets of up to 64 KiB, and the socket sends and receives many
//! datagrams at once: [`trains`] and [`delivery`] collect what one read brought, [`batch`] ties them to the forwarder,
//! and whatever was collected leaves before the next wait.

mod batch;
mod counters;
mod crew;
mod delivery;
mod directions;
#[cfg(test)]
mod exchange;
mod order;
mod trains;

pub(crate) use batch::{Batch, Round};
pub use counters::Counters;
use crew::Crew;
pub use delivery::Takes;

use crate::{clock::Clock, system::Wake, tun::TunQueue, udp::Udp};
use arc_swap::ArcSwap;
use osier_proto::{Instant, RouterId, Snapshot, snapshot::Activity, tunnel::TunnelId};
use std::{io, net::SocketAddr, sync::Arc, thread::JoinHandle};
use tokio::sync::mpsc;

/// Messages to control that may wait: a few from each of a thousand peers that come at once. Each holds a packet at
/// most, mostly a small one.
pub const CHANNEL: usize = 4096;

/// What the packet threads have for control.
#[derive(Debug)]
pub enum FromPath {
    Datagram(SocketAddr, Vec<u8>),
    TunnelPacket(TunnelId, Vec<u8>),
    /// A handshake message of an end-to-end session, which came through this tunnel.
    RelayedHandshake(TunnelId, Vec<u8>),
    /// A packet of this machine that waits for an end-to-end session.
    Unsent(Vec<u8>),
    /// Control's own, from the other end of an end-to-end session.
    SessionPacket(RouterId, Vec<u8>),
    Probe(Vec<u8>),
    /// The system would not send datagrams of some size there.
    TooLarge(SocketAddr),
    Activity(Activity),
    /// The TUN device is gone; the thread that read it has ended.
    TunLost(String),
    /// The UDP socket is gone; the thread that read it has ended.
    UdpLost(String),
}

/// What both threads and control share.
#[derive(Clone, Debug)]
pub struct Shared {
    pub clock: Arc<Clock>,
    pub udp: Arc<Udp>,
    pub tun: Arc<dyn TunQueue>,
    /// Super-packets that `tun` takes.
    pub takes: Arc<Takes>,
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub counters: Arc<Counters>,
    pub control: mpsc::Sender<FromPath>,
}

impl Shared {
    /// Takes a packet of control's as far as it goes, at once.
    pub(crate) fn send_packet(
        &self,
        batch: &mut Batch,
        snapshot: &Snapshot,
        packet: &mut [u8],
        now: Instant,
    ) {
        let round = Round::unordered(self, snapshot, now);
        batch.outgoing(&round, packet);
        batch.flush(&round, &[]);
    }

    fn tell(&self, message: FromPath) {
        if self.control.try_send(message).is_err() {
            self.counters.count_control_overflow();
        }
    }
}

/// Threads that handle packets unless told otherwise: half of the processors, because the system's own part
/// of the work and the programs that packets are for want theirs too.
pub fn usual_threads() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (processors / 2).clamp(1, 4)
}

/// The running threads. Dropping this stops them and waits for their end.
#[derive(Debug)]
pub struct PacketThreads {
    stop: Arc<Wake>,
    crew: Arc<Crew>,
    threads: Vec<JoinHandle<()>>,
}

impl PacketThreads {
    /// `count` threads at least share what is too much for one; see [`usual_threads`].
    pub fn start(shared: &Shared, count: usize) -> io::Result<Self> {
        let mut this = Self {
            stop: Arc::new(Wake::new()?),
            crew: Arc::default(),
            threads: Vec::new(),
        };
        #[cfg(unix)]
        this.spawn("osier-packets", shared, crew::both_ways)?;
        #[cfg(not(unix))]
        {
            this.spawn("osier-tun", shared, crew::tun_to_udp)?;
            this.spawn("osier-udp", shared, crew::udp_to_tun)?;
        }
        for _ in this.threads.len()..count {
            this.spawn("osier-helper", shared, |shared, _, crew| crew::help(shared, crew))?;
        }
        Ok(this)
    }

    fn spawn(&mut self, name: &str, shared: &Shared, run: fn(&Shared, &Wake, &Crew)) -> io::Result<()> {
        let (shared, stop, crew) = (shared.clone(), self.stop.clone(), self.crew.clone());
        let thread = std::thread::Builder::new()
            .name(name.into())
            .stack_size(256 << 10);
        self.threads
            .push(thread.spawn(move || run(&shared, &stop, &crew))?);
        Ok(())
    }
}

impl Drop for PacketThreads {
    fn drop(&mut self) {
        self.stop.wake();
        self.crew.stop();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{tun::NoTun, udp::PortChoice};
    use std::{net::UdpSocket, time::Duration};

    fn shared(capacity: usize) -> (Shared, mpsc::Receiver<FromPath>) {
        let (control, reader) = mpsc::channel(capacity);
        let network = "fd00:1:2::/48".parse().unwrap();
        let snapshot = Snapshot::new(
            "fd00:1:2:3::1".parse().unwrap(),
            vec!["fd00:1:2:3::/64".parse().unwrap()],
            network,
        );
        let shared = Shared {
            clock: Arc::default(),
            udp: Arc::new(Udp::bind(PortChoice::Exactly(0)).unwrap()),
            tun: Arc::new(NoTun::new().unwrap()),
            takes: Arc::default(),
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            counters: Arc::default(),
            control,
        };
        (shared, reader)
    }

    fn count(shared: &Shared, name: &str) -> u64 {
        shared.counters.list().find(|(n, _)| n == name).unwrap().1
    }

    fn until(condition: impl Fn() -> bool) {
        let began = std::time::Instant::now();
        while !condition() {
            assert!(began.elapsed() < Duration::from_secs(10), "it takes too long");
            std::thread::yield_now();
        }
    }

    #[test]
    fn idle_threads_stop_at_once() {
        let (shared, _reader) = shared(1);
        let threads = PacketThreads::start(&shared, 2).unwrap();
        // They may or may not sleep already; neither must delay the stop.
        let began = std::time::Instant::now();
        drop(threads);
        assert!(began.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn garbage_is_counted_and_handshakes_go_to_control() {
        let (shared, mut reader) = shared(16);
        let _threads = PacketThreads::start(&shared, 2).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let here = ("127.0.0.1", shared.udp.port());
        sender.send_to(b"garbage", here).unwrap();
        until(|| count(&shared, "drop-malformed") == 1);
        // A WireGuard handshake initiation by its looks: type 1, 148 octets.
        let mut initiation = [0; 148];
        initiation[0] = 1;
        sender.send_to(&initiation, here).unwrap();
        match reader.blocking_recv() {
            Some(FromPath::Datagram(from, datagram)) => {
                assert_eq!(from, sender.local_addr().unwrap());
                assert_eq!(datagram, initiation);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flood_of_handshakes_is_dropped_when_control_is_busy() {
        let (shared, _reader) = shared(1);
        let _threads = PacketThreads::start(&shared, 2).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut initiation = [0; 148];
        initiation[0] = 1;
        until(|| {
            sender
                .send_to(&initiation, ("127.0.0.1", shared.udp.port()))
                .unwrap();
            count(&shared, "drop-control-overflow") >= 10
        });
    }
}
