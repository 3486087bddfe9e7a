//! The WireGuard engine: boringtun's `Tunn` behind a lock.
//!
//! boringtun reads the system's clock and randomness inside, so `now` only dates answers here, and nothing but
//! this module may import it.
//!
//! Things it leaves to its caller, done here:
//! - it compares times with the last `update_timers`, so that runs before each handshake we begin, lest one
//!   begun after a long silence be taken for 90 seconds old;
//! - a buffer that is too short makes it panic: sizes are checked first;
//! - counters near 2^64 overflow in its replay window: messages beyond WireGuard's own limit are refused.
//!
//! Between two of us, packets are sealed outside that lock under keys that are told through the session
//! (`data_keys`), with AES-256-GCM where processors are good at it. One packet a second still goes the ordinary way, so that boringtun knows that
//! there is traffic: its timers renew keys, send keepalives and notice silence as ever.

use super::{
    COOKIE_LENGTH, Cipher, INITIATION_LENGTH, MAX_INDEX, MessageKind, OVERHEAD, Opened, Screened, Sealed,
    Session, SessionFactory,
    data_keys::{self, DataKeys, KEY_PACKET},
    screen::{Load, Rate, Sources},
};
use crate::{Duration, Instant, identity::TunnelKey, sync::lock};
use boringtun::noise::{
    HandshakeInit, Packet, Tunn, TunnResult, handshake::parse_handshake_anon, rate_limiter::RateLimiter,
};
use boringtun::x25519::{PublicKey, StaticSecret};
use core::net::SocketAddr;
use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use zeroize::Zeroizing;

/// Initiations a second, from everybody together, before cookies are demanded. Each costs several scalar
/// multiplications: all of them a small part of a processor.
const HANDSHAKES_PER_SECOND: u64 = 200;
/// Then this many from each source that has a cookie: hundreds of members may share an address.
const HANDSHAKES_PER_SOURCE: u64 = 100;
/// How often boringtun's timers, which count seconds, want to be looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often a packet goes the ordinary way while others are sealed with AES.
const ORDINARY: Duration = Duration::from_secs(1);
/// REJECT-AFTER-MESSAGES (WireGuard paper section 6.1).
const MAX_COUNTER: u64 = u64::MAX - (1 << 13);

/// Makes WireGuard sessions for our static key.
pub struct WireGuardFactory {
    secret: StaticSecret,
    public: PublicKey,
    /// Looks at mac1 alone; shared by the sessions, to which only what has been screened comes.
    lenient: Arc<RateLimiter>,
    /// Demands a cookie of everybody.
    strict: RateLimiter,
    load: Load,
    sources: Sources,
    cookies: AtomicU64,
    aes: bool,
}

impl core::fmt::Debug for WireGuardFactory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("WireGuardFactory").finish_non_exhaustive()
    }
}

impl WireGuardFactory {
    pub fn new(secret: &[u8; 32]) -> Self {
        Self::with_limit(secret, HANDSHAKES_PER_SECOND)
    }

    /// With another number of initiations a second above which senders must prove their address.
    pub fn with_limit(secret: &[u8; 32], handshakes_per_second: u64) -> Self {
        let secret = StaticSecret::from(*secret);
        let public = PublicKey::from(&secret);
        let bucket_key = blake3::derive_key("osier handshake limits of a source", secret.as_bytes());
        Self {
            lenient: Arc::new(RateLimiter::new(&public, u64::MAX)),
            strict: RateLimiter::new(&public, 0),
            load: Load::new(Rate(handshakes_per_second)),
            sources: Sources::new(Rate(HANDSHAKES_PER_SOURCE), bucket_key),
            cookies: AtomicU64::new(0),
            secret,
            public,
            aes: data_keys::is_worthwhile(),
        }
    }

    /// No cipher but WireGuard's own, whatever processor and peer can do.
    #[must_use]
    pub fn without_aes(mut self) -> Self {
        self.aes = false;
        self
    }

    pub fn public_key(&self) -> TunnelKey {
        TunnelKey(*self.public.as_bytes())
    }
}

