//! What an operator of `osier babel` sees and sets: the configuration file, rules, redistribution, reload, the
//! dump, and what the kernel is told.
#![allow(clippy::unwrap_used)]

use osier_interop::{Babeld, HELLO, Osier, Router, SOON, UPDATE, in_lab, wire};
use osier_lab::{Process, Result, wait_until};
use std::path::PathBuf;

const SIGHUP: i32 = 1;

/// A configuration file that speaks to `neighbours` and announces the router's prefixes.
struct File {
    path: PathBuf,
    base: String,
}

impl File {
    fn new(router: &Router, neighbours: &[&Router]) -> Self {
        let mut base = format!(
            "hello-ms = {}\nupdate-ms = {}\nprefixes = {:?}\n",
            HELLO.as_millis(),
            UPDATE.as_millis(),
            router.prefixes()
        );
        for neighbour in neighbours {
            base += &format!("[[interface]]\nname = \"to-{}\"\n", neighbour.name());
        }
        let path = router.netns.directory().join(format!("{}.toml", router.name()));
        let file = Self { path, base };
        file.write("");
        file
    }

    /// Replaces what stands behind the usual contents.
    fn write(&self, more: &str) {
        std::fs::write(&self.path, format!("{}{more}", self.base)).unwrap();
    }

    fn reload(&self, osier: &mut Osier, more: &str) -> Result<()> {
        self.write(more);
        osier.process.signal(SIGHUP)
    }
}

/// Whether the kernel forwards something by this very prefix.
fn has(router: &Router, prefix: &str) -> bool {
    let start = format!("{prefix} ");
    router
        .kernel_routes()
        .lines()
        .any(|line| line.starts_with(&start))
}

/// The kernel's record of changes to routes, from now on.
fn monitor(router: &Router) -> Result<Process> {
    let mut command = router.netns.command("ip");
    command.args(["monitor", "route"]);
    let process = router.netns.spawn("monitor", command)?;
    // It hears when it tells of a change that we made.
    let sign = "ip route add blackhole 192.0.2.1/32; ip route del blackhole 192.0.2.1/32";
    wait_until(SOON, "the monitor hears", || {
        router.netns.shell(sign).is_ok() && process.log().contains("192.0.2.1")
    })?;
    Ok(process)
}

/// Removals in the record, except those of `monitor` itself.
fn removals(record: &Process) -> Vec<String> {
    let log = record.log();
    log.lines()
        .filter(|line| line.contains("Deleted") && line.contains("proto babel"))
        .map(str::to_owned)
        .collect()
}

fn state_of(osier: &Osier, prefix: &str) -> Option<String> {
    let document = osier.dump_document(&[prefix]).ok()?;
    Some(document["routes"][0]["state"].as_str()?.to_owned())
}

