//! Real daemons with real TUN devices in namespaces.

mod common;

use common::*;
use osier_core::control::types::{
    DaemonState, Event, HealthCode, ProbeLine, ProbeRequest, TraceLine, TraceRequest,
};
use osier_lab::{Error, Lab, wait_until};
use std::{
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

#[test]
fn daemon_process() {
    be_a_daemon();
}

#[test]
fn two_daemons_ping_each_other_and_answer_their_api() -> osier_lab::Result<()> {
    Lab::run("two", |lab| {
        let pair = pair(lab)?;
        let mut processes = up(&pair)?;
        // The largest packet that must pass: 1280 octets with headers.
        let other = pair.members[1].address();
        pair.a
            .run(&format!("ping -n -q -c 3 -i 0.2 -W 2 -s 1232 {other}"))?;

        let mode = |path: PathBuf| {
            std::fs::metadata(path)
                .map(|m| m.permissions().mode() & 0o777)
                .ok()
        };
        expect(
            mode(pair.dirs[0].join("control.sock")) == Some(0o600),
            "the socket is private",
        )?;

        let runtime = runtime();
        let alice = client(&pair.dirs[0]);
        let (status, took) = runtime.block_on(async {
            let began = Instant::now();
            (alice.status().await, began.elapsed())
        });
        let status = status.map_err(text)?;
        expect(took < Duration::from_millis(100), "status answers at once")?;
        expect(
            status.name == "alice" && status.state == DaemonState::Running,
            "status shows the node",
        )?;
        expect(
            status.interface.as_deref() == Some("osier0"),
            "the device has the default name",
        )?;
        expect(
            status.udp_port == 16697 && status.members == 2,
            "port and members",
        )?;
        let unhealthy: Vec<_> = status
            .health
            .iter()
            .filter(|h| h.code != HealthCode::RegistryUnreachable)
            .collect();
        expect(unhealthy.is_empty(), &format!("healthy: {unhealthy:?}"))?;

        let peers = runtime.block_on(alice.peers()).map_err(text)?;
        let bob = peers
            .iter()
            .find(|p| p.name == "bob")
            .ok_or(Error::new("bob is a peer"))?;
        expect(
            bob.neighbour && bob.direct && bob.endpoint == Some(address("198.51.100.2:16697")),
            "bob is direct",
        )?;
        expect(
            bob.sent_octets > 0 && bob.received_octets > 0 && bob.metric.is_some(),
            "bob's numbers",
        )?;
        let routes = runtime.block_on(alice.routes()).map_err(text)?;
        expect(
            routes
                .iter()
                .any(|r| r.selected && r.via.as_deref() == Some("bob")),
            "a route goes by bob",
        )?;
        let topology = runtime.block_on(alice.topology()).map_err(text)?;
        expect(
            topology.links.iter().any(|l| l.tunnel && l.to == "bob"),
            "the topology has the tunnel",
        )?;

        let (replies, lost) = runtime.block_on(async {
            let mut request = ProbeRequest::new("bob");
            (request.count, request.interval_ms) = (5, 50);
            let mut lines = alice.probe(&request).await.map_err(text)?;
            let (mut replies, mut lost) = (0, 0);
            while let Some(line) = lines.next().await {
                match line.map_err(text)? {
                    ProbeLine::Reply { from, .. } if from == other => replies += 1,
                    ProbeLine::Lost { .. } => lost += 1,
                    _ => {}
                }
            }
            Ok::<_, Error>((replies, lost))
        })?;
        expect(
            (replies, lost) == (5, 0),
            &format!("probes are answered: {replies} answers, {lost} lost"),
        )?;
        let unknown = runtime.block_on(alice.probe(&ProbeRequest::new("nobody")));
        expect(
            unknown.is_err_and(|e| e.to_string().contains("nobody")),
            "an unknown target is named",
        )?;

        // A planned stop: the neighbour hears of it, the socket and the device are gone.
        let bob = client(&pair.dirs[1]);
        let heard = runtime.block_on(async {
            let mut events = bob.events().await.map_err(text)?;
            let began = Instant::now();
            alice.down().await.map_err(text)?;
            expect(began.elapsed() < Duration::from_secs(8), "down ends in time")?;
            loop {
                let line = events
                    .next()
                    .await
                    .ok_or(Error::new("the stream ended"))?
                    .map_err(text)?;
                if let Event::NeighbourDown { name, reason, .. } = line.event {
                    break Ok::<_, Error>((name, reason));
                }
            }
        })?;
        expect(
            heard == ("alice".into(), "closed".into()),
            &format!("bob heard of the stop: {heard:?}"),
        )?;
        let status = processes[0].wait(Duration::from_secs(3))?;
        expect(status.success(), "the daemon ends with status 0")?;
        expect(!pair.dirs[0].join("control.sock").exists(), "the socket is gone")?;
        expect(pair.a.run("ip link show osier0").is_err(), "the device is gone")?;
        // SIGTERM does the same.
        let status = processes[1].terminate(Duration::from_secs(9))?;
        expect(status.success(), "SIGTERM ends the daemon well")
    })
}

#[test]
fn three_daemons_relay_for_each_other() -> osier_lab::Result<()> {
    Lab::run("three", |lab| {
        // a - b - c: a and c have no link in common.
        let (a, b, c) = (lab.netns("a")?, lab.netns("b")?, lab.netns("c")?);
        lab.veth((&a, "eth0"), (&b, "left"))?;
        lab.veth((&b, "right"), (&c, "eth0"))?;
        a.address("eth0", "198.51.100.1/24")?;
        b.address("left", "198.51.100.2/24")?;
        b.address("right", "2001:db8:1::2/64")?;
        c.address("eth0", "2001:db8:1::3/64")?;
        let mesh = Mesh::new();
        let members = [
            mesh.member("alice", 1),
            mesh.member("bob", 2),
            mesh.member("carol", 3),
        ];
        let bundles = [
            mesh.bundle(&members[0], &["198.51.100.1:16697"]),
            mesh.bundle(&members[1], &["198.51.100.2:16697", "[2001:db8:1::2]:16697"]),
            mesh.bundle(&members[2], &["[2001:db8:1::3]:16697"]),
        ];
        let dirs = ["alice", "bob", "carol"].map(|name| lab.directory().join(name));
        let mut processes = Vec::new();
        for ((dir, member), netns) in dirs.iter().zip(&members).zip([&a, &b, &c]) {
            mesh.write_state(dir, member, &bundles);
            processes.push(start(netns, dir, true)?);
        }
        let carol = members[2].address().to_string();
        wait_until(SOON, "a reaches c through b", || a.ping(&carol))?;

        let runtime = runtime();
        let alice = client(&dirs[0]);
        let peers = runtime.block_on(alice.peers()).map_err(text)?;
        let carol = peers
            .iter()
            .find(|p| p.name == "carol")
            .ok_or(Error::new("carol is a peer"))?;
        expect(
            !carol.direct && carol.via.as_deref() == Some("bob"),
            "carol is reached through bob",
        )?;
        let hops = runtime.block_on(async {
            let mut lines = alice.trace(&TraceRequest::new("carol")).await.map_err(text)?;
            let mut hops = Vec::new();
            while let Some(line) = lines.next().await {
                match line.map_err(text)? {
                    TraceLine::Hop { name, .. } => hops.push(name),
                    TraceLine::Done { reached } => expect(reached, "the trace ends at carol")?,
                    TraceLine::Started { .. } => {}
                }
            }
            Ok::<_, Error>(hops)
        })?;
        expect(
            hops == [Some("bob".into()), Some("carol".into())],
            &format!("hops by name: {hops:?}"),
        )
    })
}

#[test]
fn node_without_tun_relays_and_answers() -> osier_lab::Result<()> {
    Lab::run("notun", |lab| {
        let pair = pair(lab)?;
        let _b = start(&pair.b, &pair.dirs[1], false)?;
        let _a = start(&pair.a, &pair.dirs[0], true)?;
        let bob = pair.members[1].address().to_string();
        wait_until(SOON, "the node without a device answers pings", || {
            pair.a.ping(&bob)
        })?;
        let status = runtime().block_on(client(&pair.dirs[1]).status()).map_err(text)?;
        expect(status.interface.is_none(), "there is no device")?;
        expect(
            status.health.iter().any(|h| h.code == HealthCode::NoTun),
            "health says so",
        )
    })
}

#[test]
fn planned_stop_of_a_relay_loses_no_ping() -> osier_lab::Result<()> {
    Lab::run("planned", |lab| {
        // alice and carol have no link in common; bob and dave both join them.
        let names = ["alice", "bob", "carol", "dave"];
        let mut hosts = Vec::new();
        for name in names {
            hosts.push(lab.netns(name)?);
        }
        let links = [
            (0, 1, "left", 1),
            (1, 2, "right", 2),
            (0, 3, "left", 3),
            (3, 2, "right", 4),
        ];
        let mut endpoints = vec![Vec::new(); 4];
        for (from, to, port, net) in links {
            let (a, b) = (format!("{}{net}", &port[..1]), format!("e{net}"));
            lab.veth((&hosts[from], &a), (&hosts[to], &b))?;
            for (host, interface, last) in [(from, &a, 1), (to, &b, 2)] {
                hosts[host].address(interface, &format!("198.51.{net}.{last}/24"))?;
                endpoints[host].push(format!("198.51.{net}.{last}:16697"));
            }
        }
        let mesh = Mesh::new();
        let members: Vec<_> = names
            .iter()
            .zip(1..)
            .map(|(name, number)| mesh.member(name, number))
            .collect();
        let bundles: Vec<_> = members
            .iter()
            .zip(&endpoints)
            .map(|(member, list)| mesh.bundle(member, &list.iter().map(String::as_str).collect::<Vec<_>>()))
            .collect();
        let mut processes = Vec::new();
        let dirs: Vec<_> = names.iter().map(|name| lab.directory().join(name)).collect();
        for ((dir, member), host) in dirs.iter().zip(&members).zip(&hosts) {
            mesh.write_state(dir, member, &bundles);
            processes.push(start(host, dir, true)?);
        }
        let carol = members[2].address().to_string();
        wait_until(SOON, "alice reaches carol", || hosts[0].ping(&carol))?;
        wait_until(SOON, "both ways exist", || {
            dirs[0..1].iter().all(|d| neighbours(d) == Some(2))
        })?;
        wait_until(SOON, "carol has both, too", || neighbours(&dirs[2]) == Some(2))?;

        let runtime = runtime();
        let alice = client(&dirs[0]);
        let peers = runtime.block_on(alice.peers()).map_err(text)?;
        let via = peers
            .iter()
            .find(|p| p.name == "carol")
            .and_then(|p| p.via.clone());
        let relay = names
            .iter()
            .position(|n| Some(*n) == via.as_deref())
            .ok_or(Error::new("a relay"))?;
        let (lost, answered) = runtime.block_on(async {
            let mut request = ProbeRequest::new("carol");
            (request.count, request.interval_ms, request.timeout_ms) = (120, 50, 2000);
            let mut lines = alice.probe(&request).await.map_err(text)?;
            let (mut lost, mut answered) = (0, 0);
            let mut stopped = None;
            while let Some(line) = lines.next().await {
                match line.map_err(text)? {
                    ProbeLine::Reply { from, .. } if from.to_string() == carol => answered += 1,
                    ProbeLine::Reply { .. } | ProbeLine::Lost { .. } => lost += 1,
                    _ => {}
                }
                if answered == 20 && stopped.is_none() {
                    let relay = client(&dirs[relay]);
                    stopped = Some(tokio::task::spawn(async move { relay.down().await }));
                }
            }
            stopped
                .ok_or(Error::new("the stop was asked for"))?
                .await
                .map_err(text)?
                .map_err(text)?;
            Ok::<_, Error>((lost, answered))
        })?;
        expect(
            (lost, answered) == (0, 120),
            &format!("{lost} lost, {answered} answered"),
        )
    })
}

#[test]
fn new_addresses_are_noticed_and_advertised() -> osier_lab::Result<()> {
    Lab::run("address", |lab| {
        let pair = pair(lab)?;
        let _processes = up(&pair)?;
        let runtime = runtime();
        let alice = client(&pair.dirs[0]);
        let advertises = |endpoint: &str| {
            let endpoint = address(endpoint);
            let status = runtime.block_on(alice.status());
            status.is_ok_and(|s| s.endpoints.iter().any(|e| e.address == endpoint))
        };
        expect(advertises("198.51.100.1:16697"), "the first address")?;
        pair.a.address("eth0", "2001:db8:5::1/64")?;
        wait_until(SOON, "the new address is advertised", || {
            advertises("[2001:db8:5::1]:16697")
        })?;
        pair.a.run("ip address del 2001:db8:5::1/64 dev eth0")?;
        wait_until(SOON, "the old address is not", || {
            !advertises("[2001:db8:5::1]:16697")
        })?;
        // Neither the mesh's own addresses nor link-local ones were ever among them.
        let status = runtime.block_on(alice.status()).map_err(text)?;
        expect(status.endpoints.len() == 1, &format!("{:?}", status.endpoints))
    })
}
