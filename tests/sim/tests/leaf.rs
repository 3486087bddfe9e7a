//! What a phone wants of the mesh: to cost nothing while nothing happens, and to be there at once when something does.

use core::{net::Ipv4Addr, time::Duration};
use osier_proto::node::MeshParameters;
use osier_sim::{
    HostId, World,
    leaf::{self, Plan},
    meter::Meter,
};

/// What an idle leaf may cost, on average.
const OCTETS_A_DAY: f64 = 1e6;
const WAKEUPS_A_MINUTE: f64 = 1.0;
/// Long enough for a leaf to doze.
const REST: Duration = Duration::from_secs(120);
const STEP: Duration = Duration::from_millis(50);

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// A small mesh with a leaf that dozes.
fn dozing(nodes: usize, seed: u64) -> (World, Vec<HostId>, HostId) {
    let (mut world, others, leaf) = leaf::begin(&Plan {
        nodes,
        seed,
        ..Plan::default()
    });
    world.run_for(REST);
    assert!(sleeps(&mut world, leaf), "{:?}", world.meter(leaf));
    (world, others, leaf)
}

/// Whether the leaf keeps quiet for half a minute but for a beat.
fn sleeps(world: &mut World, leaf: HostId) -> bool {
    world.measure(leaf);
    world.run_for(seconds(30));
    world.meter(leaf).is_some_and(|m| m.wakeups <= 1)
}

/// How long an echo takes; `None`: no answer in time.
fn ping(world: &mut World, from: HostId, to: HostId, limit: Duration) -> Option<Duration> {
    let probe = world.probe(from, to);
    world.run_until(limit, STEP, |w| w.probes[&probe].answered.is_some())
}

fn tunnels(world: &World, leaf: HostId) -> usize {
    let tunnels = world.host(leaf).snapshot().tunnels.values();
    tunnels.filter(|t| t.is_open()).count()
}

/// A thousand routes, of an eighth as many hosts, for twelve beats: a thousand hosts take minutes (`osier-sim --leaf
/// --nodes 1000`). They hold few tunnels, so that each that is replaced, one every other second, makes some look for
/// other ways to the leaf.
#[test]
fn an_idle_leaf_with_a_thousand_routes_costs_less_than_a_megabyte_a_day() {
    let outcome = leaf::run(&Plan {
        nodes: 126,
        more_prefixes: 7,
        others: MeshParameters {
            outgoing: 2,
            ..MeshParameters::default()
        },
        window: seconds(12 * 110),
        ..Plan::default()
    });
    let (octets, wakeups) = (outcome.octets_a_day(), outcome.wakeups_a_minute());
    println!(
        "{}{octets:.0} octets a day, {wakeups:.2} wake-ups a minute",
        leaf::table(&outcome)
    );
    assert!(octets <= OCTETS_A_DAY, "{octets:.0} octets a day");
    assert!(wakeups <= WAKEUPS_A_MINUTE, "{wakeups:.2} wake-ups a minute");
    assert_eq!((outcome.tunnels, outcome.routes), (3, 1000));
    // Seqnos that others want are made up for it, however often tunnels are replaced elsewhere.
    let causes: Vec<&String> = outcome.meter.causes.keys().collect();
    assert_eq!(causes, ["timer doze"]);
    assert!(outcome.answered.is_some(), "it is reached all the same");
    assert_eq!(outcome.violations, [""; 0]);
}

#[test]
fn a_leaf_that_dozes_for_hours_is_reached_at_once_and_reaches_everybody() {
    let (mut world, others, leaf) = dozing(30, 1);
    for round in 0..4u32 {
        world.run_for(seconds(1200 + 17 * u64::from(round)));
        let from = others[7 * round as usize];
        let (there, back) = if round % 2 == 0 {
            (from, leaf)
        } else {
            (leaf, from)
        };
        let took = ping(&mut world, there, back, seconds(2));
        println!("round {round}: {took:?}");
        assert!(took.is_some_and(|t| t <= seconds(1)), "round {round}: {took:?}");
        // Traffic goes on without loss.
        let lost = (0..20).filter(|_| ping(&mut world, there, back, seconds(1)).is_none());
        assert_eq!(lost.count(), 0, "round {round}");
        world.run_for(REST);
        assert!(
            sleeps(&mut world, leaf),
            "it dozes again: {:?}",
            world.meter(leaf)
        );
    }
    assert_eq!(tunnels(&world, leaf), 3);
    assert_eq!(world.violations, [""; 0]);
}