#[test]
fn a_reload_changes_rules_prefixes_and_intervals_and_loses_no_route() -> Result<()> {
    in_lab("reload", |lab| {
        let (a, b) = (Router::new(lab, "a", 1)?, Router::new(lab, "b", 2)?);
        let _wire = wire(lab, &a, &b)?;
        let file = File::new(&a, &[&b]);
        let mut osier = Osier::start_from(&a, &file.path, &[])?;
        let _babeld = Babeld::start(&b, &[&a])?;
        wait_until(SOON, "they reach each other", || a.reaches(&b) && b.reaches(&a))?;
        assert!(has(&b, "10.1.0.0/24") && has(&a, "10.2.0.1"));
        let record = monitor(&a)?;

        // Export: babeld loses what is denied and keeps the rest.
        file.reload(
            &mut osier,
            "[[export]]\nprefix = '10.1.0.0/24'\naction = 'deny'\n",
        )?;
        wait_until(SOON, "babeld loses the denied prefix", || !has(&b, "10.1.0.0/24"))?;
        assert!(has(&b, "fd00:0:0:1::/64"));

        // A mistake changes nothing, and is told with line and key.
        file.reload(&mut osier, "[[export]]\nprefix = '10.1.0.0/24'\naction = 'dny'\n")?;
        wait_until(SOON, "the mistake is told", || {
            osier.process.log().contains("`action`")
        })?;
        let line = file.base.lines().count() + 3;
        assert!(
            osier.process.log().contains(&format!("line {line}, `action`")),
            "{}",
            osier.process.log()
        );
        assert!(!has(&b, "10.1.0.0/24") && has(&b, "fd00:0:0:1::/64"));

        // Metrics, new prefixes, and what cannot change.
        let more = "[[export]]\nprefix = '10.1.0.0/24'\naction = 'accept'\nadd-metric = 1000\n[kernel]\nmetric = 7\n";
        file.reload(&mut osier, more)?;
        wait_until(SOON, "babeld counts the added metric", || {
            Babeld::metric(&b, "10.1.0.0/24") == Some(1096)
        })?;
        let log = osier.process.log();
        assert!(log.contains("`kernel.metric` cannot change"), "{log}");

        let with = file.base.replace("prefixes = [", "prefixes = ['10.99.0.0/16', ");
        std::fs::write(&file.path, with.replace("hello-ms = 400", "hello-ms = 300")).unwrap();
        osier.process.signal(SIGHUP)?;
        wait_until(SOON, "the new prefix arrives", || has(&b, "10.99.0.0/16"))?;
        wait_until(SOON, "the metric is the old one", || {
            Babeld::metric(&b, "10.1.0.0/24") == Some(96)
        })?;
        assert!(a.reaches(&b) && b.reaches(&a));
        assert_eq!(
            removals(&record),
            [] as [String; 0],
            "nothing of this touched our routes"
        );
        assert_eq!(osier.process.log().matches("neighbour up").count(), 1);

        // Import: it goes from the kernel, stays in the dump with the reason, and comes back.
        file.reload(
            &mut osier,
            "[[import]]\nprefix = '10.2.0.1/32'\naction = 'deny'\n",
        )?;
        wait_until(SOON, "the denied route goes", || !has(&a, "10.2.0.1"))?;
        assert_eq!(state_of(&osier, "10.2.0.1/32").as_deref(), Some("filtered"));
        file.reload(&mut osier, "")?;
        wait_until(SOON, "it is back", || has(&a, "10.2.0.1"))?;

        // The end of the file's interface is the end of speaking there.
        std::fs::write(&file.path, file.base.replace("to-b", "to-c")).unwrap();
        osier.process.signal(SIGHUP)?;
        wait_until(SOON, "nothing is left of the neighbour", || {
            osier.dump().is_ok_and(|report| report.neighbours.is_empty()) && !has(&a, "10.2.0.1")
        })?;
        file.reload(&mut osier, "")?;
        wait_until(SOON, "they meet again", || a.reaches(&b) && b.reaches(&a))?;
        assert!(osier.process.terminate(SOON)?.success());
        Ok(())
    })
}

