//! Two hundred hosts, a tenth of the links losing 30 %, twenty silent deaths: every pair of live hosts is
//! reachable within ten seconds of each death, and no table ever forms a loop.

use core::time::Duration;
use osier_sim::{HostId, HostOptions, Options, Traffic, World, soak::Soak, underlay::LinkOptions};

const LIMIT: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(500);

#[test]
fn two_hundred_hosts_survive_twenty_deaths_without_a_loop() {
    let links = LinkOptions {
        lossy_fraction: 0.1,
        lossy_loss: 0.3,
        ..LinkOptions::default()
    };
    let mut world = World::new(Options {
        seed: 2000,
        links,
        ..Options::default()
    });
    let hosts = world.add_hosts(200, &HostOptions::default());
    world.start_all(&hosts, Duration::from_millis(50));
    let together = world.run_until(Duration::from_secs(30), STEP, |w| w.all_reachable());
    println!("200 hosts started over 10 s reach each other {together:?} after the last");
    assert!(together.is_some());

    world.run_for(Duration::from_secs(15));
    let before: Vec<Traffic> = hosts.iter().map(|&h| world.host(h).traffic()).collect();
    world.run_for(Duration::from_secs(30));
    let spent = hosts
        .iter()
        .zip(before)
        .map(|(&h, b)| world.host(h).traffic() - b);
    let (sent, received) = spent.fold((0, 0), |(s, r), t| (s + t.sent_octets, r + t.received_octets));
    let per_host = |octets: u64| octets as f64 / 30.0 / hosts.len() as f64;
    println!(
        "idle, 200 hosts: {:.0} octets/s sent, {:.0} received each",
        per_host(sent),
        per_host(received)
    );

    let mut worst = Duration::ZERO;
    // Eight deaths one by one, then twelve in pairs.
    let victims = world.choose(&hosts, 20);
    let (alone, together) = victims.split_at(8);
    for victims in alone.chunks(1).chain(together.chunks(2)) {
        victims.iter().for_each(|&victim| world.kill(victim));
        let healed = world.run_until(LIMIT, STEP, |w| w.all_reachable());
        let Some(took) = healed else {
            let broken = world.unreachable(&world.running());
            panic!(
                "after the death of {victims:?}, {} pairs are unreachable: {:?}",
                broken.len(),
                broken.first()
            );
        };
        println!("death of {victims:?} healed in {took:?}");
        worst = worst.max(took);
        assert!(world.violations.is_empty(), "{:#?}", world.violations);
        // The tables promise it; a sample of real pings, enough for bad links, keeps the promise.
        let running = world.running();
        let sample = world.choose(&running, 20);
        let pairs: Vec<(HostId, HostId)> = sample.chunks(2).map(|pair| (pair[0], pair[1])).collect();
        let probes: Vec<Vec<u64>> = pairs
            .iter()
            .map(|&(from, to)| (0..12).map(|_| world.probe(from, to)).collect())
            .collect();
        world.run_for(Duration::from_secs(1));
        for ((from, to), probes) in pairs.into_iter().zip(probes) {
            let answered = probes.iter().any(|p| world.probes[p].answered.is_some());
            assert!(
                answered,
                "{from:?} cannot ping {to:?} after the death of {victims:?}"
            );
        }
    }
    println!(
        "worst healing {worst:?}; {} events; trace {}",
        world.events(),
        world.trace_hash()
    );
}

#[test]
fn a_small_mesh_survives_a_long_random_life() {
    for seed in 1..=3 {
        let mut soak = Soak::new(20, seed);
        soak.begin();
        for _ in 0..25 {
            soak.blow();
            assert!(
                soak.summary.failures.is_empty(),
                "seed {seed}: {:#?}",
                soak.summary.failures
            );
        }
        println!("seed {seed}: worst healing {:?}", soak.summary.worst);
    }
}
