//! `osier babel` itself: the real binary.

use crate::{Router, Settings};
use osier_lab::{Error, Process, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A running `osier babel` that announces its router's prefixes.
#[derive(Debug)]
pub struct Osier {
    pub process: Process,
    control: PathBuf,
}

/// What `osier babel dump --json` prints; declared here once more, because scripts depend on it.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    pub routes: Vec<Route>,
    pub neighbours: Vec<Neighbour>,
    pub counters: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Route {
    pub prefix: String,
    pub src: Option<String>,
    pub via: String,
    pub dev: String,
    pub metric: u16,
    pub router_id: String,
    pub seqno: u16,
    pub installed: bool,
    pub feasible: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Neighbour {
    pub addr: String,
    pub dev: String,
    pub cost: u16,
    pub rtt_ms: Option<f64>,
}

impl Osier {
    /// Speaks on the interfaces to `neighbours`.
    pub fn start(router: &Router, neighbours: &[&Router]) -> Result<Self> {
        Self::start_with(router, neighbours, &[])
    }

    /// With further options.
    pub fn start_with(router: &Router, neighbours: &[&Router], options: &[&str]) -> Result<Self> {
        Self::launch(router, Self::arguments(router, neighbours, options))
    }

    pub fn configured(router: &Router, neighbours: &[&Router], settings: &Settings) -> Result<Self> {
        Self::launch(router, Self::arguments_with(router, neighbours, settings))
    }

    /// With a configuration file that says everything, beside the options.
    pub fn start_from(router: &Router, file: &Path, options: &[&str]) -> Result<Self> {
        let mut arguments: Vec<OsString> = vec!["babel".into(), "--control".into()];
        arguments.push(Self::control(router).into());
        arguments.extend(["--config".into(), file.into()]);
        arguments.extend(options.iter().map(OsString::from));
        Self::launch(router, arguments)
    }

    fn launch(router: &Router, arguments: Vec<OsString>) -> Result<Self> {
        let mut command = router.netns.command(binary()?);
        command.args(arguments);
        Ok(Self {
            process: router.netns.spawn("osier", command)?,
            control: Self::control(router),
        })
    }

    /// What [`Osier::start_with`] gives the binary.
    pub fn arguments(router: &Router, neighbours: &[&Router], options: &[&str]) -> Vec<OsString> {
        let mut arguments = Self::arguments_with(router, neighbours, &Settings::default());
        arguments.extend(options.iter().map(OsString::from));
        arguments
    }

    fn arguments_with(router: &Router, neighbours: &[&Router], settings: &Settings) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["babel".into(), "--control".into()];
        arguments.push(Self::control(router).into());
        for neighbour in neighbours {
            arguments.extend(["-i".into(), crate::interface_to(neighbour).into()]);
        }
        for prefix in router.prefixes() {
            arguments.extend(["-p".into(), prefix.into()]);
        }
        let [hello, update] =
            [settings.hello, settings.update].map(|interval| interval.as_millis().to_string().into());
        arguments.extend(["--hello-ms".into(), hello, "--update-ms".into(), update]);
        if settings.rtt {
            for neighbour in neighbours {
                arguments.extend(["--rtt".into(), crate::interface_to(neighbour).into()]);
            }
        }
        for key in &settings.keys {
            arguments.extend(["--mac".into(), key.spec().into()]);
        }
        arguments
    }

    fn control(router: &Router) -> PathBuf {
        router
            .netns
            .directory()
            .join(format!("{}-osier.sock", router.name()))
    }

    /// Its routes and neighbours, by the command an operator would use.
    pub fn dump(&self) -> Result<Report> {
        let document = self.dump_document(&[])?;
        serde_json::from_value(document.clone()).map_err(|e| Error::new(format!("{e} in {document}")))
    }

    /// All that the dump says, for those routes that `more` picks.
    pub fn dump_document(&self, more: &[&str]) -> Result<serde_json::Value> {
        let output = Command::new(binary()?)
            .args(["babel", "dump", "--json", "--control"])
            .arg(&self.control)
            .args(more)
            .output()
            .map_err(|e| Error::new(e.to_string()))?;
        if !output.status.success() {
            return Err(Error::new(String::from_utf8_lossy(&output.stderr)));
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|e| Error::new(format!("{e} in {}", String::from_utf8_lossy(&output.stdout))))
    }

    /// The installed route to a prefix.
    pub fn installed(&self, prefix: &str) -> Option<Route> {
        self.dump()
            .ok()?
            .routes
            .into_iter()
            .find(|route| route.installed && route.prefix == prefix)
    }
}

/// The `osier` binary of the same build as the test, brought up to date first; or the one that the environment
/// variable `OSIER_BINARY` names.
pub fn binary() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(build).clone()
}

fn build() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("OSIER_BINARY") {
        return Ok(path.into());
    }
    let failed = |what: &str| Error::new(format!("cannot build the osier binary: {what}"));
    let exe = std::env::current_exe().map_err(|e| failed(&e.to_string()))?;
    // target/PROFILE/deps/TEST
    let profile = exe
        .parent()
        .and_then(|deps| deps.parent())
        .ok_or_else(|| failed("no target directory"))?;
    let target = profile.parent().ok_or_else(|| failed("no target directory"))?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--offline", "-p", "osier-cli", "--target-dir"])
        .arg(target);
    if profile.file_name().is_some_and(|name| name == "release") {
        cargo.arg("--release");
    }
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let output = cargo.output().map_err(|e| failed(&e.to_string()))?;
    if !output.status.success() {
        return Err(failed(&String::from_utf8_lossy(&output.stderr)));
    }
    Ok(profile.join("osier"))
}
