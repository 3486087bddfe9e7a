//! One tunnel as control sees it.

use super::{doze::Doze, relay_keys::OwnKey};
use crate::{
    Duration, Instant,
    accounting::{Carried, carried},
    certificate::Certificate,
    identity::{NodeId, TunnelKey},
    mesh::{
        gossip::{Outbox, Reassembly},
        path_mtu::{LINK_SIZES, PathMtu},
        patience::Delivery,
        random::Random,
    },
    snapshot::TunnelHandle,
    tunnel::TunnelId,
};
use core::net::{Ipv6Addr, SocketAddr};
use std::{collections::VecDeque, sync::Arc};

/// How far a tunnel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Our handshake initiations have no answer yet.
    Dialling,
    /// There are keys, or the peer's initiation has been answered; certificates are being exchanged.
    Greeting,
    /// Both ends accepted: Babel runs over it.
    Open,
}

/// Trying a peer's endpoints: one initiation per round, sent to all of them one after the other, so that the
/// first that works wins and a simultaneous answer does no harm.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) endpoints: Vec<SocketAddr>,
    pub(super) next: usize,
    pub(super) round: u32,
    pub(super) initiation: Vec<u8>,
}

/// The exchange of certificates.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) nonce: u64,
    /// Nonce of the Hello that we accepted.
    pub(super) accepted: Option<u64>,
    /// The peer accepted ours.
    pub(super) peer_accepted: bool,
    pub(super) sent_at: Option<Instant>,
    pub(super) repeats: u32,
}

impl Greeting {
    pub(super) fn new(nonce: u64) -> Self {
        Self {
            nonce,
            accepted: None,
            peer_accepted: false,
            sent_at: None,
            repeats: 0,
        }
    }
}

/// Whether the peer still answers. See [`super::liveness`].
#[derive(Debug)]
pub(super) struct Liveness {
    pub(super) usable: bool,
    /// Interval of our Babel Hellos.
    pub(super) interval: Duration,
    /// Interval of the peer's, as its last Hello says.
    pub(super) peer_interval: Duration,
    /// Control's own evidence besides what the data plane notes (handshakes).
    pub(super) heard: Instant,
    /// Data passes, and has since then.
    pub(super) active: Option<Instant>,
    /// Silence before this does not count: it was we who did not listen.
    pub(super) excused: Instant,
    /// When the timer is set to go off.
    pub(super) check_at: Instant,
    /// A round of echoes: since when, how many were sent, and whether it is urgent.
    pub(super) probing: Option<(Instant, u32, bool)>,
    pub(super) delivery: Delivery,
    pub(super) dead_since: Option<Instant>,
    pub(super) dead_echoes: u32,
    /// When another neighbour's word about this one was heeded last.
    pub(super) rumour: Option<Instant>,
    /// Deaths in close succession.
    pub(super) flaps: u32,
    /// Dearer until then, because it fails so often.
    pub(super) held_down: Option<Instant>,
}

impl Liveness {
    fn new(now: Instant) -> Self {
        Self {
            usable: true,
            interval: IDLE_INTERVAL,
            peer_interval: IDLE_INTERVAL,
            heard: now,
            active: None,
            excused: now,
            check_at: now,
            probing: None,
            delivery: Delivery::default(),
            dead_since: None,
            dead_echoes: 0,
            rumour: None,
            flaps: 0,
            held_down: None,
        }
    }
}

/// Round-trip time, smoothed.
#[derive(Debug)]
pub(super) struct Rtt {
    pub(super) asked: u32,
    pub(super) samples: u32,
    pub(super) smoothed: Option<Duration>,
    /// What Babel was told last.
    pub(super) cost: u16,
    /// Echoes on their way, newest last: nonce, when, and our count of packets sent until then.
    pending: VecDeque<(u64, Instant, u64)>,
}

/// Echoes remembered.
const PENDING_ECHOES: usize = 16;

impl Default for Rtt {
    fn default() -> Self {
        Self {
            asked: 0,
            samples: 0,
            smoothed: None,
            cost: UNMEASURED_COST,
            pending: VecDeque::new(),
        }
    }
}

impl Rtt {
    pub(super) fn sent(&mut self, nonce: u64, packets: u64, now: Instant) {
        self.asked = self.asked.saturating_add(1);
        if self.pending.len() >= PENDING_ECHOES {
            self.pending.pop_front();
        }
        self.pending.push_back((nonce, now, packets));
    }

