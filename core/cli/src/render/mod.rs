//! What people see of the daemon's answers. Pure: values in, text out.

mod doctor;
mod topology;
mod usage;

pub(crate) use doctor::diagnostics;
pub(crate) use topology::{dot, svg, tree};
pub(crate) use usage::{usage, usage_csv};

use crate::{
    format::{self, octets, relative, span},
    output::{BAD, BOLD, DIM, GOOD, WARN, fields, paint, table},
};
use osier_core::control::types::{
    Connection, ConnectionState, DaemonState, Endpoint, Health, Member, Offload, Peer, Route, Service,
    ServiceState, Session, Severity, Status,
};
use std::time::Duration;

/// Babel's metric for "no way".
const INFINITY: u16 = 0xffff;

/// Which offloads are in use.
fn offload(o: Offload) -> String {
    let device = match (o.device, o.tcp, o.udp) {
        (false, ..) => None,
        (true, true, true) => Some("TUN device (TCP and UDP both ways)"),
        (true, true, false) => Some("TUN device (TCP both ways, UDP when sending)"),
        (true, false, _) => Some("TUN device (when sending)"),
    };
    let used: Vec<_> = device
        .into_iter()
        .chain(o.socket.then_some("UDP socket"))
        .collect();
    match used.is_empty() {
        true => "none: packets go one by one".to_owned(),
        false => used.join(", "),
    }
}

/// Whether traffic gets through, and how that is known.
fn connection(c: &Connection) -> String {
    let neighbours = format!("{} of {} neighbours", c.neighbours, c.wanted);
    let (style, word) = match c.state {
        ConnectionState::Connected => (GOOD, format!("connected, {neighbours}")),
        ConnectionState::Relayed => (GOOD, format!("connected through relays, {neighbours}")),
        ConnectionState::Excluded => (BAD, "excluded".into()),
        ConnectionState::Offline => (BAD, "offline: waiting for a network".into()),
        ConnectionState::Limited => (BAD, "UDP seems to be blocked here".into()),
        ConnectionState::Alone => (WARN, "no other member is known".into()),
        ConnectionState::Starting => (WARN, format!("starting, {neighbours}")),
        ConnectionState::Looking => (WARN, format!("looking for neighbours ({neighbours})")),
        ConnectionState::Unknown => (WARN, "in a state that this version does not know".into()),
    };
    let proof = match (&c.verified_with, c.verified_seconds) {
        (Some(with), Some(ago)) => format!("; {with} answered {} ago", span(ago)),
        _ => "; nobody has answered yet".into(),
    };
    format!("{}{}", paint(style, word), paint(DIM, proof))
}

/// One line about the service around the node.
pub(crate) fn service(s: &Service) -> String {
    let who = s
        .member
        .as_ref()
        .map(|m| format!(" ({} in {})", m.name, m.network.name))
        .unwrap_or_default();
    let (style, word) = match s.state {
        ServiceState::NotJoined => (WARN, "not joined to a network"),
        ServiceState::Joining => (WARN, "joining"),
        ServiceState::Off => (DIM, "off"),
        ServiceState::Starting => (WARN, "starting"),
        ServiceState::Running => (GOOD, "on"),
        ServiceState::Stopping => (WARN, "stopping"),
        ServiceState::Failed => (BAD, "on, but the node does not run"),
        ServiceState::Unknown => (WARN, "in a state that this version does not know"),
    };
    let mut text = format!("{} {}{who}\n", paint(style, "●"), paint(style, word));
    if let Some(problem) = &s.problem {
        text += &format!("  {}\n  {} {}\n", problem.text, paint(BOLD, "fix:"), problem.fix);
    }
    text
}

