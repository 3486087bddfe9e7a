//! What a mesh withstands besides dead links: no registry, a revoked member, narrow and IPv6-only lines.

use anyhow::{Context, ensure};
use osier_e2e::{
    internet::{Host, Internet},
    mesh::{Member, Registry},
    prober::{Pair, Prober},
};
use osier_lab::{Lab, wait_until};
use serde_json::Value;
use std::time::{Duration, Instant};

fn mesh(internet: &Internet<'_>, registry: &Registry, size: usize) -> anyhow::Result<Vec<Member>> {
    mesh_of(internet, registry, hosts(internet, size)?, &[])
}

fn hosts(internet: &Internet<'_>, count: usize) -> anyhow::Result<Vec<Host>> {
    (0..count).map(|i| internet.host(&format!("n{i}"))).collect()
}

fn mesh_of(
    internet: &Internet<'_>,
    registry: &Registry,
    hosts: Vec<Host>,
    options: &[&str],
) -> anyhow::Result<Vec<Member>> {
    let invite = registry.invite(hosts.len())?;
    let mut members = Vec::new();
    for host in hosts {
        members.push(Member::join(internet.lab(), host, &invite, options)?);
    }
    members.iter_mut().try_for_each(Member::up)?;
    Ok(members)
}

fn prober(members: &[Member]) -> anyhow::Result<(Prober, Vec<Pair>)> {
    let ends = members
        .iter()
        .map(Member::end)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let size = ends.len();
    let pairs = (0..size)
        .flat_map(|a| (0..size).filter(move |b| *b != a).map(move |b| (a, b)))
        .collect();
    Ok((Prober::start(ends)?, pairs))
}

fn all_answer(prober: &Prober, pairs: &[Pair], limit: Duration) -> anyhow::Result<()> {
    let from = prober.now();
    prober.watch(pairs.to_vec(), Duration::from_millis(100))?;
    wait_until(limit, "all pairs answer", || {
        prober
            .report()
            .is_ok_and(|r| pairs.iter().all(|p| r.first_answer(*p, from).is_some()))
    })?;
    Ok(())
}

#[test]
fn mesh_without_its_registry_restarts_from_what_it_saved() -> osier_lab::Result<()> {
    Lab::run("without", |lab| {
        let internet = Internet::new(lab)?;
        let mut registry = Registry::create(&internet)?;
        // More tunnels than the default's six: the crowded node below is certain, and some others are not neighbours.
        let mut members = mesh_of(
            &internet,
            &registry,
            hosts(&internet, 12)?,
            &["--neighbours", "9"],
        )?;
        let (probes, pairs) = prober(&members)?;
        all_answer(&probes, &pairs, Duration::from_secs(30))?;

        // Ten neighbours and more: the daemon's answers must not get slow.
        let crowded = members
            .iter()
            .find(|m| m.neighbours().is_ok_and(|n| n.len() >= 10));
        let crowded = crowded.context("no node has ten neighbours")?;
        for command in ["status", "peers"] {
            // The quickest of a few: the machine runs other tests meanwhile.
            let mut quickest = Duration::MAX;
            for _ in 0..5 {
                let start = Instant::now();
                crowded.ask(&[command])?;
                quickest = quickest.min(start.elapsed());
            }
            ensure!(
                quickest < Duration::from_millis(100),
                "osier {command} took {quickest:?}"
            );
        }
        let of_all = ["name", "direct", "metric", "sent_octets", "received_octets"];
        let of_neighbours = ["endpoint", "rtt_ms", "cost", "outgoing"];
        let of_others = ["via"];
        let complete = |peer: &Value| {
            let more = if peer["neighbour"] == true {
                &of_neighbours[..]
            } else {
                &of_others
            };
            of_all.iter().chain(more).all(|field| !peer[field].is_null())
        };
        wait_until(
            Duration::from_secs(10),
            "osier peers shows everything about each",
            || {
                crowded
                    .peers()
                    .is_ok_and(|peers| peers.len() == 11 && peers.iter().all(complete))
            },
        )
        .with_context(|| format!("{:?}", crowded.peers()))?;

        // Every node keeps its own address across restarts.
        let before = members
            .iter()
            .map(Member::address)
            .collect::<anyhow::Result<Vec<_>>>()?;
        // What is known is written within seconds, not at once.
        let names: Vec<String> = members.iter().map(|member| member.name.clone()).collect();
        wait_until(Duration::from_secs(10), "everyone has saved everyone", || {
            let knows_all = |member: &Member| {
                let others = names.iter().filter(|name| **name != member.name);
                others.into_iter().all(|name| member.has_saved(name))
            };
            members.iter().all(knows_all)
        })?;
        registry.kill();
        members.iter_mut().for_each(Member::kill);
        members.iter_mut().try_for_each(Member::up)?;
        let restarted = Instant::now();
        drop(probes);
        let (probes, pairs) = prober(&members)?;
        all_answer(
            &probes,
            &pairs,
            Duration::from_secs(15).saturating_sub(restarted.elapsed()),
        )?;
        let after = members
            .iter()
            .map(Member::address)
            .collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(before == after, "addresses changed: {before:?} {after:?}");

        registry.serve()?;
        let back = || {
            members[0]
                .ask(&["status"])
                .is_ok_and(|s| s["registry"]["reachable"] == true)
        };
        wait_until(Duration::from_secs(90), "the nodes find the registry again", back)?;
        anyhow::Ok(())
    })
}

