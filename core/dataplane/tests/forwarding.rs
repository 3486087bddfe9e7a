//! What the packet path does, with both session engines.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod support;

use osier_dataplane::DropReason;
use osier_proto::{
    Duration, Instant,
    fib::Hop,
    snapshot::{Activity, PROBE_MAGIC},
    tunnel::{Opened, Screened, TunnelId, wireguard::WireGuardFactory},
};
use std::sync::Arc;
use support::*;

fn pair(engine: Engine) -> (Router, Router, TunnelId, TunnelId) {
    let (mut a, mut b) = (Router::new(engine, 1), Router::new(engine, 2));
    let (at_a, at_b) = connect(&mut a, &mut b);
    (a, b, at_a, at_b)
}

/// A line a - r - b; neither end has a tunnel to the other.
fn line(engine: Engine) -> [Router; 3] {
    let (mut a, mut r, mut b) = (
        Router::new(engine, 1),
        Router::new(engine, 9),
        Router::new(engine, 2),
    );
    let (to_relay, _) = connect(&mut a, &mut r);
    a.route("fd00:0:0:2::/64", Hop::Tunnel(to_relay));
    let (_, to_relay) = connect(&mut r, &mut b);
    b.route("fd00:0:0:1::/64", Hop::Tunnel(to_relay));
    r.activities();
    b.activities();
    [a, r, b]
}

#[test]
fn data_passes_both_ways_and_is_counted() {
    for engine in ENGINES {
        let (mut a, mut b, at_a, at_b) = pair(engine);
        let there = data(address(1), address(2), 100);
        let datagram = a.send(&there).datagram();
        assert_eq!(datagram.len(), 132, "{engine:?}");
        assert_eq!(b.receive(a.socket, &datagram).delivered(), there);
        let back = data(address(2), address(1), 1280);
        let datagram = b.send(&back).datagram();
        assert_eq!(a.receive(b.socket, &datagram).delivered(), back);

        assert_eq!(
            (
                a.tunnel(at_a).sent().own.packets,
                a.tunnel(at_a).sent().own.octets
            ),
            (1, 100)
        );
        assert_eq!(
            (
                a.tunnel(at_a).received().own.packets,
                b.tunnel(at_b).received().octets()
            ),
            (1, 100)
        );
        assert_eq!(b.snapshot.fib.get(&prefix(1)).unwrap().origin.octets(), 100);
        assert_eq!(b.snapshot.fib.get(&prefix(2)).unwrap().origin.octets(), 1280);
    }
}

#[test]
fn a_replayed_datagram_is_refused() {
    for engine in ENGINES {
        let (mut a, mut b, _, _) = pair(engine);
        let datagram = a.send(&data(address(1), address(2), 60)).datagram();
        let later = a.send(&data(address(1), address(2), 61)).datagram();
        b.receive(a.socket, &later).delivered();
        b.receive(a.socket, &datagram).delivered();
        assert_eq!(
            b.receive(a.socket, &datagram),
            Done::Drop(DropReason::Rejected),
            "{engine:?}"
        );
        assert_eq!(b.receive(a.socket, &later), Done::Drop(DropReason::Rejected));
    }
}

#[test]
fn a_forged_or_foreign_datagram_is_refused() {
    for engine in ENGINES {
        let (mut a, mut b, _, _) = pair(engine);
        let mut forged = a.send(&data(address(1), address(2), 60)).datagram();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert_eq!(
            b.receive(a.socket, &forged),
            Done::Drop(DropReason::Rejected),
            "{engine:?}"
        );
        forged[4..8].copy_from_slice(&[0xff; 4]);
        assert_eq!(
            b.receive(a.socket, &forged),
            Done::Drop(DropReason::UnknownReceiver)
        );
        let mut far_counter = a.send(&data(address(1), address(2), 60)).datagram();
        far_counter[8..16].fill(0xff);
        assert_eq!(
            b.receive(a.socket, &far_counter),
            Done::Drop(DropReason::Rejected)
        );
        for junk in [&[][..], &[4, 0, 0], &[4, 0, 0, 0, 1, 2, 3], &[1; 148], &[0; 2000]] {
            assert_eq!(b.receive(a.socket, junk), Done::Drop(DropReason::Malformed));
        }
        let malformed = b.forwarder.drops().find(|(r, _)| *r == DropReason::Malformed);
        assert_eq!(malformed, Some((DropReason::Malformed, 5)));
    }
}

