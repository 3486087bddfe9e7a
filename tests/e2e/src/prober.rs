//! Pings between many network namespaces from one thread, so that every outage is seen on one clock.
//!
//! One raw ICMPv6 socket per namespace (a socket stays in the namespace it was opened in). Each tick sends one
//! echo request per watched pair; a reply is matched by what the request carried. Nothing here knows of Osier:
//! the packets are ordinary pings that the kernel routes into the TUN device.

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    net::{Ipv6Addr, SocketAddrV6},
    os::fd::AsFd,
    path::PathBuf,
    sync::mpsc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
const MAGIC: [u8; 4] = *b"lab1";

/// One end: where to ping from, and its address on the mesh.
#[derive(Clone, Debug)]
pub struct End {
    pub name: String,
    /// A path to the network namespace, such as `/proc/PID/ns/net`.
    pub netns: PathBuf,
    pub address: Ipv6Addr,
}

/// A directed pair of indices into the ends.
pub type Pair = (usize, usize);

/// One ping: when it was sent (since the prober's start), and when its reply came.
#[derive(Clone, Copy, Debug)]
struct Ping {
    sent: Duration,
    replied: Option<Duration>,
}

enum Order {
    Watch(Vec<Pair>, Duration),
    Report(mpsc::Sender<Report>),
}

/// Everything that was sent, by pair.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pings: BTreeMap<Pair, Vec<Ping>>,
}

/// What a pair went through after a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outage {
    pub lost: usize,
    pub sent: usize,
    /// From the first lost ping until the first answered one after the last lost; `None` while still out.
    pub duration: Option<Duration>,
}

impl Report {
    /// Since when (prober time) the pair has been answering without a gap; `None` when its newest answered ping
    /// is followed by two or more unanswered ones, or when nothing was answered.
    pub fn answering_since(&self, pair: Pair) -> Option<Duration> {
        let pings = self.pings.get(&pair)?;
        let newest = pings.iter().rposition(|p| p.replied.is_some())?;
        // The newest few may simply still be on their way.
        if pings.len() - newest > 3 {
            return None;
        }
        let start = pings[..newest]
            .iter()
            .rposition(|p| p.replied.is_none())
            .map_or(0, |i| i + 1);
        pings[start].replied
    }

    /// When the first ping that was sent since `from` and answered was answered.
    pub fn first_answer(&self, pair: Pair, from: Duration) -> Option<Duration> {
        self.pings
            .get(&pair)?
            .iter()
            .filter(|p| p.sent >= from)
            .filter_map(|p| p.replied)
            .min()
    }

    /// What was lost of the pings sent in `[from, until)`.
    pub fn outage(&self, pair: Pair, from: Duration, until: Duration) -> Outage {
        let pings = self.pings.get(&pair).map(Vec::as_slice).unwrap_or_default();
        let window: Vec<&Ping> = pings
            .iter()
            .filter(|p| p.sent >= from && p.sent < until)
            .collect();
        let lost = window.iter().filter(|p| p.replied.is_none()).count();
        let first = window.iter().find(|p| p.replied.is_none());
        let last = window.iter().rposition(|p| p.replied.is_none());
        let duration = match (first, last) {
            (Some(first), Some(last)) => window.get(last + 1).map(|next| next.sent - first.sent),
            _ => Some(Duration::ZERO),
        };
        Outage {
            lost,
            sent: window.len(),
            duration,
        }
    }

    /// Round trips of the answered pings since `from`, the shortest first.
    pub fn rtts(&self, pair: Pair, from: Duration) -> Vec<Duration> {
        let pings = self.pings.get(&pair).map(Vec::as_slice).unwrap_or_default();
        let since = pings.iter().filter(|p| p.sent >= from);
        let mut rtts: Vec<Duration> = since.filter_map(|p| Some(p.replied? - p.sent)).collect();
        rtts.sort();
        rtts
    }

    /// Median round trip of the answered pings since `from`.
    pub fn median_rtt(&self, pair: Pair, from: Duration) -> Option<Duration> {
        let rtts = self.rtts(pair, from);
        rtts.get(rtts.len() / 2).copied()
    }
}

/// A running prober; it stops when dropped.
pub struct Prober {
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
    start: Instant,
}

impl Prober {
    /// Opens a socket in each end's namespace and starts idle: nothing is watched yet.
    pub fn start(ends: Vec<End>) -> Result<Self> {
        let (orders, inbox) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        let start = Instant::now();
        let thread = std::thread::Builder::new().name("prober".into()).spawn(move || {
            // The thread wanders through the namespaces; the rest of the process stays where it is.
            let sockets: Result<Vec<Socket>> = ends.iter().map(open_in).collect();
            match sockets {
                Ok(sockets) => {
                    ready.send(Ok(())).ok();
                    Loop {
                        ends,
                        sockets,
                        inbox,
                        start,
                        report: Report::default(),
                        pairs: Vec::new(),
                    }
                    .run();
                }
                Err(e) => {
                    ready.send(Err(e)).ok();
                }
            }
        })?;
        is_ready.recv().context("the prober's thread ended early")??;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
            start,
        })
    }

    /// Zero of prober time.
    pub fn started(&self) -> Instant {
        self.start
    }

    /// Prober time: what the report's durations count from.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Pings each of `pairs` once per `interval` from now on (instead of what was watched before).
    pub fn watch(&self, pairs: Vec<Pair>, interval: Duration) -> Result<()> {
        self.order(Order::Watch(pairs, interval))
    }

    pub fn report(&self) -> Result<Report> {
        let (reply, answer) = mpsc::channel();
        self.order(Order::Report(reply))?;
        answer.recv().context("the prober's thread has ended")
    }

    fn order(&self, order: Order) -> Result<()> {
        let orders = self.orders.as_ref().context("the prober is stopped")?;
        orders.send(order).ok().context("the prober's thread has ended")
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Moves this thread into the end's network namespace and opens a raw ICMPv6 socket there.
fn open_in(end: &End) -> Result<Socket> {
    let ns = File::open(&end.netns).with_context(|| format!("network namespace of {}", end.name))?;
    let kind = Some(rustix::thread::LinkNameSpaceType::Network);
    rustix::thread::move_into_link_name_space(ns.as_fd(), kind).context("setns")?;
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).context("raw ICMPv6 socket")?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(1 << 20).ok();
    Ok(socket)
}

