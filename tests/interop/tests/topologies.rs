//! Networks of `osier babel`, babeld, BIRD and FRR together: they count alike, and what fails is routed around.
//!
//! After each event every daemon's own metric to every other is compared with the sum of costs of the shortest way,
//! in both families, and pings go all ways.

use osier_interop::Kind::{Babeld, Bird, Frr, Osier};
use osier_interop::network::Network;
use osier_interop::{Key, Kind, Settings, in_lab};
use osier_lab::Result;

const LINE: [(usize, usize); 3] = [(0, 1), (1, 2), (2, 3)];
const RING: [(usize, usize); 5] = [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)];
/// Two ways of two wires from a to d.
const DIAMOND: [(usize, usize); 4] = [(0, 1), (0, 2), (1, 3), (2, 3)];

fn signed() -> Settings {
    Settings {
        keys: vec![Key::HmacSha256("an osier basket bends, not break".to_owned())],
        ..Settings::default()
    }
}

/// All at a time, because they mostly wait.
const SCENARIOS: [fn() -> Result<()>; 8] = [
    a_line_of_all_four,
    a_line_with_osier_at_the_ends,
    a_diamond_of_all_four,
    a_diamond_with_osier_on_both_ways,
    a_ring_of_five,
    a_signed_line,
    a_signed_diamond,
    a_signed_ring_of_five,
];

#[test]
fn all_daemons_count_alike_and_what_fails_is_routed_around() {
    osier_lab::enter();
    let failures: Vec<String> = std::thread::scope(|scope| {
        let running = SCENARIOS.map(|scenario| scope.spawn(scenario));
        running
            .into_iter()
            .filter_map(|scenario| {
                scenario
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                    .err()
            })
            .map(|error| error.to_string())
            .collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

fn network(
    name: &str,
    kinds: &[Kind],
    edges: &[(usize, usize)],
    settings: &Settings,
    test: impl FnOnce(&mut Network) -> Result<()>,
) -> Result<()> {
    in_lab(name, |lab| {
        let mut network = Network::start(lab, kinds, edges, settings)?;
        network.settles("at first")?;
        test(&mut network)
    })
}

/// An end is stopped and started, then one in the middle.
fn line(name: &str, kinds: [Kind; 4], settings: &Settings) -> Result<()> {
    network(name, &kinds, &LINE, settings, |network| {
        network.stop(0)?;
        network.settles("the end has stopped")?;
        network.begin(0)?;
        network.settles("the end is back")?;
        network.stop(2)?;
        network.settles("the middle has stopped")?;
        network.begin(2)?;
        network.settles("the middle is back")
    })
}

/// One way fails silently, then the interface of the other goes down.
fn diamond(name: &str, kinds: [Kind; 4], settings: &Settings) -> Result<()> {
    network(name, &kinds, &DIAMOND, settings, |network| {
        network.cut(1, 3)?;
        network.settles("one way is cut")?;
        network.mend(1, 3)?;
        network.settles("it is mended")?;
        network.interface_down(0, 2)?;
        network.settles("the interface to the other is down")?;
        network.interface_up(0, 2)?;
        network.settles("it is up again")
    })
}

/// A wire of the ring is cut silently, then a daemon dies.
fn ring(name: &str, kinds: [Kind; 5], settings: &Settings) -> Result<()> {
    network(name, &kinds, &RING, settings, |network| {
        network.cut(0, 1)?;
        network.settles("a wire is cut")?;
        network.mend(0, 1)?;
        network.settles("it is mended")?;
        network.kill(3);
        network.settles("a daemon was killed")?;
        network.begin(3)?;
        network.settles("it is back")
    })
}

fn a_line_of_all_four() -> Result<()> {
    line("line4", [Babeld, Osier, Bird, Frr], &Settings::default())
}

fn a_line_with_osier_at_the_ends() -> Result<()> {
    line("line-ends", [Osier, Frr, Babeld, Osier], &Settings::default())
}

fn a_diamond_of_all_four() -> Result<()> {
    diamond("diamond4", [Osier, Babeld, Frr, Bird], &Settings::default())
}

fn a_diamond_with_osier_on_both_ways() -> Result<()> {
    diamond("diamond-ways", [Babeld, Osier, Osier, Bird], &Settings::default())
}

fn a_ring_of_five() -> Result<()> {
    ring("ring5", [Osier, Babeld, Osier, Bird, Frr], &Settings::default())
}

fn a_signed_line() -> Result<()> {
    line("line-mac", [Babeld, Osier, Bird, Osier], &signed())
}

fn a_signed_diamond() -> Result<()> {
    diamond("diamond-mac", [Osier, Babeld, Bird, Osier], &signed())
}

fn a_signed_ring_of_five() -> Result<()> {
    ring("ring-mac", [Osier, Babeld, Osier, Bird, Osier], &signed())
}
