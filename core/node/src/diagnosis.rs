//! What `osier doctor` shows: checks in the order in which things depend on each other, each with what was seen and,
//! unless all is well, what to do. Pure.

use crate::{
    connection::FRESH,
    control::types::{
        Check, ConnectionState, Diagnostics, HealthCode, Service, ServiceState, Severity, Status, UdpState,
        Verdict,
    },
};
use osier_proto::wallclock::UnixTime;

/// The service's checks, and the node's when one runs. `disk` is why the state directory cannot be written, if so.
pub(crate) fn diagnose(service: &Service, status: Option<&Status>, disk: Option<&str>) -> Diagnostics {
    let mut checks = Checks(Vec::new());
    checks.add_ok(
        "service",
        format!(
            "osier {}, API version {}, process {}",
            service.version, service.api_version, service.pid
        ),
    );
    match disk {
        None => checks.add_ok("state-directory", "it can be written".into()),
        Some(reason) => checks.add(
            "state-directory",
            Verdict::Error,
            format!("it cannot be written: {reason}"),
            "make room, or make the state directory writable for the service",
        ),
    }
    about_service(&mut checks, service);
    if let Some(status) = status {
        about_node(&mut checks, status);
    }
    Diagnostics { checks: checks.0 }
}

struct Checks(Vec<Check>);

impl Checks {
    fn add(&mut self, name: &str, verdict: Verdict, seen: String, fix: &str) {
        self.0.push(Check {
            name: name.into(),
            verdict,
            seen,
            fix: (verdict != Verdict::Ok).then(|| fix.to_owned()),
        });
    }

    fn add_ok(&mut self, name: &str, seen: String) {
        self.add(name, Verdict::Ok, seen, "");
    }

    /// What health has to say on one of these codes, or else that all is well.
    fn add_health(&mut self, name: &str, status: &Status, codes: &[HealthCode], well: String) {
        match status.health.iter().find(|h| codes.contains(&h.code)) {
            Some(health) => {
                let verdict = match health.severity {
                    Severity::Error => Verdict::Error,
                    Severity::Warning | Severity::Info => Verdict::Warning,
                };
                self.add(name, verdict, health.text.clone(), &health.fix);
            }
            None => self.add_ok(name, well),
        }
    }
}

fn about_service(checks: &mut Checks, service: &Service) {
    match &service.member {
        Some(member) => checks.add_ok(
            "membership",
            format!(
                "{} in the network {}, {}",
                member.name, member.network.name, member.address
            ),
        ),
        None => checks.add(
            "membership",
            Verdict::Error,
            "this machine belongs to no network".into(),
            "join one with an invite: `osier join -`",
        ),
    }
    match service.on {
        true => checks.add_ok("switch", "on".into()),
        false => checks.add(
            "switch",
            Verdict::Warning,
            "the mesh is switched off".into(),
            "switch it on: `osier on`",
        ),
    }
    match (&service.problem, service.state) {
        (Some(problem), state) => {
            let verdict = match state {
                ServiceState::Running | ServiceState::Off => Verdict::Warning,
                _ => Verdict::Error,
            };
            checks.add("node", verdict, problem.text.clone(), &problem.fix);
        }
        (None, ServiceState::Running) => checks.add_ok("node", "it runs".into()),
        (None, ServiceState::NotJoined | ServiceState::Off) => {
            checks.add_ok("node", "it does not run, and need not".into());
        }
        (None, _) => checks.add(
            "node",
            Verdict::Warning,
            "it is on its way up or down".into(),
            "wait a moment",
        ),
    }
}

