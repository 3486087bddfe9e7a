//! `osier babel` beside real babeld and BIRD, with real packets, kernel routes and pings.
#![allow(clippy::unwrap_used)]

use osier_interop::{Babeld, Bird, HELLO, Osier, Router, SOON, in_lab, wire};
use osier_lab::{Error, Process, Result, wait_until};
use std::time::Duration;

/// A retraction is sent at once and passes from router to router at once.
const RETRACTION: Duration = Duration::from_secs(5);

/// The bound on noticing a silent loss and moving to a feasible alternative. The last Hello is at most one
/// interval old when the wire is cut, and with 2-out-of-3 the link is gone when two are missing: after three
/// and a half intervals with the tolerance of RFC 8966 appendix A.1. Two more for the updates, and all of it
/// doubled, because the machine runs many tests at a time.
const FAILOVER: Duration = HELLO.saturating_mul(11);

/// Both routers reach each other: a ping comes back in both families.
fn reach_each_other(a: &Router, b: &Router) -> Result<()> {
    let what = format!("{} and {} reach each other", a.name(), b.name());
    wait_until(SOON, &what, || a.reaches(b) && b.reaches(a)).map(drop)
}

/// A stock daemon that runs beside Osier.
type Start = fn(&Router, &[&Router]) -> Result<Process>;

fn babeld(router: &Router, neighbours: &[&Router]) -> Result<Process> {
    Babeld::start(router, neighbours).map(|daemon| daemon.process)
}

fn bird(router: &Router, neighbours: &[&Router]) -> Result<Process> {
    Bird::start(router, neighbours).map(|daemon| daemon.process)
}

/// The stock daemons alone: if this fails, the lab is wrong and not Osier.
#[test]
fn babeld_and_bird_reach_each_other_in_this_lab() -> Result<()> {
    in_lab("stock", |lab| {
        let (a, b) = (Router::new(lab, "a", 1)?, Router::new(lab, "b", 2)?);
        let _wire = wire(lab, &a, &b)?;
        let _babeld = Babeld::start(&a, &[&b])?;
        let _bird = Bird::start(&b, &[&a])?;
        reach_each_other(&a, &b)?;
        wait_until(SOON, "both count 96 for the wire", || {
            Babeld::metric(&a, "10.2.0.0/24") == Some(96) && Bird::metric(&b, "10.1.0.1/32") == Some(96)
        })
        .map(drop)
    })
}

/// Routes are learnt both ways in both families, installed, used by pings, and retracted both ways.
fn pairs_with(name: &str, stock: Start) -> Result<()> {
    in_lab(name, |lab| {
        let (a, b) = (Router::new(lab, "a", 1)?, Router::new(lab, "b", 2)?);
        let _wire = wire(lab, &a, &b)?;
        let mut osier = Osier::start(&a, &[&b])?;
        let mut other = stock(&b, &[&a])?;
        reach_each_other(&a, &b)?;
        assert!(
            a.goes_over(&b, &b) && b.goes_over(&a, &a),
            "{}{}",
            a.way_to(&b),
            b.way_to(&a)
        );

        let report = osier.dump()?;
        let mine: Vec<_> = report.routes.iter().filter(|route| route.installed).collect();
        assert!(mine.len() >= 2, "{report:?}");
        for route in mine {
            assert_eq!(
                (route.metric, route.feasible, route.dev.as_str()),
                (96, true, "to-b"),
                "{route:?}"
            );
            assert_eq!(
                (route.router_id.len(), route.src.as_deref()),
                (16, None),
                "{route:?}"
            );
        }
        let [neighbour] = report.neighbours.as_slice() else {
            panic!("{report:?}")
        };
        assert_eq!(neighbour.addr, b.netns.link_local("to-a")?.to_string());
        assert_eq!((neighbour.cost, neighbour.dev.as_str()), (96, "to-b"));

        // It stops: we retract. A prefix is held unreachable before it is forgotten (RFC 8966 3.5.4).
        other.terminate(SOON)?;
        wait_until(RETRACTION, "osier loses what the other retracted", || {
            !a.forwards_to(&b)
        })?;
        assert!(a.holds_unreachable(&b), "{}", a.kernel_routes());

        let other = stock(&b, &[&a])?;
        reach_each_other(&a, &b)?;

        // We stop: it loses ours, and our kernel is as it was.
        let status = osier.process.terminate(SOON)?;
        assert_eq!(status.code(), Some(0), "{}", osier.process.log());
        assert!(
            !a.kernel_routes().contains("metric 1042"),
            "{}",
            a.kernel_routes()
        );
        wait_until(RETRACTION, "the other loses what osier retracted", || {
            !b.forwards_to(&a)
        })?;
        assert!(osier.dump().is_err());
        drop(other);
        Ok(())
    })
}

