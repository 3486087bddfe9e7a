//! Snapshots of what people see. After an intended change: `INSTA_UPDATE=always cargo test -p osier-cli`.

use super::*;
use osier_core::control::types::Topology;
use serde_json::json;

const NOW: u64 = 1_795_406_412;

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn sample_status() -> Status {
    serde_json::from_value(json!({
        "version": "0.1.0", "pid": 4242, "state": "running", "uptime_seconds": 93_600, "name": "berlin",
        "node": "q1Vx2m0dTnJ8w5v3kYb7uZs4pQeR6hLgCaXoWiMfNtE", "router_id": "0123456789abcdef",
        "address": "fd5e:8a1c:77d0:3::1", "prefixes": ["fd5e:8a1c:77d0:3::/64"],
        "network": {"name": "home", "id": "00112233445566778899aabbccddeeff", "prefix": "fd5e:8a1c:77d0::/48"},
        "certificate": {"serial": 7, "not_before": NOW - 86_400, "not_after": NOW + 29 * 86_400, "seconds_left": 29 * 86_400},
        "interface": "osier0", "udp_port": 6697,
        "endpoints": [{"address": "198.51.100.7:6697", "kind": "mapped"}, {"address": "[2001:db8::7]:6697", "kind": "local"}],
        "mapped": "198.51.100.7:6697",
        "registry": {"urls": ["https://registry.example"], "reachable": true, "last_contact": NOW - 12, "last_error": null},
        "connection": {"state": "connected", "verified_at": NOW - 4, "verified_seconds": 4, "verified_with": "paris",
            "evidence": "echo", "neighbours": 10, "wanted": 6, "direct": 10, "relayed": 31, "through_relays": false,
            "udp": {"state": "works", "why": "a member was heard 1 s ago", "unanswered": 0}, "local_addresses": 2},
        "neighbours": 10, "members": 42, "routes": 41, "sent_octets": 1_234_567, "received_octets": 9_876_543_210_u64,
        "counters": {"refused_updates": 0, "unknown_receiver": 17}, "health": [],
    }))
    .expect("a status")
}

#[test]
fn a_healthy_status() {
    insta::assert_snapshot!(plain(&status(&sample_status(), true, NOW)));
}

#[test]
fn a_status_with_trouble_says_what_to_do() {
    let mut s = sample_status();
    s.interface = None;
    s.endpoints.clear();
    s.certificate.not_after = NOW - 7_200;
    s.certificate.seconds_left = -7_200;
    s.registry.reachable = Some(false);
    s.registry.last_error = Some("connection refused".into());
    s.health = serde_json::from_value(json!([
        {"severity": "error", "code": "certificate-expired", "text": "the certificate has expired", "fix": "check the registry"},
        {"severity": "info", "code": "no-tun", "text": "there is no TUN device", "fix": "start without --no-tun"},
    ]))
    .expect("health");
    insta::assert_snapshot!(plain(&status(&s, false, NOW)));
}

#[test]
fn peers_show_the_path_and_the_figures() {
    let peers: Vec<Peer> = serde_json::from_value(json!([
        {"name": "paris", "node": "A", "address": "fd5e:8a1c:77d0:1::1", "neighbour": true, "direct": true, "via": null,
         "outgoing": true, "endpoint": "198.51.100.1:6697", "rtt_ms": 12.34, "cost": 200, "metric": 200, "mtu": 1420,
         "sent_octets": 12_000, "received_octets": 34_000_000, "last_handshake_seconds": 65, "cipher": "aes-256-gcm"},
        {"name": "rome", "node": "B", "address": "fd5e:8a1c:77d0:2::1", "neighbour": false, "direct": false, "via": "paris",
         "outgoing": null, "endpoint": null, "rtt_ms": null, "cost": null, "metric": 431,
         "sent_octets": 0, "received_octets": 0, "last_handshake_seconds": null, "cipher": null},
        {"name": "oslo", "node": "C", "address": "fd5e:8a1c:77d0:4::1", "neighbour": true, "direct": false, "via": null,
         "outgoing": false, "endpoint": "[2001:db8::4]:6697", "rtt_ms": null, "cost": 65535, "metric": null,
         "sent_octets": 148, "received_octets": 0, "last_handshake_seconds": 400, "cipher": "chacha20-poly1305"},
    ]))
    .expect("peers");
    insta::assert_snapshot!(plain(&super::peers(&peers)));
    assert_eq!(super::peers(&[]), "no other node is known yet\n");
}

#[test]
fn sessions_show_whom_relays_carry_for_us() {
    let sessions: Vec<Session> = serde_json::from_value(json!([
        {"name": "paris", "node": "A", "address": "fd5e:8a1c:77d0:1::1", "via": "oslo", "up": true, "mtu": 1380,
         "age_seconds": 400, "idle_seconds": 2, "sent_packets": 10, "sent_octets": 12_000, "received_packets": 9,
         "received_octets": 34_000_000, "last_handshake_seconds": 65, "cipher": "aes-256-gcm", "waiting_packets": 0},
        {"name": "rome", "node": "B", "address": "fd5e:8a1c:77d0:2::1", "via": null, "up": false,
         "age_seconds": 0, "idle_seconds": 0, "sent_packets": 0, "sent_octets": 0, "received_packets": 0,
         "received_octets": 0, "last_handshake_seconds": null, "cipher": "chacha20-poly1305", "waiting_packets": 3},
    ]))
    .expect("sessions");
    insta::assert_snapshot!(plain(&super::sessions(&sessions)));
    assert!(super::sessions(&[]).starts_with("no end-to-end session"));
}

