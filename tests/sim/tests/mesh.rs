//! How a mesh of real nodes behaves: small ones, one behaviour each.

use core::time::Duration;
use osier_sim::{HostId, HostOptions, NatOptions, Options, Traffic, World, underlay::LinkOptions};

const STEP: Duration = Duration::from_millis(100);

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// A mesh of so many hosts that all reach each other.
#[track_caller]
fn mesh(nodes: usize, seed: u64) -> (World, Vec<HostId>) {
    let mut world = World::new(Options {
        seed,
        ..Options::default()
    });
    let hosts = world.add_hosts(nodes, &HostOptions::default());
    world.start_all(&hosts, Duration::from_millis(20));
    settle(&mut world, seconds(15));
    (world, hosts)
}

/// Waits until all live hosts reach each other; how long it took.
#[track_caller]
fn settle(world: &mut World, limit: Duration) -> Duration {
    match world.run_until(limit, STEP, |w| w.all_reachable()) {
        Some(took) => took,
        None => {
            let broken = world.unreachable(&world.running());
            panic!(
                "{} pairs unreachable after {limit:?}: {:?} …",
                broken.len(),
                &broken[..broken.len().min(5)]
            );
        }
    }
}

#[track_caller]
fn assert_sound(world: &World) {
    assert!(world.violations.is_empty(), "{:#?}", world.violations);
}

/// Pings between all given pairs at the same time; those without an answer within two seconds.
fn unanswered(world: &mut World, pairs: &[(HostId, HostId)]) -> Vec<(HostId, HostId)> {
    let probes: Vec<u64> = pairs.iter().map(|(a, b)| world.probe(*a, *b)).collect();
    world.run_for(seconds(2));
    let silent = probes.iter().filter(|p| world.probes[p].answered.is_none());
    silent
        .map(|p| (world.probes[p].from, world.probes[p].to))
        .collect()
}

fn all_pairs(hosts: &[HostId]) -> Vec<(HostId, HostId)> {
    hosts
        .iter()
        .flat_map(|&a| hosts.iter().map(move |&b| (a, b)))
        .filter(|(a, b)| a != b)
        .collect()
}

#[test]
fn eight_hosts_find_each_other_and_answer_pings() {
    let mut world = World::new(Options {
        seed: 1,
        ..Options::default()
    });
    let hosts = world.add_hosts(8, &HostOptions::default());
    hosts.iter().for_each(|&h| world.start(h));
    let took = settle(&mut world, seconds(15));
    assert_eq!(unanswered(&mut world, &all_pairs(&hosts)), []);
    println!("8 hosts started together reach each other after {took:?}");
    assert_sound(&world);
}

#[test]
fn a_newcomer_reaches_all_and_is_reached_by_all_within_five_seconds() {
    let (mut world, mut hosts) = mesh(60, 2);
    world.run_for(seconds(30));
    for _ in 0..3 {
        let newcomer = world.add_host(HostOptions::default());
        world.start(newcomer);
        let took = settle(&mut world, seconds(5));
        println!("{newcomer:?} joined in {took:?}");
        hosts.push(newcomer);
    }
    assert_eq!(unanswered(&mut world, &all_pairs(&hosts[50..])), []);
    assert_sound(&world);
}

#[test]
fn a_silent_death_is_routed_around() {
    let (mut world, hosts) = mesh(30, 3);
    world.run_for(seconds(30));
    for victim in world.choose(&hosts, 5) {
        world.kill(victim);
        let took = settle(&mut world, seconds(10));
        println!("death of {victim:?} healed in {took:?}");
        world.run_for(seconds(5));
    }
    assert_sound(&world);
}

/// A pair whose path leads over another host; `None` when all have direct tunnels.
fn relayed_pair(world: &World) -> Option<(HostId, HostId, HostId)> {
    let running = world.running();
    all_pairs(&running).into_iter().find_map(|(a, b)| {
        let path = world.path(a, b).ok()?;
        (path.len() == 3).then(|| (a, path[1], b))
    })
}

