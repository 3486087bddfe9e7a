//! A node says that it is connected when it has seen that it is, and else what is in the way.

use anyhow::{Context, Result, ensure};
use osier_e2e::{
    internet::Internet,
    mesh::{Member, Registry},
};
use osier_lab::{Lab, Netns, wait_until};
use serde_json::Value;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const OPTIONS: [&str; 2] = ["--no-tun", "--no-upnp"];

fn connection(member: &Member) -> Option<Value> {
    Some(member.ask(&["status"]).ok()?["connection"].clone())
}

/// Waits for this state; the whole answer.
fn until(member: &Member, state: &str) -> Result<Value> {
    let mut last = None;
    wait_until(SOON, &format!("{} is {state}", member.name), || {
        last = connection(member);
        last.as_ref().is_some_and(|c| c["state"] == state)
    })
    .with_context(|| format!("{last:?}\n{}", member.log()))?;
    last.context("an answer")
}

fn has_health(member: &Member, code: &str) -> Result<bool> {
    let status = member.ask(&["status"])?;
    let health = status["health"].as_array().context("a list")?;
    Ok(health.iter().any(|h| h["code"] == code && h["fix"] != ""))
}

#[test]
fn state_follows_what_gets_through() -> osier_lab::Result<()> {
    Lab::run("connection", |lab| {
        let internet = Internet::new(lab)?;
        let registry = Registry::create(&internet)?;
        let invite = registry.invite(3)?;
        let mut members = Vec::new();
        for name in ["desk", "near", "far"] {
            members.push(Member::join(lab, internet.host(name)?, &invite, &OPTIONS)?);
        }
        let cut = internet.cut(&members[0].host, &members[2].host)?;
        members.iter_mut().try_for_each(Member::up)?;
        let desk = &members[0];

        // One neighbour, and everybody else behind it.
        let relayed = until(desk, "relayed")?;
        ensure!(
            relayed["neighbours"] == 1 && relayed["direct"] == 1 && relayed["relayed"] == 1,
            "{relayed}"
        );
        ensure!(
            relayed["verified_with"] == "near" && relayed["wanted"] == 2,
            "{relayed}"
        );
        ensure!(relayed["verified_seconds"].as_u64() <= Some(60), "{relayed}");
        drop(cut);
        let connected = until(desk, "connected")?;
        ensure!(
            connected["neighbours"] == 2 && connected["udp"]["state"] == "works",
            "{connected}"
        );

        // Without a network, the socket is as open as before.
        desk.host.netns.run("ip link set eth0 down")?;
        let offline = until(desk, "offline")?;
        ensure!(offline["local_addresses"] == 0, "{offline}");
        ensure!(has_health(desk, "no-network")?);
        desk.host.netns.run("ip link set eth0 up")?;
        desk.host
            .netns
            .run(&format!("ip route add default via {}", gateway(desk)?))?;
        until(desk, "connected")?;
        anyhow::Ok(())
    })
}

/// The router's end of the host's wire.
fn gateway(member: &Member) -> Result<String> {
    let public = member.host.public.to_string();
    let (net, _) = public.rsplit_once('.').context("IPv4")?;
    Ok(format!("{net}.1"))
}

#[test]
fn blocked_udp_is_told_from_an_empty_network() -> osier_lab::Result<()> {
    Lab::run("udp-blocked", |lab| {
        let internet = Internet::new(lab)?;
        let registry = Registry::create(&internet)?;
        let invite = registry.invite(3)?;
        let mut others = Vec::new();
        for name in ["one", "two"] {
            let mut member = Member::join(lab, internet.host(name)?, &invite, &OPTIONS)?;
            member.up()?;
            member.address()?;
            others.push(member);
        }
        let mut desk = Member::join(lab, internet.host("desk")?, &invite, &OPTIONS)?;
        let wall = |netns: &Netns, hook: &str| {
            netns.shell(&format!(
                "nft add table ip wall; nft 'add chain ip wall every {{ type filter hook {hook} priority 0; }}'; \
                 nft add rule ip wall every meta l4proto udp drop"
            ))
        };
        // What comes is dropped without a word, as a firewall on the way would; the registry answers over TCP.
        wall(&desk.host.netns, "input")?;
        desk.up()?;
        let limited = until(&desk, "limited")?;
        let why = limited["udp"]["why"].as_str().context("a reason")?;
        ensure!(
            why.contains("2 members were tried") && why.contains("registry"),
            "{limited}"
        );
        ensure!(
            limited["udp"]["state"] == "seems-blocked" && limited["verified_at"].is_null(),
            "{limited}"
        );
        ensure!(has_health(&desk, "udp-blocked")?);
        desk.host.netns.run("nft delete table ip wall")?;
        until(&desk, "connected")?;

        // A firewall of this machine refuses at once.
        desk.down()?;
        wall(&desk.host.netns, "output")?;
        desk.up()?;
        let limited = until(&desk, "limited")?;
        let why = limited["udp"]["why"].as_str().context("a reason")?;
        ensure!(why.contains("refuses to send"), "{limited}");
        anyhow::Ok(())
    })
}