    /// Each echo counts once, and its time is the one we remember: the peer cannot make itself nearer.
    /// With it comes our count of packets when it left.
    pub(super) fn answered(&mut self, nonce: u64, now: Instant) -> Option<(Duration, u64)> {
        let index = self.pending.iter().position(|(n, ..)| *n == nonce)?;
        let (_, sent, packets) = self.pending.remove(index)?;
        Some((now.saturating_since(sent), packets))
    }
}

#[derive(Debug)]
pub(super) struct Tunnel {
    pub(super) handle: Arc<TunnelHandle>,
    pub(super) index: u32,
    pub(super) peer_key: TunnelKey,
    /// Whom we meant to dial.
    pub(super) expected: Option<NodeId>,
    /// Verified; `Some` as soon as we accepted the peer's Hello.
    pub(super) certificate: Option<Certificate>,
    pub(super) outgoing: bool,
    pub(super) phase: Phase,
    pub(super) opened_at: Option<Instant>,
    pub(super) created: Instant,
    pub(super) dial: Option<Dial>,
    pub(super) greeting: Greeting,
    pub(super) relay_key: OwnKey,
    pub(super) liveness: Liveness,
    pub(super) rtt: Rtt,
    pub(super) mtu: PathMtu,
    pub(super) outbox: Outbox,
    pub(super) reassembly: Reassembly,
    /// Bundles taken before the peer was accepted.
    pub(super) early_bundles: u32,
    pub(super) summaries: u32,
    /// Digests sent since link-up.
    pub(super) digests: u32,
    /// The peer is a leaf, as its Hello or its newest record says.
    pub(super) leaf: bool,
    pub(super) doze: Doze,
    /// Being replaced: Babel avoids it.
    pub(super) closing: bool,
    /// Traffic when the neighbours were last weighed.
    pub(super) weighed: Carried,
    /// Routes of the neighbour that it may not announce.
    pub(super) refused_routes: u64,
}

/// Interval of Babel Hellos, and while a tunnel is new, so that losses delay the first routes less.
pub(super) const IDLE_INTERVAL: Duration = Duration::from_secs(5);
pub(super) const FIRST_INTERVAL: Duration = Duration::from_secs(1);
/// Cost of a link before its round-trip time is known: higher than most, so that measuring lowers it. From a low
/// one, metrics would rise above what was announced before, and every route would need a new seqno to become
/// feasible again.
pub(super) const UNMEASURED_COST: u16 = 2000;

impl Tunnel {
    pub(super) fn new(
        handle: Arc<TunnelHandle>,
        index: u32,
        peer_key: TunnelKey,
        phase: Phase,
        random: &mut Random,
        now: Instant,
    ) -> Self {
        let nonce = random.draw();
        let relay_key = OwnKey::new(&handle, index, random, now);
        Self {
            handle,
            index,
            peer_key,
            expected: None,
            certificate: None,
            outgoing: phase == Phase::Dialling,
            phase,
            opened_at: None,
            created: now,
            dial: None,
            greeting: Greeting::new(nonce),
            relay_key,
            liveness: Liveness::new(now),
            rtt: Rtt::default(),
            mtu: PathMtu::new(LINK_SIZES),
            outbox: Outbox::default(),
            reassembly: Reassembly::default(),
            early_bundles: 0,
            summaries: 0,
            digests: 0,
            leaf: false,
            doze: Doze::default(),
            closing: false,
            weighed: Carried::default(),
            refused_routes: 0,
        }
    }

    pub(super) fn id(&self) -> TunnelId {
        self.handle.id()
    }

    pub(super) fn peer(&self) -> Option<NodeId> {
        self.certificate.as_ref().map(|c| c.node)
    }

    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Open, answering and not about to go.
    pub(super) fn is_usable(&self) -> bool {
        self.is_open() && self.liveness.usable && !self.closing
    }

    pub(super) fn peer_link_local(&self) -> Option<Ipv6Addr> {
        self.certificate.as_ref().map(|c| c.node.link_local())
    }

    /// When anything authentic was last received.
    pub(super) fn last_heard(&self) -> Instant {
        self.liveness
            .heard
            .max(self.handle.last_received().unwrap_or(Instant::ZERO))
    }

    /// When data last went either way.
    pub(super) fn last_data(&self) -> Option<Instant> {
        self.handle.last_data_sent().max(self.handle.last_data_received())
    }

    /// Octets of data since the neighbours were last weighed.
    pub(super) fn recent_octets(&self) -> u64 {
        carried(&self.handle).data().saturating_sub(self.weighed.data())
    }
}
