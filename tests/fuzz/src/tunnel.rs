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

/// What a peer says in key packets, and as packets under keys that it may never have been told.
pub fn data_keys(data: &[u8]) -> bool {
    let (mut there, mut back, mut out) = (vec![0; 0x1_0000], vec![0; 0x1_0000], vec![0; 0x1_0000]);
    let factories = [OURS, THEIRS].map(|secret| WireGuardFactory::with_limit(&secret, u64::MAX));
    let ours = factories[0].new_session(factories[1].public_key(), 5, START);
    let theirs = factories[1].new_session(factories[0].public_key(), 9, START);
    let initiation = theirs.initiate(START, &mut there).unwrap_or_default();
    let Opened::Reply(response) = ours.open(START, source(), initiation, &mut back) else {
        return false;
    };
    let Opened::Reply(first) = theirs.open(START, source(), response, &mut out) else {
        return false;
    };
    ours.open(START, source(), first, &mut there);
    let (mut accepted, mut now) = (false, START);
    for payload in split(data) {
        now += Duration::from_secs(1);
        accepted |= matches!(ours.open(now, source(), payload, &mut out), Opened::Packet(_));
        let payload = &payload[..payload.len().min(1400)];
        let packet = [&key_packet_header(payload.len())[..], payload].concat();
        if let Sealed::Datagram(datagram) = theirs.seal(now, &packet, &mut there) {
            let opened = ours.open(now, source(), datagram, &mut out);
            assert!(
                matches!(opened, Opened::Packet(&[])),
                "key packets are for nobody else"
            );
            accepted = true;
        }
        let _ = ours.seal(now, &packet, &mut out);
        let _ = ours.tick(now, &mut out);
    }
    accepted
}

/// IPv6, next header 253, to and from fe80::6f73:6965:7200.
fn key_packet_header(payload: usize) -> [u8; 40] {
    let mut header = [0; 40];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&(payload as u16).to_be_bytes());
    header[6..8].copy_from_slice(&[253, 1]);
    for address in [8, 24] {
        header[address..address + 2].copy_from_slice(&[0xfe, 0x80]);
        header[address + 10..address + 15].copy_from_slice(b"osier");
    }
    header
}

pub fn key_packets() -> Vec<(String, Vec<u8>)> {
    let say = |flags: u8, told: u32, taken: u32| {
        let mut payload = [7; 44];
        payload[..4].copy_from_slice(&[1, 1, flags, 0]);
        payload[4..8].copy_from_slice(&told.to_le_bytes());
        payload[8..12].copy_from_slice(&taken.to_le_bytes());
        payload
    };
    let (told, both) = (say(1, 0x901, 0), say(3, 0x902, 0x501));
    let mut sealed = [0; 48];
    sealed[..8].copy_from_slice(&[17, 0, 0, 0, 1, 5, 0, 0]);
    vec![
        ("told".into(), join([&told[..]])),
        ("told-twice-and-taken".into(), join([&told[..], &told, &both])),
        (
            "newer-version".into(),
            join([&[&[2][..], &told[1..]].concat()[..]]),
        ),
        ("under-a-key".into(), join([&told[..], &sealed])),
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