#[test]
fn a_handshake_for_or_from_another_key_is_refused() {
    for engine in ENGINES {
        let (mut a, b, mut c) = (
            Router::new(engine, 1),
            Router::new(engine, 2),
            Router::new(engine, 3),
        );
        let mut buffer = [0; 200];
        let mut out = [0; 200];
        let to_b = a.add_tunnel(b.key, b.socket);
        let initiation = a
            .tunnel(to_b)
            .session()
            .initiate(a.now, &mut buffer)
            .unwrap()
            .to_vec();
        // Meant for b, sent to c.
        assert_eq!(c.factory.identify_initiation(&initiation), None, "{engine:?}");
        assert_eq!(
            c.factory.screen(c.now, a.socket, &initiation, &mut out),
            Screened::Forged
        );
        let for_a = c.add_tunnel(a.key, a.socket);
        let opened = c
            .tunnel(for_a)
            .session()
            .open(c.now, a.socket, &initiation, &mut out);
        assert_eq!(opened, Opened::Rejected);
        // From c, given to b's session with a.
        let to_b = c.add_tunnel(b.key, b.socket);
        let initiation = c
            .tunnel(to_b)
            .session()
            .initiate(c.now, &mut buffer)
            .unwrap()
            .to_vec();
        let with_a = b.factory.new_session(a.key, 77, b.now);
        assert_eq!(
            with_a.open(b.now, c.socket, &initiation, &mut out),
            Opened::Rejected
        );
        assert_eq!(b.factory.identify_initiation(&initiation), Some(c.key));
    }
}

#[test]
fn a_busy_responder_demands_a_cookie_and_then_answers() {
    let mut a = Router::new(Engine::WireGuard, 1);
    let mut b = Router::new(Engine::WireGuard, 2);
    // As if the limit was reached.
    b.snapshot.screen = Some(Arc::new(WireGuardFactory::with_limit(&[3; 32], 0)));
    let at_a = a.add_tunnel(b.key, b.socket);
    let mut buffer = [0; 200];
    let initiation = a
        .tunnel(at_a)
        .session()
        .initiate(a.now, &mut buffer)
        .unwrap()
        .to_vec();
    let Done::Send(to, cookie) = b.receive(a.socket, &initiation) else {
        panic!("no cookie")
    };
    assert_eq!(to, a.socket);
    assert_eq!(cookie.len(), 64);
    assert!(
        b.snapshot.tunnels.is_empty(),
        "no state is kept for an unproven address"
    );
    assert_eq!(a.control(b.socket, &cookie), None);
    let again = a
        .tunnel(at_a)
        .session()
        .initiate(a.now, &mut buffer)
        .unwrap()
        .to_vec();
    // From another address the cookie is worth nothing.
    let elsewhere = "198.51.100.1:1".parse().unwrap();
    assert_eq!(b.receive(elsewhere, &again).datagram().len(), 64);
    assert_eq!(
        b.receive(a.socket, &again),
        Done::ControlDatagram(again.clone()),
        "passed on"
    );
    // With the cookie its sender is answered, and not without bounds.
    let passed = (0..1000).filter(|_| b.receive(a.socket, &again) != Done::Drop(DropReason::HandshakeLimit));
    assert_eq!(passed.count(), 99);
    b.wait(Duration::from_millis(100));
    assert_eq!(b.receive(a.socket, &again), Done::ControlDatagram(again.clone()));
    let mut forged = again;
    forged[50] ^= 1;
    assert_eq!(
        b.receive(a.socket, &forged),
        Done::Drop(DropReason::HandshakeForged)
    );
}

#[test]
fn an_authenticated_datagram_from_elsewhere_moves_the_endpoint() {
    for engine in ENGINES {
        let (mut a, mut b, _, at_b) = pair(engine);
        let elsewhere = "[2001:db8::7]:1234".parse().unwrap();
        let datagram = a.send(&data(address(1), address(2), 60)).datagram();
        let mut forged = datagram.clone();
        forged[20] ^= 1;
        forged[datagram.len() - 1] ^= 1;
        b.receive(elsewhere, &forged);
        assert_eq!(b.tunnel(at_b).endpoint(), Some(a.socket), "{engine:?}");
        b.receive(elsewhere, &datagram).delivered();
        let moved = [Activity::Moved(at_b, elsewhere), Activity::Receiving(at_b)];
        assert_eq!(b.activities(), moved);
        assert!(matches!(b.send(&data(address(2), address(1), 60)), Done::Send(to, _) if to == elsewhere));
    }
}

