//! The reference implementation (Debian package `babeld`).

use crate::{Key, Router, Settings, seconds};
use osier_lab::{Process, Result, tool};

/// Port of its local interface; each has a namespace of its own.
const LOCAL_PORT: u16 = 33_123;

/// A running babeld that announces its router's addresses.
#[derive(Debug)]
pub struct Babeld {
    pub process: Process,
}

impl Babeld {
    /// Speaks on the interfaces to `neighbours`.
    pub fn start(router: &Router, neighbours: &[&Router]) -> Result<Self> {
        Self::configured(router, neighbours, &Settings::default())
    }

    pub fn configured(router: &Router, neighbours: &[&Router], settings: &Settings) -> Result<Self> {
        let announce = ["redistribute local if lo allow", "redistribute local deny"];
        Self::announcing(router, neighbours, settings, &announce)
    }

    /// With `redistribute` statements of the caller's instead of those for its router's addresses.
    pub fn announcing(
        router: &Router,
        neighbours: &[&Router],
        settings: &Settings,
        announce: &[&str],
    ) -> Result<Self> {
        let directory = router.netns.directory();
        let file = |suffix: &str| directory.join(format!("{}-babeld.{suffix}", router.name()));
        let mut command = router.netns.command(tool("babeld", "babeld")?);
        command.args(["-d", "1", "-g", &LOCAL_PORT.to_string(), "-c", "/dev/null"]);
        // No smoothing of metrics, or it takes half a minute to trust a link that is back.
        command.args(["-M", "0"]);
        command.arg("-I").arg(file("pid")).arg("-S").arg(file("state"));
        // One left by a killed predecessor is not ours.
        let _ = std::fs::remove_file(file("pid"));
        for (number, key) in settings.keys.iter().enumerate() {
            let algorithm = match key {
                Key::HmacSha256(_) => "hmac-sha256",
                Key::Blake2s(_) => "blake2s128",
            };
            let statement = format!("key id k{number} type {algorithm} value {}", key.hex());
            command.args(["-C", &statement]);
        }
        // It takes one key per interface.
        let key = if settings.keys.is_empty() { "" } else { " key k0" };
        let rtt = if settings.rtt {
            " enable-timestamps true max-rtt-penalty 150 rtt-min 10 rtt-max 120"
        } else {
            ""
        };
        let interfaces = format!(
            "default type wired hello-interval {} update-interval {}{key}{rtt}",
            seconds(settings.hello),
            seconds(settings.update)
        );
        for statement in [&interfaces[..]].iter().chain(announce) {
            command.args(["-C", statement]);
        }
        command.args(neighbours.iter().map(|n| crate::interface_to(n)));
        Ok(Self {
            process: router.netns.spawn("babeld", command)?,
        })
    }

    /// The metric of the installed route to a prefix, as babeld's local interface tells.
    pub fn metric(router: &Router, prefix: &str) -> Option<u16> {
        let script = format!("exec 3<>/dev/tcp/::1/{LOCAL_PORT}; printf 'dump\\nquit\\n' >&3; cat <&3");
        let output = router.netns.command("bash").args(["-c", &script]).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| {
            line.contains(" route ")
                && line.contains(&format!(" prefix {prefix} "))
                && line.contains("installed yes")
        })?;
        line.split_whitespace()
            .skip_while(|&word| word != "metric")
            .nth(1)?
            .parse()
            .ok()
    }
}
