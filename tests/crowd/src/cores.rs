//! How much faster several threads are than one at the cipher of a single peer, without any system calls.

use anyhow::{Context, Result, ensure};
use osier_proto::{
    Duration, Instant,
    tunnel::{Opened, Sealed, Session, SessionFactory as _, wireguard::WireGuardFactory},
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

/// Octets of a packet.
const PACKET: usize = 1400;
/// Packets between two looks at the clock.
const SOME: usize = 64;
const SOURCE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// Two ends of one session that have told each other their keys.
pub struct Pair {
    ends: [Box<dyn Session>; 2],
    now: Instant,
}

impl Pair {
    /// `aes`: with AES-256-GCM where this processor has instructions for it.
    pub fn new(aes: bool) -> Result<Self> {
        let factories = [[7; 32], [8; 32]].map(|secret| {
            let factory = WireGuardFactory::new(&secret);
            if aes { factory } else { factory.without_aes() }
        });
        let now = Instant::from_micros(1_000_000);
        let ends = [0, 1].map(|i| factories[i].new_session(factories[1 - i].public_key(), 1, now));
        let mut this = Self { ends, now };
        let (mut a, mut b) = ([0; 2048], [0; 2048]);
        let initiation = this.ends[0].initiate(now, &mut a).context("no initiation")?;
        let Opened::Reply(response) = this.ends[1].open(now, SOURCE, initiation, &mut b) else {
            anyhow::bail!("no response");
        };
        let Opened::Reply(keepalive) = this.ends[0].open(now, SOURCE, response, &mut a) else {
            anyhow::bail!("no keepalive");
        };
        this.ends[1].open(now, SOURCE, keepalive, &mut b);
        // A busy session tells keys, each end in turn.
        for _ in 0..3 {
            for from in [0, 1] {
                (0..100).for_each(|_| this.exchange(from));
            }
            this.now += Duration::from_secs(1);
            for from in [0, 1] {
                if let Some(message) = this.ends[from].tick(this.now, &mut a) {
                    this.ends[1 - from].open(this.now, SOURCE, message, &mut b);
                }
            }
        }
        // The first packet of a second goes the ordinary way.
        this.exchange(0);
        let mut out = [0; 2048];
        let sealed = this.ends[0].seal(this.now, &packet(), &mut out);
        let kind = match sealed {
            Sealed::Datagram(datagram) => datagram[0],
            other => anyhow::bail!("{other:?}"),
        };
        ensure!(kind == 17, "no keys were told");
        Ok(this)
    }

    fn exchange(&self, from: usize) {
        let (mut out, mut back) = ([0; 2048], [0; 2048]);
        if let Sealed::Datagram(datagram) = self.ends[from].seal(self.now, &packet(), &mut out) {
            self.ends[1 - from].open(self.now, SOURCE, datagram, &mut back);
        }
    }

    /// What seals.
    pub fn cipher(&self) -> &'static str {
        self.ends[0].cipher(self.now).name()
    }

    /// Gbit/s of packets that so many threads together seal at one end and open at the other.
    pub fn rate(&self, threads: usize, time: std::time::Duration) -> f64 {
        let (stop, packets) = (AtomicBool::new(false), AtomicU64::new(0));
        let work = || {
            while !stop.load(Relaxed) {
                (0..SOME).for_each(|_| self.exchange(0));
                packets.fetch_add(SOME as u64, Relaxed);
            }
        };
        let began = std::time::Instant::now();
        std::thread::scope(|scope| {
            (0..threads).for_each(|_| {
                scope.spawn(work);
            });
            std::thread::sleep(time);
            stop.store(true, Relaxed);
        });
        packets.load(Relaxed) as f64 * PACKET as f64 * 8.0 / began.elapsed().as_secs_f64() / 1e9
    }
}

fn packet() -> [u8; PACKET] {
    let mut packet = [0; PACKET];
    packet[0] = 0x60;
    packet[4..6].copy_from_slice(&((PACKET - 40) as u16).to_be_bytes());
    packet[6] = 17;
    packet
}
