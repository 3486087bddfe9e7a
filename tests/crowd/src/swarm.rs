//! The thread on which all peers live: one socket, from which each peer sends by an address of its own.

use crate::{
    peer::{Hub, Peer},
    stage::{Stage, peer_at, place},
};
use anyhow::{Context, Result};
use osier_proto::{
    Instant,
    packet::{UdpHeader, udp_packet},
};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    io::IoSliceMut,
    net::{Ipv6Addr, UdpSocket},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant as Moment},
};

/// Octets of data in each packet, which then has the 1280 that pass everywhere.
pub const DATA: usize = 1280 - HEADERS;
const HEADERS: usize = 48;
/// Packets in a row to or from one peer.
pub const BURST: usize = 16;
/// Packets on their way at most; when none has arrived for a while, they are lost.
pub const WINDOW: u64 = 1024;
pub const LOST_AFTER: Duration = Duration::from_millis(20);
/// Port of the node's machine that counts.
pub const SINK: u16 = 7777;

const BUFFERS: usize = 32;
const BUFFER: usize = 65_535;
const ROUND: Duration = Duration::from_millis(10);

/// Packets of data by who has got them.
#[derive(Debug, Default)]
pub struct Arrived {
    pub at_node: AtomicU64,
    pub at_peers: AtomicU64,
}

/// A sender's view of what is on its way.
#[derive(Debug)]
pub struct Flight {
    sent: u64,
    seen: u64,
    progress: Moment,
}

impl Flight {
    pub fn new(arrived: u64) -> Self {
        Self {
            sent: arrived,
            seen: arrived,
            progress: Moment::now(),
        }
    }

    /// Whether another burst may go.
    pub fn has_room(&mut self, arrived: u64) -> bool {
        if arrived > self.seen {
            self.seen = arrived;
            self.progress = Moment::now();
        } else if self.sent > arrived && self.progress.elapsed() > LOST_AFTER {
            self.sent = arrived;
            self.progress = Moment::now();
        }
        self.sent.saturating_sub(arrived) + BURST as u64 <= WINDOW
    }

    pub fn sent(&mut self) {
        self.sent += BURST as u64;
    }
}

enum Order {
    Dial(Range<usize>),
    /// So many peers send as fast as it gets through; 0: none.
    Send(usize),
    Report(mpsc::Sender<Report>),
}

/// How far the peers are.
#[derive(Clone, Debug)]
pub struct Report {
    pub open: usize,
    /// When each opened, since the last order to dial, in order.
    pub opened: Vec<Duration>,
    pub cookies: u64,
    pub sent_away: usize,
}

