//! What goes wrong on the machine under a daemon is named, and costs no more than it must.

mod common;

use common::*;
use osier_core::control::types::{HealthCode, Severity};
use osier_lab::{Error, Lab, wait_until};
use std::time::Duration;

#[test]
fn daemon_process() {
    be_a_daemon();
}

#[test]
fn second_daemon_on_a_directory_is_refused() -> osier_lab::Result<()> {
    Lab::run("twice", |lab| {
        let pair = pair(lab)?;
        let first = start(&pair.a, &pair.dirs[0], true)?;
        wait_until(SOON, "the first answers", || answers(&pair.dirs[0]))?;
        let mut second = start(&pair.b, &pair.dirs[0], true)?;
        let status = second.wait(SOON)?;
        expect(!status.success(), "the second one fails")?;
        let log = second.log();
        expect(
            log.contains("another osier daemon") && log.contains("osier down"),
            &log,
        )?;
        expect(answers(&pair.dirs[0]), "the first goes on")?;
        drop(first);
        // Killed: the lock goes with the process, its stale socket does not matter.
        let _third = start(&pair.a, &pair.dirs[0], true)?;
        wait_until(SOON, "a third starts", || answers(&pair.dirs[0]))?;
        Ok::<_, Error>(())
    })
}

#[test]
fn missing_permission_for_a_device_says_what_to_do() -> osier_lab::Result<()> {
    Lab::run("noperm", |lab| {
        let pair = pair(lab)?;
        let exe = std::env::current_exe().map_err(text)?;
        // The same user without any capability.
        let mut command = pair.a.command("setpriv");
        command
            .args([
                "--bounding-set",
                "-all",
                "--inh-caps",
                "-all",
                "--no-new-privs",
                "--",
            ])
            .arg(exe);
        command
            .args(["--exact", "daemon_process", "--nocapture"])
            .env("OSIER_TEST_DAEMON", &pair.dirs[0]);
        let mut process = pair.a.spawn("weak", command)?;
        let status = process.wait(SOON)?;
        expect(!status.success(), "it does not start")?;
        let log = process.log();
        let helpful = ["CAP_NET_ADMIN", "osier service install", "--no-tun"]
            .iter()
            .all(|w| log.contains(w));
        expect(helpful, &log)
    })
}

/// Two members, one of them with `prepare` done to the file system below its state (`DIR` in it), which only the lab
/// sees: it works, and health and the log (`words`) name the disk.
fn with_broken_disk(name: &str, prepare: &str, words: &str) -> osier_lab::Result<()> {
    Lab::run(name, |lab| {
        let pair = pair(lab)?;
        let dir = &pair.dirs[0];
        let socket = lab.directory().join("alice.sock");
        let prepare = prepare.replace("DIR", &dir.display().to_string());
        let script = format!("{prepare} && exec \"$0\" --exact daemon_process --nocapture");
        let mut command = pair.a.command("sh");
        command
            .args(["-e", "-c", &script])
            .arg(std::env::current_exe().map_err(text)?)
            .env("OSIER_TEST_DAEMON", dir)
            .env("OSIER_TEST_SOCKET", &socket);
        let process = pair.a.spawn("osier", command)?;
        let _b = start(&pair.b, &pair.dirs[1], true)?;
        let bob = pair.members[1].address().to_string();
        wait_until(SOON, "it works all the same", || pair.a.ping(&bob))?;
        let reported = || {
            let status = runtime().block_on(osier_core::control::client::Client::at(&socket).status());
            status.is_ok_and(|s| s.health.iter().any(|h| h.code == HealthCode::DiskNotWritable))
        };
        wait_until(SOON, "health names the disk", reported)?;
        expect(process.log().contains(words), &process.log())
    })
}

#[test]
fn daemon_survives_a_disk_that_cannot_be_written() -> osier_lab::Result<()> {
    let prepare = "mount --bind DIR DIR && mount -o remount,ro,bind DIR";
    with_broken_disk("readonly", prepare, "memory only")
}

#[test]
fn full_disk_is_reported_and_costs_nothing() -> osier_lab::Result<()> {
    // The state moves to a small file system, which is then filled to the last octet.
    let prepare = "cp -a DIR DIR.full && mount -t tmpfs -o size=64k,mode=700 tmpfs DIR && cp -a DIR.full/. DIR/ && \
                   (dd if=/dev/zero of=DIR/filler bs=1k 2>/dev/null || true)";
    with_broken_disk("full", prepare, "free some disk space")
}

#[test]
fn damaged_cache_is_moved_aside_and_damaged_identity_refused() -> osier_lab::Result<()> {
    Lab::run("damaged", |lab| {
        let pair = pair(lab)?;
        std::fs::write(pair.dirs[0].join("members"), "garbage").map_err(text)?;
        let mut processes = up(&pair)?;
        let status = runtime().block_on(client(&pair.dirs[0]).status()).map_err(text)?;
        expect(
            status.health.iter().any(|h| h.code == HealthCode::StateRecovered),
            "health tells of the damage",
        )?;
        expect(
            pair.dirs[0].join("members.damaged").exists(),
            "the file was moved aside",
        )?;
        processes[0].terminate(Duration::from_secs(9))?;

        let key = pair.dirs[0].join("identity.key");
        std::fs::write(&key, "garbage").map_err(text)?;
        let mut refused = start(&pair.a, &pair.dirs[0], true)?;
        expect(!refused.wait(SOON)?.success(), "a damaged identity is refused")?;
        expect(refused.log().contains("identity.key is damaged"), &refused.log())?;
        expect(
            std::fs::read(&key).map_err(text)? == b"garbage",
            "and left where it is",
        )
    })
}

