//! `registry.toml`: what an operator may change, with the defaults.

use crate::DirectoryError;
use serde::{Deserialize, Deserializer, de::Error as _};
use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// TCP port of a registry, unless its settings say otherwise.
pub const DEFAULT_PORT: u16 = 6690;

/// The contents of `registry.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Where nodes reach the registries of this network; written into invites, tried in order.
    pub public_urls: Vec<String>,
    /// `sqlite:FILE` (relative to the registry directory) or `postgres://…`.
    pub database: String,
    /// Life of the certificates it issues: 10 minutes to 1 year.
    #[serde(deserialize_with = "duration")]
    pub certificate_lifetime: Duration,
    /// Take a client's address from the last entry of `X-Forwarded-For`: only behind a proxy that sets it.
    pub trust_proxy: bool,
    pub tls: Option<TlsSettings>,
    pub limits: Limits,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// PEM files, relative to the registry directory.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Put the certificate's hash into invites: for certificates that no public authority signed.
    #[serde(default)]
    pub pin: bool,
}

/// Bounds on what clients can make the registry do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Octets of a request's body.
    pub body_octets: usize,
    /// Open connections, of all clients and of one address.
    pub connections: usize,
    pub connections_per_address: usize,
    /// Failed enrolments per minute, of one address and of all together.
    pub failed_enrolments_per_minute: u32,
    pub failed_enrolments_per_minute_in_all: u32,
    /// Requests per second of one address; ten times as many may come at once.
    pub requests_per_second: u32,
    /// A client must have sent its request, and taken its answer, in this time.
    #[serde(deserialize_with = "duration")]
    pub request_time: Duration,
    /// Client addresses to keep count of; strangers beyond them share one count.
    pub tracked_addresses: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0; 16], DEFAULT_PORT)),
            public_urls: Vec::new(),
            database: "sqlite:registry.db".into(),
            certificate_lifetime: Duration::from_secs(14 * 86_400),
            trust_proxy: false,
            tls: None,
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_octets: 16 * 1024,
            connections: 4096,
            connections_per_address: 256,
            failed_enrolments_per_minute: 20,
            failed_enrolments_per_minute_in_all: 1200,
            requests_per_second: 20,
            request_time: Duration::from_secs(10),
            tracked_addresses: 16_384,
        }
    }
}

impl Settings {
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, DirectoryError> {
        let failure = |reason: String| DirectoryError::Settings {
            path: path.to_owned(),
            reason,
        };
        let settings: Self = toml::from_str(text).map_err(|error| failure(error.to_string()))?;
        settings.check().map_err(failure)?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), String> {
        if !valid_lifetime(self.certificate_lifetime) {
            return Err(DirectoryError::Lifetime.to_string());
        }
        if let Some(url) = self
            .public_urls
            .iter()
            .find(|url| !osier_proto::invite::valid_registry_url(url))
        {
            return Err(format!(
                "`{url}` in public_urls is not an http:// or https:// URL of at most 256 characters"
            ));
        }
        if self.public_urls.len() > osier_proto::invite::MAX_REGISTRIES {
            return Err(format!(
                "public_urls: at most {} fit an invite",
                osier_proto::invite::MAX_REGISTRIES
            ));
        }
        let limits = &self.limits;
        let zero = [
            ("body_octets", limits.body_octets == 0),
            ("connections", limits.connections == 0),
            ("connections_per_address", limits.connections_per_address == 0),
            (
                "failed_enrolments_per_minute",
                limits.failed_enrolments_per_minute == 0,
            ),
            (
                "failed_enrolments_per_minute_in_all",
                limits.failed_enrolments_per_minute_in_all == 0,
            ),
            ("requests_per_second", limits.requests_per_second == 0),
            ("request_time", limits.request_time.is_zero()),
            ("tracked_addresses", limits.tracked_addresses == 0),
        ];
        match zero.iter().find(|(_, zero)| *zero) {
            Some((name, _)) => Err(format!("limits.{name} must be above 0")),
            None => Ok(()),
        }
    }