#[test]
fn a_relay_forwards_and_decrements_the_hop_limit() {
    for engine in ENGINES {
        let [mut a, mut r, mut b] = line(engine);
        let packet = data(address(1), address(2), 500);
        let datagram = a.send(&packet).datagram();
        let datagram = match r.receive(a.socket, &datagram) {
            Done::Send(to, datagram) if to == b.socket => datagram,
            other => panic!("{engine:?}: {other:?}"),
        };
        let delivered = b.receive(r.socket, &datagram).delivered();
        assert_eq!(delivered[7], packet[7] - 1);
        assert_eq!((&delivered[..7], &delivered[8..]), (&packet[..7], &packet[8..]));
        let (from_a, to_b) = (r.tunnel(TunnelId(1)), r.tunnel(TunnelId(2)));
        assert_eq!(
            (from_a.received().transit.octets, to_b.sent().transit.octets),
            (500, 500)
        );
        assert_eq!((from_a.received().own.octets, to_b.sent().own.octets), (0, 0));
        assert_eq!(r.snapshot.fib.get(&prefix(1)).unwrap().origin.octets(), 500);
    }
}

/// Checks an ICMPv6 error from `from` about `packet` and returns type, code and parameter.
#[track_caller]
fn icmp_error(error: &[u8], from: u16, packet: &[u8]) -> (u8, u8, u32) {
    assert_eq!(source_of(error), address(from));
    assert_eq!(destination_of(error), source_of(packet));
    assert_eq!(checksum(error), 0, "checksum");
    assert!(error.len() <= 1280);
    // The relay may have opened it before it found the fault, but quotes it as it came.
    let quoted = &error[48..];
    assert_eq!(quoted, &packet[..packet.len().min(1232)]);
    (
        error[40],
        error[41],
        u32::from_be_bytes(error[44..48].try_into().unwrap()),
    )
}

#[test]
fn an_exhausted_hop_limit_is_reported_by_the_relay() {
    for engine in ENGINES {
        let [mut a, mut r, b] = line(engine);
        let packet = ipv6(address(1), address(2), 59, 1, &[7; 20]);
        let datagram = a.send(&packet).datagram();
        let datagram = r.receive(a.socket, &datagram).datagram();
        let error = a.receive(r.socket, &datagram).delivered();
        assert_eq!(icmp_error(&error, 9, &packet), (3, 0, 0), "{engine:?}");
        assert_eq!(b.tunnel(TunnelId(1)).received().own.packets, 0);
        // The last hop is reached with hop limit 1.
        let packet = ipv6(address(1), address(9), 59, 1, &[7; 20]);
        let datagram = a.send(&packet).datagram();
        r.receive(a.socket, &datagram).delivered();
    }
}

#[test]
fn a_packet_without_a_route_is_reported() {
    for engine in ENGINES {
        let [mut a, mut r, _] = line(engine);
        // At the origin.
        let packet = data(address(1), address(77), 80);
        assert_eq!(
            icmp_error(&a.send(&packet).delivered(), 1, &packet),
            (1, 0, 0),
            "{engine:?}"
        );
        // At the relay, whose prefix is held unreachable though a covering one exists.
        a.route("fd00::/48", Hop::Tunnel(TunnelId(1)));
        r.route("fd00::/48", Hop::Tunnel(TunnelId(2)));
        r.route("fd00:0:0:4d::/64", Hop::Unreachable);
        let datagram = a.send(&packet).datagram();
        let datagram = r.receive(a.socket, &datagram).datagram();
        let error = a.receive(r.socket, &datagram).delivered();
        assert_eq!(icmp_error(&error, 9, &packet), (1, 0, 0));
        // To a host that our own prefix does not have.
        let packet = data(address(1), "fd00:0:0:1::99".parse().unwrap(), 80);
        assert_eq!(icmp_error(&a.send(&packet).delivered(), 1, &packet), (1, 3, 0));
    }
}