#[test]
fn osier_and_babeld_route_for_each_other_and_retract() -> Result<()> {
    pairs_with("with-babeld", babeld)
}

#[test]
fn osier_and_bird_route_for_each_other_and_retract() -> Result<()> {
    pairs_with("with-bird", bird)
}

#[test]
fn a_line_of_three_daemons_carries_traffic_end_to_end_and_passes_retractions_on() -> Result<()> {
    in_lab("line", |lab| {
        let (a, b, c) = (
            Router::new(lab, "a", 1)?,
            Router::new(lab, "b", 2)?,
            Router::new(lab, "c", 3)?,
        );
        let _wires = (wire(lab, &a, &b)?, wire(lab, &b, &c)?);
        let mut left = Babeld::start(&a, &[&b])?;
        let _middle = Osier::start(&b, &[&a, &c])?;
        let mut right = Bird::start(&c, &[&b])?;
        reach_each_other(&a, &c)?;
        wait_until(SOON, "both ends count 192", || {
            Babeld::metric(&a, "10.3.0.0/24") == Some(192) && Bird::metric(&c, "10.1.0.1/32") == Some(192)
        })?;

        left.process.terminate(SOON)?;
        wait_until(RETRACTION, "BIRD loses babeld's routes", || !c.forwards_to(&a))?;
        assert!(c.reaches(&b));
        let _left = Babeld::start(&a, &[&b])?;
        reach_each_other(&a, &c)?;
        right.process.terminate(SOON)?;
        wait_until(RETRACTION, "babeld loses BIRD's routes", || !a.forwards_to(&c)).map(drop)
    })
}

#[test]
fn costs_add_up_as_in_babeld() -> Result<()> {
    in_lab("metric", |lab| {
        let routers =
            [("a", 1), ("b", 2), ("c", 3), ("d", 4)].map(|(name, number)| Router::new(lab, name, number));
        let [a, b, c, d] = routers;
        let (a, b, c, d) = (a?, b?, c?, d?);
        let _wires = (wire(lab, &a, &b)?, wire(lab, &b, &c)?, wire(lab, &c, &d)?);
        let first = Osier::start(&a, &[&b])?;
        let _second = Osier::start_with(&b, &[&a, &c], &["--rxcost", "to-c=200"])?;
        let _third = Babeld::start(&c, &[&b, &d])?;
        let _fourth = Babeld::start(&d, &[&c])?;
        reach_each_other(&a, &d)?;
        // A link costs its sender what its receiver asks: a to b 96, b to c 96, c to d 96; back d to c 96,
        // c to b the 200 that b asks, b to a 96.
        wait_until(SOON, "osier counts 288 and babeld 392", || {
            let here = first.installed("10.4.0.1/32").map(|route| route.metric);
            (here, Babeld::metric(&d, "10.1.0.0/24")) == (Some(288), Some(392))
        })
        .map(drop)
    })
}