#[test]
fn what_changed_while_a_leaf_dozed_it_learns_when_it_wakes() {
    let (mut world, others, leaf) = dozing(30, 2);
    let neighbours: Vec<HostId> = {
        let tunnels = world.host(leaf).snapshot().tunnels.keys().copied();
        tunnels.filter_map(|t| world.peer(leaf, t)).collect()
    };
    // None of them is its neighbour; the mesh settles without a word to the leaf.
    let strangers: Vec<HostId> = others
        .iter()
        .copied()
        .filter(|h| !neighbours.contains(h))
        .collect();
    strangers[..6].iter().for_each(|h| world.kill(*h));
    world.measure(leaf);
    world.run_for(seconds(300));
    let heard = world.meter(leaf).map_or(0, Meter::octets);
    assert!(heard < 4000, "{heard} octets: {:?}", world.meter(leaf));
    world.start(strangers[0]);
    world.run_for(seconds(300));
    for &host in &strangers[6..] {
        assert!(ping(&mut world, leaf, host, seconds(2)).is_some(), "{host:?}");
    }
    assert!(
        ping(&mut world, leaf, strangers[0], seconds(2)).is_some(),
        "one that is back"
    );
    assert!(
        ping(&mut world, leaf, strangers[1], seconds(2)).is_none(),
        "one that is dead"
    );
    assert_eq!(world.violations, [""; 0]);
}

#[test]
fn the_death_of_a_dozing_leafs_neighbour_is_noticed_at_the_next_beat() {
    let (mut world, others, leaf) = dozing(30, 3);
    let tunnel = *world
        .host(leaf)
        .snapshot()
        .tunnels
        .keys()
        .next()
        .expect("a neighbour");
    let neighbour = world.peer(leaf, tunnel).expect("a host");
    world.kill(neighbour);
    world.run_for(seconds(120));
    assert_eq!(tunnels(&world, leaf), 4, "a new one beside the dead");
    let from = *others.iter().find(|h| **h != neighbour).expect("another");
    assert!(ping(&mut world, from, leaf, seconds(2)).is_some());
    assert_eq!(world.violations, [""; 0]);
}

#[test]
fn a_leaf_that_dies_in_its_sleep_is_given_up_two_beats_later() {
    let (mut world, others, leaf) = dozing(30, 4);
    let address = world.host(leaf).address();
    let knows = |w: &World, h: HostId| {
        let hop = w.host(h).snapshot().fib.lookup(address);
        hop.is_some_and(|hop| hop.tunnel().is_some())
    };
    assert!(others.iter().all(|&h| knows(&world, h)));
    world.kill(leaf);
    world.run_for(seconds(220));
    assert!(!others.iter().any(|&h| knows(&world, h)));
    assert_eq!(world.violations, [""; 0]);
}

#[test]
fn another_network_is_used_within_a_second() {
    let (mut world, others, leaf) = dozing(30, 5);
    for round in 0..6 {
        // Asleep with keys, asleep without, and awake.
        world.run_for(seconds([40, 95, 150, 400, 1000, 5][round]));
        if round == 5 {
            let _ = ping(&mut world, leaf, others[3], seconds(2));
        }
        world.change_network(leaf, Some(Ipv4Addr::new(10, 0, 0, 10 + round as u8)));
        world.run_for(seconds(1));
        let from = others[3 + round];
        let took = ping(&mut world, from, leaf, seconds(1));
        println!("round {round}: {took:?}");
        assert!(took.is_some(), "round {round}");
        assert!(
            ping(&mut world, leaf, from, seconds(1)).is_some(),
            "round {round}"
        );
    }
    assert_eq!(world.violations, [""; 0]);
}

#[test]
fn a_leaf_without_a_network_does_nothing_and_is_back_within_a_second_of_one() {
    let (mut world, others, leaf) = dozing(30, 6);
    for pause in [20, 3600] {
        world.change_network(leaf, None);
        world.measure(leaf);
        world.run_for(seconds(pause));
        let meter = world.meter(leaf).expect("it is measured");
        assert_eq!((meter.datagrams(), meter.wakeups), (0, 0), "{:?}", meter.causes);
        let next = world.host(leaf).node().and_then(|n| n.poll_timeout());
        assert_eq!(next, None, "nothing is due");
        world.change_network(leaf, Some(Ipv4Addr::new(10, 0, 0, 77)));
        world.run_for(seconds(1));
        let took = ping(&mut world, others[5], leaf, seconds(1));
        println!("after {pause} s: {took:?}");
        assert!(took.is_some(), "after {pause} s");
        world.run_for(REST);
    }
    assert_eq!(world.violations, [""; 0]);
}

