//! From nothing to a member: network, registry, invite, join, with everything that can go wrong on the way.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Registry, Run, node, operator, osier, with_input};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A network in a directory of its own.
struct Network {
    temp: TempDir,
}

impl Network {
    fn create() -> Self {
        let temp = tempfile::tempdir().expect("a directory");
        let network = Self { temp };
        operator(&network.dir(), "network create --name test").succeeds();
        network
    }

    fn dir(&self) -> PathBuf {
        self.temp.path().join("network")
    }

    fn state(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn invite(&self, options: &str) -> String {
        operator(&self.dir(), &format!("invite {options} --json")).json()["invite"]
            .as_str()
            .expect("text")
            .to_owned()
    }

    fn operator(&self, line: &str) -> Run {
        operator(&self.dir(), line)
    }

    fn join(&self, name: &str, invite: &str, options: &str) -> Run {
        join(&self.state(name), invite, &format!("--name {name} {options}"))
    }
}

/// The invite goes by standard input, as it should.
fn join(state: &Path, invite: &str, options: &str) -> Run {
    let mut command = osier();
    command
        .args(["join", "-"])
        .args(options.split_whitespace())
        .env("OSIER_STATE_DIR", state);
    with_input(command, &format!("{invite}\n"))
}

#[test]
fn a_network_is_created_once_and_shown() {
    let network = Network::create();
    let shown = network.operator("network show --json").json();
    assert_eq!(shown["name"], "test");
    assert!(shown["prefix"].as_str().expect("text").ends_with("::/48"));
    assert_eq!(shown["root_key_present"], true);
    network.operator("network show").succeeds();
    let again = network.operator("network create --name other");
    again.fails(8);
    assert_eq!(network.operator("network show --json").json(), shown);

    let root_key = network.dir().join("root.key");
    let away = network.temp.path().join("usb-stick");
    fs::rename(&root_key, &away).expect("moved");
    assert_eq!(
        network.operator("network show --json").json()["root_key_present"],
        false
    );
    let renewed = network.operator(&format!(
        "network renew-issuer --root-key {} --json",
        away.display()
    ));
    assert!(renewed.json()["not_after"].as_u64() >= shown["issuer_until"].as_u64());
    network
        .operator("network renew-issuer --root-key /nonexistent")
        .fails(2);
}

#[test]
fn a_bad_network_is_refused_with_a_reason() {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path().join("n");
    operator(&dir, "network create --name x --prefix 10.0.0.0/8")
        .fails(2)
        .advises("IPv6 prefix");
    operator(&dir, "network create --name x --prefix fd00::/64").fails(2);
    operator(&dir, "network create --name x --certificate-lifetime 5s").fails(2);
    operator(&dir, "network create --name x --url ftp://example")
        .fails(1)
        .advises("URL");
    assert!(!dir.join("network.cbor").exists());
    for line in [
        "network show",
        "invite",
        "nodes",
        "revoke x",
        "registry serve",
        "invite list",
    ] {
        operator(&dir, line).fails(2).advises("osier network create");
        assert_eq!(
            operator(&dir, &format!("{line} --json")).json()["error"]["code"],
            "usage",
            "{line}"
        );
    }
}

#[test]
fn nodes_join_with_an_invite_and_are_listed_and_revoked() {
    let network = Network::create();
    let registry = Registry::serve(&network.dir(), &[]);
    let invite = network.invite("--uses 2");
    assert!(invite.starts_with("osier://join/"));

    let joined = network.join("berlin", &invite, "--json").json();
    assert_eq!(joined["name"], "berlin");
    assert_eq!(joined["network"], "test");
    assert_eq!(joined["already_member"], false);
    // The same again changes nothing and uses nothing up.
    assert_eq!(
        network.join("berlin", &invite, "--json").json()["already_member"],
        true
    );

    let file = network.temp.path().join("invite");
    fs::write(&file, format!("{invite}\n")).expect("written");
    node(
        &network.state("paris"),
        &format!("join @{} --name paris", file.display()),
    )
    .succeeds();

    let nodes = network.operator("nodes --json").json();
    let names: Vec<&str> = nodes
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|n| n["name"].as_str())
        .collect();
    assert_eq!(names.len(), 2);
    assert!(names.contains(&"berlin") && names.contains(&"paris"));
    assert!(network.operator("nodes").succeeds().stdout.contains("berlin"));

    assert_eq!(network.operator("revoke berlin --json").json()["already"], false);
    assert_eq!(network.operator("revoke berlin --json").json()["already"], true);
    network.operator("revoke nobody").fails(2);
    assert!(network.operator("nodes").stdout.contains("revoked"));
    registry.stop();
}

#[test]
fn what_is_joined_can_be_left() {
    let network = Network::create();
    let registry = Registry::serve(&network.dir(), &[]);
    network.join("berlin", &network.invite(""), "").succeeds();
    node(&network.state("berlin"), "status")
        .fails(3)
        .advises("osier up");
    let left = node(&network.state("berlin"), "leave --yes --json").json();
    assert_eq!(left["name"], "berlin");
    node(&network.state("berlin"), "status")
        .fails(4)
        .advises("osier join");
    node(&network.state("berlin"), "leave --yes").fails(4);
    registry.stop();
}

