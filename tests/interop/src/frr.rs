//! FRR (Debian package `frr`): its babeld and the zebra that installs its routes.

use crate::{Router, SOON, Settings};
use osier_lab::{Error, Process, Result, tool, wait_until};
use std::path::{Path, PathBuf};
use std::process::Command;

const DAEMONS: &str = "/usr/lib/frr";

/// A running FRR that announces its router's connected prefixes.
#[derive(Debug)]
pub struct Frr {
    pub babeld: Process,
    zebra: Process,
}

impl Frr {
    /// Speaks on the interfaces to `neighbours`.
    pub fn start(router: &Router, neighbours: &[&Router]) -> Result<Self> {
        Self::configured(router, neighbours, &Settings::default())
    }

    pub fn configured(router: &Router, neighbours: &[&Router], settings: &Settings) -> Result<Self> {
        let directory = directory(router);
        // The sockets of a killed predecessor are not ours.
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory)
            .map_err(|e| Error::new(format!("{}: {e}", directory.display())))?;
        let interfaces: Vec<String> = neighbours.iter().map(|n| crate::interface_to(n)).collect();
        write(&directory.join("zebra.conf"), "log stdout\n")?;
        write(
            &directory.join("babeld.conf"),
            &configuration(&interfaces, settings),
        )?;
        write(&directory.join("group"), &group_file()?)?;

        let zebra = launch(router, "zebra")?;
        wait_until(SOON, "zebra listens", || directory.join("zserv.api").exists())?;
        let babeld = launch(router, "babeld")?;
        let frr = Self { babeld, zebra };
        frr.open_ears(router, &interfaces)?;
        Ok(frr)
    }

    /// FRR 8.4 joins the multicast group twice, takes the second refusal for a failure and leaves: then it
    /// hears nothing. Taking an interface out of the configuration and putting it back helps.
    fn open_ears(&self, router: &Router, interfaces: &[String]) -> Result<()> {
        for interface in interfaces {
            wait_until(SOON, &format!("FRR listens on {interface}"), || {
                if in_group(router, interface) && runs_on(router, interface) {
                    return true;
                }
                for statement in [format!("no network {interface}"), format!("network {interface}")] {
                    // It may not answer yet; then it is asked again.
                    let _ = vtysh(router, &["configure terminal", "router babel", &statement]);
                }
                in_group(router, interface) && runs_on(router, interface)
            })?;
        }
        Ok(())
    }

    /// The metric of the installed route to a prefix, as `vtysh` tells.
    pub fn metric(router: &Router, prefix: &str) -> Option<u16> {
        let text = vtysh(router, &["show babel route"]).ok()?;
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{prefix} ")) && line.contains("(installed)"))?;
        line.split_whitespace()
            .skip_while(|&word| word != "metric")
            .nth(1)?
            .parse()
            .ok()
    }

    /// Stops babeld, which retracts, then zebra.
    pub fn terminate(&mut self) -> Result<()> {
        self.babeld.terminate(SOON)?;
        self.zebra.terminate(SOON).map(drop)
    }

    /// As a crash would: no retractions, and its routes stay in the kernel.
    pub fn kill(&mut self) {
        self.babeld.kill();
        self.zebra.kill();
    }
}

/// One program of FRR. It insists on a group for users of its shell, and on being in it: in a mount namespace
/// of its own that group is root's.
fn launch(router: &Router, program: &str) -> Result<Process> {
    let directory = directory(router);
    let path = |name: String| directory.join(name).display().to_string();
    let script = format!(
        "mount --bind {group} /etc/group && exec {DAEMONS}/{program} -u root -g root -P 0 -f {conf} -i {pid} \
         -z {api} --vty_socket {vty}",
        group = path("group".into()),
        conf = path(format!("{program}.conf")),
        pid = path(format!("{program}.pid")),
        api = path("zserv.api".into()),
        vty = directory.display(),
    );
    if !Path::new(DAEMONS).join(program).exists() {
        // Names the package to install.
        tool(program, "frr")?;
    }
    let mut command = router.netns.command("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    router.netns.spawn(&format!("frr-{program}"), command)
}

fn configuration(interfaces: &[String], settings: &Settings) -> String {
    let mut text = "log stdout\nrouter babel\n babel smoothing-half-life 0\n redistribute ipv4 connected\n redistribute ipv6 connected\n".to_owned();
    for interface in interfaces {
        text += &format!(" network {interface}\n");
    }
    for interface in interfaces {
        text += &format!(
            "!\ninterface {interface}\n babel wired\n babel hello-interval {}\n babel update-interval {}\n",
            settings.hello.as_millis(),
            settings.update.as_millis()
        );
    }
    text
}

fn vtysh(router: &Router, lines: &[&str]) -> Result<String> {
    let mut command: Command = router.netns.command(tool("vtysh", "frr")?);
    command.arg("--vty_socket").arg(directory(router));
    command.args(["-d", "babeld"]);
    for line in lines {
        command.args(["-c", line]);
    }
    let output = command.output().map_err(|e| Error::new(e.to_string()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether FRR says that it speaks on the interface.
fn runs_on(router: &Router, interface: &str) -> bool {
    vtysh(router, &[&format!("show babel interface {interface}")])
        .is_ok_and(|text| text.contains("Babel protocol is running"))
}

/// Whether somebody has joined ff02::1:6 on the interface.
fn in_group(router: &Router, interface: &str) -> bool {
    router
        .netns
        .run(&format!("ip -6 maddress show dev {interface}"))
        .is_ok_and(|groups| groups.contains("ff02::1:6\n"))
}

/// The system's groups, with FRR's being root's.
fn group_file() -> Result<String> {
    let groups = std::fs::read_to_string("/etc/group").map_err(|e| Error::new(format!("/etc/group: {e}")))?;
    let others = groups.lines().filter(|line| !line.starts_with("frrvty:"));
    Ok(others
        .chain(["frrvty:x:0:root"])
        .map(|line| format!("{line}\n"))
        .collect())
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|e| Error::new(format!("{}: {e}", path.display())))
}

fn directory(router: &Router) -> PathBuf {
    router.netns.directory().join(format!("{}-frr", router.name()))
}