#[test]
fn revoked_node_loses_its_tunnels_within_a_minute() -> osier_lab::Result<()> {
    Lab::run("revoked", |lab| {
        let internet = Internet::new(lab)?;
        let registry = Registry::create(&internet)?;
        let members = mesh(&internet, &registry, 4)?;
        let (probes, pairs) = prober(&members)?;
        all_answer(&probes, &pairs, Duration::from_secs(30))?;
        registry.revoke("n3")?;
        wait_until(Duration::from_secs(60), "the revoked node has no tunnel", || {
            let others = members[..3].iter();
            let gone = |m: &Member| m.neighbours().is_ok_and(|n| !n.contains(&"n3".to_owned()));
            others.clone().all(gone)
        })?;
        let inside: Vec<Pair> = pairs.iter().copied().filter(|(a, b)| *a < 3 && *b < 3).collect();
        all_answer(&probes, &inside, Duration::from_secs(5))?;
        // Nothing passes from or to it any more.
        let from = probes.now();
        let outside: Vec<Pair> = pairs
            .iter()
            .copied()
            .filter(|(a, b)| *a == 3 || *b == 3)
            .collect();
        probes.watch(
            [inside.clone(), outside.clone()].concat(),
            Duration::from_millis(100),
        )?;
        wait_until(Duration::from_secs(10), "two seconds of pings", || {
            probes.now() > from + Duration::from_secs(2)
        })?;
        let report = probes.report()?;
        ensure!(inside.iter().all(|p| report.first_answer(*p, from).is_some()));
        ensure!(
            outside.iter().all(|p| report.first_answer(*p, from).is_none()),
            "the revoked node still answers"
        );
        anyhow::Ok(())
    })
}

/// WireGuard and IPv6 add 80 octets and more: with an underlay of 1280 the outer packets must be fragmented.
#[test]
fn packets_of_1280_octets_pass_a_narrow_underlay() -> osier_lab::Result<()> {
    Lab::run("narrow", |lab| {
        let internet = Internet::new(lab)?;
        let registry = Registry::create(&internet)?;
        let members = mesh(&internet, &registry, 2)?;
        members
            .iter()
            .try_for_each(|m| m.host.netns.run("ip link set dev eth0 mtu 1280").map(drop))?;
        let (probes, pairs) = prober(&members)?;
        all_answer(&probes, &pairs, Duration::from_secs(20))?;
        let there = members[1].address()?;
        // 1232 octets of data are 1280 with both headers.
        members[0]
            .host
            .netns
            .run(&format!("ping -c 3 -W 2 -s 1232 -M do {there}"))?;
        anyhow::Ok(())
    })
}

#[test]
fn mesh_needs_no_ipv4() -> osier_lab::Result<()> {
    Lab::run("ipv6", |lab| {
        let internet = Internet::new(lab)?;
        let registry = Registry::create_on(lab, internet.host6("registry")?)?;
        let hosts = ["n0", "n1", "n2"].map(|name| internet.host6(name));
        let members = mesh_of(
            &internet,
            &registry,
            hosts.into_iter().collect::<anyhow::Result<_>>()?,
            &[],
        )?;
        let (probes, pairs) = prober(&members)?;
        all_answer(&probes, &pairs, Duration::from_secs(15))?;
        let peers = members[0].peers()?;
        let endpoint = peers[0]["endpoint"].as_str().context("no endpoint")?;
        ensure!(
            endpoint.starts_with("[2a11:"),
            "the tunnel is not over IPv6: {endpoint}"
        );
        anyhow::Ok(())
    })
}