impl SessionFactory for WireGuardFactory {
    fn new_session(&self, peer: TunnelKey, index: u32, _now: Instant) -> Box<dyn Session> {
        let tunn = Tunn::new(
            self.secret.clone(),
            PublicKey::from(peer.0),
            None,
            None,
            index & MAX_INDEX,
            Some(Arc::clone(&self.lenient)),
        );
        Box::new(WireGuardSession {
            peer,
            tunn: Mutex::new(tunn),
            keys: DataKeys::new(index & MAX_INDEX, self.aes),
            last_ordinary: AtomicU64::new(0),
        })
    }

    fn screen<'a>(
        &self,
        now: Instant,
        source: SocketAddr,
        initiation: &[u8],
        out: &'a mut [u8],
    ) -> Screened<'a> {
        if out.len() < COOKIE_LENGTH || self.message(initiation).is_none() {
            return Screened::Forged;
        }
        // Only what is meant for us counts as load.
        if !self.load.is_exceeded(now) {
            return Screened::Passed;
        }
        match self.strict.verify_packet(Some(source.ip()), initiation, out) {
            Ok(_) if self.sources.admit(source.ip(), now) => Screened::Passed,
            Ok(_) => Screened::TooMany,
            Err(TunnResult::WriteToNetwork(cookie)) => {
                self.cookies.fetch_add(1, Relaxed);
                Screened::Cookie(cookie)
            }
            Err(_) => Screened::Forged,
        }
    }

    fn cookies(&self) -> u64 {
        self.cookies.load(Relaxed)
    }

    fn identify_initiation(&self, initiation: &[u8]) -> Option<TunnelKey> {
        let message = self.message(initiation)?;
        let half = parse_handshake_anon(&self.secret, &self.public, &message).ok()?;
        Some(TunnelKey(half.peer_static_public))
    }
}

impl WireGuardFactory {
    /// An initiation whose mac1 is right.
    fn message<'m>(&self, initiation: &'m [u8]) -> Option<HandshakeInit<'m>> {
        match self.lenient.verify_packet(None, initiation, &mut []) {
            Ok(Packet::HandshakeInit(message)) => Some(message),
            Ok(_) | Err(_) => None,
        }
    }
}

struct WireGuardSession {
    peer: TunnelKey,
    tunn: Mutex<Tunn>,
    keys: DataKeys,
    /// When a packet last went through boringtun, in microseconds.
    last_ordinary: AtomicU64,
}

impl core::fmt::Debug for WireGuardSession {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("WireGuardSession")
    }
}

impl WireGuardSession {
    fn lock(&self) -> MutexGuard<'_, Tunn> {
        lock(&self.tunn)
    }

    /// Whether boringtun must see a packet again.
    fn ordinary_due(&self, now: Instant) -> bool {
        let last = Instant::from_micros(self.last_ordinary.load(Relaxed));
        let due = now.saturating_since(last) >= ORDINARY;
        if due {
            self.last_ordinary.store(now.as_micros(), Relaxed);
        }
        due
    }
}

impl Session for WireGuardSession {
    fn peer(&self) -> TunnelKey {
        self.peer
    }

