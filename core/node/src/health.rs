//! What the operator should know: conditions turned into texts with a way out. Pure.

use crate::control::types::{Health, HealthCode, Severity};
use osier_proto::wallclock::UnixTime;

/// Difference between our clock and the registry's that is worth a word, in seconds. Certificates forgive an
/// hour.
const SKEW: i64 = 300;
/// A node alone for less than this has only just started, in seconds.
const ALONE: u64 = 10;

/// Everything that health follows from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    pub(crate) now: u64,
    pub(crate) uptime: u64,
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
    pub(crate) in_grace: bool,
    pub(crate) excluded: Option<String>,
    pub(crate) registry_error: Option<String>,
    /// The registry's clock minus ours.
    pub(crate) skew: Option<i64>,
    pub(crate) clock_suspect: bool,
    pub(crate) disk: Option<String>,
    pub(crate) usable_neighbours: usize,
    /// Members known besides ourselves.
    pub(crate) others: usize,
    /// The port that we listen on instead of the default one.
    pub(crate) changed_port: Option<u16>,
    /// Names of state files that were moved aside.
    pub(crate) recovered: Vec<&'static str>,
    /// Why the TUN device is gone; or that there is none by choice.
    pub(crate) tun_lost: Option<String>,
    pub(crate) no_tun: bool,
    /// No usable address, and nobody to talk to.
    pub(crate) no_network: bool,
    /// How it was concluded that UDP is blocked.
    pub(crate) udp_blocked: Option<String>,
}

