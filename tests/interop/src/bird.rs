//! BIRD (Debian package `bird2`).

use crate::{Key, Router, Settings};
use osier_lab::{Error, Process, Result, tool};
use std::path::PathBuf;

/// A running BIRD that announces its router's prefixes.
#[derive(Debug)]
pub struct Bird {
    pub process: Process,
}

impl Bird {
    /// Speaks on the interfaces to `neighbours`.
    pub fn start(router: &Router, neighbours: &[&Router]) -> Result<Self> {
        Self::start_with(router, neighbours, 96)
    }

    /// Announces `count` host routes in 10.200.0.0/16 beside its own prefixes.
    pub fn start_with_table(router: &Router, neighbours: &[&Router], count: u16) -> Result<Self> {
        let routes: String = (0..count)
            .map(|n| format!("    route 10.200.{}.{}/32 blackhole;\n", n >> 8, n & 0xff))
            .collect();
        Self::launch(
            router,
            neighbours,
            96,
            &format!("protocol static {{\n    ipv4;\n{routes}}}\n"),
        )
    }

    /// With a receive cost other than the 96 that BIRD gives wired interfaces.
    pub fn start_with(router: &Router, neighbours: &[&Router], rx_cost: u16) -> Result<Self> {
        Self::launch(router, neighbours, rx_cost, "")
    }

    pub fn configured(router: &Router, neighbours: &[&Router], settings: &Settings) -> Result<Self> {
        Self::launch_with(router, neighbours, 96, "", settings)
    }

    fn launch(router: &Router, neighbours: &[&Router], rx_cost: u16, more: &str) -> Result<Self> {
        Self::launch_with(router, neighbours, rx_cost, more, &Settings::default())
    }

    fn launch_with(
        router: &Router,
        neighbours: &[&Router],
        rx_cost: u16,
        more: &str,
        settings: &Settings,
    ) -> Result<Self> {
        Self::configure(router, neighbours, rx_cost, more, settings)?;
        let mut command = router.netns.command(tool("bird", "bird2")?);
        command.arg("-f").arg("-c").arg(Self::file(router, "conf"));
        command
            .arg("-s")
            .arg(Self::file(router, "ctl"))
            .arg("-P")
            .arg(Self::file(router, "pid"));
        Ok(Self {
            process: router.netns.spawn("bird", command)?,
        })
    }

    /// Gives a running one other settings.
    pub fn reconfigure(router: &Router, neighbours: &[&Router], settings: &Settings) -> Result<()> {
        Self::configure(router, neighbours, 96, "", settings)?;
        let answer = Self::ask(router, &["configure"])?;
        if answer.contains("Reconfigured") {
            return Ok(());
        }
        Err(Error::new(format!("birdc configure: {answer}")))
    }

    fn configure(
        router: &Router,
        neighbours: &[&Router],
        rx_cost: u16,
        more: &str,
        settings: &Settings,
    ) -> Result<()> {
        let interfaces: Vec<String> = neighbours
            .iter()
            .map(|n| format!("\"{}\"", crate::interface_to(n)))
            .collect();
        let configuration = format!(
            r#"
log stderr all;
router id {id};
protocol device {{ scan time 1; }}
protocol direct {{ ipv4; ipv6; interface "lo"; }}
protocol kernel {{ ipv4 {{ import none; export where source = RTS_BABEL; }}; }}
protocol kernel {{ ipv6 {{ import none; export where source = RTS_BABEL; }}; }}
protocol babel {{
    ipv4 {{ import all; export all; }};
    ipv6 {{ import all; export all; }};
    interface {interfaces} {{
        type wired;
        rxcost {rx_cost};
        hello interval {hello} ms;
        update interval {update} ms;
{authentication}    }};
}}
{more}"#,
            id = router.v4(),
            interfaces = interfaces.join(", "),
            authentication = authentication(&settings.keys),
            hello = settings.hello.as_millis(),
            update = settings.update.as_millis(),
        );
        let path = Self::file(router, "conf");
        std::fs::write(&path, configuration).map_err(|e| Error::new(format!("{}: {e}", path.display())))
    }

    /// What `birdc` answers.
    fn ask(router: &Router, words: &[&str]) -> Result<String> {
        let mut command = router.netns.command(tool("birdc", "bird2")?);
        command.arg("-s").arg(Self::file(router, "ctl")).args(words);
        let output = command.output().map_err(|e| Error::new(e.to_string()))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The metric of the best route to a prefix, as `birdc` tells.
    pub fn metric(router: &Router, prefix: &str) -> Option<u16> {
        let text = Self::ask(router, &["show", "route", "all", prefix]).ok()?;
        text.lines()
            .find_map(|line| line.trim().strip_prefix("Babel.metric: ")?.parse().ok())
    }

    fn file(router: &Router, suffix: &str) -> PathBuf {
        router
            .netns
            .directory()
            .join(format!("{}-bird.{suffix}", router.name()))
    }
}

fn authentication(keys: &[Key]) -> String {
    if keys.is_empty() {
        return String::new();
    }
    let mut text = "        authentication mac;\n".to_owned();
    for key in keys {
        let algorithm = match key {
            Key::HmacSha256(_) => "hmac sha256",
            Key::Blake2s(_) => "blake2s128",
        };
        text += &format!(
            "        password \"{}\" {{ algorithm {algorithm}; }};\n",
            key.text()
        );
    }
    text
}
