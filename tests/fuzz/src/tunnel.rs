//! Session engines: handshakes and data messages from anybody.

use crate::{join, split};
use core::net::SocketAddr;
use osier_proto::{
    Duration, Instant,
    identity::TunnelKey,
    tunnel::{
        MessageKind, Opened, Screened, Sealed, Session, SessionFactory, plain::PlainFactory,
        wireguard::WireGuardFactory,
    },
};

const START: Instant = Instant::from_micros(1_000_000);
const OURS: [u8; 32] = [0x21; 32];
const THEIRS: [u8; 32] = [0x42; 32];

fn source() -> SocketAddr {
    ([192, 0, 2, 2], 6690).into()
}

/// Hands the datagrams of `data` to a stranger's door and to an existing session, and shows what that makes of
/// each packet. True if something was accepted.
fn receive(factory: &dyn SessionFactory, session: &dyn Session, data: &[u8]) -> bool {
    let (mut out, mut accepted, mut now) = (vec![0; 0x1_0000], false, START);
    for datagram in split(data) {
        now += Duration::from_millis(10);
        let known = MessageKind::of(datagram);
        let screened = factory.screen(now, source(), datagram, &mut out);
        if factory.identify_initiation(datagram).is_some() {
            assert!(known.is_some(), "an initiation that is no message");
            assert_ne!(screened, Screened::Forged, "what can be read is not forged");
            accepted = true;
        }
        match session.open(now, source(), datagram, &mut out) {
            Opened::Packet(packet) => {
                assert!(packet.len() < datagram.len());
                accepted = true;
            }
            Opened::Reply(_) => accepted = true,
            Opened::Nothing | Opened::Rejected => (),
        }
        // A session never has more to say than it has queued.
        for _ in 0..64 {
            if session.flush(now, &mut out).is_none() {
                break;
            }
        }
        let _ = session.tick(now, &mut out);
    }
    accepted
}

pub fn wireguard(data: &[u8]) -> bool {
    let factory = WireGuardFactory::with_limit(&OURS, u64::MAX);
    let peer = WireGuardFactory::new(&THEIRS).public_key();
    let session = factory.new_session(peer, 5, START);
    receive(&factory, &*session, data)
}

/// WireGuard's messages are random, so a committed handshake is one that once was made.
pub fn handshakes() -> Vec<(String, Vec<u8>)> {
    let ours = WireGuardFactory::with_limit(&OURS, u64::MAX);
    let theirs = WireGuardFactory::new(&THEIRS);
    let session = theirs.new_session(ours.public_key(), 9, START);
    let initiation = initiate(&*session);
    let twice = join([&initiation[..], &initiation[..]]);
    vec![
        ("initiation".into(), join([&initiation[..]])),
        ("replayed".into(), twice),
    ]
}

fn initiate(session: &dyn Session) -> Vec<u8> {
    let mut out = [0; 512];
    session
        .initiate(START, &mut out)
        .map(<[u8]>::to_vec)
        .unwrap_or_default()
}

pub fn plain(data: &[u8]) -> bool {
    let factory = PlainFactory::new(TunnelKey(OURS));
    let session = factory.new_session(TunnelKey(THEIRS), 5, START);
    receive(&factory, &*session, data)
}

pub fn plain_datagrams() -> Vec<(String, Vec<u8>)> {
    let [ours, theirs] = [(OURS, THEIRS, 5), (THEIRS, OURS, 9)].map(|(own, peer, index)| {
        PlainFactory::new(TunnelKey(own)).new_session(TunnelKey(peer), index, START)
    });
    let mut datagrams = vec![initiate(&*theirs)];
    let mut out = vec![0; 2048];
    let response = match ours.open(START, source(), &datagrams[0], &mut out) {
        Opened::Reply(response) => response.to_vec(),
        _ => Vec::new(),
    };
    if let Opened::Reply(keepalive) = theirs.open(START, source(), &response, &mut out) {
        datagrams.push(keepalive.to_vec());
    }
    if let Sealed::Datagram(datagram) = theirs.seal(START, b"a packet of some octets", &mut out) {
        datagrams.push(datagram.to_vec());
    }
    let all = datagrams.iter().map(Vec::as_slice);
    vec![
        ("conversation".into(), join(all.clone())),
        ("initiation".into(), join(all.clone().take(1))),
        ("replayed-data".into(), join(all.clone().chain(all.skip(2)))),
    ]
}
