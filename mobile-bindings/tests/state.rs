//! The state line, against the table that the desktop app is tested with too.
#![allow(clippy::unwrap_used, clippy::panic)]

use osier_mobile::{
    Connection, ConnectionState, Face, Health, Membership, Registry, ServiceState, ServiceView, Severity,
    StateKind, Status, state_line,
};
use serde::Deserialize;

const TABLE: &str = include_str!("../../desktop/src/model/states.json");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    service: Option<String>,
    #[serde(default = "yes")]
    on: bool,
    connection: Option<Told>,
    #[serde(default)]
    health: Vec<String>,
    certificate_seconds_left: Option<i64>,
    #[serde(default)]
    stopping: bool,
    #[serde(default)]
    age_ms: u64,
    expect: Expected,
}

#[derive(Debug, Deserialize)]
struct Told {
    state: String,
    verified_seconds: Option<u64>,
    neighbours: u64,
}

#[derive(Debug, Deserialize)]
struct Expected {
    kind: String,
    face: String,
    on: Option<bool>,
}

fn yes() -> bool {
    true
}

/// `NotJoined` is `not-joined` in the table.
fn kebab(variant: &impl std::fmt::Debug) -> String {
    let mut name = String::new();
    for letter in format!("{variant:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

fn service(state: ServiceState, on: bool) -> ServiceView {
    let member = Membership {
        name: "berlin".into(),
        address: "fd6f:7369:6572:1::1".into(),
        network: "home".into(),
        prefix: "fd6f:7369:6572::/48".into(),
        certificate_not_after_unix: 1_702_592_000,
        certificate_seconds_left: 20 * 86_400,
    };
    ServiceView {
        state,
        on,
        member: (state != ServiceState::NotJoined).then_some(member),
        problem: None,
    }
}

fn status(connection: Connection) -> Status {
    Status {
        stopping: false,
        name: "berlin".into(),
        address: "fd6f:7369:6572:1::1".into(),
        network: "home".into(),
        certificate_seconds_left: 20 * 86_400,
        uptime_seconds: 3600,
        udp_port: 6690,
        endpoints: Vec::new(),
        registry: Registry {
            urls: Vec::new(),
            reachable: Some(true),
            last_error: None,
        },
        neighbours: connection.neighbours,
        members: 12,
        sent_octets: 0,
        received_octets: 0,
        connection,
        health: Vec::new(),
    }
}

fn connection(state: ConnectionState, verified_seconds: Option<u64>, neighbours: u64) -> Connection {
    Connection {
        state,
        verified_seconds,
        verified_with: Some("paris".into()),
        neighbours,
        wanted: 10,
        direct: neighbours,
        relayed: 3,
        udp_text: String::new(),
    }
}

fn warning(code: &str) -> Health {
    Health {
        severity: Severity::Warning,
        code: code.to_owned(),
        text: String::new(),
        fix: String::new(),
    }
}

const SERVICE_STATES: [ServiceState; 7] = [
    ServiceState::NotJoined,
    ServiceState::Joining,
    ServiceState::Off,
    ServiceState::Starting,
    ServiceState::Running,
    ServiceState::Stopping,
    ServiceState::Failed,
];
const CONNECTION_STATES: [ConnectionState; 8] = [
    ConnectionState::Excluded,
    ConnectionState::Connected,
    ConnectionState::Relayed,
    ConnectionState::Offline,
    ConnectionState::Limited,
    ConnectionState::Alone,
    ConnectionState::Starting,
    ConnectionState::Looking,
];

fn named<T: std::fmt::Debug + Copy>(states: &[T], name: &str) -> T {
    let found = states.iter().find(|state| kebab(state) == name);
    *found.unwrap_or_else(|| panic!("nothing is called {name}"))
}

#[test]
fn every_row_of_the_table_holds() {
    let table: Vec<Row> = serde_json::from_str(TABLE).unwrap();
    assert!(table.len() >= 30);
    for row in table {
        let told = row.connection.as_ref().map(|told| {
            let state = named(&CONNECTION_STATES, &told.state);
            let mut status = status(connection(state, told.verified_seconds, told.neighbours));
            status.stopping = row.stopping;
            status.health = row.health.iter().map(|code| warning(code)).collect();
            if let Some(left) = row.certificate_seconds_left {
                status.certificate_seconds_left = left;
            }
            status
        });
        let state = named(&SERVICE_STATES, row.service.as_deref().unwrap_or("running"));
        let line = state_line(service(state, row.on), told, row.age_ms);
        let found = (kebab(&line.kind), kebab(&line.face), line.on);
        let Expected { kind, face, on } = &row.expect;
        assert_eq!(found, (kind.clone(), face.clone(), *on), "{row:?}");
    }
}

#[test]
fn in_no_combination_is_it_connected_without_a_round_trip() {
    for state in CONNECTION_STATES {
        for verified in [None, Some(0), Some(30), Some(60), Some(61), Some(u64::MAX)] {
            for age in [0, 5_000, 29_000, u64::MAX] {
                let known = status(connection(state, verified, 3));
                let line = state_line(service(ServiceState::Running, true), Some(known), age);
                let fresh = verified.is_some_and(|seconds| seconds.saturating_add(age / 1000) <= 60);
                let says_so = line.face == Face::Connected || line.kind == StateKind::Connected;
                assert!(!says_so || fresh, "{state:?} {verified:?} {age}");
            }
        }
    }
}

#[test]
fn a_line_says_what_its_text_needs() {
    let mut known = status(connection(ConnectionState::Connected, Some(12), 8));
    known.certificate_seconds_left = 6 * 86_400 + 40_000;
    let line = state_line(service(ServiceState::Running, true), Some(known), 3_000);
    assert_eq!((line.neighbours, line.wanted, line.days_left), (8, 10, 6));
    assert_eq!(
        (line.verified_seconds, line.verified_with.as_deref()),
        (Some(15), Some("paris"))
    );
    assert_eq!(line.network, "home");
    assert_eq!(
        state_line(service(ServiceState::NotJoined, false), None, 0).network,
        ""
    );
}