fn about_node(checks: &mut Checks, s: &Status) {
    use HealthCode as Code;
    let c = &s.connection;
    checks.add_health(
        "certificate",
        s,
        &[
            Code::Excluded,
            Code::CertificateExpired,
            Code::CertificateExpiring,
        ],
        format!(
            "number {}, good until {}",
            s.certificate.serial,
            UnixTime(s.certificate.not_after)
        ),
    );
    let clock = match s.registry.last_contact {
        Some(_) => "it agrees with the registry's",
        None => "nothing speaks against it",
    };
    checks.add_health("clock", s, &[Code::ClockSkew], clock.into());
    let mut device = match (&s.interface, s.mtu) {
        (Some(name), Some(mtu)) => format!("{name}, MTU {mtu}"),
        (Some(name), None) => name.clone(),
        (None, _) => "brought by the program that runs the node".into(),
    };
    if let Some(driver) = &s.driver {
        device = format!("{device}, by {driver}");
    }
    checks.add_health("device", s, &[Code::NoTun], device);
    checks.add_health(
        "network",
        s,
        &[Code::NoNetwork],
        match c.local_addresses {
            0 => "loopback only, and others answer".into(),
            n => format!("{n} addresses of this machine can be used"),
        },
    );
    checks.add_health(
        "port",
        s,
        &[Code::UdpPortChanged],
        match s.mapped {
            Some(mapped) => format!("UDP {}, which the router maps to {mapped}", s.udp_port),
            None => format!("UDP {}, without a mapping by a router", s.udp_port),
        },
    );
    match c.udp.state {
        UdpState::Works => checks.add_ok("udp", c.udp.why.clone()),
        UdpState::SeemsBlocked => checks.add(
            "udp",
            Verdict::Error,
            c.udp.why.clone(),
            "let UDP out, on this machine and on its network's firewall, or use another network",
        ),
        UdpState::Unknown => checks.add(
            "udp",
            Verdict::Warning,
            format!("not known: {}", c.udp.why),
            "wait half a minute; if nobody answers, see whether the other machines are on",
        ),
    }
    about_neighbours(checks, s);
    let registry = match s.registry.last_contact {
        Some(at) => format!("it answered last at {}", UnixTime(at)),
        None => "it has not been asked yet".into(),
    };
    checks.add_health("registry", s, &[Code::RegistryUnreachable], registry);
}