pub struct Swarm {
    orders: mpsc::Sender<Order>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Swarm {
    /// Peers that do nothing yet.
    pub fn start(stage: &Stage, arrived: &Arc<Arrived>) -> Result<Self> {
        let socket = stage.crowd.within(|| UdpSocket::bind("0.0.0.0:51820"))??;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // As much as the system gives.
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), 8 << 20);
        let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), 8 << 20);
        let (orders, inbox) = mpsc::channel();
        let began = Moment::now();
        let hub = stage.node();
        let peers = stage
            .peers
            .iter()
            .map(|m| Peer::new(m.clone(), hub.clone(), now(began)));
        let stop = Arc::new(AtomicBool::new(false));
        let mut task = Task {
            peers: peers.collect(),
            packets: stage
                .peers
                .iter()
                .map(|m| packet(m.address(), stage.member.address()))
                .collect(),
            hub,
            socket,
            state,
            arrived: Arc::clone(arrived),
            began,
            dialled: began,
            sending: 0,
            next: 0,
            flight: Flight::new(0),
            out: vec![0; BUFFER],
        };
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("crowd".into());
        let thread = thread.spawn(move || task.run(&inbox, &stopped))?;
        Ok(Self {
            orders,
            stop,
            thread: Some(thread),
        })
    }

    fn order(&self, order: Order) -> Result<()> {
        self.orders.send(order).ok().context("the crowd has gone")
    }

    /// These begin handshakes, all at once, whatever state they are in.
    pub fn dial(&self, peers: Range<usize>) -> Result<()> {
        self.order(Order::Dial(peers))
    }

    pub fn send(&self, peers: usize) -> Result<()> {
        self.order(Order::Send(peers))
    }

    pub fn report(&self) -> Result<Report> {
        let (report, answer) = mpsc::channel();
        self.order(Order::Report(report))?;
        answer.recv().context("the crowd has gone")
    }

    /// Waits until so many are up.
    pub fn wait_open(&self, count: usize, limit: Duration) -> Result<Report> {
        let mut last = self.report()?;
        let began = Moment::now();
        while last.open < count {
            anyhow::ensure!(
                began.elapsed() < limit,
                "only {} of {count} peers are up",
                last.open
            );
            std::thread::sleep(Duration::from_millis(20));
            last = self.report()?;
        }
        Ok(last)
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn now(began: Moment) -> Instant {
    Instant::from_micros(1_000_000 + began.elapsed().as_micros() as u64)
}

fn packet(source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let header = UdpHeader {
        source,
        destination,
        hop_limit: 64,
        source_port: SINK,
        destination_port: SINK,
    };
    udp_packet(&header, &[0x5a; DATA]).unwrap_or_default()
}

struct Task {
    peers: Vec<Peer>,
    /// What each sends again and again.
    packets: Vec<Vec<u8>>,
    hub: Hub,
    socket: UdpSocket,
    state: UdpSocketState,
    arrived: Arc<Arrived>,
    began: Moment,
    dialled: Moment,
    sending: usize,
    next: usize,
    flight: Flight,
    out: Vec<u8>,
}

impl Task {
    fn run(&mut self, inbox: &mpsc::Receiver<Order>, stop: &AtomicBool) {
        let mut storage = vec![0; BUFFERS * BUFFER];
        let mut round = Moment::now();
        while !stop.load(Relaxed) {
            let wait = if self.sending > 0 {
                Duration::from_micros(100)
            } else {
                Duration::from_millis(5)
            };
            self.wait(wait);
            while let Ok(order) = inbox.try_recv() {
                self.obey(order);
            }
            // Bounded, so that the rest gets its turn.
            for _ in 0..8 {
                if !self.receive(&mut storage) {
                    break;
                }
            }
            if round.elapsed() >= ROUND {
                round = Moment::now();
                let now = now(self.began);
                for peer in 0..self.peers.len() {
                    if self.peers[peer].poll_timeout() <= now {
                        self.peers[peer].handle_timeout(now);
                        self.settle(peer);
                    }
                }
            }
            self.send_data();
        }
    }

    fn wait(&self, limit: Duration) {
        let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
        let limit = Timespec {
            tv_sec: 0,
            tv_nsec: limit.as_nanos() as i64,
        };
        // Interrupted or not: the next turn looks again.
        let _ = poll(&mut ready, Some(&limit));
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Dial(peers) => {
                self.dialled = Moment::now();
                for peer in peers {
                    self.peers[peer].dial(now(self.began));
                    self.settle(peer);
                }
            }
            Order::Send(peers) => {
                self.sending = peers.min(self.peers.len());
                self.flight = Flight::new(self.arrived.at_node.load(Relaxed));
            }
            Order::Report(answer) => {
                let since = now(self.began) - self.dialled.elapsed();
                let times = self.peers.iter().filter_map(|p| p.opened_at);
                let mut opened: Vec<_> = times
                    .filter(|at| *at >= since)
                    .map(|at| at.saturating_since(since))
                    .collect();
                opened.sort_unstable();
                let report = Report {
                    open: self.peers.iter().filter(|p| p.is_open()).count(),
                    opened,
                    cookies: self.peers.iter().map(|p| p.cookies).sum(),
                    sent_away: self.peers.iter().filter(|p| p.bye.is_some()).count(),
                };
                let _ = answer.send(report);
            }
        }
    }

    fn receive(&mut self, storage: &mut [u8]) -> bool {
        let mut meta = [RecvMeta::default(); BUFFERS];
        let mut buffers = storage.chunks_exact_mut(BUFFER).map(IoSliceMut::new);
        let mut slices: [IoSliceMut<'_>; BUFFERS] =
            std::array::from_fn(|_| buffers.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
        let Ok(count) = self
            .state
            .recv(UdpSockRef::from(&self.socket), &mut slices, &mut meta)
        else {
            return false;
        };
        let now = now(self.began);
        let mut data = 0;
        for (buffer, meta) in slices.iter().zip(&meta[..count]) {
            let Some(peer) = meta.dst_ip.and_then(peer_at).filter(|p| *p < self.peers.len()) else {
                continue;
            };
            for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                data += u64::from(self.peers[peer].handle(datagram, &mut self.out, now).is_some());
            }
            self.settle(peer);
        }
        self.arrived.at_peers.fetch_add(data, Relaxed);
        true
    }

    /// What a peer has to say goes out.
    fn settle(&mut self, peer: usize) {
        while let Some(datagram) = self.peers[peer].poll_transmit() {
            self.transmit(peer, &datagram, None);
        }
    }

    fn transmit(&self, peer: usize, contents: &[u8], segment_size: Option<usize>) -> bool {
        let transmit = Transmit {
            destination: self.hub.remote,
            ecn: None,
            contents,
            segment_size,
            src_ip: Some(place(peer).into()),
        };
        // A full socket is a full network.
        self.state
            .try_send(UdpSockRef::from(&self.socket), &transmit)
            .is_ok()
    }

    fn send_data(&mut self) {
        let mut train = [0; BURST * (DATA + HEADERS + 32)];
        for _ in 0..8 {
            if self.sending == 0 || !self.flight.has_room(self.arrived.at_node.load(Relaxed)) {
                return;
            }
            let peer = self.next % self.sending;
            self.next = self.next.wrapping_add(1);
            let now = now(self.began);
            let mut used = 0;
            for _ in 0..BURST {
                match self.peers[peer].seal(&self.packets[peer], &mut train[used..], now) {
                    Some(datagram) => used += datagram.len(),
                    None => return,
                }
            }
            self.flight.sent();
            self.transmit(peer, &train[..used], Some(used / BURST));
        }
    }
}