#[test]
fn traffic_makes_a_silent_death_heal_within_five_seconds() {
    let (mut world, _) = mesh(40, 4);
    world.run_for(seconds(60));
    let (a, relay, b) = relayed_pair(&world).expect("40 hosts do not all have direct tunnels");
    for _ in 0..40 {
        world.probe(a, b);
        world.run_for(Duration::from_millis(50));
    }
    world.kill(relay);
    let died = world.now();
    for _ in 0..200 {
        world.probe(a, b);
        world.run_for(Duration::from_millis(50));
    }
    let first = world
        .probes
        .values()
        .filter(|p| p.sent >= died && p.answered.is_some())
        .map(|p| p.sent)
        .min();
    let outage = first.expect("pings pass again").saturating_since(died);
    println!("traffic through a dead relay flows again after {outage:?}");
    assert!(outage <= seconds(5), "{outage:?}");
    assert_sound(&world);
}

#[test]
fn a_planned_stop_loses_no_ping() {
    for seed in 5..8 {
        let (mut world, _) = mesh(40, seed);
        world.run_for(seconds(60));
        let (a, relay, b) = relayed_pair(&world).expect("40 hosts do not all have direct tunnels");
        for round in 0..200 {
            if round == 40 {
                world.stop(relay);
            }
            world.probe(a, b);
            world.probe(b, a);
            world.run_for(Duration::from_millis(50));
        }
        world.run_for(seconds(2));
        assert!(world.host(relay).stopped().is_some(), "the stop completes");
        let lost: Vec<_> = world.probes.values().filter(|p| p.answered.is_none()).collect();
        assert!(
            lost.is_empty(),
            "seed {seed}: {} of {} pings lost: {lost:#?}",
            lost.len(),
            world.probes.len()
        );
        settle(&mut world, seconds(1));
        assert_sound(&world);
    }
}

#[test]
fn a_restarted_host_is_back_even_for_those_it_does_not_dial() {
    let (mut world, hosts) = mesh(20, 8);
    world.run_for(seconds(30));
    world.registry.reachable = false;
    for victim in world.choose(&hosts, 3) {
        world.kill(victim);
        world.run_for(Duration::from_millis(500));
        world.start(victim);
        // Who holds a tunnel of its former life notices as it would notice its death.
        let took = settle(&mut world, seconds(10));
        println!("{victim:?} is back after {took:?}, without a registry");
    }
    assert_sound(&world);
}

#[test]
fn all_hosts_restarted_without_a_registry_find_each_other() {
    let (mut world, hosts) = mesh(20, 9);
    world.run_for(seconds(30));
    world.registry.reachable = false;
    hosts.iter().for_each(|&h| world.kill(h));
    world.run_for(seconds(1));
    hosts.iter().for_each(|&h| world.start(h));
    let took = settle(&mut world, seconds(15));
    println!("20 hosts restarted without a registry reach each other after {took:?}");
    assert_sound(&world);
}

#[test]
fn a_partition_heals() {
    for apart in [10, 60, 600] {
        let (mut world, hosts) = mesh(24, 10);
        world.run_for(seconds(30));
        for (i, &host) in hosts.iter().enumerate() {
            world.underlay.set_group(host, u32::from(i % 3 == 0));
        }
        world.run_for(seconds(apart));
        let (one, other): (Vec<_>, Vec<_>) = hosts.iter().partition(|h| h.0 % 3 == 0);
        assert_eq!(world.unreachable(&one), [], "each part is whole");
        assert_eq!(world.unreachable(&other), []);
        world.underlay.heal();
        let took = settle(&mut world, seconds(30));
        println!("a partition of {apart} s healed in {took:?}");
        assert_sound(&world);
    }
}

#[test]
fn cut_links_are_routed_around() {
    let (mut world, hosts) = mesh(20, 11);
    world.run_for(seconds(30));
    // Every link of one host to its present neighbours but one.
    let host = hosts[7];
    let neighbours: Vec<HostId> = world
        .host(host)
        .snapshot()
        .tunnels
        .keys()
        .filter_map(|t| world.peer(host, *t))
        .collect();
    for &neighbour in &neighbours[1..] {
        world.underlay.cut(host, neighbour);
    }
    let took = settle(&mut world, seconds(10));
    println!("{} cut links routed around in {took:?}", neighbours.len() - 1);
    assert_sound(&world);
}