#[test]
fn a_packet_that_does_not_fit_the_tunnel_is_reported() {
    for engine in ENGINES {
        let [mut a, mut r, b] = line(engine);
        let packet = data(address(1), address(2), 1400);
        assert_eq!(
            icmp_error(&a.send(&packet).delivered(), 1, &packet),
            (2, 0, 1280),
            "{engine:?}"
        );
        a.tunnel(TunnelId(1)).set_mtu(1400);
        let datagram = a.send(&packet).datagram();
        let datagram = r.receive(a.socket, &datagram).datagram();
        let error = a.receive(r.socket, &datagram).delivered();
        assert_eq!(icmp_error(&error, 9, &packet), (2, 0, 1280));
        assert_eq!(b.tunnel(TunnelId(1)).received().octets(), 0);
    }
}

/// The packets of a super-packet are handed over one after the other, at one time.
#[test]
fn a_super_packet_too_big_for_the_tunnel_is_reported_once() {
    let (mut a, _, _, _) = pair(Engine::Plain);
    let packet = data(address(1), address(2), 1400);
    let errors = (0..45)
        .filter(|_| matches!(a.send(&packet), Done::Deliver(_)))
        .count();
    assert_eq!(errors, 1);
    assert_eq!(a.dropped(DropReason::TooBig), 45);
    a.wait(Duration::from_millis(1));
    assert!(matches!(a.send(&packet), Done::Deliver(_)));
}

#[test]
fn errors_are_not_answered_by_errors_and_are_limited() {
    let (mut a, _, _, _) = pair(Engine::Plain);
    let packet = data(address(1), address(77), 80);
    let error = a.send(&packet).delivered();
    let about_an_error = ipv6(address(1), address(77), 58, 64, &error[40..]);
    assert_eq!(a.send(&about_an_error), Done::Drop(DropReason::NoRoute));
    let errors = (0..1000)
        .filter(|_| matches!(a.send(&packet), Done::Deliver(_)))
        .count();
    assert_eq!(errors, 99, "one of the burst of 100 was used above");
    assert_eq!(a.forwarder.errors_suppressed(), 901);
    a.wait(Duration::from_millis(100));
    let errors = (0..1000)
        .filter(|_| matches!(a.send(&packet), Done::Deliver(_)))
        .count();
    assert_eq!(errors, 10, "100 a second");
}

#[test]
fn sources_that_do_not_belong_are_dropped() {
    for engine in ENGINES {
        let (mut a, mut b, at_a, at_b) = pair(engine);
        let local = data(address(7), address(2), 60);
        assert_eq!(a.send(&local), Done::Drop(DropReason::NotOurSource));
        // What a neighbour could send if it had no such check itself.
        let smuggle = |b: &mut Router, source: &str| {
            let packet = data(source.parse().unwrap(), address(2), 60);
            let mut out = [0; 200];
            let (sealed, _) =
                a.tunnel(at_a)
                    .seal(a.now, osier_proto::snapshot::Class::Own, &packet, &mut out);
            let osier_proto::tunnel::Sealed::Datagram(datagram) = sealed else {
                panic!("no keys")
            };
            b.receive(a.socket, datagram)
        };
        let refused = Done::Drop(DropReason::SourceNotPermitted);
        assert_eq!(smuggle(&mut b, "2001:db8::1"), refused, "outside the network");
        assert_eq!(smuggle(&mut b, "fd00:0:0:2::1"), refused, "the receiver's own");
        assert_eq!(
            smuggle(&mut b, "fe80::1"),
            refused,
            "link-local to a global address"
        );
        assert_eq!(smuggle(&mut b, "::"), refused);
        b.route("fd00:0:0:7::/64", Hop::Tunnel(at_b));
        assert!(
            matches!(smuggle(&mut b, "fd00:0:0:7::1"), Done::Deliver(_)),
            "a relay carries others' packets"
        );
        b.tunnel(at_b).set_sources(false, &[prefix(1)]);
        assert_eq!(smuggle(&mut b, "fd00:0:0:7::1"), refused, "a leaf does not");
        assert!(matches!(smuggle(&mut b, "fd00:0:0:1::5"), Done::Deliver(_)));
    }
}

