//! Yggdrasil with peerings written down, over TCP as its manual shows.

use super::{
    Network, System,
    daemons::{Daemons, Node},
    directory, write_secret,
};
use crate::{
    install::{GoModule, Programs, Source},
    topology::Topology,
};
use anyhow::{Context, Result};
use osier_e2e::mesh::output;
use serde_json::{Value, json};
use std::{net::SocketAddr, process::Command};

const PORT: u16 = 9001;

pub(super) struct Yggdrasil;

/// Confines the process on OpenBSD and does nothing elsewhere.
const PROTECT: &str = "// Package protect stands in for one that does nothing outside OpenBSD.
package protect

func Pledge(string) error { return nil }
";

impl System for Yggdrasil {
    fn name(&self) -> &'static str {
        "yggdrasil"
    }

    fn source(&self) -> Source {
        Source::Go(&GoModule {
            module: "github.com/yggdrasil-network/yggdrasil-go",
            commands: &["github.com/yggdrasil-network/yggdrasil-go/cmd/yggdrasil"],
            stand_in: Some(("suah.dev/protect", PROTECT)),
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
        let program = programs.path("yggdrasil")?;
        let mut nodes = Vec::new();
        for node in 0..topology.hosts.len() {
            let told = output(Command::new(program).args(["-genconf", "-json"]))?;
            let mut settings: Value = serde_json::from_str(&told).context("yggdrasil -genconf")?;
            // The later node of a pair dials the earlier one.
            let earlier = topology.links.iter().filter(|(_, later)| *later == node);
            let peers = earlier.map(|(earlier, _)| {
                let address = SocketAddr::from((topology.hosts[*earlier].public, PORT));
                format!("tcp://{address}")
            });
            settings["Peers"] = peers.collect();
            settings["Listen"] = json!([format!("tcp://0.0.0.0:{PORT}")]);
            settings["MulticastInterfaces"] = json!([]);
            settings["AdminListen"] = json!("none");
            settings["IfName"] = json!("ygg0");
            let file = directory(topology.lab, "yggdrasil", node)?.join("yggdrasil.conf");
            write_secret(&file, &settings.to_string())?;
            let address = output(
                Command::new(program)
                    .arg("-address")
                    .arg("-useconffile")
                    .arg(&file),
            )?;
            nodes.push(Node {
                address: address.trim().parse().context("yggdrasil -address")?,
                arguments: vec!["-useconffile".into(), file.into()],
            });
        }
        Ok(Box::new(Daemons::new(topology, self.name(), program, nodes)))
    }
}