#[test]
fn routes_say_why_they_are_not_in_use() {
    let route = |prefix: &str, via: Option<&str>, metric: u16, why: &str| {
        json!({"prefix": prefix, "origin": "rome", "router_id": "0123456789abcdef", "via": via, "metric": metric,
               "seqno": 9, "feasible": false, "selected": false, "state": "of no matter here", "why": why})
    };
    let routes: Vec<Route> = serde_json::from_value(json!([
        route("fd5e:8a1c:77d0:3::/64", None, 0, "in use"),
        route("fd5e:8a1c:77d0:2::/64", Some("paris"), 431, "in use"),
        route(
            "fd5e:8a1c:77d0:2::/64",
            Some("oslo"),
            700,
            "no better than the one in use, which has metric 431"
        ),
        route(
            "fd5e:8a1c:77d0:2::/64",
            Some("bonn"),
            300,
            "could make a loop: not newer than seqno 9, nor announced with less than 270"
        ),
        route(
            "fd5e:8a1c:77d0:2::/64",
            Some("kyiv"),
            65535,
            "the link to the neighbour is down"
        ),
    ]))
    .expect("routes");
    insta::assert_snapshot!(plain(&super::routes(&routes)));
}

#[test]
fn members_show_state_and_expiry() {
    let member = |name: &str, own: bool, reachable: bool, leaf: bool, not_after: u64| {
        json!({"name": name, "node": format!("{name}-id"), "address": "fd5e:8a1c:77d0:3::1", "prefixes": [], "own": own,
               "reachable": reachable, "endpoints": [{"address": "198.51.100.7:6697", "kind": "mapped"}], "leaf": leaf,
               "relay": !leaf, "serial": 1, "not_after": not_after, "sequence": 1})
    };
    let members: Vec<Member> = serde_json::from_value(json!([
        member("berlin", true, true, false, NOW + 29 * 86_400),
        member("paris", false, true, true, NOW + 7_200),
        member("oslo", false, false, false, NOW - 90),
    ]))
    .expect("members");
    insta::assert_snapshot!(plain(&super::members(&members, NOW)));
}

fn sample_topology() -> Topology {
    let node = |name: &str, own: bool, reachable: bool| json!({"name": name, "node": name, "address": "fd5e:8a1c:77d0:3::1", "own": own, "reachable": reachable});
    let link = |from: &str, to: &str, tunnel: bool, cost: u16| json!({"from": from, "to": to, "tunnel": tunnel, "cost": cost});
    serde_json::from_value(json!({
        "nodes": [node("berlin", true, true), node("paris", false, true), node("rome", false, true),
                  node("oslo", false, true), node("bonn & <co>", false, false)],
        "links": [link("berlin", "paris", true, 96), link("paris", "rome", false, 300), link("berlin", "oslo", true, 120)],
    }))
    .expect("a topology")
}

#[test]
fn the_topology_as_a_tree() {
    insta::assert_snapshot!(plain(&tree(&sample_topology())));
}

#[test]
fn the_topology_for_graphviz() {
    insta::assert_snapshot!(dot(&sample_topology()));
}

#[test]
fn the_topology_as_a_drawing() {
    let text = svg(&sample_topology());
    assert!(text.contains("bonn &amp; &lt;co&gt;"));
    insta::assert_snapshot!(text);
}

#[test]
fn circles_and_strangers_in_a_topology_do_no_harm() {
    let mut t = sample_topology();
    t.links.push(
        serde_json::from_value(json!({"from": "rome", "to": "berlin", "tunnel": false, "cost": null}))
            .expect("link"),
    );
    t.links.push(
        serde_json::from_value(json!({"from": "rome", "to": "nobody", "tunnel": false, "cost": 1}))
            .expect("link"),
    );
    assert!(svg(&t).ends_with("</svg>\n"));
    assert!(!tree(&t).contains("nobody"));
    t.nodes.clear();
    assert!(svg(&t).starts_with("<svg"));
}

#[test]
fn a_wide_topology_keeps_its_nodes_apart() {
    let mut t = sample_topology();
    for i in 0..200 {
        let name = format!("n{i:03}");
        t.nodes.push(
            serde_json::from_value(
                json!({"name": name, "node": name, "address": "fd00::1", "own": false, "reachable": true}),
            )
            .expect("node"),
        );
        t.links.push(
            serde_json::from_value(json!({"from": "berlin", "to": name, "tunnel": true, "cost": 96}))
                .expect("link"),
        );
    }
    let text = svg(&t);
    let mut at: Vec<(f64, f64)> = Vec::new();
    for line in text.lines().filter(|l| l.contains("<circle")) {
        let value = |key: &str| -> f64 {
            let rest = line.split(key).nth(1).expect("attribute");
            rest[..rest.find('"').expect("quote")].parse().expect("number")
        };
        at.push((value("cx=\""), value("cy=\"")));
    }
    assert_eq!(at.len(), 205);
    for (i, a) in at.iter().enumerate() {
        for b in &at[i + 1..] {
            assert!((a.0 - b.0).hypot(a.1 - b.1) > 25.0, "{a:?} {b:?}");
        }
    }
}