#[test]
fn before_both_ends_accepted_only_link_local_packets_pass() {
    for engine in ENGINES {
        let (mut a, mut b, at_a, at_b) = pair(engine);
        b.tunnel(at_b).set_open(false);
        let datagram = a.send(&data(address(1), address(2), 60)).datagram();
        assert_eq!(
            b.receive(a.socket, &datagram),
            Done::Drop(DropReason::Unauthenticated),
            "{engine:?}"
        );
        for destination in ["fe80::2", "ff02::1:6"] {
            let packet = data("fe80::1".parse().unwrap(), destination.parse().unwrap(), 60);
            assert_eq!(
                a.send(&packet),
                Done::Drop(DropReason::Scope),
                "hosts cannot send into the tunnel"
            );
            let mut out = [0; 200];
            let class = osier_proto::snapshot::Class::Control;
            let (sealed, activity) = a.tunnel(at_a).seal(a.now, class, &packet, &mut out);
            let osier_proto::tunnel::Sealed::Datagram(datagram) = sealed else {
                panic!("no keys")
            };
            assert_eq!(activity, None);
            assert_eq!(b.receive(a.socket, datagram), Done::ControlPacket(at_b, packet));
        }
        // And the keepalive that ended the handshake.
        assert_eq!(b.tunnel(at_b).received().control.packets, 3);
    }
}

#[test]
fn probe_answers_go_to_control_and_pings_to_the_kernel() {
    for engine in ENGINES {
        let [mut a, mut r, mut b] = line(engine);
        b.snapshot.answers_echo = true;
        let probe = [&PROBE_MAGIC[..], b"id 12345"].concat();
        let mut exchange = |request: &[u8]| {
            let datagram = a.send(request).datagram();
            let datagram = r.receive(a.socket, &datagram).datagram();
            let datagram = b.receive(r.socket, &datagram).datagram();
            let datagram = r.receive(b.socket, &datagram).datagram();
            a.receive(r.socket, &datagram)
        };
        let Done::Probe(reply) = exchange(&echo(address(1), address(2), 64, &probe)) else {
            panic!("{engine:?}: not a probe")
        };
        assert_eq!((reply[40], &reply[48..], checksum(&reply)), (129, &probe[..], 0));
        let reply = exchange(&echo(address(1), address(2), 64, b"ordinary ping")).delivered();
        assert_eq!((reply[40], checksum(&reply)), (129, 0));

        // An error about a probe, from the relay and from ourselves; a probe to ourselves.
        let datagram = a.send(&echo(address(1), address(2), 1, &probe)).datagram();
        let datagram = r.receive(a.socket, &datagram).datagram();
        assert!(matches!(a.receive(r.socket, &datagram), Done::Probe(p) if p[40] == 3));
        assert!(matches!(a.send(&echo(address(1), address(77), 64, &probe)), Done::Probe(p) if p[40] == 1));
        assert!(matches!(a.send(&echo(address(1), address(1), 64, &probe)), Done::Probe(p) if p[40] == 129));
        // The kernel's business.
        let own = data(address(1), address(1), 60);
        assert_eq!(a.send(&own).delivered(), own);
    }
}

#[test]
fn control_hears_of_data_after_a_pause_and_of_data_that_nobody_answers() {
    for engine in ENGINES {
        let (mut a, mut b, at_a, _) = pair(engine);
        a.activities();
        let packet = data(address(1), address(2), 60);
        let sending = [Activity::Sending(at_a)];
        a.send(&packet);
        assert_eq!(a.activities(), sending, "{engine:?}: the first");
        a.send(&packet);
        assert_eq!(a.activities(), [], "not each");
        // A conversation: something comes back every time.
        for _ in 0..100 {
            a.wait(Duration::from_millis(20));
            b.wait(Duration::from_millis(20));
            let datagram = b.send(&data(address(2), address(1), 60)).datagram();
            a.receive(b.socket, &datagram);
            a.activities();
            a.send(&packet);
            assert_eq!(a.activities(), [], "a busy tunnel is silent");
        }
        // Nobody answers any more.
        let reports: usize = (0..100)
            .map(|_| {
                a.wait(Duration::from_millis(10));
                a.send(&packet);
                a.activities().len()
            })
            .sum();
        assert!(
            (3..=4).contains(&reports),
            "{reports} reports in a second without an answer"
        );
        a.tunnel(at_a).report_next_receive();
        let datagram = b.send(&data(address(2), address(1), 60)).datagram();
        a.receive(b.socket, &datagram);
        assert_eq!(
            a.activities(),
            [Activity::Heard(at_a), Activity::Receiving(at_a)],
            "data after a pause"
        );
    }
}