#[test]
fn reload_applies_settings_and_names_mistakes() -> osier_lab::Result<()> {
    Lab::run("reload", |lab| {
        let pair = pair(lab)?;
        let mut process = start(&pair.a, &pair.dirs[0], true)?;
        wait_until(SOON, "it answers", || answers(&pair.dirs[0]))?;
        let settings = pair.dirs[0].join("settings.toml");
        let runtime = runtime();
        let alice = client(&pair.dirs[0]);
        std::fs::write(&settings, "endpoints = [\"203.0.113.9:1000\"]\nport = 5\n").map_err(text)?;
        let reply = runtime.block_on(alice.reload()).map_err(text)?;
        expect(
            reply.applied == ["endpoints"] && reply.needs_restart == ["port"],
            &format!("{reply:?}"),
        )?;
        let advertised = || {
            let status = runtime.block_on(alice.status());
            status.is_ok_and(|s| {
                s.endpoints
                    .iter()
                    .any(|e| e.address == address("203.0.113.9:1000"))
            })
        };
        wait_until(SOON, "the endpoint is advertised", advertised)?;
        std::fs::write(&settings, "nonsense = 1\n").map_err(text)?;
        let error = runtime
            .block_on(alice.reload())
            .err()
            .ok_or(Error::new("a mistake is refused"))?;
        expect(error.to_string().contains("nonsense"), &error.to_string())?;
        // SIGHUP does the same; a mistake does not stop the node.
        process.signal(1)?;
        wait_until(SOON, "the log names the mistake", || {
            process.log().contains("were not read again")
        })?;
        expect(process.is_running() && answers(&pair.dirs[0]), "it goes on")
    })
}

#[test]
fn taken_port_is_named_and_the_default_one_gives_way() -> osier_lab::Result<()> {
    Lab::run("port", |lab| {
        let pair = pair(lab)?;
        let holder = std::net::UdpSocket::bind("0.0.0.0:0").map_err(text)?;
        let port = holder.local_addr().map_err(text)?.port();
        // Only one namespace matters here: the lab's own, where the holder is.
        let exe = std::env::current_exe().map_err(text)?;
        let start_here = |name: &str| {
            let mut command = std::process::Command::new(&exe);
            command.args(["--exact", "daemon_process", "--nocapture"]);
            command
                .env("OSIER_TEST_DAEMON", &pair.dirs[0])
                .env("OSIER_TEST_NO_TUN", "1");
            pair.a.spawn(name, command)
        };
        let settings = pair.dirs[0].join("settings.toml");
        std::fs::write(&settings, format!("port = {port}\n")).map_err(text)?;
        let mut refused = start_here("fixed")?;
        expect(!refused.wait(SOON)?.success(), "a port asked for must be free")?;
        expect(
            refused.log().contains(&format!("UDP port {port} is in use")),
            &refused.log(),
        )?;

        std::fs::remove_file(&settings).map_err(text)?;
        let _default = std::net::UdpSocket::bind("0.0.0.0:16697").map_err(text)?;
        let _process = start_here("default")?;
        wait_until(SOON, "it takes another port", || answers(&pair.dirs[0]))?;
        let status = runtime().block_on(client(&pair.dirs[0]).status()).map_err(text)?;
        expect(status.udp_port == 16698, "the next port")?;
        expect(
            status.health.iter().any(|h| h.code == HealthCode::UdpPortChanged),
            "health says so",
        )
    })
}

#[test]
fn system_without_ipv6_is_explained() -> osier_lab::Result<()> {
    Lab::run("noipv6", |lab| {
        let pair = pair(lab)?;
        pair.a.sysctl("net.ipv6.conf.all.disable_ipv6", "1")?;
        pair.a.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
        let mut process = start(&pair.a, &pair.dirs[0], true)?;
        expect(!process.wait(SOON)?.success(), "it does not start")?;
        expect(process.log().contains("disable_ipv6"), &process.log())
    })
}

#[test]
fn lost_device_is_reported_and_relaying_goes_on() -> osier_lab::Result<()> {
    Lab::run("lost", |lab| {
        let pair = pair(lab)?;
        let _processes = up(&pair)?;
        pair.a.run("ip link delete osier0")?;
        let runtime = runtime();
        let alice = client(&pair.dirs[0]);
        let reported = || {
            let status = runtime.block_on(alice.status());
            status.is_ok_and(|s| {
                s.health
                    .iter()
                    .any(|h| h.code == HealthCode::NoTun && h.severity == Severity::Error)
            })
        };
        wait_until(SOON, "health names the lost device", reported)?;
        expect(neighbours(&pair.dirs[0]) == Some(1), "the tunnel stays")
    })
}
