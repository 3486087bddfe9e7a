//! Relay frames on a line a - r - c: what arrives, what the relay sees, and what a hostile relay can do.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod support;

use osier_dataplane::DropReason;
use osier_proto::{
    fib::Hop,
    relay::{HEADER, HOP_LIMIT, Header, Target},
    snapshot::{Activity, PROBE_MAGIC},
    tunnel::{OVERHEAD, TunnelId},
};
use support::*;

const SECRET: &[u8] = b"what nobody between is to read";

fn secret() -> Vec<u8> {
    ipv6(address(1), address(2), 59, 64, &SECRET.repeat(4))
}

fn joined(engine: Engine) -> [Router; 3] {
    let [mut a, r, mut c] = relayed_line(engine);
    join_session(&mut a, &mut c);
    [a, r, c]
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_packet_arrives_unopened_and_its_frame_is_rewritten_in_place() {
    for engine in ENGINES {
        let [mut a, mut r, mut c] = joined(engine);
        let sent = a.send(&secret()).datagram();
        assert_eq!(sent.len(), secret().len() + HEADER + OVERHEAD);
        let Done::InPlace(remote, passed) = r.receive(a.socket, &sent) else {
            panic!("not in place")
        };
        assert_eq!(remote, c.socket);
        assert_eq!(passed[HEADER..], sent[HEADER..], "the message is unchanged");
        assert_eq!(passed[16..24], sent[16..24], "and so is the locator");
        let (before, after) = (Header::parse(&sent).unwrap(), Header::parse(&passed).unwrap());
        assert_eq!(
            (before.target.hop_limit, after.target.hop_limit),
            (HOP_LIMIT, HOP_LIMIT - 1)
        );
        assert_ne!(before.receiver, after.receiver);
        assert_eq!(c.receive(r.socket, &passed).delivered(), secret());

        // The control experiment: only the engine without cryptography shows what is inside.
        assert_eq!(contains(&sent, SECRET), engine == Engine::Plain);
        assert_eq!(contains(&passed, SECRET), engine == Engine::Plain);
        let back = data(address(2), address(1), 1280);
        let frame = c.send(&back).datagram();
        let frame = r.receive(c.socket, &frame).datagram();
        assert_eq!(a.receive(r.socket, &frame).delivered(), back);
    }
}

#[test]
fn frames_count_as_data_of_the_tunnels_and_the_sessions() {
    for engine in ENGINES {
        let [mut a, mut r, mut c] = joined(engine);
        let frame = a.send(&secret()).datagram();
        assert_eq!(a.activities(), [Activity::Sending(TunnelId(1))]);
        let frame = r.receive(a.socket, &frame).datagram();
        assert_eq!(
            r.activities(),
            [Activity::Receiving(TunnelId(1)), Activity::Sending(TunnelId(2))]
        );
        c.receive(r.socket, &frame).delivered();
        assert_eq!(c.activities(), [Activity::Receiving(TunnelId(1))]);
        let length = secret().len() as u64;
        assert_eq!(a.tunnel(TunnelId(1)).sent().own.octets, length);
        assert_eq!(r.tunnel(TunnelId(1)).received().transit.octets, length);
        assert_eq!(r.tunnel(TunnelId(2)).sent().transit.octets, length);
        assert_eq!(c.tunnel(TunnelId(1)).received().own.octets, length);
        let session = a.snapshot.sessions.with(&router_id(2)).unwrap();
        assert_eq!((session.sent().packets, session.sent().octets), (1, length));
        let session = c.snapshot.sessions.with(&router_id(1)).unwrap();
        assert_eq!(session.received().octets, length);
        assert_eq!(c.snapshot.fib.get(&prefix(1)).unwrap().origin.octets(), length);
    }
}

#[test]
fn without_a_session_the_packet_goes_to_control_and_never_out_in_the_clear() {
    for engine in ENGINES {
        let [mut a, _, _] = relayed_line(engine);
        for _ in 0..100 {
            assert_eq!(a.send(&secret()), Done::NeedsSession(secret()));
        }
        assert_eq!(
            a.send(&secret()),
            Done::Drop(DropReason::AwaitingSession),
            "no flood reaches control"
        );
        assert_eq!(a.tunnel(TunnelId(1)).sent().own.packets, 0);
    }
}

#[test]
fn frames_that_were_changed_on_the_way_go_no_further() {
    for engine in ENGINES {
        let [mut a, mut r, mut c] = joined(engine);
        let frame = a.send(&secret()).datagram();
        for at in 2..HEADER + 16 {
            let mut changed = frame.clone();
            changed[at] ^= 1;
            let done = r.receive(a.socket, &changed);
            let expected = if (5..8).contains(&at) {
                DropReason::UnknownReceiver
            } else {
                DropReason::FrameForged
            };
            assert_eq!(done, Done::Drop(expected), "octet {at}");
        }
        assert_eq!(
            r.receive(a.socket, &frame[..frame.len() - 1]),
            Done::Drop(DropReason::FrameForged)
        );
        // A relay that does it itself signs anew: the session notices.
        let frame = r.receive(a.socket, &frame).datagram();
        let last = frame.len() - 1;
        let mut changed = frame.clone();
        changed[last] ^= 1;
        assert_eq!(
            c.receive(r.socket, &changed),
            Done::Drop(DropReason::SessionRejected)
        );
        assert_eq!(c.dropped(DropReason::SessionRejected), 1);
        assert_eq!(
            c.receive(r.socket, &frame),
            Done::Drop(DropReason::FrameReplayed),
            "the counter is used up"
        );
    }
}

#[test]
fn replays_are_noticed_at_each_hop_and_by_the_session() {
    for engine in ENGINES {
        let [mut a, mut r, mut c] = joined(engine);
        let frame = a.send(&secret()).datagram();
        let passed = r.receive(a.socket, &frame).datagram();
        assert_eq!(r.receive(a.socket, &frame), Done::Drop(DropReason::FrameReplayed));
        c.receive(r.socket, &passed).delivered();
        assert_eq!(
            c.receive(r.socket, &passed),
            Done::Drop(DropReason::FrameReplayed)
        );
        // A hostile relay puts the same message into a new frame.
        let mut again = passed.clone();
        let target = Target {
            hop_limit: HOP_LIMIT,
            ..Header::parse(&passed).unwrap().target
        };
        let class = osier_proto::snapshot::Class::Transit;
        let (sealed, _) = r.tunnel(TunnelId(2)).seal_frame(r.now, class, &mut again, target);
        assert!(sealed);
        assert_eq!(
            c.receive(r.socket, &again),
            Done::Drop(DropReason::SessionRejected)
        );
        // What merely overtakes arrives.
        let frames: Vec<_> = (0..8).map(|_| a.send(&secret()).datagram()).collect();
        let passed: Vec<_> = frames
            .iter()
            .rev()
            .map(|f| r.receive(a.socket, f).datagram())
            .collect();
        for frame in passed.iter().rev() {
            assert_eq!(c.receive(r.socket, frame).delivered(), secret());
        }
    }
}

#[test]
fn the_hop_limit_ends_a_frame() {
    for engine in ENGINES {
        let [mut a, mut r, _] = joined(engine);
        let mut frame = a.send(&secret()).datagram();
        let sent = Header::parse(&frame).unwrap().target;
        for hop_limit in [0, 1] {
            let target = Target { hop_limit, ..sent };
            let class = osier_proto::snapshot::Class::Own;
            let tunnel = a.tunnel(TunnelId(1));
            assert!(tunnel.seal_frame(a.now, class, &mut frame, target).0);
            assert_eq!(r.receive(a.socket, &frame), Done::Drop(DropReason::HopLimit));
        }
    }
}

#[test]
fn rotated_keys_lose_nothing() {
    for engine in ENGINES {
        let [mut a, mut r, mut c] = joined(engine);
        let before = a.send(&secret()).datagram();
        let on_the_way = a.send(&secret()).datagram();
        let key = r.relay_key(TunnelId(1), 2);
        let receiver = key.receiver;
        r.tunnel(TunnelId(1)).add_relay_key(key.clone());
        r.receive(a.socket, &before).datagram();
        a.tunnel(TunnelId(1)).set_peer_relay_key(Some(key));
        let after = a.send(&secret()).datagram();
        let after = r.receive(a.socket, &after).datagram();
        assert_eq!(c.receive(r.socket, &after).delivered(), secret());
        r.tunnel(TunnelId(1)).keep_only_relay_key(receiver);
        assert_eq!(
            r.receive(a.socket, &on_the_way),
            Done::Drop(DropReason::FrameForged)
        );
    }
}

#[test]
fn frames_need_an_open_tunnel_a_route_and_a_next_hop_that_takes_them() {
    for engine in ENGINES {
        let [mut a, mut r, mut c] = joined(engine);
        let mut send = |r: &mut Router| {
            let frame = a.send(&secret()).datagram();
            r.receive(a.socket, &frame)
        };
        r.tunnel(TunnelId(1)).set_open(false);
        assert_eq!(send(&mut r), Done::Drop(DropReason::Unauthenticated));
        r.tunnel(TunnelId(1)).set_open(true);
        r.route("fd00:0:0:2::/64", Hop::Unreachable);
        assert_eq!(send(&mut r), Done::Drop(DropReason::NoRoute));
        r.route("fd00:0:0:2::/64", Hop::Tunnel(TunnelId(7)));
        assert_eq!(send(&mut r), Done::Drop(DropReason::NoSession));
        r.route("fd00:0:0:2::/64", Hop::Tunnel(TunnelId(2)));
        r.tunnel(TunnelId(2)).set_peer_relay_key(None);
        assert_eq!(send(&mut r), Done::Drop(DropReason::NoRelayKey));
        r.tunnel(TunnelId(2))
            .set_peer_relay_key(Some(c.relay_key(TunnelId(1), 1)));
        let frame = send(&mut r).datagram();
        assert_eq!(c.receive(r.socket, &frame).delivered(), secret());
        // An end that forgot the session.
        let frame = send(&mut r).datagram();
        c.snapshot.sessions = Default::default();
        assert_eq!(
            c.receive(r.socket, &frame),
            Done::Drop(DropReason::UnknownSession)
        );
    }
}

/// Whoever has a session with us says nothing in anybody else's name, and nothing for anybody else.
#[test]
fn a_session_carries_its_own_ends_packets_only() {
    for engine in ENGINES {
        let [mut a, mut r, mut c] = joined(engine);
        a.snapshot.own.push(prefix(5));
        for (packet, reason) in [
            (data(address(5), address(2), 100), DropReason::SourceNotPermitted),
            (
                data(address(1), "fd00:0:0:2::9".parse().unwrap(), 100),
                DropReason::NoRoute,
            ),
        ] {
            if reason == DropReason::NoRoute {
                c.route("fd00:0:0:2::9/128", Hop::Unreachable);
            }
            let frame = a.send(&packet).datagram();
            let frame = r.receive(a.socket, &frame).datagram();
            assert_eq!(c.receive(r.socket, &frame), Done::Drop(reason));
        }
    }
}

/// A relay puts words into somebody's mouth: in its own tunnel, where it need not break anything.
#[test]
fn a_relay_cannot_invent_packets() {
    for engine in ENGINES {
        let [_, mut r, mut c] = joined(engine);
        r.snapshot.own.push(prefix(1));
        for packet in [
            data(address(1), address(2), 100),
            echo(address(1), address(2), 64, b"an ordinary ping"),
            ipv6(address(1), address(2), 58, 64, &[1, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            let forged = r.send(&packet).datagram();
            assert_eq!(c.receive(r.socket, &forged), Done::Drop(DropReason::InTheClear));
        }
        // Not even while there is no route to the alleged sender.
        c.route("fd00:0:0:1::/64", Hop::Unreachable);
        let forged = r.send(&data(address(1), address(2), 100)).datagram();
        assert_eq!(c.receive(r.socket, &forged), Done::Drop(DropReason::InTheClear));
    }
}

#[test]
fn probes_and_their_answers_go_hop_by_hop() {
    for engine in ENGINES {
        let [mut a, mut r, mut c] = relayed_line(engine);
        c.snapshot.answers_echo = true;
        let probe = echo(address(1), address(2), 64, &PROBE_MAGIC);
        let datagram = a.send(&probe).datagram();
        let datagram = r.receive(a.socket, &datagram).datagram();
        let reply = c.receive(r.socket, &datagram).datagram();
        let reply = r.receive(c.socket, &reply).datagram();
        assert!(matches!(a.receive(r.socket, &reply), Done::Probe(_)));
        let probe = echo(address(1), address(2), 1, &PROBE_MAGIC);
        let datagram = a.send(&probe).datagram();
        let error = r.receive(a.socket, &datagram).datagram();
        assert!(matches!(a.receive(r.socket, &error), Done::Probe(_)));
    }
}

#[test]
fn control_hears_that_a_session_is_silent() {
    for engine in ENGINES {
        let [mut a, mut r, mut c] = joined(engine);
        let silent = |a: &mut Router| {
            a.send(&secret()).datagram();
            let heard = a.activities();
            heard.contains(&Activity::SessionSilent(router_id(2)))
        };
        assert!(!silent(&mut a));
        a.wait(osier_proto::Duration::from_millis(900));
        assert!(!silent(&mut a));
        a.wait(osier_proto::Duration::from_millis(200));
        assert!(silent(&mut a), "{engine:?}");
        assert!(!silent(&mut a), "not for each packet");
        let back = c.send(&data(address(2), address(1), 60)).datagram();
        let back = r.receive(c.socket, &back).datagram();
        a.receive(r.socket, &back).delivered();
        a.wait(osier_proto::Duration::from_secs(20));
        assert!(
            !silent(&mut a),
            "the first packet after a pause is not unanswered"
        );
    }
}

#[test]
fn a_packet_too_big_for_a_frame_is_reported() {
    for engine in ENGINES {
        let [mut a, _, _] = joined(engine);
        a.tunnel(TunnelId(1)).set_mtu(1400);
        assert_eq!(a.tunnel(TunnelId(1)).relay_mtu(), 1360);
        let session = a.snapshot.sessions.with(&router_id(2)).unwrap();
        session.set_mtu(1380);
        a.send(&data(address(1), address(2), 1360)).datagram();
        let error = a.send(&data(address(1), address(2), 1361)).delivered();
        assert_eq!(error[40], 2, "packet too big");
        assert_eq!(error[44..48], 1360u32.to_be_bytes());
    }
}

/// What the other end of the session has not confirmed does not go out, whatever the first hop takes.
#[test]
fn a_packet_too_big_for_the_session_is_reported() {
    for engine in ENGINES {
        let [mut a, _, _] = joined(engine);
        a.tunnel(TunnelId(1)).set_mtu(1420);
        let session = a.snapshot.sessions.with(&router_id(2)).unwrap();
        session.set_mtu(1340);
        a.send(&data(address(1), address(2), 1340)).datagram();
        let error = a.send(&data(address(1), address(2), 1341)).delivered();
        assert_eq!((error[40], &error[44..48]), (2, &1340u32.to_be_bytes()[..]));
        a.wait(osier_proto::Duration::from_millis(1));
        session_of(&a).set_mtu(0);
        a.send(&data(address(1), address(2), 1280)).datagram();
        let error = a.send(&data(address(1), address(2), 1281)).delivered();
        assert_eq!(error[44..48], 1280u32.to_be_bytes());
    }
}

fn session_of(a: &Router) -> &osier_proto::snapshot::SessionHandle {
    a.snapshot.sessions.with(&router_id(2)).unwrap()
}

#[test]
fn a_frame_that_asks_for_its_size_stops_where_it_would_be_fragmented_and_others_go_on() {
    for engine in ENGINES {
        let [mut a, mut r, mut c] = joined(engine);
        a.tunnel(TunnelId(1)).set_mtu(1420);
        session_of(&a).set_mtu(1380);
        let packet = data(address(1), address(2), 1380);
        // The relay's next hop takes 1280 octets, and so frames around 1240.
        let frame = a.send(&packet).datagram();
        let passed = r.receive(a.socket, &frame).datagram();
        assert_eq!(c.receive(r.socket, &passed).delivered(), packet);
        for (length, passes) in [(1240, true), (1241, false)] {
            let mut frame = a.send(&data(address(1), address(2), length)).datagram();
            let target = Target {
                whole: true,
                ..Header::parse(&frame).unwrap().target
            };
            let class = osier_proto::snapshot::Class::Own;
            assert!(
                a.tunnel(TunnelId(1))
                    .seal_frame(a.now, class, &mut frame, target)
                    .0
            );
            let done = r.receive(a.socket, &frame);
            if passes {
                let passed = done.datagram();
                assert!(Header::parse(&passed).unwrap().target.whole, "for the next relay");
                assert_eq!(c.receive(r.socket, &passed).delivered().len(), length);
            } else {
                assert_eq!(done, Done::Drop(DropReason::TooBig));
            }
        }
    }
}

#[test]
fn link_local_packets_in_a_session_are_controls() {
    for engine in ENGINES {
        let [a, mut r, mut c] = joined(engine);
        let [here, there] = ["fe80::1", "fe80::2"].map(|a| a.parse().unwrap());
        let mut packet = ipv6(here, there, 17, 1, &[7; 20]);
        let length = packet.len();
        packet.resize(1300, 0);
        let mut out = [0; 2000];
        let osier_proto::tunnel::Sealed::Datagram(message) =
            session_of(&a).session().seal(a.now, &packet, &mut out)
        else {
            panic!("no keys")
        };
        let mut frame = vec![0; HEADER];
        frame.extend_from_slice(message);
        let target = Target {
            hop_limit: HOP_LIMIT,
            locator: session_of(&a).locator(),
            whole: false,
        };
        let class = osier_proto::snapshot::Class::Own;
        assert!(
            a.tunnel(TunnelId(1))
                .seal_frame(a.now, class, &mut frame, target)
                .0
        );
        let passed = r.receive(a.socket, &frame).datagram();
        let Done::SessionPacket(origin, opened) = c.receive(r.socket, &passed) else {
            panic!("not for control")
        };
        assert_eq!(origin, router_id(1));
        assert_eq!(opened, packet[..length], "what follows the packet is padding");
    }
}
