//! Tunnels: WireGuard sessions with neighbours.
//!
//! [`Session`] is one session with one peer and hides the engine; a [`SessionFactory`] makes sessions and says
//! who a handshake from a stranger comes from. [`wireguard`] is boringtun; [`plain`] encrypts nothing, has the
//! same messages of the same sizes, and makes simulations of a thousand nodes cheap and repeatable.
//!
//! # Life of a session
//!
//! One end calls [`Session::initiate`] and sends the result. The other end has a first look at it
//! ([`SessionFactory::screen`]), finds no tunnel for it, asks [`SessionFactory::identify_initiation`] for the peer's key, makes a session with [`SessionFactory::new_session`]
//! and gives the datagram to [`Session::open`]; the reply goes back, and the first end's `open` answers it with an
//! empty data message (a keepalive). From then on both ends `seal` and `open`. The second end should not seal
//! before it has opened something: until then it has no confirmed keys and would begin a handshake of its own.
//! [`Session::tick`] renews keys about every two minutes while there is traffic.
//!
//! Every message but the first carries a receiver index that the receiver chose; its upper 24 bits are the index
//! given to `new_session`, which is how a datagram finds its session ([`MessageKind::of`]).

mod data_keys;
pub mod plain;
mod screen;
pub mod wireguard;

use crate::{Instant, identity::TunnelKey, relay};
use core::net::SocketAddr;

/// Names a tunnel for as long as the node runs; never reused. Also its Babel interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TunnelId(pub u32);

/// Octets that sealing adds to a packet: header 16 and authentication tag 16.
pub const OVERHEAD: usize = 32;
/// Size of a handshake initiation, the longest message that is not data.
pub const INITIATION_LENGTH: usize = 148;
/// Size of a handshake response.
pub const RESPONSE_LENGTH: usize = 92;
/// Size of a cookie reply.
pub const COOKIE_LENGTH: usize = 64;
/// Largest index for [`SessionFactory::new_session`]: 24 bits.
pub const MAX_INDEX: u32 = 0x00ff_ffff;

/// What came of a received datagram.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened<'a> {
    /// A decrypted packet (empty: a keepalive), at the start of the output buffer. It authenticates the sender.
    Packet(&'a [u8]),
    /// Send this back to where the datagram came from; then call [`Session::flush`] until it gives nothing.
    Reply(&'a [u8]),
    Nothing,
    /// Forged, replayed, undecryptable.
    Rejected,
}

/// What came of a packet to send.
#[derive(Debug, PartialEq, Eq)]
pub enum Sealed<'a> {
    Datagram(&'a [u8]),
    /// No keys yet: the packet is queued or dropped, and this handshake initiation is to be sent.
    Handshake(&'a [u8]),
    /// No keys yet and a handshake is under way, or the packet does not fit the buffer.
    Nothing,
}

/// What seals packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// WireGuard's own.
    ChaCha20Poly1305,
    /// Between nodes whose processors have instructions for it; see [`wireguard`].
    Aes256Gcm,
    /// Simulations.
    None,
}

impl Cipher {
    /// The name that IANA's registry of AEAD algorithms gives it, in small letters.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
            Self::Aes256Gcm => "aes-256-gcm",
            Self::None => "none",
        }
    }
}

