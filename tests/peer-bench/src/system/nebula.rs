//! Nebula with the relays of the topology as its lighthouses.

use super::{
    Network, System,
    daemons::{Daemons, Node},
    directory, numbered, write_secret,
};
use crate::{
    install::{GoModule, Programs, Source},
    topology::Topology,
};
use anyhow::Result;
use osier_e2e::mesh::output;
use serde_json::{Value, json};
use std::{net::SocketAddr, path::Path, process::Command};

const NETWORK: u16 = 0xfd98;
const PORT: u16 = 4242;

pub(super) struct Nebula;

impl System for Nebula {
    fn name(&self) -> &'static str {
        "nebula"
    }

    fn source(&self) -> Source {
        Source::Go(&GoModule {
            module: "github.com/slackhq/nebula",
            commands: &[
                "github.com/slackhq/nebula/cmd/nebula",
                "github.com/slackhq/nebula/cmd/nebula-cert",
            ],
            stand_in: None,
        })
    }

    fn is_mesh(&self) -> bool {
        true
    }

    fn configure<'a>(
        &self,
        programs: &Programs,
        topology: &'a Topology<'_>,
    ) -> Result<Box<dyn Network + 'a>> {
        let cert = programs.path("nebula-cert")?;
        let authority = directory(topology.lab, "nebula-ca", 0)?;
        let make = |directory: &Path, arguments: &[&str]| {
            output(Command::new(cert).current_dir(directory).args(arguments))
        };
        make(
            &authority,
            &["ca", "-name", "bench", "-out-crt", "ca.crt", "-out-key", "ca.key"],
        )?;
        let ca = authority.join("ca").display().to_string();
        let (ca_crt, ca_key) = (format!("{ca}.crt"), format!("{ca}.key"));
        let mut nodes = Vec::new();
        for node in 0..topology.hosts.len() {
            let own = directory(topology.lab, "nebula", node)?;
            let (name, network) = (format!("n{node}"), format!("{}/64", numbered(NETWORK, node)));
            let sign = ["sign", "-ca-crt", &ca_crt, "-ca-key", &ca_key, "-name", &name];
            let what = [
                "-networks",
                &network,
                "-out-crt",
                "own.crt",
                "-out-key",
                "own.key",
            ];
            make(&own, &[sign.as_slice(), &what].concat())?;
            let file = own.join("config.json");
            write_secret(&file, &settings(topology, node, &ca_crt, &own).to_string())?;
            nodes.push(Node {
                address: numbered(NETWORK, node),
                arguments: vec!["-config".into(), file.into()],
            });
        }
        let program = programs.path("nebula")?;
        Ok(Box::new(Daemons::new(topology, self.name(), program, nodes)))
    }
}

/// JSON is YAML too.
fn settings(topology: &Topology<'_>, node: usize, ca: &str, own: &Path) -> Value {
    let is_relay = topology.relays.contains(&node);
    let others = topology.relays.iter().filter(|r| **r != node);
    let known: serde_json::Map<String, Value> = others
        .clone()
        .map(|&relay| {
            let endpoint = SocketAddr::from((topology.hosts[relay].public, PORT));
            (
                numbered(NETWORK, relay).to_string(),
                json!([endpoint.to_string()]),
            )
        })
        .collect();
    let asked: Vec<String> = match is_relay {
        true => Vec::new(),
        false => others
            .map(|relay| numbered(NETWORK, *relay).to_string())
            .collect(),
    };
    let anything = json!([{ "port": "any", "proto": "any", "host": "any" }]);
    json!({
        "pki": { "ca": ca, "cert": own.join("own.crt"), "key": own.join("own.key") },
        "static_host_map": known,
        "lighthouse": { "am_lighthouse": is_relay, "hosts": asked },
        "listen": { "host": "0.0.0.0", "port": PORT },
        "relay": { "am_relay": is_relay, "use_relays": !is_relay, "relays": asked },
        "tun": { "dev": "neb0" },
        "logging": { "level": "warning" },
        "firewall": { "outbound": anything, "inbound": anything },
    })
}
