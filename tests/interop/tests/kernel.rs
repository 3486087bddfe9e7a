//! What `osier babel` does to the machine it runs on.
#![allow(clippy::unwrap_used)]

use osier_interop::{Osier, Router, SOON, in_lab, wire};
use osier_lab::{Result, wait_until};
use std::ffi::OsString;
use std::process::Output;

/// Two osier routers a and b that reach each other, and what a test does with them.
fn with_pair(name: &str, test: impl FnOnce(&Router, &Router, Osier, Osier) -> Result<()>) -> Result<()> {
    in_lab(name, |lab| {
        let (a, b) = (Router::new(lab, "a", 1)?, Router::new(lab, "b", 2)?);
        let _wire = wire(lab, &a, &b)?;
        let (at_a, at_b) = (Osier::start(&a, &[&b])?, Osier::start(&b, &[&a])?);
        wait_until(SOON, "they reach each other", || a.reaches(&b) && b.reaches(&a))?;
        test(&a, &b, at_a, at_b)
    })
}

/// Runs `osier babel` where it should fail at once.
fn failure(router: &Router, neighbours: &[&Router], options: &[&str]) -> Result<Output> {
    fails(router, &Osier::arguments(router, neighbours, options))
}

fn fails(router: &Router, arguments: &[OsString]) -> Result<Output> {
    let mut command = router.netns.command("timeout");
    command.arg("20").arg(osier_interop::binary()?).args(arguments);
    let output = command
        .output()
        .map_err(|e| osier_lab::Error::new(e.to_string()))?;
    assert!(!output.status.success());
    Ok(output)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn routes_that_a_crash_left_behind_are_removed_and_those_of_others_are_not() -> Result<()> {
    with_pair("crash", |a, b, mut at_a, at_b| {
        at_a.process.kill();
        drop(at_b);
        assert!(a.forwards_to(b), "{}", a.kernel_routes());
        a.netns
            .run("ip route add 198.51.100.0/24 dev to-b proto babel metric 7")?;
        a.netns
            .run("ip route add 203.0.113.0/24 dev to-b proto static metric 1042")?;
        a.netns
            .run("ip -6 route add 2001:db8::/32 dev to-b proto babel metric 7")?;
        a.netns
            .run("ip route add 10.2.0.0/24 dev to-b proto babel metric 1042 table 77")?;
        let _at_a = Osier::start(a, &[b])?;
        wait_until(SOON, "the old routes are removed", || !a.forwards_to(b))?;
        let rest = a.kernel_routes();
        for foreign in ["198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"] {
            assert!(rest.contains(foreign), "{foreign} in {rest}");
        }
        assert!(a.netns.run("ip route show table 77")?.contains("10.2.0.0/24"));
        Ok(())
    })
}

#[test]
fn an_interface_that_goes_down_and_up_again_is_used_again() -> Result<()> {
    with_pair("updown", |a, b, at_a, _at_b| {
        a.netns.run("ip link set dev to-b down")?;
        wait_until(SOON, "the neighbour is forgotten", || {
            at_a.dump()
                .is_ok_and(|report| report.neighbours.is_empty() && report.routes.is_empty())
        })?;
        assert!(!a.forwards_to(b), "{}", a.kernel_routes());
        a.netns.run("ip link set dev to-b up")?;
        wait_until(SOON, "they reach each other again", || {
            a.reaches(b) && b.reaches(a)
        })?;

        // So quickly that it looks the same before and after: the kernel has dropped the routes nevertheless.
        a.netns
            .shell("ip link set dev to-b down; ip link set dev to-b up")?;
        wait_until(SOON, "they reach each other once more", || {
            a.reaches(b) && b.reaches(a)
        })
        .map(drop)
    })
}

#[test]
fn an_interface_that_is_made_after_the_start_is_used() -> Result<()> {
    in_lab("late", |lab| {
        let (a, b, c) = (
            Router::new(lab, "a", 1)?,
            Router::new(lab, "b", 2)?,
            Router::new(lab, "c", 3)?,
        );
        let _first = wire(lab, &a, &b)?;
        let at_a = Osier::start(&a, &[&b, &c])?;
        let _at_b = Osier::start(&b, &[&a])?;
        wait_until(SOON, "the first interface is used", || a.reaches(&b))?;
        assert!(
            at_a.process.log().contains("does not exist"),
            "{}",
            at_a.process.log()
        );
        let _second = wire(lab, &a, &c)?;
        let _at_c = Osier::start(&c, &[&a])?;
        wait_until(SOON, "the second interface is used", || {
            b.reaches(&c) && c.reaches(&b)
        })
        .map(drop)
    })
}

#[test]
fn a_better_route_of_the_administrator_is_left_in_peace() -> Result<()> {
    with_pair("foreign", |a, b, at_a, _at_b| {
        a.netns.run("ip route add blackhole 10.2.0.0/24 metric 5")?;
        assert!(at_a.installed("10.2.0.0/24").is_some());
        assert!(!a.reaches(b));
        a.netns.run("ip route del blackhole 10.2.0.0/24 metric 5")?;
        wait_until(SOON, "our route is used again", || a.reaches(b)).map(drop)
    })
}

#[test]
fn forwarding_that_is_off_is_told_with_the_remedy() -> Result<()> {
    in_lab("forwarding", |lab| {
        let (a, b) = (Router::new(lab, "a", 1)?, Router::new(lab, "b", 2)?);
        let _wire = wire(lab, &a, &b)?;
        a.netns.sysctl("net.ipv4.ip_forward", "0")?;
        let at_a = Osier::start(&a, &[&b])?;
        wait_until(SOON, "the warning", || {
            at_a.process.log().contains("sysctl -w net.ipv4.ip_forward=1")
        })?;
        assert!(
            !at_a.process.log().contains("net.ipv6.conf.all.forwarding"),
            "{}",
            at_a.process.log()
        );
        Ok(())
    })
}

#[test]
fn a_second_daemon_is_refused_with_a_reason_and_does_no_harm() -> Result<()> {
    with_pair("twice", |a, b, at_a, _at_b| {
        for (options, reason) in [
            (["--kernel-metric", "1042"], "metric 1042"),
            (["--kernel-metric", "1043"], "already listens"),
        ] {
            let output = failure(a, &[b], &options)?;
            assert!(said(&output).contains(reason), "{options:?}: {}", said(&output));
        }
        let mut arguments = Osier::arguments(a, &[b], &["--kernel-metric", "1043"]);
        let path = arguments
            .iter()
            .position(|argument| argument == "--control")
            .unwrap()
            + 1;
        arguments[path] = a.netns.directory().join("other.sock").into();
        let output = fails(a, &arguments)?;
        assert!(said(&output).contains("6696"), "{}", said(&output));
        assert!(at_a.dump().is_ok() && a.reaches(b), "{}", a.kernel_routes());
        Ok(())
    })
}

#[test]
fn without_the_right_capabilities_it_says_which() -> Result<()> {
    in_lab("capability", |lab| {
        let (a, b) = (Router::new(lab, "a", 1)?, Router::new(lab, "b", 2)?);
        let _wire = wire(lab, &a, &b)?;
        let mut powerless = a.netns.command("setpriv");
        powerless.args([
            "--bounding-set",
            "-net_admin,-net_raw",
            "--inh-caps",
            "-net_admin,-net_raw",
        ]);
        powerless.args(["timeout", "20"]).arg(osier_interop::binary()?);
        powerless.args(Osier::arguments(&a, &[&b], &[]));
        let output = powerless
            .output()
            .map_err(|e| osier_lab::Error::new(e.to_string()))?;
        assert!(
            !output.status.success() && said(&output).contains("CAP_NET_ADMIN"),
            "{}",
            said(&output)
        );
        Ok(())
    })
}

#[test]
fn nonsense_on_the_command_line_is_refused_with_a_reason() -> Result<()> {
    in_lab("nonsense", |lab| {
        let (a, b) = (Router::new(lab, "a", 1)?, Router::new(lab, "b", 2)?);
        let _wire = wire(lab, &a, &b)?;
        for (options, reason) in [
            (["--router-id", "xyz"], "16 hexadecimal digits"),
            (["--rxcost", "to-b=0"], "1 to 65534"),
            (["-p", "fe80::/64"], "fe80::/64"),
            (["-i", "to-b"], "twice"),
        ] {
            let output = failure(&a, &[&b], &options)?;
            assert!(said(&output).contains(reason), "{options:?}: {}", said(&output));
        }
        let missing = failure(&a, &[&Router::new(lab, "nowhere", 9)?], &[])?;
        assert!(said(&missing).contains("--router-id"), "{}", said(&missing));
        Ok(())
    })
}
