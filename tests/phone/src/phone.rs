//! The measured process: the bindings, used as an app does.

use super::beside;
use anyhow::{Context, Result, bail, ensure};
use osier_mobile::{
    Event, LogLine, Platform, PlatformError, ServiceState, Session, SessionConfig, TunSettings,
};
use std::{
    os::fd::IntoRawFd,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};

/// Printed when the device is there.
pub(crate) const READY: &str = "the device is there";
const SESSIONS: &str = "sessions: ";

/// The question how many sessions there are is asked by making this file.
pub(crate) fn question(state: &Path) -> PathBuf {
    beside(state, "question")
}

pub(crate) fn invite(state: &Path) -> PathBuf {
    beside(state, "invite")
}

pub(crate) fn sessions(log: &str) -> Option<u64> {
    let line = log.lines().find_map(|line| line.strip_prefix(SESSIONS))?;
    line.trim().parse().ok()
}

#[derive(Debug)]
struct App;

impl Platform for App {
    fn protect(&self, _: i32) -> Result<bool, PlatformError> {
        Ok(true)
    }

    fn log(&self, _: LogLine) -> Result<(), PlatformError> {
        Ok(())
    }
}

pub(crate) fn run(state: &Path) -> Result<()> {
    let config = SessionConfig {
        state_dir: state.display().to_string(),
        log: None,
        leaf: true,
    };
    let session = Session::new(config, Arc::new(App))?;
    let executor: Runtime = Builder::new_current_thread().enable_time().build()?;
    executor.block_on(async {
        let invite = std::fs::read_to_string(invite(state))?;
        session
            .join(invite.trim().to_owned(), Some("phone".to_owned()))
            .await?;
        until_running(&session).await?;
        let settings = session.tun_settings().await?.context("no settings")?;
        session.set_tun(open(&settings)?, settings.mtu)?;
        say(READY);
        while !question(state).exists() {
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        let bundle = session.support_bundle().await?;
        say(&format!("{SESSIONS}{}", count(&bundle)?));
        session.stop().await?;
        Ok(())
    })
}

async fn until_running(session: &Session) -> Result<()> {
    while let Some(event) = session.next_event().await? {
        if let Event::ServiceChanged { service } = event {
            match service.state {
                ServiceState::Running => return Ok(()),
                ServiceState::Failed => bail!("it failed: {:?}", service.problem),
                _ => {}
            }
        }
    }
    bail!("the session has stopped")
}

/// As the system's VPN service would.
fn open(settings: &TunSettings) -> Result<i32> {
    let device = tun_rs::DeviceBuilder::new()
        .name("tun0")
        .mtu(settings.mtu)
        .enable(true)
        .build_sync()?;
    let address = format!("{}/{}", settings.address, settings.address_length);
    let route = format!("{}/{}", settings.route, settings.route_length);
    for (what, value) in [("address", &address), ("route", &route)] {
        let mut command = Command::new("ip");
        command.args(["-6", what, "add", value, "dev", "tun0"]);
        ensure!(command.status()?.success(), "{command:?} failed");
    }
    Ok(device.into_raw_fd())
}

/// Sessions in a support bundle.
fn count(bundle: &str) -> Result<usize> {
    let (_, rest) = bundle.split_once("== sessions ==").context("no sessions")?;
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<serde_json::Value>();
    let sessions = values.next().context("no sessions")??;
    Ok(sessions.as_array().context("no list")?.len())
}

#[allow(clippy::print_stdout)] // how it is heard
fn say(text: &str) {
    println!("{text}");
}