#[test]
fn an_invite_that_cannot_be_used_says_why() {
    let network = Network::create();
    let mut registry = Registry::serve(&network.dir(), &[]);
    let invite = network.invite("");

    // Mangled, foreign, empty: found out before anybody is asked.
    for bad in [
        "",
        "nonsense",
        "osier://join/",
        "https://example.com",
        &invite[..invite.len() - 3],
        &format!("{invite}x"),
    ] {
        let result = network.join("a", bad, "");
        result.fails(2);
        assert!(!network.state("a").join("identity.key").exists());
    }
    node(&network.state("a"), "join @/nonexistent/file").fails(2);
    network.join("bad_name!", &invite, "").fails(2);

    network.join("a", &invite, "").succeeds();
    network.join("b", &invite, "").fails(7).advises("osier invite");

    let short = network.operator("invite --expires 1s --json").json();
    let expires = short["expires"].as_u64().expect("a time");
    common::wait_until("the invite has expired", || common::unix_now() > expires);
    let short = short["invite"].as_str().expect("text");
    network.join("c", short, "").fails(7).advises("osier invite");

    let withdrawn = network.invite("--uses 5");
    let before = network.operator("invite list --json").json();
    let id = before
        .as_array()
        .expect("a list")
        .iter()
        .find(|i| i["uses"] == 5)
        .and_then(|i| i["id"].as_str())
        .expect("listed")
        .to_owned();
    network.operator(&format!("invite revoke {id}")).succeeds();
    network.operator("invite revoke nonsense").fails(2);
    network.join("d", &withdrawn, "").fails(7);

    let taken = network.invite("--uses 2");
    network.join("e", &taken, "").succeeds();
    join(&network.state("f"), &taken, "--name e")
        .fails(8)
        .advises("--name");

    // Gone.
    let late = network.invite("");
    registry.kill();
    let result = network.join("g", &late, "--json");
    assert_eq!(result.code, 6, "{}", result.stderr);
    assert_eq!(result.json()["error"]["code"], "unreachable");
}

#[test]
fn a_self_signed_registry_is_pinned_by_its_invites() {
    let network = Network::create();
    let registry = Registry::serve(&network.dir(), &["--self-signed"]);
    assert!(registry.url.starts_with("https://"));
    let address = registry_address(&registry.url);
    let invite = network.invite("");
    network.join("berlin", &invite, "").succeeds();
    registry.stop();

    // Another certificate on the same address is somebody else.
    let other = network.invite("");
    for file in ["self-signed.crt", "self-signed.key"] {
        fs::remove_file(network.dir().join(file)).expect("removed");
    }
    let impostor = Registry::serve(&network.dir(), &["--self-signed", "--listen", &address]);
    network.join("paris", &other, "").fails(6);
    impostor.stop();
}

fn registry_address(url: &str) -> String {
    url.split("://").nth(1).expect("a URL").to_owned()
}

#[test]
fn a_port_in_use_is_a_conflict() {
    let network = Network::create();
    let registry = Registry::serve(&network.dir(), &[]);
    let address = registry_address(&registry.url);
    network
        .operator(&format!("registry serve --listen {address}"))
        .fails(8);
    registry.stop();
}

#[test]
fn an_invite_can_be_photographed() {
    let network = Network::create();
    let printed = network.operator("invite --url https://registry.example --qr");
    printed.succeeds().advises("secret");
    let mut lines = printed.stdout.lines();
    assert!(lines.next().is_some_and(|l| l.starts_with("osier://join/")));
    assert!(lines.clone().count() > 15 && lines.all(|l| l.chars().all(|c| " ▀▄█".contains(c))));
    network.operator("invite --url nonsense").fails(2);
    // Nothing says where the registry is.
    network.operator("invite").fails(2).advises("public_urls");
}

#[test]
fn secrets_stay_out_of_logs_and_errors() {
    let network = Network::create();
    let mut registry = Registry::serve(&network.dir(), &["--log-level", "trace"]);
    let invite = network.invite("--uses 2");
    let secret = invite.trim_start_matches("osier://join/");
    let mut seen = String::new();
    for run in [
        network.join("a", &invite, ""),
        network.join("a", &invite, "--json"),
        network.join("b", &invite, ""),
        network.join("c", &invite, ""),
        network.operator("invite list"),
        network.operator("invite list --json"),
        network.operator("nodes --json"),
    ] {
        seen += &run.stdout;
        seen += &run.stderr;
    }
    seen += &registry.log();
    assert!(seen.contains("used"), "the third join was refused: {seen}");
    assert!(!seen.contains(secret));
    // The token alone, as it goes over the wire.
    let token: osier_proto::invite::Invite = invite.parse().expect("an invite");
    let token = osier_proto::codec::to_base64url(&token.token);
    assert!(!seen.contains(&token));
    registry.kill();
}
