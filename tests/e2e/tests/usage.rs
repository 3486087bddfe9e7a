//! Every node keeps account of its own traffic and of what it carries for others.

use anyhow::{Context, Result, ensure};
use osier_e2e::{
    internet::Internet,
    mesh::{Member, Registry},
};
use osier_lab::{Lab, wait_until};
use serde_json::Value;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
const OPTIONS: [&str; 3] = ["--service", "--no-tun", "--no-upnp"];

/// Today's row of `osier usage`.
fn today(member: &Member) -> Result<Value> {
    let usage = member.ask(&["usage", "--days", "2"])?;
    let days = usage["days"].as_array().context("a list")?;
    ensure!(
        days.iter().all(|d| d["date"].as_str() <= usage["today"].as_str()),
        "{usage}"
    );
    Ok(days.last().cloned().unwrap_or_default())
}

fn octets(row: &Value, whose: &str, way: &str) -> u64 {
    row[whose][way].as_u64().unwrap_or(0)
}

#[test]
fn own_and_carried_traffic_is_kept_over_restarts() -> osier_lab::Result<()> {
    Lab::run("usage", |lab| {
        let internet = Internet::new(lab)?;
        let registry = Registry::create(&internet)?;
        let invite = registry.invite(3)?;
        let mut members = Vec::new();
        for name in ["left", "middle", "right"] {
            members.push(Member::join(lab, internet.host(name)?, &invite, &OPTIONS)?);
        }
        let _cut = internet.cut(&members[0].host, &members[2].host)?;
        members.iter_mut().try_for_each(Member::up)?;
        // Both ways, or the first answer has no route back.
        wait_until(SOON, "left and right reach each other through middle", || {
            let through = |from: &Member, to| {
                from.relay_to(to)
                    .is_ok_and(|via| via.as_deref() == Some("middle"))
            };
            through(&members[0], "right") && through(&members[2], "left")
        })?;
        members[0].ping("right", 20, 1000)?;

        // 20 echoes of more than 1000 octets, and as many answers.
        let enough = 20_000;
        let own = today(&members[0])?;
        ensure!(
            octets(&own, "own", "sent") > enough && octets(&own, "own", "received") > enough,
            "{own}"
        );
        ensure!(octets(&own, "carried", "sent") == 0, "{own}");
        let carried = today(&members[1])?;
        for way in ["sent", "received"] {
            ensure!(octets(&carried, "carried", way) > 2 * enough, "{carried}");
        }
        ensure!(octets(&carried, "own", "sent") < enough, "{carried}");

        // Switched off, the service tells what was kept; after a restart the node counts on.
        let left = &mut members[0];
        left.ask(&["off"])?;
        let kept = today(left)?;
        ensure!(
            octets(&kept, "own", "sent") >= octets(&own, "own", "sent"),
            "{kept}"
        );
        left.down()?;
        left.up()?;
        wait_until(SOON, "the service answers", || today(left).is_ok())?;
        ensure!(today(left)? == kept);
        left.ask(&["on"])?;
        ensure!(octets(&today(left)?, "own", "sent") >= octets(&kept, "own", "sent"));

        // A damaged file costs the figures, not the node.
        left.down()?;
        let file = left.state().join("usage");
        std::fs::write(&file, "osier 1 usage 3 0\nxyz")?;
        left.up()?;
        let status = |member: &Member| member.ask(&["status"]);
        wait_until(SOON, "the node runs", || status(left).is_ok())?;
        ensure!(left.state().join("usage.damaged").exists());
        let health = status(left)?["health"].to_string();
        ensure!(
            health.contains("state-recovered") && health.contains("earlier days"),
            "{health}"
        );
        ensure!(octets(&today(left)?, "own", "sent") < enough);
        anyhow::Ok(())
    })
}