#[test]
fn hosts_behind_nats_are_reached() {
    let mut world = World::new(Options {
        seed: 12,
        ..Options::default()
    });
    let mut hosts = world.add_hosts(8, &HostOptions::default());
    for nat in [
        NatOptions::Restricted,
        NatOptions::Restricted,
        NatOptions::Restricted,
        NatOptions::Mapped,
    ] {
        hosts.push(world.add_host(HostOptions {
            nat,
            ..HostOptions::default()
        }));
    }
    world.start_all(&hosts, Duration::from_millis(50));
    settle(&mut world, seconds(15));
    // Longer than NAT mappings live.
    for _ in 0..10 {
        world.run_for(seconds(60));
        settle(&mut world, seconds(2));
    }
    assert_eq!(unanswered(&mut world, &all_pairs(&hosts)), []);
    assert_sound(&world);
}

#[test]
fn a_revoked_host_loses_its_tunnels_everywhere() {
    let (mut world, hosts) = mesh(20, 13);
    world.run_for(seconds(30));
    let (revoked, others) = (hosts[3], [&hosts[..3], &hosts[4..]].concat());
    // Two hear it from the registry, the others from each other.
    world.revoke(revoked, &others[..2]);
    let key = world.host(revoked).certificate().tunnel_key;
    let prefix = world.host(revoked).prefix();
    let gone = world.run_until(seconds(60), STEP, |w| {
        others.iter().all(|&h| {
            let snapshot = w.host(h).snapshot();
            let tunnel = snapshot
                .tunnels
                .values()
                .any(|t| t.session().peer() == key && t.is_open());
            let route = snapshot
                .fib
                .get(&prefix)
                .is_some_and(|f| f.hop != osier_proto::fib::Hop::Unreachable);
            !tunnel && !route
        })
    });
    println!("a revoked host is out after {gone:?}");
    assert!(gone.is_some(), "still a neighbour or routed to after 60 s");
    assert_eq!(world.unreachable(&others), [], "the others are not hurt");
    world.run_for(seconds(120));
    let back = others.iter().any(|&h| {
        world
            .host(h)
            .snapshot()
            .tunnels
            .values()
            .any(|t| t.is_open() && t.session().peer() == key)
    });
    assert!(!back, "it does not come back");
    assert_sound(&world);
}

#[test]
fn the_same_seed_repeats_a_run_and_another_does_not() {
    let run = |seed| {
        let links = LinkOptions {
            lossy_fraction: 0.2,
            lossy_loss: 0.3,
            ..LinkOptions::default()
        };
        let mut world = World::new(Options {
            seed,
            links,
            ..Options::default()
        });
        let hosts = world.add_hosts(16, &HostOptions::default());
        world.start_all(&hosts, Duration::from_millis(50));
        world.run_for(seconds(20));
        world.kill(hosts[5]);
        world.run_for(seconds(10));
        world.start(hosts[5]);
        world.probe(hosts[0], hosts[5]);
        world.stop(hosts[9]);
        world.run_for(seconds(20));
        assert_sound(&world);
        (world.trace_hash(), world.events())
    };
    let first = run(14);
    assert!(first.1 > 1000);
    assert_eq!(first, run(14));
    assert_ne!(first.0, run(15).0);
}

/// Octets a second sent and received by the busiest host over five minutes without traffic.
fn idle_traffic(nodes: usize, seed: u64) -> (f64, f64) {
    let (mut world, hosts) = mesh(nodes, seed);
    world.run_for(seconds(120));
    let before: Vec<Traffic> = hosts.iter().map(|&h| world.host(h).traffic()).collect();
    world.run_for(seconds(300));
    assert!(world.all_reachable());
    assert_sound(&world);
    let spent: Vec<Traffic> = hosts
        .iter()
        .zip(before)
        .map(|(&h, b)| world.host(h).traffic() - b)
        .collect();
    let busiest = |octets: fn(&Traffic) -> u64| spent.iter().map(octets).max().unwrap_or(0) as f64 / 300.0;
    (busiest(|t| t.sent_octets), busiest(|t| t.received_octets))
}

#[test]
fn an_idle_host_of_eight_sends_and_receives_at_most_half_a_kilobyte_a_second() {
    let (sent, received) = idle_traffic(8, 16);
    println!("idle, 8 hosts: {sent:.0} octets/s sent, {received:.0} received");
    assert!(
        sent <= 500.0 && received <= 500.0,
        "{sent:.0} sent, {received:.0} received"
    );
}
