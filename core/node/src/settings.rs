//! `settings.toml` in the state directory: what an operator may change, all of it optional.
//!
//! ```toml
//! log = "info"                              # or osier_proto=debug,info
//! port = 16697                              # UDP; without it the default port, or another when it is taken
//! tun = "osier%d"                           # name of the device (macOS: "utun%d"); false: run without one
//! endpoints = ["203.0.113.7:16697"]         # where others can reach this node, besides what it finds itself
//! registries = ["https://registry.example"] # instead of those of the invite
//! registry_tls_pin = "…64 hex digits…"      # SHA-256 of a self-signed registry's certificate
//! outgoing = 6                              # tunnels to keep, and how many to accept
//! incoming = 18
//! refresh_seconds = 300                     # the least useful tunnel is replaced this often
//! leaf = false                              # carry only our own traffic, keep 3 tunnels, sleep while idle
//! aes = true                                # false: WireGuard's own cipher alone
//! packet_threads = 2                        # that may handle packets; half of the processors otherwise, 4 at most
//! offload = true                            # false: exchange packets with the system one by one
//! port_mapping = true                       # ask routers (UPnP) for a port
//! control_group = "osier"                   # group that may use the control socket
//! ```

use crate::state::StateError;
use serde::Deserialize;
use std::{fs, io, net::SocketAddr, path::Path};

pub const FILE_NAME: &str = "settings.toml";

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub log: Option<String>,
    pub port: Option<u16>,
    pub tun: Option<Tun>,
    #[serde(default)]
    pub endpoints: Vec<SocketAddr>,
    pub registries: Option<Vec<String>>,
    pub registry_tls_pin: Option<String>,
    pub outgoing: Option<usize>,
    pub incoming: Option<usize>,
    pub refresh_seconds: Option<u64>,
    pub leaf: Option<bool>,
    pub offload: Option<bool>,
    pub aes: Option<bool>,
    pub packet_threads: Option<usize>,
    pub port_mapping: Option<bool>,
    pub control_group: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Tun {
    /// `false`: none. `true`: the default.
    Wanted(bool),
    Named(String),
}

impl Settings {
    /// Reads `settings.toml` in `dir`; no file means no settings.
    ///
    /// # Errors
    /// [`StateError::Settings`] names the line and what is wrong with it.
    pub fn load(dir: &Path) -> Result<Self, StateError> {
        let path = dir.join(FILE_NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(StateError::Read { path, source }),
        };
        Self::parse(&text).map_err(|reason| StateError::Settings { path, reason })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let settings: Self = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), String> {
        if self.outgoing.is_some_and(|n| !(1..=1000).contains(&n)) {
            return Err("outgoing: between 1 and 1000".into());
        }
        if self.incoming.is_some_and(|n| n > 3000) {
            return Err("incoming: at most 3000".into());
        }
        if self.packet_threads.is_some_and(|n| !(1..=16).contains(&n)) {
            return Err("packet_threads: between 1 and 16".into());
        }
        if self.refresh_seconds.is_some_and(|n| !(10..=86_400).contains(&n)) {
            return Err("refresh_seconds: between 10 and 86400".into());
        }
        if let Some(pin) = &self.registry_tls_pin
            && parse_pin(pin).is_none()
        {
            return Err("registry_tls_pin: 64 hexadecimal digits".into());
        }
        if self.endpoints.len() > 16 {
            return Err("endpoints: at most 16".into());
        }
        if let Some(url) = self.registries.iter().flatten().find(|u| !is_http_url(u)) {
            return Err(format!("registries: {url:?} is not an http:// or https:// URL"));
        }
        Ok(())
    }

    /// The pin, parsed.
    pub fn tls_pin(&self) -> Option<[u8; 32]> {
        self.registry_tls_pin.as_deref().and_then(parse_pin)
    }

