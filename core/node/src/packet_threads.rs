//! The data plane's two threads: TUN to UDP and UDP to TUN.
//!
//! Each runs a [`Forwarder`] over the snapshot that control published last, from reading a packet to sending
//! it, with nothing in between. What is not data goes to control over a bounded channel; when that is full, it
//! is dropped and counted, as a network would. An idle thread sleeps without a timeout until there is something to read
//! or a [`Wake`] tells it to stop.

use crate::{
    clock::Clock,
    system::{Wake, wait},
    tun::TunQueue,
    udp::Udp,
};
use arc_swap::ArcSwap;
use osier_dataplane::{Action, DropReason, Forwarder};
use osier_proto::{Instant, Snapshot, snapshot::Activity, tunnel::TunnelId};
use quinn_udp::RecvMeta;
use std::{
    io::{self, IoSliceMut},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};
use tokio::sync::mpsc;

/// Messages to control that may wait.
pub const CHANNEL: usize = 1024;
/// Packets handled between two looks at the snapshot and the clock.
const BATCH: usize = 64;
/// Receive buffers, each of which holds one datagram or several coalesced by the kernel (GRO).
const BUFFERS: usize = 4;
const BUFFER: usize = 65_535;

/// What the packet threads have for control.
#[derive(Debug)]
pub enum FromPath {
    Datagram(SocketAddr, Vec<u8>),
    TunnelPacket(TunnelId, Vec<u8>),
    /// A handshake message of an end-to-end session, which came through this tunnel.
    RelayedHandshake(TunnelId, Vec<u8>),
    /// A packet of this machine that waits for an end-to-end session.
    Unsent(Vec<u8>),
    Probe(Vec<u8>),
    Activity(Activity),
    /// The TUN device is gone; the thread that read it has ended.
    TunLost(String),
    /// The UDP socket is gone; the thread that read it has ended.
    UdpLost(String),
}

/// Counters of the packet path; they only rise.
#[derive(Debug, Default)]
pub struct Counters {
    drops: [AtomicU64; DropReason::ALL.len()],
    /// Lost because control was busy.
    control_overflow: AtomicU64,
    /// The socket was full, or the system knew no way.
    send_errors: AtomicU64,
    deliver_errors: AtomicU64,
}

impl Counters {
    /// Stable names and values.
    pub fn list(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let drops = DropReason::ALL.iter().zip(&self.drops);
        let drops = drops.map(|(reason, counter)| (format!("drop-{}", reason.name()), counter));
        let others = [
            ("drop-control-overflow", &self.control_overflow),
            ("send-errors", &self.send_errors),
            ("deliver-errors", &self.deliver_errors),
        ];
        let others = others
            .into_iter()
            .map(|(name, counter)| (name.to_owned(), counter));
        drops
            .chain(others)
            .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
    }

    pub(crate) fn count_send_error(&self) {
        self.send_errors.fetch_add(1, Ordering::Relaxed);
    }