pub(crate) fn status(s: &Status, verbose: bool, now: u64) -> String {
    let worst = s.health.iter().map(|h| h.severity).min();
    let (style, word) = match (s.state, worst) {
        (DaemonState::Stopping, _) => (WARN, "stopping"),
        (_, Some(Severity::Error)) => (BAD, "up, but cannot do its work"),
        (_, Some(Severity::Warning)) => (WARN, "up, with a warning"),
        _ => (GOOD, "up"),
    };
    let mut text = format!(
        "{} {} is {word} {}\n",
        paint(style, "●"),
        paint(BOLD, &s.name),
        paint(
            DIM,
            format!(
                "(for {}, pid {}, version {})",
                span(s.uptime_seconds),
                s.pid,
                s.version
            )
        ),
    );
    let device = s
        .interface
        .as_ref()
        .map_or("no TUN device".to_owned(), |i| match s.mtu {
            Some(mtu) => format!("on {i}, MTU {mtu}"),
            None => format!("on {i}"),
        });
    let expiry = match s.certificate.seconds_left {
        left if left < 0 => paint(BAD, format!("expired {}", relative(s.certificate.not_after, now))),
        _ => format!(
            "expires {} ({})",
            relative(s.certificate.not_after, now),
            format::utc(s.certificate.not_after)
        ),
    };
    text += &fields(&[
        ("address", format!("{} {device}", paint(BOLD, s.address))),
        (
            "prefixes",
            s.prefixes
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        ),
        ("network", format!("{} {}", s.network.name, s.network.prefix)),
        ("node id", format!("{} (router-id {})", s.node, s.router_id)),
        (
            "certificate",
            format!("number {}, {expiry}", s.certificate.serial),
        ),
        ("registry", registry(s, now)),
        ("listens", format!("UDP {}", s.udp_port)),
        ("offload", offload(s.offload)),
        ("reachable at", endpoints(&s.endpoints)),
        ("connection", connection(&s.connection)),
        (
            "mesh",
            format!(
                "{} neighbours, {} members, {} routes, {} sessions through relays",
                s.neighbours, s.members, s.routes, s.sessions
            ),
        ),
        (
            "traffic",
            format!(
                "{} sent, {} received",
                octets(s.sent_octets),
                octets(s.received_octets)
            ),
        ),
    ]);
    text += &health(&s.health);
    if verbose && !s.counters.is_empty() {
        text.push('\n');
        text += &table(
            ["COUNTER", "VALUE"],
            &[1],
            s.counters.iter().map(|(k, v)| [k.clone(), v.to_string()]),
        );
    }
    text
}

fn registry(s: &Status, now: u64) -> String {
    let r = &s.registry;
    let urls = r.urls.join(", ");
    let contact = r.last_contact.map_or("never reached".to_owned(), |t| {
        format!("last reached {}", relative(t, now))
    });
    match (r.reachable, &r.last_error) {
        (None, _) => format!("{urls} (not asked yet)"),
        (Some(true), _) => format!("{urls} ({contact})"),
        (Some(false), None) => paint(WARN, format!("{urls} does not answer ({contact})")),
        (Some(false), Some(e)) => paint(WARN, format!("{urls} does not answer ({contact}; {e})")),
    }
}