struct Loop {
    ends: Vec<End>,
    sockets: Vec<Socket>,
    inbox: mpsc::Receiver<Order>,
    start: Instant,
    report: Report,
    pairs: Vec<Pair>,
}

impl Loop {
    fn run(mut self) {
        let mut interval = Duration::from_millis(50);
        let mut next = self.start.elapsed();
        loop {
            match self.inbox.try_recv() {
                Ok(Order::Watch(pairs, every)) => {
                    self.pairs = pairs;
                    interval = every;
                    next = self.start.elapsed();
                }
                Ok(Order::Report(reply)) => {
                    self.receive();
                    reply.send(self.report.clone()).ok();
                }
                Err(mpsc::TryRecvError::Disconnected) => return,
                Err(mpsc::TryRecvError::Empty) => {}
            }
            if self.start.elapsed() >= next {
                self.send();
                next += interval;
            }
            self.receive();
            let timeout = rustix::event::Timespec {
                tv_sec: 0,
                tv_nsec: 2_000_000,
            };
            let mut fds: Vec<_> = self
                .sockets
                .iter()
                .map(|s| rustix::event::PollFd::new(s, rustix::event::PollFlags::IN))
                .collect();
            rustix::event::poll(&mut fds, Some(&timeout)).ok();
        }
    }

    fn send(&mut self) {
        for &(from, to) in &self.pairs {
            let pings = self.report.pings.entry((from, to)).or_default();
            let mut packet = Vec::with_capacity(64);
            // The kernel fills in the checksum of ICMPv6 raw sockets (RFC 3542 section 3.1).
            packet.extend_from_slice(&[ECHO_REQUEST, 0, 0, 0]);
            packet.extend_from_slice(&(from as u16).to_be_bytes());
            packet.extend_from_slice(&(pings.len() as u16).to_be_bytes());
            packet.extend_from_slice(&MAGIC);
            packet.extend_from_slice(&(from as u32).to_be_bytes());
            packet.extend_from_slice(&(to as u32).to_be_bytes());
            packet.extend_from_slice(&(pings.len() as u64).to_be_bytes());
            packet.resize(64, 0);
            pings.push(Ping {
                sent: self.start.elapsed(),
                replied: None,
            });
            let address = SockAddr::from(SocketAddrV6::new(self.ends[to].address, 0, 0, 0));
            // An unroutable destination is an unanswered ping, which is what the report says.
            self.sockets[from].send_to(&packet, &address).ok();
        }
    }

    fn receive(&mut self) {
        let now = self.start.elapsed();
        for mut socket in &self.sockets {
            let mut buffer = [0; 256];
            while let Ok(length) = socket.read(&mut buffer) {
                let Some((pair, number)) = parse_reply(&buffer[..length]) else {
                    continue;
                };
                let ping = self.report.pings.get_mut(&pair).and_then(|p| p.get_mut(number));
                if let Some(ping) = ping {
                    ping.replied.get_or_insert(now);
                }
            }
        }
    }
}

/// The pair and number that one of our echo replies carries.
fn parse_reply(packet: &[u8]) -> Option<(Pair, usize)> {
    let (header, body) = packet.split_at_checked(8)?;
    if header[0] != ECHO_REPLY || body.get(..4)? != MAGIC {
        return None;
    }
    let word = |at: usize| Some(u32::from_be_bytes(body.get(at..at + 4)?.try_into().ok()?) as usize);
    Some(((word(4)?, word(8)?), word(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(answers: &[bool]) -> Report {
        let ping = |(i, answered): (usize, &bool)| {
            let sent = Duration::from_millis(50 * i as u64);
            Ping {
                sent,
                replied: answered.then(|| sent + Duration::from_millis(1)),
            }
        };
        Report {
            pings: [((0, 1), answers.iter().enumerate().map(ping).collect())].into(),
        }
    }

    #[test]
    fn outage_lasts_from_the_first_lost_ping_to_the_next_answered_one() {
        let outage = report(&[true, false, false, true, true]).outage((0, 1), Duration::ZERO, Duration::MAX);
        assert_eq!(
            outage,
            Outage {
                lost: 2,
                sent: 5,
                duration: Some(Duration::from_millis(100))
            }
        );
    }

    #[test]
    fn outage_without_an_end_has_no_duration() {
        let outage = report(&[true, false, false]).outage((0, 1), Duration::ZERO, Duration::MAX);
        assert_eq!(outage.duration, None);
    }

    #[test]
    fn pair_that_never_answered_is_not_answering() {
        assert_eq!(report(&[false; 5]).answering_since((0, 1)), None);
        assert_eq!(report(&[true, true]).answering_since((1, 0)), None);
    }

    #[test]
    fn answering_counts_from_the_last_gap() {
        let since = report(&[true, false, true, true]).answering_since((0, 1));
        assert_eq!(since, Some(Duration::from_millis(101)));
    }
}