#[test]
fn a_leaf_that_starts_without_a_network_waits_for_one() {
    let (mut world, others, leaf) = leaf::begin(&Plan {
        nodes: 20,
        seed: 7,
        ..Plan::default()
    });
    world.change_network(leaf, None);
    world.run_for(seconds(1));
    world.measure(leaf);
    world.run_for(seconds(7200));
    assert_eq!(
        world.meter(leaf).map(|m| (m.datagrams(), m.wakeups)),
        Some((0, 0))
    );
    world.change_network(leaf, Some(Ipv4Addr::new(10, 0, 0, 9)));
    world.run_for(seconds(2));
    assert!(ping(&mut world, others[0], leaf, seconds(2)).is_some());
}

#[test]
fn after_hours_of_suspension_nobody_is_believed_and_tunnels_are_made_at_once() {
    let (mut world, others, leaf) = dozing(30, 8);
    for hours in [1, 3] {
        world.suspend(leaf);
        world.run_for(seconds(hours * 3600));
        world.wake(leaf);
        let usable = world
            .host(leaf)
            .node()
            .map(|n| n.status(world.now()).usable_neighbours);
        assert_eq!(usable, Some(0), "nobody has answered yet");
        world.run_for(seconds(1));
        let usable = world
            .host(leaf)
            .node()
            .map(|n| n.status(world.now()).usable_neighbours);
        println!("{hours} h: {usable:?} neighbours after a second");
        assert!(usable >= Some(2), "{usable:?}");
        assert!(ping(&mut world, leaf, others[2], seconds(1)).is_some());
        assert!(ping(&mut world, others[9], leaf, seconds(1)).is_some());
        world.run_for(REST);
        assert!(sleeps(&mut world, leaf), "{:?}", world.meter(leaf));
    }
    assert_eq!(world.violations, [""; 0]);
}

#[test]
fn nobody_dials_a_leaf_where_there_are_others_and_two_leaves_alone_find_each_other() {
    let (world, others, leaf) = dozing(12, 9);
    let ours = world.host(leaf).certificate().tunnel_key;
    let held = others.iter().filter(|h| {
        let tunnels = world.host(**h).snapshot().tunnels.values();
        tunnels.into_iter().any(|t| t.session().peer() == ours)
    });
    assert_eq!(held.count(), 3, "those it chose");

    let mut world = World::new(osier_sim::Options::default());
    let options = osier_sim::HostOptions {
        mesh: MeshParameters::leaf(),
        ..Default::default()
    };
    let hosts = world.add_hosts(2, &options);
    world.start_all(&hosts, seconds(1));
    world.run_for(seconds(10));
    assert!(ping(&mut world, hosts[0], hosts[1], seconds(2)).is_some());
    world.run_for(REST);
    assert!(sleeps(&mut world, hosts[0]), "{:?}", world.meter(hosts[0]));
    world.run_for(seconds(3600));
    assert!(ping(&mut world, hosts[1], hosts[0], seconds(2)).is_some());
}

#[test]
fn a_leaf_carries_nothing_for_others_even_where_no_other_way_is_left() {
    let (mut world, others, leaf) = leaf::begin(&Plan {
        nodes: 3,
        seed: 10,
        ..Plan::default()
    });
    world.run_for(seconds(10));
    let (a, b) = (others[0], others[1]);
    assert!(ping(&mut world, a, b, seconds(2)).is_some());
    world.underlay.cut(a, b);
    world.run_for(seconds(30));
    for host in [a, b] {
        assert!(ping(&mut world, host, leaf, seconds(2)).is_some());
        assert!(ping(&mut world, leaf, host, seconds(2)).is_some());
    }
    assert!(ping(&mut world, a, b, seconds(2)).is_none());
    assert!(ping(&mut world, b, a, seconds(2)).is_none());
    assert_eq!(world.violations, [""; 0]);
}
