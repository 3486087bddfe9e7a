//! Peace at last: every link works, every clock runs. Then what can be reached must be reached within a bound,
//! by shortest paths within another, and nothing moves any more.
//!
//! # The bounds
//!
//! Reachability: RFC 8966 resolves starvation by seqno requests, which take round trips and are repeated, so
//! [`REACH_US`] is enough, plus a few Hellos (until links count as good) and the hold time of routes (when all
//! copies of an update or retraction were lost, the next periodic one, or expiry, brings the news), whoever
//! restarted with its newest seqno or another router-id. A node that lost its seqno, or whose clock leapt, is
//! unfeasible until its neighbours forget: one source lifetime more.
//!
//! Shortest paths: a route that is less than a quarter better is taken after 10 s, an unfeasible one is asked
//! for every 5 minutes, and metrics that moved a little are told with the periodic update of each hop.

use crate::case::{Case, Deed, Kind, Memory, PREFIXES, Violation, Weather};
use crate::observer::Via;
use crate::random::mix;
use crate::run;
use crate::world::World;
use core::cmp::Reverse;
use osier_babel::{InterfaceId, Speaker};
use std::collections::BinaryHeap;

/// Until everything that can be reached has a route, besides six Hello intervals.
pub const REACH_US: u64 = 30_000_000;
/// More, when somebody lost its seqno or its clock.
pub const FORGET_US: u64 = 180_000_000;
/// Until all paths are shortest, besides four update intervals for each hop.
pub const SHORTEST_US: u64 = 700_000_000;
/// How long nothing must move afterwards.
const STILL_US: u64 = 100_000_000;

/// How long it took, in virtual microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    pub reached_us: u64,
    pub shortest_us: u64,
}

pub fn settle(world: &mut World, case: &Case) -> Result<Settled, Violation> {
    peace(world, case)?;
    let slowest = |of: fn(&crate::case::LinkSpec) -> u64| case.links.iter().map(of).max().unwrap_or(0) * 1000;
    let (hello, update) = (slowest(|link| link.hello_ms), slowest(|link| link.update_ms));
    let amnesia = case.steps.iter().any(|step| {
        matches!(
            step.deed,
            Deed::Start {
                memory: Memory::Nothing,
                ..
            } | Deed::Leap { .. }
                | Deed::Wake { .. }
                | Deed::Sleep { .. }
        )
    });
    let lifetime = FORGET_US.max(update * 4);
    let reach = REACH_US + hello * 6 + update * 7 / 2 + if amnesia { lifetime } else { 0 };
    let expected = distances(world);
    let reached_us = wait(world, reach, |world| reachability(world, &expected))?;
    let shortest = SHORTEST_US + update * 4 * case.nodes.len() as u64;
    let shortest_us = wait(world, shortest, |world| shortest_paths(world, &expected))?;
    if mix(case.seed, 7).is_multiple_of(4) {
        // What was amiss earlier may still be on its way, and lossy links are remembered for 16 Hellos.
        world.run_until(world.now + update * 2 + hello * 17 + 12_000_000)?;
        wait(world, shortest, |world| shortest_paths(world, &expected))?;
        stillness(world, case)?;
    }
    Ok(Settled {
        reached_us,
        shortest_us,
    })
}

fn peace(world: &mut World, case: &Case) -> Result<(), Violation> {
    let revive = mix(case.seed, 8).is_multiple_of(2);
    world.partition = 0;
    for link in &mut world.links {
        link.weather = Weather {
            // Near enough for the round-trip time to cost nothing.
            delay_us: 2_000,
            jitter_us: 1_000,
            ..Weather::FINE
        };
        link.blocked.fill(false);
    }
    for node in 0..world.nodes.len() {
        run::wake(world, node, true)?;
        if world.nodes[node].speaker.is_none() && revive {
            run::start(case, world, node, Memory::Seqno)?;
        }
        world.nodes[node].refused = 0;
        world.with(node, |speaker, now| speaker.set_announce_penalty(0, now))?;
    }
    for link in 0..world.links.len() {
        for slot in 0..world.links[link].spec.members.len() {
            let node = world.links[link].spec.members[slot];
            if !world.links[link].attached[slot] {
                run::interface(world, link, node, slot, true)?;
            }
            let (id, spec) = (InterfaceId(link as u32), &world.links[link].spec);
            let hello = core::time::Duration::from_millis(spec.hello_ms);
            let cost = world.links[link].costs[slot];
            world.with(node, |speaker, now| {
                speaker.set_link_usable(id, true, now);
                speaker.set_hello_interval(id, hello, now);
                speaker.set_rx_cost(id, cost, now);
            })?;
        }
    }
    Ok(())
}

/// Runs until the condition holds (it says what is amiss), and tells how long that took.
fn wait(
    world: &mut World,
    limit_us: u64,
    amiss: impl Fn(&World) -> Option<(Kind, String)>,
) -> Result<u64, Violation> {
    let start = world.now;
    loop {
        let Some((kind, detail)) = amiss(world) else {
            return Ok(world.now - start);
        };
        let waited = world.now - start;
        if waited >= limit_us {
            return Err(world.violation(kind, format!("after {} s of peace: {detail}", waited / 1_000_000)));
        }
        // Looking costs more than many events: not too often.
        world.run_until(world.now + (100_000 + waited / 8).min(limit_us - waited))?;
    }
}