#[test]
fn kernel_routes_are_announced_for_as_long_as_they_are_there() -> Result<()> {
    in_lab("redistribute", |lab| {
        let (a, b) = (Router::new(lab, "a", 1)?, Router::new(lab, "b", 2)?);
        let _wire = wire(lab, &a, &b)?;
        for line in [
            "ip link add lan0 type bridge",
            "ip link add wan0 type bridge",
            "ip link set dev lan0 up",
            "ip link set dev wan0 up",
            "ip address add 10.71.0.1/24 dev lan0",
            "ip address add 10.72.0.1/24 dev wan0",
            "ip -6 address add fd71::1/64 dev lan0 nodad",
            "ip route add blackhole 10.77.0.0/16 proto static",
            "ip route add blackhole 10.66.1.0/24 proto static",
            "ip route add blackhole 10.78.0.0/16 proto boot",
        ] {
            a.netns.run(line)?;
        }
        let file = File::new(&a, &[&b]);
        let rules = "[[redistribute]]\nprefix = '10.66.0.0/16'\nle = 32\naction = 'deny'\n\
                     [[redistribute]]\nprotocol = 'static'\nmetric = 128\n\
                     [[redistribute]]\nprotocol = 'connected'\ninterface = 'lan0'\n";
        file.write(rules);
        let mut osier = Osier::start_from(&a, &file.path, &[])?;
        let _babeld = Babeld::start(&b, &[&a])?;
        wait_until(SOON, "what there is arrives", || {
            ["10.77.0.0/16", "10.71.0.0/24", "fd71::/64", "10.1.0.0/24"]
                .iter()
                .all(|prefix| has(&b, prefix))
        })?;
        assert_eq!(Babeld::metric(&b, "10.77.0.0/16"), Some(96 + 128));
        for other in ["10.66.1.0/24", "10.72.0.0/24", "10.78.0.0/16"] {
            assert!(!has(&b, other), "{other}: {}", b.kernel_routes());
        }

        a.netns.run("ip route del blackhole 10.77.0.0/16")?;
        a.netns.run("ip -6 route add blackhole fd77::/48 proto static")?;
        wait_until(SOON, "the announcements follow", || {
            !has(&b, "10.77.0.0/16") && has(&b, "fd77::/48")
        })?;
        // Of IPv4 routes that go with their interface the kernel says nothing.
        a.netns.run("ip link set dev lan0 down")?;
        wait_until(SOON, "the subnets of the interface go", || {
            !has(&b, "10.71.0.0/24") && !has(&b, "fd71::/64")
        })?;
        a.netns.run("ip link set dev lan0 up")?;
        wait_until(SOON, "and come back", || has(&b, "10.71.0.0/24"))?;

        file.reload(&mut osier, "")?;
        wait_until(SOON, "without rules nothing is announced", || {
            !has(&b, "10.71.0.0/24") && !has(&b, "fd77::/48")
        })?;
        assert!(has(&b, "10.1.0.0/24"));
        Ok(())
    })
}

/// a has two ways to d. The kernel's own record must show no moment without a route.
#[test]
fn the_kernel_never_lacks_a_route_while_it_changes() -> Result<()> {
    in_lab("atomic", |lab| {
        let router = |name: &str, number| Router::new(lab, name, number);
        let (a, b, c, d) = (router("a", 1)?, router("b", 2)?, router("c", 3)?, router("d", 4)?);
        let wires = [
            wire(lab, &a, &b)?,
            wire(lab, &a, &c)?,
            wire(lab, &b, &d)?,
            wire(lab, &c, &d)?,
        ];
        let file = File::new(&a, &[&b, &c]);
        let against = |name: &str, add: u16| {
            format!("[[import]]\ninterface = 'to-{name}'\naction = 'accept'\nadd-metric = {add}\n")
        };
        file.write(&against("c", 500));
        let mut osier = Osier::start_from(&a, &file.path, &[])?;
        let _others = [
            Osier::start(&b, &[&a, &d])?,
            Osier::start(&c, &[&a, &d])?,
            Osier::start(&d, &[&b, &c])?,
        ];
        wait_until(SOON, "the way leads over b", || {
            a.goes_over(&d, &b) && a.reaches(&d)
        })?;
        let record = monitor(&a)?;

        file.reload(&mut osier, &against("b", 500))?;
        wait_until(SOON, "the way leads over c", || a.goes_over(&d, &c))?;
        file.reload(&mut osier, &against("c", 500))?;
        wait_until(SOON, "the way leads over b again", || a.goes_over(&d, &b))?;
        // A metric alone is none of the kernel's business.
        let changes = || record.log().matches("proto babel").count();
        let before = changes();
        file.reload(&mut osier, &(against("c", 500) + &against("b", 100)))?;
        wait_until(SOON, "the metric is known", || {
            osier
                .installed("10.4.0.0/24")
                .is_some_and(|route| route.metric == 292)
        })?;
        assert_eq!(changes(), before, "{}", record.log());
        // Lost altogether: unreachable in the same step.
        wires.iter().try_for_each(osier_lab::Wire::cut)?;
        // It does not last, so whatever was seen once counts.
        let (mut unreachable, mut held) = (false, serde_json::Value::Null);
        wait_until(SOON, "there is no way, and the dump says so", || {
            unreachable |= a.holds_unreachable(&d);
            let document = osier.dump_document(&["10.4.0.0/24"]).unwrap_or_default();
            if let Some(entry) = document["held"].get(0) {
                held = entry.clone();
            }
            unreachable && !held.is_null()
        })?;
        assert_eq!(held["prefix"], "10.4.0.0/24", "{held}");
        assert!(
            held["seconds_left"].is_f64() && held["awaiting"].is_u64(),
            "{held}"
        );
        let log = record.log();
        for destination in ["10.4.0.0/24", "fd00:0:0:4::/64"] {
            let about: Vec<&str> = log.lines().filter(|line| line.contains(destination)).collect();
            assert!(about.len() >= 3, "{log}");
            let removed = about.iter().position(|line| line.contains("Deleted"));
            let unreachable = about.iter().position(|line| line.starts_with("unreachable"));
            assert!(removed.is_none() || removed > unreachable, "{about:?}");
        }
        Ok(())
    })
}