#[test]
fn a_silent_loss_in_a_diamond_is_routed_around_and_kernel_routes_are_replaced_in_place() -> Result<()> {
    in_lab("diamond", |lab| {
        let routers =
            [("a", 1), ("b", 2), ("c", 3), ("d", 4)].map(|(name, number)| Router::new(lab, name, number));
        let [a, b, c, d] = routers;
        let (a, b, c, d) = (a?, b?, c?, d?);
        let far = wire(lab, &b, &d)?;
        let _others = (wire(lab, &a, &b)?, wire(lab, &a, &c)?, wire(lab, &c, &d)?);
        let near_end = Osier::start(&a, &[&b, &c])?;
        let _upper = Babeld::start(&b, &[&a, &d])?;
        let _lower = Bird::start_with(&c, &[&a, &d], 150)?;
        let far_end = Osier::start(&d, &[&b, &c])?;
        wait_until(SOON, "both ends use the cheaper way", || {
            a.goes_over(&d, &b) && d.goes_over(&a, &b) && a.reaches(&d)
        })?;
        let others = |prefix: &str| {
            let routes = near_end.dump().map(|report| report.routes).unwrap_or_default();
            routes
                .into_iter()
                .filter(|r| r.prefix == prefix && !r.installed && r.feasible)
                .count()
        };
        wait_until(SOON, "the dump shows the other way too", || {
            d.prefixes().iter().all(|prefix| others(prefix.as_str()) == 1)
        })?;

        let mut monitor = a.netns.command("ip");
        monitor.args(["monitor", "route"]);
        let monitor = a.netns.spawn("monitor", monitor)?;
        wait_until(SOON, "the monitor listens", || {
            // Repeated, because the first may come before it listens; and taken away again, because the kernel
            // tells nothing of a route that replaces its like.
            let _ = a
                .netns
                .shell("ip route add blackhole 192.0.2.1; ip route del blackhole 192.0.2.1");
            monitor.log().contains("192.0.2.1")
        })?;
        // Carrier and neighbours stay up on the near side: only Hellos beyond b tell.
        far.cut()?;
        let took = wait_until(FAILOVER, "both ends use the other way", || {
            a.goes_over(&d, &c) && d.goes_over(&a, &c) && a.reaches(&d)
        })?;
        println!("moved to the other way in {took:?}");
        for prefix in d.prefixes() {
            assert!(monitor.log().contains(&prefix), "{}", monitor.log());
            assert!(
                !monitor.log().contains(&format!("Deleted {prefix}")),
                "{}",
                monitor.log()
            );
        }

        far.mend()?;
        let back = wait_until(SOON, "both ends return to the cheaper way", || {
            a.goes_over(&d, &b) && d.goes_over(&a, &b) && a.reaches(&d)
        });
        back.map(drop).map_err(|e| {
            let (here, there) = (near_end.dump(), far_end.dump());
            Error::new(format!(
                "{e}\n{}{}{here:#?}\n{there:#?}",
                a.way_to(&d),
                d.way_to(&a)
            ))
        })
    })
}

#[test]
fn a_router_that_crashed_is_reachable_soon_after_it_starts_again() -> Result<()> {
    in_lab("restart", |lab| {
        let (a, b, c) = (
            Router::new(lab, "a", 1)?,
            Router::new(lab, "b", 2)?,
            Router::new(lab, "c", 3)?,
        );
        let _wires = (wire(lab, &a, &b)?, wire(lab, &b, &c)?);
        let mut end = Osier::start(&a, &[&b])?;
        let mut middle = Babeld::start(&b, &[&a, &c])?;
        let _far = Bird::start(&c, &[&b])?;
        reach_each_other(&a, &c)?;
        let before = end.installed("10.3.0.0/24").map(|route| route.router_id);

        end.process.kill();
        let end = Osier::start(&a, &[&b])?;
        wait_until(Duration::from_secs(10), "the restarted end is reachable", || {
            end.installed("10.3.0.0/24").is_some() && c.reaches(&a)
        })?;
        assert_eq!(end.installed("10.3.0.0/24").map(|route| route.router_id), before);

        // The same for one in the middle, in place of babeld this time.
        middle.process.terminate(SOON)?;
        let mut middle = Osier::start(&b, &[&a, &c])?;
        reach_each_other(&a, &c)?;
        middle.process.kill();
        let _middle = Osier::start(&b, &[&a, &c])?;
        wait_until(
            Duration::from_secs(10),
            "traffic passes the restarted middle",
            || a.reaches(&c) && c.reaches(&a),
        )
        .map(drop)
    })
}

#[test]
fn a_burst_of_routes_is_installed_without_loss_and_leaves_as_one() -> Result<()> {
    const ROUTES: u16 = 3000;
    in_lab("burst", |lab| {
        let (a, b) = (Router::new(lab, "a", 1)?, Router::new(lab, "b", 2)?);
        let _wire = wire(lab, &a, &b)?;
        let _osier = Osier::start(&a, &[&b])?;
        let mut bird = Bird::start_with_table(&b, &[&a], ROUTES)?;
        let starting = |start: &str| {
            a.kernel_routes()
                .lines()
                .filter(|line| line.starts_with(start))
                .count()
        };
        wait_until(SOON, "all are installed", || {
            starting("10.200.") == usize::from(ROUTES)
        })?;
        bird.process.terminate(SOON)?;
        wait_until(SOON, "all are held unreachable", || {
            starting("unreachable 10.200.") == usize::from(ROUTES)
        })
        .map(drop)
    })
}
