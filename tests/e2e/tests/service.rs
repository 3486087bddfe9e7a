//! A service that outlives its node, steered as a desktop's front end steers it.

use anyhow::{Context, Result, ensure};
use osier_e2e::{
    internet::Internet,
    mesh::{Member, Registry},
};
use osier_lab::{Lab, wait_until};
use serde_json::Value;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
/// Neither kernel nor routers matter here.
const OPTIONS: [&str; 3] = ["--service", "--no-tun", "--no-upnp"];

fn service_state(member: &Member) -> Option<String> {
    let service = member.get("/v1/service").ok()?;
    service["state"].as_str().map(str::to_owned)
}

fn until_state(member: &Member, state: &str) -> Result<()> {
    wait_until(SOON, &format!("the service is {state}"), || {
        service_state(member).as_deref() == Some(state)
    })
    .with_context(|| member.log())
    .map(drop)
}

fn until_neighbours(member: &Member, count: u64) -> Result<()> {
    wait_until(SOON, &format!("{} has {count} neighbours", member.name), || {
        member.ask(&["status"]).is_ok_and(|s| s["neighbours"] == count)
    })
    .with_context(|| member.log())
    .map(drop)
}

/// The error document of a command that must fail.
fn refusal(result: Result<Value>) -> Result<String> {
    match result {
        Ok(value) => anyhow::bail!("it went well: {value}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

#[test]
fn service_joins_is_switched_and_remembers_it() -> osier_lab::Result<()> {
    Lab::run("service", |lab| {
        let internet = Internet::new(lab)?;
        let mut registry = Registry::create(&internet)?;
        let invite = registry.invite(2)?;
        let mut other = Member::join(lab, internet.host("other")?, &invite, &OPTIONS[1..])?;
        other.up()?;
        let mut desk = Member::outsider(lab, internet.host("desk")?, &OPTIONS);
        desk.up()?;

        until_state(&desk, "not-joined")?;
        ensure!(desk.get("/v1/status")?["code"] == "not-joined");
        ensure!(desk.get("/v1/peers")?["code"] == "not-joined");
        ensure!(refusal(desk.ask(&["status"]))?.contains("\"exit\": 4"));
        ensure!(refusal(desk.ask(&["off"]))?.contains("\"exit\": 4"));
        let service = desk.get("/v1/service")?;
        ensure!(
            service["managed"] == true && service["api_version"].as_u64() >= Some(2),
            "{service}"
        );

        // What cannot work changes nothing, and says which way it cannot.
        ensure!(refusal(desk.enrol("osier://join/nonsense"))?.contains("\"exit\": 2"));
        registry.kill();
        ensure!(refusal(desk.enrol(&invite))?.contains("\"exit\": 6"));
        until_state(&desk, "not-joined")?;
        registry.serve()?;

        let joined = desk.enrol(&invite)?;
        ensure!(
            joined["name"] == "desk" && joined["already_member"] == false,
            "{joined}"
        );
        until_neighbours(&desk, 1)?;
        ensure!(desk.get("/v1/service")?["member"]["address"] == desk.enrolled.to_string());
        ensure!(desk.enrol(&invite)?["already_member"] == true);

        // Used up by now; and a plain node is no service.
        let mut third = Member::outsider(lab, internet.host("third")?, &OPTIONS);
        third.up()?;
        until_state(&third, "not-joined")?;
        let used = refusal(third.enrol(&invite))?;
        ensure!(used.contains("\"exit\": 7") && used.contains("used"), "{used}");
        ensure!(third.down().is_ok(), "{}", third.log());
        ensure!(refusal(other.ask(&["off"]))?.contains("osier up --service"));

        let off = desk.ask(&["off"])?;
        ensure!(off["state"] == "off" && off["on"] == false, "{off}");
        ensure!(off["member"]["name"] == "desk", "{off}");
        ensure!(desk.get("/v1/status")?["code"] == "off");
        until_neighbours(&other, 0)?;

        // A crash and another start: it stays off.
        desk.kill();
        desk.up()?;
        until_state(&desk, "off")?;
        let on = desk.ask(&["on"])?;
        ensure!(on["state"] == "running" && on["on"] == true, "{on}");
        until_neighbours(&desk, 1)?;
        desk.down()?;
        desk.up()?;
        until_neighbours(&desk, 1)?;

        ensure!(desk.ask(&["leave", "--yes"])?["name"] == "desk");
        until_state(&desk, "not-joined")?;
        ensure!(!desk.state().join("identity.key").exists());
        ensure!(!desk.log().contains("osier://"), "an invite is in the log");
        ensure!(desk.is_up());
        anyhow::Ok(())
    })
}

#[test]
fn service_makes_a_network_and_lets_others_in() -> osier_lab::Result<()> {
    Lab::run("hosting", |lab| {
        let internet = Internet::new(lab)?;
        let mut desk = Member::outsider(lab, internet.host("desk")?, &OPTIONS);
        desk.up()?;
        until_state(&desk, "not-joined")?;
        ensure!(desk.get("/v1/service")?["hosting"].is_null());
        ensure!(refusal(desk.ask(&["invite", "--hosted"]))?.contains("no network was made"));
        ensure!(refusal(desk.ask(&["network", "host", "--name", ""]))?.contains("\"exit\": 2"));

        let host = ["network", "host", "--name", "Grünfeld", "--node-name", "desk"];
        let joined = desk.ask(&host)?;
        ensure!(
            joined["network"] == "Grünfeld" && joined["name"] == "desk",
            "{joined}"
        );
        until_state(&desk, "running")?;
        ensure!(refusal(desk.ask(&host))?.contains("belongs to the network Grünfeld"));
        let serving = |desk: &Member| {
            desk.get("/v1/service")
                .is_ok_and(|s| s["hosting"]["network"] == "Grünfeld" && s["hosting"]["serving"] == true)
        };
        ensure!(serving(&desk));

        let invite = |desk: &Member| -> Result<String> {
            let said = desk.ask(&["invite", "--hosted"])?;
            Ok(said["invite"].as_str().context("no invite")?.to_owned())
        };
        let mut other = Member::join(lab, internet.host("other")?, &invite(&desk)?, &OPTIONS[1..])?;
        other.up()?;
        until_neighbours(&desk, 1)?;
        // Wherever the first one goes, its registry is found through the mesh.
        let urls = other.ask(&["status"])?["registry"]["urls"].to_string();
        let address = desk.ask(&["status"])?["address"].as_str().map(str::to_owned);
        let address = address.context("no address")?;
        ensure!(urls.contains(&format!("https://[{address}]:6690")), "{urls}");

        // It is there again after a crash.
        desk.kill();
        desk.up()?;
        wait_until(SOON, "the registry serves again", || serving(&desk)).with_context(|| desk.log())?;
        until_neighbours(&desk, 1)?;
        Member::join(lab, internet.host("third")?, &invite(&desk)?, &OPTIONS[1..])?;
        ensure!(!desk.log().contains("osier://"), "an invite is in the log");

        // Who leaves keeps the registry, for the others.
        desk.ask(&["leave", "--yes"])?;
        until_state(&desk, "not-joined")?;
        ensure!(serving(&desk));
        ensure!(refusal(desk.ask(&host))?.contains("runs the registry of the network Grünfeld already"));
        anyhow::Ok(())
    })
}

#[test]
fn invite_of_another_network_is_refused_and_a_node_that_cannot_start_is_tried_again() -> osier_lab::Result<()>
{
    Lab::run("service-fails", |lab| {
        let internet = Internet::new(lab)?;
        let registry = Registry::create(&internet)?;
        let host = internet.host("desk")?;
        let mut desk = Member::outsider(lab, host, &[&OPTIONS[..], &["--port", "16697"]].concat());
        // Somebody has the port.
        let taken = desk.host.netns.spawn("taken", {
            let mut command = desk.host.netns.command("python3");
            command.args([
                "-c",
                "import socket,time;s=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM);s.bind(('::',16697));time.sleep(600)",
            ]);
            command
        })?;
        wait_until(SOON, "the port is taken", || {
            desk.host
                .netns
                .run("ss -Hlnu sport = :16697")
                .is_ok_and(|text| text.contains("16697"))
        })?;
        desk.up()?;
        until_state(&desk, "not-joined")?;
        desk.enrol(&registry.invite(1)?)?;
        until_state(&desk, "failed")?;
        let service = desk.get("/v1/service")?;
        ensure!(service["problem"]["code"] == "port-in-use", "{service}");
        ensure!(desk.get("/v1/status")?["code"] == "node-failed");
        drop(taken);
        // By itself, sooner or later.
        until_state(&desk, "running")?;
        ensure!(desk.get("/v1/service")?["problem"].is_null());

        // A mistake in the settings is told, and can be corrected.
        let settings = desk.state().join("settings.toml");
        std::fs::write(&settings, "prot = 1\n")?;
        desk.down()?;
        desk.up()?;
        until_state(&desk, "failed")?;
        let service = desk.get("/v1/service")?;
        ensure!(service["problem"]["code"] == "bad-settings", "{service}");
        ensure!(desk.ask(&["off"])?["state"] == "off");
        std::fs::remove_file(&settings)?;
        ensure!(desk.ask(&["on"])?["state"] == "running");

        let foreign = lab.directory().join("foreign");
        let run = |arguments: &[&str]| {
            let mut command = std::process::Command::new(osier_e2e::mesh::osier()?);
            osier_e2e::mesh::output(command.args(arguments).arg("--json"))
        };
        let dir = foreign.to_str().context("UTF-8")?;
        run(&[
            "network",
            "create",
            dir,
            "--name",
            "foreign",
            "--url",
            "http://11.0.9.9:1",
        ])?;
        let invite: Value = serde_json::from_str(&run(&["invite", "--dir", dir])?)?;
        let invite = invite["invite"].as_str().context("an invite")?;
        let refused = refusal(desk.enrol(invite))?;
        ensure!(
            refused.contains("\"exit\": 8") && refused.contains("demo"),
            "{refused}"
        );
        until_state(&desk, "running")?;
        anyhow::Ok(())
    })
}