    /// Names of the settings in which `other` differs: those that a reload applies, and those that need a
    /// restart.
    pub fn differences(&self, other: &Self) -> (Vec<String>, Vec<String>) {
        let mut live = Vec::new();
        let mut restart = Vec::new();
        let note = |list: &mut Vec<String>, name: &str, differs: bool| {
            if differs {
                list.push(name.to_owned());
            }
        };
        note(&mut live, "log", self.log != other.log);
        note(&mut live, "endpoints", self.endpoints != other.endpoints);
        note(&mut live, "registries", self.registries != other.registries);
        note(
            &mut live,
            "registry_tls_pin",
            self.registry_tls_pin != other.registry_tls_pin,
        );
        note(&mut live, "outgoing", self.outgoing != other.outgoing);
        note(&mut live, "incoming", self.incoming != other.incoming);
        note(
            &mut live,
            "refresh_seconds",
            self.refresh_seconds != other.refresh_seconds,
        );
        note(&mut live, "leaf", self.leaf != other.leaf);
        note(&mut restart, "port", self.port != other.port);
        note(&mut restart, "tun", self.tun != other.tun);
        note(&mut restart, "offload", self.offload != other.offload);
        note(&mut restart, "aes", self.aes != other.aes);
        note(
            &mut restart,
            "packet_threads",
            self.packet_threads != other.packet_threads,
        );
        note(
            &mut restart,
            "port_mapping",
            self.port_mapping != other.port_mapping,
        );
        note(
            &mut restart,
            "control_group",
            self.control_group != other.control_group,
        );
        (live, restart)
    }
}

/// 64 hexadecimal digits.
pub fn parse_pin(text: &str) -> Option<[u8; 32]> {
    let mut pin = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in pin.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(pin)
}

fn is_http_url(url: &str) -> bool {
    let is_http = |u: &hyper::Uri| matches!(u.scheme_str(), Some("http" | "https"));
    url.parse()
        .is_ok_and(|u| is_http(&u) && u.host().is_some_and(|host| !host.is_empty()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn no_file_means_defaults() {
        let temp = TempDir::new("settings-none");
        assert_eq!(Settings::load(temp.path()).unwrap(), Settings::default());
    }

    #[test]
    fn every_setting_is_understood() {
        let text = r#"
            log = "debug"
            port = 1
            tun = false
            endpoints = ["203.0.113.7:1", "[2001:db8::1]:2"]
            registries = ["https://a.example", "http://127.0.0.1:8080"]
            registry_tls_pin = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
            outgoing = 3
            incoming = 9
            refresh_seconds = 60
            leaf = true
            offload = false
            aes = false
            packet_threads = 3
            port_mapping = false
            control_group = "osier"
        "#;
        let settings = Settings::parse(text).unwrap();
        assert_eq!(settings.tun, Some(Tun::Wanted(false)));
        assert_eq!(settings.tls_pin().unwrap()[..3], [0, 0x11, 0x22]);
        assert_eq!(settings.endpoints.len(), 2);
        assert_eq!((settings.offload, settings.aes), (Some(false), Some(false)));
        assert_eq!(settings.packet_threads, Some(3));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("prot = 1", "prot"),
            ("port = 70000", "port"),
            ("outgoing = 0", "outgoing"),
            ("registries = [\"ftp://x\"]", "ftp://x"),
            ("registry_tls_pin = \"xyz\"", "registry_tls_pin"),
            ("endpoints = [\"nonsense\"]", "endpoints"),
            ("log = ", "line 1"),
        ] {
            let error = Settings::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn error_names_the_file() {
        let temp = TempDir::new("settings-bad");
        std::fs::write(temp.path().join(FILE_NAME), "x = 1").unwrap();
        let error = Settings::load(temp.path()).unwrap_err().to_string();
        assert!(error.contains("settings.toml"), "{error}");
    }

    #[test]
    fn reload_knows_what_needs_a_restart() {
        let old = Settings::default();
        let new = Settings {
            log: Some("debug".into()),
            port: Some(7),
            ..Settings::default()
        };
        assert_eq!(
            old.differences(&new),
            (vec!["log".to_owned()], vec!["port".to_owned()])
        );
    }
}