    fn open<'a>(&self, now: Instant, source: SocketAddr, datagram: &[u8], out: &'a mut [u8]) -> Opened<'a> {
        // An empty datagram would mean "flush" to boringtun.
        let Some(kind) = MessageKind::of(datagram).filter(|kind| !matches!(kind, MessageKind::Frame(_)))
        else {
            return Opened::Rejected;
        };
        if out.len() < datagram.len().max(INITIATION_LENGTH) {
            return Opened::Rejected;
        }
        if datagram[0] == data_keys::KIND {
            return match self.keys.open(datagram, out, now) {
                Some(length) => Opened::Packet(&out[..length]),
                None => Opened::Rejected,
            };
        }
        let data = match kind {
            MessageKind::Data(receiver) => Some(receiver),
            _ => None,
        };
        if data.is_some() && counter(datagram) > MAX_COUNTER {
            return Opened::Rejected;
        }
        match self.lock().decapsulate(Some(source.ip()), datagram, out) {
            TunnResult::WriteToTunnelV6(packet, _) | TunnResult::WriteToTunnelV4(packet, _) => {
                let in_use = data.is_some_and(|session| self.keys.opened(session, now));
                if self.keys.hear(packet, in_use, now) {
                    return Opened::Packet(&[]);
                }
                Opened::Packet(packet)
            }
            TunnResult::WriteToNetwork(reply) => Opened::Reply(reply),
            // An authentic data message without a packet in it.
            TunnResult::Done if data.is_some() => {
                if let Some(session) = data {
                    self.keys.opened(session, now);
                }
                Opened::Packet(&[])
            }
            TunnResult::Done => Opened::Nothing,
            TunnResult::Err(_) => Opened::Rejected,
        }
    }

    fn flush<'a>(&self, _now: Instant, out: &'a mut [u8]) -> Option<&'a [u8]> {
        // What is queued came through `seal`, whose buffers were as long as this one must be.
        if out.len() < MAX_QUEUED + OVERHEAD {
            return None;
        }
        datagram(self.lock().decapsulate(None, &[], out))
    }

    fn seal<'a>(&self, now: Instant, packet: &[u8], out: &'a mut [u8]) -> Sealed<'a> {
        if packet.len() > MAX_QUEUED || out.len() < (packet.len() + OVERHEAD).max(INITIATION_LENGTH) {
            return Sealed::Nothing;
        }
        if !packet.is_empty()
            && !self.ordinary_due(now)
            && let Some(length) = self.keys.seal(packet, out, now)
        {
            return Sealed::Datagram(&out[..length]);
        }
        let mut tunn = self.lock();
        match datagram(tunn.encapsulate(packet, out)) {
            None => Sealed::Nothing,
            Some(message) if matches!(MessageKind::of(message), Some(MessageKind::Data(_))) => {
                Sealed::Datagram(message)
            }
            Some(message) => Sealed::Handshake(message),
        }
    }

    fn initiate<'a>(&self, _now: Instant, out: &'a mut [u8]) -> Option<&'a [u8]> {
        if out.len() < INITIATION_LENGTH {
            return None;
        }
        let mut tunn = self.lock();
        // Only to bring its idea of the time up to date: what it wants sent, a handshake begun now supersedes.
        let _ = tunn.update_timers(&mut [0; INITIATION_LENGTH]);
        datagram(tunn.format_handshake_initiation(out, true))
    }

    fn tick<'a>(&self, now: Instant, out: &'a mut [u8]) -> Option<&'a [u8]> {
        if out.len() < INITIATION_LENGTH {
            return None;
        }
        self.keys.expire(now);
        let mut tunn = self.lock();
        if let Some(due) = datagram(tunn.update_timers(out)).map(<[u8]>::len) {
            return Some(&out[..due]);
        }
        let mut packet = Zeroizing::new([0; KEY_PACKET]);
        if tunn.time_since_last_handshake().is_none() || !self.keys.poll_tell(&mut packet, now) {
            return None;
        }
        datagram(tunn.encapsulate(&*packet, out))
    }

    fn next_tick(&self, now: Instant) -> Option<Instant> {
        Some(now + TICK)
    }

    fn last_handshake(&self, now: Instant) -> Option<Instant> {
        self.lock().time_since_last_handshake().map(|age| now - age)
    }

    fn cipher(&self, now: Instant) -> Cipher {
        self.keys.cipher(now).unwrap_or(Cipher::ChaCha20Poly1305)
    }
}

/// Largest packet that is sealed: what a WireGuard message in a UDP datagram can hold.
const MAX_QUEUED: usize = 65_535 - 8 - OVERHEAD - 40;

fn datagram(result: TunnResult<'_>) -> Option<&[u8]> {
    match result {
        TunnResult::WriteToNetwork(message) => Some(message),
        _ => None,
    }
}

fn counter(datagram: &[u8]) -> u64 {
    datagram
        .get(8..16)
        .and_then(|b| b.try_into().ok())
        .map_or(u64::MAX, u64::from_le_bytes)
}
