//! The machine behind the node: who sends to the peers and counts what comes from them; and an attacker.

use crate::{
    stage::Stage,
    swarm::{Arrived, BURST, DATA, Flight, SINK},
};
use anyhow::Result;
use osier_proto::{
    Instant,
    tunnel::{INITIATION_LENGTH, SessionFactory as _, wireguard::WireGuardFactory},
};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use std::{
    io::IoSliceMut,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant as Moment},
};

/// Threads that end when it is dropped.
pub struct Machine {
    stop: Arc<AtomicBool>,
    targets: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Machine {
    pub fn start(stage: &Stage, arrived: &Arc<Arrived>) -> Result<Self> {
        let mut machine = Self {
            stop: Arc::default(),
            targets: Arc::default(),
            threads: Vec::new(),
        };
        let address = stage.member.address();
        let sink = stage.hub.within(|| UdpSocket::bind((address, SINK)))??;
        let source = stage.hub.within(|| UdpSocket::bind((address, 0)))??;
        let peers = stage.peers.iter().map(|m| SocketAddr::from((m.address(), SINK)));
        let peers: Vec<SocketAddr> = peers.collect();
        let (stop, targets) = (Arc::clone(&machine.stop), Arc::clone(&machine.targets));
        let counted = Arc::clone(arrived);
        let state = UdpSocketState::new(UdpSockRef::from(&sink))?;
        sink.set_nonblocking(false)?;
        sink.set_read_timeout(Some(Duration::from_millis(20)))?;
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&sink), 8 << 20);
        machine
            .threads
            .push(std::thread::spawn(move || count(&sink, &state, &counted, &stop)));
        let (stop, arrived) = (Arc::clone(&machine.stop), Arc::clone(arrived));
        let state = UdpSocketState::new(UdpSockRef::from(&source))?;
        let _ = state.set_send_buffer_size(UdpSockRef::from(&source), 8 << 20);
        machine.threads.push(std::thread::spawn(move || {
            while !stop.load(Relaxed) {
                match targets.load(Relaxed) {
                    0 => std::thread::sleep(Duration::from_millis(5)),
                    some => send(
                        &source,
                        &state,
                        &peers[..some.min(peers.len())],
                        &arrived,
                        &targets,
                    ),
                }
            }
        }));
        Ok(machine)
    }

    /// Sends to so many peers from now on, as fast as it gets through; 0: to none.
    pub fn send(&self, peers: usize) {
        self.targets.store(peers, Relaxed);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.targets.store(0, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn count(socket: &UdpSocket, state: &UdpSocketState, arrived: &Arrived, stop: &AtomicBool) {
    let mut storage = vec![0; 8 * 65_535];
    while !stop.load(Relaxed) {
        let mut buffers = storage.chunks_exact_mut(65_535).map(IoSliceMut::new);
        let mut slices: [IoSliceMut<'_>; 8] =
            std::array::from_fn(|_| buffers.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
        let mut meta = [RecvMeta::default(); 8];
        // Nothing for a while, or an ICMP error about something earlier.
        let Ok(count) = state.recv(UdpSockRef::from(socket), &mut slices, &mut meta) else {
            continue;
        };
        let packets = meta[..count]
            .iter()
            .map(|m| m.len.div_ceil(m.stride.max(1)) as u64);
        arrived.at_node.fetch_add(packets.sum(), Relaxed);
    }
}

/// Until the number of targets changes.
fn send(
    socket: &UdpSocket,
    state: &UdpSocketState,
    peers: &[SocketAddr],
    arrived: &Arrived,
    targets: &AtomicUsize,
) {
    let train = vec![0x5a; BURST * DATA];
    let mut flight = Flight::new(arrived.at_peers.load(Relaxed));
    let before = targets.load(Relaxed);
    let mut next = 0usize;
    while targets.load(Relaxed) == before {
        if !flight.has_room(arrived.at_peers.load(Relaxed)) {
            std::thread::sleep(Duration::from_micros(50));
            continue;
        }
        let transmit = Transmit {
            destination: peers[next % peers.len()],
            ecn: None,
            contents: &train,
            segment_size: Some(DATA),
            src_ip: None,
        };
        next = next.wrapping_add(1);
        match state.try_send(UdpSockRef::from(socket), &transmit) {
            Ok(()) => flight.sent(),
            // A full queue, or a route that is gone for the moment.
            Err(_) => std::thread::sleep(Duration::from_micros(200)),
        }
    }
}

/// Initiations from addresses that nobody is at: a third random octets, a third with a wrong mac1, a third right but
/// of keys that nobody knows.
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    pub fn start(stage: &Stage, per_second: u64) -> Result<Self> {
        let hub = stage.node();
        let socket = stage.crowd.within(|| UdpSocket::bind("0.0.0.0:0"))??;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let mut out = [0; 256];
        let mut strangers = Vec::new();
        for number in 0..=255 {
            let session = WireGuardFactory::new(&[number; 32]).new_session(hub.key, 1, Instant::ZERO);
            strangers.extend(session.initiate(Instant::ZERO, &mut out).map(<[u8]>::to_vec));
        }
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || {
            let (began, mut random, mut number) = (Moment::now(), 7u64, 0);
            while !stopped.load(Relaxed) {
                let due = (began.elapsed().as_secs_f64() * per_second as f64) as u64;
                while number < due {
                    number += 1;
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let mut initiation = strangers[random as usize % strangers.len()].clone();
                    match number % 3 {
                        0 => initiation[4..INITIATION_LENGTH].fill(random as u8),
                        1 => initiation[120] ^= 1,
                        _ => {}
                    }
                    let [.., a, b] = random.to_be_bytes();
                    let transmit = Transmit {
                        destination: hub.remote,
                        ecn: None,
                        contents: &initiation,
                        segment_size: None,
                        src_ip: Some(Ipv4Addr::new(10, 97, a, b).into()),
                    };
                    let _ = state.try_send(UdpSockRef::from(&socket), &transmit);
                }
                counter.store(number, Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Ok(Self {
            stop,
            sent,
            thread: Some(thread),
        })
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