/// Gravest first.
pub(crate) fn assess(c: &Conditions) -> Vec<Health> {
    let mut list = Vec::new();
    let mut add = |severity, code, text: String, fix: &str| {
        list.push(Health {
            severity,
            code,
            text,
            fix: fix.to_owned(),
        });
    };
    use HealthCode as Code;
    use Severity::{Error, Info, Warning};
    if let Some(reason) = &c.excluded {
        add(
            Error,
            Code::Excluded,
            format!("this node is no member any more: {reason}"),
            "ask for a new invite and run `osier join`",
        );
    } else if c.now > c.not_after {
        let (severity, text) = match c.in_grace {
            true => (
                Warning,
                "the certificate has expired and is accepted by the network's grace only",
            ),
            false => (Error, "the certificate has expired"),
        };
        add(
            severity,
            Code::CertificateExpired,
            format!("{text} (since {})", UnixTime(c.not_after)),
            "bring the registry back; the node renews by itself",
        );
    } else if c.not_after - c.now < (c.not_after.saturating_sub(c.not_before)) / 4 {
        let hours = (c.not_after - c.now) / 3600;
        add(
            Warning,
            Code::CertificateExpiring,
            format!("the certificate expires in {hours} h and could not be renewed so far"),
            "bring the registry back; the node renews by itself",
        );
    }
    if let Some(skew) = c.skew.filter(|s| s.abs() > SKEW) {
        let direction = if skew > 0 { "behind" } else { "ahead of" };
        add(
            Warning,
            Code::ClockSkew,
            format!(
                "this machine's clock is {} s {direction} the registry's",
                skew.abs()
            ),
            "set the clock, for example with NTP",
        );
    } else if c.clock_suspect {
        add(
            Warning,
            Code::ClockSkew,
            "other members' certificates are not valid yet by this machine's clock".into(),
            "set the clock, for example with NTP",
        );
    }
    if let Some(reason) = &c.disk {
        add(
            Warning,
            Code::DiskNotWritable,
            format!("state is kept in memory only: {reason}"),
            "make room or make the state directory writable; the node tries again each minute",
        );
    }
    if let Some(reason) = &c.tun_lost {
        add(
            Error,
            Code::NoTun,
            format!("the TUN device is gone: {reason}"),
            "restart the node: `osier down`, then `osier up`",
        );
    } else if c.no_tun {
        add(
            Info,
            Code::NoTun,
            "running without a TUN device: programs on this machine cannot use the network".into(),
            "start without --no-tun, as root or with CAP_NET_ADMIN",
        );
    }
    if c.no_network {
        add(
            Warning,
            Code::NoNetwork,
            "this machine has no network".into(),
            "connect it; the node goes on by itself",
        );
    } else if let Some(why) = &c.udp_blocked {
        add(
            Warning,
            Code::UdpBlocked,
            format!("UDP seems to be blocked here: {why}"),
            "let UDP out, on this machine and on its network's firewall, or use another network",
        );
    } else if c.usable_neighbours == 0 && c.uptime >= ALONE {
        match c.others {
            0 => add(
                Info,
                Code::NoNeighbours,
                "no other member is known yet".into(),
                "invite another machine: `osier invite` at the registry",
            ),
            n => add(
                Warning,
                Code::NoNeighbours,
                format!("none of the {n} other members can be reached"),
                "check this machine's network, and that UDP is not blocked",
            ),
        }
    }
    if let Some(reason) = &c.registry_error {
        add(
            Warning,
            Code::RegistryUnreachable,
            format!("the registry does not answer: {reason}"),
            "the mesh runs on without it; certificates are renewed when it is back",
        );
    }
    for file in &c.recovered {
        let fix = match *file {
            "usage" => "nothing to do; what was counted on earlier days is lost",
            _ => "nothing to do: the node learns its content again",
        };
        add(
            Info,
            Code::StateRecovered,
            format!("the state file {file} was damaged and has been moved to {file}.damaged"),
            fix,
        );
    }
    if let Some(port) = c.changed_port {
        add(
            Info,
            Code::UdpPortChanged,
            format!("the default UDP port is in use; this node listens on {port}"),
            "free the port, or set `port` in settings.toml",
        );
    }
    list.sort_by_key(|h| h.severity);
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Conditions {
        Conditions {
            now: 1000,
            uptime: 100,
            not_before: 0,
            not_after: 2000,
            usable_neighbours: 1,
            others: 3,
            ..Conditions::default()
        }
    }

    fn codes(c: &Conditions) -> Vec<HealthCode> {
        assess(c).into_iter().map(|h| h.code).collect()
    }

    #[test]
    fn nothing_wrong_nothing_said() {
        assert_eq!(assess(&well()), []);
    }

    #[test]
    fn each_condition_has_its_code() {
        use HealthCode::*;
        let cases: Vec<(Conditions, HealthCode)> = vec![
            (
                Conditions {
                    excluded: Some("revoked".into()),
                    ..well()
                },
                Excluded,
            ),
            (Conditions { now: 2001, ..well() }, CertificateExpired),
            (Conditions { now: 1600, ..well() }, CertificateExpiring),
            (
                Conditions {
                    skew: Some(-4000),
                    ..well()
                },
                ClockSkew,
            ),
            (
                Conditions {
                    clock_suspect: true,
                    ..well()
                },
                ClockSkew,
            ),
            (
                Conditions {
                    disk: Some("full".into()),
                    ..well()
                },
                DiskNotWritable,
            ),
            (
                Conditions {
                    usable_neighbours: 0,
                    ..well()
                },
                NoNeighbours,
            ),
            (
                Conditions {
                    usable_neighbours: 0,
                    others: 0,
                    ..well()
                },
                NoNeighbours,
            ),
            (
                Conditions {
                    registry_error: Some("refused".into()),
                    ..well()
                },
                RegistryUnreachable,
            ),
            (
                Conditions {
                    changed_port: Some(7),
                    ..well()
                },
                UdpPortChanged,
            ),
            (
                Conditions {
                    recovered: vec!["members"],
                    ..well()
                },
                StateRecovered,
            ),
            (
                Conditions {
                    tun_lost: Some("deleted".into()),
                    ..well()
                },
                NoTun,
            ),
            (
                Conditions {
                    no_network: true,
                    usable_neighbours: 0,
                    ..well()
                },
                NoNetwork,
            ),
            (
                Conditions {
                    udp_blocked: Some("nobody answers".into()),
                    usable_neighbours: 0,
                    ..well()
                },
                UdpBlocked,
            ),
            (
                Conditions {
                    no_tun: true,
                    ..well()
                },
                NoTun,
            ),
        ];
        for (conditions, code) in cases {
            assert_eq!(codes(&conditions), [code], "{conditions:?}");
        }
    }

    #[test]
    fn gravest_comes_first() {
        let c = Conditions {
            changed_port: Some(7),
            registry_error: Some("x".into()),
            tun_lost: Some("y".into()),
            ..well()
        };
        let severities: Vec<_> = assess(&c).into_iter().map(|h| h.severity).collect();
        assert_eq!(severities, [Severity::Error, Severity::Warning, Severity::Info]);
    }

    #[test]
    fn fresh_node_is_not_called_lonely() {
        assert_eq!(
            codes(&Conditions {
                usable_neighbours: 0,
                uptime: 2,
                ..well()
            }),
            []
        );
    }
}