fn about_neighbours(checks: &mut Checks, s: &Status) {
    let c = &s.connection;
    let seen = format!("{} answer, of {} wanted", c.neighbours, c.wanted);
    match (c.neighbours, c.state) {
        (0, ConnectionState::Alone) => checks.add(
            "neighbours",
            Verdict::Warning,
            "no other member is known yet".into(),
            "invite another machine: `osier invite` at the registry",
        ),
        (0, _) => checks.add(
            "neighbours",
            Verdict::Error,
            seen,
            "look at the errors above first; then see whether other machines are on",
        ),
        (n, _) if n < c.wanted => checks.add(
            "neighbours",
            Verdict::Warning,
            seen,
            "nothing to do while it is connected: the node seeks more by itself",
        ),
        _ => checks.add_ok("neighbours", seen),
    }
    let proof = match (c.verified_seconds, &c.verified_with) {
        (Some(ago), Some(with)) => format!("{with} answered {ago} s ago"),
        _ => "nobody has answered since the start".into(),
    };
    let fresh = c.verified_seconds.is_some_and(|ago| ago <= FRESH);
    match (fresh, c.state) {
        (true, _) => checks.add_ok("round-trip", proof),
        (false, ConnectionState::Alone | ConnectionState::Starting) => {
            checks.add("round-trip", Verdict::Warning, proof, "wait for another member");
        }
        (false, _) => checks.add(
            "round-trip",
            Verdict::Error,
            proof,
            "look at the errors above: this is what they lead to",
        ),
    }
    let paths = format!("{} members directly, {} through others", c.direct, c.relayed);
    match c.through_relays {
        false => checks.add_ok("paths", paths),
        true => checks.add(
            "paths",
            Verdict::Warning,
            paths,
            "let UDP in on this machine's port, or allow UPnP on the router, so that more members reach it",
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::control::types::{Health, Problem};
    use serde_json::json;

    fn service() -> Service {
        let member = json!({
            "name": "desk", "address": "fd00::1", "prefixes": [],
            "network": {"name": "home", "id": "00", "prefix": "fd00::/48"},
            "certificate": {"serial": 1, "not_before": 0, "not_after": 1, "seconds_left": 0},
        });
        serde_json::from_value(json!({
            "version": "0.1.0", "api_version": 2, "pid": 7, "uptime_seconds": 60, "managed": true, "state": "running",
            "on": true, "member": member, "problem": null,
        }))
        .unwrap()
    }

    fn status() -> Status {
        serde_json::from_value(json!({
            "version": "0.1.0", "pid": 7, "state": "running", "uptime_seconds": 60, "name": "desk", "node": "00",
            "router_id": "00", "address": "fd00::1", "prefixes": [],
            "network": {"name": "home", "id": "00", "prefix": "fd00::/48"},
            "certificate": {"serial": 1, "not_before": 0, "not_after": 1, "seconds_left": 0},
            "interface": "osier0", "udp_port": 16697, "endpoints": [], "mapped": null,
            "registry": {"urls": [], "reachable": true, "last_contact": 1, "last_error": null},
            "neighbours": 6, "members": 9, "routes": 9, "sent_octets": 0, "received_octets": 0, "counters": {},
            "connection": {"state": "connected", "verified_at": 1, "verified_seconds": 4, "verified_with": "paris",
                "evidence": "echo", "neighbours": 6, "wanted": 6, "direct": 6, "relayed": 2, "through_relays": false,
                "udp": {"state": "works", "why": "a member was heard 1 s ago", "unanswered": 0}, "local_addresses": 2},
            "health": [],
        }))
        .unwrap()
    }

    /// Names of the checks that are not well, with their verdicts.
    fn unwell(diagnostics: &Diagnostics) -> Vec<(&str, Verdict)> {
        let unwell = diagnostics.checks.iter().filter(|c| c.verdict != Verdict::Ok);
        unwell
            .inspect(|c| assert!(c.fix.as_ref().is_some_and(|f| !f.is_empty()), "{c:?}"))
            .map(|c| (c.name.as_str(), c.verdict))
            .collect()
    }

    #[test]
    fn nothing_is_wrong_with_a_healthy_node() {
        let diagnostics = diagnose(&service(), Some(&status()), None);
        assert_eq!(unwell(&diagnostics), []);
        let names: Vec<_> = diagnostics.checks.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "service",
                "state-directory",
                "membership",
                "switch",
                "node",
                "certificate",
                "clock",
                "device",
                "network",
                "port",
                "udp",
                "neighbours",
                "round-trip",
                "paths",
                "registry"
            ]
        );
    }

    #[test]
    fn the_driver_of_a_device_is_named() {
        let seen = |status: &Status| {
            let checks = diagnose(&service(), Some(status), None).checks;
            checks.into_iter().find(|c| c.name == "device").unwrap().seen
        };
        let mut status = status();
        assert_eq!(seen(&status), "osier0");
        status.driver = Some("Wintun 0.14".into());
        assert_eq!(seen(&status), "osier0, by Wintun 0.14");
    }

    #[test]
    fn service_without_a_node_says_what_is_missing() {
        let outsider = Service {
            state: ServiceState::NotJoined,
            member: None,
            ..service()
        };
        assert_eq!(
            unwell(&diagnose(&outsider, None, None)),
            [("membership", Verdict::Error)]
        );
        let off = Service {
            state: ServiceState::Off,
            on: false,
            ..service()
        };
        assert_eq!(
            unwell(&diagnose(&off, None, None)),
            [("switch", Verdict::Warning)]
        );
        let failed = Service {
            state: ServiceState::Failed,
            problem: Some(Problem {
                code: "port-in-use".into(),
                text: "the port is in use".into(),
                fix: "free it".into(),
            }),
            ..service()
        };
        assert_eq!(
            unwell(&diagnose(&failed, None, Some("full"))),
            [("state-directory", Verdict::Error), ("node", Verdict::Error)]
        );
    }

    #[test]
    fn node_that_is_cut_off_says_where_it_fails() {
        let mut cut_off = status();
        cut_off.connection.state = ConnectionState::Limited;
        cut_off.connection.neighbours = 0;
        cut_off.connection.verified_seconds = Some(300);
        cut_off.connection.udp.state = UdpState::SeemsBlocked;
        cut_off.health = vec![Health {
            severity: Severity::Warning,
            code: HealthCode::RegistryUnreachable,
            text: "the registry does not answer".into(),
            fix: "wait".into(),
        }];
        let diagnostics = diagnose(&service(), Some(&cut_off), None);
        assert_eq!(
            unwell(&diagnostics),
            [
                ("udp", Verdict::Error),
                ("neighbours", Verdict::Error),
                ("round-trip", Verdict::Error),
                ("registry", Verdict::Warning)
            ]
        );
    }

    #[test]
    fn every_health_code_has_its_check() {
        use HealthCode as Code;
        for (code, name) in [
            (Code::Excluded, "certificate"),
            (Code::CertificateExpiring, "certificate"),
            (Code::ClockSkew, "clock"),
            (Code::NoTun, "device"),
            (Code::NoNetwork, "network"),
            (Code::UdpPortChanged, "port"),
        ] {
            let mut ill = status();
            ill.health = vec![Health {
                severity: Severity::Error,
                code,
                text: "x".into(),
                fix: "y".into(),
            }];
            let diagnostics = diagnose(&service(), Some(&ill), None);
            assert_eq!(unwell(&diagnostics), [(name, Verdict::Error)], "{code:?}");
        }
    }
}