#[test]
fn routes_go_into_the_table_that_was_asked_for_and_as_the_rules_say() -> Result<()> {
    in_lab("tables", |lab| {
        let (a, b) = (Router::new(lab, "a", 1)?, Router::new(lab, "b", 2)?);
        let _wire = wire(lab, &a, &b)?;
        let _at_b = Osier::start(&b, &[&a])?;
        let table = || a.netns.run("ip route show table 77").unwrap_or_default();

        let mut osier = Osier::start_with(&a, &[&b], &["--install", "77"])?;
        wait_until(SOON, "the route is in table 77", || {
            table().contains("10.2.0.0/24")
        })?;
        assert!(!has(&a, "10.2.0.0/24") && osier.installed("10.2.0.0/24").is_some());
        assert!(osier.process.terminate(SOON)?.success());
        assert!(!table().contains("10.2.0.0/24"), "{}", table());

        let mut osier = Osier::start_with(&a, &[&b], &["--install", "none"])?;
        wait_until(SOON, "the route is known", || {
            state_of(&osier, "10.2.0.0/24").is_some()
        })?;
        assert!(!has(&a, "10.2.0.0/24") && osier.installed("10.2.0.0/24").is_none());
        assert!(osier.process.terminate(SOON)?.success());

        let file = File::new(&a, &[&b]);
        let rule = "[[install]]\nprefix = '10.0.0.0/8'\nle = 32\naction = 'deny'\n";
        file.write(rule);
        let mut osier = Osier::start_from(&a, &file.path, &[])?;
        wait_until(SOON, "the permitted route is there", || {
            has(&a, "fd00:0:0:2::/64")
        })?;
        let kept = || osier.dump_document(&["10.2.0.0/24"]).unwrap()["routes"][0].clone();
        assert!(!has(&a, "10.2.0.0/24"));
        assert_eq!(
            (kept()["installed"].clone(), kept()["selected"].clone()),
            (false.into(), true.into())
        );
        assert!(
            kept()["why"].as_str().unwrap().contains("install rule"),
            "{}",
            kept()
        );
        file.reload(&mut osier, "")?;
        wait_until(SOON, "the rule is gone", || has(&a, "10.2.0.0/24"))?;
        file.reload(&mut osier, rule)?;
        wait_until(SOON, "the rule is back", || !has(&a, "10.2.0.0/24"))?;
        assert!(has(&a, "fd00:0:0:2::/64"));
        Ok(())
    })
}

