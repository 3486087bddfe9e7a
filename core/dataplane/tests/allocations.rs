//! The steady state allocates nothing: checked with an allocator that counts.

mod support;

use osier_test_support::{CountingAllocator, allocations};
use support::*;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn sending_relaying_and_delivering_allocate_nothing() {
    for engine in ENGINES {
        let (mut a, mut r, mut b) = (
            Router::new(engine, 1),
            Router::new(engine, 9),
            Router::new(engine, 2),
        );
        let (to_relay, _) = connect(&mut a, &mut r);
        a.snapshot
            .fib
            .insert(prefix(2), osier_proto::fib::Hop::Tunnel(to_relay));
        let (_, back) = connect(&mut r, &mut b);
        b.snapshot
            .fib
            .insert(prefix(1), osier_proto::fib::Hop::Tunnel(back));
        let packet = data(address(1), address(2), 1280);
        let expired = ipv6(address(1), address(2), 59, 1, &[0; 100]);
        let (mut first, mut second, mut third) = (vec![0; 65_535], vec![0; 65_535], vec![0; 65_535]);
        let mut tun = vec![0; 2048];

        let before = allocations();
        for round in 0..1000 {
            let input = if round % 10 == 0 { &expired } else { &packet };
            tun[..input.len()].copy_from_slice(input);
            let sent = a
                .forwarder
                .from_tun(&a.snapshot, &mut tun[..input.len()], &mut first, a.now);
            let osier_dataplane::Action::Send { datagram, .. } = sent else {
                panic!("{sent:?}")
            };
            second[..datagram.len()].copy_from_slice(datagram);
            let length = datagram.len();
            let relayed =
                r.forwarder
                    .from_network(&r.snapshot, a.socket, &mut second[..length], &mut first, r.now);
            let osier_dataplane::Action::Send { datagram, remote } = relayed else {
                panic!("{relayed:?}")
            };
            third[..datagram.len()].copy_from_slice(datagram);
            let length = datagram.len();
            let end = if remote == b.socket { &mut b } else { &mut a };
            let delivered = end.forwarder.from_network(
                &end.snapshot,
                r.socket,
                &mut third[..length],
                &mut first,
                end.now,
            );
            assert!(
                matches!(delivered, osier_dataplane::Action::Deliver(_)),
                "{delivered:?}"
            );
            for router in [&mut a, &mut r, &mut b] {
                while router.forwarder.poll_activity().is_some() {}
            }
        }
        assert_eq!(allocations() - before, 0, "{engine:?}");
    }
}

#[test]
fn relaying_without_opening_allocates_nothing() {
    for engine in ENGINES {
        let [mut a, mut r, mut c] = relayed_line(engine);
        join_session(&mut a, &mut c);
        let packet = data(address(1), address(2), 1280);
        let (mut buffer, mut out) = (vec![0; 65_535], vec![0; 65_535]);
        let mut tun = packet.clone();

        let before = allocations();
        for _ in 0..1000 {
            tun.copy_from_slice(&packet);
            let sent = a.forwarder.from_tun(&a.snapshot, &mut tun, &mut out, a.now);
            let osier_dataplane::Action::Send { datagram, .. } = sent else {
                panic!("{sent:?}")
            };
            let length = datagram.len();
            buffer[..length].copy_from_slice(datagram);
            let relayed =
                r.forwarder
                    .from_network(&r.snapshot, a.socket, &mut buffer[..length], &mut out, r.now);
            let osier_dataplane::Action::SendInPlace { span, .. } = relayed else {
                panic!("{relayed:?}")
            };
            let delivered =
                c.forwarder
                    .from_network(&c.snapshot, r.socket, &mut buffer[span], &mut out, c.now);
            assert_eq!(delivered, osier_dataplane::Action::Deliver(&packet));
            for router in [&mut a, &mut r, &mut c] {
                while router.forwarder.poll_activity().is_some() {}
            }
        }
        assert_eq!(allocations() - before, 0, "{engine:?}");
    }
}