type Distances = Vec<Vec<Option<u32>>>;

fn alive(world: &World, node: usize) -> bool {
    world.nodes[node].speaker.is_some()
}

/// What the node's link to a neighbour costs when all Hellos arrive (appendix A.2).
fn cost(world: &World, link: usize, node: usize, next: usize) -> u32 {
    let here = &world.links[link];
    let (ours, theirs) = (here.costs[node], here.costs[next]);
    u32::from(if here.spec.etx { theirs.max(ours) } else { theirs })
}

/// The shortest metrics to the nearest origin, by prefix and node.
fn distances(world: &World) -> Distances {
    (0..PREFIXES).map(|at| distances_to(world, at)).collect()
}

fn distances_to(world: &World, at: usize) -> Vec<Option<u32>> {
    let mut found = vec![None; world.nodes.len()];
    let mut queue = BinaryHeap::new();
    for (node, here) in world.nodes.iter().enumerate() {
        if let Some(metric) = here.originates[at].filter(|_| here.speaker.is_some()) {
            queue.push(Reverse((u32::from(metric), node)));
        }
    }
    while let Some(Reverse((metric, node))) = queue.pop() {
        // An origin uses its own route, however far; metrics end where infinity begins.
        let passed_on = world.nodes[node].originates[at].is_none_or(|own| u32::from(own) == metric);
        if found[node].is_some() || metric >= u32::from(osier_babel::INFINITY) || !passed_on {
            continue;
        }
        found[node] = Some(metric);
        for (link, here) in world.links.iter().enumerate() {
            let Some(next) = here.slot(node) else { continue };
            for (slot, asker) in here.spec.members.iter().enumerate() {
                if *asker != node && alive(world, *asker) {
                    queue.push(Reverse((metric + cost(world, link, slot, next), *asker)));
                }
            }
        }
    }
    found
}

/// Nodes and prefixes where a route counts: not the origin's own.
fn places(world: &World) -> impl Iterator<Item = (usize, usize)> + '_ {
    let nodes = (0..world.nodes.len()).filter(|node| alive(world, *node));
    nodes
        .flat_map(|node| (0..PREFIXES).map(move |at| (node, at)))
        .filter(|(node, at)| world.nodes[*node].originates[*at].is_none())
}

fn reachability(world: &World, expected: &Distances) -> Option<(Kind, String)> {
    places(world).find_map(
        |(node, at)| match (world.observer.via(node, at), expected[at][node]) {
            (None, Some(metric)) => Some((
                Kind::Starvation,
                format!("node {node} has no route to prefix {at}, which is at {metric}"),
            )),
            (Some(via), None) => Some((Kind::Ghost, format!("node {node} has {via:?} to prefix {at}"))),
            _ if world.observer.circles(node, at) => {
                Some((Kind::MixedLoop, format!("for prefix {at}, from node {node}")))
            }
            _ => None,
        },
    )
}

fn shortest_paths(world: &World, expected: &Distances) -> Option<(Kind, String)> {
    reachability(world, expected).or_else(|| {
        places(world).find_map(|(node, at)| {
            let metric = world.observer.via(node, at).map(|via| u32::from(via.metric));
            (metric != expected[at][node]).then(|| {
                let expected = expected[at][node];
                (
                    Kind::Detour,
                    format!("node {node} has {metric:?} to prefix {at}, best is {expected:?}"),
                )
            })
        })
    })
}

/// Nothing happens: no route and no seqno changes, and little is said.
fn stillness(world: &mut World, case: &Case) -> Result<(), Violation> {
    let look = |world: &World| {
        let routes = places(world).map(|(node, at)| {
            let place = |via: Via| (via.link, via.next, via.router);
            world.observer.via(node, at).map(place)
        });
        let seqnos = world
            .nodes
            .iter()
            .map(|node| node.speaker.as_ref().map(Speaker::seqno));
        (routes.collect::<Vec<_>>(), seqnos.collect::<Vec<_>>())
    };
    let (before, sent) = (look(world), world.packets_sent);
    world.run_until(world.now + STILL_US)?;
    let after = look(world);
    if before != after {
        let detail = format!("{before:?} became {after:?}");
        return Err(world.violation(Kind::Restless, detail));
    }
    // A Hello per interval, an update, an answer to it, and as much again to spare.
    let quiet: u64 = case
        .links
        .iter()
        .map(|link| {
            let rate = STILL_US / (link.hello_ms * 1000) + 3 * STILL_US / (link.update_ms * 1000);
            link.members.len() as u64 * (rate * 8 / 7 + 2)
        })
        .sum();
    let said = world.packets_sent - sent;
    if said > 2 * quiet {
        let detail = format!(
            "{said} packets in {} s, {quiet} are expected",
            STILL_US / 1_000_000
        );
        return Err(world.violation(Kind::Bounds, detail));
    }
    Ok(())
}