#[test]
fn with_state_the_router_id_stays_and_the_seqno_goes_on() -> Result<()> {
    in_lab("state", |lab| {
        let (a, b) = (Router::new(lab, "a", 1)?, Router::new(lab, "b", 2)?);
        let _wire = wire(lab, &a, &b)?;
        let directory = a.netns.directory().join("state/of-a");
        let options = ["--state", directory.to_str().unwrap()];
        let own = |osier: &Osier| {
            let document = osier.dump_document(&[]).ok()?;
            Some((
                document["router_id"].as_str()?.to_owned(),
                document["seqno"].as_u64()?,
            ))
        };
        let ready = |osier: &Osier| {
            wait_until(SOON, "it answers", || own(osier).is_some())?;
            Ok::<_, osier_lab::Error>(own(osier).unwrap())
        };
        let mut osier = Osier::start_with(&a, &[&b], &options)?;
        let (id, first) = ready(&osier)?;
        osier.process.kill();
        // Another MAC address would make another router-id.
        a.netns.run("ip link set dev to-b address 02:00:00:00:00:77")?;
        let mut osier = Osier::start_with(&a, &[&b], &options)?;
        assert_eq!(ready(&osier)?, (id.clone(), (first + 1) % 65_536));
        assert!(osier.process.terminate(SOON)?.success());
        std::fs::write(
            directory.join("babel.json"),
            format!(r#"{{"version":1,"router_id":"{id}","seqno":65535}}"#),
        )
        .unwrap();
        let mut osier = Osier::start_with(&a, &[&b], &options)?;
        assert_eq!(ready(&osier)?, (id, 0));
        assert!(osier.process.terminate(SOON)?.success());

        std::fs::write(directory.join("babel.json"), r#"{"version":9}"#).unwrap();
        let mut osier = Osier::start_with(&a, &[&b], &options)?;
        assert!(!osier.process.wait(SOON)?.success());
        assert!(
            osier.process.log().contains("version 9"),
            "{}",
            osier.process.log()
        );
        Ok(())
    })
}

/// Scripts depend on these names.
#[test]
fn the_dump_has_the_promised_keys() -> Result<()> {
    in_lab("schema", |lab| {
        let (a, b) = (Router::new(lab, "a", 1)?, Router::new(lab, "b", 2)?);
        let _wire = wire(lab, &a, &b)?;
        let osier = Osier::start(&a, &[&b])?;
        let _at_b = Osier::start(&b, &[&a])?;
        wait_until(SOON, "the route is there", || {
            osier.installed("10.2.0.0/24").is_some()
        })?;
        let document = osier.dump_document(&["10.2.0.99"])?;
        let routes = document["routes"].as_array().unwrap();
        assert_eq!(routes.len(), 1, "an address picks what covers it: {document}");
        let route = routes[0].as_object().unwrap();
        for key in [
            "prefix",
            "src",
            "via",
            "dev",
            "metric",
            "router_id",
            "seqno",
            "installed",
            "feasible",
            "neighbour",
            "refmetric",
            "selected",
            "state",
            "why",
        ] {
            assert!(route.contains_key(key), "{key} in {document}");
        }
        assert_eq!(
            (&route["src"], &route["state"]),
            (&serde_json::Value::Null, &"selected".into())
        );
        let interface = &document["interfaces"][0];
        assert_eq!(
            (&interface["kind"], &interface["hello_ms"]),
            (&"wired".into(), &400.into()),
            "{interface}"
        );
        let neighbour = document["neighbours"][0].as_object().unwrap();
        for key in ["addr", "dev", "cost", "rtt_ms"] {
            assert!(neighbour.contains_key(key), "{key} in {document}");
        }
        for counter in [
            "malformed_packets",
            "ignored_tlvs",
            "foreign_packets",
            "refused_updates",
            "filtered_updates",
            "unfeasible_updates",
            "limit_drops",
            "mac_failed",
            "mac_missing",
            "mac_replayed",
            "kernel_errors",
        ] {
            assert!(document["counters"][counter].is_u64(), "{counter} in {document}");
        }
        assert_eq!(
            osier.dump_document(&["10.9.0.0/24"])?["routes"]
                .as_array()
                .unwrap()
                .len(),
            0
        );
        Ok(())
    })
}