#[test]
fn packets_queued_without_keys_leave_after_the_handshake() {
    for engine in ENGINES {
        let (mut a, mut b) = (Router::new(engine, 1), Router::new(engine, 2));
        let at_a = a.add_tunnel(b.key, b.socket);
        a.open(at_a);
        a.snapshot.fib.insert(prefix(2), Hop::Tunnel(at_a));
        let packet = data(address(1), address(2), 90);
        let initiation = a.send(&packet).datagram();
        assert_eq!(
            a.send(&packet),
            Done::Drop(DropReason::NoSession),
            "{engine:?}: queued"
        );
        let response = b.control(a.socket, &initiation).expect("a response");
        b.open(TunnelId(1));
        b.route("fd00:0:0:1::/64", Hop::Tunnel(TunnelId(1)));
        let keepalive = a.control(b.socket, &response).expect("a keepalive");
        assert_eq!(b.receive(a.socket, &keepalive), Done::Nothing);
        let mut out = vec![0; 65_535];
        let mut delivered = 0;
        while let Some(datagram) = a.tunnel(at_a).session().flush(a.now, &mut out) {
            assert_eq!(b.receive(a.socket, datagram).delivered(), packet);
            delivered += 1;
        }
        assert_eq!(delivered, 2);
    }
}

#[test]
fn plain_sessions_renew_their_keys_and_survive_it() {
    let (mut a, mut b, at_a, at_b) = pair(Engine::Plain);
    let first = a.tunnel(at_a).session().last_handshake(a.now);
    let mut out = [0; 200];
    let mut handshakes = 0;
    for _ in 0..600 {
        a.wait(Duration::from_secs(1));
        b.wait(Duration::from_secs(1));
        let datagram = a.send(&data(address(1), address(2), 60)).datagram();
        b.receive(a.socket, &datagram).delivered();
        let datagram = b.send(&data(address(2), address(1), 60)).datagram();
        a.receive(b.socket, &datagram).delivered();
        assert_eq!(
            b.tunnel(at_b).session().tick(b.now, &mut out),
            None,
            "only the initiator renews"
        );
        let Some(initiation) = a.tunnel(at_a).session().tick(a.now, &mut out) else {
            continue;
        };
        handshakes += 1;
        // b knows the peer by its key; the test's stand-in would make a new tunnel.
        let mut reply = [0; 200];
        let opened = b
            .tunnel(at_b)
            .session()
            .open(b.now, a.socket, initiation, &mut reply);
        let Opened::Reply(response) = opened else {
            panic!("{opened:?}")
        };
        let keepalive = a.control(b.socket, response).unwrap();
        assert_eq!(b.receive(a.socket, &keepalive), Done::Nothing);
    }
    assert!(
        (4..=5).contains(&handshakes),
        "{handshakes} in 600 seconds, not one every 120"
    );
    assert!(a.tunnel(at_a).session().last_handshake(a.now) > first);
    assert_ne!(a.now, Instant::ZERO);
}

#[test]
fn no_packet_makes_the_forwarder_panic() {
    let (mut a, mut b, at_a, _) = pair(Engine::Plain);
    b.snapshot.answers_echo = true;
    let template = echo(address(1), address(2), 64, &PROBE_MAGIC);
    let mut state = 1u64;
    for round in 0..20_000u32 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(u64::from(round));
        let mut packet = template.clone();
        // A wrong octet, and any length, which the header may or may not agree with.
        let at = (state >> 33) as usize % packet.len();
        packet[at] ^= (state >> 48) as u8;
        packet.truncate((state >> 20) as usize % (packet.len() + 1));
        if round % 2 == 0 && packet.len() >= 40 {
            let payload = (packet.len() - 40) as u16;
            packet[4..6].copy_from_slice(&payload.to_be_bytes());
        }
        a.send(&packet);
        let mut out = [0; 300];
        let class = osier_proto::snapshot::Class::Own;
        let (sealed, _) = a.tunnel(at_a).seal(a.now, class, &packet, &mut out);
        let osier_proto::tunnel::Sealed::Datagram(datagram) = sealed else {
            panic!("no keys")
        };
        b.receive(a.socket, datagram);
        b.receive(a.socket, &packet);
        a.activities();
        b.activities();
    }
}
