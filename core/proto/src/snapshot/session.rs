//! End-to-end sessions as the data plane sees them.

use super::{Activity, AtomicInstant, Counter, Large, MIN_MTU, Traffic, covers};
use crate::{
    Duration, Instant, IpNet, RouterId,
    tunnel::{Opened, Sealed, Session},
};
use core::net::{Ipv6Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::{collections::BTreeMap, sync::Arc};

/// How long data may go out without an answer before control hears of it, at first.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// A session with the node at the other end of relayed traffic. Who that is (`origin`, its key) and where it is
/// (`locator`) are two things: the session goes on when the way there changes.
#[derive(Debug)]
pub struct SessionHandle {
    origin: RouterId,
    locator: u64,
    /// What the other end may send from.
    sources: Box<[IpNet]>,
    session: Box<dyn Session>,
    up: AtomicBool,
    mtu: AtomicU16,
    sent: Counter,
    received: Counter,
    last_sent: AtomicInstant,
    last_received: AtomicInstant,
    /// When the first packet was sealed that nothing has come back for since.
    unanswered: AtomicInstant,
    last_report: AtomicInstant,
    patience: AtomicU64,
    large: Large,
}

impl SessionHandle {
    /// One that seals nothing until [`SessionHandle::set_up`] or until something authentic came.
    pub fn new(origin: RouterId, locator: u64, sources: &[IpNet], session: Box<dyn Session>) -> Self {
        Self {
            origin,
            locator,
            sources: sources.into(),
            session,
            up: AtomicBool::new(false),
            mtu: AtomicU16::new(MIN_MTU),
            sent: Counter::default(),
            received: Counter::default(),
            last_sent: AtomicInstant::default(),
            last_received: AtomicInstant::default(),
            unanswered: AtomicInstant::default(),
            last_report: AtomicInstant::default(),
            patience: AtomicU64::new(PATIENCE.as_micros() as u64),
            large: Large::default(),
        }
    }

    pub fn origin(&self) -> RouterId {
        self.origin
    }

    /// Where frames for the other end go.
    pub fn locator(&self) -> u64 {
        self.locator
    }

    /// For handshakes and ticks. To exchange packets use [`SessionHandle::seal`] and [`SessionHandle::open`],
    /// which count.
    pub fn session(&self) -> &dyn Session {
        &*self.session
    }

    /// Whether there are confirmed keys.
    pub fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    pub fn set_up(&self, up: bool) {
        self.up.store(up, Relaxed);
    }

    /// Largest packet in octets that gets to the other end, whatever the first hop takes.
    pub fn mtu(&self) -> u16 {
        self.mtu.load(Relaxed)
    }

    /// Never below [`MIN_MTU`].
    pub fn set_mtu(&self, mtu: u16) {
        self.mtu.store(mtu.max(MIN_MTU), Relaxed);
    }

    pub fn permits_source(&self, source: Ipv6Addr) -> bool {
        self.sources.iter().any(|p| covers(p, source))
    }

    /// How long data may go unanswered before [`Activity::SessionSilent`].
    pub fn set_patience(&self, patience: Duration) {
        let micros = u64::try_from(patience.as_micros()).unwrap_or(u64::MAX);
        self.patience.store(micros, Relaxed);
    }

    /// Arms [`Activity::SessionLarge`] for the next packet of [`MIN_MTU`] octets or more.
    pub fn report_next_large(&self) {
        self.large.armed.store(true, Relaxed);
    }

    /// When one was last sent, or too large.
    pub fn last_large(&self) -> Option<Instant> {
        self.large.last.get()
    }

    /// A packet was too large: whether control should hear of it.
    pub fn refused(&self, packet: &[u8], now: Instant) -> Option<Activity> {
        self.large
            .note(packet.len(), now)
            .then_some(Activity::SessionLarge(self.origin))
    }

    /// The other end answered, be it only a handshake.
    pub fn answered(&self) {
        self.unanswered.clear();
    }

    /// Seals a packet and counts it, and says whether control should hear of it.
    pub fn seal<'a>(&self, now: Instant, packet: &[u8], out: &'a mut [u8]) -> (Sealed<'a>, Option<Activity>) {
        let sealed = self.session.seal(now, packet, out);
        if !matches!(sealed, Sealed::Datagram(_)) {
            return (sealed, None);
        }
        self.sent.count(packet.len());
        self.last_sent.set(now);
        if self.unanswered.get().is_none() {
            self.unanswered.set(now);
        }
        if self.large.note(packet.len(), now) {
            return (sealed, Some(Activity::SessionLarge(self.origin)));
        }
        let since = self.unanswered.get().unwrap_or(now);
        let patience = Duration::from_micros(self.patience.load(Relaxed));
        let is_silent = now.saturating_since(since) >= patience && self.last_report.older_than(PATIENCE, now);
        let report = is_silent.then(|| {
            self.last_report.set(now);
            Activity::SessionSilent(self.origin)
        });
        (sealed, report)
    }

    /// Opens a data message and counts it, and says whether control should hear of it. `source` is the last
    /// relay's address.
    pub fn open<'a>(
        &self,
        now: Instant,
        source: SocketAddr,
        message: &[u8],
        out: &'a mut [u8],
    ) -> (Opened<'a>, Option<Activity>) {
        let opened = self.session.open(now, source, message, out);
        let Opened::Packet(packet) = &opened else {
            return (opened, None);
        };
        self.received.count(packet.len());
        self.last_received.set(now);
        self.unanswered.clear();
        let is_first = !self.is_up() && !self.up.swap(true, Relaxed);
        (opened, is_first.then_some(Activity::SessionUp(self.origin)))
    }

    /// Whole IPv6 packets, keepalives included as packets of no octets.
    pub fn sent(&self) -> Traffic {
        self.sent.read()
    }

    pub fn received(&self) -> Traffic {
        self.received.read()
    }

    pub fn last_sent(&self) -> Option<Instant> {
        self.last_sent.get()
    }

    pub fn last_received(&self) -> Option<Instant> {
        self.last_received.get()
    }
}

/// All end-to-end sessions of a node.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    by_origin: BTreeMap<RouterId, Arc<SessionHandle>>,
    /// By the upper 24 bits of the receiver index: another space than the tunnels'.
    by_index: BTreeMap<u32, Arc<SessionHandle>>,
}

impl Sessions {
    pub fn add(&mut self, index: u32, session: Arc<SessionHandle>) {
        self.by_index.insert(index, Arc::clone(&session));
        self.by_origin.insert(session.origin(), session);
    }

    pub fn remove(&mut self, index: u32, origin: &RouterId) {
        self.by_index.remove(&index);
        self.by_origin.remove(origin);
    }

    pub fn with(&self, origin: &RouterId) -> Option<&Arc<SessionHandle>> {
        self.by_origin.get(origin)
    }

    pub fn at(&self, index: u32) -> Option<&Arc<SessionHandle>> {
        self.by_index.get(&index)
    }
}