    fn count_drop(&self, reason: DropReason) {
        if let Some(at) = DropReason::ALL.iter().position(|known| *known == reason) {
            self.drops[at].fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What both threads and control share.
#[derive(Clone, Debug)]
pub struct Shared {
    pub clock: Arc<Clock>,
    pub udp: Arc<Udp>,
    pub tun: Arc<dyn TunQueue>,
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub counters: Arc<Counters>,
    pub control: mpsc::Sender<FromPath>,
}

impl Shared {
    /// Takes a packet of this machine (or of control) as far as it goes.
    pub(crate) fn send_packet(&self, path: &mut Path, snapshot: &Snapshot, packet: &mut [u8], now: Instant) {
        let action = path.forwarder.from_tun(snapshot, packet, &mut path.out, now);
        self.perform(None, action);
        self.report(&mut path.forwarder);
    }

    fn receive_datagram(
        &self,
        path: &mut Path,
        snapshot: &Snapshot,
        source: SocketAddr,
        datagram: &mut [u8],
        now: Instant,
    ) {
        let action = path
            .forwarder
            .from_network(snapshot, source, datagram, &mut path.out, now);
        match action {
            Action::SendInPlace { remote, span } => self.send(remote, &datagram[span]),
            action => self.perform(Some(source), action),
        }
        self.report(&mut path.forwarder);
    }

    fn send(&self, remote: SocketAddr, datagram: &[u8]) {
        if self.udp.send(remote, datagram).is_err() {
            self.counters.count_send_error();
        }
    }

    /// Does what the forwarder decided.
    fn perform(&self, source: Option<SocketAddr>, action: Action<'_>) {
        match action {
            Action::Send { remote, datagram } => self.send(remote, datagram),
            // Only what was received is sent in place, and its caller holds it.
            Action::SendInPlace { .. } => {}
            Action::NeedsSession(packet) => self.tell(FromPath::Unsent(packet.to_vec())),
            Action::RelayedHandshake(tunnel, message) => {
                self.tell(FromPath::RelayedHandshake(tunnel, message.to_vec()));
            }
            Action::Deliver(packet) => {
                if self.tun.send(packet).is_err() {
                    self.counters.deliver_errors.fetch_add(1, Ordering::Relaxed);
                }
            }
            Action::ControlDatagram(datagram) => {
                if let Some(source) = source {
                    self.tell(FromPath::Datagram(source, datagram.to_vec()));
                }
            }
            Action::ControlPacket(tunnel, packet) => {
                self.tell(FromPath::TunnelPacket(tunnel, packet.to_vec()))
            }
            Action::Probe(packet) => self.tell(FromPath::Probe(packet.to_vec())),
            Action::Drop(reason) => self.counters.count_drop(reason),
            Action::Nothing => {}
        }
    }

    fn report(&self, forwarder: &mut Forwarder) {
        while let Some(activity) = forwarder.poll_activity() {
            self.tell(FromPath::Activity(activity));
        }
    }

    fn tell(&self, message: FromPath) {
        if self.control.try_send(message).is_err() {
            self.counters.control_overflow.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One direction of the packet path: its forwarder and the buffer that it writes to.
#[derive(Debug)]
pub(crate) struct Path {
    forwarder: Forwarder,
    out: Vec<u8>,
}

impl Path {
    pub(crate) fn new() -> Self {
        Self {
            forwarder: Forwarder::new(),
            out: vec![0; BUFFER],
        }
    }
}

/// The running threads. Dropping this stops them and waits for their end.
#[derive(Debug)]
pub struct PacketThreads {
    stop: Arc<Wake>,
    threads: Vec<JoinHandle<()>>,
}

impl PacketThreads {
    pub fn start(shared: &Shared) -> io::Result<Self> {
        let mut this = Self {
            stop: Arc::new(Wake::new()?),
            threads: Vec::new(),
        };
        this.spawn("osier-tun", shared, tun_to_udp)?;
        this.spawn("osier-udp", shared, udp_to_tun)?;
        Ok(this)
    }

    fn spawn(&mut self, name: &str, shared: &Shared, run: fn(&Shared, &Wake)) -> io::Result<()> {
        let (shared, stop) = (shared.clone(), self.stop.clone());
        let thread = std::thread::Builder::new()
            .name(name.into())
            .stack_size(256 << 10);
        self.threads.push(thread.spawn(move || run(&shared, &stop))?);
        Ok(())
    }
}

impl Drop for PacketThreads {
    fn drop(&mut self) {
        self.stop.wake();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn tun_to_udp(shared: &Shared, stop: &Wake) {
    let mut path = Path::new();
    let mut packet = vec![0; BUFFER];
    let mut emptied = false;
    while wait(shared.tun.readable(), stop, emptied) {
        emptied = false;
        let snapshot = shared.snapshot.load();
        let now = shared.clock.now();
        for _ in 0..BATCH {
            match shared.tun.receive(&mut packet) {
                Ok(length) => {
                    shared.send_packet(&mut path, &snapshot, &mut packet[..length], now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    emptied = true;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    shared.tell(FromPath::TunLost(error.to_string()));
                    return;
                }
            }
        }
    }
}

fn udp_to_tun(shared: &Shared, stop: &Wake) {
    let mut path = Path::new();
    let mut storage = vec![0; BUFFERS * BUFFER];
    let mut meta = [RecvMeta::default(); BUFFERS];
    let mut failures = 0;
    let mut emptied = false;
    while wait(shared.udp.readable(), stop, emptied) {
        emptied = false;
        let mut handled = 0;
        while handled < BATCH {
            let received = {
                let mut chunks = storage.chunks_mut(BUFFER);
                // As many chunks as buffers were allocated above; an empty slice would only receive nothing.
                let mut buffers: [IoSliceMut<'_>; BUFFERS] =
                    std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
                shared.udp.receive(&mut buffers, &mut meta)
            };
            let count = match received {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    emptied = true;
                    break;
                }
                // Reports about what others did with our datagrams.
                Err(error) if failures < 1000 => {
                    tracing::debug!(%error, "receiving failed");
                    failures += 1;
                    break;
                }
                Err(error) => {
                    shared.tell(FromPath::UdpLost(error.to_string()));
                    return;
                }
            };
            failures = 0;
            let snapshot = shared.snapshot.load();
            let now = shared.clock.now();
            for (chunk, meta) in storage.chunks_mut(BUFFER).zip(&meta[..count]) {
                let length = meta.len.min(BUFFER);
                for datagram in chunk[..length].chunks_mut(meta.stride.max(1)) {
                    shared.receive_datagram(&mut path, &snapshot, meta.addr, datagram, now);
                    handled += 1;
                }
            }
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
        let threads = PacketThreads::start(&shared).unwrap();
        // They may or may not sleep already; neither must delay the stop.
        let began = std::time::Instant::now();
        drop(threads);
        assert!(began.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn garbage_is_counted_and_handshakes_go_to_control() {
        let (shared, mut reader) = shared(16);
        let _threads = PacketThreads::start(&shared).unwrap();
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
        let _threads = PacketThreads::start(&shared).unwrap();
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
