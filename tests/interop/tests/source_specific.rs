//! Source-specific routes (RFC 9079) and IPv4 routes with IPv6 next hops (RFC 9229), with babeld and BIRD.
#![allow(clippy::unwrap_used)]

use osier_interop::{Babeld, Bird, Osier, Router, SOON, Settings, in_lab, wire};
use osier_lab::{Lab, Result, Wire, wait_until};

/// A wire without IPv4 addresses.
fn ipv6_wire(lab: &Lab, a: &Router, b: &Router) -> Result<Wire> {
    lab.wire(
        (&a.netns, &format!("to-{}", b.name())),
        (&b.netns, &format!("to-{}", a.name())),
    )
}

/// The kernel's IPv6 routes that start like this.
fn routes_v6(router: &Router, start: &str) -> Vec<String> {
    let table = router.netns.run("ip -6 route show").unwrap_or_default();
    let lines = table.lines().filter(|line| line.starts_with(start));
    lines.map(str::to_owned).collect()
}

/// Whether the kernel would send a packet of its own from one address to another.
fn sends(router: &Router, from: &str, to: &str) -> bool {
    router
        .netns
        .run(&format!("ip -6 route get {to} from {from}"))
        .is_ok_and(|way| way.contains(" dev to-"))
}

#[test]
fn ipv4_crosses_links_that_have_no_ipv4_addresses() -> Result<()> {
    in_lab("v4viav6", |lab| {
        let (a, b, c) = (
            Router::new(lab, "a", 1)?,
            Router::new(lab, "b", 2)?,
            Router::new(lab, "c", 3)?,
        );
        let _ab = ipv6_wire(lab, &a, &b)?;
        let _bc = ipv6_wire(lab, &b, &c)?;
        let at_a = Osier::start(&a, &[&b])?;
        let at_b = Osier::start(&b, &[&a, &c])?;
        let at_c = Babeld::announcing(
            &c,
            &[&b],
            &Settings::default(),
            &["redistribute local if lo allow", "redistribute local deny"],
        )?;
        wait_until(SOON, "a and c reach each other", || {
            a.reaches(&c) && c.reaches(&a)
        })?;
        let route = at_a.installed("10.3.0.1/32").unwrap();
        assert!(route.via.starts_with("fe80::"), "{route:?}");
        let table = c.kernel_routes();
        assert!(table.contains("10.1.0.0/24 via inet6 fe80::"), "{table}");

        // A node in the middle that goes takes all of it away, and only once.
        drop(at_b);
        wait_until(SOON, "the routes are gone", || {
            at_a.installed("10.3.0.1/32").is_none() && !a.forwards_to(&c) && !c.forwards_to(&a)
        })?;
        drop(at_c);
        Ok(())
    })
}

#[test]
fn a_link_that_gets_an_ipv4_address_uses_it() -> Result<()> {
    in_lab("v4later", |lab| {
        let (a, b) = (Router::new(lab, "a", 1)?, Router::new(lab, "b", 2)?);
        let _ab = ipv6_wire(lab, &a, &b)?;
        let at_a = Osier::start(&a, &[&b])?;
        let _at_b = Osier::start(&b, &[&a])?;
        let next_hop_is = |start: &str| {
            at_a.installed("10.2.0.0/24")
                .is_some_and(|route| route.via.starts_with(start))
        };
        wait_until(SOON, "IPv4 by an IPv6 next hop", || {
            next_hop_is("fe80::") && a.reaches(&b)
        })?;
        a.netns.address("to-b", "192.0.2.1/24")?;
        b.netns.address("to-a", "192.0.2.2/24")?;
        wait_until(SOON, "IPv4 by an IPv4 next hop", || {
            next_hop_is("192.0.2.2") && a.reaches(&b) && b.reaches(&a)
        })
        .map(drop)
    })
}

#[test]
fn source_specific_routes_go_both_ways_between_osier_and_babeld() -> Result<()> {
    in_lab("sources", |lab| {
        let (a, b, c) = (
            Router::new(lab, "a", 1)?,
            Router::new(lab, "b", 2)?,
            Router::new(lab, "c", 3)?,
        );
        let _ab = wire(lab, &a, &b)?;
        let _bc = wire(lab, &b, &c)?;
        // c has two uplinks to one destination, of which one is for customers with addresses of a only.
        c.netns
            .run("ip -6 route add unreachable 2001:db8:f::/48 proto static")?;
        let at_c = Babeld::announcing(
            &c,
            &[&b],
            &Settings::default(),
            &[
                "redistribute ip 2001:db8:f::/48 eq 48 src-prefix fd00:0:0:1::/64",
                "redistribute local if lo allow",
                "redistribute local deny",
            ],
        )?;
        let _at_b = Osier::start(&b, &[&a, &c])?;
        let at_a = Osier::start_with(&a, &[&b], &["--source-prefix", "fd00:0:0:3::/64"])?;
        let expected = "2001:db8:f::/48 from fd00:0:0:1::/64 via fe80::";
        wait_until(SOON, "a has the route of c for its own addresses", || {
            routes_v6(&a, expected).len() == 1 && routes_v6(&b, expected).len() == 1
        })?;
        let route = at_a.installed("2001:db8:f::/48").unwrap();
        assert_eq!(route.src.as_deref(), Some("fd00:0:0:1::/64"));
        assert!(sends(&a, &a.v6(), "2001:db8:f::1"));
        a.netns.address("lo", "fd00:0:0:77::1/64")?;
        assert!(!sends(&a, "fd00:0:0:77::1", "2001:db8:f::1"));

        // And c has what a announces for addresses of c only.
        wait_until(SOON, "c has the route of a", || {
            routes_v6(&c, "fd00:0:0:1::/64 from fd00:0:0:3::/64 via fe80::").len() == 1
        })?;
        assert!(sends(&c, &c.v6(), &a.v6()));
        assert!(
            routes_v6(&b, "fd00:0:0:1::/64 via").is_empty(),
            "never as a plain route: {}",
            b.kernel_routes()
        );
        // Destinations come first (RFC 9079 section 4): a longer prefix for all sources beats a source.
        let longer = "2001:db8:f:1::/64";
        b.netns.run(&format!("ip -6 route add blackhole {longer}"))?;
        assert!(!sends(&b, &a.v6(), "2001:db8:f:1::1") && sends(&b, &a.v6(), "2001:db8:f:2::1"));

        drop(at_c);
        wait_until(SOON, "the route is gone", || {
            routes_v6(&a, "2001:db8:f::/48").is_empty()
        })
        .map(drop)
    })
}

#[test]
fn a_daemon_without_source_specific_routes_never_sees_one_as_plain() -> Result<()> {
    in_lab("plain", |lab| {
        let (a, b) = (Router::new(lab, "a", 1)?, Router::new(lab, "b", 2)?);
        let _ab = wire(lab, &a, &b)?;
        let _at_b = Bird::start(&b, &[&a])?;
        let at_a = Osier::start_with(&a, &[&b], &["--source-prefix", "2001:db8::/32"])?;
        wait_until(SOON, "the IPv4 prefix arrives", || {
            b.kernel_routes().contains("10.1.0.0/24 via")
        })?;
        assert!(
            routes_v6(&b, "fd00:0:0:1::/64").is_empty(),
            "{}",
            b.kernel_routes()
        );
        // The session is sound: the other direction works in both families.
        wait_until(SOON, "a has the routes of b", || a.forwards_to(&b))?;
        drop(at_a);
        Ok(())
    })
}