fn endpoints(list: &[Endpoint]) -> String {
    match list {
        [] => "nowhere (others cannot open a tunnel to this node)".into(),
        _ => list
            .iter()
            .map(|e| format!("{} ({})", e.address, e.kind))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// One paragraph per remark; nothing when all is well.
pub(crate) fn health(list: &[Health]) -> String {
    list.iter()
        .map(|h| {
            let (style, word) = match h.severity {
                Severity::Error => (BAD, "error"),
                Severity::Warning => (WARN, "warning"),
                Severity::Info => (DIM, "note"),
            };
            format!(
                "{} {}\n  {} {}\n",
                paint(style, format!("{word}:")),
                h.text,
                paint(BOLD, "fix:"),
                h.fix
            )
        })
        .collect()
}

pub(crate) fn peers(peers: &[Peer]) -> String {
    if peers.is_empty() {
        return "no other node is known yet\n".into();
    }
    table(
        [
            "NAME",
            "ADDRESS",
            "ENDPOINT",
            "PATH",
            "RTT",
            "COST",
            "METRIC",
            "MTU",
            "SENT",
            "RECEIVED",
            "HANDSHAKE",
            "CIPHER",
        ],
        &[4, 5, 6, 7, 8, 9, 10],
        peers.iter().map(|p| {
            [
                p.name.clone(),
                p.address.to_string(),
                p.endpoint.map_or(NOTHING.into(), |e| e.to_string()),
                path(p),
                p.rtt_ms.map_or(NOTHING.into(), |ms| {
                    format::rtt(Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default())
                }),
                p.cost.map_or(NOTHING.into(), metric),
                p.metric.map_or(NOTHING.into(), metric),
                p.mtu.map_or(NOTHING.into(), |mtu| mtu.to_string()),
                octets(p.sent_octets),
                octets(p.received_octets),
                p.last_handshake_seconds
                    .map_or(NOTHING.into(), |s| format!("{} ago", span(s))),
                p.cipher.clone().unwrap_or(NOTHING.into()),
            ]
        }),
    )
}

/// How traffic to a peer goes.
fn path(p: &Peer) -> String {
    match (&p.via, p.metric) {
        (_, None | Some(INFINITY)) => "unreachable".into(),
        (Some(via), _) => format!("relayed by {via}"),
        (None, _) if p.direct => "direct".into(),
        (None, _) => "relayed".into(),
    }
}

pub(crate) fn sessions(sessions: &[Session]) -> String {
    if sessions.is_empty() {
        return "no end-to-end session: nothing was sent through relays lately\n".into();
    }
    table(
        [
            "NAME",
            "ADDRESS",
            "VIA",
            "AGE",
            "IDLE",
            "MTU",
            "SENT",
            "RECEIVED",
            "HANDSHAKE",
            "CIPHER",
        ],
        &[3, 4, 5, 6, 7, 8],
        sessions.iter().map(|s| {
            [
                s.name.clone(),
                s.address.to_string(),
                s.via.clone().unwrap_or(NOTHING.into()),
                span(s.age_seconds),
                span(s.idle_seconds),
                s.mtu.map_or(NOTHING.into(), |mtu| mtu.to_string()),
                octets(s.sent_octets),
                octets(s.received_octets),
                match s.last_handshake_seconds {
                    Some(seconds) => format!("{} ago", span(seconds)),
                    None if s.up => NOTHING.into(),
                    None => "under way".into(),
                },
                s.cipher.clone(),
            ]
        }),
    )
}

pub(crate) fn routes(routes: &[Route]) -> String {
    if routes.is_empty() {
        return "no routes\n".into();
    }
    table(
        [
            "PREFIX",
            "VIA",
            "METRIC",
            "ORIGIN",
            "ROUTER-ID",
            "SEQNO",
            "WHY OR WHY NOT",
        ],
        &[2, 5],
        routes.iter().map(|r| {
            [
                r.prefix.to_string(),
                r.via.clone().unwrap_or_else(|| "this node".into()),
                metric(r.metric),
                r.origin.clone().unwrap_or_else(|| "unknown".into()),
                r.router_id.clone(),
                r.seqno.to_string(),
                r.why.clone(),
            ]
        }),
    )
}

pub(crate) fn members(members: &[Member], now: u64) -> String {
    table(
        [
            "NAME",
            "ADDRESS",
            "STATE",
            "KIND",
            "CERTIFICATE",
            "ENDPOINTS",
            "NODE ID",
        ],
        &[],
        members.iter().map(|m| {
            let state = match m {
                Member { own: true, .. } => "this node",
                Member { reachable: true, .. } => "reachable",
                _ => "no route",
            };
            let expiry = match m.not_after < now {
                true => "expired ".to_owned() + &relative(m.not_after, now),
                false => "expires ".to_owned() + &relative(m.not_after, now),
            };
            [
                m.name.clone(),
                m.address.to_string(),
                state.into(),
                if m.leaf { "leaf" } else { "relay" }.into(),
                expiry,
                m.endpoints.len().to_string(),
                m.node.clone(),
            ]
        }),
    )
}

const NOTHING: &str = "-";

fn metric(value: u16) -> String {
    match value {
        INFINITY => "infinite".into(),
        finite => finite.to_string(),
    }
}

#[cfg(test)]
mod tests;
