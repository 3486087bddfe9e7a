//! The four daemons behind one face.

use crate::{Babeld, Bird, Frr, HELLO, Osier, Router, SOON, UPDATE};
use osier_lab::{Result, tool};
use std::fmt;
use std::process::Command;
use std::time::Duration;

/// A program that speaks Babel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Osier,
    Babeld,
    Bird,
    Frr,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Osier, Self::Babeld, Self::Bird, Self::Frr];

    pub fn name(self) -> &'static str {
        match self {
            Self::Osier => "osier",
            Self::Babeld => "babeld",
            Self::Bird => "bird",
            Self::Frr => "frr",
        }
    }

    /// The version that is installed, as the program prints it; empty when it is missing.
    pub fn version(self) -> String {
        let program = match self {
            Self::Osier => crate::binary(),
            Self::Babeld => tool("babeld", "babeld"),
            Self::Bird => tool("bird", "bird2"),
            Self::Frr => Ok("/usr/lib/frr/babeld".into()),
        };
        let flag = if self == Self::Babeld { "-V" } else { "--version" };
        let output = program
            .ok()
            .and_then(|path| Command::new(path).arg(flag).output().ok());
        let text = output.map_or(String::new(), |output| {
            let both = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&both).into_owned()
        });
        let mut words = text.lines().next().unwrap_or_default().split_whitespace();
        let number = |word: &&str| word.contains('.') && word.contains(|c: char| c.is_ascii_digit());
        words
            .rfind(number)
            .unwrap_or_default()
            .trim_start_matches("babeld-")
            .to_owned()
    }

    /// The prefix under which this daemon announces its router's IPv6 address: babeld announces addresses.
    pub fn own_v6(self, router: &Router) -> String {
        match self {
            Self::Babeld => format!("{}/128", router.v6()),
            _ => router.prefixes()[1].clone(),
        }
    }

    pub fn own_v4(self, router: &Router) -> String {
        match self {
            Self::Babeld => format!("{}/32", router.v4()),
            _ => router.prefixes()[0].clone(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What daemons can be told, each in its own words.
#[derive(Clone, Debug)]
pub struct Settings {
    pub hello: Duration,
    pub update: Duration,
    /// Keys that sign and prove every packet; not for FRR 8.4, which knows none.
    pub keys: Vec<Key>,
    /// Timestamps and costs by round-trip times (RFC 9616); osier and babeld only.
    pub rtt: bool,
}

/// A MAC key (RFC 8967). ASCII, because BIRD takes passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    HmacSha256(String),
    Blake2s(String),
}

impl Key {
    pub fn hex(&self) -> String {
        self.text().bytes().map(|octet| format!("{octet:02x}")).collect()
    }

    /// For `--mac` of `osier babel`, and as a line of a key file.
    pub fn spec(&self) -> String {
        let algorithm = match self {
            Self::HmacSha256(_) => "hmac-sha256",
            Self::Blake2s(_) => "blake2s",
        };
        format!("{algorithm}:{}", self.hex())
    }

    pub fn text(&self) -> &str {
        let (Self::HmacSha256(text) | Self::Blake2s(text)) = self;
        text
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hello: HELLO,
            update: UPDATE,
            keys: Vec::new(),
            rtt: false,
        }
    }
}

/// A running one.
#[derive(Debug)]
pub enum Daemon {
    Osier(Osier),
    Babeld(Babeld),
    Bird(Bird),
    Frr(Frr),
}

impl Daemon {
    /// Speaks on the interfaces to `neighbours`.
    pub fn start(kind: Kind, router: &Router, neighbours: &[&Router]) -> Result<Self> {
        Self::start_with(kind, router, neighbours, &Settings::default())
    }

    pub fn start_with(
        kind: Kind,
        router: &Router,
        neighbours: &[&Router],
        settings: &Settings,
    ) -> Result<Self> {
        Ok(match kind {
            Kind::Osier => Self::Osier(Osier::configured(router, neighbours, settings)?),
            Kind::Babeld => Self::Babeld(Babeld::configured(router, neighbours, settings)?),
            Kind::Bird => Self::Bird(Bird::configured(router, neighbours, settings)?),
            Kind::Frr => Self::Frr(Frr::configured(router, neighbours, settings)?),
        })
    }

    pub fn is_running(&mut self) -> bool {
        match self {
            Self::Osier(daemon) => daemon.process.is_running(),
            Self::Babeld(daemon) => daemon.process.is_running(),
            Self::Bird(daemon) => daemon.process.is_running(),
            Self::Frr(daemon) => daemon.babeld.is_running(),
        }
    }

    /// Stops it as an operator would; it retracts.
    pub fn terminate(&mut self) -> Result<()> {
        match self {
            Self::Osier(daemon) => daemon.process.terminate(SOON).map(drop),
            Self::Babeld(daemon) => daemon.process.terminate(SOON).map(drop),
            Self::Bird(daemon) => daemon.process.terminate(SOON).map(drop),
            Self::Frr(daemon) => daemon.terminate(),
        }
    }

    /// As a crash would.
    pub fn kill(&mut self) {
        match self {
            Self::Osier(daemon) => daemon.process.kill(),
            Self::Babeld(daemon) => daemon.process.kill(),
            Self::Bird(daemon) => daemon.process.kill(),
            Self::Frr(daemon) => daemon.kill(),
        }
    }

    /// The metric it shows for its installed route to a prefix.
    pub fn metric(&self, router: &Router, prefix: &str) -> Option<u16> {
        match self {
            Self::Osier(daemon) => daemon.installed(prefix).map(|route| route.metric),
            Self::Babeld(_) => Babeld::metric(router, prefix),
            Self::Bird(_) => Bird::metric(router, prefix),
            Self::Frr(_) => Frr::metric(router, prefix),
        }
    }
}
