//! What must hold at any size.

#![allow(clippy::unwrap_used)]

use osier_babel_bench::engine::Engine;
use osier_babel_bench::feed::{Feed, Version};
use osier_babel_bench::memory::Counting;
use osier_babel_bench::mesh::{Mesh, Plan};
use std::sync::Mutex;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations are counted for the whole program: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

const FEED: Feed = Feed {
    prefixes: 2000,
    neighbours: 10,
};

#[test]
fn an_unchanged_refresh_allocates_nothing() {
    let _alone = ALONE.lock();
    let mut engine = Engine::new(FEED);
    engine.dump(Version::First);
    let refresh = engine.dump(Version::First);
    assert_eq!((refresh.allocations, refresh.changes), (0, 0));
    assert_eq!(engine.speaker.routes().count(), FEED.routes());
    assert_ne!(engine.dump(Version::Second).changes, 0);
}

#[test]
fn a_route_takes_little_memory() {
    let _alone = ALONE.lock();
    let mut engine = Engine::new(FEED);
    engine.dump(Version::First);
    let octets = engine.octets_per_route();
    assert!(octets < 130.0, "{octets}");
}

#[test]
fn a_mesh_of_a_hundred_nodes_converges_and_finds_all_shortest_paths() {
    let _alone = ALONE.lock();
    let mut mesh = Mesh::start(Plan {
        nodes: 100,
        degree: 10,
        loss: 2,
        seed: 7,
    });
    assert!(mesh.converge(Duration::from_secs(30)).is_some());
    // Link costs follow the loss, so the shortest paths move; every node goes on reaching every other.
    assert!(mesh.converge(Duration::from_secs(30)).is_some());
    let mut quiet = Mesh::start(Plan {
        nodes: 100,
        degree: 10,
        loss: 0,
        seed: 8,
    });
    assert!(quiet.settle(Duration::from_secs(1800)).is_some());
}