/// One WireGuard session with one peer. Shared by the control plane (handshakes, timers) and the data-plane
/// threads (seal, open), so it locks inside; a lock is held for one packet or batch, never across IO.
///
/// Output buffers hold the datagram or packet and [`OVERHEAD`], and at least [`INITIATION_LENGTH`] octets;
/// a shorter one makes the call fail, never panic.
pub trait Session: Send + Sync + core::fmt::Debug {
    /// Whom the session is with.
    fn peer(&self) -> TunnelKey;
    fn open<'a>(&self, now: Instant, source: SocketAddr, datagram: &[u8], out: &'a mut [u8]) -> Opened<'a>;
    /// Next datagram that a completed handshake set free.
    fn flush<'a>(&self, now: Instant, out: &'a mut [u8]) -> Option<&'a [u8]>;
    /// An empty packet is a keepalive.
    fn seal<'a>(&self, now: Instant, packet: &[u8], out: &'a mut [u8]) -> Sealed<'a>;
    /// Starts a handshake whatever the state.
    fn initiate<'a>(&self, now: Instant, out: &'a mut [u8]) -> Option<&'a [u8]>;
    /// Rekeying and expiry; to be called at `next_tick`.
    fn tick<'a>(&self, now: Instant, out: &'a mut [u8]) -> Option<&'a [u8]>;
    fn next_tick(&self, now: Instant) -> Option<Instant>;
    /// When the keys in use were agreed; `None` without usable keys.
    fn last_handshake(&self, now: Instant) -> Option<Instant>;
    /// What packets are sealed with now.
    fn cipher(&self, now: Instant) -> Cipher;
}

/// What a first look at a handshake initiation says, for which nothing dear has been computed.
#[derive(Debug, PartialEq, Eq)]
pub enum Screened<'a> {
    /// It is meant for us and may be answered. Who sent it is not known yet.
    Passed,
    /// Under load: send this cookie back and forget the message. Its sender comes again with the proof that it
    /// receives what goes to its address.
    Cookie(&'a [u8]),
    /// Its sender does not know our key, or it was damaged.
    Forged,
    /// Under load: its sender's address is proved, and too many come from there.
    TooMany,
}

/// Makes sessions for one local key.
pub trait SessionFactory: Send + Sync + core::fmt::Debug {
    /// `index` (at most [`MAX_INDEX`]) is unique among the live sessions; best drawn at random, so that
    /// datagrams for a session of before a restart find none.
    fn new_session(&self, peer: TunnelKey, index: u32, now: Instant) -> Box<dyn Session>;
    /// To be asked once about every initiation that comes from the network, before anything else: bounds what
    /// they cost, whoever sends them. `out` holds at least [`COOKIE_LENGTH`] octets.
    fn screen<'a>(
        &self,
        now: Instant,
        source: SocketAddr,
        initiation: &[u8],
        out: &'a mut [u8],
    ) -> Screened<'a>;
    /// Cookies given out so far.
    fn cookies(&self) -> u64;
    /// Whose key an initiation names: its sender holds it, or replays a message of one who does; only a finished
    /// handshake proves it. `None`: it cannot be decrypted.
    fn identify_initiation(&self, initiation: &[u8]) -> Option<TunnelKey>;
}

/// The four WireGuard messages and relay frames, as far as a datagram must be read to find its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    Initiation,
    /// Receiver index; its upper 24 bits name the session.
    Response(u32),
    Cookie(u32),
    /// WireGuard's, or one under a key of [`wireguard`]'s own.
    Data(u32),
    /// A message of an end-to-end session, on its way: see [`crate::relay`].
    Frame(u32),
}

impl MessageKind {
    /// `None` when this is no WireGuard message or relay frame of a correct length.
    pub fn of(datagram: &[u8]) -> Option<Self> {
        if let Some(header) = relay::Header::parse(datagram) {
            return Some(Self::Frame(header.receiver));
        }
        const DATA_KEYS: u32 = data_keys::KIND as u32;
        let kind = word(datagram, 0)?;
        match (kind, datagram.len()) {
            (1, INITIATION_LENGTH) => Some(Self::Initiation),
            (2, RESPONSE_LENGTH) => word(datagram, 8).map(Self::Response),
            (3, COOKIE_LENGTH) => word(datagram, 4).map(Self::Cookie),
            (4 | DATA_KEYS, OVERHEAD..) => word(datagram, 4).map(Self::Data),
            _ => None,
        }
    }

    /// The session index that the message is for.
    pub fn session_index(self) -> Option<u32> {
        match self {
            Self::Initiation => None,
            Self::Response(index) | Self::Cookie(index) | Self::Data(index) | Self::Frame(index) => {
                Some(index >> 8)
            }
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}
