//! The Internet between the hosts: who can reach whom, how fast, and what gets lost.

use crate::{HostId, random};
use core::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};
use osier_proto::Instant;
use std::collections::{BTreeMap, BTreeSet};

/// What links are like.
#[derive(Clone, Debug)]
pub struct LinkOptions {
    /// Each pair of hosts has a fixed latency in this range, one way.
    pub latency: (Duration, Duration),
    /// Each datagram is late by up to this much more; so datagrams overtake each other.
    pub jitter: Duration,
    /// Loss on every link, 0.0..1.0.
    pub loss: f64,
    /// This part of the links...
    pub lossy_fraction: f64,
    /// ...loses this part of the datagrams.
    pub lossy_loss: f64,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            latency: (Duration::from_millis(5), Duration::from_millis(60)),
            jitter: Duration::from_millis(3),
            loss: 0.0,
            lossy_fraction: 0.0,
            lossy_loss: 0.0,
        }
    }
}

/// Properties of one link, drawn once.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub latency: Duration,
    pub loss: f64,
}

/// Links, cuts and partitions.
#[derive(Debug)]
pub struct Underlay {
    seed: u64,
    options: LinkOptions,
    links: BTreeMap<(HostId, HostId), Link>,
    cut: BTreeSet<(HostId, HostId)>,
    /// Hosts in different groups cannot reach each other.
    groups: BTreeMap<HostId, u32>,
}

impl Underlay {
    pub(crate) fn new(seed: u64, options: LinkOptions) -> Self {
        Self {
            seed,
            options,
            links: BTreeMap::new(),
            cut: BTreeSet::new(),
            groups: BTreeMap::new(),
        }
    }

    /// The link between two hosts; the same both ways.
    pub fn link(&mut self, a: HostId, b: HostId) -> Link {
        let key = ordered(a, b);
        let numbers = [u64::from(key.0.0), u64::from(key.1.0)];
        let (seed, options) = (self.seed, &self.options);
        *self.links.entry(key).or_insert_with(|| {
            let (low, high) = options.latency;
            let lossy = random::fixed(seed, "lossy", &numbers) < options.lossy_fraction;
            Link {
                latency: low + (high - low).mul_f64(random::fixed(seed, "latency", &numbers)),
                loss: if lossy { options.lossy_loss } else { options.loss },
            }
        })
    }

    pub(crate) fn jitter(&self) -> Duration {
        self.options.jitter
    }

    /// Whether datagrams can pass at all.
    pub fn connected(&self, a: HostId, b: HostId) -> bool {
        let group = |host| self.groups.get(&host).copied().unwrap_or(0);
        !self.cut.contains(&ordered(a, b)) && group(a) == group(b)
    }

    pub fn cut(&mut self, a: HostId, b: HostId) {
        self.cut.insert(ordered(a, b));
    }

    pub fn mend(&mut self, a: HostId, b: HostId) {
        self.cut.remove(&ordered(a, b));
    }

    /// Puts a host into a group; all are in group 0 at first.
    pub fn set_group(&mut self, host: HostId, group: u32) {
        self.groups.insert(host, group);
    }

    pub fn heal(&mut self) {
        self.groups.clear();
        self.cut.clear();
    }
}

fn ordered(a: HostId, b: HostId) -> (HostId, HostId) {
    (a.min(b), a.max(b))
}

/// The public address of a host or of its NAT.
pub fn public_ip(host: HostId) -> IpAddr {
    // 198.18.0.0/15 is for benchmarks (RFC 2544).
    IpAddr::V4(Ipv4Addr::from_bits(0xc612_0001 + host.0))
}

/// The host a public address belongs to.
pub(crate) fn host_of(address: IpAddr) -> Option<HostId> {
    match address {
        IpAddr::V4(v4) => v4
            .to_bits()
            .checked_sub(0xc612_0001)
            .filter(|n| *n < 0x1_fff0)
            .map(HostId),
        IpAddr::V6(_) => None,
    }
}

/// A NAT in front of one host: endpoint-independent mapping, address-dependent filtering (RFC 4787).
#[derive(Debug)]
pub(crate) struct Nat {
    public: IpAddr,
    /// The mapping's external port; another one after the mapping expired.
    port: u16,
    last_sent: Option<Instant>,
    /// Addresses that were sent to, and when.
    allowed: BTreeMap<IpAddr, Instant>,
    /// A port mapping made on request (UPnP, PCP): always there, no filter.
    pub(crate) mapped: bool,
}

/// How long mappings and permissions last without outgoing traffic.
const NAT_TIMEOUT: Duration = Duration::from_secs(120);

impl Nat {
    pub(crate) fn new(host: HostId, mapped: bool) -> Self {
        Self {
            public: public_ip(host),
            port: 40_000,
            last_sent: None,
            allowed: BTreeMap::new(),
            mapped,
        }
    }

    /// It forgets everything.
    pub(crate) fn restart(&mut self) {
        self.port += 1;
        self.last_sent = None;
        self.allowed.clear();
    }

    pub(crate) fn external(&self) -> SocketAddr {
        SocketAddr::new(self.public, self.port)
    }

    /// The source that the outside sees.
    pub(crate) fn outgoing(&mut self, to: SocketAddr, now: Instant) -> SocketAddr {
        if !self.mapped
            && self
                .last_sent
                .is_some_and(|at| now.saturating_since(at) > NAT_TIMEOUT)
        {
            self.port += 1;
            self.allowed.clear();
        }
        self.last_sent = Some(now);
        self.allowed.insert(to.ip(), now);
        self.external()
    }

    /// Whether a datagram from outside gets in.
    pub(crate) fn admits(&self, from: IpAddr, to_port: u16, now: Instant) -> bool {
        let recent = |at: &Instant| now.saturating_since(*at) <= NAT_TIMEOUT;
        to_port == self.port && (self.mapped || self.allowed.get(&from).is_some_and(recent))
    }
}