    /// The file that `network create` writes: the values, with a word on each.
    pub(crate) fn render(&self) -> String {
        let mut text = String::from(
            "# Settings of this Osier registry. Restart it after a change. docs/registry.md explains them all.\n\n",
        );
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "# Address and port to listen on.\nlisten = {}\n",
            quoted(&self.listen.to_string())
        );
        let urls: Vec<_> = self.public_urls.iter().map(|url| quoted(url)).collect();
        let _ = writeln!(
            text,
            "# Where nodes reach the registries of this network, for invites: \"https://registry.example:{DEFAULT_PORT}\".\n\
             public_urls = [{}]\n",
            urls.join(", ")
        );
        let _ = writeln!(
            text,
            "# sqlite:FILE, or postgres://USER:PASSWORD@HOST/DATABASE to share it between registries.\ndatabase = {}\n",
            quoted(&self.database)
        );
        let _ = writeln!(
            text,
            "# Life of a node's certificate (s, m, h, d); nodes renew at half of it.\ncertificate_lifetime = {}\n",
            quoted(&format_duration(self.certificate_lifetime))
        );
        let _ = writeln!(
            text,
            "# Behind a reverse proxy that sets X-Forwarded-For: true.\ntrust_proxy = {}\n",
            self.trust_proxy
        );
        text.push_str(
            "# TLS with a certificate of your own (PEM). self-signed.crt and self-signed.key are found by themselves.\n\
             # [tls]\n# certificate = \"fullchain.pem\"\n# key = \"privkey.pem\"\n\n\
             # Bounds on what clients can make the registry do.\n# [limits]\n",
        );
        let limits = &self.limits;
        let _ = writeln!(text, "# connections = {}", limits.connections);
        let _ = writeln!(
            text,
            "# connections_per_address = {}",
            limits.connections_per_address
        );
        let _ = writeln!(text, "# requests_per_second = {}", limits.requests_per_second);
        let _ = writeln!(
            text,
            "# failed_enrolments_per_minute = {}",
            limits.failed_enrolments_per_minute
        );
        text
    }
}

pub(crate) fn valid_lifetime(lifetime: Duration) -> bool {
    (600..=366 * 86_400).contains(&lifetime.as_secs())
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

/// A whole number and a unit: `90s`, `10m`, `12h`, `14d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let unit = text.trim().chars().last()?;
    let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let count: u64 = text.trim().strip_suffix(unit)?.trim_end().parse().ok()?;
    count.checked_mul(*seconds).map(Duration::from_secs)
}

/// As [`parse_duration`] reads it, in the largest unit that fits.
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (unit, size) = UNITS
        .iter()
        .find(|(_, size)| seconds >= *size && seconds.is_multiple_of(*size))
        .unwrap_or(&('s', 1));
    format!("{}{unit}", seconds / size)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text)
        .ok_or_else(|| D::Error::custom(format!("`{text}` is not a time such as 90s, 10m, 12h or 14d")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_written_file_reads_back() {
        let settings = Settings {
            public_urls: vec!["https://a.example:6690".into(), "http://[fd00::1]:80".into()],
            database: "postgres:///osier?host=/run/postgresql&user=\"x\"".into(),
            certificate_lifetime: Duration::from_secs(36 * 3600),
            trust_proxy: true,
            ..Settings::default()
        };
        let read = Settings::parse(Path::new("registry.toml"), &settings.render()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{settings:?}"));
    }

    #[test]
    fn a_mistake_is_named() {
        let parse = |text: &str| {
            Settings::parse(Path::new("registry.toml"), text)
                .unwrap_err()
                .to_string()
        };
        assert!(parse("lisen = \"[::]:1\"").contains("lisen"));
        assert!(parse("certificate_lifetime = \"2w\"").contains("such as"));
        assert!(parse("certificate_lifetime = \"1s\"").contains("10 minutes"));
        assert!(parse("public_urls = [\"ftp://x\"]").contains("ftp://x"));
        assert!(parse("[limits]\nconnections = 0").contains("limits.connections"));
    }

    #[test]
    fn times_have_units() {
        assert_eq!(parse_duration("14d"), Some(Duration::from_secs(14 * 86_400)));
        assert_eq!(parse_duration(" 90 s "), Some(Duration::from_secs(90)));
        for wrong in ["", "d", "5", "-1h", "1.5h", "99999999999999999d", "5µ"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
        assert_eq!(format_duration(Duration::from_secs(0)), "0s");
        assert_eq!(format_duration(Duration::from_secs(7200)), "2h");
    }
}
